//! Streams and the life of what they flow over: connections that are lost, servers that go, clients that are dropped.

#[path = "support/process.rs"]
mod process;
#[path = "support/streams/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use process::{PART, Process};
use rpc::{Code, Executed, Limits, MemoryConnector, Server, Streaming, TcpListener};
use support::lifecycle::faults::{Faults, Faulty};
use support::{
    Appetite, CONNECTED, Ended, Finish, FlowClient, FlowServer, Item, Pace, Refused, Scene, Script, Serving,
    Taken, Then, Watch, Watched, consume, everywhere, patiently, unused_memory,
};

fn is_lost(taken: &Taken) -> bool {
    taken.end.code() == Some("Unavailable")
}

// ---- loss ----

#[test]
fn a_lost_connection_ends_replies_after_what_had_come_and_stops_their_handlers() {
    everywhere(&CONNECTED, async |way| {
        let mut scene = Scene::open(way).await;
        let waits = scene.client.give(1, Script::items(10).then(Finish::Hang)).await.expect("a stream");
        let unread = scene.client.give(2, Script::items(10).then(Finish::Hang)).await.expect("a stream");
        let ended = scene.client.give(3, Script::items(10)).await.expect("a stream");
        let full = scene.client.give(4, Script::endless().of_bytes(1_000)).await.expect("a stream");
        let mut waits = tokio::spawn(async move {
            let mut waits = waits;
            consume(&mut waits, 0, u64::MAX).await
        });
        scene.handler.watch(4).until("a full window", |seen| seen.given >= 64).await;
        scene.settle().await;
        scene.serving.take().expect("it is served").kill().await;
        let taken = patiently("its end", &mut waits).await.expect("no panic");
        assert!(taken.items == 10 && is_lost(&taken), "{taken:?}");
        for (key, mut stream, most) in [(2, unread, 10), (4, full, u64::MAX)] {
            let taken = patiently("its end", consume(&mut stream, 0, u64::MAX)).await;
            assert!((10..=most).contains(&taken.items) && is_lost(&taken), "{key}: {taken:?}");
        }
        // It was whole before.
        let mut ended = ended;
        assert_eq!(consume(&mut ended, 0, u64::MAX).await, Taken { items: 10, end: Ended::End });
        for key in 1..=4 {
            scene.handler.watch(key).all_dropped().await;
            scene.handler.watch(key).all_gone().await;
        }
    });
}

#[test]
fn a_lost_connection_stops_callers_streams_and_ends_their_calls() {
    everywhere(&CONNECTED, async |way| {
        let mut scene = Scene::open(way).await;
        let mine = Watch::new();
        let mut calls = Vec::new();
        for (key, pace) in (0..).zip([Pace::AtOnce, Pace::Yielding, Pace::Gated]) {
            mine.let_through(1);
            let stream = mine.stream(Script::endless().at(pace));
            let call = scene.client.take(key, stream, Appetite::items(1, Then::Pause));
            calls.push(tokio::spawn(call));
            scene.handler.watch(key).until("an item", |seen| seen.taken == 1).await;
        }
        scene.serving.take().expect("it is served").kill().await;
        for call in calls {
            let error = patiently("its end", call).await.expect("no panic").expect_err("no reply");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
        }
        mine.all_dropped().await;
        for key in 0..3 {
            scene.handler.watch(key).all_gone().await;
        }
    });
}

#[test]
fn a_handler_that_is_not_cancelled_learns_that_the_connection_is_lost() {
    everywhere(&CONNECTED, async |way| {
        let handler = Arc::<Watched>::default();
        let server = Server::new().add(FlowServer::new(handler.clone()));
        let serving = Serving::start(server, &way.address()).await;
        // A client of its own runtime, which ends with all of it.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (mine, theirs) = (Watch::new(), handler.clone());
        let stream = mine.stream(Script::items(10).then(Finish::Hang));
        let address = serving.address.clone();
        runtime.spawn(async move {
            let client = FlowClient::connect(address.as_str()).await.expect("connected");
            theirs.watch(2).open_gate();
            let mut other = client.give_anyway(2, Script::endless()).await.expect("a stream");
            assert_eq!(consume(&mut other, 0, 10).await.items, 10);
            client.take_anyway(1, stream, Appetite::items(10, Then::Leave)).await.expect("a reply");
            let _kept = other;
            let endless = Script::items(5).then(Finish::Hang);
            client.take_anyway(3, Watch::new().stream(endless), Appetite::ALL).await
        });
        handler.watch(3).until("the last", |seen| seen.begun == 1).await;
        mine.until("the items", |seen| seen.given == 10).await;
        runtime.shutdown_background();
        handler.watch(2).all_dropped().await;
        for key in 1..=3 {
            handler.watch(key).all_gone().await;
        }
        mine.all_dropped().await;
    });
}

#[test]
fn the_next_connection_has_streams_of_its_own() {
    everywhere(&CONNECTED, async |way| {
        let handler = Arc::<Watched>::default();
        let server = || Server::new().add(FlowServer::new(handler.clone()));
        let mut serving = Serving::start(server(), &way.address()).await;
        let limits = Limits::default().with_backoff(Duration::from_millis(1));
        let client = FlowClient::connect(serving.address.as_str()).limits(limits).await.expect("connected");
        let mut lost = Vec::new();
        for key in 0..5 {
            let mut stream = patiently("the next connection", async {
                loop {
                    // One that was on its way when the last connection was lost may be made anew.
                    match client.give(key, Script::endless()).wait_for_ready().await {
                        Ok(stream) => break stream,
                        Err(error) => assert_eq!(error.code(), Code::Unavailable),
                    }
                }
            })
            .await;
            assert_eq!(patiently("items", consume(&mut stream, 0, 10)).await.items, 10);
            lost.push(stream);
            let address = serving.address.clone();
            serving.kill().await;
            serving = patiently("the address", async {
                loop {
                    match server().bind(address.as_str()).await {
                        Ok(bound) => break Serving::run(bound),
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            })
            .await;
        }
        for mut stream in lost {
            let taken = patiently("its end", consume(&mut stream, 10, u64::MAX)).await;
            assert!(is_lost(&taken), "{taken:?}");
        }
    });
}

// ---- drain ----

/// A socket that two servers listen on: the one that goes, and the one that comes.
struct Shared(std::net::TcpListener);

impl Shared {
    fn new() -> Self {
        Shared(std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    async fn serve(&self, handler: &Arc<Watched>, limits: Limits) -> Serving {
        let listener = self.0.try_clone().expect("a descriptor");
        listener.set_nonblocking(true).expect("a socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let listener = TcpListener::new(listener).expect("a listener");
        let server = Server::new().limits(limits).add(FlowServer::new(handler.clone()));
        Serving::run(server.bind(listener).await.expect("bound"))
    }
}

#[test]
fn a_drain_finishes_streams_and_new_ones_go_elsewhere() {
    everywhere(&[support::Way::Tcp], async |_| {
        let shared = Shared::new();
        let (old, new) = (Arc::<Watched>::default(), Arc::<Watched>::default());
        let serving = shared.serve(&old, Limits::default()).await;
        let client = FlowClient::connect(serving.address.as_str()).await.expect("connected");
        let mine = Watch::new();
        let gated = Script::items(10).at(Pace::Gated);
        let mut stream = client.give(1, gated).await.expect("a stream");
        let mut mirror = client.mirror(2, mine.stream(gated)).await.expect("a stream");
        let call = tokio::spawn(client.take(3, mine.stream(gated), Appetite::ALL));
        old.watch(3).until("the handler", |seen| seen.begun == 1).await;

        let successor = shared.serve(&new, Limits::default()).await;
        let drained = serving.shutdown.shutdown();
        let mut drained = tokio::spawn(drained);
        // New ones come to the new one, as soon as the client has heard of it.
        let moved = async {
            loop {
                let mut stream = client.give(9, Script::items(3)).await.expect("somebody takes it");
                assert_eq!(consume(&mut stream, 0, 9).await, Taken { items: 3, end: Ended::End });
                if new.watch(9).seen().begun > 0 {
                    break;
                }
            }
        };
        patiently("the successor", moved).await;
        let sum = client.take(10, Watch::new().stream(Script::items(9)), Appetite::ALL);
        assert_eq!(patiently("a reply", sum).await.expect("a reply").items, 9);
        assert_eq!(new.watch(10).seen().gone, 1);

        // The old ones flow on, in both directions.
        for number in 0..10 {
            assert!(!drained.is_finished());
            old.watch(1).let_through(1);
            mine.let_through(2);
            assert_eq!(patiently("an item", consume(&mut stream, number, 1)).await.items, number + 1);
            assert_eq!(patiently("an item", consume(&mut mirror, number, 1)).await.items, number + 1);
        }
        old.watch(1).open_gate();
        mine.open_gate();
        assert_eq!(patiently("its end", consume(&mut stream, 10, 1)).await.end, Ended::End);
        assert_eq!(patiently("its end", consume(&mut mirror, 10, 1)).await.end, Ended::End);
        let taken = patiently("its end", call).await.expect("no panic").expect("a reply");
        assert_eq!(taken, Taken { items: 10, end: Ended::End });
        patiently("the end of the drain", &mut drained).await.expect("no panic");
        drop(successor);
    });
}

#[test]
fn a_drain_that_has_waited_long_enough_ends_streams_with_the_reason() {
    everywhere(&CONNECTED, async |way| {
        let limits = Limits::default().with_drain_timeout(Duration::from_millis(50));
        let mut scene = Scene::with_limits(way, limits, Limits::default()).await;
        let mut stream = scene.client.give(1, Script::items(10).then(Finish::Hang)).await.expect("a stream");
        let mine = Watch::new();
        let call = scene.client.take(2, mine.stream(Script::items(10).then(Finish::Hang)), Appetite::ALL);
        let call = tokio::spawn(call);
        mine.until("the items", |seen| seen.given == 10).await;
        scene.settle().await;
        let serving = scene.serving.take().expect("it is served");
        patiently("the end of the drain", serving.shutdown.shutdown()).await;
        let taken = patiently("its end", consume(&mut stream, 0, u64::MAX)).await;
        assert!(taken.items == 10 && is_lost(&taken), "{taken:?}");
        let error = patiently("its end", call).await.expect("no panic").expect_err("no reply");
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
        mine.all_dropped().await;
        scene.handler.watch(1).all_dropped().await;
        scene.handler.watch(2).all_gone().await;
    });
}

// ---- the client's handle ----

/// A client over a connection that is counted.
async fn counted(limits: Limits) -> (FlowClient, Arc<Watched>, Arc<Faults>) {
    let name = unused_memory();
    let handler = Arc::<Watched>::default();
    let server = Server::new().add(FlowServer::new(handler.clone()));
    let _serving = Serving::start(server, &name).await;
    let faults = Faults::new(None);
    let connector = MemoryConnector::new(name.strip_prefix("mem://").expect("a name in memory"));
    let client =
        FlowClient::connect(Faulty(connector, faults.clone())).limits(limits).await.expect("connected");
    (client, handler, faults)
}

async fn goes_on(stream: &mut Streaming<Item, Refused>, from: u64, items: u64) {
    let taken = patiently("items", consume(stream, from, items)).await;
    assert_eq!(taken, Taken { items: from + items, end: Ended::Not });
}

#[test]
fn a_stream_goes_on_without_the_client_that_opened_it_and_the_last_one_closes_the_connection() {
    everywhere(&[support::Way::Memory], async |_| {
        let (client, handler, faults) = counted(Limits::default()).await;
        let mine = Watch::new();
        let mut stream = client.give(1, Script::endless()).await.expect("a stream");
        let mut mirror = client.mirror(2, mine.stream(Script::endless())).await.expect("a stream");
        goes_on(&mut stream, 0, 10).await;
        drop(client);
        goes_on(&mut stream, 10, 100_000).await;
        goes_on(&mut mirror, 0, 100_000).await;
        assert_eq!(faults.halves(), 2, "the connection is open");
        drop(stream);
        handler.watch(1).all_dropped().await;
        goes_on(&mut mirror, 100_000, 10_000).await;
        drop(mirror);
        handler.watch(2).all_dropped().await;
        mine.all_dropped().await;
        patiently("the end of the connection", faults.all_closed()).await;
    });
}

#[test]
fn a_stream_that_ends_by_itself_closes_the_connection_that_only_it_has_kept() {
    everywhere(&[support::Way::Memory], async |_| {
        let (client, handler, faults) = counted(Limits::default()).await;
        let mut stream = client.give(1, Script::items(50_000)).await.expect("a stream");
        drop(client);
        let taken = patiently("its end", consume(&mut stream, 0, u64::MAX)).await;
        assert_eq!(taken, Taken { items: 50_000, end: Ended::End });
        patiently("the end of the connection", faults.all_closed()).await;
        handler.watch(1).all_dropped().await;
        drop(stream);
    });
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_for_hours_without_the_client_that_opened_it() {
    let (client, handler, faults) = counted(Limits::default()).await;
    let mine = Watch::new();
    let script = Script::items(5).at(Pace::Gated);
    let mut stream = client.give(1, script).await.expect("a stream");
    let mut mirror = client.mirror(2, mine.stream(script)).await.expect("a stream");
    drop(client);
    for number in 0..5 {
        // Longer than a drain takes, or a sign of life, or any other patience.
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        handler.watch(1).let_through(1);
        mine.let_through(1);
        goes_on(&mut stream, number, 1).await;
        goes_on(&mut mirror, number, 1).await;
    }
    drop((stream, mirror));
    patiently("the end of the connection", faults.all_closed()).await;
}

#[test]
fn a_call_goes_on_without_the_client_that_made_it() {
    everywhere(&[support::Way::Memory], async |_| {
        let (client, _, faults) = counted(Limits::default()).await;
        let call = client.take(1, Watch::new().stream(Script::items(10_000)), Appetite::ALL);
        drop(client);
        let taken = patiently("the reply", call).await.expect("a reply");
        assert_eq!(taken, Taken { items: 10_000, end: Ended::End });
        patiently("the end of the connection", faults.all_closed()).await;
    });
}

// ---- processes ----

const ADDRESS: &str = "RPC_TEST_ADDRESS";

/// Does nothing, unless this process was started by one of the tests below to play a part.
#[tokio::test]
async fn plays_its_part_in_another_test() {
    let address = || std::env::var(ADDRESS).expect("set with the part");
    match std::env::var(PART).as_deref() {
        Ok("server") => {
            let server = Server::new().add(FlowServer::new(Watched::default()));
            let bound = server.bind(address()).await.expect("the address is free");
            println!("at {}.", bound.local_addr());
            bound.serve().await.expect("served");
        }
        Ok("client") => {
            let client = FlowClient::connect(address()).await.expect("connected");
            let mut streams = Vec::new();
            for key in 0..8 {
                let stream = Watch::new().stream(Script::endless());
                let appetite = Appetite::items(10, Then::Pause);
                streams.push(tokio::spawn(client.take(key, stream, appetite)));
            }
            let mut stream = client.give(8, Script::endless()).await.expect("a stream");
            // And reads until it is killed.
            consume(&mut stream, 0, u64::MAX).await;
            drop(streams);
        }
        Ok(part) => panic!("there is no part {part:?}"),
        Err(_) => {}
    }
}

#[test]
fn a_server_process_that_is_killed_ends_all_streams_with_the_reason() {
    everywhere(&[support::Way::Tcp], async |_| {
        let mut process = Process::start("server", &[(ADDRESS, OsStr::new("tcp://127.0.0.1:0"))]);
        let address = process.says("at ").await;
        let client = FlowClient::connect(address.as_str()).await.expect("connected");
        let mine = Watch::new();
        let mut flows = client.give(1, Script::endless()).await.expect("a stream");
        let mut waits = client.give(2, Script::items(10).then(Finish::Hang)).await.expect("a stream");
        let mut mirror = client.mirror(3, mine.stream(Script::endless())).await.expect("a stream");
        let call = tokio::spawn(client.take(4, mine.stream(Script::endless()), Appetite::ALL));
        goes_on(&mut flows, 0, 50_000).await;
        goes_on(&mut waits, 0, 10).await;
        goes_on(&mut mirror, 0, 50_000).await;
        process.kill().await;
        for (stream, from) in [(&mut flows, 50_000), (&mut waits, 10), (&mut mirror, 50_000)] {
            let taken = patiently("its end", consume(stream, from, u64::MAX)).await;
            assert!(is_lost(&taken), "{taken:?}");
        }
        let error = patiently("its end", call).await.expect("no panic").expect_err("no reply");
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
        mine.all_dropped().await;
        let error = client.give(5, Script::endless()).await.expect_err("nobody is there");
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));
    });
}

#[test]
fn a_client_process_that_is_killed_leaves_no_stream_behind() {
    everywhere(&[support::Way::Tcp], async |way| {
        let scene = Scene::open(way).await;
        let address = scene.serving.as_ref().expect("it is served").address.clone();
        let process = Process::start("client", &[(ADDRESS, OsStr::new(&address))]);
        for key in 0..8 {
            scene.handler.watch(key).until("its items", |seen| seen.taken == 10).await;
        }
        scene.handler.watch(8).until("some items", |seen| seen.given > 50_000).await;
        process.kill().await;
        for key in 0..=8 {
            scene.handler.watch(key).all_gone().await;
        }
        scene.handler.watch(8).all_dropped().await;
        scene.settle().await;
    });
}
