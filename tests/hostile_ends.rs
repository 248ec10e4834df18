//! Servers that die or drain, and whoever was there: each call has its one outcome, and nothing is left.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use hostile::raw::{Liar, Raw};
use hostile::wire::{self, NO, UNAVAILABLE, UNIMPLEMENTED, Value, framed};
use hostile::{TargetClient, Victim};
use rpc::{Code, Error, Executed, Limits};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn sum() -> Vec<u8> {
    wire::array(&[&[1], &[2]])
}

#[test]
fn case_68_a_server_that_dies_leaves_calls_that_may_have_run_and_calls_that_have_not() {
    Victim::that_goes(async |victim| {
        let client = victim.client().await;
        let pending: Vec<_> = (0..10).map(|_| tokio::spawn(client.hold().into_future())).collect();
        victim.ledger.running(10).await;
        victim.dies().await;
        for call in pending {
            let error =
                timeout(SECOND, call).await.expect("at once").expect("joined").expect_err("it is dead");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
        }
        assert!(victim.ledger.running(0).await < SECOND / 10);
        let error = client.add(1, 2).await.expect_err("nobody is there");
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));

        let waiting = tokio::spawn(client.add(1, 2).wait_for_ready().into_future());
        sleep(10 * SECOND).await;
        let successor = Victim::serve_with(&victim.url, Limits::default()).await;
        assert_eq!(waiting.await.expect("joined").expect("somebody is there again"), 3);
        assert_eq!(successor.ledger.started(), 2, "the successor's own first call, and this one");
        successor.dies().await;
    });
}

/// Calls all the time, until it is told to stop or meets an error; gives how many calls succeeded.
async fn call_on(client: &TargetClient, stop: &AtomicBool, next: &AtomicI64) -> Result<usize, Error> {
    let mut calls = 0;
    while !stop.load(Ordering::SeqCst) {
        let number = next.fetch_add(1, Ordering::SeqCst);
        assert_eq!(client.add(number, 1).wait_for_ready().await?, number + 1);
        calls += 1;
        // The clock moves between calls, or it would never do so.
        sleep(Duration::from_millis(1)).await;
    }
    Ok(calls)
}

#[test]
fn case_91_a_drain_under_load_loses_no_call_and_leaves_nothing() {
    Victim::that_goes(async |victim| {
        let (stop, next) = (AtomicBool::new(false), AtomicI64::new(0));
        let limits = Limits::default().with_backoff(Duration::from_millis(1));
        let mut clients = Vec::new();
        for _ in 0..16 {
            let connecting = TargetClient::connect(&victim.url).limits(limits.clone());
            clients.push(connecting.await.expect("connected"));
        }
        let load = async {
            let mut calls = 0;
            let mut callers: Vec<_> =
                clients.iter().map(|client| Box::pin(call_on(client, &stop, &next))).collect();
            for caller in &mut callers {
                calls += caller.as_mut().await.expect("no error reaches a caller");
            }
            calls
        };
        let replacing = async {
            let mut executed = 0;
            let mut last = None::<Victim>;
            for _ in 0..5 {
                sleep(SECOND / 5).await;
                let serving = last.as_ref().unwrap_or(victim);
                let drained = serving.shutdown.shutdown();
                // The name is free as soon as it drains, long before it has ended.
                sleep(Duration::from_millis(1)).await;
                let successor = Victim::serve_with(&victim.url, Limits::default()).await;
                drained.await;
                executed += serving.ledger.started() - 1;
                last = Some(successor);
            }
            stop.store(true, Ordering::SeqCst);
            (executed, last.expect("there were some"))
        };
        let (calls, (executed, last)) = tokio::join!(load, replacing);
        let executed = executed + last.ledger.started() - 1;
        assert_eq!((calls, executed), (next.load(Ordering::SeqCst) as usize, calls), "each ran once");
        assert!(calls > 1_000, "{calls} calls");
        last.dies().await;
    });
}

#[test]
fn case_92_a_hello_that_comes_within_the_drain_is_served_or_nothing_was_executed() {
    Victim::that_goes(async |victim| {
        let hello = wire::hello();
        let request = framed(&wire::request(1, "Target.add", &sum()));
        let mut attempts = Vec::new();
        for sent in [0, 1, 4, hello.len() - 1, hello.len()] {
            let mut raw = Raw::connect(&victim.url).await;
            raw.send(&hello[..sent]).await;
            attempts.push((sent, raw));
        }
        victim.serves_neighbours().await;
        let started = victim.ledger.started();
        let drained = victim.shutdown.shutdown();
        sleep(SECOND / 100).await;
        let (mut served, mut refused) = (0, 0);
        for (sent, raw) in &mut attempts {
            raw.send(&[&hello[*sent..], &request].concat()).await;
        }
        for (sent, raw) in &mut attempts {
            raw.recv_hello().await;
            while let Some(message) = timeout(2 * SECOND, raw.recv()).await.expect("it ends") {
                match message.elements() {
                    [Value::Uint(1), _, Value::Nil, sum] => {
                        assert_eq!(sum, &Value::Uint(3), "after {sent} bytes");
                        served += 1;
                    }
                    [Value::Uint(1), ..] => {
                        assert_eq!((message.error().1, message.error().2), (UNAVAILABLE, NO));
                        refused += 1;
                    }
                    _ => {}
                }
            }
        }
        // Whoever got no reply was not executed.
        assert_eq!(victim.ledger.started() - started, served);
        assert_eq!(served + refused, attempts.len(), "each of them has said hello in time");
        drop(attempts);
        timeout(10 * SECOND, drained).await.expect("they hold nothing up");
    });
}

#[test]
fn case_93_stuck_handlers_end_at_the_drain_limit() {
    Victim::that_goes(async |victim| {
        let client = victim.client().await;
        let stuck: Vec<_> = (0..10).map(|_| tokio::spawn(client.hold().into_future())).collect();
        victim.ledger.running(10).await;
        let since = Instant::now();
        victim.shutdown.shutdown().await;
        let took = since.elapsed();
        assert!((30 * SECOND..31 * SECOND).contains(&took), "{took:?}");
        for call in stuck {
            let error = timeout(SECOND, call).await.expect("at once").expect("joined").expect_err("dropped");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
        }
        assert!(victim.ledger.running(0).await < SECOND / 10);
    });
}

#[test]
fn case_94_shutting_down_many_times_is_as_good_as_once() {
    Victim::that_goes(async |victim| {
        let client = victim.client().await;
        let running = tokio::spawn(client.hold().into_future());
        victim.ledger.running(1).await;
        let drains: Vec<_> = (0..10).map(|_| tokio::spawn(victim.shutdown.shutdown())).collect();
        // Awaiting it or not changes nothing.
        drop(victim.shutdown.shutdown());
        sleep(SECOND).await;
        assert!(drains.iter().all(|drain| !drain.is_finished()), "a call still runs");
        victim.gate.add_permits(1);
        assert_eq!(running.await.expect("joined").expect("it was running"), 7);
        for drain in drains {
            timeout(2 * SECOND, drain).await.expect("it has drained").expect("joined");
        }
        timeout(SECOND, victim.shutdown.shutdown()).await.expect("it has been");
        victim.dies().await;
        timeout(SECOND, victim.shutdown.shutdown()).await.expect("it is dead");
    });
}

#[test]
fn case_95_the_last_handle_dropped_closes_the_connection() {
    Liar::attacks(async |liar| {
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
        let mut raw = liar.welcome().await;
        let client = connecting.await.expect("joined").expect("connected");
        let clone = client.clone();
        let call = tokio::spawn(client.add(1, 2).into_future());
        let id = raw.recv().await.expect("a request").id();
        drop((client, clone));
        // The call keeps it open until it ends.
        sleep(10 * SECOND).await;
        raw.say(&wire::reply(id, &[3])).await;
        assert_eq!(call.await.expect("joined").expect("a sum"), 3);
        let since = Instant::now();
        while timeout(SECOND, raw.recv()).await.expect("closed within a second").is_some() {}
        assert!(since.elapsed() <= SECOND, "{:?}", since.elapsed());
    });
}

/// A peer numbers its calls as it likes: there is no id after the last one, and that is its own affair.
#[test]
fn case_96_the_last_ids_that_there_are_are_served_as_any_other() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        for id in (u64::MAX - 20)..=u64::MAX {
            assert_eq!(raw.call(id, "Target.add", &sum()).await.value(), (id, &Value::Uint(3)));
        }
        // And the first ones after them.
        for id in [0, 1, u64::MAX, 0] {
            assert_eq!(raw.call(id, "Target.nothing", &sum()).await.error().1, UNIMPLEMENTED);
        }
        raw.say(&wire::request(u64::MAX, "Target.hold", &[0x90])).await;
        victim.ledger.running(1).await;
        raw.say(&wire::cancel(u64::MAX)).await;
        victim.ledger.running(0).await;
    });
}
