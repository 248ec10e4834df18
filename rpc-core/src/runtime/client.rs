//! The client's end: a connection that is opened again when it is lost.
//!
//! Each connection has a link of its own. When one takes no more calls (it was lost, or the server drains) a
//! successor takes its place, made by whoever notices first; calls that were never taken go there by themselves.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::blocking::Home;
use super::clock::now;
use super::dispatch::Registry;
use super::driver::{Driver, Side};
use super::handshake;
use super::link::{Link, LinkEffects};
use super::peer_link::PeerLink;
use super::pending::{More, Pending};
use super::timer::Timer;
use crate::limits::{BACKOFF_FACTOR, BACKOFF_JITTER, Limits};
use crate::marshal::Guard;
use crate::memory::Memory;
use crate::sync::{Mutex, MutexGuard};
use crate::transport::Connector;
use crate::{Code, Error, chance};

/// A server that is to be reached.
pub(crate) struct Client {
    connector: Arc<dyn Connector>,
    limits: Arc<Limits>,
    /// What each of its connections serves.
    registry: Arc<Registry>,
    /// What its connections have together.
    memory: Arc<Memory>,
    home: Home,
    history: Mutex<History>,
}

/// The link for new calls, and what decides on the next one.
struct History {
    link: Arc<Link>,
    /// When the current link's connection was opened.
    opened: Option<Instant>,
    /// How many connections in a row were lost as soon as they were open.
    brief: u32,
    /// Why there will never be another link.
    dead: Option<Error>,
}

/// One brief connection is what a server leaves that is being replaced; as many as these are no coincidence.
const BRIEF_IN_A_ROW: u32 = 2;

/// A user's handle on a client: what it calls with, kept up to date.
///
/// Each clone has a lease of its own, so that callers which have a clone each share no count that their threads would
/// have to hand to one another with every call.
pub(crate) struct Handle {
    first: Arc<Lease>,
    /// The one that has taken its place, if its link has been replaced.
    renewed: Mutex<Option<Arc<Lease>>>,
}

/// What a call needs of its client: the link to call on, and who opens the next one.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) client: Arc<Client>,
    pub(crate) link: Arc<Link>,
    /// Where its calls wait: one at a time here, next to what they touch anyway.
    pub(crate) pending: Pending,
    pub(crate) more: More,
}

impl Handle {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        let link = client.link();
        Handle { first: Lease::new(client, link), renewed: Mutex::new(None) }
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.first.client
    }

    /// What a call is made with.
    #[inline]
    pub(crate) fn lease(&self) -> Arc<Lease> {
        if self.first.link.is_replaced() { self.renewed() } else { self.first.clone() }
    }

    #[cold]
    fn renewed(&self) -> Arc<Lease> {
        // What is done under it leaves it sound.
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        let current = renewed.take().filter(|lease| !lease.link.is_replaced());
        let current = current.unwrap_or_else(|| Lease::new(self.client().clone(), self.client().link()));
        renewed.insert(current).clone()
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Handle::new(self.client().clone())
    }
}

impl Lease {
    fn new(client: Arc<Client>, link: Arc<Link>) -> Arc<Self> {
        Arc::new(Lease { client, link, pending: Pending::default(), more: More::default() })
    }

    /// The lease for a call that this one's link does not take.
    ///
    /// # Errors
    /// There is no link and will be none.
    pub(crate) fn successor(&self) -> Result<Arc<Self>, Error> {
        let link = self.client.successor(&self.link)?;
        Ok(Lease::new(self.client.clone(), link))
    }
}

/// Learns how the first attempt to connect went; without one a client goes on trying.
pub(crate) type First = oneshot::Sender<Result<(), Error>>;

impl Client {
    /// Begins to connect.
    pub(crate) fn start(
        connector: Arc<dyn Connector>,
        limits: Arc<Limits>,
        registry: Arc<Registry>,
        home: Home,
        first: Option<First>,
    ) -> Arc<Self> {
        let memory = Memory::new(limits.memory_bytes());
        let link = Link::new(limits.clone(), registry.clone(), memory.clone());
        let history = Mutex::new(History { link: link.clone(), opened: None, brief: 0, dead: None });
        let client = Arc::new(Client { connector, limits, registry, memory, home, history });
        client.spawn(link, first, false);
        client
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// What unmarshalling a reply may cost.
    #[inline]
    pub(crate) fn guard(&self) -> Guard {
        Guard::from(&*self.limits)
    }

    /// The link for new calls.
    fn link(&self) -> Arc<Link> {
        self.lock().link.clone()
    }

    /// The link for a call that another one does not take.
    ///
    /// # Errors
    /// There is none and will be none.
    fn successor(self: &Arc<Self>, of: &Arc<Link>) -> Result<Arc<Link>, Error> {
        let mut history = self.lock();
        if let Some(error) = &history.dead {
            return Err(error.clone());
        }
        // Links are replaced under this lock alone, so each has one successor.
        if Arc::ptr_eq(&history.link, of) {
            let link = Link::new(self.limits.clone(), self.registry.clone(), self.memory.clone());
            history.link = link.clone();
            of.replace();
            // A server that ends connections as soon as they are open is not to be besieged.
            let brief = history.opened.take().is_some_and(|opened| now() < opened + self.limits.backoff());
            history.brief = if brief { history.brief + 1 } else { 0 };
            if history.brief >= BRIEF_IN_A_ROW {
                // Calls that would not wait for the next attempt do not wait for the next such connection either.
                let message =
                    format!("{} ends connections as soon as they are open", self.connector.address());
                let error = Error::not_executed(Code::Unavailable, message);
                link.lock().connection.attempt_failed(&error, &mut LinkEffects::default());
            }
            drop(history);
            // Not under the lock: a runtime that shuts down drops the task here and now.
            self.spawn(link.clone(), None, brief);
            return Ok(link);
        }
        Ok(history.link.clone())
    }

    fn spawn(self: &Arc<Self>, link: Arc<Link>, first: Option<First>, pause: bool) {
        let keeper = Keeper { client: Arc::downgrade(self), link, finished: false };
        let (connector, home, limits) = (self.connector.clone(), self.home.clone(), self.limits.clone());
        self.home.handle.spawn(keeper.run(connector, home, limits, first, pause));
    }

    fn die(&self, error: &Error) {
        self.lock().dead.get_or_insert_with(|| error.clone());
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.link().retire();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.connector.address()).finish_non_exhaustive()
    }
}

/// The task that opens one link, and sees to a successor when it is over.
struct Keeper {
    client: Weak<Client>,
    link: Arc<Link>,
    finished: bool,
}

impl Keeper {
    async fn run(
        mut self,
        connector: Arc<dyn Connector>,
        home: Home,
        limits: Arc<Limits>,
        mut first: Option<First>,
        mut pause: bool,
    ) {
        let mut timer = Timer::default();
        let mut backoff = Backoff::new(&limits);
        let driver = loop {
            let wait = async {
                if pause {
                    tokio::time::sleep(backoff.next()).await
                }
            };
            if while_wanted(&self.link, &mut timer, wait).await.is_none() {
                return self.finish(None);
            }
            pause = true;
            let attempt = attempt(&self.link, &*connector, &home, &limits);
            let Some(result) = while_wanted(&self.link, &mut timer, attempt).await else {
                return self.finish(None);
            };
            match result {
                Ok(driver) => break driver,
                Err(Failed { error, is_final }) => {
                    if first.is_some() || is_final {
                        self.finish(Some(&error));
                        if let Some(first) = first.take() {
                            // Whoever opened the client may have gone.
                            let _ = first.send(Err(error));
                        }
                        return;
                    }
                    tracing::debug!(address = %connector.address(), "{error}");
                    self.attempt_failed(&error);
                }
            }
        };
        drop(timer);
        if let Some(client) = self.client.upgrade() {
            client.lock().opened = Some(now());
        }
        if let Some(first) = first.take() {
            let _ = first.send(Ok(()));
        }
        let error = driver.await;
        tracing::debug!(address = %connector.address(), "{error}");
        self.finish(None);
    }

    fn attempt_failed(&self, error: &Error) {
        let mut effects = LinkEffects::default();
        self.link.lock().connection.attempt_failed(error, &mut effects);
        effects.run();
    }

    /// This link is over. The next one is begun at once, so that it is there when it is needed, unless another
    /// attempt cannot end differently.
    fn finish(&mut self, final_error: Option<&Error>) {
        self.finished = true;
        let client = self.client.upgrade();
        match (client, final_error) {
            (Some(client), Some(error)) => {
                client.die(error);
                self.link.close(error.clone());
            }
            (Some(client), None) => {
                // An error means that the client is dead, and then its calls learn why.
                let _ = client.successor(&self.link);
            }
            (None, _) => self.link.close(gone()),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let error = Error::not_executed(
            Code::Unavailable,
            "the runtime that this client was opened on has shut down",
        );
        if let Some(client) = self.client.upgrade() {
            client.die(&error);
        }
        self.link.close(error);
    }
}

fn gone() -> Error {
    Error::not_executed(Code::Unavailable, "the client was dropped")
}

struct Failed {
    error: Error,
    is_final: bool,
}

/// Connects once: the transport, then the hellos.
async fn attempt(
    link: &Arc<Link>,
    connector: &dyn Connector,
    home: &Home,
    limits: &Limits,
) -> Result<Driver, Failed> {
    let address = connector.address();
    let connecting = async {
        let transport = connector.connect().await.map_err(|source| {
            let message = format!("cannot connect to {address}");
            Failed {
                error: Error::not_executed(Code::Unavailable, message).with_source(source),
                is_final: false,
            }
        })?;
        let peer = PeerLink::peer(transport.peer(), link, home.clone());
        let (mut recv, mut send) = transport.split();
        match handshake::greet(&mut recv, &mut send, limits).await {
            Ok(hello) => Ok(Driver::new(link.clone(), &hello, recv, send, peer, Side::Opened)),
            Err(error) => {
                let is_final = error.is_final();
                Err(Failed { error: Error::from(error), is_final })
            }
        }
    };
    tokio::time::timeout(limits.hello_timeout(), connecting).await.unwrap_or_else(|_elapsed| {
        let message = format!("{address} did not answer with its hello within {:?}", limits.hello_timeout());
        Err(Failed { error: Error::not_executed(Code::Unavailable, message), is_final: false })
    })
}

/// Waits for a future while there is no connection, keeping the time of calls that wait too; `None` once nobody
/// wants the connection any more.
async fn while_wanted<F: Future>(link: &Link, timer: &mut Timer, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let mut shared = link.lock();
        shared.register(cx.waker());
        shared.kicked = false;
        if shared.connection.is_retired() {
            return Poll::Ready(None);
        }
        drop(shared);
        // There is no connection that could break the protocol.
        let _ = timer.poll(link, cx);
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// How long to wait before the next attempt.
struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    fn new(limits: &Limits) -> Self {
        Backoff { next: limits.backoff(), max: limits.max_backoff() }
    }

    fn next(&mut self) -> Duration {
        let pause = self.next.min(self.max);
        self.next = self.next.mul_f64(BACKOFF_FACTOR).min(self.max);
        let chance = chance::draw() as f64 / u64::MAX as f64;
        pause.mul_f64(1.0 + BACKOFF_JITTER * (2.0 * chance - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_differ() {
        let limits = Limits::default();
        let mut backoff = Backoff::new(&limits);
        let pauses: Vec<_> = (0..20).map(|_| backoff.next().as_secs_f64()).collect();
        for (index, pause) in pauses.iter().enumerate() {
            let middle = BACKOFF_FACTOR.powi(index as i32).min(120.0);
            assert!(
                (middle * 0.8..=middle * 1.2).contains(pause),
                "pause {index} of {pause} s around {middle} s"
            );
        }
        let other = Backoff::new(&limits).next().as_secs_f64();
        assert!((other - pauses[0]).abs() > f64::EPSILON, "two clients wait equally long");
    }
}
