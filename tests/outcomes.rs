//! Thousands of short calls from many threads, most of which are left before their end or end in two ways at once: each
//! outcome reaches the caller that it belongs to, once, and is true.
//!
//! What becomes of a call is a race by intention, between its reply, its deadline, its caller that goes, a place that it is
//! granted and its connection that ends. So nothing is expected of any one of them but what holds for all.

#[path = "support/lifecycle/mod.rs"]
mod support;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use rpc::{Code, Error, Executed, Limits, Server, Stream, service};
use support::{Serving, Way, patiently};
use tokio::task::yield_now;

#[service]
trait Numbers {
    /// Gives it back, at once or after some polls.
    async fn same(&self, number: u64) -> u64;
    #[rpc(oneway)]
    async fn note(&self, number: u64);
    /// The number, and those behind it.
    async fn from(&self, number: u64) -> impl Stream<Item = u64>;
}

/// How often each number was executed.
struct Ledger {
    executions: Vec<AtomicU32>,
    next: AtomicU64,
    all: AtomicUsize,
}

impl Ledger {
    fn new(numbers: usize) -> Arc<Self> {
        let executions = (0..numbers).map(|_| AtomicU32::new(0)).collect();
        Arc::new(Ledger { executions, next: AtomicU64::new(0), all: AtomicUsize::new(0) })
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn note(&self, number: u64) {
        self.executions[number as usize].fetch_add(1, Ordering::SeqCst);
        self.all.fetch_add(1, Ordering::SeqCst);
    }

    fn executions(&self, number: u64) -> u32 {
        self.executions[number as usize].load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
struct Here(Arc<Ledger>);

impl Numbers for Here {
    async fn same(&self, number: u64) -> u64 {
        self.0.note(number);
        for _ in 0..number % 5 {
            yield_now().await;
        }
        number
    }
    async fn note(&self, number: u64) {
        self.0.note(number);
    }
    async fn from(&self, number: u64) -> impl Stream<Item = u64> {
        self.0.note(number);
        rpc::iter(number..number + 10)
    }
}

/// As good as chance, and the same each time (Marsaglia, "Xorshift RNGs", 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What callers were told of their calls.
type Told = Vec<(u64, Result<u64, Error>)>;

/// Polls a future so often at most, with others in between.
async fn polls<F: Future + Unpin>(future: &mut F, count: u64) -> Option<F::Output> {
    for _ in 0..count {
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

/// Makes so many calls, one or some at a time.
async fn call(client: Arc<NumbersClient>, ledger: Arc<Ledger>, seed: u64, count: usize) -> Told {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed);
    let mut told = Told::new();
    for _ in 0..count {
        let number = ledger.number();
        let mut same = client.same(number).wait_for_ready();
        match random.below(8) {
            0 => told.push((number, same.await)),
            // Its caller goes.
            1 => told.extend(polls(&mut same, random.below(6)).await.map(|outcome| (number, outcome))),
            2 => {
                let timeout = Duration::from_micros(random.below(300));
                told.push((number, same.timeout(timeout).await));
            }
            // Another task goes on with it, which has another waker.
            3 => match polls(&mut same, 1).await {
                Some(outcome) => told.push((number, outcome)),
                None => told.push((number, tokio::spawn(same).await.expect("no panic"))),
            },
            // Several at once, of which some end before others are made.
            4 => {
                let mut second = client.same(ledger.number()).wait_for_ready();
                let first = polls(&mut same, random.below(4)).await;
                polls(&mut second, random.below(4)).await;
                // Not kept unpolled: it may have a place that others wait for.
                drop(second);
                let number_of_third = ledger.number();
                let third = tokio::spawn(client.same(number_of_third).wait_for_ready().into_future());
                match first {
                    Some(outcome) => told.push((number, outcome)),
                    None => told.push((number, same.await)),
                }
                told.push((number_of_third, third.await.expect("no panic")));
            }
            5 => drop(client.note(number).wait_for_ready().await),
            6 => {
                let mut from = client.from(number).wait_for_ready();
                if let Some(Ok(mut items)) = polls(&mut from, random.below(20)).await {
                    for expected in number..number + random.below(12) {
                        match items.next().await {
                            Some(Ok(item)) => assert_eq!(item, expected),
                            None => assert_eq!(expected, number + 10),
                            Some(Err(_)) => break,
                        }
                    }
                }
            }
            _ => {
                let (ours, client) = (ledger.number(), client.clone());
                told.push((number, same.await));
                told.push((ours, patiently("a reply", client.same(ours).wait_for_ready()).await));
            }
        }
    }
    told
}

const CALLERS: u64 = 16;
const CALLS: usize = 250;

/// How the server goes, once and again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Goes {
    Never,
    Drained,
    Killed,
}

async fn scene(way: Way, goes: Goes) {
    // Three numbers a call at most, and some for the end.
    let ledger = Ledger::new(3 * CALLERS as usize * CALLS + 100);
    // Most calls wait for a place.
    let limits = || Limits::default().with_calls(5).with_streams(2);
    let server = || Server::new().limits(limits()).add(NumbersServer::new(Here(ledger.clone())));
    let mut serving = Serving::start(server(), &way.address()).await;
    let address = serving.address.clone();
    let limits = Limits::default().with_backoff(Duration::from_millis(1));
    let client = NumbersClient::connect(&*address).limits(limits).await.expect("connected");
    let client = Arc::new(client);
    let callers: Vec<_> = (0..CALLERS)
        .map(|seed| {
            // Half of them share one handle.
            let client = if seed % 2 == 0 { client.clone() } else { Arc::new(NumbersClient::clone(&client)) };
            tokio::spawn(call(client, ledger.clone(), seed, CALLS))
        })
        .collect();
    let mut gone = 0;
    while goes != Goes::Never && callers.iter().any(|caller| !caller.is_finished()) {
        // Each time somewhat later than the last.
        let until = ledger.all.load(Ordering::SeqCst) + 100 + gone % 7;
        while ledger.all.load(Ordering::SeqCst) < until && callers.iter().any(|caller| !caller.is_finished())
        {
            yield_now().await;
        }
        match goes {
            Goes::Killed => serving.kill().await,
            _ => patiently("the end of the drain", serving.shutdown.shutdown()).await,
        }
        serving = Serving::start(server(), &address).await;
        gone += 1;
    }
    let mut told = Told::new();
    for caller in callers {
        told.extend(patiently("the end of a caller", caller).await.expect("no panic"));
    }
    // Whatever became of those calls, there is still a place for one more.
    let mut last = ledger.number();
    while let Err(error) = patiently("a reply", client.same(last).wait_for_ready()).await {
        assert_eq!((error.code(), goes), (Code::Unavailable, Goes::Killed), "{error:?}");
        last = ledger.number();
    }
    drop(client);
    patiently("the end of the drain", serving.shutdown.shutdown()).await;
    for (number, outcome) in told {
        let executions = ledger.executions(number);
        match outcome {
            Ok(value) => assert_eq!((value, executions), (number, 1)),
            Err(error) => {
                let expected = match error.code() {
                    Code::DeadlineExceeded => true,
                    Code::Unavailable => goes == Goes::Killed,
                    // A call that was cancelled counts at the server until its handler has been dropped.
                    Code::ResourceExhausted => error.executed() == Executed::No,
                    _ => false,
                };
                assert!(expected, "{way:?}, {goes:?}: {error:?}");
                assert!(error.executed() != Executed::No || executions == 0, "{way:?}, {goes:?}: {error:?}");
            }
        }
    }
    for number in 0..=last {
        assert!(ledger.executions(number) <= 1, "{number} was executed twice: {way:?}, {goes:?}");
    }
}

fn on(mut runtime: tokio::runtime::Builder, goes: Goes) {
    for way in [Way::Tcp, Way::Memory] {
        let runtime = runtime.enable_all().build().expect("a runtime");
        runtime.block_on(scene(way, goes));
    }
}

fn threads() -> tokio::runtime::Builder {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(4);
    builder
}

#[test]
fn each_outcome_reaches_its_caller() {
    on(threads(), Goes::Never);
    on(tokio::runtime::Builder::new_current_thread(), Goes::Never);
}

#[test]
fn each_outcome_reaches_its_caller_while_servers_drain() {
    on(threads(), Goes::Drained);
}

#[test]
fn each_outcome_reaches_its_caller_while_connections_are_lost() {
    on(threads(), Goes::Killed);
}
