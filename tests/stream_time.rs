//! Streams and time: deadlines that pass while items flow, and streams that have all the time in the world.

#[path = "support/streams/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use rpc::{Code, Executed, Limits, Server};
use support::link::delayed;
use support::{
    Appetite, Ended, Finish, FlowClient, FlowServer, Pace, Scene, Script, Taken, Then, Watch, Watched, Way,
    consume, everywhere, patiently,
};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// Runs a test in virtual time, over each way that has no socket in it: the system's keep a time of their own.
fn in_virtual_time<F: Future<Output = ()>>(test: impl Fn(Way) -> F) {
    for way in [Way::Memory, Way::InProcess] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(test(way));
    }
}

fn is_deadline(taken: &Taken) -> bool {
    taken.end.code() == Some("DeadlineExceeded")
}

// ---- deadlines ----

#[test]
fn a_deadline_ends_a_reply_that_waits_at_its_moment() {
    in_virtual_time(async |way| {
        let scene = Scene::open(way).await;
        let began = Instant::now();
        let call = scene.client.give(1, Script::items(10).then(Finish::Hang)).timeout(60 * SECOND);
        let mut stream = call.await.expect("a stream");
        let taken = consume(&mut stream, 0, u64::MAX).await;
        assert!(taken.items == 10 && is_deadline(&taken), "{taken:?}");
        let took = began.elapsed();
        assert!(took >= 60 * SECOND && took < 61 * SECOND, "{took:?}");
        scene.handler.watch(1).all_dropped().await;
        scene.settle().await;
    });
}

#[test]
fn a_deadline_that_passes_while_nobody_reads_ends_the_stream_after_what_had_come() {
    in_virtual_time(async |way| {
        let scene = Scene::open(way).await;
        let call = scene.client.give(1, Script::items(10).then(Finish::Hang)).timeout(60 * SECOND);
        let mut stream = call.await.expect("a stream");
        assert_eq!(consume(&mut stream, 0, 1).await.items, 1);
        sleep(100 * SECOND).await;
        let watch = scene.handler.watch(1);
        if !way.is_in_process() {
            // Whose handler runs only when it is polled.
            watch.all_dropped().await;
        }
        let taken = consume(&mut stream, 1, u64::MAX).await;
        assert!(taken.items == 10 && is_deadline(&taken), "{taken:?}");
        watch.all_dropped().await;
    });
}

#[test]
fn a_stream_that_has_ended_in_time_is_whole_after_its_deadline() {
    in_virtual_time(async |way| {
        let scene = Scene::open(way).await;
        let call = scene.client.give(1, Script::items(10)).timeout(60 * SECOND);
        let mut stream = call.await.expect("a stream");
        assert_eq!(consume(&mut stream, 0, 1).await.items, 1);
        scene.settle().await;
        sleep(100 * SECOND).await;
        let taken = consume(&mut stream, 1, u64::MAX).await;
        if way.is_in_process() && is_deadline(&taken) {
            // It was one batch, and its handler was not asked again.
            return assert_eq!(taken.items, 10);
        }
        assert_eq!(taken, Taken { items: 10, end: Ended::End });
    });
}

#[test]
fn a_deadline_stops_the_streams_among_the_arguments() {
    in_virtual_time(async |way| {
        let scene = Scene::open(way).await;
        let appetites = [Appetite::ALL, Appetite::items(3, Then::Drop), Appetite::items(3, Then::Pause)];
        for (key, appetite) in (0..).zip(appetites) {
            let mine = Watch::new();
            let stream = mine.stream(Script::items(10).then(Finish::Hang));
            let began = Instant::now();
            let error = scene.client.take(key, stream, appetite).timeout(60 * SECOND).await;
            let error = error.expect_err("it takes for ever");
            assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe));
            let took = began.elapsed();
            assert!(took >= 60 * SECOND && took < 61 * SECOND, "{took:?}");
            mine.all_dropped().await;
            scene.handler.watch(key).all_gone().await;
        }
        // Both at once: the call is alive after its reply, and ends with it.
        let mine = Watch::new();
        let stream = mine.stream(Script::items(10).then(Finish::Hang));
        let mut mirror = scene.client.mirror(9, stream).timeout(60 * SECOND).await.expect("a stream");
        let taken = consume(&mut mirror, 0, u64::MAX).await;
        assert!(taken.items == 10 && is_deadline(&taken), "{taken:?}");
        mine.all_dropped().await;
        scene.handler.watch(9).all_dropped().await;
        scene.settle().await;
    });
}

#[test]
fn a_deadline_ends_streams_that_are_never_idle() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        // Time enough for a reply, but on a machine that is busy with other things.
        let short = Duration::from_millis(50);
        for (key, pace) in (0..).zip([Pace::AtOnce, Pace::Yielding]) {
            let script = Script::endless().at(pace);
            match patiently("the reply", scene.client.give(key, script).timeout(short)).await {
                Ok(mut stream) => {
                    let taken = patiently("the deadline", consume(&mut stream, 0, u64::MAX)).await;
                    assert!(is_deadline(&taken), "{taken:?}");
                    scene.handler.watch(key).all_dropped().await;
                }
                Err(error) => assert_eq!(error.code(), Code::DeadlineExceeded),
            }
            let mine = Watch::new();
            let call = scene.client.take(100 + key, mine.stream(script), Appetite::ALL).timeout(short);
            let error = patiently("the deadline", call).await.expect_err("it takes for ever");
            assert_eq!(error.code(), Code::DeadlineExceeded);
            mine.all_dropped().await;
            let mine = Watch::new();
            let call = scene.client.mirror(200 + key, mine.stream(script)).timeout(short);
            match patiently("the reply", call).await {
                Ok(mut mirror) => {
                    let taken = patiently("the deadline", consume(&mut mirror, 0, u64::MAX)).await;
                    assert!(is_deadline(&taken), "{taken:?}");
                }
                Err(error) => assert_eq!(error.code(), Code::DeadlineExceeded),
            }
            mine.all_dropped().await;
        }
        scene.settle().await;
    });
}

#[test]
fn a_consumer_of_a_stream_that_is_always_ready_leaves_others_a_turn() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let mut stream = scene.client.give(1, Script::endless()).await.expect("a stream");
        let never = tokio::time::timeout(Duration::from_millis(20), consume(&mut stream, 0, u64::MAX)).await;
        assert!(never.is_err(), "it does not end by itself");
        let call = scene.client.take(2, Watch::new().stream(Script::endless()), Appetite::ALL);
        assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
    });
}

#[test]
fn the_server_keeps_the_deadlines_that_it_allows() {
    in_virtual_time(async |way| {
        if way.is_in_process() {
            return;
        }
        let limits = Limits::default().with_max_deadline(10 * SECOND);
        let scene = Scene::with_limits(way, limits, Limits::default()).await;
        let began = Instant::now();
        let call = scene.client.give(1, Script::items(10).then(Finish::Hang)).timeout(3_600 * SECOND);
        let mut stream = call.await.expect("a stream");
        let taken = consume(&mut stream, 0, u64::MAX).await;
        assert!(taken.items == 10 && is_deadline(&taken), "{taken:?}");
        assert!(began.elapsed() < 11 * SECOND);
        let stream = Watch::new().stream(Script::items(10).then(Finish::Hang));
        let error = scene.client.take(2, stream, Appetite::ALL).timeout(3_600 * SECOND).await;
        assert_eq!(error.expect_err("it takes for ever").code(), Code::DeadlineExceeded);
        assert!(began.elapsed() < 22 * SECOND);
    });
}

#[test]
fn a_handler_that_is_not_cancelled_gives_its_place_back_after_its_deadline() {
    in_virtual_time(async |way| {
        let one = Limits::default().with_streams(1);
        let scene = Scene::with_limits(way, one, Limits::default()).await;
        for (key, script) in (0..).zip([Script::endless(), Script::items(3).then(Finish::Hang)]) {
            let watch = scene.handler.watch(key);
            watch.open_gate();
            let call = scene.client.give_anyway(key, script).timeout(60 * SECOND);
            let mut stream = call.await.expect("a stream");
            assert_eq!(consume(&mut stream, 0, 3).await.items, 3);
            sleep(61 * SECOND).await;
            let taken = consume(&mut stream, 3, u64::MAX).await;
            assert!(is_deadline(&taken), "{taken:?}");
            watch.all_dropped().await;

            let (mine, key) = (Watch::new(), 100 + key);
            let stream = mine.stream(Script::items(3).then(Finish::Hang));
            let call = scene.client.take_anyway(key, stream, Appetite::ALL).timeout(60 * SECOND);
            assert_eq!(call.await.expect_err("too late").code(), Code::DeadlineExceeded);
            mine.all_dropped().await;
            scene.handler.watch(key).all_gone().await;
        }
        let _stream = patiently("a place", scene.client.give(9, Script::items(1))).await.expect("a stream");
    });
}

#[test]
fn a_call_whose_time_is_up_before_it_is_made_polls_no_stream() {
    everywhere(&Way::ALL, async |way| {
        let scene = Scene::open(way).await;
        let mine = Watch::new();
        let call =
            scene.client.take(1, mine.stream(Script::endless()), Appetite::ALL).timeout(Duration::ZERO);
        let error = call.await.expect_err("no time");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::No));
        mine.all_dropped().await;
        assert_eq!(mine.seen().given, 0);
        let error = scene.client.give(1, Script::endless()).timeout(Duration::ZERO).await;
        let error = error.expect_err("no time");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::No));
        assert_eq!(scene.handler.watch(1).seen().begun, 0);
    });
}

// ---- no deadline ----

#[test]
fn streams_may_be_idle_for_hours_in_either_way() {
    in_virtual_time(async |way| {
        let scene = Scene::open(way).await;
        let mine = Watch::new();
        let theirs = scene.handler.watch(1);
        let script = Script::items(4).at(Pace::Gated);
        let mut stream = scene.client.give(1, script).await.expect("a stream");
        let mut mirror = scene.client.mirror(2, mine.stream(script)).await.expect("a stream");
        for number in 0..4 {
            // Far beyond what either side waits for a sign of life.
            tokio::select! {
                biased;
                _ = stream.next() => panic!("an item too early"),
                _ = mirror.next() => panic!("an item too early"),
                () = sleep(3_600 * SECOND) => {}
            }
            theirs.let_through(1);
            mine.let_through(1);
            assert_eq!(consume(&mut stream, number, 1).await.items, number + 1);
            assert_eq!(consume(&mut mirror, number, 1).await.items, number + 1);
        }
        theirs.open_gate();
        mine.open_gate();
        assert_eq!(consume(&mut stream, 4, 1).await.end, Ended::End);
        assert_eq!(consume(&mut mirror, 4, 1).await.end, Ended::End);
    });
}

#[test]
fn streams_may_be_left_unread_for_hours_in_either_way() {
    in_virtual_time(async |way| {
        let scene = Scene::open(way).await;
        let script = Script::items(1_000).of_bytes(1_000);
        let (mine, theirs) = (Watch::new(), scene.handler.watch(2));
        let mut stream = scene.client.give(1, script).await.expect("a stream");
        let call = scene.client.take(2, mine.stream(script), Appetite::items(1, Then::Pause));
        let call = tokio::spawn(call);
        theirs.until("the first item", |seen| seen.taken == 1).await;
        assert_eq!(consume(&mut stream, 0, 1).await.items, 1);
        sleep(10_000 * SECOND).await;
        scene.settle().await;
        theirs.open_gate();
        let all = Taken { items: 1_000, end: Ended::End };
        assert_eq!(consume(&mut stream, 1, u64::MAX).await, all);
        assert_eq!(call.await.expect("no panic").expect("a reply"), all);
    });
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_kept_on_both_sides_of_a_slow_link() {
    let (connector, listener) = delayed(SECOND);
    let handler = Arc::<Watched>::default();
    let service = FlowServer::new(handler.clone());
    tokio::spawn(Server::new().add(service).bind(listener).await.expect("bound").serve());
    let client = FlowClient::connect(connector).await.expect("connected");
    let began = Instant::now();
    let call = client.give(1, Script::items(10).then(Finish::Hang)).timeout(10 * SECOND);
    let mut stream = call.await.expect("a stream");
    let taken = consume(&mut stream, 0, u64::MAX).await;
    assert!(taken.items == 10 && is_deadline(&taken), "{taken:?}");
    // Not when the other side's word of it would be here.
    assert!(began.elapsed() < Duration::from_millis(10_100), "{:?}", began.elapsed());
    handler.watch(1).all_dropped().await;
    // It is there a second later, and so is its deadline.
    assert!(began.elapsed() < Duration::from_millis(11_100), "{:?}", began.elapsed());
}
