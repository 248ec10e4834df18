//! How a server goes: without losing a call, and in bounded time.

#[path = "support/lifecycle/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rpc::{Address, Code, Error, Executed, Limits, MemoryConnector, Server, TcpListener};
use support::{Event, ProbeClient, ProbeServer, Recorder, Scene, Serving, Way, patiently, unused_memory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

// ---- under load ----

/// A socket that several servers can listen on, one after the other and for a while together: as a service manager
/// hands it from a process to the next.
struct Shared(std::net::TcpListener);

impl Shared {
    fn new() -> Self {
        Shared(std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    async fn serve(&self, handler: &Arc<Recorder>) -> Serving {
        let listener = self.0.try_clone().expect("a descriptor");
        listener.set_nonblocking(true).expect("a socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let listener = TcpListener::new(listener).expect("a listener");
        let server = Server::new().add(ProbeServer::new(handler.clone()));
        Serving::run(server.bind(listener).await.expect("bound"))
    }
}

/// Callers that call all the time, each call with a number of its own.
struct Load {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicU64>,
    callers: Vec<JoinHandle<BTreeMap<u64, Result<u64, Error>>>>,
}

impl Load {
    /// So many callers of each client. One that has met an error ends.
    fn begin(clients: &[ProbeClient], callers: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let (next, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let caller = |client: &ProbeClient| {
            let (client, stop, next, ended) = (client.clone(), stop.clone(), next.clone(), ended.clone());
            tokio::spawn(async move {
                let mut outcomes = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    // A method that ends at once, and one that goes through a task of its own.
                    let outcome = match number % 2 {
                        0 => client.echo(number).await,
                        _ => client.wait(number).await,
                    };
                    ended.fetch_add(1, Ordering::Relaxed);
                    let failed = outcome.is_err();
                    outcomes.insert(number, outcome);
                    if failed {
                        break;
                    }
                }
                outcomes
            })
        };
        let callers = clients.iter().flat_map(|client| (0..callers).map(|_| caller(client))).collect();
        Load { stop, ended, callers }
    }

    /// Waits until so many more calls have ended.
    async fn progress(&self, calls: u64) {
        let goal = self.ended.load(Ordering::Relaxed) + calls;
        let progress = async {
            while self.ended.load(Ordering::Relaxed) < goal {
                tokio::task::yield_now().await;
            }
        };
        patiently("the end of some calls", progress).await;
    }

    async fn end(self) -> BTreeMap<u64, Result<u64, Error>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut outcomes = BTreeMap::new();
        for caller in self.callers {
            outcomes.extend(patiently("the end of a caller", caller).await.expect("no panic"));
        }
        outcomes
    }
}

async fn clients(address: &str, count: usize) -> Vec<ProbeClient> {
    let mut clients = Vec::new();
    for _ in 0..count {
        // So that a client whose connection was brief does not pause for long.
        let limits = Limits::default().with_backoff(Duration::from_millis(1));
        clients.push(ProbeClient::connect(address).limits(limits).await.expect("connected"));
    }
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_91_a_drain_under_load_loses_no_call_and_no_caller_sees_an_error() {
    let shared = Shared::new();
    let (handler, _events) = Recorder::new();
    handler.open_gate();
    let mut serving = shared.serve(&handler).await;
    let clients = clients(&serving.address, 8).await;
    let load = Load::begin(&clients, 8);
    for _ in 0..6 {
        load.progress(500).await;
        let successor = shared.serve(&handler).await;
        patiently("the end of the drain", serving.shutdown.shutdown()).await;
        serving.task.await.expect("no panic").expect("served");
        serving = successor;
    }
    load.progress(500).await;
    let outcomes = load.end().await;
    assert!(outcomes.len() > 3_000);
    for (number, outcome) in outcomes {
        assert_eq!(outcome.expect("no error reaches a caller"), number);
        assert_eq!(handler.executions(number), 1, "call {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_91_without_a_successor_callers_learn_that_nothing_was_executed() {
    for way in [Way::Tcp, Way::Memory] {
        let (handler, _events) = Recorder::new();
        handler.open_gate();
        let server = Server::new().add(ProbeServer::new(handler.clone()));
        let serving = Serving::start(server, &way.address()).await;
        let clients = clients(&serving.address, 4).await;
        let load = Load::begin(&clients, 8);
        load.progress(1_000).await;
        patiently("the end of the drain", serving.shutdown.shutdown()).await;
        // Each caller ends by itself: with an error, because nobody is there any more.
        let mut outcomes = BTreeMap::new();
        for caller in load.callers {
            outcomes.extend(patiently("the end of a caller", caller).await.expect("no panic"));
        }
        let mut failed = 0;
        for (number, outcome) in outcomes {
            match outcome {
                Ok(value) => {
                    assert_eq!((value, handler.executions(number)), (number, 1));
                }
                Err(error) => {
                    failed += 1;
                    assert_eq!(
                        (error.code(), error.executed()),
                        (Code::Unavailable, Executed::No),
                        "{error:?}"
                    );
                    assert_eq!(handler.executions(number), 0, "call {number}");
                }
            }
        }
        assert_eq!(failed, 4 * 8, "{way:?}");
    }
}

// ---- what is finished, and what is not begun ----

#[tokio::test]
async fn what_runs_is_finished_while_nothing_new_is_taken() {
    for way in [Way::Tcp, Way::Memory] {
        let mut scene = Scene::open(way).await;
        let serving = scene.serving.take().expect("a server");
        let running = tokio::spawn(scene.client.wait(1));
        let note = scene.client.note_slowly(2);
        note.await.expect("queued");
        scene.events.until(Event::Started(2)).await;
        let mut drained = serving.shutdown.shutdown();
        // Its place is free for a successor at once.
        let (successor, _events) = Recorder::new();
        let bound = async {
            loop {
                let server = Server::new().add(ProbeServer::new(successor.clone()));
                match server.bind(serving.address.as_str()).await {
                    Ok(bound) => break bound,
                    Err(_still_there) => tokio::task::yield_now().await,
                }
            }
        };
        let _successor = Serving::run(patiently("the address", bound).await);
        let moves_on = async {
            while successor.executed() == 0 {
                let echoed = scene.client.echo(3).wait_for_ready().await;
                assert_eq!(echoed.expect("nobody notices"), 3);
            }
        };
        patiently("the successor", moves_on).await;
        assert!(!running.is_finished() && !serving.task.is_finished());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::Pin::new(&mut drained).poll(&mut cx).is_pending());

        scene.handler.open_gate();
        assert_eq!(running.await.expect("no panic").expect("it was running"), 1);
        patiently("the end of the drain", drained).await;
        patiently("the end", serving.task).await.expect("no panic").expect("served");
        let events = scene.events.drain();
        assert!(events.contains(&Event::Ended(2)), "{events:?}");
    }
}

#[tokio::test]
async fn one_way_calls_that_were_queued_are_executed() {
    for way in [Way::Tcp, Way::Memory] {
        let mut scene = Scene::open(way).await;
        for number in 0..500 {
            scene.client.note(number).await.expect("queued");
        }
        scene.settle().await;
        assert_eq!(scene.handler.executed(), 500, "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_hold_nothing_up() {
    let scene = Scene::open(Way::Memory).await;
    let serving = scene.serving.expect("a server");
    let started = Instant::now();
    serving.shutdown.shutdown().await;
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    serving.task.await.expect("no panic").expect("served");
}

/// A client that takes no notice of the goaway.
#[tokio::test(start_paused = true)]
async fn a_client_that_stays_silent_holds_nothing_up_for_long() {
    let address = unused_memory();
    let (handler, _events) = Recorder::new();
    let server = Server::new().add(ProbeServer::new(handler.clone()));
    let serving = Serving::start(server, &address).await;
    let connector = MemoryConnector::new(address.trim_start_matches("mem://"));
    let transport = rpc::Connector::connect(&connector).await.expect("the server listens");
    let (_recv, mut send) = transport.split();
    send.write_all(HELLO).await.expect("written");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let started = Instant::now();
    serving.shutdown.shutdown().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// A hello without features and limits.
const HELLO: &[u8] = b"\xc1RPC\0\0\0\x06\x95\x0a\x01\x01\x90\x80";

// ---- during a hello ----

/// Between a client and a server: connects them, but lets no byte through until it is told to.
struct Between {
    address: String,
    client: JoinHandle<Result<ProbeClient, Error>>,
    halves: (TcpStream, TcpStream),
}

impl Between {
    async fn new(server: &str) -> Between {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("tcp://{}", listener.local_addr().expect("an address"));
        let limits = Limits::default().with_backoff(Duration::from_millis(1));
        let client = tokio::spawn(ProbeClient::connect(&address).limits(limits).into_future());
        let (client_side, _) = listener.accept().await.expect("the client connects");
        let server = server.trim_start_matches("tcp://");
        let server_side = TcpStream::connect(server).await.expect("the server listens");
        // From here on nobody listens: the client gets no second connection.
        drop(listener);
        Between { address, client, halves: (client_side, server_side) }
    }

    fn let_through(mut self) -> (JoinHandle<Result<ProbeClient, Error>>, JoinHandle<()>) {
        let copying = tokio::spawn(async move {
            let (one, other) = &mut self.halves;
            // How it ends is the business of those at its ends.
            let _ = tokio::io::copy_bidirectional(one, other).await;
        });
        (self.client, copying)
    }
}

#[tokio::test]
async fn case_92_a_drain_during_a_hello_serves_or_says_that_nothing_was_executed() {
    for calls in [0, 1, 20] {
        let scene = Scene::open(Way::Tcp).await;
        let serving = scene.serving.expect("a server");
        let between = Between::new(&serving.address).await;
        assert_ne!(between.address, serving.address);
        // Once a later client has been served, this one has been accepted: its hello is what is missing.
        assert_eq!(clients(&serving.address, 1).await[0].echo(1_000).await.expect("a reply"), 1_000);
        let drained = serving.shutdown.shutdown();
        tokio::task::yield_now().await;
        let (connecting, _copying) = between.let_through();
        match patiently("the end of the attempt", connecting).await.expect("no panic") {
            Err(error) => {
                assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No), "{error}");
            }
            Ok(client) => {
                let calls: Vec<_> = (0..calls).map(|number| tokio::spawn(client.echo(number))).collect();
                for (number, call) in (0..).zip(calls) {
                    match patiently("the end of a call", call).await.expect("no panic") {
                        Ok(value) => assert_eq!((value, scene.handler.executions(number)), (number, 1)),
                        Err(error) => {
                            assert_eq!(error.executed(), Executed::No, "{error}");
                            assert_eq!(scene.handler.executions(number), 0);
                        }
                    }
                }
            }
        }
        patiently("the end of the drain", drained).await;
        serving.task.await.expect("no panic").expect("served");
    }
}

#[tokio::test]
async fn case_92_a_request_that_comes_with_the_hello_is_answered() {
    let scene = Scene::open(Way::Tcp).await;
    let serving = scene.serving.expect("a server");
    let address = serving.address.trim_start_matches("tcp://").to_owned();
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.write_all(&HELLO[..7]).await.expect("written");
    assert_eq!(clients(&serving.address, 1).await[0].echo(1_000).await.expect("a reply"), 1_000);
    let drained = serving.shutdown.shutdown();
    stream.write_all(&HELLO[7..]).await.expect("written");
    stream.write_all(b"\0\0\0\x10\x94\0\x07\xaaProbe.echo\x91\x09").await.expect("written");
    let mut bytes = Vec::new();
    patiently("the end", stream.read_to_end(&mut bytes)).await.expect("a good end");
    // Served: [1, 7, nil, 9]. It was on its way before the client could know.
    let reply: &[u8] = b"\0\0\0\x05\x94\x01\x07\xc0\x09";
    assert!(bytes.windows(reply.len()).any(|window| window == reply), "{}", bytes.escape_ascii());
    assert_eq!(scene.handler.executions(9), 1);
    drop(stream);
    patiently("the end of the drain", drained).await;
}

#[tokio::test(start_paused = true)]
async fn case_92_a_hello_that_never_comes_holds_nothing_up_for_long() {
    let scene = Scene::open(Way::Memory).await;
    let serving = scene.serving.expect("a server");
    let connector = MemoryConnector::new(serving.address.trim_start_matches("mem://"));
    let _silent = rpc::Connector::connect(&connector).await.expect("the server listens").split();
    assert_eq!(clients(&serving.address, 1).await[0].echo(1).await.expect("a reply"), 1);
    let started = Instant::now();
    serving.shutdown.shutdown().await;
    let limit = Limits::default().hello_timeout();
    assert!(started.elapsed() <= limit, "{:?}", started.elapsed());
}

// ---- the limit ----

#[tokio::test(start_paused = true)]
async fn case_93_a_stuck_handler_ends_at_the_limit() {
    let limits = Limits::default().with_drain_timeout(Duration::from_secs(7));
    let mut scene = Scene::with_server(Way::Memory, Server::new().limits(limits)).await;
    let serving = scene.serving.take().expect("a server");
    let calls = [tokio::spawn(scene.client.wait(1)), tokio::spawn(scene.client.finish(2))];
    scene.client.note_slowly(3).await.expect("queued");
    for _ in 0..3 {
        assert!(matches!(scene.events.next().await, Event::Started(_)));
    }
    let started = Instant::now();
    serving.shutdown.shutdown().await;
    let late = started.elapsed() - Duration::from_secs(7);
    assert!(late < Duration::from_secs(1), "{late:?} late");
    serving.task.await.expect("no panic").expect("it has ended all the same");
    for call in calls {
        let error = patiently("the end", call).await.expect("no panic").expect_err("it was dropped");
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
    }
    let mut events = vec![scene.events.next().await, scene.events.next().await, scene.events.next().await];
    events.sort_by_key(|event| format!("{event:?}"));
    // The one that is not to be cancelled learns of it and goes on while its runtime does.
    assert_eq!(events, [Event::Cancelled(2), Event::Dropped(1), Event::Dropped(3)]);
}

// ---- handles ----

#[tokio::test]
async fn case_94_shutting_down_twice_is_as_good_as_once() {
    for way in [Way::Tcp, Way::Memory] {
        let mut scene = Scene::open(way).await;
        let serving = scene.serving.take().expect("a server");
        let running = tokio::spawn(scene.client.wait(1));
        scene.events.expect(Event::Started(1)).await;
        let handles: Vec<_> = (0..10).map(|_| serving.shutdown.clone()).collect();
        let waiting: Vec<_> = handles.iter().map(|handle| tokio::spawn(handle.shutdown())).collect();
        // Awaiting it or not changes nothing.
        drop(serving.shutdown.shutdown());
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
        scene.handler.open_gate();
        assert_eq!(running.await.expect("no panic").expect("it was running"), 1);
        for waiting in waiting {
            patiently("the end of the drain", waiting).await.expect("no panic");
        }
        patiently("the end", serving.task).await.expect("no panic").expect("served");
        for handle in handles {
            patiently("what has been", handle.shutdown()).await;
        }
    }
}

#[tokio::test]
async fn case_94_a_server_that_is_shut_down_before_it_serves_ends_at_once() {
    let (handler, _events) = Recorder::new();
    let bound = Server::new().add(ProbeServer::new(handler)).bind(unused_memory()).await.expect("bound");
    let handle = bound.shutdown_handle();
    let drained = handle.shutdown();
    patiently("the end", bound.serve()).await.expect("served");
    patiently("the end of the drain", drained).await;
}

#[tokio::test]
async fn case_94_a_server_that_never_serves_does_not_keep_its_handles_waiting() {
    for polled in [false, true] {
        let (handler, _events) = Recorder::new();
        let bound = Server::new().add(ProbeServer::new(handler)).bind(unused_memory()).await.expect("bound");
        let handle = bound.shutdown_handle();
        let waiting = handle.clone().shutdown();
        if polled {
            drop(bound.serve());
        } else {
            drop(bound);
        }
        patiently("the end of the drain", waiting).await;
        patiently("what has been", handle.shutdown()).await;
    }
}

#[tokio::test]
async fn case_94_a_server_that_is_dropped_ends_its_drain() {
    let mut scene = Scene::open(Way::Tcp).await;
    let serving = scene.serving.take().expect("a server");
    let running = tokio::spawn(scene.client.wait(1));
    scene.events.expect(Event::Started(1)).await;
    let drained = serving.shutdown.shutdown();
    serving.kill().await;
    patiently("the end of the drain", drained).await;
    let error = patiently("the end", running).await.expect("no panic").expect_err("lost");
    assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
    scene.events.expect(Event::Dropped(1)).await;
}

#[tokio::test]
async fn a_shutdown_can_come_from_a_thread_without_a_runtime() {
    let (handler, _events) = Recorder::new();
    let bound = Server::new().add(ProbeServer::new(handler)).bind("tcp://127.0.0.1:0").await.expect("bound");
    let address: Address = bound.local_addr();
    let handle = bound.shutdown_handle();
    // A `Bound` is a future itself.
    let serving = tokio::spawn(bound.into_future());
    let client = ProbeClient::connect(address).await.expect("connected");
    assert_eq!(client.echo(1).await.expect("a reply"), 1);
    let thread = tokio::task::spawn_blocking(|| {
        std::thread::spawn(move || support::executor::block_on(handle.shutdown())).join()
    });
    patiently("the end of the drain", thread).await.expect("no panic").expect("no panic");
    patiently("the end", serving).await.expect("no panic").expect("served");
}
