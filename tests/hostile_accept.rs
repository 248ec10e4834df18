//! Attacks in which the kernel has a part, on real sockets. One test at a time, since descriptors are the process's.

#[path = "support/hostile/mod.rs"]
mod hostile;
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

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hostile::{Victim, wire};
use process::{PART, Process};
use rpc::{Address, Limits, Listener, MemoryListener, Server, TcpListener, Transport, service};
use support::patiently;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

static ALONE: Mutex<()> = Mutex::const_new(());

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// Waits until there are no more than so many, for two seconds at most.
async fn descriptors_are(before: usize) {
    let since = Instant::now();
    while descriptors() > before {
        assert!(since.elapsed() < Duration::from_secs(2), "{} descriptors, {before} before", descriptors());
        sleep(Duration::from_millis(1)).await;
    }
}

// ---- 72: no descriptors left ----

/// What a process that runs out of descriptors serves.
#[service]
trait Host {
    /// How often it could not accept a connection.
    async fn failed_accepts(&self) -> usize;
}

struct Counter(Arc<AtomicUsize>);

impl Host for Counter {
    async fn failed_accepts(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Counts the connections that could not be accepted.
struct Counting<T>(T, Arc<AtomicUsize>);

impl<T: Listener> Listener for Counting<T> {
    fn local_addr(&self) -> Address {
        self.0.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        self.0.poll_accept(cx).map_err(|error| {
            self.1.fetch_add(1, Ordering::SeqCst);
            error
        })
    }
}

/// So many descriptors a process has that is to run out of them, its own dozen included.
const DESCRIPTORS: usize = 64;

/// Does nothing, unless this process was started by the test below to be the server.
#[test]
fn plays_its_part_in_another_test() {
    if std::env::var(PART).is_err() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let failed = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1", 0).await.expect("a port");
        let server = Server::new().add(HostServer::new(Counter(failed.clone())));
        let bound = server.bind(Counting(listener, failed)).await.expect("bound");
        println!("at {}.", bound.local_addr());
        // Until it is killed.
        bound.serve().await.expect("it serves");
    });
}

/// A peer that says hello, and then nothing.
async fn hold(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&address["tcp://".len()..]).await.expect("the system accepts it");
    stream.write_all(&wire::hello()).await.expect("written");
    stream
}

#[tokio::test]
async fn case_72_a_server_without_descriptors_pauses_and_resumes() {
    let _alone = ALONE.lock().await;
    let mut server = Process::start_with_descriptors("server", DESCRIPTORS);
    let address = server.says("at ").await;
    let neighbour = HostClient::connect(&address).await.expect("connected");
    assert_eq!(neighbour.failed_accepts().await.expect("a count"), 0);

    for _ in 0..2 {
        let mut held = Vec::new();
        for _ in 0..2 * DESCRIPTORS {
            held.push(hold(&address).await);
        }
        let failed = async || neighbour.failed_accepts().await.expect("the neighbour is served as ever");
        let until = async |count: usize| {
            while failed().await < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let before = failed().await;
        patiently("it runs out of descriptors", until(before + 1)).await;
        // A good client waits at the door, with all the others.
        let limits = Limits::default().with_hello_timeout(Duration::from_secs(60));
        let waiting = tokio::spawn(HostClient::connect(&address).limits(limits).into_future());
        // It tries again, ten times a second and not in a spin.
        let (since, first) = (Instant::now(), failed().await);
        patiently("it tries again", until(first + 5)).await;
        let (tried, took) = (failed().await - first, since.elapsed());
        assert!(tried <= 1 + took.as_millis() as usize / 100, "tried {tried} times in {took:?}");
        assert!(!waiting.is_finished(), "there is no descriptor for it");

        drop(held);
        let client = patiently("its turn", waiting).await.expect("joined").expect("connected");
        let last = client.failed_accepts().await.expect("a count");
        drop(client);
        // All of what was there is accepted by now, or gone: nothing fails any more.
        let good = patiently("another client", HostClient::connect(&address).into_future()).await;
        let after = good.expect("connected").failed_accepts().await.expect("a count");
        assert!(after <= last + 1, "{last} and then {after} failed");
    }
}

// ---- 73: connections that are gone before they are accepted ----

const ABORTED: usize = 1_000;

#[tokio::test]
async fn case_73_a_thousand_connections_that_are_reset_before_they_are_accepted_stop_nobody() {
    let _alone = ALONE.lock().await;
    let victim = Victim::serve_tcp().await;
    let before = descriptors();
    for _ in 0..ABORTED / 50 {
        // The server has had no turn when these are gone: nothing here waits.
        for _ in 0..50 {
            let stream = std::net::TcpStream::connect(&victim.url["tcp://".len()..]).expect("there is room");
            stream.set_nonblocking(true).expect("an option of every socket");
            let stream = TcpStream::from_std(stream).expect("a socket");
            stream.set_zero_linger().expect("an option of every socket");
        }
        victim.serves_neighbours().await;
    }
    let client = victim.client().await;
    assert_eq!(client.add(1, 2).await.expect("a sum"), 3);
    drop(client);
    victim.is_at_rest().await;
    descriptors_are(before).await;
}

/// A listener to which the system says of so many connections that they are gone.
struct Aborting<T> {
    inner: T,
    left: Arc<AtomicUsize>,
}

/// In which words it says so.
const GONE: [io::ErrorKind; 6] = [
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionRefused,
    io::ErrorKind::NetworkDown,
    io::ErrorKind::NetworkUnreachable,
    io::ErrorKind::HostUnreachable,
];

impl<T: Listener> Listener for Aborting<T> {
    fn local_addr(&self) -> Address {
        self.inner.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        let left = self.left.load(Ordering::SeqCst);
        if left > 0 {
            self.left.store(left - 1, Ordering::SeqCst);
            return Poll::Ready(Err(GONE[left % GONE.len()].into()));
        }
        self.inner.poll_accept(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn case_73_a_listener_that_says_so_a_thousand_times_is_asked_on() {
    let left = Arc::new(AtomicUsize::new(0));
    let inner = MemoryListener::bind("sockets-73").expect("a name of its own");
    let failed = Arc::new(AtomicUsize::new(0));
    let listener = Counting(Aborting { inner, left: left.clone() }, failed.clone());
    let bound = Server::new().add(HostServer::new(Counter(failed))).bind(listener).await.expect("bound");
    let serving = tokio::spawn(bound.serve());
    let neighbour = HostClient::connect("mem://sockets-73").await.expect("connected");
    for round in 1..=3 {
        left.store(ABORTED, Ordering::SeqCst);
        let since = Instant::now();
        let client = HostClient::connect("mem://sockets-73").await.expect("connected");
        // At once: whoever aborts connections makes nobody wait.
        assert!(since.elapsed() < Duration::from_millis(10), "{:?}", since.elapsed());
        assert_eq!(client.failed_accepts().await.expect("a count"), round * ABORTED);
        assert_eq!(neighbour.failed_accepts().await.expect("a count"), round * ABORTED);
    }
    assert!(!serving.is_finished());
}
