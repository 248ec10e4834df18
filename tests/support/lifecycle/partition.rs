//! A network that can be cut: bytes are held back, as routers and both systems do it for a while, or the connections
//! are lost.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rpc::{Address, ConnectFuture, Connector, Listener, RecvHalf, SendHalf, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The network between the two ends of a transport that are [`Via`] it.
#[derive(Debug, Default)]
pub(crate) struct Network(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_cut: bool,
    /// Connections that were opened up to this number are lost.
    lost: usize,
    opened: usize,
    /// Whoever waits for bytes that are held back, or for a connection.
    waiting: Vec<Waker>,
}

impl Network {
    pub(crate) fn new() -> Arc<Network> {
        Arc::default()
    }

    /// From now on nothing arrives, in either direction. What is sent fills the queues of its sender.
    pub(crate) fn cut(&self) {
        self.lock().is_cut = true;
    }

    /// Everything that was sent arrives.
    pub(crate) fn heal(&self) {
        self.change(|state| state.is_cut = false);
    }

    /// The same, but the connections that there are have been lost meanwhile, and what was on its way with them.
    pub(crate) fn heal_without_connections(&self) {
        self.change(|state| {
            state.is_cut = false;
            state.lost = state.opened;
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Ready while bytes arrive on this connection.
    fn poll_open(&self, connection: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if connection < state.lost {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        // Also while it is whole: a cut and a healing wake those who wait for bytes that were lost.
        state.waiting.retain(|waker| !waker.will_wake(cx.waker()));
        state.waiting.push(cx.waker().clone());
        if state.is_cut { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One end of a transport, a connector or a listener, whose bytes go over a network.
pub(crate) struct Via<T>(pub(crate) T, pub(crate) Arc<Network>);

impl<T: Connector> Connector for Via<T> {
    fn address(&self) -> Address {
        self.0.address()
    }

    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async {
            // No answer comes to an attempt before the network is whole.
            std::future::poll_fn(|cx| self.1.poll_open(usize::MAX, cx)).await?;
            Ok(wrap(self.0.connect().await?, &self.1))
        })
    }
}

impl<T: Listener> Listener for Via<T> {
    fn local_addr(&self) -> Address {
        self.0.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        self.0.poll_accept(cx).map_ok(|transport| wrap(transport, &self.1))
    }
}

fn wrap(inner: Box<dyn Transport>, network: &Arc<Network>) -> Box<dyn Transport> {
    let mut state = network.lock();
    let connection = state.opened;
    state.opened += 1;
    drop(state);
    Box::new(OverNetwork { inner, network: network.clone(), connection })
}

/// One end of a connection.
struct OverNetwork<T> {
    inner: T,
    network: Arc<Network>,
    connection: usize,
}

impl Transport for OverNetwork<Box<dyn Transport>> {
    fn peer(&self) -> Address {
        self.inner.peer()
    }

    fn split(self: Box<Self>) -> (RecvHalf, SendHalf) {
        let OverNetwork { inner, network, connection } = *self;
        let (recv, send) = inner.split();
        (
            Box::new(OverNetwork { inner: recv, network: network.clone(), connection }),
            Box::new(OverNetwork { inner: send, network, connection }),
        )
    }
}

impl<T> OverNetwork<T> {
    fn check(&self) -> io::Result<()> {
        if self.connection < self.network.lock().lost {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for OverNetwork<RecvHalf> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.network.poll_open(self.connection, cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.inner).poll_read(cx, buffer),
            held_back => held_back,
        }
    }
}

impl AsyncWrite for OverNetwork<SendHalf> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
