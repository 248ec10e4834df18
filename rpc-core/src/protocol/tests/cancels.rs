//! Calls that are cancelled as soon as they have begun: by a side that keeps to what the other one takes, and by one
//! that does not.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::{CallId, CallKey};
use super::pair::{Next, Pair, key_of, reply_of};
use super::seeds::{Random, for_each_seed};
use crate::limits::Limits;
use crate::message::Reason;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// `[0, id, "m", []]` and `[6, id]`.
fn call_and_cancel(id: u16) -> [Vec<u8>; 2] {
    let [high, low] = id.to_be_bytes();
    [vec![0x94, 0, 0xcd, high, low, 0xa1, b'm', 0x90], vec![0x92, 6, 0xcd, high, low]]
}

/// Takes `at_once` cancels of calls that have hardly begun, and `per_second` more in each second.
fn taking(at_once: u32, per_second: u32) -> Limits {
    Limits::default().with_cancels(at_once).with_cancels_per_second(per_second)
}

#[test]
fn case_85_a_flood_of_cancels_is_sent_away_and_never_runs_more_than_the_limit() {
    let limits = taking(50, 10).with_calls(4);
    let mut pair = Pair::with_limits(Limits::default(), limits);
    let mut stopped = 0;
    let violation = (1..1_000).find_map(|id| {
        let [call, cancel] = call_and_cancel(id);
        pair.server.connection.received(pair.now, false);
        pair.server.frame(&call, pair.now).expect("a call");
        let cancelled = pair.server.frame(&cancel, pair.now);
        assert!(pair.server.connection.running() <= 4);
        // Each has ended by the next one.
        pair.server.stopped.drain(..).collect::<Vec<_>>().into_iter().for_each(|key| {
            pair.server.stop(key);
            stopped += 1;
        });
        cancelled.err()
    });
    let violation = violation.expect("it is a flood");
    assert_eq!(violation.reason, Reason::Calm, "{}", violation.message);
    assert_eq!(stopped, 51, "also the last one was stopped");
}

#[test]
fn case_85_handlers_that_do_not_end_leave_nothing_to_flood_with() {
    let mut pair = Pair::with_limits(Limits::default(), taking(50, 10).with_calls(4));
    for id in 1..1_000 {
        let [call, cancel] = call_and_cancel(id);
        pair.server.connection.received(pair.now, false);
        pair.server.frame(&call, pair.now).expect("a call");
        pair.server.frame(&cancel, pair.now).expect("most are refused, and then there is nothing to cancel");
        assert!(pair.server.connection.running() <= 4);
    }
    assert_eq!((pair.server.arrived.len(), pair.server.stopped.len()), (4, 4));
}

#[test]
fn what_has_run_for_a_while_is_cancelled_as_often_as_anybody_likes() {
    let mut pair = Pair::with_limits(Limits::default(), taking(1, 1));
    for round in 0..100 {
        let (call, cancel): (Vec<_>, Vec<_>) =
            (0..10).map(|call| call_and_cancel(round * 10 + call + 1).into()).unzip();
        pair.server.connection.received(pair.now, false);
        call.iter().for_each(|call| pair.server.frame(call, pair.now).expect("a call"));
        pair.now += ms(100);
        cancel.iter().for_each(|cancel| pair.server.frame(cancel, pair.now).expect("they have run for long"));
        pair.server.stopped.drain(..).collect::<Vec<_>>().into_iter().for_each(|key| pair.server.stop(key));
    }
}

#[test]
fn what_ended_before_its_cancel_or_was_never_started_does_not_count() {
    let mut pair = Pair::with_limits(Limits::default(), taking(1, 1));
    for id in 1..100 {
        let [call, cancel] = call_and_cancel(id);
        pair.server.connection.received(pair.now, false);
        pair.server.frame(&call, pair.now).expect("a call");
        pair.server.reply(CallKey::Call(id.into()), 7);
        pair.server.frame(&cancel, pair.now).expect("it has ended");
        let both = [call_and_cancel(id + 100), call_and_cancel(id + 200)].concat();
        let framed = both.iter().flat_map(|frame| [&[0, 0, 0, frame.len() as u8][..], frame].concat());
        pair.server.receive_batch(&framed.collect::<Vec<_>>(), pair.now);
    }
    assert!(pair.server.stopped.is_empty());
}

#[test]
fn an_honest_side_holds_back_what_the_other_would_not_take() {
    let mut pair = Pair::with_limits(Limits::default(), taking(3, 10).with_calls(10));
    let ids: Vec<_> = (0..12).map(|waiter| pair.call(waiter)).collect();
    pair.client_to_server();
    ids[..10].iter().for_each(|id| pair.client.drop_call(*id));
    pair.settle();
    assert_eq!(pair.server.stopped.len(), 3, "the others are held back");
    // Those that are keep their places, the others have given theirs to calls that waited.
    assert_eq!(pair.client.woken, [10, 11]);
    pair.server.stopped.drain(..).collect::<Vec<_>>().into_iter().for_each(|key| pair.server.stop(key));
    // One ends by itself, and need not be cancelled.
    pair.server.reply(CallKey::Call(ids[9].number()), 7);
    pair.settle();
    assert_eq!(pair.client.connection.ignored(), 1);
    pair.wait(ms(110));
    pair.settle();
    let stopped: Vec<_> = ids[3..9].iter().map(|id| CallKey::Call(id.number())).collect();
    assert_eq!(pair.server.stopped, stopped);
    stopped.into_iter().for_each(|key| pair.server.stop(key));
    assert_eq!(pair.server.connection.running(), 0);
    for (waiter, id) in [(10, ids[10]), (11, ids[11])] {
        assert!(matches!(pair.client.poll(id), Next::Granted));
        let id = pair.client.resume(id, waiter, pair.now);
        pair.settle();
        pair.server.reply(CallKey::Call(id.number()), 7);
        pair.settle();
        pair.client.outcome(id).expect("served as ever");
    }
    assert!(pair.client.is_at_rest());
}

#[test]
fn a_call_with_streams_is_held_back_as_well() {
    let mut pair = Pair::with_limits(Limits::default(), taking(1, 1));
    let ids: Vec<_> = (0..4).map(|waiter| pair.client.open_call(waiter, pair.now, 0)).collect();
    pair.settle();
    ids.iter().for_each(|id| pair.client.drop_call(*id));
    pair.settle();
    assert_eq!(pair.server.stopped.len(), 1);
    // One ends by itself, one begins to answer: then it may be cancelled.
    pair.server.stop(key_of(ids[1]));
    assert!(pair.server.open_reply(ids[2].number()));
    pair.settle();
    assert_eq!(pair.server.stopped, [key_of(ids[0]), key_of(ids[2])]);
    pair.wait(ms(110));
    pair.settle();
    assert_eq!(pair.server.stopped[2..], [key_of(ids[3])]);
    pair.server.stopped.drain(..).collect::<Vec<_>>().into_iter().for_each(|key| pair.server.stop(key));
    pair.settle();
    assert!(pair.client.is_at_rest() && pair.server.is_at_rest());
}

#[test]
fn a_stream_that_has_begun_may_be_left_as_often_as_anybody_likes() {
    let mut pair = Pair::with_limits(Limits::default(), taking(1, 1));
    for waiter in 0..100 {
        let id = pair.client.open_call(waiter, pair.now, 0);
        pair.settle();
        assert!(pair.server.open_reply(id.number()));
        pair.settle();
        pair.client.outcome(id).expect("a stream");
        let [here, _] = reply_of(id);
        pair.client.leave_stream(here);
        pair.settle();
        assert_eq!(pair.server.stopped, [key_of(id)]);
        end_stopped(&mut pair);
        pair.settle();
    }
    assert!(pair.client.is_at_rest() && pair.server.is_at_rest());
}

#[test]
fn a_connection_that_is_lost_holds_nothing_back() {
    let mut pair = Pair::with_limits(Limits::default(), taking(1, 1));
    let ids: Vec<_> = (0..5).map(|waiter| pair.call(waiter)).collect();
    pair.client_to_server();
    ids.iter().for_each(|id| pair.client.drop_call(*id));
    pair.client.lose();
    assert!(pair.client.is_at_rest());
    assert_eq!(pair.client.connection.cancels_due(), None);
}

/// A client that drops whatever it likes, whenever it likes, a network that delivers whenever it likes, and a server
/// that takes very little. It takes as few pings, too.
#[test]
fn random_floods_of_an_honest_side_are_never_sent_away() {
    for_each_seed(|seed| {
        let mut random = Random::new(seed);
        let (at_once, per_second) = (1 + random.below(20) as u32, 1 + random.below(50) as u32);
        let limits = taking(at_once, per_second).with_pings_per_second(1).with_calls(8);
        let mut pair = Pair::with_limits(Limits::default(), limits);
        // And whether they have streams.
        let mut open: Vec<(CallId, bool)> = Vec::new();
        let (mut to_server, mut to_client) = (VecDeque::new(), VecDeque::new());
        for step in 0..80 {
            match random.below(8) {
                0..=2 => {
                    let streams = random.one_in(2);
                    let enter = |_| match streams {
                        true => pair.client.open_call(step, pair.now, 0),
                        false => pair.call(step),
                    };
                    open.extend((0..random.below(6)).map(enter).map(|id| (id, streams)));
                }
                3 => open.drain(..).for_each(|(id, _)| pair.client.drop_call(id)),
                4 => deliver_to_server(&mut pair, &mut to_server, &mut random),
                5 => deliver_to_client(&mut pair, &mut to_client, &mut random),
                6 => pass(&mut pair, ms(random.below(300))),
                _ => pass(&mut pair, ms(random.below(5))),
            }
            to_server.extend(pair.client.output());
            to_client.extend(pair.server.output());
            assert!(pair.server.connection.running() <= 8);
            for (id, streams) in &mut open {
                if let Next::Granted = pair.client.poll(*id) {
                    *id = match streams {
                        true => pair.client.resume_open(*id, step, pair.now, 0),
                        false => pair.client.resume(*id, step, pair.now),
                    };
                }
            }
        }
        open.drain(..).for_each(|(id, _)| pair.client.drop_call(id));
        // All that is held goes in the end, and nothing runs that nobody waits for.
        for _ in 0..200 {
            to_server.extend(pair.client.output());
            let bytes: Vec<u8> = to_server.drain(..).collect();
            pair.server.receive(&bytes, pair.now).expect("an honest client");
            end_stopped(&mut pair);
            to_client.extend(pair.server.output());
            let bytes: Vec<u8> = to_client.drain(..).collect();
            pair.client.receive(&bytes, pair.now).expect("an honest server");
            if pair.server.connection.is_idle() && !pair.client.connection.has_output() {
                break;
            }
            pass(&mut pair, ms(60));
        }
        assert!(pair.server.is_at_rest() && pair.client.is_at_rest());
    });
}

fn deliver_to_server(pair: &mut Pair, bytes: &mut VecDeque<u8>, random: &mut Random) {
    let count = random.below(bytes.len() as u64 + 1) as usize;
    let bytes: Vec<u8> = bytes.drain(..count).collect();
    pair.server.receive(&bytes, pair.now).expect("an honest client");
    end_stopped(pair);
    for arrived in std::mem::take(&mut pair.server.arrived) {
        if let (CallKey::Stream(call), true) = (arrived.key, random.one_in(2)) {
            pair.server.open_reply(call);
        }
    }
}

fn deliver_to_client(pair: &mut Pair, bytes: &mut VecDeque<u8>, random: &mut Random) {
    let count = random.below(bytes.len() as u64 + 1) as usize;
    let bytes: Vec<u8> = bytes.drain(..count).collect();
    pair.client.receive(&bytes, pair.now).expect("an honest server");
}

/// Handlers that were stopped have ended.
fn end_stopped(pair: &mut Pair) {
    let stopped: Vec<_> = pair.server.stopped.drain(..).collect();
    stopped.into_iter().for_each(|key| pair.server.stop(key));
}

/// Lets time pass; signs of life are not what this is about.
fn pass(pair: &mut Pair, time: Duration) {
    let until = pair.now + time;
    while let Some(due) = due(pair).filter(|due| *due <= until) {
        pair.now = pair.now.max(due);
        pair.client.tick(pair.now).expect("nothing is owed for long");
        pair.server.tick(pair.now).expect("nothing is owed for long");
    }
    pair.now = until;
}

fn due(pair: &Pair) -> Option<Instant> {
    [&pair.client, &pair.server].into_iter().filter_map(|side| side.connection.poll_timeout()).min()
}
