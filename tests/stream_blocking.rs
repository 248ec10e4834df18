//! Streams without async: iterators on threads, and where these may not be.

#[path = "support/streams/mod.rs"]
mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rpc::{CallError, Code, Items, Server, Stream, Streaming, iter, service};
use support::{
    Appetite, CONNECTED, Ended, Finish, FlowClient, FlowServer, Item, Pace, Refused, Scene, Script, Serving,
    Taken, Then, Watch, Watched, Way, everywhere, patiently,
};
use tokio::runtime::Runtime;

/// A server, and a client without async, in a test without async.
struct Plain {
    runtime: Runtime,
    client: FlowClient,
    handler: Arc<Watched>,
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

fn plainly(test: impl Fn(&Plain)) {
    for way in Way::ALL {
        let runtime = runtime();
        let handler = Arc::<Watched>::default();
        let service = FlowServer::new(handler.clone());
        let client = if way.is_in_process() {
            FlowClient::in_process(service)
        } else {
            let serving = runtime.block_on(Serving::start(Server::new().add(service), &way.address()));
            FlowClient::connect(serving.address.as_str()).blocking().expect("connected")
        };
        test(&Plain { runtime, client, handler });
    }
}

fn collect(items: Items<Item, Refused>) -> (u64, Option<CallError<Refused>>) {
    let (mut number, mut end) = (0, None);
    for item in items {
        assert!(end.is_none(), "nothing follows an end");
        match item {
            Ok(item) => {
                assert_eq!(item.number, number);
                number += 1;
            }
            Err(error) => end = Some(error),
        }
    }
    (number, end)
}

#[test]
fn a_thread_takes_the_items_of_a_reply_and_sees_its_end() {
    plainly(|plain| {
        let script = Script::items(5_000);
        for pace in [Pace::AtOnce, Pace::Yielding] {
            let items = plain.client.give(1, script.at(pace)).blocking().expect("a stream");
            assert!(matches!(collect(items), (5_000, None)));
            let items =
                plain.client.give(1, script.at(pace).then(Finish::Refuse)).blocking().expect("a stream");
            assert!(matches!(collect(items), (5_000, Some(CallError::App(Refused(5_000))))));
            let items =
                plain.client.give(1, script.at(pace).then(Finish::Panic)).blocking().expect("a stream");
            let (_, end) = collect(items);
            assert!(matches!(end, Some(CallError::Rpc(error)) if error.code() == Code::Internal));
        }
        let (items, metadata) =
            plain.client.give(1, Script::items(3)).with_metadata().blocking().expect("a stream");
        assert!(matches!(collect(items), (3, None)) && metadata.is_empty());
    });
}

#[test]
fn an_iterator_that_has_ended_stays_so() {
    plainly(|plain| {
        for finish in [Finish::End, Finish::Refuse] {
            let mut items = plain.client.give(1, Script::items(2).then(finish)).blocking().expect("a stream");
            assert!(items.by_ref().take(2).all(|item| item.is_ok()));
            assert_eq!(items.next().is_some(), finish == Finish::Refuse);
            assert!(items.next().is_none() && items.next().is_none());
        }
    });
}

#[test]
fn a_thread_that_leaves_the_loop_drops_the_stream() {
    plainly(|plain| {
        for (key, pace) in (0..).zip([Pace::AtOnce, Pace::Yielding]) {
            let items = plain.client.give(key, Script::endless().at(pace)).blocking().expect("a stream");
            for item in items {
                if item.expect("it does not end").number == 100 {
                    break;
                }
            }
            plain.runtime.block_on(plain.handler.watch(key).all_dropped());
        }
        assert_eq!(plain.client.echo(7).blocking().expect("the connection is well"), 7);
    });
}

#[test]
fn a_thread_gives_a_stream_and_waits_for_the_reply() {
    plainly(|plain| {
        let mine = Watch::new();
        for (key, pace) in (0..).zip([Pace::AtOnce, Pace::Yielding]) {
            let stream = mine.stream(Script::items(5_000).at(pace));
            let taken = plain.client.take(key, stream, Appetite::ALL).blocking().expect("a reply");
            assert_eq!(taken, Taken { items: 5_000, end: Ended::End });
            let stream = mine.stream(Script::endless().at(pace));
            let appetite = Appetite::items(10, Then::Return);
            let taken = plain.client.take(key, stream, appetite).blocking().expect("a reply");
            assert_eq!(taken, Taken { items: 10, end: Ended::Not });
            let stream = mine.stream(Script::items(5_000).at(pace).then(Finish::Refuse));
            let items = plain.client.mirror(key, stream).blocking().expect("a stream");
            assert!(matches!(collect(items), (5_000, Some(CallError::App(Refused(5_000))))));
        }
        plain.runtime.block_on(mine.all_dropped());
    });
}

#[test]
fn a_deadline_wakes_a_thread_that_waits_for_an_item() {
    plainly(|plain| {
        let call =
            plain.client.give(1, Script::items(3).then(Finish::Hang)).timeout(Duration::from_millis(30));
        let (items, end) = collect(call.blocking().expect("a stream"));
        assert_eq!(items, 3);
        assert!(matches!(end, Some(CallError::Rpc(error)) if error.code() == Code::DeadlineExceeded));
        plain.runtime.block_on(plain.handler.watch(1).all_dropped());
    });
}

#[test]
fn threads_take_items_side_by_side() {
    plainly(|plain| {
        thread::scope(|scope| {
            for key in 0..8 {
                let client = plain.client.clone();
                scope.spawn(move || {
                    for pace in [Pace::AtOnce, Pace::Yielding] {
                        let items =
                            client.give(key, Script::items(2_000).at(pace)).blocking().expect("a stream");
                        assert!(matches!(collect(items), (2_000, None)));
                    }
                });
            }
        });
    });
}

// ---- where a thread may not wait ----

#[test]
fn in_async_code_a_blocking_call_is_refused_and_its_streams_are_dropped() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let error = scene.client.give(1, Script::endless()).blocking().expect_err("this is a task");
        assert_eq!(error.code(), Code::FailedPrecondition);
        let mine = Watch::new();
        let call = scene.client.take(1, mine.stream(Script::endless()), Appetite::ALL);
        assert_eq!(call.blocking().expect_err("this is a task").code(), Code::FailedPrecondition);
        mine.all_dropped().await;
        scene.settle().await;
        assert_eq!((mine.seen().given, scene.handler.watch(1).seen().begun), (0, 0), "nothing was sent");
    });
}

#[test]
fn in_async_code_an_iterator_ends_with_the_reason_and_its_stream_with_it() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let stream = scene.client.give(1, Script::endless()).await.expect("a stream");
        let (items, end) = collect(stream.blocking());
        assert_eq!(items, 0);
        assert!(matches!(end, Some(CallError::Rpc(error)) if error.code() == Code::FailedPrecondition));
        scene.handler.watch(1).all_dropped().await;
        scene.settle().await;
    });
}

#[test]
fn a_stream_that_was_opened_in_async_code_is_taken_on_a_thread_of_its_runtime() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let stream = scene.client.give(1, Script::items(5_000).at(Pace::Yielding)).await.expect("a stream");
        let collected = tokio::task::spawn_blocking(move || collect(stream.blocking()));
        let collected = patiently("its end", collected).await.expect("no panic");
        assert!(matches!(collected, (5_000, None)));
    });
}

// ---- handlers ----

#[service]
trait Sums {
    /// Sums on a thread that may block.
    async fn sum(&self, numbers: Streaming<u64>, most: u64) -> u64;
    /// Gives what a thread makes.
    async fn doubled(&self, numbers: Streaming<u64>) -> impl Stream<Item = u64>;
}

struct OnThreads;

impl Sums for OnThreads {
    async fn sum(&self, numbers: Streaming<u64>, most: u64) -> u64 {
        let sum = move || {
            numbers.blocking().map(|number| number.expect("a number")).take_while(|n| *n < most).sum()
        };
        tokio::task::spawn_blocking(sum).await.expect("no panic")
    }

    async fn doubled(&self, numbers: Streaming<u64>) -> impl Stream<Item = u64> {
        let (send, receive) = tokio::sync::mpsc::channel(4);
        tokio::task::spawn_blocking(move || {
            for number in numbers.blocking() {
                // Whoever took them may have gone.
                if number.is_ok_and(|number| send.blocking_send(2 * number).is_err()) {
                    break;
                }
            }
        });
        Received(receive)
    }
}

struct Received(tokio::sync::mpsc::Receiver<u64>);

impl Stream for Received {
    type Item = u64;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<u64>> {
        self.0.poll_recv(cx)
    }
}

#[test]
fn a_handler_takes_its_argument_on_a_thread_that_may_block() {
    everywhere(&Way::ALL, async |way| {
        let service = SumsServer::new(OnThreads);
        let client = if way.is_in_process() {
            SumsClient::in_process(service)
        } else {
            let serving = Serving::start(Server::new().add(service), &way.address()).await;
            SumsClient::connect(serving.address.as_str()).await.expect("connected")
        };
        let sum = patiently("the sum", client.sum(iter(0..10_000), u64::MAX)).await;
        assert_eq!(sum.expect("a sum"), 5_000 * 9_999);
        // It leaves the loop early, and the caller's stream has no end.
        let sum = patiently("the sum", client.sum(iter(0..), 100)).await;
        assert_eq!(sum.expect("a sum"), 4_950);
        let mut doubled = client.doubled(iter(0..10_000)).await.expect("a stream");
        for number in 0..10_000 {
            let item = patiently("an item", doubled.next()).await.expect("an item").expect("fine");
            assert_eq!(item, 2 * number);
        }
        assert!(doubled.next().await.is_none());
        // And is told when its call is over, however much there would be.
        let mut doubled = client.doubled(iter(0..)).await.expect("a stream");
        assert_eq!(doubled.next().await.expect("an item").expect("fine"), 0);
        drop(doubled);
        let sum = patiently("the sum", client.sum(iter(0..10), u64::MAX)).await;
        assert_eq!(sum.expect("a sum"), 45);
    });
}

#[test]
fn a_client_of_a_current_thread_runtime_is_not_waited_for_on_another_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for way in CONNECTED {
        runtime.block_on(async {
            let scene = Scene::open(way).await;
            let client = scene.client.clone();
            let refused =
                tokio::task::spawn_blocking(move || client.give(1, Script::endless()).blocking().err());
            let error = refused.await.expect("no panic").expect("it could stop what it waits for");
            assert_eq!(error.code(), Code::FailedPrecondition);
        });
    }
}
