//! A service whose streams do as they are told and are watched while they do, and the ways to reach it.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

#[path = "../lifecycle/mod.rs"]
pub(crate) mod lifecycle;
pub(crate) mod link;
pub(crate) mod memory;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use rpc::{CallError, Limits, Server, Stream, Streaming, service};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

#[allow(unused_imports, reason = "not every test that shares this measures memory")]
pub(crate) use self::lifecycle::{Serving, Way, patiently, unused_memory};

/// About how much a stream sends at a time; a producer is that much ahead of its window, and has as much in hand.
pub(crate) const BATCH_BYTES: u64 = 16 * 1024;

/// What the tests call. Each call has a key, by which a test watches and steers it.
#[service]
pub(crate) trait Flow {
    /// Gives the number back: what else is on the connection.
    async fn echo(&self, number: u64) -> u64;
    /// Items, as the script says.
    async fn give(&self, key: u64, script: Script) -> impl Stream<Item = Result<Item, Refused>>;
    /// The same, after the gate.
    async fn give_late(&self, key: u64, script: Script) -> impl Stream<Item = Result<Item, Refused>>;
    /// The same, whether or not anybody waits for it.
    #[rpc(no_cancel)]
    async fn give_anyway(&self, key: u64, script: Script) -> impl Stream<Item = Result<Item, Refused>>;
    /// Items of a byte each, which come one by one and without end.
    async fn tick(&self, key: u64) -> impl Stream<Item = bool>;
    /// Consumes items, as far as it is told to.
    async fn take(&self, key: u64, items: Streaming<Item, Refused>, appetite: Appetite) -> Taken;
    /// The same, whether or not anybody waits for it.
    #[rpc(no_cancel)]
    async fn take_anyway(&self, key: u64, items: Streaming<Item, Refused>, appetite: Appetite) -> Taken;
    /// Gives back what it is given, and ends as that ends.
    async fn mirror(
        &self,
        key: u64,
        items: Streaming<Item, Refused>,
    ) -> impl Stream<Item = Result<Item, Refused>>;
}

/// An item, which knows its place in the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    #[serde(serialize_with = "speak")]
    pub(crate) number: u64,
    pub(crate) load: String,
}

/// The number of an item that cannot be marshalled.
pub(crate) const POISON: u64 = u64::MAX;

fn speak<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    assert!(*number != POISON, "{}", lifecycle::SECRET);
    number.serialize(serializer)
}

/// The application's own error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refused(pub(crate) u64);

/// What a stream gives: items numbered from 0, and then an end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Script {
    pub(crate) items: u64,
    /// The size of each item's load.
    pub(crate) bytes: usize,
    pub(crate) pace: Pace,
    pub(crate) finish: Finish,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Pace {
    /// All items are there.
    AtOnce,
    /// Each item comes after it was once not there.
    Yielding,
    /// Each item takes a permit of the gate.
    Gated,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Finish {
    End,
    /// With the application's error.
    Refuse,
    Panic,
    /// With an item whose `Serialize` panics.
    Poison,
    /// Never: the stream stays, and gives nothing.
    Hang,
}

impl Script {
    pub(crate) const fn items(items: u64) -> Script {
        Script { items, bytes: 0, pace: Pace::AtOnce, finish: Finish::End }
    }

    pub(crate) const fn endless() -> Script {
        Script::items(u64::MAX)
    }

    pub(crate) const fn of_bytes(self, bytes: usize) -> Script {
        Script { bytes, ..self }
    }

    pub(crate) const fn at(self, pace: Pace) -> Script {
        Script { pace, ..self }
    }

    pub(crate) const fn then(self, finish: Finish) -> Script {
        Script { finish, ..self }
    }
}

/// How a handler consumes a stream: so many items, and then.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Appetite {
    pub(crate) items: u64,
    pub(crate) then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Then {
    /// The handler returns, and the rest is dropped with it.
    Return,
    /// It drops the stream, and returns after the gate.
    Drop,
    /// It keeps the stream unread until the gate, and reads on.
    Pause,
    /// It gives the stream to a task that reads on after the gate, and returns at once.
    Leave,
}

impl Appetite {
    /// For all there is.
    pub(crate) const ALL: Appetite = Appetite::items(u64::MAX, Then::Return);

    pub(crate) const fn items(items: u64, then: Then) -> Appetite {
        Appetite { items, then }
    }
}

/// What a consumer has seen of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) items: u64,
    pub(crate) end: Ended,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ended {
    /// The consumer stopped before the stream did.
    Not,
    End,
    Refused(u64),
    /// The code of an RPC error, and its text.
    Rpc(String, String),
}

impl Ended {
    /// The code, if it was an RPC error.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Ended::Rpc(code, _) => Some(code),
            _ => None,
        }
    }
}

/// Consumes so many items, which have to be the next ones, and says how that went. After an end nothing may follow.
pub(crate) async fn consume(stream: &mut Streaming<Item, Refused>, from: u64, items: u64) -> Taken {
    let mut number = from;
    while number - from < items {
        let end = match stream.next().await {
            Some(Ok(item)) => {
                assert_eq!(item.number, number, "items come in order, each once");
                number += 1;
                continue;
            }
            None => Ended::End,
            Some(Err(CallError::App(Refused(number)))) => Ended::Refused(number),
            Some(Err(CallError::Rpc(error))) => {
                Ended::Rpc(format!("{:?}", error.code()), error.message().to_owned())
            }
        };
        assert!(stream.next().await.is_none(), "nothing follows an end");
        return Taken { items: number, end };
    }
    Taken { items: number, end: Ended::Not }
}

// ---- watching ----

/// What has happened to the streams and handlers of a key so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Handlers that have begun, and that are gone.
    pub(crate) begun: u64,
    pub(crate) gone: u64,
    /// Streams that were made, and that were dropped.
    pub(crate) made: u64,
    pub(crate) dropped: u64,
    /// Items that streams were asked for and gave.
    pub(crate) given: u64,
    /// Items that a handler has taken.
    pub(crate) taken: u64,
}

/// Watches and steers what goes by one key.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: watch::Sender<Seen>,
    gate: Arc<Semaphore>,
    /// What a task that outlived its handler has to tell.
    left: watch::Sender<Option<Taken>>,
}

impl Watch {
    pub(crate) fn new() -> Arc<Watch> {
        Arc::new(Watch {
            seen: watch::Sender::new(Seen::default()),
            gate: Arc::new(Semaphore::new(0)),
            left: watch::Sender::new(None),
        })
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// Waits until this has come to be.
    pub(crate) async fn until(&self, what: &str, mut is_so: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        *patiently(what, seen.wait_for(|seen| is_so(seen))).await.expect("the sender is in `self`")
    }

    /// Waits until every stream that was made is dropped.
    pub(crate) async fn all_dropped(&self) {
        self.until("the drop of the stream", |seen| seen.made > 0 && seen.dropped == seen.made).await;
    }

    /// Waits until every handler that has begun is gone.
    pub(crate) async fn all_gone(&self) {
        self.until("the end of the handler", |seen| seen.begun > 0 && seen.gone == seen.begun).await;
    }

    /// Lets so many items through, or handlers.
    pub(crate) fn let_through(&self, permits: usize) {
        self.gate.add_permits(permits);
    }

    /// Lets all go on for good.
    pub(crate) fn open_gate(&self) {
        self.gate.close();
    }

    /// What the task that outlived its handler has seen in the end.
    pub(crate) async fn left(&self) -> Taken {
        let mut left = self.left.subscribe();
        let taken = patiently("the word of the task", left.wait_for(Option::is_some)).await;
        taken.expect("the sender is in `self`").clone().expect("it was waited for")
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(note);
    }

    /// A stream that this watches.
    pub(crate) fn stream(self: &Arc<Self>, script: Script) -> Scripted {
        self.note(|seen| seen.made += 1);
        Scripted { script, next: 0, waited: false, permit: None, watch: self.clone() }
    }

    fn enter(self: &Arc<Self>) -> Entered {
        self.note(|seen| seen.begun += 1);
        Entered(self.clone())
    }

    async fn pass_gate(&self) {
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
    }
}

/// A handler that runs.
struct Entered(Arc<Watch>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.note(|seen| seen.gone += 1);
    }
}

type Permit = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// A stream that does as its script says.
pub(crate) struct Scripted {
    script: Script,
    next: u64,
    waited: bool,
    permit: Option<Permit>,
    watch: Arc<Watch>,
}

impl Scripted {
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.script.pace {
            Pace::AtOnce => {}
            Pace::Yielding => {
                self.waited = !self.waited;
                if self.waited {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            Pace::Gated => {
                let gate = &self.watch.gate;
                let permit = self.permit.get_or_insert_with(|| {
                    let acquire = gate.clone().acquire_owned();
                    Box::pin(async { acquire.await.ok() })
                });
                if let Some(permit) = ready!(permit.as_mut().poll(cx)) {
                    permit.forget();
                }
                self.permit = None;
            }
        }
        Poll::Ready(())
    }
}

impl Stream for Scripted {
    type Item = Result<Item, Refused>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        ready!(this.poll_pace(cx));
        let number = this.next;
        if number < this.script.items {
            this.next += 1;
            this.watch.note(|seen| seen.given += 1);
            return Poll::Ready(Some(Ok(Item { number, load: "x".repeat(this.script.bytes) })));
        }
        match this.script.finish {
            Finish::End => Poll::Ready(None),
            Finish::Refuse => Poll::Ready(Some(Err(Refused(number)))),
            Finish::Panic => panic!("{}", lifecycle::SECRET),
            Finish::Poison => Poll::Ready(Some(Ok(Item { number: POISON, load: String::new() }))),
            Finish::Hang => Poll::Pending,
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.watch.note(|seen| seen.dropped += 1);
    }
}

// ---- the handler ----

/// The handler, and what it is watched by.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<HashMap<u64, Arc<Watch>>>);

impl Watched {
    pub(crate) fn watch(&self, key: u64) -> Arc<Watch> {
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watches.entry(key).or_insert_with(Watch::new).clone()
    }

    /// Lets go of a watch that is not needed any more.
    pub(crate) fn forget(&self, key: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    async fn consume(&self, key: u64, mut items: Streaming<Item, Refused>, appetite: Appetite) -> Taken {
        let watch = self.watch(key);
        let _entered = watch.enter();
        let taken = consume(&mut items, 0, appetite.items).await;
        watch.note(|seen| seen.taken += taken.items);
        if taken.end != Ended::Not {
            return taken;
        }
        match appetite.then {
            Then::Return => taken,
            Then::Drop => {
                drop(items);
                watch.pass_gate().await;
                taken
            }
            Then::Pause => {
                watch.pass_gate().await;
                consume(&mut items, taken.items, u64::MAX).await
            }
            Then::Leave => {
                let (watch, from) = (watch.clone(), taken.items);
                tokio::spawn(async move {
                    watch.pass_gate().await;
                    let taken = consume(&mut items, from, u64::MAX).await;
                    watch.left.send_replace(Some(taken));
                });
                taken
            }
        }
    }
}

impl Flow for Watched {
    async fn echo(&self, number: u64) -> u64 {
        number
    }

    async fn give(&self, key: u64, script: Script) -> impl Stream<Item = Result<Item, Refused>> {
        let watch = self.watch(key);
        let _entered = watch.enter();
        watch.stream(script)
    }

    async fn give_late(&self, key: u64, script: Script) -> impl Stream<Item = Result<Item, Refused>> {
        let watch = self.watch(key);
        let _entered = watch.enter();
        watch.pass_gate().await;
        watch.stream(script)
    }

    async fn give_anyway(&self, key: u64, script: Script) -> impl Stream<Item = Result<Item, Refused>> {
        let watch = self.watch(key);
        let _entered = watch.enter();
        watch.pass_gate().await;
        watch.stream(script)
    }

    async fn tick(&self, key: u64) -> impl Stream<Item = bool> {
        Ticks(self.watch(key).stream(Script::endless().at(Pace::Yielding)))
    }

    async fn take(&self, key: u64, items: Streaming<Item, Refused>, appetite: Appetite) -> Taken {
        self.consume(key, items, appetite).await
    }

    async fn take_anyway(&self, key: u64, items: Streaming<Item, Refused>, appetite: Appetite) -> Taken {
        self.consume(key, items, appetite).await
    }

    async fn mirror(
        &self,
        key: u64,
        items: Streaming<Item, Refused>,
    ) -> impl Stream<Item = Result<Item, Refused>> {
        let watch = self.watch(key);
        watch.note(|seen| seen.made += 1);
        Mirror { items, watch }
    }
}

struct Ticks(Scripted);

impl Stream for Ticks {
    type Item = bool;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<bool>> {
        Pin::new(&mut self.0).poll_next(cx).map(|item| item.map(|item| item.is_ok()))
    }
}

struct Mirror {
    items: Streaming<Item, Refused>,
    watch: Arc<Watch>,
}

impl Stream for Mirror {
    type Item = Result<Item, Refused>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = match ready!(Pin::new(&mut self.items).poll_next(cx)) {
            Some(Ok(item)) => Ok(item),
            Some(Err(CallError::App(refused))) => Err(refused),
            Some(Err(CallError::Rpc(_))) => Err(Refused(POISON)),
            None => return Poll::Ready(None),
        };
        self.watch.note(|seen| seen.given += 1);
        Poll::Ready(Some(item))
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.watch.note(|seen| seen.dropped += 1);
    }
}

// ---- the scene ----

/// A client, and what happens behind it.
pub(crate) struct Scene {
    pub(crate) client: FlowClient,
    pub(crate) handler: Arc<Watched>,
    pub(crate) way: Way,
    /// None in process.
    pub(crate) serving: Option<Serving>,
}

impl Scene {
    pub(crate) async fn open(way: Way) -> Scene {
        Scene::with_limits(way, Limits::default(), Limits::default()).await
    }

    pub(crate) async fn with_limits(way: Way, server: Limits, client: Limits) -> Scene {
        let handler = Arc::<Watched>::default();
        let service = FlowServer::new(handler.clone());
        if way.is_in_process() {
            return Scene { client: FlowClient::in_process(service), handler, way, serving: None };
        }
        let server = Server::new().limits(server).add(service);
        let serving = Serving::start(server, &way.address()).await;
        let client = FlowClient::connect(serving.address.as_str()).limits(client).await;
        Scene { client: client.expect("the server listens"), handler, way, serving: Some(serving) }
    }

    /// Calls that do nothing, back and forth: whatever was on its way has arrived, and what it started has had its
    /// turn many times over.
    pub(crate) async fn settle(&self) {
        for number in 0..100 {
            let echo = patiently("an echo", self.client.echo(number)).await;
            assert_eq!(echo.expect("the connection is well"), number);
            tokio::task::yield_now().await;
        }
    }
}

/// Runs a test on both kinds of runtime, over each of these ways.
pub(crate) fn everywhere<F: Future<Output = ()>>(ways: &[Way], test: impl Fn(Way) -> F) {
    for way in ways {
        let current = tokio::runtime::Builder::new_current_thread().enable_all().build();
        current.expect("a runtime").block_on(test(*way));
        let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        multi.expect("a runtime").block_on(test(*way));
    }
}

/// The ways that have a connection.
pub(crate) const CONNECTED: [Way; 2] = [Way::Tcp, Way::Memory];
