//! The serving side: calls of the other side go on, end, and are answered.

use std::time::Instant;

use super::super::outbox::Outbox;
use super::super::served::{CallKey, Counts};
use super::super::streams::Caller;
use super::super::transfers::{Owner, Sizes, Transfer};
use super::{Connection, Effects, HEAD_BYTES};
use crate::failure::Failure;
use crate::marshal::Payload;
use crate::message::{APP_TAIL, encode_app, encode_error, encode_value};
use crate::{Code, Error, Executed, Metadata};

impl<C: Clone, W, H> Connection<C, W, H> {
    /// Keeps an admitted call that goes on.
    pub(crate) fn keep(&mut self, key: CallKey, handle: H, deadline: Option<Instant>) {
        // It came with the bytes that were heard last.
        self.served.keep(key, handle, deadline, self.alive.heard);
    }

    /// Changes the handle of a kept call; false if it has been stopped meanwhile.
    pub(crate) fn update_kept(&mut self, key: CallKey, change: impl FnOnce(&mut H)) -> bool {
        self.served.update(key, change)
    }

    /// Whether a call of this id is running.
    pub(crate) fn is_live(&self, key: CallKey) -> bool {
        key.reply_id().is_some_and(|id| self.served.is_live(id))
    }

    /// Takes the replies of calls that ended the moment they were started.
    #[inline]
    pub(crate) fn ended_at_once(&mut self, ended: Counts, replies: &mut Replies) {
        self.served.ended_at_once(ended);
        self.answered.calls += ended.calls;
        self.answered.streams += ended.streams;
        self.queued += replies.small.len() as u64;
        self.outbox.append(&mut replies.small);
        replies.large.drain(..).for_each(|reply| self.transfers.push(reply));
    }

    /// An admitted call was cancelled before it was started: its cancel was not for nothing.
    pub(crate) fn ended_unstarted(&mut self, key: CallKey, effects: &mut Effects<C, W, H>) {
        self.ignored -= 1;
        self.served.ended_at_once(Counts::of(key));
        if let CallKey::Stream(call) = key {
            self.stop_streams(call, Failure::Rpc(cancelled(Executed::No)), effects);
            self.finish_streams(call, None, effects);
        }
    }

    /// A kept call has ended; its reply is sent if its caller still waits.
    pub(crate) fn ended(
        &mut self,
        key: CallKey,
        reply: Option<(&Result<Payload, Failure>, Option<&Metadata>)>,
        effects: &mut Effects<C, W, H>,
    ) {
        let awaited = self.served.ended(key);
        if let CallKey::Stream(call) = key {
            self.answered.streams += 1;
            return self.finish_streams(call, reply, effects);
        }
        if let (true, Some(id), Some((reply, metadata))) = (awaited && self.is_open(), key.reply_id(), reply)
        {
            self.push_reply(Owner::Reply(id), id, reply, metadata);
            self.answered.calls += 1;
        }
    }

    #[inline]
    pub(super) fn push_reply(
        &mut self,
        owner: Owner,
        id: u64,
        reply: &Result<Payload, Failure>,
        metadata: Option<&Metadata>,
    ) {
        let before = self.outbox.len();
        let large = push_reply(&mut self.outbox, owner, id, reply, metadata, &self.peer.sizes);
        self.queued += (self.outbox.len() - before) as u64;
        large.into_iter().for_each(|reply| self.transfers.push(reply));
    }

    /// How many one-way calls have been admitted and have not ended.
    pub(crate) fn oneways(&self) -> usize {
        self.served.admitted().oneways
    }

    /// How messages must be for the other side to take them.
    pub(crate) fn sizes(&self) -> Sizes {
        self.peer.sizes
    }

    /// Refuses an admitted call.
    pub(crate) fn refuse(&mut self, key: CallKey, error: Error) {
        self.served.ended_at_once(Counts::of(key));
        if let CallKey::Stream(call) = key {
            // It was not started, so nobody waits for anything of it.
            self.streams.close(Caller::There, call, drop);
        }
        if let Some(id) = key.reply_id() {
            self.push_failure(id, None, &Failure::Rpc(error));
        }
    }

    pub(super) fn push_failure(&mut self, id: u64, metadata: Option<&Metadata>, failure: &Failure) {
        self.push_owed(|out| encode_failure(out, id, metadata, failure));
    }
}

/// What the final message of a cancelled call says.
pub(super) fn cancelled(executed: Executed) -> Error {
    Error::new(Code::Cancelled, "the call was cancelled").with_executed(executed)
}

/// Replies that were made outside of the connection.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    small: Outbox,
    large: Vec<Transfer>,
}

impl Replies {
    /// How much they carry.
    pub(crate) fn bytes(&self) -> usize {
        self.small.len() + self.large.iter().map(Transfer::rest).sum::<usize>()
    }

    /// Takes the buffers of an outbox that is empty where they are larger than its own, in exchange for these.
    pub(crate) fn take_larger_buffer(&mut self, outbox: &mut Outbox) {
        self.small.take_larger_buffer(outbox);
    }

    /// Adds a reply; one that is too large for the other side becomes an error that says so.
    #[inline]
    pub(crate) fn push(
        &mut self,
        id: u64,
        reply: &Result<Payload, Failure>,
        metadata: Option<&Metadata>,
        sizes: &Sizes,
    ) {
        self.large.extend(push_reply(&mut self.small, Owner::Reply(id), id, reply, metadata, sizes));
    }
}

/// Appends a reply, or gives it back if it has to go in fragments. One that is too large for the other side becomes
/// an error that says so.
#[inline]
fn push_reply(
    outbox: &mut Outbox,
    owner: Owner,
    id: u64,
    reply: &Result<Payload, Failure>,
    metadata: Option<&Metadata>,
    sizes: &Sizes,
) -> Option<Transfer> {
    let size = HEAD_BYTES
        + metadata.map_or(0, |metadata| 2 * metadata.bytes())
        + match reply {
            Ok(value) => value.len(),
            Err(failure) => failure.bytes(),
        };
    let largest = sizes.largest();
    if size > largest {
        let message =
            format!("a reply of {size} bytes, the caller takes messages of {largest} bytes at most");
        let failure = Failure::Rpc(Error::new(Code::ResourceExhausted, message));
        outbox.push_message(|out| encode_failure(out, id, None, &failure));
        return None;
    }
    if sizes.is_large(size) {
        return Some(large_reply(owner, id, reply, metadata));
    }
    match reply {
        Ok(value) => outbox.push(value, |out| encode_value(out, id, metadata)),
        Err(failure) => outbox.push_message(|out| encode_failure(out, id, metadata, failure)),
    }
    None
}

fn large_reply(
    owner: Owner,
    id: u64,
    reply: &Result<Payload, Failure>,
    metadata: Option<&Metadata>,
) -> Transfer {
    match reply {
        Ok(value) => Transfer::new(owner, |out| encode_value(out, id, metadata), value, &[]),
        Err(Failure::App(value)) => {
            Transfer::new(owner, |out| encode_app(out, id, metadata), value, APP_TAIL)
        }
        Err(failure) => {
            let nothing = Payload::from_slice(&[]);
            Transfer::new(owner, |out| encode_failure(out, id, metadata, failure), &nothing, &[])
        }
    }
}

fn encode_failure(out: &mut Vec<u8>, id: u64, metadata: Option<&Metadata>, failure: &Failure) {
    match failure {
        Failure::App(value) => encode_error(out, id, metadata, Ok(value.as_slice())),
        Failure::Rpc(error) => encode_error(out, id, metadata, Err(error)),
    }
}
