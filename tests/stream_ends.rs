//! How streams end: by themselves, by an error, by being dropped, at either side; and that the other side sees which.

#[path = "support/streams/mod.rs"]
mod support;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use rpc::{
    CallError, Channel, Code, Context, Error, Executed, Limits, Stream, StreamArgument, Streaming, iter,
    service,
};
use support::lifecycle::SECRET;
use support::{
    Appetite, CONNECTED, Ended, Finish, FlowClient, Item, Pace, Refused, Scene, Script, Taken, Then, Watch,
    Way, consume, everywhere, patiently,
};

/// Polls a future once: a call is on its way then, and has not ended.
async fn begin<F: Future>(future: &mut Pin<Box<F>>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "it is not over yet");
        Poll::Ready(())
    })
    .await;
}

/// Lets a future go on until a condition holds, which has to be before it ends.
async fn until<F: Future>(future: &mut Pin<Box<F>>, condition: impl Future) {
    tokio::select! {
        biased;
        _ = condition => {}
        _ = future.as_mut() => panic!("it ended too early"),
    }
}

async fn open(scene: &Scene, key: u64, script: Script) -> Streaming<Item, Refused> {
    patiently("the reply", scene.client.give(key, script)).await.expect("a stream")
}

fn rpc(taken: &Taken) -> (&str, &str) {
    match &taken.end {
        Ended::Rpc(code, text) => (code, text),
        other => panic!("{other:?} is no RPC error"),
    }
}

// ---- a caller that wants no more ----

#[test]
fn dropping_a_reply_drops_its_stream_and_its_handler_wherever_it_is() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let scripts = [
            Script::endless(),
            Script::endless().at(Pace::Yielding),
            Script::items(10).then(Finish::Hang),
            Script::items(100_000),
        ];
        for (round, script) in (0..).zip(scripts) {
            for (step, items) in (0..).zip([0, 1, 10]) {
                let key = round * 10 + step;
                let mut stream = open(&scene, key, script).await;
                let taken = patiently("items", consume(&mut stream, 0, items)).await;
                assert_eq!(taken, Taken { items, end: Ended::Not });
                drop(stream);
                let watch = scene.handler.watch(key);
                watch.all_dropped().await;
                watch.all_gone().await;
            }
        }
        scene.settle().await;
    });
}

#[test]
fn dropping_a_reply_whose_end_has_come_unread_is_nothing() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        for key in 0..100 {
            let mut stream = open(&scene, key, Script::items(10)).await;
            assert_eq!(consume(&mut stream, 0, 10).await.items, 10);
            if !way.is_in_process() {
                // It has given all, so its end is here or on its way.
                scene.handler.watch(key).all_dropped().await;
            }
            drop(stream);
            scene.handler.watch(key).all_dropped().await;
        }
        scene.settle().await;
    });
}

#[test]
fn a_stream_that_has_ended_stays_so_and_keeps_nothing() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::with_limits(way, Limits::default().with_streams(1), Limits::default()).await;
        let mut ended = Vec::new();
        for key in 0..20 {
            let mut stream = open(&scene, key, Script::items(3)).await;
            assert_eq!(consume(&mut stream, 0, u64::MAX).await, Taken { items: 3, end: Ended::End });
            assert!(stream.next().await.is_none());
            // Kept, they take no place.
            ended.push(stream);
        }
        assert!(format!("{:?}", ended[0]).contains("ended: true"), "{:?}", ended[0]);
    });
}

#[test]
fn dropping_a_call_before_its_reply_drops_the_handler() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let mut call = Box::pin(scene.client.give_late(1, Script::endless()));
        let watch = scene.handler.watch(1);
        until(&mut call, watch.until("the handler", |seen| seen.begun == 1)).await;
        drop(call);
        watch.all_gone().await;
        scene.settle().await;
        assert_eq!(watch.seen().made, 0, "there was no stream yet");
    });
}

#[test]
fn dropping_a_call_whose_reply_has_come_unseen_drops_its_stream() {
    everywhere(&CONNECTED, async |way| {
        let limits = Limits::default().with_streams(1);
        let scene = Scene::with_limits(way, limits, Limits::default()).await;
        for key in 0..20 {
            let mut call = Box::pin(scene.client.give(key, Script::endless()));
            begin(&mut call).await;
            let watch = scene.handler.watch(key);
            // It has stopped for want of credit, so all that was sent before is here or on its way.
            watch.until("a full window", |seen| seen.given > 1_000).await;
            if key % 2 == 0 {
                scene.settle().await;
            }
            drop(call);
            watch.all_dropped().await;
            watch.all_gone().await;
            // The next call is to be sent when it is polled first, and so needs the place: it is free once it has
            // been taken, and given back before the end was seen.
            let mut stream = open(&scene, 100, Script::items(0)).await;
            assert_eq!(consume(&mut stream, 0, 1).await.end, Ended::End);
        }
    });
}

#[test]
fn dropping_a_call_drops_the_streams_among_its_arguments_and_its_handler() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        for (key, pace) in (0..).zip([Pace::AtOnce, Pace::Yielding, Pace::Gated]) {
            let mine = Watch::new();
            mine.let_through(10);
            let stream = mine.stream(Script::endless().at(pace));
            let mut call = Box::pin(scene.client.take(key, stream, Appetite::items(10, Then::Pause)));
            let theirs = scene.handler.watch(key);
            until(&mut call, theirs.until("the handler", |seen| seen.taken == 10)).await;
            drop(call);
            mine.all_dropped().await;
            theirs.all_gone().await;
        }
        scene.settle().await;
    });
}

#[test]
fn a_call_that_is_never_polled_drops_its_streams_unasked() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let mine = Watch::new();
        drop(scene.client.take(1, mine.stream(Script::endless()), Appetite::ALL));
        mine.all_dropped().await;
        assert_eq!(mine.seen().given, 0);
        assert_eq!(scene.handler.watch(1).seen().begun, 0);
    });
}

// ---- a handler that wants no more ----

#[test]
fn a_handler_that_drops_its_argument_drops_the_callers_stream_and_goes_on() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        for (key, items) in (0..).zip([0, 10]) {
            for (step, pace) in (0..).zip([Pace::AtOnce, Pace::Yielding, Pace::Gated]) {
                let key = key * 10 + step;
                let mine = Watch::new();
                mine.let_through(10);
                let stream = mine.stream(Script::endless().at(pace));
                let mut call = Box::pin(scene.client.take(key, stream, Appetite::items(items, Then::Drop)));
                until(&mut call, mine.all_dropped()).await;
                let theirs = scene.handler.watch(key);
                assert_eq!(theirs.seen().gone, 0, "the handler is still there");
                theirs.open_gate();
                let taken = patiently("the reply", call).await.expect("a reply");
                assert_eq!(taken, Taken { items, end: Ended::Not });
            }
        }
        scene.settle().await;
    });
}

#[test]
fn a_handler_that_returns_early_drops_the_callers_stream() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        for (key, pace) in (0..).zip([Pace::AtOnce, Pace::Yielding, Pace::Gated]) {
            let mine = Watch::new();
            mine.let_through(10);
            let stream = mine.stream(Script::endless().at(pace));
            let call = scene.client.take(key, stream, Appetite::items(10, Then::Return));
            assert_eq!(patiently("the reply", call).await.expect("a reply").items, 10);
            mine.all_dropped().await;
        }
        scene.settle().await;
    });
}

#[test]
fn an_argument_that_outlives_its_call_says_so_and_lets_the_callers_stream_go() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let mine = Watch::new();
        let stream = mine.stream(Script::endless());
        let call = scene.client.take(1, stream, Appetite::items(10, Then::Leave));
        assert_eq!(patiently("the reply", call).await.expect("a reply").items, 10);
        // The call is over, and with it what belongs to it, whoever holds the other end.
        mine.all_dropped().await;
        let theirs = scene.handler.watch(1);
        theirs.open_gate();
        let left = theirs.left().await;
        assert_eq!(rpc(&left).0, "Cancelled", "{left:?}");
        assert!(rpc(&left).1.contains("has ended"), "{left:?}");
        scene.settle().await;
    });
}

#[test]
fn a_task_that_waits_on_an_argument_learns_of_the_end_of_its_call() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let mine = Watch::new();
        let theirs = scene.handler.watch(1);
        theirs.open_gate();
        // The task waits for an eleventh item, which never comes.
        let stream = mine.stream(Script::items(10).then(Finish::Hang));
        let call = scene.client.take(1, stream, Appetite::items(10, Then::Leave));
        assert_eq!(patiently("the reply", call).await.expect("a reply").items, 10);
        mine.all_dropped().await;
        assert_eq!(rpc(&theirs.left().await).0, "Cancelled");
    });
}

// ---- each end is seen as what it is ----

#[test]
fn each_end_of_a_reply_is_seen_as_what_it_is_after_all_items() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let mut key = 0;
        for items in [0, 1, 5_000] {
            for pace in [Pace::AtOnce, Pace::Yielding] {
                for finish in [Finish::End, Finish::Refuse] {
                    key += 1;
                    let mut stream = open(&scene, key, Script::items(items).at(pace).then(finish)).await;
                    let taken = patiently("the end", consume(&mut stream, 0, u64::MAX)).await;
                    let end = if finish == Finish::End { Ended::End } else { Ended::Refused(items) };
                    assert_eq!(taken, Taken { items, end });
                    scene.handler.watch(key).all_dropped().await;
                }
            }
        }
    });
}

#[test]
fn each_end_of_an_argument_is_seen_as_what_it_is_after_all_items() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        for items in [0, 1, 5_000] {
            for pace in [Pace::AtOnce, Pace::Yielding] {
                for finish in [Finish::End, Finish::Refuse] {
                    let mine = Watch::new();
                    let stream = mine.stream(Script::items(items).at(pace).then(finish));
                    let call = scene.client.take(items, stream, Appetite::ALL);
                    let taken = patiently("the end", call).await.expect("a reply");
                    let end = if finish == Finish::End { Ended::End } else { Ended::Refused(items) };
                    assert_eq!(taken, Taken { items, end });
                    mine.all_dropped().await;
                }
            }
        }
    });
}

#[test]
fn an_argument_that_ends_while_nobody_reads_is_whole_later() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        for finish in [Finish::End, Finish::Refuse] {
            let (mine, key) = (Watch::new(), finish as u64);
            let stream = mine.stream(Script::items(1_000).then(finish));
            let call = scene.client.take(key, stream, Appetite::items(1, Then::Pause));
            let mut call = Box::pin(call);
            let theirs = scene.handler.watch(key);
            until(&mut call, theirs.until("the first item", |seen| seen.taken == 1)).await;
            if !way.is_in_process() {
                mine.all_dropped().await;
            }
            theirs.open_gate();
            let taken = patiently("the reply", call).await.expect("a reply");
            let end = if finish == Finish::End { Ended::End } else { Ended::Refused(1_000) };
            assert_eq!(taken, Taken { items: 1_000, end });
        }
    });
}

#[test]
fn a_stream_goes_there_and_back() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        for finish in [Finish::End, Finish::Refuse] {
            let mine = Watch::new();
            let stream = mine.stream(Script::items(20_000).then(finish));
            let mut mirror = patiently("a reply", scene.client.mirror(1, stream)).await.expect("a stream");
            let taken = patiently("the end", consume(&mut mirror, 0, u64::MAX)).await;
            let end = if finish == Finish::End { Ended::End } else { Ended::Refused(20_000) };
            assert_eq!(taken, Taken { items: 20_000, end });
            mine.all_dropped().await;
        }
        // Dropped in the middle, both streams are.
        let mine = Watch::new();
        let mut mirror = scene.client.mirror(2, mine.stream(Script::endless())).await.expect("a stream");
        assert_eq!(consume(&mut mirror, 0, 10).await.items, 10);
        drop(mirror);
        mine.all_dropped().await;
        scene.handler.watch(2).all_dropped().await;
        scene.settle().await;
    });
}

// ---- panics ----

#[test]
fn a_panic_in_a_handlers_stream_ends_that_stream_alone() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let mut other = open(&scene, 0, Script::endless()).await;
        for (key, finish) in (1..).zip([Finish::Panic, Finish::Poison]) {
            // Each item goes out before the next is asked for, so none is lost to the panic.
            let mut stream = open(&scene, key, Script::items(3).at(Pace::Yielding).then(finish)).await;
            let taken = patiently("the end", consume(&mut stream, 0, u64::MAX)).await;
            assert_eq!(taken.items, 3);
            assert_eq!(rpc(&taken).0, "Internal");
            assert!(!rpc(&taken).1.contains(SECRET), "{taken:?}");
            scene.handler.watch(key).all_dropped().await;
        }
        assert_eq!(patiently("items", consume(&mut other, 0, 50_000)).await.items, 50_000);
        scene.settle().await;
    });
}

#[test]
fn a_panic_in_a_callers_stream_ends_that_stream_alone_and_its_handler_goes_on() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let mut other = open(&scene, 0, Script::endless()).await;
        for (key, finish) in (1..).zip([Finish::Panic, Finish::Poison]) {
            let mine = Watch::new();
            let stream = mine.stream(Script::items(3).at(Pace::Yielding).then(finish));
            let call = scene.client.take(key, stream, Appetite::ALL);
            // That the handler has a reply says that it was told, and not stopped.
            let taken = patiently("the reply", call).await.expect("a reply");
            assert_eq!(taken.items, 3);
            assert_eq!(rpc(&taken).0, "Internal");
            assert!(!rpc(&taken).1.contains(SECRET), "{taken:?}");
            mine.all_dropped().await;
        }
        assert_eq!(patiently("items", consume(&mut other, 0, 50_000)).await.items, 50_000);
        scene.settle().await;
    });
}

// ---- sides that do not agree on what an item is ----

fn channel(client: &FlowClient) -> &Channel {
    client.as_ref()
}

#[test]
fn items_that_the_caller_does_not_understand_end_that_stream_alone() {
    everywhere(&Way::ALL, async |way| {
        let limits = Limits::default().with_streams(2);
        let scene = Scene::with_limits(way, limits, Limits::default()).await;
        let mut other = open(&scene, 0, Script::endless()).await;
        for key in 1..10 {
            // An older caller, say, for which an item was a number.
            let call =
                channel(&scene.client).call::<Streaming<u64>, Error>("Flow.give", (key, Script::endless()));
            let mut stream = patiently("the reply", call).await.expect("a stream");
            let error = patiently("an item", stream.next()).await.expect("an item").expect_err("no number");
            assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes), "{error}");
            assert!(stream.next().await.is_none(), "nothing follows an end");
            let watch = scene.handler.watch(key);
            watch.all_dropped().await;
            watch.all_gone().await;
        }
        assert_eq!(patiently("items", consume(&mut other, 0, 50_000)).await.items, 50_000);
    });
}

#[test]
fn items_that_the_handler_does_not_understand_end_that_stream_alone() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let mut other = open(&scene, 0, Script::endless()).await;
        for key in 1..10 {
            let numbers = Numbers { next: 0, watch: Watch::new() };
            let mine = numbers.watch.clone();
            let mut call = Box::pin(
                channel(&scene.client)
                    .call::<Taken, Error>("Flow.take", (key, StreamArgument(1), Appetite::ALL))
                    .stream(numbers),
            );
            let taken = patiently("the reply", call.as_mut()).await.expect("a reply");
            assert_eq!(taken.items, 0);
            assert_eq!(rpc(&taken).0, "Internal");
            mine.until("the drop", |seen| seen.dropped == 1).await;
        }
        assert_eq!(patiently("items", consume(&mut other, 0, 50_000)).await.items, 50_000);
        scene.settle().await;
    });
}

/// Items of an older caller, for which they were numbers.
struct Numbers {
    next: u64,
    watch: std::sync::Arc<Watch>,
}

impl Stream for Numbers {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<Option<u64>> {
        self.next += 1;
        Poll::Ready(Some(self.next))
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        // A stream of its own, only to say that this one is gone.
        drop(self.watch.stream(Script::items(0)));
    }
}

#[test]
fn a_good_item_before_one_that_is_not_understood_is_given() {
    everywhere(&Way::ALL, async |way| {
        #[derive(serde::Serialize)]
        #[serde(untagged)]
        enum Any {
            Item(Item),
            Text(&'static str),
        }
        let scene = Scene::open(way).await;
        let item = |number| Any::Item(Item { number, load: String::new() });
        let items = iter([item(0), item(1), Any::Text("no item"), item(2)]);
        let call = channel(&scene.client)
            .call::<Taken, Error>("Flow.take", (1, StreamArgument(1), Appetite::ALL))
            .stream(items);
        let taken = patiently("the reply", call).await.expect("a reply");
        assert_eq!((taken.items, rpc(&taken).0), (2, "Internal"));
    });
}

#[test]
fn a_reply_that_is_a_stream_where_a_value_is_awaited_is_dropped_and_the_other_way_round() {
    everywhere(&Way::ALL, async |way| {
        let limits = Limits::default().with_streams(1);
        let scene = Scene::with_limits(way, limits, Limits::default()).await;
        for key in 0..10 {
            // A call with a stream among its arguments, to a method that is thought to give a value.
            let call = channel(&scene.client)
                .call::<u64, Error>("Flow.give", (key, Script::endless()))
                .stream(iter([1]));
            let error = patiently("the reply", call).await.expect_err("a stream is no number");
            assert_eq!(error.code(), Code::Internal, "{error}");
            scene.handler.watch(key).all_dropped().await;
            let call = channel(&scene.client).call::<Streaming<u64>, Error>("Flow.echo", (1,));
            let error = patiently("the reply", call).await.expect_err("a number is no stream");
            assert_eq!(error.code(), Code::Internal, "{error}");
        }
        scene.settle().await;
    });
}

// ---- handlers that are not cancelled ----

#[test]
fn a_handler_that_is_not_cancelled_still_loses_a_reply_that_nobody_wants() {
    everywhere(&Way::ALL, async |way| {
        let limits = Limits::default().with_streams(1);
        let scene = Scene::with_limits(way, limits, Limits::default()).await;
        for (key, script) in (0..).zip([
            Script::endless(),
            Script::endless().at(Pace::Yielding),
            Script::items(10).then(Finish::Hang),
        ]) {
            let watch = scene.handler.watch(key);
            watch.open_gate();
            let call = scene.client.give_anyway(key, script);
            let mut stream = patiently("a place and the reply", call).await.expect("a stream");
            assert_eq!(patiently("items", consume(&mut stream, 0, 5)).await.items, 5);
            drop(stream);
            watch.all_dropped().await;
        }
        // And its place is free again.
        let _stream = patiently("a place", scene.client.give(100, Script::items(1))).await.expect("a stream");
    });
}

#[test]
fn a_handler_that_is_not_cancelled_ends_its_work_though_nobody_waits_for_its_stream() {
    everywhere(&Way::ALL, async |way| {
        let limits = Limits::default().with_streams(1);
        let scene = Scene::with_limits(way, limits, Limits::default()).await;
        let watch = scene.handler.watch(1);
        let mut call = Box::pin(scene.client.give_anyway(1, Script::endless()));
        until(&mut call, watch.until("the handler", |seen| seen.begun == 1)).await;
        drop(call);
        scene.settle().await;
        assert_eq!(watch.seen().gone, 0, "it goes on");
        watch.let_through(1);
        watch.all_gone().await;
        watch.all_dropped().await;
        let _stream = patiently("a place", scene.client.give(100, Script::items(1))).await.expect("a stream");
    });
}

#[test]
fn a_handler_that_is_not_cancelled_learns_that_its_argument_will_not_go_on() {
    everywhere(&Way::ALL, async |way| {
        let limits = Limits::default().with_streams(1);
        let scene = Scene::with_limits(way, limits, Limits::default()).await;
        // One that waits for an item when its caller goes, and one that reads only later.
        for (key, appetite) in (0..).zip([Appetite::ALL, Appetite::items(5, Then::Pause)]) {
            let (mine, theirs) = (Watch::new(), scene.handler.watch(key));
            let stream = mine.stream(Script::items(10).then(Finish::Hang));
            let mut call = Box::pin(scene.client.take_anyway(key, stream, appetite));
            let given = mine.until("the items", |seen| seen.given == 10);
            until(&mut call, async {
                given.await;
                theirs.until("the handler", |seen| seen.begun == 1).await
            })
            .await;
            drop(call);
            mine.all_dropped().await;
            theirs.open_gate();
            theirs.all_gone().await;
        }
        let _stream = patiently("a place", scene.client.give(100, Script::items(1))).await.expect("a stream");
    });
}

// ---- beside the stream ----

#[service]
trait Beside {
    async fn labelled(&self, size: usize) -> impl Stream<Item = u64>;
    async fn refused(&self) -> Result<impl Stream<Item = u64>, Refused>;
    async fn context(&self) -> impl Stream<Item = String>;
    async fn nested(&self, key: u64) -> impl Stream<Item = u64>;
    async fn argument(&self, names: Streaming<String>) -> Vec<String>;
}

struct Handler {
    flow: Option<FlowClient>,
}

/// A stream that makes each of its items by a function.
struct From<F>(F);

impl<T, F: FnMut(&mut std::task::Context<'_>) -> Poll<Option<T>> + Unpin> Stream for From<F> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Option<T>> {
        (self.0)(cx)
    }
}

fn name() -> String {
    let context = Context::current();
    let tenant = context.metadata("tenant").unwrap_or_default();
    let timed = if context.deadline().is_some() { " in time" } else { "" };
    format!("{} {tenant}{timed}", context.method().unwrap_or("nowhere"))
}

impl Beside for Handler {
    async fn labelled(&self, size: usize) -> impl Stream<Item = u64> {
        Context::current().set_reply_metadata("label", "x".repeat(size));
        iter(0..1_000_000)
    }

    async fn refused(&self) -> Result<impl Stream<Item = u64>, Refused> {
        Context::current().set_reply_metadata("label", "refused");
        Err::<rpc::Iter<std::ops::Range<u64>>, _>(Refused(7))
    }

    async fn context(&self) -> impl Stream<Item = String> {
        let mut polls = 0;
        From(move |cx: &mut std::task::Context<'_>| {
            polls += 1;
            match polls {
                7 => Poll::Ready(None),
                _ if polls % 2 == 0 => Poll::Ready(Some(name())),
                _ => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        })
    }

    async fn nested(&self, key: u64) -> impl Stream<Item = u64> {
        let flow = self.flow.clone().expect("there is one in this test");
        let mut inner = None;
        let mut items: Option<Streaming<Item, Refused>> = None;
        // Made where it is polled, so that it inherits what a call made in a handler does.
        From(move |cx: &mut std::task::Context<'_>| {
            loop {
                if let Some(items) = &mut items {
                    return Pin::new(items).poll_next(cx).map(|item| Some(item?.ok()?.number));
                }
                let call = inner.get_or_insert_with(|| Box::pin(flow.give(key, Script::endless())));
                match call.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => items = Some(stream),
                    Poll::Ready(Err(_)) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
    }

    async fn argument(&self, mut names: Streaming<String>) -> Vec<String> {
        let mut all = vec![name()];
        while let Some(Ok(name)) = names.next().await {
            all.push(name);
        }
        all
    }
}

async fn beside(way: Way, limits: Limits, flow: Option<FlowClient>) -> BesideClient {
    let service = BesideServer::new(Handler { flow });
    if way.is_in_process() {
        return BesideClient::in_process(service);
    }
    let serving = support::Serving::start(
        rpc::Server::new().limits(Limits::default().with_streams(1)).add(service),
        &way.address(),
    )
    .await;
    BesideClient::connect(serving.address.as_str()).limits(limits).await.expect("connected")
}

#[test]
fn a_replys_metadata_comes_with_its_stream() {
    everywhere(&Way::ALL, async |way| {
        let client = beside(way, Limits::default(), None).await;
        let (mut stream, metadata) = client.labelled(5).with_metadata().await.expect("a stream");
        assert_eq!(metadata.get("label"), Some("xxxxx"));
        assert_eq!(stream.next().await.expect("an item").expect("a number"), 0);
        drop(stream);
        let refused = client.refused().with_metadata().await;
        assert!(matches!(refused, Err(CallError::App(Refused(7)))), "{refused:?}");
        // One without is as good.
        let (_stream, metadata) = client.labelled(0).with_metadata().await.expect("a stream");
        assert_eq!(metadata.get("label"), Some(""));
    });
}

#[test]
fn a_stream_that_comes_with_too_much_metadata_is_dropped_with_its_call() {
    everywhere(&CONNECTED, async |way| {
        let client = beside(way, Limits::default().with_metadata_bytes(100), None).await;
        for _ in 0..3 {
            let error = patiently("a place", client.labelled(200)).await.expect_err("too much");
            assert_eq!(error.code(), Code::ResourceExhausted);
        }
        let _stream = patiently("a place", client.labelled(1)).await.expect("the only place is free");
    });
}

#[test]
fn the_context_of_a_call_is_there_in_its_stream() {
    everywhere(&Way::ALL, async |way| {
        let client = beside(way, Limits::default(), None).await;
        let call = client.context().metadata("tenant", "acme").timeout(std::time::Duration::from_secs(60));
        let mut stream = call.await.expect("a stream");
        let mut names = Vec::new();
        while let Some(name) = patiently("an item", stream.next()).await {
            names.push(name.expect("a name"));
        }
        assert_eq!(names, ["context acme in time"; 3]);
        assert_eq!(name(), "nowhere ", "and stays there");
    });
}

#[test]
fn a_callers_stream_is_in_its_callers_context_or_none_but_not_in_the_handlers() {
    everywhere(&Way::ALL, async |way| {
        let client = beside(way, Limits::default(), None).await;
        let mut left = 3;
        let names = From(move |cx: &mut std::task::Context<'_>| {
            // Not ready the first time, so that it is polled where it is driven, not where it is made.
            left -= 1;
            match left {
                2 => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                0 => Poll::Ready(None),
                _ => Poll::Ready(Some(name())),
            }
        });
        let names = patiently("the reply", client.argument(names).metadata("tenant", "acme")).await;
        assert_eq!(names.expect("a reply"), ["argument acme", "nowhere "]);
    });
}

#[test]
fn a_call_made_in_a_handlers_stream_ends_with_it() {
    everywhere(&Way::ALL, async |way| {
        let flow = Scene::open(way).await;
        let client = beside(way, Limits::default(), Some(flow.client.clone())).await;
        let mut stream = client.nested(1).await.expect("a stream");
        for number in 0..1_000 {
            assert_eq!(patiently("an item", stream.next()).await.expect("an item").expect("fine"), number);
        }
        drop(stream);
        flow.handler.watch(1).all_dropped().await;
        flow.handler.watch(1).all_gone().await;
    });
}
