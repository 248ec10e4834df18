//! A client's connection: how it is opened again, and when it is closed for good.

#[path = "support/lifecycle/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpc::{Channel, Code, Error, Executed, Limits, MemoryConnector, Server, TcpListener};
use support::faults::{Faults, Faulty, Refusing};
use support::{Event, Events, ProbeClient, ProbeServer, Recorder, Serving, Way, patiently, unused_memory};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn probe() -> (Server, Arc<Recorder>, Events) {
    let (handler, events) = Recorder::new();
    (Server::new().add(ProbeServer::new(handler.clone())), handler, events)
}

async fn serve(address: &str) -> Serving {
    Serving::start(probe().0, address).await
}

fn assert_not_sent(error: &Error) {
    assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No), "{error}");
    assert!(error.is_retryable());
}

// ---- a server that comes back ----

#[tokio::test]
async fn case_68_after_a_restart_the_pending_call_may_have_run_and_the_next_one_succeeds() {
    for way in [Way::Tcp, Way::Memory] {
        let mut address = way.address();
        let mut client = None;
        for round in 0..4 {
            let (server, _, mut events) = probe();
            let serving = Serving::start(server, &address).await;
            address.clone_from(&serving.address);
            // So that the test need not wait for the pause after a connection that was brief.
            let limits = Limits::default().with_backoff(Duration::from_millis(5));
            let client = match &client {
                Some(client) => client,
                None => {
                    let connected = ProbeClient::connect(&address).limits(limits).await;
                    client.insert(connected.expect("connected"))
                }
            };
            let reply = patiently("a reply", client.echo(round).wait_for_ready()).await;
            assert_eq!(reply.expect("it is there again"), round, "{way:?}");
            // And then without waiting too.
            assert_eq!(client.echo(round).await.expect("a reply"), round);

            let pending = tokio::spawn(client.wait(100));
            events.until(Event::Started(100)).await;
            serving.kill().await;
            events.expect(Event::Dropped(100)).await;
            let error = patiently("the end", pending).await.expect("no panic").expect_err("lost");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe), "{way:?}");
            assert!(!error.is_retryable());
        }
    }
}

#[tokio::test]
async fn an_idempotent_call_that_may_have_run_is_safe_to_try_again() {
    let (server, _, mut events) = probe();
    let serving = Serving::start(server, &unused_memory()).await;
    let client = ProbeClient::connect(&serving.address).await.expect("connected");
    let pending = tokio::spawn(client.wait(1).idempotent());
    events.expect(Event::Started(1)).await;
    serving.kill().await;
    let error = patiently("the end", pending).await.expect("no panic").expect_err("lost");
    assert_eq!((error.executed(), error.is_retryable()), (Executed::Maybe, true));
}

/// A client whose server was there and has gone.
async fn left_alone() -> (ProbeClient, String) {
    let serving = serve(&unused_memory()).await;
    let address = serving.address.clone();
    let client = ProbeClient::connect(&address).await.expect("connected");
    assert_eq!(client.echo(1).await.expect("a reply"), 1);
    serving.kill().await;
    (client, address)
}

#[tokio::test(start_paused = true)]
async fn without_a_server_a_call_without_a_deadline_fails_fast() {
    let (client, _) = left_alone().await;
    let started = Instant::now();
    assert_not_sent(&client.echo(2).await.expect_err("nobody is there"));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    // Once it is known that nobody is there, at once.
    for _ in 0..100 {
        let started = Instant::now();
        assert_not_sent(&client.echo(3).await.expect_err("nobody is there"));
        assert_not_sent(&client.note(4).await.expect_err("nobody is there"));
        assert!(started.elapsed() < Duration::from_millis(10), "{:?}", started.elapsed());
        tokio::time::advance(Duration::from_millis(700)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_server_a_call_waits_within_its_deadline() {
    let (client, address) = left_alone().await;
    let started = Instant::now();
    let error = client.echo(2).timeout(Duration::from_secs(5)).await.expect_err("nobody is there");
    assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::No));
    let late = started.elapsed() - Duration::from_secs(5);
    assert!(late <= Duration::from_millis(10), "{late:?} late");

    let waiting = tokio::spawn(client.echo(3).timeout(HOUR));
    let note = tokio::spawn(client.note(4).timeout(HOUR));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!waiting.is_finished() && !note.is_finished());
    let (server, handler, _events) = probe();
    let mut serving = Serving::start(server, &address).await;
    assert_eq!(waiting.await.expect("no panic").expect("it came in time"), 3);
    note.await.expect("no panic").expect("it came in time");
    serving.shutdown.shutdown().await;
    assert_eq!((handler.executions(3), handler.executions(4)), (1, 1));
    (&mut serving.task).await.expect("no panic").expect("served");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_until_ready_waits_as_long_as_it_takes() {
    let (client, address) = left_alone().await;
    let waiting = tokio::spawn(client.echo(2).wait_for_ready());
    let dropped = client.echo(3).wait_for_ready();
    assert!(tokio::time::timeout(HOUR, dropped).await.is_err());
    tokio::time::sleep(24 * HOUR).await;
    assert!(!waiting.is_finished());
    let (server, handler, _events) = probe();
    let _serving = Serving::start(server, &address).await;
    assert_eq!(waiting.await.expect("no panic").expect("it came"), 2);
    assert_eq!(client.echo(4).await.expect("a reply"), 4);
    assert_eq!(handler.executions(3), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lazy_channel_is_there_before_its_server() {
    let address = unused_memory();
    let client = ProbeClient::new(Channel::connect(&address).lazy().expect("a runtime"));
    assert_not_sent(&client.echo(1).await.expect_err("nobody is there"));
    let waiting = tokio::spawn(client.echo(2).wait_for_ready());
    tokio::task::yield_now().await;
    let _serving = serve(&address).await;
    assert_eq!(waiting.await.expect("no panic").expect("it came"), 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_decides_whether_one_connects() {
    let started = Instant::now();
    let error = ProbeClient::connect(unused_memory()).await.expect_err("nobody is there");
    assert_not_sent(&error);
    assert!(std::error::Error::source(&error).is_some(), "the system's own words are kept");
    assert!(started.elapsed() < Duration::from_millis(10));
}

// ---- how often it tries ----

struct Attempts {
    client: ProbeClient,
    asked: mpsc::UnboundedReceiver<Instant>,
    refuse: watch::Sender<bool>,
    serving: Serving,
}

async fn attempts(limits: Limits) -> Attempts {
    let serving = serve(&unused_memory()).await;
    let (asked, heard) = mpsc::unbounded_channel();
    let (refuse, refusing) = watch::channel(false);
    let inner = MemoryConnector::new(serving.address.trim_start_matches("mem://"));
    let connector = Refusing { inner, asked, refuse: refusing };
    let client = ProbeClient::connect(connector).limits(limits).await.expect("connected");
    let mut asked = heard;
    asked.recv().await.expect("the first attempt");
    Attempts { client, asked, refuse, serving }
}

#[tokio::test(start_paused = true)]
async fn pauses_between_attempts_grow_up_to_a_limit() {
    let Attempts { client, mut asked, refuse, serving } = attempts(Limits::default()).await;
    // A connection that has lasted is opened again at once.
    tokio::time::sleep(HOUR).await;
    refuse.send_replace(true);
    let lost = Instant::now();
    serving.kill().await;
    let mut last = asked.recv().await.expect("an attempt");
    assert!(last - lost < Duration::from_millis(10), "{:?}", last - lost);
    for index in 0..20 {
        let next = asked.recv().await.expect("an attempt");
        let middle = 1.6_f64.powi(index).min(120.0);
        let pause = (next - last).as_secs_f64();
        assert!(
            (middle * 0.79..=middle * 1.21).contains(&pause),
            "pause {index} of {pause} s, around {middle} s"
        );
        last = next;
    }
    drop(client);
    // The last handle is gone, and with it the wish to connect.
    while asked.recv().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn the_pauses_are_settings_and_begin_anew_after_success() {
    let limits = Limits::default()
        .with_backoff(Duration::from_millis(100))
        .with_max_backoff(Duration::from_millis(300));
    let Attempts { client, mut asked, refuse, serving } = attempts(limits).await;
    let address = serving.address.clone();
    let mut serving = serving;
    for _ in 0..2 {
        tokio::time::sleep(HOUR).await;
        refuse.send_replace(true);
        serving.kill().await;
        let mut last = asked.recv().await.expect("an attempt");
        for middle in [0.1, 0.16, 0.256, 0.3, 0.3, 0.3] {
            let next = asked.recv().await.expect("an attempt");
            let pause = (next - last).as_secs_f64();
            assert!((middle * 0.79..=middle * 1.21 + 0.002).contains(&pause), "{pause} s, around {middle} s");
            last = next;
        }
        serving = serve(&address).await;
        refuse.send_replace(false);
        assert_eq!(client.echo(1).wait_for_ready().await.expect("it is there again"), 1);
        while asked.try_recv().is_ok() {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_each_connection_at_once_is_not_besieged() {
    let Attempts { client, mut asked, refuse: _refuse, serving } = attempts(Limits::default()).await;
    let address = serving.address.clone();
    let mut serving = serving;
    let until = Instant::now() + Duration::from_secs(60);
    let mut count = 0;
    while Instant::now() < until {
        serving.kill().await;
        serving = serve(&address).await;
        patiently("an attempt", asked.recv()).await.expect("an attempt");
        // It is open when a call gets through.
        assert_eq!(client.echo(1).wait_for_ready().await.expect("a reply"), 1);
        count += 1;
    }
    assert!((40..=80).contains(&count), "{count} attempts in a minute");
}

// ---- when it is closed ----

/// A server that knows its connections.
async fn watched() -> (Arc<Faults>, Serving, Arc<Recorder>, Events) {
    let faults = Faults::new(None);
    let (server, handler, events) = probe();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let listener = TcpListener::new(listener).expect("a listener");
    let bound = server.bind(Faulty(listener, faults.clone())).await.expect("bound");
    (faults, Serving::run(bound), handler, events)
}

async fn closed_within_a_second(faults: &Faults) {
    let closed = tokio::time::timeout(Duration::from_secs(1), faults.all_closed()).await;
    assert!(closed.is_ok(), "{} halves are still there", faults.halves());
}

#[tokio::test]
async fn case_95_dropping_the_last_handle_closes_the_socket() {
    let (faults, serving, _handler, _events) = watched().await;
    let client = ProbeClient::connect(&serving.address).await.expect("connected");
    let clone = client.clone();
    let channel: Channel = AsRef::<Channel>::as_ref(&client).clone();
    drop(client);
    assert_eq!(clone.echo(1).await.expect("a clone keeps it open"), 1);
    drop(clone);
    let stub = ProbeClient::new(channel);
    assert_eq!(stub.echo(2).await.expect("a channel keeps it open"), 2);
    let unpolled = stub.echo(3);
    drop(stub);
    assert_eq!(unpolled.await.expect("a call keeps it open"), 3);
    assert_eq!(faults.opened(), 1, "it was the same connection all the time");
    closed_within_a_second(&faults).await;
}

#[tokio::test]
async fn case_95_a_call_that_runs_keeps_it_open_until_it_ends() {
    let (faults, serving, handler, mut events) = watched().await;
    let client = ProbeClient::connect(&serving.address).await.expect("connected");
    let call = tokio::spawn(client.wait(1));
    events.expect(Event::Started(1)).await;
    drop(client);
    handler.open_gate();
    assert_eq!(call.await.expect("no panic").expect("a reply"), 1);
    closed_within_a_second(&faults).await;
    assert_eq!(faults.opened(), 1);
}

#[tokio::test]
async fn case_95_a_client_without_a_runtime_closes_its_socket_too() {
    let (faults, serving, _handler, _events) = watched().await;
    let address = serving.address.clone();
    tokio::task::spawn_blocking(move || {
        let client = ProbeClient::connect(address).blocking().expect("connected");
        assert_eq!(client.echo(1).blocking().expect("a reply"), 1);
    })
    .await
    .expect("no panic");
    closed_within_a_second(&faults).await;
}

#[tokio::test]
async fn case_95_a_client_that_is_dropped_while_it_connects_closes_its_socket() {
    // Accepts, and never says hello.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("tcp://{}", listener.local_addr().expect("an address"));
    let connecting = tokio::spawn(ProbeClient::connect(&address).into_future());
    let (mut socket, _) = listener.accept().await.expect("it connects");
    connecting.abort();
    let lazy = Channel::connect(&address).lazy().expect("a runtime");
    let (mut another, _) = listener.accept().await.expect("it connects");
    drop(lazy);
    for socket in [&mut socket, &mut another] {
        let mut bytes = Vec::new();
        let closed = socket.read_to_end(&mut bytes);
        let hello = tokio::time::timeout(Duration::from_secs(1), closed).await.expect("closed in time");
        // The hello, and then no more.
        assert!(hello.is_ok_and(|length| length < 200), "{bytes:?}");
    }
}

#[tokio::test]
async fn when_all_is_over_no_task_is_left() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let (faults, serving, handler, mut events) = watched().await;
    let clients = AtomicUsize::new(0);
    for _ in 0..5 {
        let client = ProbeClient::connect(&serving.address).await.expect("connected");
        let number = clients.fetch_add(1, Ordering::Relaxed) as u64;
        let pending = tokio::spawn(client.wait(number));
        events.until(Event::Started(number)).await;
        assert_eq!(client.echo(100).await.expect("a reply"), 100);
        pending.abort();
        events.until(Event::Dropped(number)).await;
    }
    handler.open_gate();
    closed_within_a_second(&faults).await;
    let Serving { shutdown, task, .. } = serving;
    patiently("the end of the drain", shutdown.shutdown()).await;
    task.await.expect("no panic").expect("served");
    let none_left = async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    patiently("the end of all tasks", none_left).await;
}
