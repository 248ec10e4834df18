//! The client's handle: what stubs call through.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use crate::call::{Call, Kind};
use crate::context::Peer;
use crate::failure::MethodError;
use crate::limits::Limits;
use crate::marshal::{ArgumentList, Guard, Shape};
use crate::memory::MemoryUse;
use crate::returned::Returned;
use crate::runtime::{Client, Handle, Home, InProcess, Link, PeerLink, Registry, block_on, in_process};
use crate::service::Service;
use crate::transport::{Connect, Connector};
use crate::{Code, Error};

/// A way to a server, shared by any number of stubs and callers; cloning it is cheap.
///
/// Clones share the connection. Where tasks on several threads call at once, give each a clone rather than a reference to
/// one: what a call counts and where it waits belongs to its clone, so that the threads have nothing to hand to one another.
///
/// It keeps one connection open and opens it again, with growing pauses, when it is lost. Calls that have not been
/// sent wait for it within their deadline, and fail at once without one; see
/// [`Call::wait_for_ready`]. The connection is closed when the last clone, stub and call are gone.
///
/// # Example
/// ```no_run
/// # async fn example(connector: impl rpc_core::Connector) -> Result<(), rpc_core::Error> {
/// let channel = rpc_core::Channel::connect(connector).await?;
/// // A method can be called without a stub, by its name on the wire.
/// let five = channel.call::<i64, rpc_core::Error>("Calculator.add", (2, 3)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Channel(pub(crate) Way);

#[derive(Clone)]
pub(crate) enum Way {
    Remote(Handle),
    Peer(WayBack),
    InProcess(Arc<dyn InProcess>),
}

/// The way back to the other side of a connection, which is not kept open for it.
#[derive(Clone)]
pub(crate) struct WayBack(Peer);

impl WayBack {
    /// The link to call on.
    ///
    /// # Errors
    /// [`Code::Unavailable`], not executed: there is none, or none any more.
    pub(crate) fn link(&self) -> Result<Arc<Link>, Error> {
        match self.0.link::<PeerLink>() {
            Some(back) => back.link().ok_or_else(|| self.over()),
            None => Err(self.over()),
        }
    }

    /// Why there is no link.
    pub(crate) fn over(&self) -> Error {
        let message = match (self.0.address(), self.0.link::<PeerLink>()) {
            (Some(address), Some(_)) => {
                format!("the connection with {address} is over, so it cannot be called back")
            }
            (Some(_), None) => {
                "a caller in process has no connection over which it could be called back".to_owned()
            }
            (None, _) => {
                "there is nobody to call back: no call was being served where this client was made".to_owned()
            }
        };
        Error::not_executed(Code::Unavailable, message)
    }

    pub(crate) fn home(&self) -> Option<Home> {
        Some(self.0.link::<PeerLink>()?.home.clone())
    }

    pub(crate) fn guard(&self) -> Guard {
        self.0.link::<PeerLink>().map(|back| back.guard).unwrap_or_default()
    }
}

impl Peer {
    /// A client that calls this peer back, over the connection that its own call came by.
    ///
    /// On a server the peer is the client, which [serves](Connecting::serve) what is called; in a handler of a
    /// client it is the server. The stub costs next to nothing to make, can be cloned, and kept when the handler has
    /// ended: for as long as the connection lasts, which it does not prolong. From then on its calls fail with
    /// [`Code::Unavailable`], not executed; so do those of a client that was made outside of a handler, or for a
    /// caller in process. A client that connects again is a new peer.
    ///
    /// Calls that a handler makes so inherit its deadline and cancellation, as all do. They are finished also while
    /// either side drains, as part of the call that needs them.
    ///
    /// # Example
    /// ```
    /// use rpc_core::{Channel, Code, Context};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// // With stubs: `client::<ObserverClient>()`. Here nobody has called.
    /// let caller: Channel = Context::current().peer().client();
    /// let error = caller.call::<(), rpc_core::Error>("Observer.hears", ("hello",)).await.unwrap_err();
    /// assert_eq!(error.code(), Code::Unavailable);
    /// # }
    /// ```
    pub fn client<C: From<Channel>>(&self) -> C {
        C::from(Channel(Way::Peer(WayBack(self.clone()))))
    }
}

impl Channel {
    /// Connects to a server: a URL such as `tcp://127.0.0.1:9000`, or a [`Connector`].
    pub fn connect<Via>(to: impl Connect<Via>) -> Connecting<Channel> {
        Connecting::new(to)
    }

    /// A channel to a service in this process: marshalling as ever, but no socket and no task. The handler runs in
    /// whoever polls the call.
    pub fn in_process(service: impl Service) -> Channel {
        Channel(Way::InProcess(in_process(service)))
    }

    /// How much memory its connections hold of what [`Limits::memory_bytes`] bounds, now and later: together with all
    /// others of their server where this calls back. None in process, and where there is nobody to call back.
    pub fn memory_use(&self) -> Option<MemoryUse> {
        match &self.0 {
            Way::Remote(handle) => Some(MemoryUse(handle.client().memory().clone())),
            Way::Peer(back) => back.0.memory().map(MemoryUse),
            Way::InProcess(_) => None,
        }
    }

    /// Calls a method by its name on the wire.
    pub fn call<T: Returned, E: MethodError>(
        &self,
        method: &'static str,
        arguments: impl ArgumentList,
    ) -> Call<T, E> {
        Call::new(self, method, &arguments, Shape::Named, Kind::Call)
    }

    /// The same, with structs marshalled by position.
    pub fn call_compact<T: Returned, E: MethodError>(
        &self,
        method: &'static str,
        arguments: impl ArgumentList,
    ) -> Call<T, E> {
        Call::new(self, method, &arguments, Shape::Positional, Kind::Call)
    }

    /// Calls a method whose reply nobody awaits. The call ends as soon as it is handed to the connection's queue.
    pub fn notify(&self, method: &'static str, arguments: impl ArgumentList) -> Call<()> {
        Call::new(self, method, &arguments, Shape::Named, Kind::OneWay)
    }

    /// The same, with structs marshalled by position.
    pub fn notify_compact(&self, method: &'static str, arguments: impl ArgumentList) -> Call<()> {
        Call::new(self, method, &arguments, Shape::Positional, Kind::OneWay)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::Remote(handle) => f.debug_tuple("Channel").field(handle.client()).finish(),
            Way::Peer(back) => f.debug_tuple("Channel").field(&back.0).finish(),
            Way::InProcess(_) => f.write_str("Channel(in process)"),
        }
    }
}

/// A client that is being connected: a future that gives a [`Channel`] or a stub.
///
/// Awaited in a tokio runtime, the connection lives there; with [`blocking`](Self::blocking) it lives on a thread
/// of the library. The first attempt decides: if it fails, so does this.
///
/// # Errors
/// [`Code::InvalidArgument`] if the address is not understood or two of the services that it
/// [serves](Self::serve) have one name, [`Code::Unavailable`] if the server cannot be reached
/// or does not answer with its hello in time, [`Code::FailedPrecondition`] if the two sides have no protocol version
/// in common (the source is a [`VersionMismatch`](crate::VersionMismatch)) or there is no runtime. Nothing was
/// executed.
///
/// # Cancel safety
/// Dropping it gives the attempt up.
#[must_use = "a client is connected when this is awaited, or by `.blocking()`"]
pub struct Connecting<C> {
    state: State,
    limits: Limits,
    registry: Registry,
    client: PhantomData<fn() -> C>,
}

enum State {
    Ready(Result<Arc<dyn Connector>, Error>),
    Waiting { client: Arc<Client>, first: oneshot::Receiver<Result<(), Error>> },
    Ended,
}

impl<C: From<Channel>> Connecting<C> {
    /// Connects to a server when it is awaited.
    pub fn new<Via>(to: impl Connect<Via>) -> Self {
        Connecting {
            state: State::Ready(to.into_connector()),
            limits: Limits::default(),
            registry: Registry::default(),
            client: PhantomData,
        }
    }

    /// Replaces the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves the server too: it can call this service over the connection that is opened here, and over each that
    /// replaces it. Any number of services; two of one name are an error when this is awaited.
    ///
    /// A server calls back whoever calls it ([`Peer::client`]), so it knows this client from its first call on. After
    /// a reconnection it knows it again from the next call on: what is to last as long as a connection is best a
    /// call that lasts as long, since its end is the sign to make it again.
    ///
    /// Handlers run in the runtime of the connection; for a client that was opened with
    /// [`blocking`](Self::blocking) that is the library's thread, so they must not block. The
    /// [limits](Self::limits) are those of a server: [`Limits::calls`] is how many calls of the server run here at
    /// once. Somebody must keep the client: when its last clone has gone, calls that run here are finished, within
    /// [`Limits::drain_timeout`], and the connection is closed.
    pub fn serve(mut self, service: impl Service) -> Self {
        self.registry.add(service);
        self
    }

    /// Connects in the background, and need not succeed for a start: calls decide for themselves how long they wait.
    /// For a server that may come later than its clients.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] if the address is not understood or two services have one name,
    /// [`Code::FailedPrecondition`] outside of a tokio runtime.
    pub fn lazy(self) -> Result<C, Error> {
        let State::Ready(connector) = self.state else {
            return Err(Error::not_executed(Code::FailedPrecondition, "this is being awaited already"));
        };
        let client =
            Client::start(connector?, Arc::new(self.limits), self.registry.finish()?, Home::current()?, None);
        Ok(C::from(Channel(Way::Remote(Handle::new(client)))))
    }

    /// Connects from a program, or a thread, without async. The connection lives on a thread of the library.
    ///
    /// # Errors
    /// As awaiting it; and [`Code::FailedPrecondition`] inside an async task.
    pub fn blocking(mut self) -> Result<C, Error> {
        let home = Home::library()?;
        // Not started before it is known that this thread may wait.
        block_on(
            None,
            std::future::poll_fn(move |cx| {
                self.begin(|| Ok(home.clone()));
                Pin::new(&mut self).poll(cx)
            }),
        )?
    }

    fn begin(&mut self, home: impl FnOnce() -> Result<Home, Error>) {
        if let State::Ready(connector) = &mut self.state {
            let connector = std::mem::replace(connector, Err(Error::new(Code::Internal, "")));
            let registry = std::mem::take(&mut self.registry);
            let ready = connector.and_then(|connector| Ok((connector, registry.finish()?, home()?)));
            self.state = match ready {
                Ok((connector, registry, home)) => {
                    let (send, first) = oneshot::channel();
                    let client =
                        Client::start(connector, Arc::new(self.limits.clone()), registry, home, Some(send));
                    State::Waiting { client, first }
                }
                Err(error) => State::Ready(Err(error)),
            };
        }
    }
}

impl<C: From<Channel>> Future for Connecting<C> {
    type Output = Result<C, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.begin(Home::current);
        let result = match &mut self.state {
            State::Waiting { first, .. } => ready!(Pin::new(first).poll(cx)),
            State::Ready(_) | State::Ended => Ok(Ok(())),
        };
        let ended = std::mem::replace(&mut self.state, State::Ended);
        Poll::Ready(match (ended, result) {
            (State::Waiting { client, .. }, Ok(Ok(()))) => {
                Ok(C::from(Channel(Way::Remote(Handle::new(client)))))
            }
            (_, Ok(Err(error))) | (State::Ready(Err(error)), _) => Err(error.reported()),
            _ => {
                let message = "the runtime that this client was opened on has shut down";
                Err(Error::not_executed(Code::Unavailable, message).reported())
            }
        })
    }
}

impl<C> fmt::Debug for Connecting<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}
