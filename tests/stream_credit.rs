//! Credit: who stops reading stops who sends, within the window, and nobody else; and never for good.

#[path = "support/streams/mod.rs"]
mod support;

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rpc::{Limits, Server, Stream, Streaming, iter, service};
use support::link::delayed;
use support::memory::{ran_alone, resident};
use support::{
    Appetite, BATCH_BYTES, CONNECTED, Ended, FlowClient, FlowServer, Pace, Scene, Script, Serving, Taken,
    Then, Watch, Watched, Way, consume, everywhere, patiently,
};

const WINDOW: u64 = 64 * 1024;

/// How many bytes an item of a load takes, give or take its number.
const HEAD_BYTES: u64 = 24;

/// A producer whose consumer does not read has given what fits into the window, and at most a batch beyond it that
/// went out, and another that it has in hand.
fn assert_stopped(given: u64, item_bytes: u64) {
    let (least, most) = (item_bytes * given, (item_bytes + HEAD_BYTES) * given);
    assert!(most >= WINDOW, "{given} items of {item_bytes} bytes do not fill the window");
    let bound = WINDOW + 2 * BATCH_BYTES + 2 * item_bytes;
    assert!(least <= bound, "{given} items of {item_bytes} bytes are beyond {bound}");
}

#[test]
fn case_64_a_consumer_that_stops_stops_its_producer_within_the_window_and_nobody_else() {
    everywhere(&CONNECTED, async |way| {
        let scene = Scene::open(way).await;
        for (key, bytes) in (0..).zip([100, 1_000, 10_000, 200_000]) {
            let script = Script::endless().of_bytes(bytes);
            // One that is not read at all, and one that is read for a while.
            for (step, items) in (0..).zip([0, 3]) {
                let key = key * 10 + step;
                let mut stream = scene.client.give(key, script).await.expect("a stream");
                let watch = scene.handler.watch(key);
                assert_eq!(patiently("items", consume(&mut stream, 0, items)).await.items, items);
                let window = WINDOW / (bytes as u64 + HEAD_BYTES);
                watch.until("a full window", |seen| seen.given > window).await;
                scene.settle().await;
                let given = watch.seen().given;
                // What was read may have been given anew, once for each of the few messages that it lay in.
                let read = items * bytes as u64 + 4 * BATCH_BYTES;
                if items == 0 {
                    assert_stopped(given, bytes as u64);
                } else {
                    assert!(
                        given * (bytes as u64) <= 2 * WINDOW + 2 * read + 2 * bytes as u64 + 2 * BATCH_BYTES
                    );
                }
                scene.settle().await;
                assert_eq!(watch.seen().given, given, "it has stopped for good");
                // And goes on when it is read again, from where it was.
                let more = 2 * given + 100;
                let taken = patiently("more items", consume(&mut stream, items, more)).await;
                assert_eq!(taken, Taken { items: items + more, end: Ended::Not });
            }
        }
    });
}

#[test]
fn a_handler_that_stops_stops_its_caller_within_the_window_and_nobody_else() {
    everywhere(&CONNECTED, async |way| {
        let scene = Scene::open(way).await;
        for (key, bytes) in (0..).zip([100, 1_000, 10_000, 200_000]) {
            let mine = Watch::new();
            let script = Script::items(10_000).of_bytes(bytes);
            let script = if bytes > 10_000 { Script { items: 30, ..script } } else { script };
            let theirs = scene.handler.watch(key);
            let call = scene.client.take(key, mine.stream(script), Appetite::items(0, Then::Pause));
            let call = tokio::spawn(call);
            // Of the largest items one goes beyond the window, and the next one waits for credit.
            let window = (WINDOW / (bytes as u64 + HEAD_BYTES)).max(1);
            mine.until("a full window", |seen| seen.given > window).await;
            scene.settle().await;
            let given = mine.seen().given;
            assert_stopped(given, bytes as u64);
            scene.settle().await;
            assert_eq!(mine.seen().given, given, "it has stopped for good");
            theirs.open_gate();
            let taken = patiently("the reply", call).await.expect("no panic").expect("a reply");
            assert_eq!(taken, Taken { items: script.items, end: Ended::End });
        }
    });
}

#[test]
fn in_process_a_producer_is_a_batch_ahead_at_most() {
    everywhere(&[Way::InProcess], async |way| {
        let scene = Scene::open(way).await;
        let mut stream = scene.client.give(1, Script::endless()).await.expect("a stream");
        assert_eq!(consume(&mut stream, 0, 1).await.items, 1);
        scene.settle().await;
        let given = scene.handler.watch(1).seen().given;
        assert!(given <= 3 * BATCH_BYTES / 8, "{given} items");
    });
}

#[test]
fn an_item_larger_than_the_window_goes_through_alone() {
    const LARGE: usize = 3 << 20;
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let script = Script::items(4).of_bytes(LARGE);
        let mut stream = scene.client.give(1, script).await.expect("a stream");
        if !way.is_in_process() {
            scene.settle().await;
            let given = scene.handler.watch(1).seen().given;
            assert!(given <= 2, "{given} items: one goes out, one is in hand");
        }
        assert_eq!(patiently("all", consume(&mut stream, 0, 9)).await, Taken { items: 4, end: Ended::End });
        let mine = Watch::new();
        let call = scene.client.take(2, mine.stream(script), Appetite::ALL);
        let taken = patiently("the reply", call).await.expect("a reply");
        assert_eq!(taken, Taken { items: 4, end: Ended::End });
        let mine = Watch::new();
        let mut mirror = scene.client.mirror(3, mine.stream(script)).await.expect("a stream");
        assert_eq!(patiently("all", consume(&mut mirror, 0, 9)).await, Taken { items: 4, end: Ended::End });
    });
}

#[test]
fn the_smallest_windows_and_the_fewest_places_are_enough() {
    everywhere(&CONNECTED, async |way| {
        let least = Limits::default().with_streams(1).with_stream_bytes(1).with_max_stream_bytes(1);
        let scene = Scene::with_limits(way, least.clone(), least).await;
        for round in 0..3 {
            for pace in [Pace::AtOnce, Pace::Yielding] {
                let script = Script::items(2_000).of_bytes(round * 100).at(pace);
                let all = Taken { items: 2_000, end: Ended::End };
                let mut stream = patiently("a place", scene.client.give(1, script)).await.expect("a stream");
                assert_eq!(patiently("all", consume(&mut stream, 0, u64::MAX)).await, all);
                let call = scene.client.take(2, Watch::new().stream(script), Appetite::ALL);
                assert_eq!(patiently("the reply", call).await.expect("a reply"), all);
                let call = scene.client.mirror(3, Watch::new().stream(script));
                let mut mirror = patiently("a place", call).await.expect("a stream");
                assert_eq!(patiently("all", consume(&mut mirror, 0, u64::MAX)).await, all);
            }
        }
    });
}

#[test]
fn a_hundred_callers_share_one_place_in_turn() {
    everywhere(&CONNECTED, async |way| {
        let one = Limits::default().with_streams(1);
        let scene = Arc::new(Scene::with_limits(way, one, Limits::default()).await);
        let callers = (0..100).map(|key| {
            let scene = scene.clone();
            tokio::spawn(async move {
                let mut stream = scene.client.give(key, Script::items(10)).await.expect("a stream");
                consume(&mut stream, 0, u64::MAX).await
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            let taken = patiently("a turn", caller).await.expect("no panic");
            assert_eq!(taken, Taken { items: 10, end: Ended::End });
        }
    });
}

// ---- nobody waits for ever ----

#[test]
fn two_sides_that_both_send_and_are_both_slow_get_there() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        // Each side holds back until the other stands still, and then takes one item at a time.
        let mut streams = Vec::new();
        for key in 0..8 {
            let mine = Watch::new();
            let script = Script::items(3_000).of_bytes(500);
            let mirror = scene.client.mirror(key, mine.stream(script)).await.expect("a stream");
            let mut other = scene.client.give(100 + key, script).await.expect("a stream");
            assert_eq!(consume(&mut other, 0, 1).await.items, 1);
            streams.push((mirror, other));
        }
        scene.settle().await;
        for number in 0..3_000 {
            for (mirror, other) in &mut streams {
                let item = patiently("an item", mirror.next()).await.expect("an item").expect("fine");
                assert_eq!(item.number, number);
                if number > 0 {
                    let item = patiently("an item", other.next()).await.expect("an item").expect("fine");
                    assert_eq!(item.number, number);
                }
            }
        }
        for (mut mirror, mut other) in streams {
            assert!(mirror.next().await.is_none() && other.next().await.is_none());
        }
    });
}

#[test]
fn a_caller_that_reads_no_replies_while_it_sends_is_stopped_and_goes_on() {
    everywhere(&CONNECTED, async |way| {
        let scene = Scene::open(way).await;
        let mine = Watch::new();
        let script = Script::items(20_000).of_bytes(100);
        let mut mirror = scene.client.mirror(1, mine.stream(script)).await.expect("a stream");
        let theirs = scene.handler.watch(1);
        // Both windows, and what each side has in hand.
        theirs.until("a full window", |seen| seen.given * 130 > WINDOW).await;
        mine.until("two full windows", |seen| seen.given * 130 > 2 * WINDOW).await;
        scene.settle().await;
        let given = mine.seen().given;
        assert!(given < 20_000, "the caller is stopped: {given} items");
        scene.settle().await;
        assert_eq!(mine.seen().given, given);
        let all = patiently("all", consume(&mut mirror, 0, u64::MAX)).await;
        assert_eq!(all, Taken { items: 20_000, end: Ended::End });
    });
}

#[service]
trait Chain {
    /// Items that come from as many others, one behind the other.
    async fn through(&self, others: u32, items: u64) -> impl Stream<Item = u64>;
    /// Consumes a stream by sending it through as many others.
    async fn onward(&self, others: u32, items: Streaming<u64>) -> u64;
}

/// Calls itself, over a connection.
struct Link(tokio::sync::OnceCell<ChainClient>);

impl Link {
    fn next(&self) -> ChainClient {
        self.0.get().expect("set before the first call").clone()
    }
}

struct Values(Streaming<u64>);

impl Stream for Values {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        Pin::new(&mut self.0).poll_next(cx).map(|item| item.map(|item| item.expect("it ends well")))
    }
}

impl Chain for Link {
    async fn through(&self, others: u32, items: u64) -> impl Stream<Item = u64> {
        let inner: Pin<Box<dyn Stream<Item = u64> + Send>> = match others {
            0 => Box::pin(iter(0..items)),
            _ => Box::pin(Values(self.next().through(others - 1, items).await.expect("a stream"))),
        };
        inner
    }

    async fn onward(&self, others: u32, mut items: Streaming<u64>) -> u64 {
        if others > 0 {
            return self.next().onward(others - 1, Values(items)).await.expect("a sum");
        }
        let mut sum = 0;
        while let Some(item) = items.next().await {
            sum += item.expect("it ends well");
        }
        sum
    }
}

#[test]
fn streams_inside_of_handlers_that_consume_streams_do_not_wait_for_each_other() {
    everywhere(&Way::ALL, async |way| {
        let link = Arc::new(Link(tokio::sync::OnceCell::new()));
        let service = ChainServer::new(link.clone());
        let client = if way.is_in_process() {
            ChainClient::in_process(service)
        } else {
            // The smallest windows: whatever could wait for credit does.
            let limits = Limits::default().with_stream_bytes(64).with_max_stream_bytes(64);
            let serving =
                Serving::start(Server::new().limits(limits.clone()).add(service), &way.address()).await;
            ChainClient::connect(serving.address.as_str()).limits(limits).await.expect("connected")
        };
        link.0.set(client.clone()).expect("set once");
        const ITEMS: u64 = 20_000;
        let mut chains = Vec::new();
        for _ in 0..4 {
            let client = client.clone();
            chains.push(tokio::spawn(async move {
                let mut stream = client.through(10, ITEMS).await.expect("a stream");
                let mut sum = 0;
                while let Some(item) = stream.next().await {
                    sum += item.expect("it ends well");
                }
                assert_eq!(sum, ITEMS * (ITEMS - 1) / 2);
                sum = client.onward(10, iter(0..ITEMS)).await.expect("a sum");
                assert_eq!(sum, ITEMS * (ITEMS - 1) / 2);
            }));
        }
        for chain in chains {
            patiently("the end of the chain", chain).await.expect("no panic");
        }
    });
}

// ---- windows that grow ----

/// How long it takes to get so many bytes through a link of a certain delay, in its own time.
async fn time_to_get(bytes: u64, delay: Duration, limits: Limits, upwards: bool) -> Duration {
    let (connector, listener) = delayed(delay);
    let service = FlowServer::new(Arc::<Watched>::default());
    let bound = Server::new().limits(limits.clone()).add(service).bind(listener).await.expect("bound");
    tokio::spawn(bound.serve());
    let client = FlowClient::connect(connector).limits(limits).await.expect("connected");
    let script = Script::items(bytes / 1_000).of_bytes(1_000);
    let began = tokio::time::Instant::now();
    let taken = if upwards {
        client.take(1, Watch::new().stream(script), Appetite::ALL).await.expect("a reply")
    } else {
        let mut stream = client.give(1, script).await.expect("a stream");
        consume(&mut stream, 0, u64::MAX).await
    };
    assert_eq!(taken, Taken { items: script.items, end: Ended::End });
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_window_grows_until_it_is_not_what_limits_a_link() {
    const BYTES: u64 = 32 << 20;
    let delay = Duration::from_millis(25);
    let fixed = Limits::default().with_max_stream_bytes(WINDOW as usize);
    let grows = Limits::default();
    for upwards in [false, true] {
        // A window a round trip, and no more.
        let slow = time_to_get(BYTES, delay, fixed.clone(), upwards).await;
        let trips = (BYTES / (WINDOW + BATCH_BYTES)) as u32;
        assert!(slow >= trips * 2 * delay, "{slow:?} upwards: {upwards}");
        let fast = time_to_get(BYTES, delay, grows.clone(), upwards).await;
        assert!(fast * 10 < slow, "{fast:?} with a window that grows, {slow:?} without, upwards: {upwards}");
        // From 64 KiB to 4 MiB in six round trips, and eight windows of that.
        assert!(fast <= 24 * 2 * delay, "{fast:?} upwards: {upwards}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_does_not_grow_for_a_consumer_that_is_slow() {
    let (connector, listener) = delayed(Duration::from_millis(1));
    let handler = Arc::<Watched>::default();
    let service = FlowServer::new(handler.clone());
    let bound = Server::new().add(service).bind(listener).await.expect("bound");
    tokio::spawn(bound.serve());
    let client = FlowClient::connect(connector).await.expect("connected");
    let mut stream = client.give(1, Script::endless().of_bytes(1_000)).await.expect("a stream");
    let watch = handler.watch(1);
    for number in 0..1_000 {
        // An item each time that much more could have come.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let item = stream.next().await.expect("an item").expect("fine");
        assert_eq!(item.number, number);
        let ahead = watch.seen().given - number;
        // Once it may be found waiting before it has begun to be slow.
        assert!(ahead * 1_000 <= 2 * WINDOW + 3 * BATCH_BYTES, "{ahead} items ahead at item {number}");
    }
}

// ---- memory ----

#[test]
fn a_hundred_slow_streams_cost_bounded_memory_on_both_sides_however_small_their_items() {
    const STREAMS: u64 = 100;
    if ran_alone("a_hundred_slow_streams_cost_bounded_memory_on_both_sides_however_small_their_items") {
        return;
    }
    everywhere(&[Way::Tcp], async |way| {
        let scene = Scene::open(way).await;
        let slow = async |keys: Range<u64>, script: Script| {
            let mut streams = Vec::new();
            for key in keys.clone() {
                streams.push(scene.client.give(key, script).await.expect("a stream"));
            }
            let item_bytes = script.bytes as u64 + HEAD_BYTES;
            all_given(&scene, keys, WINDOW / item_bytes).await;
            streams
        };
        // Once, for what a process keeps after its first time.
        drop(slow(0..4, Script::endless().of_bytes(1_000)).await);
        let scripts =
            [Script::endless().of_bytes(1_000), Script::endless(), Script::endless().at(Pace::Yielding)];
        for (round, script) in (1..).zip(scripts) {
            let keys = round * 1_000..round * 1_000 + STREAMS;
            let before = resident();
            let streams = slow(keys.clone(), script).await;
            assert_bounded(before, STREAMS, format_args!("{script:?}"));
            drop(streams);
            all_dropped(&scene, keys).await;
        }
        // Items that are smaller than anything that could be noted of them.
        let (keys, before) = (10_000..10_000 + STREAMS / 25, resident());
        let mut streams = Vec::new();
        for key in keys.clone() {
            streams.push(scene.client.tick(key).await.expect("a stream"));
        }
        all_given(&scene, keys, WINDOW).await;
        assert_bounded(before, STREAMS / 25, format_args!("items of a byte"));
        drop(streams);
    });
}

/// Both sides together: the window, what is in hand at either end, and as much again for how it lies in memory.
fn assert_bounded(before: u64, streams: u64, what: std::fmt::Arguments<'_>) {
    let grown = resident().saturating_sub(before);
    let most = streams * 2 * (WINDOW + 3 * BATCH_BYTES);
    assert!(grown <= most, "{} KiB a stream, {what}", grown / streams / 1_024);
}

async fn all_given(scene: &Scene, keys: Range<u64>, items: u64) {
    for key in keys {
        scene.handler.watch(key).until("a full window", |seen| seen.given >= items).await;
    }
    scene.settle().await;
}

async fn all_dropped(scene: &Scene, keys: Range<u64>) {
    for key in keys {
        scene.handler.watch(key).all_dropped().await;
    }
}
