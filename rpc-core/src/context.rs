//! What a handler can know of the call that it serves, without an argument for it.
//!
//! The context is ambient: the runtime sets it for the time of each poll of a handler. It is made lazily, so that
//! handlers which never ask for it do not pay for it.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Instant;

use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::memory::{Caller, Memory};
use crate::{Address, Metadata};

/// The call that is being served: its deadline, metadata, peer and cancellation.
///
/// Ambient: [`Context::current`] gives it anywhere below a handler, and outside of one it is empty. A call that is
/// made inside a handler inherits the deadline, as the minimum of both, and ends when the handler's own call is
/// cancelled; inside one that is `#[rpc(no_cancel)]` it goes on, so that the handler can come to its end.
///
/// # Example
/// ```
/// use rpc_core::Context;
///
/// # fn handler() -> String {
/// Context::current().metadata("tenant").unwrap_or_default()
/// # }
/// # assert_eq!(handler(), "");
/// ```
#[derive(Clone, Default)]
pub struct Context(Option<Arc<Inner>>);

struct Inner {
    origin: Origin,
    cancelled: AtomicBool,
    cancellation: Notify,
    reply_metadata: Mutex<Option<Box<Metadata>>>,
}

/// What the runtime knows of a call before anybody asks.
pub(crate) struct Origin {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    pub(crate) peer: Peer,
    pub(crate) deadline: Option<Instant>,
    pub(crate) metadata: Option<Box<Metadata>>,
    /// The handler runs to its end whatever happens, so the calls that it makes do too.
    pub(crate) no_cancel: bool,
}

/// The other side of a connection: whose call is being served.
#[derive(Clone, Default)]
pub struct Peer(Whose);

#[derive(Clone, Default)]
enum Whose {
    #[default]
    Nobody,
    /// A caller in this process. All are alike, so there is nothing to count.
    Here,
    Known(Arc<Known<dyn WayBack>>),
}

/// What is known of a peer. Each call has a clone of it, so all of it is behind one count.
struct Known<L: ?Sized> {
    address: Address,
    /// What all connections beside its own have together.
    memory: Arc<Memory>,
    /// The way back to it, of which this module knows nothing else.
    link: L,
}

/// A connection to a peer, as far as calls of that peer are concerned.
pub(crate) trait WayBack: Any + Send + Sync {
    /// The values of a call take much more memory than its message.
    fn note_growth(&self);
}

impl Peer {
    /// One that can be called over `link`, or not at all.
    pub(crate) fn new(address: Address, memory: Arc<Memory>, link: impl WayBack) -> Self {
        Peer(Whose::Known(Arc::new(Known { address, memory, link })))
    }

    /// A caller in this process.
    pub(crate) fn in_process() -> Self {
        Peer(Whose::Here)
    }

    /// Where it is; none outside of a handler.
    pub fn address(&self) -> Option<Address> {
        match &self.0 {
            Whose::Nobody => None,
            Whose::Here => Some(Address::new("in-process:")),
            Whose::Known(known) => Some(known.address.clone()),
        }
    }

    /// What its connection shares with others.
    pub(crate) fn memory(&self) -> Option<Arc<Memory>> {
        match &self.0 {
            Whose::Nobody | Whose::Here => None,
            Whose::Known(known) => Some(known.memory.clone()),
        }
    }

    fn note_growth(&self) {
        match &self.0 {
            Whose::Nobody | Whose::Here => {}
            Whose::Known(known) => known.link.note_growth(),
        }
    }

    /// The way back to it, if it is one of these.
    pub(crate) fn link<L: Any>(&self) -> Option<&L> {
        match &self.0 {
            Whose::Nobody | Whose::Here => None,
            Whose::Known(known) => (&known.link as &dyn Any).downcast_ref(),
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Context {
    /// The context of the call that is being served here; an empty one outside of a handler.
    pub fn current() -> Context {
        with_current(|ambient| ambient.as_mut().map(Ambient::context)).unwrap_or_default()
    }

    /// The name of the service.
    pub fn service(&self) -> Option<&'static str> {
        self.origin().map(|origin| origin.service)
    }

    /// The name of the method within its service.
    pub fn method(&self) -> Option<&'static str> {
        self.origin().map(|origin| origin.method)
    }

    /// The moment by which the caller wants the reply.
    pub fn deadline(&self) -> Option<Instant> {
        self.origin()?.deadline
    }

    /// A text that the caller sent beside the call.
    pub fn metadata(&self, name: &str) -> Option<String> {
        Some(self.origin()?.metadata.as_ref()?.get(name)?.to_owned())
    }

    /// All texts that the caller sent beside the call.
    pub fn all_metadata(&self) -> Metadata {
        self.origin().and_then(|origin| origin.metadata.as_deref().cloned()).unwrap_or_default()
    }

    /// Who called; [`Peer::client`] calls back.
    pub fn peer(&self) -> Peer {
        self.origin().map(|origin| origin.peer.clone()).unwrap_or_default()
    }

    /// Sends a text beside the reply; [`Call::with_metadata`](crate::Call::with_metadata) gives it to the caller.
    ///
    /// Outside of a handler, and once the reply has been sent, nothing happens.
    pub fn set_reply_metadata(&self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) {
        if let Some(inner) = &self.0 {
            let mut metadata = inner.reply_metadata.lock().unwrap_or_else(PoisonError::into_inner);
            metadata.get_or_insert_default().insert(name, value);
        }
    }

    /// Whether nobody waits for the reply any more: the caller cancelled, its deadline passed, or it is gone.
    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.cancelled.load(Ordering::Acquire))
    }

    /// Waits until nobody waits for the reply any more; for ever if that does not happen.
    ///
    /// A handler's own future is dropped then; this is for tasks that it has spawned, and for handlers that are
    /// `#[rpc(no_cancel)]`.
    ///
    /// # Cancel safety
    /// Safe: dropping the future loses nothing.
    pub async fn cancelled(&self) {
        let Some(inner) = &self.0 else { return std::future::pending().await };
        loop {
            // Registered before the look at the flag, so that a cancellation in between is not missed.
            let notified = inner.cancellation.notified();
            if self.is_cancelled() {
                return;
            }
            notified.await;
        }
    }

    /// Spawns a task that carries the current context.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as `tokio::spawn` does.
    pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(Context::current().scope(future))
    }

    /// Runs a future with this context as its current one.
    pub fn scope<F: Future>(&self, future: F) -> Scope<F> {
        Scope { future, ambient: Some(Ambient::Made(self.clone())) }
    }

    /// Runs a function with this context as its current one: in `spawn_blocking`, say.
    pub fn sync_scope<T>(&self, function: impl FnOnce() -> T) -> T {
        enter(&mut Some(Ambient::Made(self.clone())), function)
    }

    /// What was set for the reply so far.
    pub(crate) fn take_reply_metadata(&self) -> Option<Box<Metadata>> {
        self.0.as_ref()?.reply_metadata.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn cancel(&self) {
        if let Some(inner) = &self.0 {
            inner.cancelled.store(true, Ordering::Release);
            inner.cancellation.notify_waiters();
        }
    }

    fn origin(&self) -> Option<&Origin> {
        self.0.as_ref().map(|inner| &inner.origin)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Context");
        if let Some(origin) = self.origin() {
            debug
                .field("service", &origin.service)
                .field("method", &origin.method)
                .field("peer", &origin.peer);
        }
        debug.finish_non_exhaustive()
    }
}

/// The context of a handler, made when it is first asked for.
pub(crate) enum Ambient {
    Origin(Origin),
    Made(Context),
    /// Only for the moment in which the one becomes the other.
    Making,
}

impl Ambient {
    /// The context, made if it is not there yet.
    pub(crate) fn context(&mut self) -> Context {
        if let Ambient::Origin(_) = self
            && let Ambient::Origin(origin) = std::mem::replace(self, Ambient::Making)
        {
            *self = Ambient::Made(Context(Some(Arc::new(Inner {
                origin,
                cancelled: AtomicBool::new(false),
                cancellation: Notify::new(),
                reply_metadata: Mutex::default(),
            }))));
        }
        self.made().cloned().unwrap_or_default()
    }

    /// Who called.
    pub(crate) fn peer(&self) -> Peer {
        match self {
            Ambient::Origin(origin) => origin.peer.clone(),
            Ambient::Made(context) => context.peer(),
            Ambient::Making => Peer::default(),
        }
    }

    /// The same of a call that has ended.
    pub(crate) fn into_peer(self) -> Peer {
        match self {
            Ambient::Origin(origin) => origin.peer,
            Ambient::Made(_) | Ambient::Making => self.peer(),
        }
    }

    pub(crate) fn made(&self) -> Option<&Context> {
        match self {
            Ambient::Made(context) => Some(context),
            Ambient::Origin(_) | Ambient::Making => None,
        }
    }

    /// What the handler has set for the reply.
    pub(crate) fn take_reply_metadata(&self) -> Option<Box<Metadata>> {
        self.made()?.take_reply_metadata()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Ambient>> = const { RefCell::new(None) };
}

/// Runs a function with an ambient context, which comes back changed if the function asked for it.
#[inline]
pub(crate) fn enter<T>(ambient: &mut Option<Ambient>, function: impl FnOnce() -> T) -> T {
    /// Swaps back even if the function panics. Until then the outer context lies where this one comes from.
    struct Restore<'a>(&'a mut Option<Ambient>);
    impl Drop for Restore<'_> {
        #[inline]
        fn drop(&mut self) {
            with_current(|current| std::mem::swap(current, self.0));
        }
    }
    with_current(|current| std::mem::swap(current, ambient));
    let _restore = Restore(ambient);
    function()
}

/// The function must not run code of a user's, which may ask for the context itself.
#[inline]
fn with_current<T>(function: impl FnOnce(&mut Option<Ambient>) -> T) -> T {
    CURRENT.with_borrow_mut(function)
}

/// Whoever made the call that is being served.
pub(crate) static CALLER: Caller = Caller {
    memory: || with_current(|ambient| ambient.as_ref()?.peer().memory()),
    note_growth: || {
        if let Some(peer) = with_current(|ambient| ambient.as_ref().map(|ambient| ambient.peer())) {
            peer.note_growth();
        }
    },
};

/// What a call inherits that is made in a handler.
pub(crate) struct Inherited {
    pub(crate) deadline: Option<Instant>,
    /// The context whose cancellation ends the call too.
    pub(crate) context: Option<Context>,
}

/// What a call that is made here inherits, if this is in a handler.
#[inline]
pub(crate) fn inherited() -> Option<Inherited> {
    with_current(|ambient| {
        let context = ambient.as_mut()?.context();
        let ends_with_it = context.origin().is_some_and(|origin| !origin.no_cancel);
        Some(Inherited { deadline: context.deadline(), context: ends_with_it.then_some(context) })
    })
}

pin_project! {
    /// What [`Context::scope`] returns.
    #[must_use = "futures do nothing unless polled"]
    pub struct Scope<F> {
        #[pin]
        future: F,
        ambient: Option<Ambient>,
    }
}

impl<F> fmt::Debug for Scope<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        enter(this.ambient, || this.future.poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere;

    impl WayBack for Nowhere {
        fn note_growth(&self) {}
    }

    fn origin() -> Ambient {
        let metadata = [("tenant", "acme")].into_iter().collect();
        Ambient::Origin(Origin {
            service: "Calculator",
            method: "add",
            peer: Peer::new(Address::new("mem://test"), Memory::new(0), Nowhere),
            deadline: None,
            metadata: Some(Box::new(metadata)),
            no_cancel: false,
        })
    }

    #[test]
    fn it_is_empty_outside_and_ambient_inside() {
        assert!(Context::current().method().is_none());
        let mut ambient = Some(origin());
        enter(&mut ambient, || {
            assert_eq!(Context::current().method(), Some("add"));
            assert_eq!(Context::current().metadata("tenant").as_deref(), Some("acme"));
            assert_eq!(Context::current().metadata("other"), None);
            Context::default().sync_scope(|| assert!(Context::current().method().is_none()));
            assert_eq!(Context::current().method(), Some("add"));
            Context::current().set_reply_metadata("cost", "7");
        });
        assert!(Context::current().method().is_none());
        let reply = ambient.and_then(|ambient| ambient.take_reply_metadata()).expect("metadata was set");
        assert_eq!(reply.get("cost"), Some("7"));
    }

    #[test]
    fn a_panic_leaves_no_context_behind() {
        let mut ambient = Some(origin());
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            enter(&mut ambient, || panic!("on purpose"));
        }));
        assert!(caught.is_err());
        assert!(Context::current().method().is_none());
        assert!(ambient.is_some());
    }

    #[tokio::test]
    async fn spawned_tasks_carry_it_and_see_the_cancellation() {
        let context = origin().context();
        let mut spawned = None;
        context.sync_scope(|| spawned = Some(Context::spawn(async { Context::current().cancelled().await })));
        let task = spawned.expect("it was spawned");
        assert!(!context.is_cancelled());
        context.cancel();
        task.await.expect("the task saw the cancellation");
    }
}
