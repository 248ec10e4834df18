//! Somebody on another connection of the same server, or beside a client under attack, who calls all the time.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rpc::{Address, Channel, Server, service};
use tokio::time::{Instant, sleep, timeout};

/// What neighbours call. It is on the server under attack, beside what is attacked.
#[service]
pub(crate) trait Greeting {
    /// The same number.
    async fn greet(&self, number: u64) -> u64;
}

struct Greeter;

impl Greeting for Greeter {
    async fn greet(&self, number: u64) -> u64 {
        number
    }
}

/// The same server, with a place for neighbours.
pub(crate) fn resident(server: Server) -> Server {
    server.add(GreetingServer::new(Greeter))
}

/// A neighbour on a server of its own, for cases in which there is no other, or in which that goes.
pub(crate) async fn bystander() -> Neighbour {
    let name = format!("mem://{}", super::unused_name());
    let bound = resident(Server::new()).bind(name).await.expect("a name of its own");
    let address: Address = bound.local_addr();
    tokio::spawn(bound.serve());
    Neighbour::new(Channel::connect(&address).await.expect("connected"))
}

/// An answer that does not come within this never will.
const NEVER: Duration = Duration::from_secs(60);

/// How often it calls where nothing else happens, and what part of the time that has passed it pauses: a case of a day
/// is not one of millions of calls.
const PAUSE: Duration = Duration::from_millis(5);
const PART: u32 = 100;

/// A client that calls all the time, and what it was told.
pub(crate) struct Neighbour {
    client: GreetingClient,
    calls: u64,
    /// The slowest call before the case, and in it.
    usual: Took,
    slowest: Took,
}

/// How long a call took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Took {
    pub(super) time: Duration,
    /// How long this thread worked meanwhile, which nobody else's load changes.
    pub(super) work: Duration,
}

impl Neighbour {
    /// One whose server is [`resident`].
    pub(crate) fn new(channel: Channel) -> Neighbour {
        let client = GreetingClient::new(channel);
        Neighbour { client, calls: 0, usual: Took::default(), slowest: Took::default() }
    }

    /// Calls as often as it takes to know how long a call takes when nothing is wrong.
    pub(super) async fn settles_in(&mut self) {
        for _ in 0..100 {
            self.call().await;
        }
        self.usual = std::mem::take(&mut self.slowest);
    }

    /// Calls for as long as this takes; the last call may take longer.
    pub(super) async fn beside<T>(&mut self, case: impl Future<Output = T>) -> T {
        let over = Cell::new(false);
        let case = async {
            let output = case.await;
            over.set(true);
            output
        };
        let calling = async {
            let since = Instant::now();
            while !over.get() {
                self.call().await;
                let mut pause = pin!(sleep(PAUSE.max(since.elapsed() / PART)));
                poll_fn(|cx| if over.get() { Poll::Ready(()) } else { pause.as_mut().poll(cx) }).await;
            }
        };
        // The case is polled first, and wakes the neighbour by being over: both are one task.
        tokio::join!(biased; case, calling).0
    }

    async fn call(&mut self) {
        let (since, before) = (Instant::now(), worked());
        self.calls += 1;
        let answer = timeout(NEVER, self.client.greet(self.calls)).await;
        let answer = answer.unwrap_or_else(|_| panic!("a neighbour got no answer within {NEVER:?}"));
        assert_eq!(answer.expect("a neighbour is served"), self.calls);
        self.slowest.time = self.slowest.time.max(since.elapsed());
        self.slowest.work = self.slowest.work.max(worked() - before);
    }

    /// No call took more than twice what is usual, and this.
    pub(super) fn was_served_as_ever(&self, noise: Took) {
        let (slowest, usual) = (self.slowest, self.usual);
        let is_usual =
            slowest.time <= 2 * usual.time + noise.time && slowest.work <= 2 * usual.work + noise.work;
        assert!(is_usual, "a neighbour waited for {slowest:?}, {usual:?} before");
    }
}

/// How long this thread has had a processor. Source: "Per-task schedstat" in the kernel's documentation of the scheduler;
/// where there is none it is nothing.
pub(crate) fn worked() -> Duration {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let worked = counts.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok());
    Duration::from_nanos(worked.unwrap_or(0))
}
