//! Frames written by hand on tokio: what a programmer without a framework would write in an afternoon.
//!
//! A connection has a reader task and a writer task on each side; callers append to the writer's buffer and wake it,
//! the reader finds the caller by its id. A frame is a `u32` length, a `u64` id, an operation and the payload. There
//! are no deadlines, no cancellation, no limits and no errors, so this is not a competitor but a yardstick. With
//! `YIELD` the writer goes once to the back of the run queue before it flushes, and so finds more to send.
//!
//! Handlers run on the reader task, except for the time in which they sleep.
//!
//! An item of a stream is a frame of its own; with `YIELD` there are many in a frame. Nothing but the connection itself
//! holds a stream back, so that whoever does not consume one blocks all others: no credit, but no cost of it either.

mod server;
mod wire;

use super::{Calls, Contender, Downloads, Exchange, Handlers, LARGEST_MESSAGE, Result, Streams, handler};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use server::serve_connection;
use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::JoinSet,
};
use wire::{Frame, Outbox, lock, next_frame, write_from};

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
        let waiting = Arc::new(Waiting::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(write_from::<YIELD>(outbox.clone(), writing));
        tasks.spawn(read_replies(reading, waiting.clone()));
        let items_a_frame = ITEMS_A_FRAME[usize::from(YIELD)];
        Ok(RawClient(Arc::new(Connection { outbox, waiting, items_a_frame, _tasks: tasks })))
    }
}

/// The calling side of one connection of hand-written frames.
#[derive(Clone, Debug)]
pub struct RawClient(Arc<Connection>);

impl Calls for RawClient {
    async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        let mut reply = self.0.call(ADD, &both(a.to_be_bytes(), b.to_be_bytes())).await?;
        Ok(reply.try_get_i64()?)
    }

    async fn echo(&mut self, payload: Bytes) -> Result<Bytes> {
        self.0.call(ECHO, &payload).await
    }
}

impl Handlers for RawClient {
    async fn add_after(&mut self, a: i64, b: i64, micros: u64) -> Result<i64> {
        let mut payload = Vec::with_capacity(24);
        payload.extend_from_slice(&both(a.to_be_bytes(), b.to_be_bytes()));
        payload.extend_from_slice(&micros.to_be_bytes());
        let mut reply = self.0.call(ADD_AFTER, &payload).await?;
        Ok(reply.try_get_i64()?)
    }

    async fn spin(&mut self, micros: u64) -> Result<u64> {
        let mut reply = self.0.call(SPIN, &micros.to_be_bytes()).await?;
        Ok(reply.try_get_u64()?)
    }
}

impl Streams for RawClient {
    type Numbers = Numbers;
    type Exchange = RawExchange;

    async fn count(&mut self, below: u64) -> Result<Numbers> {
        let (_, items) = self.0.open(COUNT, &below.to_be_bytes(), SMALL_ITEMS_WAITING);
        Ok(Numbers { items, frame: Bytes::new() })
    }

    async fn watch(&mut self) -> Result<Numbers> {
        let (_, items) = self.0.open(WATCH, &[], SMALL_ITEMS_WAITING);
        Ok(Numbers { items, frame: Bytes::new() })
    }

    async fn sum(&mut self, below: u64) -> Result<u64> {
        let connection = &*self.0;
        let (id, reply) = connection.waiting.enter_call();
        connection.outbox.push_numbers(id, ADD_UP, below, connection.items_a_frame).await;
        connection.outbox.push(id, TOTAL, &[]);
        Ok(reply.await?.try_get_u64()?)
    }

    async fn exchange(&mut self) -> Result<RawExchange> {
        let (id, answers) = self.0.waiting.enter_stream(SMALL_ITEMS_WAITING);
        Ok(RawExchange { connection: self.0.clone(), id, answers })
    }
}

impl Downloads for RawClient {
    async fn download(
        &mut self,
        count: u64,
        length: usize,
        mut look: impl FnMut(&[u8]) + Send,
    ) -> Result<()> {
        let wanted = both(count.to_be_bytes(), (length as u64).to_be_bytes());
        let (_, mut items) = self.0.open(REPEAT, &wanted, LARGE_ITEMS_WAITING);
        while let Some(item) = items.recv().await {
            look(&item);
        }
        Ok(())
    }
}

/// Numbers from the server, one or more in a frame.
#[derive(Debug)]
pub struct Numbers {
    items: mpsc::Receiver<Bytes>,
    frame: Bytes,
}

impl Stream for Numbers {
    type Item = Result<u64>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<u64>>> {
        if self.frame.is_empty() {
            match ready!(self.items.poll_recv(context)) {
                Some(frame) => self.frame = frame,
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(self.frame.try_get_u64().map_err(Into::into)))
    }
}

/// A stream each way.
#[derive(Debug)]
pub struct RawExchange {
    connection: Arc<Connection>,
    id: u64,
    answers: mpsc::Receiver<Bytes>,
}

impl Exchange for RawExchange {
    async fn pass(&mut self, number: u64) -> Result<u64> {
        self.connection.outbox.push(self.id, BOUNCE, &number.to_be_bytes());
        Ok(self.answers.recv().await.ok_or("no answer came")?.try_get_u64()?)
    }

    async fn finish(mut self) -> Result<()> {
        self.connection.outbox.push(self.id, END, &[]);
        match self.answers.recv().await {
            None => Ok(()),
            Some(answer) => Err(format!("{answer:?} came in place of the end").into()),
        }
    }
}

#[derive(Debug)]
struct Connection {
    outbox: Arc<Outbox>,
    waiting: Arc<Waiting>,
    items_a_frame: usize,
    /// Reader and writer, which end with the last client.
    _tasks: JoinSet<io::Result<()>>,
}

impl Connection {
    async fn call(&self, operation: u8, payload: &[u8]) -> Result<Bytes> {
        let (id, reply) = self.waiting.enter_call();
        self.outbox.push(id, operation, payload);
        Ok(reply.await?)
    }

    fn open(&self, operation: u8, payload: &[u8], items_waiting: usize) -> (u64, mpsc::Receiver<Bytes>) {
        let (id, items) = self.waiting.enter_stream(items_waiting);
        self.outbox.push(id, operation, payload);
        (id, items)
    }
}

/// Those who wait for a reply or for items.
#[derive(Debug, Default)]
struct Waiting {
    next: AtomicU64,
    calls: Mutex<HashMap<u64, oneshot::Sender<Bytes>>>,
    streams: Mutex<HashMap<u64, mpsc::Sender<Bytes>>>,
}

impl Waiting {
    fn enter_call(&self) -> (u64, oneshot::Receiver<Bytes>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&self.calls).insert(id, sender);
        (id, receiver)
    }

    fn enter_stream(&self, items_waiting: usize) -> (u64, mpsc::Receiver<Bytes>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(items_waiting);
        lock(&self.streams).insert(id, sender);
        (id, receiver)
    }

    async fn deliver(&self, frame: Frame) {
        // Whoever waited may have given up, which is its own affair.
        match frame.operation {
            ITEM => {
                if let Some((stream, item)) = self.deliver_if_room(frame) {
                    let _ = stream.send(item).await;
                }
            }
            END => drop(lock(&self.streams).remove(&frame.id)),
            _ => {
                if let Some(caller) = lock(&self.calls).remove(&frame.id) {
                    let _ = caller.send(frame.payload);
                }
            }
        }
    }

    /// Gives the item back, and what will take it, if its consumer has enough for now.
    fn deliver_if_room(&self, frame: Frame) -> Option<(mpsc::Sender<Bytes>, Bytes)> {
        let streams = lock(&self.streams);
        let stream = streams.get(&frame.id)?;
        match stream.try_send(frame.payload) {
            Ok(()) | Err(TrySendError::Closed(_)) => None,
            Err(TrySendError::Full(item)) => Some((stream.clone(), item)),
        }
    }
}

async fn read_replies(mut socket: OwnedReadHalf, waiting: Arc<Waiting>) -> io::Result<()> {
    let mut input = BytesMut::new();
    let ended = loop {
        match next_frame(&mut socket, &mut input).await {
            Ok(Some(frame)) => waiting.deliver(frame).await,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // Dropping the senders tells everyone that nothing more will come.
    lock(&waiting.calls).clear();
    lock(&waiting.streams).clear();
    ended
}

fn both(first: [u8; 8], second: [u8; 8]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first);
    bytes[8..].copy_from_slice(&second);
    bytes
}

const ADD: u8 = 0;
const ECHO: u8 = 1;
const COUNT: u8 = 2;
const WATCH: u8 = 3;
const ADD_UP: u8 = 4;
const TOTAL: u8 = 5;
const BOUNCE: u8 = 6;
const REPEAT: u8 = 7;
const ITEM: u8 = 8;
const END: u8 = 9;
const ADD_AFTER: u8 = 10;
const SPIN: u8 = 11;

/// Small items in a frame of raw and of raw2; the latter are 16 KiB.
const ITEMS_A_FRAME: [usize; 2] = [1, 2048];

/// Frames of small items that wait for their consumer before the connection waits.
const SMALL_ITEMS_WAITING: usize = 1024;

/// Large items that wait for their consumer before the connection waits.
const LARGE_ITEMS_WAITING: usize = 4;
