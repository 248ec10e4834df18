//! A small call allocates nothing, neither on the client nor on the server, once both have warmed up.
//!
//! Client and server are two processes joined by TCP, each with an allocator that counts; the server's count is asked
//! for by a call, which is a small one, too. What a call has beside its arguments may cost allocations: what does, and
//! how many, stands in the table.

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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use process::{PART, Process};
use rpc::{Context, Server, service};
use serde::{Deserialize, Serialize};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often this process has asked for memory, or for more of it.
fn allocations() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.allocations + stats.reallocations) as u64
}

#[service]
trait Counted {
    async fn add(&self, a: i64, b: i64) -> i64;
    /// A borrowed argument.
    async fn length(&self, text: &str) -> u64;
    /// An error of its own.
    async fn divide(&self, a: i64, b: i64) -> Result<i64, Undefined>;
    /// Looks at its context.
    async fn has_deadline(&self) -> bool;
    /// Is not ready at once.
    async fn later(&self, a: i64) -> i64;
    /// How often the server's process has asked for memory.
    async fn allocations(&self) -> u64;
}

#[derive(Debug, Serialize, Deserialize)]
struct Undefined;

struct Here;

impl Counted for Here {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
    async fn length(&self, text: &str) -> u64 {
        text.len() as u64
    }
    async fn divide(&self, a: i64, b: i64) -> Result<i64, Undefined> {
        a.checked_div(b).ok_or(Undefined)
    }
    async fn has_deadline(&self) -> bool {
        Context::current().deadline().is_some()
    }
    async fn later(&self, a: i64) -> i64 {
        tokio::task::yield_now().await;
        a
    }
    async fn allocations(&self) -> u64 {
        allocations()
    }
}

/// What a call is made of.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    Borrowed,
    Timeout,
    Idempotent,
    WaitForReady,
    Failing,
    Context,
    Metadata,
    Later,
}

impl Kind {
    async fn call(self, client: &CountedClient) {
        let sum = || client.add(1_000_000, -70_000);
        let hour = Duration::from_secs(3_600);
        let right = match self {
            Kind::Plain => sum().await.is_ok_and(|sum| sum == 930_000),
            Kind::Borrowed => client.length("a text of some length").await.is_ok_and(|length| length == 21),
            Kind::Timeout => sum().timeout(hour).await.is_ok(),
            Kind::Idempotent => sum().idempotent().await.is_ok(),
            Kind::WaitForReady => sum().wait_for_ready().await.is_ok(),
            Kind::Failing => client.divide(1, 0).await.is_err_and(|error| error.app().is_some()),
            Kind::Context => client.has_deadline().timeout(hour).await.is_ok_and(|has| has),
            Kind::Metadata => sum().metadata("tenant", "acme").await.is_ok(),
            Kind::Later => client.later(7).await.is_ok_and(|same| same == 7),
        };
        assert!(right, "{self:?}");
    }
}

const SERVER: &str = "server";
const FLAVOUR: &str = "RPC_TEST_FLAVOUR";

fn runtime(flavour: &str) -> Runtime {
    let mut builder = match flavour {
        "current-thread" => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

/// Does nothing, unless this process was started by the test below to be the server.
#[test]
fn plays_its_part_in_another_test() {
    if std::env::var(PART).is_ok_and(|part| part == SERVER) {
        runtime(&std::env::var(FLAVOUR).expect("set with the part")).block_on(async {
            let server = Server::new().add(CountedServer::new(Here));
            let bound = server.bind("tcp://127.0.0.1:0").await.expect("a port");
            println!("at {}.", bound.local_addr());
            // Until it is killed.
            bound.serve().await.expect("it serves");
        });
    }
}

/// So many calls before any is counted, and as many that are counted together, of each caller.
const CALLS: u64 = 50;

/// What is not a call's own (a thread that has its first turn and wants its buffers, a method taken for a slow one
/// since the machine was busy) happens in some rounds; what each call does happens in all of them.
const ROUNDS: usize = 100;

/// Makes calls until a round of them costs client and server what is expected, at most [`ROUNDS`] times.
async fn check(kind: Kind, expected: [u64; 2], client: &CountedClient, callers: u64) {
    let barrier = Arc::new(Barrier::new(callers as usize + 1));
    let enough = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for _ in 0..callers {
        let (client, barrier, enough) = (client.clone(), barrier.clone(), enough.clone());
        tasks.push(tokio::spawn(async move {
            while !enough.load(Ordering::Relaxed) {
                for _ in 0..CALLS {
                    kind.call(&client).await;
                }
                // Counts are taken while all callers wait here.
                barrier.wait().await;
                barrier.wait().await;
            }
        }));
    }
    let count = async || [allocations(), client.allocations().await.expect("a count")];
    let expected = expected.map(|a_call| a_call * callers * CALLS);
    let mut rounds = Vec::new();
    barrier.wait().await;
    loop {
        let before = count().await;
        barrier.wait().await;
        barrier.wait().await;
        let after = count().await;
        rounds.push([0, 1].map(|side| after[side] - before[side]));
        let met = |side: usize| rounds.iter().any(|round| round[side] == expected[side]);
        let fewer = |side: usize| rounds.iter().any(|round| round[side] < expected[side]);
        let calls = callers * CALLS;
        assert!(
            !fewer(0) && !fewer(1),
            "{kind:?}, {callers} in flight: {calls} calls made fewer allocations than the {expected:?} that are \
             expected of client and server, so the table has to be changed: {rounds:?}"
        );
        if met(0) && met(1) {
            break;
        }
        assert!(
            rounds.len() < ROUNDS,
            "{kind:?}, {callers} in flight: expected {expected:?} allocations of client and server in {calls} calls, \
             the last rounds made {:?}",
            &rounds[ROUNDS - 3..]
        );
    }
    enough.store(true, Ordering::Relaxed);
    barrier.wait().await;
    for task in tasks {
        task.await.expect("its calls were right");
    }
}

/// What a call of each kind allocates, on the client and on the server.
const EXPECTED: [(Kind, [u64; 2]); 9] = [
    (Kind::Plain, [0, 0]),
    (Kind::Borrowed, [0, 0]),
    (Kind::Timeout, [0, 0]),
    (Kind::Idempotent, [0, 0]),
    (Kind::WaitForReady, [0, 0]),
    (Kind::Failing, [0, 0]),
    // What a context is shared through.
    (Kind::Context, [0, 1]),
    // A name and a value, what they stand in, and its box.
    (Kind::Metadata, [4, 4]),
    // Other memory for the handlers after it, its task, and what its context is shared through.
    (Kind::Later, [0, 3]),
];

#[test]
fn a_small_call_allocates_nothing_in_steady_state() {
    for flavour in ["multi-thread", "current-thread"] {
        runtime(flavour).block_on(async {
            let mut server = Process::start(SERVER, &[(FLAVOUR, OsStr::new(flavour))]);
            let client = CountedClient::connect(server.says("at ").await).await.expect("a server");
            for (kind, expected) in EXPECTED {
                for callers in [1, 64] {
                    check(kind, expected, &client, callers).await;
                }
            }
        });
    }
}
