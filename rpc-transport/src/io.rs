//! Streams that are already open: a child's pipes, a TLS session, a test's duplex pipe.
//!
//! This module owns no way to open anything: whoever has the stream opened it.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use rpc_core::{Address, ConnectFuture, Connector, Listener, RecvHalf, SendHalf, Transport};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection over any [`AsyncRead`] and [`AsyncWrite`].
///
/// # Example
/// ```
/// use rpc_core::Transport;
/// use rpc_transport::IoTransport;
///
/// let (ours, theirs) = tokio::io::duplex(4096);
/// let transport = IoTransport::new(ours);
/// assert_eq!(transport.peer().as_str(), "io:");
/// # drop(theirs);
/// ```
pub struct IoTransport {
    peer: Address,
    recv: RecvHalf,
    send: SendHalf,
}

impl IoTransport {
    /// A connection over one stream, which is split by [`tokio::io::split`]: a lock between the halves, and the
    /// stream is closed when both are gone.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (recv, send) = tokio::io::split(stream);
        Self::from_halves(recv, send)
    }

    /// A connection over two streams of one direction each, such as a child's `stdout` and `stdin`; also the
    /// cheaper way for a stream that splits without a lock.
    pub fn from_halves(
        recv: impl AsyncRead + Send + Unpin + 'static,
        send: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        IoTransport { peer: Address::new("io:"), recv: Box::new(recv), send: Box::new(send) }
    }

    /// Says where the other side is; without it that is `io:`.
    #[must_use]
    pub fn with_peer(mut self, peer: Address) -> Self {
        self.peer = peer;
        self
    }
}

impl Transport for IoTransport {
    fn peer(&self) -> Address {
        self.peer.clone()
    }

    fn split(self: Box<Self>) -> (RecvHalf, SendHalf) {
        (self.recv, self.send)
    }
}

impl fmt::Debug for IoTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoTransport").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// A connection that exists already and can be used once: to connect *to*, or to listen *on*.
///
/// As a [`Connector`] it gives the connection at the first attempt. There is no second one: when the connection
/// is lost, each later attempt fails with [`io::ErrorKind::NotConnected`].
///
/// As a [`Listener`] it gives the connection at once and then waits forever, so the server goes on until it is
/// shut down.
///
/// # Example
/// ```
/// use rpc_transport::{IoTransport, Once};
///
/// # async fn example() {
/// let (client, server) = tokio::io::duplex(4096);
/// let listener = Once::new(IoTransport::new(server));   // for a server's `listen`
/// let connector = Once::new(IoTransport::new(client));  // for a client's `connect`
/// # }
/// ```
pub struct Once {
    address: Address,
    transport: Mutex<Option<Box<dyn Transport>>>,
}

impl Once {
    /// Holds one open connection until it is asked for.
    pub fn new(transport: impl Transport) -> Self {
        Once { address: transport.peer(), transport: Mutex::new(Some(Box::new(transport))) }
    }

    fn take(&self) -> Option<Box<dyn Transport>> {
        // The lock is held for one move, which cannot panic halfway: a poisoned value is a sound one.
        self.transport.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Connector for Once {
    fn address(&self) -> Address {
        self.address.clone()
    }

    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async {
            self.take().ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotConnected,
                    "this connection could be opened once, and it was already used",
                )
            })
        })
    }
}

impl Listener for Once {
    fn local_addr(&self) -> Address {
        self.address.clone()
    }

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        // No waker is kept, because nothing will ever come after the one connection.
        self.take().map_or(Poll::Pending, |transport| Poll::Ready(Ok(transport)))
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn both_halves_move_bytes_at_the_same_time() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let (mut recv, mut send) = Box::new(IoTransport::new(ours)).split();

        // More than the pipe holds: this ends only if reading and writing do not wait for each other.
        let payload = vec![7; 1000];
        let echo = async {
            let mut received = vec![0; payload.len()];
            theirs.read_exact(&mut received).await.unwrap();
            theirs.write_all(&received).await.unwrap();
        };
        let mut received = vec![0; payload.len()];
        let (sent, read, ()) = tokio::join!(send.write_all(&payload), recv.read_exact(&mut received), echo);
        sent.unwrap();
        read.unwrap();
        assert_eq!(received, payload);
    }

    #[tokio::test]
    async fn the_stream_is_closed_when_both_halves_are_gone() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let (recv, send) = Box::new(IoTransport::new(ours)).split();
        drop((recv, send));
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn halves_of_one_direction_each_are_a_connection() {
        let (our_recv, mut their_send) = tokio::io::simplex(16);
        let (mut their_recv, our_send) = tokio::io::simplex(16);
        let transport = IoTransport::from_halves(our_recv, our_send).with_peer(Address::new("child:7"));
        assert_eq!(transport.peer().as_str(), "child:7");

        let (mut recv, mut send) = Box::new(transport).split();
        send.write_all(b"ping").await.unwrap();
        their_send.write_all(b"pong").await.unwrap();
        let mut four = [0; 4];
        their_recv.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"ping");
        recv.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"pong");
    }

    #[tokio::test]
    async fn a_connector_that_was_used_says_so() {
        let once = Once::new(IoTransport::new(tokio::io::duplex(16).0));
        assert_eq!(Connector::address(&once).as_str(), "io:");
        once.connect().await.unwrap();
        let error = once.connect().await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        assert!(error.to_string().contains("already used"), "{error}");
    }

    #[test]
    fn an_attempt_that_is_given_up_before_it_began_uses_nothing() {
        let once = Once::new(IoTransport::new(tokio::io::duplex(16).0));
        drop(once.connect());
        assert!(once.take().is_some());
    }

    #[test]
    fn a_listener_gives_its_connection_once_and_then_waits() {
        let mut once = Once::new(IoTransport::new(tokio::io::duplex(16).0));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(once.poll_accept(&mut cx), Poll::Ready(Ok(_))));
        assert!(once.poll_accept(&mut cx).is_pending());
    }
}
