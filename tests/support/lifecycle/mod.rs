//! A service that tells the test what happens to its handlers, and the ways to reach it.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub(crate) mod executor;
pub(crate) mod faults;
pub(crate) mod partition;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rpc::{Context, Server, ShutdownHandle, service};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// What the tests call.
#[service]
pub(crate) trait Probe {
    /// Gives back what it was given, at once.
    async fn echo(&self, number: u64) -> u64;
    /// The same, once the test opens the gate.
    async fn wait(&self, number: u64) -> u64;
    /// The same, even if the caller has gone.
    #[rpc(no_cancel)]
    async fn finish(&self, number: u64) -> u64;
    /// Nobody waits for it.
    #[rpc(oneway)]
    async fn note(&self, number: u64);
    /// Nobody waits for it while it waits for the gate.
    #[rpc(oneway)]
    async fn note_slowly(&self, number: u64);
    /// Panics before anything else.
    async fn panic_at_once(&self) -> u64;
    /// Panics after the gate.
    async fn panic_later(&self) -> u64;
    /// Panics when its locals are dropped, at its end or when it is cancelled.
    async fn panic_in_drop(&self, number: u64) -> u64;
    /// Panics when its result is marshalled.
    async fn panic_in_serialize(&self) -> Unspeakable;
    /// Fails as the procedure's own error.
    async fn refuse(&self, number: u64) -> Result<u64, Refused>;
}

/// The text that no caller may ever see.
pub(crate) const SECRET: &str = "canary 7f3a";

/// The procedure's own error.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Refused(pub(crate) u64);

/// A value that cannot be marshalled.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Unspeakable;

impl serde::Serialize for Unspeakable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("{SECRET}")
    }
}

/// What happened to the handler of a call, which is known by its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Started(u64),
    Ended(u64),
    /// Before it had ended.
    Dropped(u64),
    /// Its context said that nobody waits any more.
    Cancelled(u64),
}

/// The handler.
#[derive(Debug)]
pub(crate) struct Recorder {
    events: mpsc::UnboundedSender<Event>,
    gate: Semaphore,
    ledger: Mutex<BTreeMap<u64, usize>>,
}

impl Recorder {
    pub(crate) fn new() -> (Arc<Self>, Events) {
        let (events, told) = mpsc::unbounded_channel();
        (Arc::new(Recorder { events, gate: Semaphore::new(0), ledger: Mutex::default() }), Events(told))
    }

    /// Lets all handlers go on, those that wait and those that come.
    pub(crate) fn open_gate(&self) {
        self.gate.close();
    }

    /// How often a number was executed.
    pub(crate) fn executions(&self, number: u64) -> usize {
        self.lock().get(&number).copied().unwrap_or_default()
    }

    /// How many numbers were executed.
    pub(crate) fn executed(&self) -> usize {
        self.lock().len()
    }

    /// Notes that a handler runs; what is returned notes how it ends.
    pub(crate) fn run(&self, number: u64) -> Run<'_> {
        *self.lock().entry(number).or_default() += 1;
        self.tell(Event::Started(number));
        Run { recorder: self, number, ended: false }
    }

    pub(crate) async fn gate(&self) {
        // The gate gives no permits; it opens by being closed for good.
        let _ = self.gate.acquire().await;
    }

    pub(crate) fn tell(&self, event: Event) {
        // A test that has seen enough does not listen any more.
        let _ = self.events.send(event);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, usize>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handler at work.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    recorder: &'a Recorder,
    number: u64,
    ended: bool,
}

impl Run<'_> {
    pub(crate) fn end(mut self) -> u64 {
        self.ended = true;
        self.recorder.tell(Event::Ended(self.number));
        self.number
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.recorder.tell(Event::Dropped(self.number));
        }
    }
}

struct PanicOnDrop;

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("{SECRET}");
        }
    }
}

impl Probe for Recorder {
    async fn echo(&self, number: u64) -> u64 {
        self.run(number).end()
    }
    async fn wait(&self, number: u64) -> u64 {
        let run = self.run(number);
        self.gate().await;
        run.end()
    }
    async fn finish(&self, number: u64) -> u64 {
        let run = self.run(number);
        let context = Context::current();
        tokio::select! {
            () = context.cancelled() => self.tell(Event::Cancelled(number)),
            () = self.gate() => {}
        }
        self.gate().await;
        run.end()
    }
    async fn note(&self, number: u64) {
        self.run(number).end();
    }
    async fn note_slowly(&self, number: u64) {
        let run = self.run(number);
        self.gate().await;
        run.end();
    }
    async fn panic_at_once(&self) -> u64 {
        panic!("{SECRET}")
    }
    async fn panic_later(&self) -> u64 {
        self.gate().await;
        panic!("{SECRET}")
    }
    async fn panic_in_drop(&self, number: u64) -> u64 {
        let run = self.run(number);
        let _panics = PanicOnDrop;
        self.gate().await;
        run.end()
    }
    async fn panic_in_serialize(&self) -> Unspeakable {
        Unspeakable
    }
    async fn refuse(&self, number: u64) -> Result<u64, Refused> {
        self.run(number).end();
        Err(Refused(number))
    }
}

/// What the handlers tell, in order.
#[derive(Debug)]
pub(crate) struct Events(mpsc::UnboundedReceiver<Event>);

impl Events {
    /// The next event; a test that waits in vain fails.
    pub(crate) async fn next(&mut self) -> Event {
        patiently("an event", self.wait()).await
    }

    /// The next event, however long it takes.
    pub(crate) async fn wait(&mut self) -> Event {
        self.0.recv().await.expect("the handler lives as long as its server")
    }

    pub(crate) async fn expect(&mut self, event: Event) {
        assert_eq!(self.next().await, event);
    }

    /// Passes over events until this one.
    pub(crate) async fn until(&mut self, event: Event) {
        while self.next().await != event {}
    }

    /// All that was told until now.
    pub(crate) fn drain(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// Waits for something that must come: only a test that fails waits long.
pub(crate) async fn patiently<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(output) => output,
        Err(_elapsed) => panic!("{what} did not come"),
    }
}

/// How a client reaches the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Tcp,
    Memory,
    InProcess,
}

impl Way {
    pub(crate) const ALL: [Way; 3] = [Way::Tcp, Way::Memory, Way::InProcess];

    pub(crate) fn is_in_process(self) -> bool {
        self == Way::InProcess
    }

    /// An address to bind that nobody else has.
    pub(crate) fn address(self) -> String {
        match self {
            Way::Tcp => "tcp://127.0.0.1:0".to_owned(),
            Way::Memory | Way::InProcess => unused_memory(),
        }
    }
}

/// A name in memory that no other test of this process uses.
pub(crate) fn unused_memory() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("mem://lifecycle-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A client, and what happens behind it.
pub(crate) struct Scene {
    pub(crate) client: ProbeClient,
    pub(crate) handler: Arc<Recorder>,
    pub(crate) events: Events,
    /// None in process.
    pub(crate) serving: Option<Serving>,
}

impl Scene {
    pub(crate) async fn open(way: Way) -> Scene {
        Scene::with_server(way, Server::new()).await
    }

    /// Adds the service to a server of the test's own.
    pub(crate) async fn with_server(way: Way, server: Server) -> Scene {
        let (handler, events) = Recorder::new();
        let service = ProbeServer::new(handler.clone());
        if way.is_in_process() {
            return Scene { client: ProbeClient::in_process(service), handler, events, serving: None };
        }
        let serving = Serving::start(server.add(service), &way.address()).await;
        let client = ProbeClient::connect(serving.address.as_str()).await.expect("the server listens");
        Scene { client, handler, events, serving: Some(serving) }
    }

    /// Lets everything that was sent run to its end, and returns when nothing runs any more.
    pub(crate) async fn settle(&mut self) {
        self.handler.open_gate();
        if let Some(serving) = self.serving.take() {
            patiently("the end of the drain", serving.shutdown.shutdown()).await;
        }
    }
}

/// A server that runs.
pub(crate) struct Serving {
    pub(crate) address: String,
    pub(crate) shutdown: ShutdownHandle,
    pub(crate) task: JoinHandle<Result<(), rpc::Error>>,
}

impl Serving {
    pub(crate) async fn start(server: Server, address: &str) -> Serving {
        Serving::run(server.bind(address).await.expect("the address is free"))
    }

    pub(crate) fn run(bound: rpc::Bound) -> Serving {
        let address = bound.local_addr().to_string();
        let shutdown = bound.shutdown_handle();
        Serving { address, shutdown, task: tokio::spawn(bound.serve()) }
    }

    /// Ends at once, as if the process had gone: connections and handlers are dropped.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.expect_err("it was serving").is_cancelled());
    }
}
