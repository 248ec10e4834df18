//! The other side of a connection, as cheap as can be and left out of what is counted: no socket, no framework.
//!
//! Bytes move in memory, and only inside of [`outside_read`] and [`outside_write`]. Callgrind stops counting where
//! these are entered and goes on where they are left, so they are never inlined and hold no closures, whose names
//! would begin like theirs.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use rpc_core::{Address, ConnectFuture, Connector, Listener, RecvHalf, SendHalf, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::subject::{A, B, SUM};

/// The magic and a hello without features or limits, which either side may begin with.
const HELLO: &[u8] = b"\xc1RPC\x00\x00\x00\x06\x95\x0a\x01\x01\x90\x80";
const MAGIC_BYTES: usize = 4;
const LENGTH_BYTES: usize = 4;

/// Beyond this ids are written in nine bytes. Those of a client that has lived for a while are.
const FIRST_ID: u64 = 1 << 40;

/// The other side of one connection.
#[derive(Clone, Debug)]
pub struct Canned(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    role: Role,
    /// What the framework will read.
    inbox: Vec<u8>,
    taken: usize,
    reader: Option<Waker>,
    /// The framework's hello has come.
    greeted: bool,
    broken: Option<&'static str>,
}

/// What the other side does with what the framework writes.
#[derive(Debug)]
enum Role {
    /// Answers each request at once.
    Server,
    /// Makes calls, a batch of them as soon as the one before is answered.
    Client {
        method: &'static str,
        batch: u64,
        unanswered: u64,
        left: u64,
        next_id: u64,
        ended: Option<Waker>,
    },
}

impl Canned {
    /// A server, which adds two numbers.
    pub fn server() -> Self {
        Canned::new(Role::Server)
    }

    /// A client that has `batch` calls of `method` in flight.
    pub fn client(method: &'static str, batch: u64) -> Self {
        let (unanswered, left, next_id, ended) = (0, 0, FIRST_ID, None);
        Canned::new(Role::Client { method, batch, unanswered, left, next_id, ended })
    }

    fn new(role: Role) -> Self {
        let inbox = HELLO.to_vec();
        Canned(Arc::new(Mutex::new(State {
            role,
            inbox,
            taken: 0,
            reader: None,
            greeted: false,
            broken: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes so many calls, if this is a client, and is over when all are answered.
    pub async fn call(&self, calls: u64) -> Result<(), &'static str> {
        {
            let mut state = self.lock();
            if let Role::Client { left, .. } = &mut state.role {
                *left = calls;
            }
            state.next_batch();
        }
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            if let Some(broken) = state.broken {
                return Poll::Ready(Err(broken));
            }
            match &mut state.role {
                Role::Client { unanswered, left, ended, .. } if *unanswered + *left > 0 => {
                    *ended = Some(cx.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(Ok(())),
            }
        })
        .await
    }

    fn transport(&self) -> Box<dyn Transport> {
        Box::new(self.clone())
    }
}

impl State {
    /// Takes whole messages: the framework writes no others here.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        if !self.greeted {
            self.greeted = true;
            bytes = bytes.get(MAGIC_BYTES..).ok_or("a magic of less than four bytes")?;
            bytes = cut(bytes)?.1;
        }
        while !bytes.is_empty() {
            let (message, rest) = cut(bytes)?;
            self.take_message(message)?;
            bytes = rest;
        }
        if let Role::Client { unanswered: 0, .. } = self.role {
            self.next_batch();
        }
        Ok(())
    }

    fn take_message(&mut self, message: &[u8]) -> Result<(), &'static str> {
        match &mut self.role {
            Role::Server => {
                let [0x94, 0, request @ ..] = message else { return Err("this is no request") };
                let id_bytes = match request.first() {
                    Some(0xce) => 5,
                    Some(0xcf) => 9,
                    _ => return Err("an id of another size"),
                };
                let id = request.get(..id_bytes).ok_or("half an id")?;
                put_message(&mut self.inbox, &[&[0x94, 1], id, &[0xc0], SUM]);
            }
            Role::Client { unanswered, .. } => {
                let answered = message.starts_with(&[0x94, 1, 0xcf]) && message.ends_with(SUM);
                // An array of four, the kind, the id, no error, the value.
                if !answered || message.len() != 12 + SUM.len() {
                    return Err("this is not the answer");
                }
                *unanswered = unanswered.checked_sub(1).ok_or("an answer too many")?;
            }
        }
        Ok(())
    }

    /// The client's next calls, or its end.
    fn next_batch(&mut self) {
        let Role::Client { method, batch, unanswered, left, next_id, ended } = &mut self.role else { return };
        *unanswered = (*left).min(*batch);
        *left -= *unanswered;
        if *unanswered == 0 {
            if let Some(ended) = ended.take() {
                ended.wake();
            }
            return;
        }
        let name = method.as_bytes();
        for _ in 0..*unanswered {
            let id = next_id.to_be_bytes();
            *next_id += 1;
            put_message(
                &mut self.inbox,
                &[&[0x94, 0, 0xcf], &id, &[0xa0 | name.len() as u8], name, &[0x92], A, B],
            );
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The first message of some, without its length, and the others.
fn cut(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or("half a length")?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or("half a message")
}

fn put_message(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    for part in parts {
        out.extend_from_slice(part);
    }
    let length = (out.len() - start - LENGTH_BYTES) as u32;
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
}

#[inline(never)]
fn outside_read(canned: &Canned, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    let mut state = canned.lock();
    let waiting = &state.inbox[state.taken..];
    if waiting.is_empty() {
        state.reader = Some(cx.waker().clone());
        return Poll::Pending;
    }
    let count = waiting.len().min(buf.remaining());
    buf.put_slice(&waiting[..count]);
    state.taken += count;
    if state.taken == state.inbox.len() {
        state.inbox.clear();
        state.taken = 0;
    }
    Poll::Ready(Ok(()))
}

#[inline(never)]
fn outside_write(canned: &Canned, bytes: &[u8]) -> Poll<io::Result<usize>> {
    let mut state = canned.lock();
    if let Err(broken) = state.take(bytes) {
        state.broken = Some(broken);
        if let Role::Client { ended: Some(ended), .. } = &mut state.role {
            ended.wake_by_ref();
        }
        return Poll::Ready(Err(io::Error::other(broken)));
    }
    let waiting = state.taken < state.inbox.len();
    if let Some(reader) = state.reader.take_if(|_| waiting) {
        reader.wake();
    }
    Poll::Ready(Ok(bytes.len()))
}

impl AsyncRead for Canned {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        outside_read(&self, cx, buf)
    }
}

impl AsyncWrite for Canned {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        outside_write(&self, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Transport for Canned {
    fn peer(&self) -> Address {
        Address::new("canned:")
    }

    fn split(self: Box<Self>) -> (RecvHalf, SendHalf) {
        (self.clone(), self)
    }
}

impl Connector for Canned {
    fn address(&self) -> Address {
        self.peer()
    }

    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async { Ok(self.transport()) })
    }
}

/// Gives a server its one connection.
#[derive(Debug)]
pub struct Door(pub Option<Canned>);

impl Listener for Door {
    fn local_addr(&self) -> Address {
        Address::new("canned:")
    }

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        // There is no second connection to wait for, hence nobody to wake.
        self.0.take().map_or(Poll::Pending, |canned| Poll::Ready(Ok(canned.transport())))
    }
}
