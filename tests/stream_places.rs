//! Calls with streams take places, credit and memory; and give all of it back, however they end.

#[path = "support/streams/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rpc::{Code, Executed, Limits, Server, Streaming};
use support::memory::{ran_alone, resident};
use support::{
    Appetite, CONNECTED, Ended, Finish, FlowClient, FlowServer, Item, Pace, Refused, Scene, Script, Serving,
    Taken, Then, Watch, Watched, Way, consume, everywhere, patiently,
};
use tokio::sync::Semaphore;

/// As many calls with streams as a server takes by default at once on a connection.
const PLACES: u64 = 1_024;

/// A stream of one item that does not end.
const HELD: Script = Script::items(1).then(Finish::Hang);

/// Opens so many streams at once, each of which gives its first item while all are open.
async fn open_at_once(client: &FlowClient, keys: std::ops::Range<u64>) -> Vec<Streaming<Item, Refused>> {
    let opening = keys.map(|key| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut stream = client.give(key, HELD).await.expect("a stream");
            assert_eq!(consume(&mut stream, 0, 1).await.items, 1);
            stream
        })
    });
    let mut streams = Vec::new();
    for stream in opening.collect::<Vec<_>>() {
        streams.push(patiently("a place", stream).await.expect("no panic"));
    }
    streams
}

#[test]
fn case_65_ten_thousand_streams_opened_and_abandoned_leave_nothing() {
    const ABANDONED: u64 = 10_000;
    if ran_alone("case_65_ten_thousand_streams_opened_and_abandoned_leave_nothing") {
        return;
    }
    everywhere(&CONNECTED, async |way| {
        let scene = Scene::open(way).await;
        let mut key = 0;
        let mut next = || {
            key += 1;
            key
        };
        let mut before = 0;
        // The first time is for what a process keeps from its busiest moment.
        for round in 0..2 {
            let first = (round + 1) << 40;
            drop(open_at_once(&scene.client, first..first + PLACES).await);
            if round == 1 {
                before = resident();
            }
            for number in 0..ABANDONED {
                // Without their watches the tests' own memory is no part of this.
                let key = next();
                // Some have their window full when they are dropped, some give nothing.
                let script = if number % 2 == 0 { Script::endless().of_bytes(4_000) } else { HELD };
                let mut stream =
                    patiently("a place", scene.client.give(key, script)).await.expect("a stream");
                if number % 3 == 1 {
                    assert_eq!(consume(&mut stream, 0, 1).await.items, 1);
                }
                drop(stream);
                scene.handler.forget(key);
            }
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes more after {ABANDONED} streams");

        // All places are there, and the credit of each.
        let streams = open_at_once(&scene.client, 1 << 50..(1 << 50) + PLACES).await;
        drop(streams);
        let mut streams = Vec::new();
        for key in 0..16 {
            let script = Script::endless().of_bytes(1_000);
            let key = (1 << 51) + key;
            streams.push(patiently("a place", scene.client.give(key, script)).await.expect("a stream"));
            scene.handler.watch(key).until("a full window", |seen| seen.given >= 64).await;
        }
    });
}

#[test]
fn case_65_two_thousand_streams_at_once_wait_for_their_places() {
    everywhere(&CONNECTED, async |way| {
        let scene = Scene::open(way).await;
        let (leave, opened) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let callers = (0..2_000).map(|key| {
            let (client, leave, opened) = (scene.client.clone(), leave.clone(), opened.clone());
            tokio::spawn(async move {
                let mut stream = client.give(key, HELD).await.expect("no error, but a place");
                assert_eq!(consume(&mut stream, 0, 1).await.items, 1);
                opened.add_permits(1);
                leave.acquire().await.expect("never closed").forget();
            })
        });
        let callers: Vec<_> = callers.collect();
        let all_places = opened.acquire_many(PLACES as u32);
        patiently("all places", all_places).await.expect("never closed").forget();
        scene.settle().await;
        assert_eq!(opened.available_permits(), 0, "the others wait, and calls without streams do not");
        // One goes, one comes.
        leave.add_permits(1);
        patiently("one more", opened.acquire()).await.expect("never closed").forget();
        scene.settle().await;
        assert_eq!(opened.available_permits(), 0);
        leave.add_permits(1_999);
        for caller in callers {
            patiently("a place", caller).await.expect("no panic");
        }
        drop(open_at_once(&scene.client, 10_000..10_000 + PLACES).await);
    });
}

#[test]
fn callers_that_give_up_waiting_for_a_place_take_none() {
    everywhere(&CONNECTED, async |way| {
        let one = Limits::default().with_streams(1);
        let scene = Scene::with_limits(way, one, Limits::default()).await;
        let held = scene.client.give(0, HELD).await.expect("a stream");
        let mine = Watch::new();
        let mut waiting = Vec::new();
        for key in 1..100 {
            let stream = mine.stream(Script::endless());
            waiting.push(tokio::spawn(scene.client.take(key, stream, Appetite::ALL)));
        }
        scene.settle().await;
        assert_eq!(mine.seen().given, 0, "a stream is not polled before its call is sent");
        let late = scene.client.give(200, HELD).timeout(Duration::from_millis(20));
        let error = patiently("the deadline", late).await.expect_err("there was no place");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::No));
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        mine.all_dropped().await;
        drop(held);
        let mut stream =
            patiently("a place", scene.client.give(300, Script::items(1))).await.expect("a stream");
        assert_eq!(consume(&mut stream, 0, 2).await, Taken { items: 1, end: Ended::End });
        assert_eq!(scene.handler.watch(1).seen().begun, 0, "none of them was sent");
    });
}

// ---- a side that vanishes ----

/// Streams of each shape, and how many of them flow when the other side vanishes.
const STREAMS: u64 = 256;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Opens streams that flow, stand still for want of credit, or wait, a third each; and says when all are under way.
async fn hold_streams(client: FlowClient, handler: Arc<Watched>, mine: Arc<Watch>) -> Vec<Held> {
    let mut held = Vec::new();
    for key in 0..STREAMS {
        let script = match key % 3 {
            0 => Script::endless().of_bytes(100).at(Pace::Yielding),
            1 => Script::endless().of_bytes(5_000),
            _ => HELD,
        };
        held.push(if key % 2 == 0 {
            let mut stream = client.give(key, script).await.expect("a stream");
            if key % 3 == 0 {
                Held::Task(tokio::spawn(async move { consume(&mut stream, 0, u64::MAX).await }))
            } else {
                Held::Stream(stream)
            }
        } else {
            let appetite = Appetite::items(1, if key % 3 == 0 { Then::Return } else { Then::Pause });
            let appetite = if key % 3 == 0 { Appetite::ALL } else { appetite };
            let call = client.take(key, mine.stream(script), appetite);
            Held::Call(tokio::spawn(call))
        });
        handler.watch(key).until("its start", |seen| seen.begun == 1).await;
    }
    held
}

enum Held {
    Stream(Streaming<Item, Refused>),
    Task(tokio::task::JoinHandle<Taken>),
    Call(tokio::task::JoinHandle<Result<Taken, rpc::Error>>),
}

/// Waits until only so many tasks are left, for two seconds at most.
fn assert_alone(runtime: &tokio::runtime::Runtime, tasks: usize) {
    let since = Instant::now();
    while runtime.metrics().num_alive_tasks() > tasks {
        let left = runtime.metrics().num_alive_tasks();
        assert!(since.elapsed() < Duration::from_secs(2), "{left} tasks are left, {tasks} were there before");
        std::thread::yield_now();
    }
}

#[test]
fn case_89_a_client_that_vanishes_with_256_streams_leaves_no_task_behind() {
    let (server_side, client_side) = (runtime(), runtime());
    let handler = Arc::<Watched>::default();
    let service = FlowServer::new(handler.clone());
    let serving = server_side.block_on(Serving::start(Server::new().add(service), &Way::Tcp.address()));
    // A task may end on the worker a little later than its work.
    let before = server_side.metrics().num_alive_tasks();
    let mine = Watch::new();
    let held = client_side.block_on(async {
        let client = FlowClient::connect(serving.address.as_str()).await.expect("connected");
        hold_streams(client, handler.clone(), mine.clone()).await
    });
    assert!(server_side.metrics().num_alive_tasks() > before + STREAMS as usize / 2);
    // Its sockets are closed, and nobody says a word before.
    client_side.shutdown_timeout(Duration::from_secs(20));
    assert_alone(&server_side, before);
    for key in 0..STREAMS {
        let seen = handler.watch(key).seen();
        assert_eq!((seen.begun, seen.made), (seen.gone, seen.dropped), "stream {key}");
    }
    let seen = mine.seen();
    assert_eq!(seen.made, seen.dropped, "the caller's streams went with its runtime");
    // What is still held of them knows.
    runtime().block_on(async {
        for held in held {
            let Held::Stream(mut stream) = held else { continue };
            assert_eq!(consume(&mut stream, 0, u64::MAX).await.end.code(), Some("Unavailable"));
        }
    });
}

#[test]
fn case_89_a_server_that_vanishes_with_256_streams_leaves_no_task_behind() {
    let (server_side, client_side) = (runtime(), runtime());
    let handler = Arc::<Watched>::default();
    let service = FlowServer::new(handler.clone());
    let serving = server_side.block_on(Serving::start(Server::new().add(service), &Way::Tcp.address()));
    let mine = Watch::new();
    let client = client_side.block_on(FlowClient::connect(serving.address.as_str()).into_future());
    let client = client.expect("connected");
    let before = client_side.metrics().num_alive_tasks();
    let held = client_side.block_on(hold_streams(client.clone(), handler.clone(), mine.clone()));
    server_side.shutdown_timeout(Duration::from_secs(20));
    client_side.block_on(async {
        for held in held {
            let end = match held {
                Held::Stream(mut stream) => patiently("its end", consume(&mut stream, 0, u64::MAX)).await.end,
                Held::Task(task) => patiently("its end", task).await.expect("no panic").end,
                Held::Call(call) => {
                    let error = patiently("its end", call).await.expect("no panic").expect_err("no reply");
                    assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
                    continue;
                }
            };
            assert_eq!(end.code(), Some("Unavailable"), "{end:?}");
        }
        mine.all_dropped().await;
    });
    assert_alone(&client_side, before);
    let seen = mine.seen();
    assert_eq!(seen.made, seen.dropped);
    drop(client);
}
