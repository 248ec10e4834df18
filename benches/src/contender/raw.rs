//! Frames written by hand on tokio: what a programmer without a framework would write in an afternoon.
//!
//! A connection has a reader task and a writer task on each side; callers append to the writer's buffer and wake it,
//! the reader finds the caller by its id. A frame is a `u32` length, a `u64` id, an operation and the payload. There
//! are no deadlines, no cancellation, no limits and no errors, so this is not a competitor but a yardstick. With
//! `YIELD` the writer goes once to the back of the run queue before it flushes, and so finds more to send.

use super::{Client, Contender, LARGEST_MESSAGE, Result};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, oneshot},
    task::{JoinSet, yield_now},
};

/// Hand-written frames; `YIELD` makes "raw2" of "raw".
#[derive(Debug)]
pub struct Raw<const YIELD: bool>;

impl<const YIELD: bool> Contender for Raw<YIELD> {
    type Client = RawClient;

    async fn serve(announce: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        announce(listener.local_addr()?);
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tokio::spawn(serve_connection::<YIELD>(socket));
        }
    }

    async fn connect(to: SocketAddr) -> Result<RawClient> {
        let socket = TcpStream::connect(to).await?;
        socket.set_nodelay(true)?;
        let (reading, writing) = socket.into_split();
        let outbox = Arc::new(Outbox::default());
        let calls = Arc::new(Calls::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(write_from::<YIELD>(outbox.clone(), writing));
        tasks.spawn(read_replies(reading, calls.clone()));
        Ok(RawClient(Arc::new(Connection { outbox, calls, _tasks: tasks })))
    }
}

/// The calling side of one connection of hand-written frames.
#[derive(Clone, Debug)]
pub struct RawClient(Arc<Connection>);

impl Client for RawClient {
    async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        let mut arguments = [0; 16];
        arguments[..8].copy_from_slice(&a.to_be_bytes());
        arguments[8..].copy_from_slice(&b.to_be_bytes());
        let mut reply = self.0.call(ADD, &arguments).await?;
        Ok(reply.try_get_i64()?)
    }

    async fn echo(&mut self, payload: Bytes) -> Result<Bytes> {
        self.0.call(ECHO, &payload).await
    }
}

#[derive(Debug)]
struct Connection {
    outbox: Arc<Outbox>,
    calls: Arc<Calls>,
    /// Reader and writer, which end with the last client.
    _tasks: JoinSet<io::Result<()>>,
}

impl Connection {
    async fn call(&self, operation: u8, payload: &[u8]) -> Result<Bytes> {
        let (id, reply) = self.calls.enter();
        self.outbox.push(id, operation, payload);
        Ok(reply.await?)
    }
}

/// The calls that wait for a reply.
#[derive(Debug, Default)]
struct Calls {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Bytes>>>,
}

impl Calls {
    fn enter(&self) -> (u64, oneshot::Receiver<Bytes>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        (id, receiver)
    }

    fn complete(&self, reply: Frame) {
        if let Some(caller) = lock(&self.waiting).remove(&reply.id) {
            // The caller may have given up, which is its own affair.
            let _ = caller.send(reply.payload);
        }
    }
}

async fn read_replies(mut socket: OwnedReadHalf, calls: Arc<Calls>) -> io::Result<()> {
    let mut input = BytesMut::new();
    let ended = loop {
        match next_frame(&mut socket, &mut input).await {
            Ok(Some(reply)) => calls.complete(reply),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // Dropping the senders tells every caller that no reply will come.
    lock(&calls.waiting).clear();
    ended
}

async fn serve_connection<const YIELD: bool>(socket: TcpStream) -> io::Result<()> {
    let (mut reading, writing) = socket.into_split();
    let outbox = Arc::new(Outbox::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(write_from::<YIELD>(outbox.clone(), writing));
    let mut input = BytesMut::new();
    while let Some(mut request) = next_frame(&mut reading, &mut input).await? {
        match request.operation {
            ADD => {
                let (a, b) = (request.payload.try_get_i64()?, request.payload.try_get_i64()?);
                outbox.push(request.id, ADD, &a.wrapping_add(b).to_be_bytes());
            }
            ECHO => outbox.push(request.id, ECHO, &request.payload),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(())
}

/// Bytes on their way to the writer task.
#[derive(Debug, Default)]
struct Outbox {
    waiting: Mutex<Vec<u8>>,
    filled: Notify,
}

impl Outbox {
    fn push(&self, id: u64, operation: u8, payload: &[u8]) {
        let length = (HEAD - 4 + payload.len()) as u32;
        let mut waiting = lock(&self.waiting);
        waiting.put_u32(length);
        waiting.put_u64(id);
        waiting.put_u8(operation);
        waiting.put_slice(payload);
        drop(waiting);
        self.filled.notify_one();
    }
}

async fn write_from<const YIELD: bool>(outbox: Arc<Outbox>, mut socket: OwnedWriteHalf) -> io::Result<()> {
    let mut batch = Vec::new();
    loop {
        outbox.filled.notified().await;
        if YIELD {
            yield_now().await;
        }
        std::mem::swap(&mut batch, &mut *lock(&outbox.waiting));
        socket.write_all(&batch).await?;
        batch.clear();
    }
}

#[derive(Debug)]
struct Frame {
    id: u64,
    operation: u8,
    payload: Bytes,
}

/// The next frame, read into `input` as far as it is not there yet; `None` when the peer has closed.
async fn next_frame(socket: &mut OwnedReadHalf, input: &mut BytesMut) -> io::Result<Option<Frame>> {
    loop {
        if let Some(frame) = take_frame(input)? {
            return Ok(Some(frame));
        }
        if input.capacity() - input.len() < LITTLE_ROOM {
            input.reserve(READ_AT_ONCE);
        }
        if socket.read_buf(input).await? == 0 {
            return Ok(None);
        }
    }
}

fn take_frame(input: &mut BytesMut) -> io::Result<Option<Frame>> {
    let Some(length) = input.first_chunk() else { return Ok(None) };
    let total = 4 + u32::from_be_bytes(*length) as usize;
    if !(HEAD..=LARGEST_MESSAGE).contains(&total) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if input.len() < total {
        input.reserve(total - input.len());
        return Ok(None);
    }
    let mut frame = input.split_to(total);
    frame.advance(4);
    let (id, operation) = (frame.get_u64(), frame.get_u8());
    Ok(Some(Frame { id, operation, payload: frame.freeze() }))
}

/// A panic of another holder leaves nothing half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const ADD: u8 = 0;
const ECHO: u8 = 1;

/// Bytes before the payload: length, id and operation.
const HEAD: usize = 4 + 8 + 1;

/// The room for a read below which there has to be more, in bytes.
const LITTLE_ROOM: usize = 4 << 10;

/// The room that is then made, in bytes.
const READ_AT_ONCE: usize = 64 << 10;
