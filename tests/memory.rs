//! What connections cost a server in memory while nothing happens on them, and that calls leave nothing behind.
//!
//! Counted is what the server's process has asked its allocator for and not given back: resident memory is more than
//! that by what the allocator wastes, and on a machine with other things to do it is not the same twice.

#[path = "support/process.rs"]
mod process;

/// What `process` uses of the support of other tests.
mod support {
    use std::time::Duration;

    /// Waits for what must happen, for as long as a machine under load may take.
    pub(crate) async fn patiently<T>(what: &str, event: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(60), event).await.unwrap_or_else(|_| panic!("{what}: never"))
    }
}

use std::alloc::System;
use std::ffi::OsStr;
use std::task::Poll;
use std::time::Duration;

use process::{PART, Process};
use rpc::{Limits, Server, service};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many bytes this process holds.
fn live() -> i64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as i64 - stats.bytes_deallocated as i64
}

#[service]
trait Counted {
    async fn add(&self, a: i64, b: i64) -> i64;
    /// The same, not ready at once.
    async fn add_later(&self, a: i64, b: i64) -> i64;
    /// The same bytes.
    async fn echo(&self, data: Vec<u8>) -> Vec<u8>;
    /// How many bytes the server's process holds.
    async fn live(&self) -> i64;
}

struct Here;

impl Counted for Here {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
    async fn add_later(&self, a: i64, b: i64) -> i64 {
        tokio::task::yield_now().await;
        a + b
    }
    async fn echo(&self, data: Vec<u8>) -> Vec<u8> {
        data
    }
    async fn live(&self) -> i64 {
        live()
    }
}

const SERVER: &str = "server";
/// After how many milliseconds of silence it asks for a sign of life.
const KEEPALIVE: &str = "RPC_TEST_KEEPALIVE";

/// One thread, so that all that it lends to connections is there after the first of them.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Does nothing, unless this process was started by a test below to be the server.
#[test]
fn plays_its_part_in_another_test() {
    if std::env::var(PART).is_ok_and(|part| part == SERVER) {
        runtime().block_on(async {
            let mut limits = Limits::default();
            if let Ok(millis) = std::env::var(KEEPALIVE) {
                let interval = Duration::from_millis(millis.parse().expect("a number"));
                limits = limits.with_keepalive_interval(interval);
            }
            let server = Server::new().limits(limits).add(CountedServer::new(Here));
            let bound = server.bind("tcp://127.0.0.1:0").await.expect("a port");
            println!("at {}.", bound.local_addr());
            // Until it is killed.
            bound.serve().await.expect("it serves");
        });
    }
}

async fn small_call(client: &CountedClient) {
    assert_eq!(client.add(1_000_000, -70_000).await.expect("a sum"), 930_000);
}

async fn later_call(client: &CountedClient) {
    assert_eq!(client.add_later(1_000_000, -70_000).await.expect("a sum"), 930_000);
}

async fn large_call(client: &CountedClient) {
    let data = vec![7; 50_000];
    assert_eq!(client.echo(data.clone()).await.expect("an echo"), data);
}

/// As many small calls at once as fill buffers.
async fn burst(client: &CountedClient) {
    at_once(client, async |client| small_call(&client).await).await;
}

async fn later_burst(client: &CountedClient) {
    at_once(client, async |client| later_call(&client).await).await;
}

async fn at_once<F: Future<Output = ()>>(client: &CountedClient, call: impl Fn(CountedClient) -> F) {
    let calls = (0..256).map(|_| call(client.clone()));
    futures(calls.collect()).await;
}

/// Polls all of them until the last has ended.
async fn futures<F: Future<Output = ()>>(calls: Vec<F>) {
    let mut calls: Vec<_> = calls.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        calls.retain_mut(|call| call.as_mut().poll(cx).is_pending());
        if calls.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Enough that what there is once, or grows by doubling, does not show.
const CONNECTIONS: usize = 400;

/// How much an idle connection may take after its first call, and after whatever else it has carried. The difference is
/// the map of the calls that go on, which it keeps for the next of them until it has been silent for a while. Of the
/// 2.5 kB resident that are promised the rest is what the allocator needs.
const IDLE_BYTES: i64 = 2_200;
const USED_BYTES: i64 = 2_450;

#[test]
fn an_idle_connection_is_small_whatever_it_has_carried() {
    runtime().block_on(async {
        let mut server = Process::start(SERVER, &[]);
        let address = server.says("at ").await;
        let connect = async || CountedClient::connect(address.as_str()).await.expect("a server");
        let first = connect().await;
        // What a thread keeps for all connections comes with the first of them.
        for _ in 0..20 {
            small_call(&first).await;
            later_call(&first).await;
            large_call(&first).await;
            burst(&first).await;
        }
        let before = first.live().await.expect("a count");
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let client = connect().await;
            small_call(&client).await;
            clients.push(client);
        }
        let mut took = Vec::new();
        let mut count = async |what| {
            let grown = first.live().await.expect("a count") - before;
            took.push((what, grown / CONNECTIONS as i64));
        };
        count("a small call").await;
        for client in &clients {
            large_call(client).await;
        }
        count("a call of 50 kB").await;
        for client in &clients {
            later_call(client).await;
        }
        count("a call that was not ready at once").await;
        for client in &clients {
            burst(client).await;
        }
        count("256 calls at once").await;
        println!("bytes of an idle connection after {took:?}");
        assert!(took[0].1 <= IDLE_BYTES, "more than {IDLE_BYTES} bytes: {took:?}");
        assert!(took.iter().all(|(_, bytes)| *bytes <= USED_BYTES), "more than {USED_BYTES} bytes: {took:?}");
        drop(clients);
    });
}

#[test]
fn a_connection_that_has_been_silent_for_long_gives_up_what_it_kept() {
    runtime().block_on(async {
        let mut server = Process::start(SERVER, &[(KEEPALIVE, OsStr::new("100"))]);
        let address = server.says("at ").await;
        let first = CountedClient::connect(address.as_str()).await.expect("a server");
        let mut clients = Vec::new();
        for _ in 0..20 {
            small_call(&first).await;
            later_burst(&first).await;
        }
        let live = async || first.live().await.expect("a count");
        let before = live().await;
        let mut used = 0;
        for _ in 0..CONNECTIONS / 10 {
            let without = live().await;
            let client = CountedClient::connect(address.as_str()).await.expect("a server");
            small_call(&client).await;
            later_burst(&client).await;
            clients.push(client);
            // The silence that gives it up may be over before the last of them is counted.
            used = used.max(live().await - without);
        }
        let counts = async || (live().await - before) / clients.len() as i64;
        assert!(used > 2 * IDLE_BYTES, "256 calls that go on at once leave something: {used}");
        let shrunk = async {
            while counts().await > IDLE_BYTES {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        support::patiently("their memory comes back", shrunk).await;
    });
}

/// In so many parts calls are made. What a process keeps for all calls, and that bounded, comes with some of them; what
/// a call leaves behind, be it a byte, comes with all of them.
const PARTS: usize = 8;
const GROWTH_IN_A_PART: i64 = 4 * 1024;
const GROWTH: i64 = 4 * 1024 * 1024;

async fn calls_leave_nothing(calls: usize) {
    const CALLERS: usize = 64;
    let mut server = Process::start(SERVER, &[]);
    let client = CountedClient::connect(server.says("at ").await).await.expect("a server");
    let run = async |calls: usize| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    for call in 0..calls / CALLERS {
                        // Most calls are small; some others are among them.
                        match call % 100 {
                            7 => later_call(&client).await,
                            77 => large_call(&client).await,
                            _ => small_call(&client).await,
                        }
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("its calls were right");
        }
        [live(), client.live().await.expect("a count")]
    };
    let mut held = vec![run(calls / PARTS).await];
    for _ in 0..PARTS {
        held.push(run(calls / PARTS).await);
    }
    for side in [0, 1] {
        let grown: Vec<_> = held.windows(2).map(|pair| pair[1][side] - pair[0][side]).collect();
        let in_a_part = grown.iter().min().copied().unwrap_or_default();
        let in_all: i64 = grown.iter().sum();
        assert!(
            in_a_part <= GROWTH_IN_A_PART && in_all <= GROWTH,
            "side {side} (client, server) grew by {grown:?} bytes with each {} calls",
            calls / PARTS
        );
    }
}

#[test]
fn many_calls_leave_nothing_behind() {
    runtime().block_on(calls_leave_nothing(200_000));
}

/// `cargo test --release --test memory -- --ignored`, a few minutes.
#[test]
#[ignore = "takes minutes"]
fn ten_million_calls_leave_nothing_behind() {
    runtime().block_on(calls_leave_nothing(10_000_000));
}
