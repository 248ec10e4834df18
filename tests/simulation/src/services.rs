//! What is called in a simulation: unary calls, streams either way, calls back. What each handler does is written in the
//! plan that its caller sends along.

use bytes::Bytes;
use rpc::{Stream, Streaming, service};
use serde::{Deserialize, Serialize};

/// Which call this is: each attempt of each call has a number of its own, in the whole world.
pub(crate) type Number = u32;

/// What a handler does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// How many milliseconds it waits, one time after the other.
    pub(crate) waits: Vec<u16>,
    /// How often it lets others go first.
    pub(crate) yields: u8,
    /// How large its reply is.
    pub(crate) reply_bytes: u32,
    pub(crate) back: Option<Box<Back>>,
    pub(crate) end: End,
    /// Of streams: how many items, how large, and how many milliseconds lie between them.
    pub(crate) items: u16,
    pub(crate) item_bytes: u16,
    pub(crate) item_pause: u8,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Value,
    /// With an error of the procedure's own.
    App,
    /// With a code.
    Code,
    Panic,
    /// In a value that panics when it is marshalled.
    Bomb,
    /// Not until it is stopped.
    Never,
}

/// A call back to whoever called.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Back {
    pub(crate) timeout: Option<u16>,
    pub(crate) stream: bool,
    pub(crate) plan: Plan,
}

/// A reply, by which its caller knows that it is the right one.
#[derive(Clone, Debug)]
pub(crate) struct Echo {
    pub(crate) number: Number,
    /// Of the payload that came.
    pub(crate) hash: u64,
    pub(crate) payload: Bytes,
    pub(crate) bomb: bool,
}

/// The procedure's own error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) number: Number,
}

/// An item of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) number: Number,
    pub(crate) index: u32,
    pub(crate) payload: Bytes,
}

/// What came of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) number: Number,
    pub(crate) items: u32,
    pub(crate) hash: u64,
}

/// Calls with one reply, or none. Both sides serve it, so that calls go to and fro.
#[service]
pub(crate) trait Work {
    async fn echo(&self, number: Number, plan: Plan, payload: Bytes) -> Result<Echo, Refusal>;
    #[rpc(idempotent)]
    async fn look(&self, number: Number, plan: Plan, payload: &[u8]) -> Result<Echo, Refusal>;
    #[rpc(no_cancel)]
    async fn finish(&self, number: Number, plan: Plan, payload: Bytes) -> Result<Echo, Refusal>;
    #[rpc(inline)]
    async fn quick(&self, number: Number, plan: Plan, payload: Bytes) -> Result<Echo, Refusal>;
    #[rpc(spawn)]
    async fn heavy(&self, number: Number, plan: Plan, payload: Bytes) -> Result<Echo, Refusal>;
    /// Fails with whatever the calls that it makes fail with.
    async fn relay(&self, number: Number, plan: Plan, payload: Bytes) -> Result<Echo, rpc::Error>;
    #[rpc(oneway)]
    async fn tell(&self, number: Number, plan: Plan, payload: Bytes);
}

/// Streams either way.
#[service]
pub(crate) trait Flow {
    async fn down(&self, number: Number, plan: Plan) -> impl Stream<Item = Result<Item, Refusal>>;
    async fn open(&self, number: Number, plan: Plan) -> Result<impl Stream<Item = Item>, Refusal>;
    async fn up(&self, number: Number, plan: Plan, items: Streaming<Item>) -> Result<Sum, rpc::Error>;
    async fn both(
        &self,
        number: Number,
        plan: Plan,
        items: Streaming<Item>,
    ) -> impl Stream<Item = Result<Item, rpc::Error>>;
}

/// By which it is found out what runs at once. Both sides serve it.
#[service]
pub(crate) trait Probe {
    async fn alive(&self) -> bool;
    /// Ends when so many of a batch are there.
    async fn meet(&self, batch: u32, count: u32) -> u32;
    /// Its stream goes on when so many of a batch are there, and has as many bytes as several windows.
    async fn meet_streaming(&self, batch: u32, count: u32, bytes: u32) -> impl Stream<Item = Bytes>;
    /// Lets as many calls back meet at the caller.
    async fn gather(&self, batch: u32, count: u32) -> u32;
}

impl Serialize for Echo {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.bomb {
            std::panic::resume_unwind(Box::new("planned"));
        }
        (self.number, self.hash, &self.payload).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Echo {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number, hash, payload) = Deserialize::deserialize(deserializer)?;
        Ok(Echo { number, hash, payload, bomb: false })
    }
}

/// The bytes that belong to a number and a place: no two are alike, so that one in the place of another is seen.
pub(crate) fn fill(number: Number, place: u32, length: usize) -> Bytes {
    let mut state = (u64::from(number) << 32 | u64::from(place)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// In which place of a call its arguments, its reply and its items are.
pub(crate) const ARGUMENT: u32 = u32::MAX;
pub(crate) const REPLY: u32 = u32::MAX - 1;

/// Fowler, Noll and Vo's hash, eight bytes at a time.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, chunk| {
        let word = chunk.iter().fold(chunk.len() as u64, |word, byte| word << 8 | u64::from(*byte));
        (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    })
}
