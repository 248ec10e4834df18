//! How bytes get from one process to another: the traits that a transport implements.
//!
//! This module opens nothing itself. A transport gives a [`Connector`] (the client's end), a [`Listener`] (the
//! server's end), and for each connection a [`Transport`]: two halves that move bytes through buffers lent to
//! them. Everything else (frames, limits, time) is above it and the same for all transports.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::Error;

/// The half of a connection that receives.
///
/// The buffer is lent for the time of one `poll_read`; an idle connection holds none.
pub type RecvHalf = Box<dyn AsyncRead + Send + Unpin>;

/// The half of a connection that sends.
///
/// Implement `poll_write_vectored` (and `is_write_vectored`) if the transport can gather: large payloads are
/// handed over where they lie. `poll_flush` is called once after each batch, `poll_shutdown` when the
/// connection ends.
pub type SendHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// One open connection, as its transport sees it: an ordered, reliable stream of bytes each way.
///
/// Anything with tokio's [`AsyncRead`] and [`AsyncWrite`] can be one; `tokio::io::split` makes two halves of it
/// where the type has no cheaper way. Both halves are used at the same time, by different tasks.
///
/// # Example
/// ```
/// use rpc_core::{Address, RecvHalf, SendHalf, Transport};
///
/// struct Pipe(tokio::io::DuplexStream);
///
/// impl Transport for Pipe {
///     fn peer(&self) -> Address {
///         Address::new("pipe://")
///     }
///
///     fn split(self: Box<Self>) -> (RecvHalf, SendHalf) {
///         let (recv, send) = tokio::io::split(self.0);
///         (Box::new(recv), Box::new(send))
///     }
/// }
/// ```
pub trait Transport: Send + 'static {
    /// Where the other side is.
    fn peer(&self) -> Address;

    /// The two halves.
    fn split(self: Box<Self>) -> (RecvHalf, SendHalf);
}

/// What [`Connector::connect`] returns.
pub type ConnectFuture<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Transport>>> + Send + 'a>>;

/// The client's end of a transport: opens a connection, and again after that is lost.
pub trait Connector: Send + Sync + 'static {
    /// Where it connects to.
    fn address(&self) -> Address;

    /// Opens one connection.
    ///
    /// # Cancel safety
    /// Dropping the future gives the attempt up.
    fn connect(&self) -> ConnectFuture<'_>;
}

/// The server's end of a transport: gives one connection after the other.
pub trait Listener: Send + 'static {
    /// Where it listens, as a client would write it: with the port that was really given, say.
    fn local_addr(&self) -> Address;

    /// The next connection.
    ///
    /// # Errors
    /// An error is that of one attempt. If it speaks of the connection that was next (it was aborted or reset, say, or
    /// its network is down) the listener is polled again at once, so that nobody can make others wait by going; after
    /// any other (no descriptors are left, say) there is a pause.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>>;
}

/// Something that a client can connect to: a URL, or a [`Connector`] of one's own.
///
/// `Via` is never named by a user: it says which crate knows how, so that URLs can be understood by a crate that
/// lies above this one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an address to connect to",
    label = "expected a URL such as \"tcp://127.0.0.1:9000\", or a `Connector`"
)]
pub trait Connect<Via> {
    /// The connector behind it.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`](crate::Code::InvalidArgument) if it is no address that is understood.
    fn into_connector(self) -> Result<Arc<dyn Connector>, Error>;
}

/// Something that a server can listen on: a URL, or a [`Listener`] of one's own.
///
/// `Via` is never named by a user, as for [`Connect`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an address to listen on",
    label = "expected a URL such as \"tcp://127.0.0.1:9000\", or a `Listener`"
)]
pub trait Listen<Via> {
    /// Starts to listen.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`](crate::Code::InvalidArgument) if it is no address that is understood,
    /// [`Code::Unavailable`](crate::Code::Unavailable) if the system refuses it.
    fn into_listener(self) -> impl Future<Output = Result<Box<dyn Listener>, Error>> + Send;
}

/// The `Via` of connectors and listeners that are handed over as they are.
#[derive(Debug)]
pub struct Direct;

impl<C: Connector> Connect<Direct> for C {
    fn into_connector(self) -> Result<Arc<dyn Connector>, Error> {
        Ok(Arc::new(self))
    }
}

impl<L: Listener> Listen<Direct> for L {
    async fn into_listener(self) -> Result<Box<dyn Listener>, Error> {
        Ok(Box::new(self))
    }
}

/// A place to connect to or to listen on, written as a URL: `tcp://127.0.0.1:9000`, `unix:/run/calculator.sock`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address(Arc<str>);

impl Address {
    /// An address as its transport writes it.
    pub fn new(url: impl AsRef<str>) -> Self {
        Address(Arc::from(url.as_ref()))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The port, where the address has one.
    pub fn port(&self) -> Option<u16> {
        self.0.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
