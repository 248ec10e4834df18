//! A service under attack, and peers that do not know how to behave.
//!
//! Attacks begin with [`Victim::attacked`] or [`Liar::attacks`](raw::Liar::attacks), which check what must hold in every
//! case beside what a test asserts of its own.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

#[path = "../always/mod.rs"]
pub(crate) mod always;
pub(crate) mod raw;
pub(crate) mod wire;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rpc::{Address, Channel, Error, Limits, MemoryUse, Server, ShutdownHandle, Stream, Streaming, service};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use self::always::{Always, Neighbour, bystander, resident, unused_name};

/// What is attacked.
#[service]
pub(crate) trait Target {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn length(&self, text: &str, data: &[u8]) -> usize;
    async fn small(&self, number: u8) -> u8;
    async fn locate(&self, point: Point) -> i32;
    async fn many(&self, numbers: Vec<u64>) -> usize;
    async fn heavy(&self, items: Vec<Heavy>) -> usize;
    async fn nest(&self, nest: Nest) -> usize;
    async fn wrap(&self, wrap: Wrap) -> usize;
    async fn floats(&self, numbers: Vec<f64>) -> Vec<f64>;
    async fn extremes(&self, low: i64, high: u64, text: String, list: Vec<u8>)
    -> (i64, u64, String, Vec<u8>);
    /// As many sevens.
    async fn sevens(&self, count: usize) -> Vec<u64>;
    async fn keys(&self, map: HashMap<u64, u8>) -> usize;
    /// As many zeros, which are not copied to be sent.
    async fn zeros(&self, count: usize) -> Bytes;
    /// Panics, in this way.
    async fn explode(&self, how: Explosion) -> Explosive;
    /// Waits for the gate.
    async fn hold(&self) -> u64;
    /// The same, even if its caller has gone.
    #[rpc(no_cancel)]
    async fn insist(&self) -> u64;
    /// All numbers from 0 on.
    async fn count(&self, to: u64) -> impl Stream<Item = u64>;
    /// The sum, or why there is none.
    async fn total(&self, numbers: Streaming<u64>) -> Result<u64, Error>;
    /// The numbers as they come.
    async fn echo(&self, numbers: Streaming<u64>) -> impl Stream<Item = Result<u64, Error>>;
    /// Takes numbers until something is wrong with them, and then waits for the gate.
    async fn distrust(&self, numbers: Streaming<u64>) -> u64;
    /// Looks at neither before the gate opens; then the sum of both.
    async fn neglect(&self, left: Streaming<u64>, right: Streaming<u64>) -> Result<u64, Error>;
    /// The sum of what came before its caller had gone, which it outlives.
    #[rpc(no_cancel)]
    async fn outlive(&self, numbers: Streaming<u64>) -> impl Stream<Item = u64>;
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) x: i32,
    #[serde(default)]
    pub(crate) y: i32,
}

/// 416 bytes, made of one.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Heavy {
    pub(crate) numbers: ([u64; 26], [u64; 26]),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Nest {
    Leaf,
    In(Box<Nest>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wrap(pub(crate) Option<Box<Wrap>>);

/// When a handler panics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Explosion {
    AtOnce,
    /// After the gate.
    Later,
    /// When it is dropped, with the gate open or not.
    InDrop,
    /// When its result is marshalled.
    InSerialize,
}

/// The text that no caller may ever see.
pub(crate) const SECRET: &str = "canary 9e51";

#[derive(Debug, Deserialize)]
pub(crate) struct Explosive;

impl Serialize for Explosive {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("{SECRET}")
    }
}

/// Panics when it is dropped.
struct Mine;

impl Drop for Mine {
    fn drop(&mut self) {
        panic!("{SECRET}")
    }
}

/// The handler, which keeps a ledger.
#[derive(Clone)]
pub(crate) struct Handler {
    pub(crate) ledger: Ledger,
    pub(crate) gate: Arc<Semaphore>,
}

impl Default for Handler {
    fn default() -> Self {
        let ledger = Ledger(watch::Sender::new(Counts::default()));
        Handler { ledger, gate: Arc::new(Semaphore::new(0)) }
    }
}

impl Handler {
    async fn wait(&self) -> u64 {
        let _entry = self.ledger.enter();
        self.gate.acquire().await.expect("the gate is never closed").forget();
        7
    }
}

impl Target for Handler {
    async fn add(&self, a: i64, b: i64) -> i64 {
        let _entry = self.ledger.enter();
        a.wrapping_add(b)
    }
    async fn length(&self, text: &str, data: &[u8]) -> usize {
        let _entry = self.ledger.enter();
        text.len() + data.len()
    }
    async fn small(&self, number: u8) -> u8 {
        let _entry = self.ledger.enter();
        number
    }
    async fn locate(&self, point: Point) -> i32 {
        let _entry = self.ledger.enter();
        point.x + point.y
    }
    async fn many(&self, numbers: Vec<u64>) -> usize {
        let _entry = self.ledger.enter();
        numbers.len()
    }
    async fn heavy(&self, items: Vec<Heavy>) -> usize {
        let _entry = self.ledger.enter();
        items.len()
    }
    async fn nest(&self, mut nest: Nest) -> usize {
        let _entry = self.ledger.enter();
        let mut depth = 0;
        while let Nest::In(inner) = nest {
            depth += 1;
            nest = *inner;
        }
        depth
    }
    async fn wrap(&self, mut wrap: Wrap) -> usize {
        let _entry = self.ledger.enter();
        let mut depth = 0;
        while let Some(inner) = wrap.0 {
            depth += 1;
            wrap = *inner;
        }
        depth
    }
    async fn floats(&self, numbers: Vec<f64>) -> Vec<f64> {
        let _entry = self.ledger.enter();
        numbers
    }
    async fn extremes(
        &self,
        low: i64,
        high: u64,
        text: String,
        list: Vec<u8>,
    ) -> (i64, u64, String, Vec<u8>) {
        let _entry = self.ledger.enter();
        (low, high, text, list)
    }
    async fn sevens(&self, count: usize) -> Vec<u64> {
        let _entry = self.ledger.enter();
        vec![7; count]
    }
    async fn keys(&self, map: HashMap<u64, u8>) -> usize {
        let _entry = self.ledger.enter();
        map.len()
    }
    async fn zeros(&self, count: usize) -> Bytes {
        let _entry = self.ledger.enter();
        vec![0; count].into()
    }
    async fn explode(&self, how: Explosion) -> Explosive {
        let _entry = self.ledger.enter();
        let _mine = (how == Explosion::InDrop).then_some(Mine);
        match how {
            Explosion::AtOnce => panic!("{SECRET}"),
            Explosion::Later | Explosion::InDrop => {
                self.gate.acquire().await.expect("the gate is never closed").forget();
                if how == Explosion::Later {
                    panic!("{SECRET}");
                }
            }
            Explosion::InSerialize => {}
        }
        Explosive
    }
    async fn hold(&self) -> u64 {
        self.wait().await
    }
    async fn insist(&self) -> u64 {
        self.wait().await
    }
    async fn count(&self, to: u64) -> impl Stream<Item = u64> {
        Entered { stream: rpc::iter(0..to), _visit: self.ledger.visit() }
    }
    async fn total(&self, numbers: Streaming<u64>) -> Result<u64, Error> {
        let _entry = self.ledger.enter();
        sum(numbers).await
    }
    async fn echo(&self, numbers: Streaming<u64>) -> impl Stream<Item = Result<u64, Error>> {
        Entered { stream: numbers, _visit: self.ledger.visit() }
    }
    async fn distrust(&self, mut numbers: Streaming<u64>) -> u64 {
        let _entry = self.ledger.enter();
        let mut count = 0;
        while let Some(Ok(_)) = numbers.next().await {
            count += 1;
        }
        self.gate.acquire().await.expect("the gate is never closed").forget();
        count
    }
    async fn neglect(&self, left: Streaming<u64>, right: Streaming<u64>) -> Result<u64, Error> {
        let _entry = self.ledger.enter();
        self.gate.acquire().await.expect("the gate is never closed").forget();
        Ok(sum(left).await? + sum(right).await?)
    }
    async fn outlive(&self, numbers: Streaming<u64>) -> impl Stream<Item = u64> {
        let _entry = self.ledger.enter();
        let sum = sum(numbers).await.unwrap_or_default();
        Entered { stream: rpc::iter(sum..), _visit: self.ledger.visit() }
    }
}

async fn sum(mut numbers: Streaming<u64>) -> Result<u64, Error> {
    let mut sum = 0_u64;
    while let Some(number) = numbers.next().await {
        sum = sum.wrapping_add(number?);
    }
    Ok(sum)
}

/// A stream whose handler counts as running as long as there is somebody to poll it.
struct Entered<S> {
    stream: S,
    _visit: Visit,
}

impl<S: Stream + Unpin> Stream for Entered<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut self.stream).poll_next(cx)
    }
}

/// How many handlers were started, and how many of those have not ended or been dropped.
#[derive(Clone)]
pub(crate) struct Ledger(watch::Sender<Counts>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) started: usize,
    pub(crate) running: usize,
}

impl Ledger {
    fn enter(&self) -> Running<'_> {
        self.0.send_modify(|counts| {
            counts.started += 1;
            counts.running += 1;
        });
        Running(self)
    }

    /// The same for what outlives the handler's future.
    fn visit(&self) -> Visit {
        std::mem::forget(self.enter());
        Visit(self.clone())
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.0.borrow()
    }

    pub(crate) fn started(&self) -> usize {
        self.counts().started
    }

    /// Waits until so many handlers run, and says how long that took.
    pub(crate) async fn running(&self, count: usize) -> Duration {
        let since = Instant::now();
        let mut counts = self.0.subscribe();
        let reached = counts.wait_for(|counts| counts.running == count);
        let reached = timeout(Duration::from_secs(60), reached).await.map(|_| ());
        assert!(reached.is_ok(), "{:?}, expected {count} to run", self.counts());
        since.elapsed()
    }
}

/// An entry that owns its ledger.
struct Visit(Ledger);

impl Drop for Visit {
    fn drop(&mut self) {
        drop(Running(&self.0));
    }
}

struct Running<'a>(&'a Ledger);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|counts| counts.running -= 1);
    }
}

/// A server under attack, and a good client beside.
pub(crate) struct Victim {
    pub(crate) url: String,
    pub(crate) ledger: Ledger,
    pub(crate) gate: Arc<Semaphore>,
    /// What serves, for whoever wants to serve the same.
    pub(crate) handler: Handler,
    pub(crate) neighbour: TargetClient,
    pub(crate) shutdown: ShutdownHandle,
    serving: AbortHandle,
    /// What all connections hold of what has not come whole, and for handlers.
    pub(crate) memory: MemoryUse,
    tasks: usize,
}

impl Victim {
    /// Serves in memory, where the clock is paused, and has this done to it.
    pub(crate) fn attacked(attack: impl AsyncFn(&Victim)) {
        Victim::attacked_with(Limits::default(), attack);
    }

    pub(crate) fn attacked_with(limits: Limits, attack: impl AsyncFn(&Victim)) {
        Victim::attacked_but(Always::in_memory(), limits, attack);
    }

    /// The same, with something that does not hold.
    pub(crate) fn attacked_but(always: Always, limits: Limits, attack: impl AsyncFn(&Victim)) {
        let begin = async || Victim::begin(&format!("mem://{}", unused_name()), limits.clone()).await;
        always.holds(begin, async |victim| attack(victim).await);
    }

    /// The same, if the server goes in the course of it: neighbours are those of another one.
    pub(crate) fn that_goes(attack: impl AsyncFn(&Victim)) {
        Victim::that_goes_with(Limits::default(), attack);
    }

    pub(crate) fn that_goes_with(limits: Limits, attack: impl AsyncFn(&Victim)) {
        Victim::that_goes_but(Always::in_memory(), limits, attack);
    }

    pub(crate) fn that_goes_but(always: Always, limits: Limits, attack: impl AsyncFn(&Victim)) {
        let begin = async || {
            let victim = Victim::serve_with(&format!("mem://{}", unused_name()), limits.clone()).await;
            (victim, bystander().await)
        };
        always.holds(begin, async |victim| attack(victim).await);
    }

    /// The same on sockets; all tests of the program must be such.
    pub(crate) fn attacked_over_tcp(limits: Limits, attack: impl AsyncFn(&Victim)) {
        Victim::attacked_over_tcp_but(Always::on_sockets(), limits, attack);
    }

    pub(crate) fn attacked_over_tcp_but(always: Always, limits: Limits, attack: impl AsyncFn(&Victim)) {
        let begin = async || Victim::begin("tcp://127.0.0.1:0", limits.clone()).await;
        always.holds(begin, async |victim| attack(victim).await);
    }

    /// The neighbour who calls all the time has the same connection as the one that a test can call with.
    async fn begin(url: &str, limits: Limits) -> (Victim, Neighbour) {
        let victim = Victim::serve_with(url, limits).await;
        let neighbour = Neighbour::new(AsRef::<Channel>::as_ref(&victim.neighbour).clone());
        (victim, neighbour)
    }

    /// Serves in memory, and says nothing of what must hold.
    pub(crate) async fn serve(name: &str) -> Victim {
        Victim::serve_with(&format!("mem://{name}"), Limits::default()).await
    }

    pub(crate) async fn serve_with(url: &str, limits: Limits) -> Victim {
        let handler = Handler::default();
        let (ledger, gate) = (handler.ledger.clone(), handler.gate.clone());
        let server = resident(Server::new().limits(limits)).add(TargetServer::new(handler.clone()));
        let bound = server.bind(url).await.expect("an address of its own");
        let (address, shutdown): (Address, _) = (bound.local_addr(), bound.shutdown_handle());
        let memory = bound.memory_use();
        let serving = tokio::spawn(bound.serve()).abort_handle();
        let url = address.to_string();
        let neighbour = TargetClient::connect(&address).await.expect("a good client");
        assert_eq!(neighbour.add(1, 2).await.expect("a sum"), 3);
        let tasks = Handle::current().metrics().num_alive_tasks();
        Victim { url, ledger, gate, handler, neighbour, shutdown, memory, serving, tasks }
    }

    /// Ends at once, as if the process had gone: connections and handlers are dropped.
    pub(crate) async fn dies(&self) {
        self.serving.abort();
        while !self.serving.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    /// A client that connects beside the neighbour.
    pub(crate) async fn client(&self) -> TargetClient {
        TargetClient::connect(&self.url).await.expect("connected")
    }

    /// The neighbour is served as ever.
    pub(crate) async fn serves_neighbours(&self) {
        let sum = timeout(Duration::from_secs(5), self.neighbour.add(20, 22)).await;
        assert_eq!(sum.expect("in time").expect("a sum"), 42);
    }

    /// The neighbour is served, no handler of the attack runs, and within two seconds the tasks are those that
    /// there were before it, and no memory is held. The attackers' connections must be gone.
    pub(crate) async fn is_at_rest(&self) {
        self.serves_neighbours().await;
        self.ledger.running(0).await;
        let since = Instant::now();
        loop {
            let tasks = Handle::current().metrics().num_alive_tasks();
            if tasks <= self.tasks {
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(2), "{tasks} tasks, {} before", self.tasks);
            // Nothing tells when a task has ended; this is how often the count is looked at.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.memory.bytes(), 0, "memory is held for nobody");
    }
}
