//! Calls both ways on one connection: what each side may do while the other goes, and what it may cost.

use std::time::Duration;

use super::super::{CallFailure, CallId, CallKey, Entry};
use super::pair::{Next, Pair, Plain, Side};
use crate::limits::{DRAIN_NOTICE, Limits};
use crate::message::{GoAway, Reason, encode_goaway, encode_ping};
use crate::{Code, Executed};

const SECOND: Duration = Duration::from_secs(1);

fn key(id: CallId) -> CallKey {
    CallKey::Call(id.number())
}

fn calling_back(call: Plain) -> Plain {
    Plain { back: true, ..call }
}

/// Calls back, as a handler does.
fn call_back(side: &mut Side, waiter: u32, pair_now: std::time::Instant) -> CallId {
    side.call(waiter, pair_now, calling_back)
}

/// A call back that there is no way for any more.
fn is_refused(side: &mut Side, now: std::time::Instant) -> bool {
    matches!(side.enter(9, now, calling_back), Entry::Ended(CallFailure::Moved))
}

// ---- while a side goes ----

#[test]
fn a_server_that_drains_finishes_calls_that_need_calls_back_to_any_depth() {
    let mut pair = Pair::new();
    let outer = pair.call(1);
    pair.settle();
    pair.server.connection.start_drain(pair.now);
    pair.settle();
    pair.wait(2 * DRAIN_NOTICE);
    // The client has said that it calls no more, and the server takes no more; and yet.
    let mut server_calls = Vec::new();
    let mut client_calls = Vec::new();
    for depth in 0..5 {
        server_calls.push(call_back(&mut pair.server, depth, pair.now));
        pair.settle();
        client_calls.push(call_back(&mut pair.client, depth, pair.now));
        pair.settle();
    }
    assert_eq!((pair.client.arrived.len(), pair.server.arrived.len()), (5, 6));
    for _ in 0..5 {
        assert!(
            !pair.server.connection.is_finished(pair.now) && !pair.client.connection.is_finished(pair.now)
        );
        let (inner, before) = (client_calls.pop().expect("five"), server_calls.pop().expect("five"));
        pair.server.reply(key(inner), 1);
        pair.settle();
        assert!(pair.client.outcome(inner).is_ok());
        pair.client.reply(key(before), 2);
        pair.settle();
        assert!(pair.server.outcome(before).is_ok());
    }
    pair.server.reply(key(outer), 3);
    // Nothing of the client's runs any more, so there is nothing that could need a call back.
    assert!(is_refused(&mut pair.server, pair.now));
    pair.settle();
    assert!(pair.client.outcome(outer).is_ok());
    assert!(pair.server.connection.is_finished(pair.now) && pair.client.connection.is_finished(pair.now));
}

#[test]
fn a_server_that_drains_refuses_what_it_cannot_need() {
    let mut pair = Pair::new();
    let outer = pair.call(1);
    pair.settle();
    pair.server.connection.start_drain(pair.now);
    drop(pair.server.output());
    pair.wait(DRAIN_NOTICE);
    // A call of the client's own, which a client that heard the goaway would not make.
    let late = pair.call(2);
    pair.settle();
    assert_eq!(pair.client.error(late), (Code::Unavailable, Executed::No));
    // While the server waits for the client, it cannot tell.
    let back = call_back(&mut pair.server, 3, pair.now);
    pair.settle();
    let nested = pair.call(4);
    pair.settle();
    assert!(matches!(pair.client.poll(nested), Next::Pending));
    pair.client.reply(key(back), 1);
    pair.settle();
    assert!(pair.server.outcome(back).is_ok());
    let after = pair.call(5);
    pair.settle();
    assert_eq!(pair.client.error(after), (Code::Unavailable, Executed::No));
    for id in [outer, nested] {
        pair.server.reply(key(id), 1);
    }
    assert!(pair.server.connection.is_finished(pair.now));
}

#[test]
fn a_client_that_goes_finishes_what_it_serves_and_what_is_on_its_way() {
    let mut pair = Pair::new();
    let running = call_back(&mut pair.server, 1, pair.now);
    pair.settle();
    let on_its_way = call_back(&mut pair.server, 2, pair.now);
    pair.client.connection.retire(pair.now, true);
    pair.server_to_client();
    assert_eq!(pair.client.arrived.len(), 2);
    pair.client_to_server();
    assert!(is_refused(&mut pair.server, pair.now), "it knows");
    // What runs may call the server, as deep as that goes.
    let nested = call_back(&mut pair.client, 3, pair.now);
    pair.settle();
    let deeper = call_back(&mut pair.server, 4, pair.now);
    pair.settle();
    assert_eq!(pair.client.arrived.len(), 3);
    for id in [running, on_its_way, deeper] {
        assert!(!pair.client.connection.is_finished(pair.now));
        pair.client.reply(key(id), 1);
        pair.settle();
        assert!(pair.server.outcome(id).is_ok());
    }
    pair.server.reply(key(nested), 1);
    pair.settle();
    assert!(pair.client.outcome(nested).is_ok());
    assert!(pair.client.connection.is_finished(pair.now) && pair.server.connection.is_finished(pair.now));
}

#[test]
fn a_client_that_goes_waits_for_an_answer_only_if_it_serves_and_not_for_long() {
    let mut pair = Pair::new();
    pair.client.connection.retire(pair.now, false);
    assert!(pair.client.connection.is_finished(pair.now));

    let mut pair = Pair::new();
    pair.client.connection.retire(pair.now, true);
    assert!(!pair.client.connection.is_finished(pair.now));
    assert_eq!(pair.client.connection.poll_timeout(), Some(pair.now + DRAIN_NOTICE));
    assert!(pair.client.connection.is_finished(pair.now + DRAIN_NOTICE));
    pair.settle();
    assert!(pair.client.connection.is_finished(pair.now), "it has its answer");
}

#[test]
fn a_client_that_goes_stops_its_handlers_at_its_drain_timeout() {
    let limits = Limits::default().with_drain_timeout(5 * SECOND);
    let mut pair = Pair::with_limits(limits, Limits::default());
    let stuck = call_back(&mut pair.server, 1, pair.now);
    pair.settle();
    pair.client.connection.retire(pair.now, true);
    pair.settle();
    let last = pair.now + 5 * SECOND;
    pair.wait(5 * SECOND - Duration::from_millis(1));
    assert!(!pair.client.connection.is_finished(pair.now));
    assert_eq!(pair.client.connection.poll_timeout(), Some(last), "whoever looks after it wakes for it");
    assert!(pair.client.connection.is_finished(last));
    pair.client.lose();
    assert_eq!(pair.client.stopped, [key(stuck)]);
}

#[test]
fn nobody_is_called_back_who_has_broken_off() {
    let goaway = |reason| {
        let mut frame = Vec::new();
        encode_goaway(&mut frame, &GoAway { last_id: u64::MAX, reason, message: "" });
        frame
    };
    for (reason, lasts) in [(Reason::Drain, true), (Reason::Protocol, false), (Reason::Calm, false)] {
        let mut pair = Pair::new();
        pair.call(1);
        pair.settle();
        pair.server.frame(&goaway(reason), pair.now).expect("a goaway");
        assert_eq!(is_refused(&mut pair.server, pair.now), !lasts, "{reason:?}");
        // Nor who has ended its bytes, and so could not answer.
        pair.server.end_of_bytes();
        assert!(is_refused(&mut pair.server, pair.now));
    }
}

#[test]
fn calls_back_beyond_all_ids_do_not_end_the_connection() {
    let mut pair = Pair::new();
    pair.server.connection.use_up_ids(1);
    let last = call_back(&mut pair.server, 1, pair.now);
    match pair.server.enter(2, pair.now, calling_back) {
        Entry::Ended(CallFailure::Rpc(error)) => {
            assert_eq!((error.code(), error.executed()), (Code::ResourceExhausted, Executed::No));
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
    pair.settle();
    pair.client.reply(key(last), 1);
    pair.settle();
    assert!(pair.server.outcome(last).is_ok());
    assert!(!pair.server.connection.is_ending());
}

// ---- what it may cost ----

#[test]
fn each_direction_has_its_own_limit_of_calls() {
    let mut pair = Pair::with_limits(Limits::default().with_calls(1), Limits::default().with_calls(2));
    let calls = [1, 2, 3].map(|waiter| pair.call(waiter));
    let back = [4, 5].map(|waiter| call_back(&mut pair.server, waiter, pair.now));
    pair.settle();
    assert_eq!((pair.server.arrived.len(), pair.client.arrived.len()), (2, 1));
    pair.client.reply(key(back[0]), 1);
    pair.settle();
    assert!(matches!(pair.server.poll(back[1]), Next::Granted));
    pair.server.reply(key(calls[0]), 1);
    pair.settle();
    assert!(matches!(pair.client.poll(calls[2]), Next::Granted));
}

#[test]
fn answers_that_nobody_reads_keep_the_places_of_their_calls() {
    let limits = Limits::default().with_calls(3).with_send_queue_bytes(20);
    let mut pair = Pair::with_limits(limits, Limits::default());
    for id in 1..=3 {
        pair.call_of_server(id);
        pair.client.reply(CallKey::Call(id.into()), 1);
    }
    assert!(pair.client.connection.output_bytes() > 20);
    // The other side has read none of these, so to an honest one they all run still.
    pair.call_of_server(4);
    assert_eq!(pair.client.arrived.len(), 3);
    assert!(pair.client.connection.owed_bytes() > 0, "it is refused");
    drop(pair.client.output());
    pair.call_of_server(5);
    assert_eq!(pair.client.arrived.len(), 4);
}

fn ping() -> Vec<u8> {
    let mut frame = Vec::new();
    encode_ping(&mut frame, 7);
    frame
}

#[test]
fn case_24_pings_within_their_rate_are_answered_for_ever() {
    for rate in [1, 3, 10, 1_000] {
        let limits = Limits::default().with_pings_per_second(rate);
        let mut pair = Pair::with_limits(Limits::default(), limits);
        for _ in 0..20 {
            // All of a second's at once, or evenly.
            for _ in 0..rate {
                pair.server.frame(&ping(), pair.now).expect("within the rate");
            }
            pair.now += SECOND;
        }
        for _ in 0..20 * rate {
            pair.server.frame(&ping(), pair.now).expect("within the rate");
            pair.now += SECOND.div_f64(rate.into());
        }
        assert!(pair.server.connection.owed_bytes() > 0, "they are answered");
    }
}

#[test]
fn case_24_pings_above_their_rate_end_the_connection() {
    for rate in [1, 3, 10, 1_000] {
        let limits = || Limits::default().with_pings_per_second(rate);
        let mut pair = Pair::with_limits(Limits::default(), limits());
        for _ in 0..rate {
            pair.server.frame(&ping(), pair.now).expect("within the rate");
        }
        let violation = pair.server.frame(&ping(), pair.now).expect_err("one too many");
        assert_eq!(violation.reason, Reason::Calm);
        assert!(violation.message.contains(&rate.to_string()), "{}", violation.message);

        // Time without pings is not saved up.
        let mut pair = Pair::with_limits(Limits::default(), limits());
        pair.now += 600 * SECOND;
        let answered = (0..=rate).filter(|_| pair.server.frame(&ping(), pair.now).is_ok()).count();
        assert_eq!(answered, rate as usize);

        // A tenth too fast for long is too fast, too.
        let mut pair = Pair::with_limits(Limits::default(), limits());
        let step = SECOND.div_f64(f64::from(rate) * 1.1);
        let ended = (0..100 * rate).any(|_| {
            pair.now += step;
            pair.server.frame(&ping(), pair.now).is_err()
        });
        assert!(ended, "{rate} a second");
    }
}

#[test]
fn case_24_the_pings_of_this_side_are_no_flood() {
    let client = Limits::default().with_keepalive_interval(Duration::ZERO);
    let mut pair = Pair::with_limits(client, Limits::default());
    let until = pair.now + 60 * SECOND;
    while pair.now < until {
        pair.now = pair.client.connection.poll_timeout().expect("a connection is looked after").max(pair.now);
        pair.client.tick(pair.now).expect("it is answered");
        pair.settle();
    }
}
