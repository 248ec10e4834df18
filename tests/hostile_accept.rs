//! Connections that cannot be accepted, for want of descriptors or because they are gone. On sockets, but for one
//! listener that has no system beneath it.

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

use hostile::always::{Always, Neighbour, resident, unused_name};
use hostile::{Victim, wire};
use process::{PART, Process};
use rpc::{Address, Channel, Limits, Listener, MemoryListener, Server, TcpListener, Transport, service};
use support::patiently;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// What a server says of itself whose connections cannot be accepted.
#[service]
trait Host {
    /// How often it could not accept a connection.
    async fn failed_accepts(&self) -> usize;
    /// How many tasks and descriptors its process has.
    async fn holds(&self) -> (usize, usize);
}

struct Myself {
    failed_accepts: Arc<AtomicUsize>,
}

impl Host for Myself {
    async fn failed_accepts(&self) -> usize {
        self.failed_accepts.load(Ordering::SeqCst)
    }
    async fn holds(&self) -> (usize, usize) {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("there is one for this").count();
        (Handle::current().metrics().num_alive_tasks(), descriptors)
    }
}

/// Counts the connections that could not be accepted.
struct Counting<T> {
    inner: T,
    failed_accepts: Arc<AtomicUsize>,
}

impl<T: Listener> Listener for Counting<T> {
    fn local_addr(&self) -> Address {
        self.inner.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        self.inner.poll_accept(cx).map_err(|error| {
            self.failed_accepts.fetch_add(1, Ordering::SeqCst);
            error
        })
    }
}

/// A server that says of itself how it fares with this listener.
async fn host(inner: impl Listener) -> rpc::Bound {
    let failed_accepts = Arc::new(AtomicUsize::new(0));
    let service = HostServer::new(Myself { failed_accepts: failed_accepts.clone() });
    resident(Server::new()).add(service).bind(Counting { inner, failed_accepts }).await.expect("bound")
}

// ---- 72: no descriptors left ----

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
        let bound = host(TcpListener::bind("127.0.0.1", 0).await.expect("a port")).await;
        println!("at {}.", bound.local_addr());
        // Until it is killed.
        bound.serve().await.expect("it serves");
    });
}

/// A server in a process with few descriptors, and a client that it had before they were used up.
struct Poor {
    _process: Process,
    address: String,
    client: HostClient,
}

impl Poor {
    async fn begin() -> (Poor, Neighbour) {
        let mut process = Process::start_with_descriptors("server", DESCRIPTORS);
        let address = process.says("at ").await;
        let channel = Channel::connect(&address).await.expect("connected");
        let poor = Poor { _process: process, address, client: HostClient::new(channel.clone()) };
        (poor, Neighbour::new(channel))
    }

    async fn failed(&self) -> usize {
        self.client.failed_accepts().await.expect("who is there is served as ever")
    }

    /// Waits until so many connections could not be accepted.
    async fn fails(&self, count: usize) {
        let failed = async {
            while self.failed().await < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        patiently("it has no descriptor", failed).await;
    }

    /// Waits until it has no more tasks and descriptors than these.
    async fn holds(&self, before: (usize, usize)) {
        let rests = async {
            loop {
                let now = self.client.holds().await.expect("there is a descriptor to count them with");
                if now.0 <= before.0 && now.1 <= before.1 {
                    break;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        patiently("it holds what it held before", rests).await;
    }
}

/// A peer that says hello, and then nothing.
async fn hold(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&address["tcp://".len()..]).await.expect("the system accepts it");
    stream.write_all(&wire::hello()).await.expect("written");
    stream
}

#[test]
fn case_72_a_server_without_descriptors_pauses_and_resumes() {
    Always::on_sockets().holds(Poor::begin, async |poor| {
        let before = poor.client.holds().await.expect("two counts");
        for _ in 0..2 {
            let first = poor.failed().await;
            let mut held = Vec::new();
            for _ in 0..2 * DESCRIPTORS {
                held.push(hold(&poor.address).await);
            }
            poor.fails(first + 1).await;
            // A good client waits at the door, with all the others.
            let limits = Limits::default().with_hello_timeout(Duration::from_secs(60));
            let connecting = HostClient::connect(poor.address.as_str()).limits(limits);
            let waiting = tokio::spawn(connecting.into_future());
            // The server tries again, ten times a second and not in a spin.
            let (since, first) = (Instant::now(), poor.failed().await);
            poor.fails(first + 5).await;
            let (tried, took) = (poor.failed().await - first, since.elapsed());
            assert!(tried <= 1 + took.as_millis() as usize / 100, "tried {tried} times in {took:?}");
            assert!(!waiting.is_finished(), "there is no descriptor for it");

            drop(held);
            let client = patiently("its turn", waiting).await.expect("joined").expect("connected");
            client.failed_accepts().await.expect("it is served");
            drop(client);
            poor.holds(before).await;
        }
    });
}

// ---- 73: connections that are gone before they are accepted ----

const GONE: usize = 1_000;

#[test]
fn case_73_a_thousand_connections_that_are_reset_before_they_are_accepted_stop_nobody() {
    Victim::attacked_over_tcp(Limits::default(), async |victim| {
        for _ in 0..GONE / 50 {
            // The server has had no turn when these are gone: nothing here waits.
            for _ in 0..50 {
                let stream =
                    std::net::TcpStream::connect(&victim.url["tcp://".len()..]).expect("there is room");
                stream.set_nonblocking(true).expect("an option of every socket");
                let stream = TcpStream::from_std(stream).expect("a socket");
                stream.set_zero_linger().expect("an option of every socket");
            }
            victim.serves_neighbours().await;
        }
        let client = victim.client().await;
        assert_eq!(client.add(1, 2).await.expect("a sum"), 3);
    });
}

/// A listener to which the system says of so many connections that they are gone.
struct Aborting {
    inner: MemoryListener,
    left: Arc<AtomicUsize>,
}

/// In which words it says so.
const WORDS: [io::ErrorKind; 6] = [
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionRefused,
    io::ErrorKind::NetworkDown,
    io::ErrorKind::NetworkUnreachable,
    io::ErrorKind::HostUnreachable,
];

impl Listener for Aborting {
    fn local_addr(&self) -> Address {
        self.inner.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        let left = self.left.load(Ordering::SeqCst);
        if left > 0 {
            self.left.store(left - 1, Ordering::SeqCst);
            return Poll::Ready(Err(WORDS[left % WORDS.len()].into()));
        }
        self.inner.poll_accept(cx)
    }
}

#[test]
fn case_73_a_listener_that_says_so_a_thousand_times_is_asked_on() {
    let begin = async || {
        let left = Arc::new(AtomicUsize::new(0));
        let inner = MemoryListener::bind(unused_name()).expect("a name of its own");
        let bound = host(Aborting { inner, left: left.clone() }).await;
        let address = bound.local_addr();
        tokio::spawn(bound.serve());
        let channel = Channel::connect(&address).await.expect("connected");
        ((left, address), Neighbour::new(channel))
    };
    Always::in_memory().holds(begin, async |(left, address)| {
        for round in 1..=3 {
            left.store(GONE, Ordering::SeqCst);
            let since = Instant::now();
            let client = HostClient::connect(&*address).await.expect("connected");
            // At once: whoever aborts connections makes nobody wait.
            assert!(since.elapsed() < Duration::from_millis(10), "{:?}", since.elapsed());
            assert_eq!(client.failed_accepts().await.expect("a count"), round * GONE);
        }
    });
}
