//! What a call is and how it ends: over a socket, in memory and in process alike.

#[path = "support/lifecycle/mod.rs"]
mod support;

use std::time::Duration;

use rpc::{Call, CallError, Code, Error, Executed, Limits, Server};
use support::{Event, ProbeClient, Refused, SECRET, Scene, Way, patiently};

const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::test]
async fn a_call_that_is_never_polled_does_nothing() {
    for way in Way::ALL {
        let mut scene = Scene::open(way).await;
        let unpolled = scene.client.echo(1);
        drop(scene.client.note(2));
        assert_eq!(scene.client.echo(3).await.expect("a reply"), 3, "{way:?}");
        drop(unpolled);
        scene.settle().await;
        assert_eq!(scene.events.drain(), [Event::Started(3), Event::Ended(3)], "{way:?}");
    }
}

#[tokio::test]
async fn calls_work_in_join_select_and_spawn_as_they_are() {
    for way in Way::ALL {
        let scene = Scene::open(way).await;
        let client = &scene.client;
        let (one, two, three) = tokio::join!(client.echo(1), client.refuse(2), client.echo(3));
        assert_eq!((one.expect("a reply"), three.expect("a reply")), (1, 3));
        assert!(matches!(two, Err(CallError::App(Refused(2)))));

        let mut waiting = client.wait(4);
        tokio::select! {
            _ = &mut waiting => panic!("the gate is shut"),
            echoed = client.echo(5) => assert_eq!(echoed.expect("a reply"), 5),
        }
        // The one that lost is as alive as before.
        scene.handler.open_gate();
        assert_eq!(waiting.await.expect("a reply"), 4);

        let spawned: Vec<_> = (0..50).map(|number| tokio::spawn(client.echo(number))).collect();
        for (number, spawned) in (0..).zip(spawned) {
            assert_eq!(spawned.await.expect("no panic").expect("a reply"), number, "{way:?}");
        }
    }
}

/// Compiles only if calls can be spawned from code that knows nothing of them but the bounds.
fn spawned<T, F>(future: F) -> tokio::task::JoinHandle<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    tokio::spawn(future)
}

#[tokio::test]
async fn a_call_is_send_static_and_unpin() {
    fn is_plain<T: Send + Unpin + 'static>(value: T) -> T {
        value
    }
    let scene = Scene::open(Way::Memory).await;
    let call: Call<u64> = is_plain(scene.client.echo(1));
    assert_eq!(spawned(call).await.expect("no panic").expect("a reply"), 1);
    let with_metadata = is_plain(scene.client.echo(2).with_metadata());
    assert_eq!(spawned(with_metadata).await.expect("no panic").expect("a reply").0, 2);
    let call: Call<u64, Refused> = is_plain(scene.client.refuse(3));
    assert!(spawned(call).await.expect("no panic").is_err());
}

#[tokio::test]
async fn a_call_ends_once_and_says_so_if_it_is_asked_again() {
    for way in Way::ALL {
        let scene = Scene::open(way).await;
        let mut call = scene.client.echo(1);
        assert_eq!((&mut call).await.expect("a reply"), 1);
        assert_eq!((&mut call).await.expect_err("it has ended").code(), Code::Internal, "{way:?}");
        assert_eq!(scene.handler.executions(1), 1);
    }
}

// ---- deadlines ----

#[tokio::test]
async fn case_53_a_deadline_that_has_passed_starts_nothing() {
    for way in Way::ALL {
        let mut scene = Scene::open(way).await;
        let calls: [Call<u64>; 2] = [
            scene.client.echo(1).timeout(Duration::ZERO),
            scene.client.echo(2).deadline(std::time::Instant::now()),
        ];
        for call in calls {
            let error = call.await.expect_err("no time is left");
            assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::No), "{way:?}");
        }
        let error = scene.client.note(3).timeout(Duration::ZERO).await.expect_err("no time is left");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::No), "{way:?}");
        scene.settle().await;
        assert_eq!(scene.events.drain(), []);
    }
}

#[tokio::test]
async fn case_54_huge_timeouts_are_as_good_as_none() {
    let three_years = 26_000 * HOUR;
    for way in Way::ALL {
        let scene = Scene::open(way).await;
        for timeout in [three_years, Duration::from_secs(u64::MAX), Duration::MAX] {
            assert_eq!(scene.client.echo(1).timeout(timeout).await.expect("a reply"), 1, "{way:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_55_a_deadline_that_passes_drops_the_handler_and_tells_the_caller() {
    for way in [Way::Memory, Way::InProcess] {
        let mut scene = Scene::open(way).await;
        let started = tokio::time::Instant::now();
        let error = scene.client.wait(1).timeout(Duration::from_secs(3)).await.expect_err("the gate is shut");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe), "{way:?}");
        let late = started.elapsed() - Duration::from_secs(3);
        assert!(late <= Duration::from_millis(10), "{late:?} late, {way:?}");
        scene.events.expect(Event::Started(1)).await;
        scene.events.expect(Event::Dropped(1)).await;
        let late = started.elapsed() - Duration::from_secs(3);
        assert!(late <= Duration::from_millis(10), "dropped {late:?} late, {way:?}");
        assert_eq!(scene.client.echo(2).await.expect("the connection goes on"), 2);
    }
}

/// Here the caller would wait on: only the server's clock can end the call.
#[tokio::test(start_paused = true)]
async fn case_55_the_server_keeps_the_deadline_too_and_says_so() {
    let limits = Limits::default().with_max_deadline(Duration::from_secs(5));
    let mut scene = Scene::with_server(Way::Memory, Server::new().limits(limits)).await;
    let started = tokio::time::Instant::now();
    let error = scene.client.wait(1).timeout(HOUR).await.expect_err("the gate is shut");
    assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe));
    let late = started.elapsed() - Duration::from_secs(5);
    assert!(late <= Duration::from_millis(10), "{late:?} late");
    scene.events.expect(Event::Started(1)).await;
    scene.events.expect(Event::Dropped(1)).await;
    // Without a deadline none is made up.
    let client = scene.client.clone();
    let waiting = tokio::spawn(async move { client.wait(2).await });
    scene.events.expect(Event::Started(2)).await;
    tokio::time::advance(HOUR).await;
    assert_eq!(scene.client.echo(3).await.expect("a reply"), 3);
    assert!(!waiting.is_finished());
    scene.handler.open_gate();
    assert_eq!(waiting.await.expect("no panic").expect("a reply"), 2);
}

#[tokio::test(start_paused = true)]
async fn the_earliest_of_several_deadlines_counts() {
    for way in [Way::Memory, Way::InProcess] {
        let scene = Scene::open(way).await;
        let second = Duration::from_secs(1);
        let soon = tokio::time::Instant::now().into_std() + second;
        let calls: [Call<u64>; 4] = [
            scene.client.wait(1).timeout(second).timeout(HOUR),
            scene.client.wait(2).timeout(HOUR).timeout(second),
            scene.client.wait(3).deadline(soon).timeout(HOUR),
            scene.client.wait(4).timeout(HOUR).deadline(soon),
        ];
        let started = tokio::time::Instant::now();
        for call in calls {
            let error = call.await.expect_err("the gate is shut");
            assert_eq!(error.code(), Code::DeadlineExceeded);
        }
        // In process a call runs only while it is polled, and meets its deadline all the same.
        assert!(started.elapsed() < 2 * second, "{way:?}: {:?}", started.elapsed());
    }
}

// ---- cancellation ----

#[tokio::test]
async fn case_56_a_call_dropped_before_it_is_written_is_not_executed() {
    // On one thread the connection's task cannot write between the poll and the drop.
    let mut scene = Scene::open(Way::Tcp).await;
    let keeps_the_connection_busy = tokio::spawn(scene.client.wait(1));
    scene.events.expect(Event::Started(1)).await;
    for number in 100..200 {
        let mut call = Box::pin(scene.client.echo(number));
        std::future::poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(call);
    }
    scene.settle().await;
    assert_eq!(keeps_the_connection_busy.await.expect("no panic").expect("a reply"), 1);
    assert_eq!(scene.handler.executed(), 1, "{:?}", scene.events.drain());
}

#[tokio::test]
async fn case_56_a_call_dropped_while_it_waits_for_a_place_is_not_executed() {
    let limits = Limits::default().with_calls(1);
    let mut scene = Scene::with_server(Way::Tcp, Server::new().limits(limits)).await;
    let first = tokio::spawn(scene.client.wait(1));
    scene.events.expect(Event::Started(1)).await;
    let mut second = scene.client.wait(2);
    let third = tokio::spawn(scene.client.wait(3));
    tokio::select! {
        biased;
        _ = &mut second => panic!("there is no place"),
        () = tokio::task::yield_now() => {}
    }
    drop(second);
    scene.handler.open_gate();
    assert_eq!(first.await.expect("no panic").expect("a reply"), 1);
    assert_eq!(third.await.expect("no panic").expect("a reply"), 3);
    scene.settle().await;
    assert_eq!(scene.handler.executions(2), 0);
}

#[tokio::test]
async fn case_57_dropping_a_call_drops_its_handler() {
    for way in Way::ALL {
        let mut scene = Scene::open(way).await;
        for number in 0..20 {
            let mut call = scene.client.wait(number);
            tokio::select! {
                _ = &mut call => panic!("the gate is shut"),
                event = scene.events.next() => assert_eq!(event, Event::Started(number)),
            }
            let dropped = std::time::Instant::now();
            drop(call);
            scene.events.expect(Event::Dropped(number)).await;
            let took = dropped.elapsed();
            assert!(took < Duration::from_millis(100), "{took:?}, {way:?}");
        }
        assert_eq!(scene.client.echo(99).await.expect("the connection goes on"), 99);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_58_a_cancel_that_meets_the_reply_has_one_outcome() {
    for way in Way::ALL {
        // One place only: a call that lost it for good would stop all that follow.
        let limits = Limits::default().with_calls(1);
        let mut scene = Scene::with_server(way, Server::new().limits(limits)).await;
        scene.handler.open_gate();
        let (mut replies, mut drops) = (0, 0);
        for number in 0..1_000 {
            let call = scene.client.wait(number).wait_for_ready();
            // Drops the call at another moment each time, around the one at which the reply comes.
            let patience = number % 400;
            let gone = async {
                for _ in 0..patience {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                () = gone => drops += 1,
                reply = call => match reply {
                    Ok(value) => { assert_eq!(value, number); replies += 1 }
                    // The server may still be busy with what was cancelled.
                    Err(error) => assert_eq!(error.executed(), Executed::No, "{error}"),
                },
            }
        }
        assert!(drops > 0 && replies > 0, "{replies} replies, {drops} drops, {way:?}");
        let last = async {
            loop {
                match scene.client.echo(5_000).await {
                    Ok(value) => break value,
                    Err(error) => assert_eq!(error.code(), Code::ResourceExhausted, "{error}"),
                }
            }
        };
        assert_eq!(patiently("the last reply", last).await, 5_000);
        scene.settle().await;
        for number in 0..1_000 {
            assert!(scene.handler.executions(number) <= 1);
        }
    }
}

#[tokio::test]
async fn a_handler_that_is_not_to_be_cancelled_runs_to_its_end_and_learns_of_it() {
    for way in Way::ALL {
        let mut scene = Scene::open(way).await;
        let mut call = scene.client.finish(1);
        tokio::select! {
            _ = &mut call => panic!("the gate is shut"),
            event = scene.events.next() => assert_eq!(event, Event::Started(1)),
        }
        drop(call);
        scene.events.expect(Event::Cancelled(1)).await;
        scene.handler.open_gate();
        scene.events.expect(Event::Ended(1)).await;
        assert_eq!(scene.client.finish(2).await.expect("a reply"), 2, "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_not_to_be_cancelled_outlives_its_deadline() {
    for way in [Way::Memory, Way::InProcess] {
        let mut scene = Scene::open(way).await;
        let error = scene.client.finish(1).timeout(Duration::from_secs(1)).await.expect_err("too slow");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe), "{way:?}");
        scene.events.expect(Event::Started(1)).await;
        scene.events.expect(Event::Cancelled(1)).await;
        scene.handler.open_gate();
        scene.events.expect(Event::Ended(1)).await;
    }
}

// ---- panics ----

fn assert_hides_a_panic(error: &Error, way: Way) {
    assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes), "{way:?}");
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn case_60_a_panic_ends_its_call_and_no_other() {
    for way in Way::ALL {
        let mut scene = Scene::open(way).await;
        let bystander = tokio::spawn(scene.client.wait(1));
        if !way.is_in_process() {
            scene.events.expect(Event::Started(1)).await;
        }
        // Often enough that the method is known to be quick, and is run on the connection's own task.
        for _ in 0..40 {
            let error = scene.client.panic_at_once().await.expect_err("it panics");
            assert_hides_a_panic(&error, way);
            let error = scene.client.panic_in_serialize().await.expect_err("it panics");
            assert_hides_a_panic(&error, way);
        }
        let (later, in_drop) = (scene.client.panic_later(), scene.client.panic_in_drop(2));
        let both = async { tokio::join!(later, in_drop) };
        let open = async {
            scene.events.until(Event::Started(2)).await;
            scene.handler.open_gate();
        };
        let ((later, in_drop), ()) = tokio::join!(both, open);
        assert_hides_a_panic(&later.expect_err("it panics"), way);
        assert_hides_a_panic(&in_drop.expect_err("it panics"), way);
        assert_eq!(bystander.await.expect("no panic").expect("the connection goes on"), 1);
        assert_eq!(scene.client.echo(3).await.expect("the connection goes on"), 3);
    }
}

#[tokio::test]
async fn case_60_a_panic_while_a_cancelled_handler_is_dropped_reaches_nobody() {
    for way in Way::ALL {
        let mut scene = Scene::open(way).await;
        let mut call = scene.client.panic_in_drop(1);
        tokio::select! {
            _ = &mut call => panic!("the gate is shut"),
            event = scene.events.next() => assert_eq!(event, Event::Started(1)),
        }
        drop(call);
        scene.events.expect(Event::Dropped(1)).await;
        assert_eq!(scene.client.echo(2).await.expect("the connection goes on"), 2, "{way:?}");
    }
}

// ---- one-way ----

#[tokio::test]
async fn a_one_way_call_ends_when_it_is_queued_and_is_executed_all_the_same() {
    for way in Way::ALL {
        let mut scene = Scene::open(way).await;
        // Its handler waits for the gate, its caller does not.
        patiently("the queue", scene.client.note_slowly(1)).await.expect("queued");
        scene.events.expect(Event::Started(1)).await;
        scene.handler.open_gate();
        scene.events.expect(Event::Ended(1)).await;
        scene.client.note(2).await.expect("queued");
        scene.events.expect(Event::Started(2)).await;
        scene.events.expect(Event::Ended(2)).await;
    }
}

#[tokio::test]
async fn what_was_queued_when_the_client_went_is_executed() {
    for way in Way::ALL {
        let mut scene = Scene::open(way).await;
        for number in 0..500 {
            scene.client.note(number).await.expect("queued");
        }
        drop(std::mem::replace(&mut scene.client, ProbeClient::in_process(nobody())));
        // Not in their order: each has a handler of its own.
        for _ in 0..2 * 500 {
            scene.events.next().await;
        }
        assert_eq!(scene.handler.executed(), 500, "{way:?}");
    }
}

fn nobody() -> support::ProbeServer<support::Recorder> {
    support::ProbeServer::new(support::Recorder::new().0)
}
