//! Calls that should not be, cancels that come too late, and more of both than is allowed.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::time::Duration;

use hostile::raw::{Liar, Raw};
use hostile::wire::{
    self, DEADLINE_EXCEEDED, NO, PROTOCOL, RESOURCE_EXHAUSTED, UNIMPLEMENTED, Value, framed,
};
use hostile::{TargetClient, Victim};
use rpc::{Channel, Code, Error, Executed, Limits};
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);
const HUNDREDTH: Duration = Duration::from_millis(100);

fn sum() -> Vec<u8> {
    wire::array(&[&[1], &[2]])
}

#[test]
fn case_28_a_reply_to_a_server_that_never_asked_is_sent_away() {
    Victim::attacked(async |victim| {
        for id in [0, 1, 1 << 20, u64::MAX] {
            let mut raw = Raw::open(&victim.url).await;
            raw.say(&wire::request(1, "Target.hold", &[0x90])).await;
            victim.ledger.running(1).await;
            raw.say(&wire::reply(id, &[3])).await;
            let goaway = raw.is_sent_away().await;
            assert_eq!((goaway.reason, goaway.last_id), (PROTOCOL, 1));
            assert!(victim.ledger.running(0).await <= HUNDREDTH);
        }
    });
}

#[test]
fn case_50_unknown_services_and_methods_are_unimplemented_and_not_executed() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        let started = victim.ledger.started();
        let long = "x".repeat(100_000);
        let names = [
            "Target.nothing",
            "Other.add",
            "add",
            "Target.",
            ".",
            "",
            "target.add",
            "Target.add\0",
            "\u{1b}[2J",
            &long,
        ];
        for (id, name) in (1..).zip(names) {
            // The arguments are nobody's business where there is no method.
            let reply = raw.call(id, name, &[0xc1]).await;
            let (_, code, executed, message) = reply.error();
            assert_eq!((code, executed), (UNIMPLEMENTED, NO), "{name:?}: {message}");
            assert!(message.len() <= 512, "{} bytes of it come back", message.len());
            assert!(!message.chars().any(char::is_control), "{message:?}");
        }
        assert_eq!(raw.call(99, "Target.add", &sum()).await.value(), (99, &Value::Uint(3)));
        assert_eq!(victim.ledger.started(), started + 1);

        let channel = Channel::connect(&victim.url).await.expect("connected");
        let error = channel.call::<i64, Error>("Target.nothing", (1,)).await.expect_err("no such method");
        assert_eq!((error.code(), error.executed()), (Code::Unimplemented, Executed::No));
        assert!(!error.is_retryable());
        drop((raw, channel));
    });
}

#[test]
fn case_51_a_live_id_used_again_is_sent_away_and_does_not_run_twice() {
    Victim::attacked(async |victim| {
        let request = framed(&wire::request(7, "Target.hold", &[0x90]));
        // One after the other, and in one write.
        for together in [false, true] {
            let started = victim.ledger.started();
            let mut raw = Raw::open(&victim.url).await;
            if together {
                raw.send(&[&request[..], &request].concat()).await;
            } else {
                raw.send(&request).await;
                victim.ledger.running(1).await;
                raw.send(&request).await;
            }
            assert_eq!(raw.is_sent_away().await.reason, PROTOCOL);
            assert!(victim.ledger.running(0).await <= HUNDREDTH);
            assert!(victim.ledger.started() - started <= 1, "it ran twice");
        }
        // An id whose call has ended may come again.
        let mut raw = Raw::open(&victim.url).await;
        for _ in 0..3 {
            assert_eq!(raw.call(7, "Target.add", &sum()).await.value(), (7, &Value::Uint(3)));
        }
        drop(raw);
    });
}

#[test]
fn case_53_a_deadline_of_zero_is_exceeded_and_the_call_not_started() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        let started = victim.ledger.started();
        raw.say(&wire::timed(1, "Target.add", 0, &sum())).await;
        let reply = raw.recv().await.expect("a reply");
        let (id, code, executed, _) = reply.error();
        assert_eq!((id, code, executed), (1, DEADLINE_EXCEEDED, NO));
        raw.say(&wire::array(&[&[5], &wire::text("Target.add"), &[0], &[0x80], &sum()])).await;
        assert_eq!(raw.call(2, "Target.add", &sum()).await.value(), (2, &Value::Uint(3)));
        assert_eq!(victim.ledger.started(), started + 1);

        let error = victim.neighbour.add(1, 2).timeout(Duration::ZERO).await.expect_err("no time");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::No));
        drop(raw);
    });
}

#[test]
fn case_54_deadlines_beyond_all_measure_are_clamped() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        let three_years = 3 * 365 * 24 * 3_600 * 1_000_000;
        for (id, micros) in [(1, three_years), (2, u64::MAX), (3, u64::MAX - 1), (4, i64::MAX as u64)] {
            raw.say(&wire::timed(id, "Target.add", micros, &sum())).await;
            assert_eq!(raw.recv().await.expect("a reply").value(), (id, &Value::Uint(3)));
        }
        // They count as a day.
        raw.say(&wire::timed(5, "Target.hold", u64::MAX, &[0x90])).await;
        victim.ledger.running(1).await;
        let since = Instant::now();
        let reply = loop {
            let message = raw.recv().await.expect("a message");
            match message.kind() {
                7 => raw.say(&wire::array(&[&[8], &wire::uint(message.id())])).await,
                _ => break message,
            }
        };
        assert_eq!((reply.error().0, reply.error().1), (5, DEADLINE_EXCEEDED));
        let day = 24 * 3_600 * SECOND;
        assert!((day..day + SECOND).contains(&since.elapsed()), "{:?}", since.elapsed());

        for far in [3 * 365 * day, Duration::MAX] {
            assert_eq!(victim.neighbour.add(1, 2).timeout(far).await.expect("a sum"), 3);
        }
        drop(raw);
    });
}

#[test]
fn case_56_a_call_dropped_before_it_was_written_is_not_sent() {
    Liar::attacks(async |liar| {
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
        let mut raw = liar.welcome().await;
        let client = connecting.await.expect("joined").expect("connected");

        // Never polled; dropped in the turn in which it was entered, behind one that stays.
        drop(client.add(1, 1));
        let stays = {
            let mut stays = Box::pin(client.add(2, 2).into_future());
            let mut goes = Box::pin(client.length("goes", &[7; 10_000]).into_future());
            let mut follows = Box::pin(client.add(3, 3).into_future());
            std::future::poll_fn(|cx| {
                assert!(stays.as_mut().poll(cx).is_pending());
                assert!(goes.as_mut().poll(cx).is_pending());
                assert!(follows.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            drop(goes);
            tokio::spawn(async move { (stays.await, follows.await) })
        };
        for sum in [4, 6] {
            let request = raw.recv().await.expect("a request");
            assert_eq!((request.kind(), request.elements()[2].str()), (0, "Target.add"));
            raw.say(&wire::reply(request.id(), &[sum])).await;
        }
        let (stays, follows) = stays.await.expect("joined");
        assert_eq!((stays.expect("a sum"), follows.expect("a sum")), (4, 6));
        // Nothing else was on its way.
        assert!(timeout(SECOND, raw.recv()).await.is_err());
    });
}

#[test]
fn case_56_a_call_dropped_while_there_is_no_connection_is_not_sent() {
    Liar::attacks(async |liar| {
        let client = TargetClient::new(Channel::connect(&liar.url).lazy().expect("a channel"));
        let gone = client.add(1, 1).timeout(SECOND / 10).await.expect_err("nobody answers");
        assert_eq!((gone.code(), gone.executed()), (Code::DeadlineExceeded, Executed::No));
        let stays = tokio::spawn(client.add(2, 2).wait_for_ready().into_future());
        let mut raw = liar.welcome().await;
        let request = raw.recv().await.expect("a request");
        assert_eq!(request.elements()[3], Value::Array(vec![Value::Uint(2), Value::Uint(2)]));
        raw.say(&wire::reply(request.id(), &[4])).await;
        assert_eq!(stays.await.expect("joined").expect("a sum"), 4);
    });
}

#[test]
fn case_57_a_call_dropped_after_it_was_written_drops_its_handler_at_once() {
    Victim::attacked(async |victim| {
        let client = victim.client().await;
        let mut took = Vec::new();
        for _ in 0..5 {
            let call = tokio::spawn(client.hold().into_future());
            victim.ledger.running(1).await;
            call.abort();
            took.push(victim.ledger.running(0).await);
        }
        assert!(took.iter().all(|took| *took <= HUNDREDTH), "{took:?}");
        assert_eq!(client.add(1, 2).await.expect("a sum"), 3);
        drop(client);
    });
}

#[test]
fn case_58_a_cancel_against_a_reply_leaves_one_outcome() {
    // Pings are how this side knows that everything before them has been handled, and it has many.
    let limits = Limits::default().with_pings_per_second(u32::MAX);
    Victim::attacked_with(limits, async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        let mut replies = 0;
        for id in 1..=200 {
            let mut both = framed(&wire::request(id, "Target.add", &sum()));
            both.extend(framed(&wire::cancel(id)));
            // In one write, or with a chance for the reply to win.
            let (first, second) = both.split_at(both.len() - framed(&wire::cancel(id)).len());
            match id % 3 {
                0 => raw.send(&both).await,
                yields => {
                    raw.send(first).await;
                    for _ in 0..yields * 4 {
                        tokio::task::yield_now().await;
                    }
                    raw.send(second).await;
                }
            }
            // The answer to a ping comes after all that was sent before it.
            raw.say(&wire::ping(id)).await;
            let mut of_this = 0;
            loop {
                let message = timeout(SECOND, raw.recv()).await.expect("in time").expect("a message");
                match message.kind() {
                    8 => break,
                    _ => {
                        assert_eq!(message.value(), (id, &Value::Uint(3)));
                        of_this += 1;
                    }
                }
            }
            assert!(of_this <= 1, "{of_this} replies to call {id}");
            replies += of_this;
        }
        assert!(replies > 0, "the reply never won");
        drop(raw);
    });
}

#[test]
fn case_58_callers_that_go_while_replies_come_leave_the_connection_sound() {
    Victim::attacked(async |victim| {
        let client = victim.client().await;
        for round in 0..500u32 {
            let call = tokio::spawn(client.add(i64::from(round), 1).into_future());
            for _ in 0..round % 7 {
                tokio::task::yield_now().await;
            }
            call.abort();
            match call.await {
                Ok(result) => assert_eq!(result.expect("a sum"), i64::from(round) + 1),
                Err(error) => assert!(error.is_cancelled()),
            }
        }
        assert_eq!(client.add(1, 2).await.expect("a sum"), 3);
        drop(client);
    });
}

#[test]
fn case_59_a_cancel_of_an_unknown_id_is_ignored() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        raw.say(&wire::request(1, "Target.hold", &[0x90])).await;
        victim.ledger.running(1).await;
        for id in [0, 2, 3, u64::MAX, 2] {
            raw.say(&wire::cancel(id)).await;
        }
        assert_eq!(raw.call(2, "Target.add", &sum()).await.value(), (2, &Value::Uint(3)));
        // One of a call that has ended, and two of one that runs.
        raw.say(&wire::cancel(2)).await;
        assert_eq!(victim.ledger.counts().running, 1, "the other call goes on");
        raw.say(&wire::cancel(1)).await;
        raw.say(&wire::cancel(1)).await;
        assert!(victim.ledger.running(0).await <= HUNDREDTH);
        assert_eq!(raw.call(3, "Target.add", &sum()).await.value(), (3, &Value::Uint(3)));
        drop(raw);
    });
}

#[test]
fn case_62_one_call_above_the_limit_is_refused_and_not_executed() {
    for limit in [Limits::default().calls(), 4] {
        Victim::attacked_with(Limits::default().with_calls(limit), async |victim| {
            let above = limit as u64 + 1;
            let mut raw = Raw::open(&victim.url).await;
            for id in 1..above {
                raw.say(&wire::request(id, "Target.hold", &[0x90])).await;
            }
            victim.ledger.running(limit).await;
            let started = victim.ledger.started();
            let refused = raw.call(above, "Target.add", &sum()).await;
            let (_, code, executed, message) = refused.error();
            assert_eq!((code, executed), (RESOURCE_EXHAUSTED, NO));
            assert!(message.contains(&limit.to_string()), "{message}");
            assert_eq!(victim.ledger.started(), started);
            // One-way calls, which nobody could tell that they are refused, count apart.
            raw.say(&wire::array(&[&[2], &wire::text("Target.add"), &sum()])).await;
            // Another connection has a limit of its own.
            victim.serves_neighbours().await;

            raw.say(&wire::cancel(1)).await;
            victim.ledger.running(limit - 1).await;
            assert_eq!(raw.call(above, "Target.add", &sum()).await.value(), (above, &Value::Uint(3)));
            assert_eq!(
                victim.ledger.started(),
                started + 3,
                "the one-way one, the neighbour's, and this one"
            );
            drop(raw);
        });
    }
}

#[test]
fn case_62_a_cancelled_handler_that_still_runs_counts() {
    Victim::attacked_with(Limits::default().with_calls(2), async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        // Rapid reset: each is cancelled at once, and none of them ends.
        for id in 1..=50 {
            raw.say(&wire::request(id, "Target.insist", &[0x90])).await;
            victim.ledger.running(2.min(id as usize)).await;
            raw.say(&wire::cancel(id)).await;
        }
        assert_eq!(victim.ledger.counts().running, 2);
        for id in 3..=50 {
            let refused = raw.recv().await.expect("a refusal");
            let (refused, code, executed, _) = refused.error();
            assert_eq!((refused, code, executed), (id, RESOURCE_EXHAUSTED, NO));
        }
        victim.gate.add_permits(2);
        victim.ledger.running(0).await;
        assert_eq!(raw.call(51, "Target.add", &sum()).await.value(), (51, &Value::Uint(3)));
        drop(raw);
    });
}

#[test]
fn case_62_a_client_waits_for_a_place_instead() {
    Victim::attacked_with(Limits::default().with_calls(4), async |victim| {
        let client = victim.client().await;
        let calls: Vec<_> = (0..20).map(|_| tokio::spawn(client.hold().into_future())).collect();
        victim.ledger.running(4).await;
        let waiting = client.add(1, 2).timeout(SECOND).await.expect_err("there is no place");
        assert_eq!((waiting.code(), waiting.executed()), (Code::DeadlineExceeded, Executed::No));
        assert_eq!(victim.ledger.counts().running, 4);
        victim.gate.add_permits(20);
        for call in calls {
            assert_eq!(call.await.expect("joined").expect("a reply"), 7);
        }
    });
}
