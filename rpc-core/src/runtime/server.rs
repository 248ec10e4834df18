//! The server's end: accepts connections and serves each until it is over or the server drains.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::blocking::Home;
use super::dispatch::Registry;
use super::driver::{Driver, Side};
use super::handshake;
use super::link::Link;
use super::peer_link::PeerLink;
use crate::limits::Limits;
use crate::memory::{Memory, MemoryUse};
use crate::service::Service;
use crate::transport::{Listen, Listener, Transport};
use crate::{Address, Error};

/// Serves any number of services at an address.
///
/// # Example
/// ```no_run
/// # async fn example(calculator: impl rpc_core::Service, listener: impl rpc_core::Listener) -> Result<(), rpc_core::Error> {
/// let bound = rpc_core::Server::new().add(calculator).bind(listener).await?;
/// println!("serving at {}", bound.local_addr());
/// bound.serve().await
/// # }
/// ```
#[derive(Default)]
pub struct Server {
    registry: Registry,
    limits: Limits,
}

impl Server {
    /// A server without services, with the default [`Limits`].
    pub fn new() -> Self {
        Server::default()
    }

    /// Adds a service. Two of one name are an error at [`bind`](Self::bind).
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "it adds a service, and nobody will write `server + service`"
    )]
    pub fn add(mut self, service: impl Service) -> Self {
        self.registry.add(service);
        self
    }

    /// Replaces the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Starts to listen, without serving yet.
    ///
    /// Clients that connect before [`Bound::serve`] is awaited wait.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`](crate::Code::InvalidArgument) if the address is not understood or two services or
    /// methods have one name, [`Code::Unavailable`](crate::Code::Unavailable) if the system refuses the address.
    pub async fn bind<Via>(self, address: impl Listen<Via>) -> Result<Bound, Error> {
        let registry = self.registry.finish()?;
        let listener = address.into_listener().await?;
        let local_addr = listener.local_addr();
        Ok(Bound {
            registry,
            memory: Memory::new(self.limits.memory_bytes()),
            limits: self.limits,
            listener,
            local_addr,
            stages: EndOnDrop(watch::Sender::new(Stage::Serving)),
        })
    }

    /// Listens and serves, until a hard error or for ever: [`bind`](Self::bind) and [`Bound::serve`] in one.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    /// Dropping the future ends the server and drops its connections at once.
    pub async fn listen<Via>(self, address: impl Listen<Via>) -> Result<(), Error> {
        self.bind(address).await?.serve().await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// How far a server is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Draining,
    Ended,
}

/// A server that listens: [`serve`](Self::serve) makes it answer.
pub struct Bound {
    registry: Arc<Registry>,
    limits: Limits,
    listener: Box<dyn Listener>,
    local_addr: Address,
    memory: Arc<Memory>,
    stages: EndOnDrop,
}

impl Bound {
    /// Where it listens, as a URL that a client can connect to; with the port that was really given.
    pub fn local_addr(&self) -> Address {
        self.local_addr.clone()
    }

    /// A handle by which the server can be shut down from elsewhere.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle { stages: self.stages.0.clone() }
    }

    /// How much memory its connections hold of what [`Limits::memory_bytes`] bounds, now and later.
    pub fn memory_use(&self) -> MemoryUse {
        MemoryUse(self.memory.clone())
    }

    /// Serves until it is [shut down](ShutdownHandle::shutdown), then drains: takes no new connection, tells its
    /// clients, finishes the calls that run, and returns when the last connection is closed or
    /// [`Limits::drain_timeout`] has passed.
    ///
    /// # Errors
    /// None at present: a connection that fails is its own trouble, and failing to accept one is tried again.
    ///
    /// # Cancel safety
    /// Dropping the future drops all connections and their handlers at once.
    pub async fn serve(self) -> Result<(), Error> {
        let Bound { registry, limits, mut listener, local_addr, memory, stages } = self;
        let limits = Arc::new(limits);
        let mut told = stages.0.subscribe();
        let mut connections = Connections::new(registry, limits.clone(), memory);
        {
            let mut accepting = pin!(connections.accept(&mut *listener));
            let mut told = pin!(told.wait_for(|stage| *stage >= Stage::Draining));
            poll_fn(|cx| {
                if told.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { accepting.as_mut().poll(cx) }
            })
            .await;
        }
        tracing::debug!(address = %local_addr, "the server drains");
        drop(listener);
        connections.drain(limits.drain_timeout()).await;
        Ok(())
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl IntoFuture for Bound {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.serve())
    }
}

/// Shuts a server down; as many of them as needed, used as often as anybody likes.
#[derive(Clone, Debug)]
pub struct ShutdownHandle {
    stages: watch::Sender<Stage>,
}

impl ShutdownHandle {
    /// Begins the shutdown. What is returned can be awaited to know when [`Bound::serve`] has ended.
    pub fn shutdown(&self) -> Drained {
        self.stages.send_if_modified(|stage| {
            let serving = *stage == Stage::Serving;
            if serving {
                *stage = Stage::Draining;
            }
            serving
        });
        let mut stages = self.stages.subscribe();
        Drained(Box::pin(async move {
            // The sender lives as long as this handle's clones; a server that was dropped has said so too.
            let _ = stages.wait_for(|stage| *stage == Stage::Ended).await;
        }))
    }
}

/// Ends when the server has; dropping it changes nothing.
pub struct Drained(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Future for Drained {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drained").finish_non_exhaustive()
    }
}

/// Says that the server has ended, however it did, and also if it never served.
struct EndOnDrop(watch::Sender<Stage>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.send_replace(Stage::Ended);
    }
}

/// How long to leave a listener alone that failed to accept: most often there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whether an error of accepting is that of the connection that was next, and the one after it may well be had: Linux
/// reports so what is already wrong with it (accept(2), "Error handling").
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | ConnectionRefused
            | NetworkDown
            | NetworkUnreachable
            | HostUnreachable
    )
}

/// All connections of a server.
struct Connections {
    registry: Arc<Registry>,
    limits: Arc<Limits>,
    memory: Arc<Memory>,
    /// Connections without their hello: so many more may be accepted.
    half_open: Arc<Semaphore>,
    tasks: JoinSet<()>,
    links: Vec<Weak<Link>>,
}

impl Connections {
    fn new(registry: Arc<Registry>, limits: Arc<Limits>, memory: Arc<Memory>) -> Self {
        let half_open = Arc::new(Semaphore::new(limits.half_open().clamp(1, Semaphore::MAX_PERMITS)));
        Connections { registry, limits, memory, half_open, tasks: JoinSet::new(), links: Vec::new() }
    }

    /// Accepts connections for ever.
    async fn accept(&mut self, listener: &mut dyn Listener) {
        loop {
            // The semaphore is never closed, so there is always a permit in the end.
            let permit = Arc::clone(&self.half_open).acquire_owned().await.ok();
            let accepted = poll_fn(|cx| {
                // Connections that have ended are let go as they end.
                while let Poll::Ready(Some(_)) = self.tasks.poll_join_next(cx) {}
                self.sweep();
                listener.poll_accept(cx)
            })
            .await;
            match accepted {
                Ok(transport) => self.begin(transport, permit),
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection was gone before it was accepted");
                    // A listener that says so without end leaves the others their turn all the same.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn begin(&mut self, transport: Box<dyn Transport>, permit: Option<OwnedSemaphorePermit>) {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= self.limits.connections() {
            tracing::warn!(limit = self.limits.connections(), "a connection was refused: there are too many");
            return;
        }
        let link = Link::new(self.limits.clone(), self.registry.clone(), self.memory.clone());
        self.links.push(Arc::downgrade(&link));
        // What the beginning alone needs is taken by the thread that lets it go, and leaves room there for what stays; by this
        // one, it would leave holes between the connections.
        let beginning = async move { Box::pin(begin(link, transport, permit)).await };
        self.tasks.spawn(Serving::Beginning(Box::pin(beginning)));
    }

    /// Links of connections that have ended are swept out when they are more than those that have not: even the weak ones
    /// keep their memory. A handler that is about to be dropped may have one as well.
    fn sweep(&mut self) {
        if self.links.len() > 2 * self.tasks.len() {
            self.links.retain(|link| link.upgrade().is_some_and(|link| !link.is_over()));
        }
        // Apart from that, since of many connections that end together the last ones are counted when their links are gone.
        if self.links.capacity() > 4 * self.tasks.len() {
            self.links.shrink_to(2 * self.tasks.len());
        }
    }

    async fn drain(mut self, limit: Duration) {
        for link in self.links.iter().filter_map(Weak::upgrade) {
            link.start_drain();
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!(
                connections = self.tasks.len(),
                "the drain took too long: what still runs is dropped"
            );
        }
        // Dropped here, connections end and stop their handlers.
    }
}

/// The task of a connection. It is as small as can be, and what the beginning needs is let go with that: the life of a
/// connection may be long and idle.
enum Serving<B> {
    Beginning(Pin<Box<B>>),
    Open(Box<Driver>),
}

impl<B: Future<Output = Option<Box<Driver>>>> Future for Serving<B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut *self {
                Serving::Beginning(beginning) => match ready!(beginning.as_mut().poll(cx)) {
                    Some(driver) => *self = Serving::Open(driver),
                    None => return Poll::Ready(()),
                },
                Serving::Open(driver) => {
                    let error = ready!(Pin::new(&mut **driver).poll(cx));
                    tracing::debug!(peer = ?driver.peer(), %error, "a connection ended");
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// The beginning of a connection, which may come to nothing.
async fn begin(
    link: Arc<Link>,
    transport: Box<dyn Transport>,
    permit: Option<OwnedSemaphorePermit>,
) -> Option<Box<Driver>> {
    let peer = transport.peer();
    let (mut recv, mut send) = transport.split();
    let timeout = link.limits.hello_timeout();
    let hello =
        match tokio::time::timeout(timeout, handshake::welcome(&mut recv, &mut send, &link.limits)).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a connection did not begin");
                return None;
            }
            Err(_elapsed) => {
                tracing::debug!(%peer, ?timeout, "a connection did not begin in time");
                return None;
            }
        };
    drop(permit);
    let home = Home::current()
        .inspect_err(|error| tracing::debug!(%peer, %error, "a connection did not begin"))
        .ok()?;
    let caller = PeerLink::peer(peer, &link, home);
    Some(Box::new(Driver::new(link, &hello, recv, send, caller, Side::Accepted)))
}
