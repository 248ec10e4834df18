//! The client's handle: what stubs call through.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use crate::call::{Call, Kind};
use crate::limits::Limits;
use crate::marshal::{ArgumentList, Shape};
use crate::returned::Returned;
use crate::runtime::{Client, Home, InProcess, block_on};
use crate::service::{MethodError, Service};
use crate::transport::{Connect, Connector};
use crate::{Code, Error};

/// A way to a server, shared by any number of stubs and callers; cloning it is cheap.
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
    Remote(Arc<Client>),
    InProcess(Arc<InProcess>),
}

impl Channel {
    /// Connects to a server: a URL such as `tcp://127.0.0.1:9000`, or a [`Connector`].
    pub fn connect<Via>(to: impl Connect<Via>) -> Connecting<Channel> {
        Connecting::new(to)
    }

    /// A channel to a service in this process: marshalling as ever, but no socket and no task. The handler runs in
    /// whoever polls the call.
    pub fn in_process(service: impl Service) -> Channel {
        Channel(Way::InProcess(Arc::new(InProcess::new(service))))
    }

    /// Calls a method by its name on the wire.
    pub fn call<T: Returned, E: MethodError>(
        &self,
        method: &'static str,
        arguments: impl ArgumentList,
    ) -> Call<T, E> {
        Call::new(self.clone(), method, &arguments, Shape::Named, Kind::Call)
    }

    /// The same, with structs marshalled by position.
    pub fn call_compact<T: Returned, E: MethodError>(
        &self,
        method: &'static str,
        arguments: impl ArgumentList,
    ) -> Call<T, E> {
        Call::new(self.clone(), method, &arguments, Shape::Positional, Kind::Call)
    }

    /// Calls a method whose reply nobody awaits. The call ends as soon as it is handed to the connection's queue.
    pub fn notify(&self, method: &'static str, arguments: impl ArgumentList) -> Call<()> {
        Call::new(self.clone(), method, &arguments, Shape::Named, Kind::OneWay)
    }

    /// The same, with structs marshalled by position.
    pub fn notify_compact(&self, method: &'static str, arguments: impl ArgumentList) -> Call<()> {
        Call::new(self.clone(), method, &arguments, Shape::Positional, Kind::OneWay)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::Remote(client) => f.debug_tuple("Channel").field(client).finish(),
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
/// [`Code::InvalidArgument`] if the address is not understood, [`Code::Unavailable`] if the server cannot be reached
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
            client: PhantomData,
        }
    }

    /// Replaces the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Connects in the background, and need not succeed for a start: calls decide for themselves how long they wait.
    /// For a server that may come later than its clients.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] if the address is not understood, [`Code::FailedPrecondition`] outside of a tokio
    /// runtime.
    pub fn lazy(self) -> Result<C, Error> {
        let State::Ready(connector) = self.state else {
            return Err(Error::not_executed(Code::FailedPrecondition, "this is being awaited already"));
        };
        let client = Client::start(connector?, self.limits, Home::current()?, None);
        Ok(C::from(Channel(Way::Remote(client))))
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
            self.state = match connector.and_then(|connector| Ok((connector, home()?))) {
                Ok((connector, home)) => {
                    let (send, first) = oneshot::channel();
                    let client = Client::start(connector, self.limits.clone(), home, Some(send));
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
            (State::Waiting { client, .. }, Ok(Ok(()))) => Ok(C::from(Channel(Way::Remote(client)))),
            (_, Ok(Err(error))) | (State::Ready(Err(error)), _) => Err(error),
            _ => {
                let message = "the runtime that this client was opened on has shut down";
                Err(Error::not_executed(Code::Unavailable, message))
            }
        })
    }
}

impl<C> fmt::Debug for Connecting<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}
