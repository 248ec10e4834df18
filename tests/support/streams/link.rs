//! A link of the tests' own: it takes its time, and carries no more at once than it is told.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rpc::{Address, ConnectFuture, Connector, Listener, RecvHalf, SendHalf, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

/// A link whose bytes arrive so much later than they were sent. As much as is sent fits into it.
pub(crate) fn delayed(delay: Duration) -> (DelayedConnector, DelayedListener) {
    let (send, accepted) = mpsc::unbounded_channel();
    (DelayedConnector { delay, listener: send }, DelayedListener { accepted })
}

pub(crate) struct DelayedConnector {
    delay: Duration,
    listener: mpsc::UnboundedSender<Delayed>,
}

pub(crate) struct DelayedListener {
    accepted: mpsc::UnboundedReceiver<Delayed>,
}

fn address() -> Address {
    Address::new("delayed://")
}

impl Connector for DelayedConnector {
    fn address(&self) -> Address {
        address()
    }

    fn connect(&self) -> ConnectFuture<'_> {
        let (there, back) = (Pipe::new(self.delay), Pipe::new(self.delay));
        let client = Delayed { recv: back.clone(), send: there.clone() };
        let server = Delayed { recv: there, send: back };
        let connected = self.listener.send(server).map_err(|_gone| io::ErrorKind::ConnectionRefused.into());
        Box::pin(async move { connected.map(|()| Box::new(client) as Box<dyn Transport>) })
    }
}

impl Listener for DelayedListener {
    fn local_addr(&self) -> Address {
        address()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        self.accepted.poll_recv(cx).map(|accepted| match accepted {
            Some(transport) => Ok(Box::new(transport) as Box<dyn Transport>),
            None => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

/// One end.
struct Delayed {
    recv: Arc<Pipe>,
    send: Arc<Pipe>,
}

impl Transport for Delayed {
    fn peer(&self) -> Address {
        address()
    }

    fn split(self: Box<Self>) -> (RecvHalf, SendHalf) {
        (Box::new(Reader { pipe: self.recv, timer: None }), Box::new(Sender(self.send)))
    }
}

/// One direction.
struct Pipe {
    delay: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is on its way, with the moment in which it arrives.
    pieces: VecDeque<(Instant, VecDeque<u8>)>,
    closed: bool,
    reader: Option<Waker>,
}

impl Pipe {
    fn new(delay: Duration) -> Arc<Pipe> {
        Arc::new(Pipe { delay, state: Mutex::default() })
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }
}

struct Sender(Arc<Pipe>);

impl AsyncWrite for Sender {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let arrives = Instant::now() + self.0.delay;
        self.0.change(|state| state.pieces.push_back((arrives, bytes.iter().copied().collect())));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.change(|state| state.closed = true);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.change(|state| state.closed = true);
    }
}

struct Reader {
    pipe: Arc<Pipe>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let mut state = this.pipe.state.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((arrives, bytes)) = state.pieces.front_mut() else {
                if state.closed {
                    return Poll::Ready(Ok(()));
                }
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            };
            if *arrives <= Instant::now() {
                let count = buffer.remaining().min(bytes.len());
                let (first, second) = bytes.as_slices();
                let from_first = count.min(first.len());
                buffer.put_slice(&first[..from_first]);
                buffer.put_slice(&second[..count - from_first]);
                bytes.drain(..count);
                if bytes.is_empty() {
                    state.pieces.pop_front();
                }
                return Poll::Ready(Ok(()));
            }
            let arrives = *arrives;
            drop(state);
            let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(arrives)));
            if timer.deadline() != arrives {
                timer.as_mut().reset(arrives);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
