//! How a connection ends, and what its calls learn of it: drained, broken, lost, used up.

use std::time::Duration;

use super::super::{CallFailure, CallId};
use super::super::{CallKey, Entry, Violation};
use super::pair::{Next, Pair, Plain, argument_of};
use crate::limits::{DRAIN_NOTICE, Limits};
use crate::message::{GoAway, Reason, encode_goaway};
use crate::{Code, Error, Executed};

fn goaway(last_id: u64, reason: Reason) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_goaway(&mut frame, &GoAway { last_id, reason, message: "why" });
    frame
}

fn key(id: CallId) -> CallKey {
    CallKey::Call(id.number())
}

// ---- drained ----

#[test]
fn a_drain_finishes_what_runs_and_what_was_on_its_way() {
    let mut pair = Pair::new();
    let running = pair.call(1);
    pair.settle();
    // Sent before the client can know.
    let on_its_way = pair.call(2);
    pair.server.connection.start_drain(pair.now);
    assert!(!pair.server.connection.is_finished(pair.now));
    pair.client_to_server();
    assert_eq!(pair.server.arrived.len(), 2, "both are taken");

    pair.server_to_client();
    assert!(!pair.client.connection.takes_calls());
    assert!(matches!(pair.client.enter(3, pair.now, |call| call), Entry::Ended(CallFailure::Moved)));
    for id in [running, on_its_way] {
        assert!(matches!(pair.client.poll(id), Next::Pending));
        pair.server.reply(key(id), 5);
    }
    pair.settle();
    for id in [running, on_its_way] {
        assert_eq!(pair.client.outcome(id).expect("a value").as_slice(), [5]);
    }
    assert!(pair.server.connection.is_finished(pair.now), "the client has said that it is gone");
    assert!(pair.client.connection.is_finished(pair.now));
}

#[test]
fn a_drain_moves_calls_that_wait() {
    let mut pair = Pair::with_limits(Limits::default(), Limits::default().with_calls(1));
    let sent = pair.call(1);
    let granted = pair.call(2);
    let waiting = pair.call(3);
    pair.settle();
    pair.server.reply(key(sent), 5);
    pair.settle();
    assert!(matches!(pair.client.poll(granted), Next::Granted));
    pair.server.connection.start_drain(pair.now);
    pair.settle();
    assert!(pair.client.is_moved(granted) && pair.client.is_moved(waiting));
    assert_eq!(pair.client.outcome(sent).expect("a value").as_slice(), [5]);
    assert_eq!(pair.client.connection.calls(), 0);
}

#[test]
fn a_drain_refuses_calls_after_its_notice() {
    let mut pair = Pair::new();
    pair.server.connection.start_drain(pair.now);
    drop(pair.server.output());
    let early = pair.call(1);
    pair.client_to_server();
    assert_eq!(pair.server.arrived.len(), 1);
    pair.wait(DRAIN_NOTICE);
    let late = pair.call(2);
    pair.settle();
    assert_eq!(pair.client.error(late), (Code::Unavailable, Executed::No));
    pair.server.reply(key(early), 5);
    pair.settle();
    assert!(pair.client.outcome(early).is_ok());
    assert!(pair.server.connection.is_finished(pair.now));
}

#[test]
fn a_drain_that_began_before_the_hello_is_told_with_it() {
    let mut pair = Pair::connecting(Limits::default(), Limits::default());
    pair.server.connection.start_drain(pair.now);
    let waiting = pair.call(1);
    pair.open();
    pair.server_to_client();
    assert!(pair.client.is_moved(waiting));
}

#[test]
fn both_sides_may_drain_at_once() {
    let mut pair = Pair::new();
    let id = pair.call(1);
    pair.settle();
    pair.client.connection.retire(pair.now, false);
    pair.server.connection.start_drain(pair.now);
    pair.settle();
    pair.server.reply(key(id), 5);
    pair.settle();
    assert!(pair.client.outcome(id).is_ok());
    assert!(pair.client.connection.is_finished(pair.now) && pair.server.connection.is_finished(pair.now));
}

#[test]
fn many_goaways_are_answered_once() {
    let mut pair = Pair::new();
    for _ in 0..1_000 {
        pair.server.frame(&goaway(0, Reason::Drain), pair.now).expect("a sound envelope");
    }
    assert!(pair.server.output().len() < 100);
}

// ---- broken ----

#[test]
fn a_side_that_broke_the_protocol_learns_which_of_its_calls_were_never_taken() {
    let mut pair = Pair::new();
    let taken = pair.call(1);
    pair.settle();
    // These never reach the server, which has had enough.
    let never_taken = pair.call(2);
    drop(pair.client.output());
    pair.server.violated(&Violation::new(Reason::Protocol, "enough"));
    assert_eq!(pair.server.stopped, [key(taken)]);
    pair.server_to_client();
    assert_eq!(pair.client.error(taken), (Code::Unavailable, Executed::Maybe));
    assert!(pair.client.is_moved(never_taken));
    assert_eq!(pair.client.connection.calls(), 0);
    assert!(!pair.client.connection.takes_calls());
}

#[test]
fn every_reason_ends_every_call_once() {
    for reason in
        [Reason::Protocol, Reason::Frame, Reason::Stall, Reason::Calm, Reason::Exhausted, Reason::Other]
    {
        let mut pair = Pair::with_limits(Limits::default(), Limits::default().with_calls(2));
        let ids: Vec<_> = (0..4).map(|waiter| pair.call(waiter)).collect();
        pair.settle();
        pair.client.frame(&goaway(ids[0].number(), reason), pair.now).expect("a sound envelope");
        assert_eq!(pair.client.woken, [0, 1, 2, 3], "{reason:?}");
        assert_eq!(pair.client.error(ids[0]), (Code::Unavailable, Executed::Maybe));
        for id in &ids[1..] {
            assert!(pair.client.is_moved(*id), "{reason:?}");
        }
        pair.client.lose();
        assert_eq!(pair.client.woken.len(), 4, "no second outcome");
    }
}

#[test]
fn calls_that_go_elsewhere_do_not_go_with_the_last_words_too() {
    for ended_by_peer in [false, true] {
        let mut pair = Pair::new();
        let sent = pair.call(1);
        drop(pair.client.output());
        let dropped = pair.call(2);
        let queued = [3, 4, 5].map(|waiter| pair.call(waiter));
        let stream = pair.client.open_call(6, pair.now, 0);
        let uploading = pair.client.open_call(7, pair.now, 1);
        pair.client.send(argument_of(uploading, 1)[0], b"\x01");
        let last = pair.call(8);
        pair.client.drop_call(dropped);
        if ended_by_peer {
            pair.client.end_of_bytes();
        } else {
            pair.client.violated(&Violation::new(Reason::Stall, "no sign of life"));
        }

        for id in [sent, uploading] {
            assert_eq!(pair.client.error(id), (Code::Unavailable, Executed::Maybe));
        }
        for id in queued.into_iter().chain([stream, last]) {
            assert!(pair.client.is_moved(id));
        }
        pair.client_to_server();
        let arrived: Vec<_> = pair.server.arrived.iter().map(|arrived| arrived.key).collect();
        assert_eq!(arrived, [CallKey::Stream(uploading.number())], "and with it its items");
    }
}

// ---- lost ----

#[test]
fn a_lost_connection_ends_each_call_by_how_far_it_got() {
    let mut pair = Pair::with_limits(Limits::default(), Limits::default().with_calls(4));
    let answered = pair.call(1);
    let handed_over = pair.call(2);
    pair.settle();
    pair.server.reply(key(answered), 5);
    pair.settle();
    let queued = pair.call(3);
    let more = [4, 5].map(|waiter| pair.call(waiter));
    let waiting = pair.call(6);
    pair.client.lose();

    assert_eq!(pair.client.outcome(answered).expect("the answer had come").as_slice(), [5]);
    assert_eq!(pair.client.error(handed_over), (Code::Unavailable, Executed::Maybe));
    assert!(pair.client.is_moved(queued), "no transport has had it");
    assert!(more.into_iter().all(|id| pair.client.is_moved(id)));
    assert!(pair.client.is_moved(waiting));
    pair.client.woken.sort_unstable();
    assert_eq!(pair.client.woken, [1, 2, 3, 4, 5, 6], "each once");
    assert_eq!(pair.client.connection.calls(), 0);
    assert!(matches!(pair.client.enter(7, pair.now, |call| call), Entry::Ended(CallFailure::Moved)));
}

#[test]
fn a_call_taken_out_of_the_queue_does_not_change_what_the_others_learn() {
    let mut pair = Pair::new();
    let dropped = pair.call(1);
    let first = pair.call(2);
    pair.client.drop_call(dropped);
    let second = pair.call(3);
    drop(pair.client.output());
    let queued = pair.call(4);
    pair.client.lose();
    assert_eq!(pair.client.error(first), (Code::Unavailable, Executed::Maybe));
    assert_eq!(pair.client.error(second), (Code::Unavailable, Executed::Maybe));
    assert!(pair.client.is_moved(queued));
}

#[test]
fn a_lost_connection_stops_what_runs() {
    let mut pair = Pair::new();
    let ids = [1, 2].map(|waiter| pair.call(waiter));
    pair.settle();
    pair.server.lose();
    let mut stopped = pair.server.stopped.clone();
    stopped.sort_by_key(|key| key.reply_id());
    assert_eq!(stopped, ids.map(key));
    // They count until they have ended, and say nothing to nobody.
    ids.into_iter().for_each(|id| pair.server.reply(key(id), 1));
    assert_eq!(pair.server.connection.running(), 0);
    assert!(!pair.server.connection.has_output());
}

#[test]
fn the_end_of_a_side_that_drained_ends_what_it_still_owed_and_not_what_it_is_owed() {
    let mut pair = Pair::new();
    let owed = pair.call(1);
    pair.settle();
    pair.server.connection.start_drain(pair.now);
    pair.settle();
    let queued = pair.call_of_server(9);
    pair.client.end_of_bytes();
    assert_eq!(pair.client.error(owed), (Code::Unavailable, Executed::Maybe));
    assert!(pair.client.stopped.is_empty(), "the other side still takes replies");
    pair.client.reply(CallKey::Call(queued), 5);
    assert!(pair.client.connection.has_output());
}

#[test]
fn calls_without_time_to_wait_learn_why_there_is_no_connection() {
    let mut pair = Pair::connecting(Limits::default(), Limits::default());
    let hasty = pair.call(1);
    let deadline = pair.now + Duration::from_secs(5);
    let timed = pair.client.call(2, pair.now, |call| Plain { deadline: Some(deadline), ..call });
    let patient = pair.client.call(3, pair.now, |call| Plain { patient: true, ..call });
    pair.client.attempt_failed(&Error::not_executed(Code::Unavailable, "refused"));
    assert_eq!(pair.client.error(hasty), (Code::Unavailable, Executed::No));
    assert!(matches!(pair.client.poll(timed), Next::Pending));
    assert!(matches!(pair.client.poll(patient), Next::Pending));
    // Later ones do not wait for the next failure.
    let entry = pair.client.enter(4, pair.now, |call| call);
    assert!(matches!(entry, Entry::Ended(CallFailure::Rpc(_))));
    pair.wait(Duration::from_secs(5));
    assert_eq!(pair.client.error(timed), (Code::DeadlineExceeded, Executed::No));
    pair.open();
    assert!(matches!(pair.client.poll(patient), Next::Granted));
}

// ---- used up ----

#[test]
fn case_96_when_ids_are_used_up_calls_move_and_the_last_ones_are_finished() {
    let mut pair = Pair::new();
    pair.client.connection.use_up_ids(1);
    let last = pair.call(1);
    pair.settle();
    assert!(matches!(pair.client.enter(2, pair.now, |call| call), Entry::Ended(CallFailure::Moved)));
    assert!(!pair.client.connection.takes_calls());
    assert!(!pair.client.connection.is_finished(pair.now));
    pair.server.reply(key(last), 5);
    pair.settle();
    assert_eq!(pair.client.outcome(last).expect("a value").as_slice(), [5]);
    assert!(pair.client.connection.is_finished(pair.now), "its place is free for a new connection");
}

#[test]
fn case_96_ids_that_are_used_up_while_a_call_waits_move_it() {
    let mut pair = Pair::with_limits(Limits::default(), Limits::default().with_calls(1));
    pair.client.connection.use_up_ids(3);
    let last = pair.call(1);
    let waiting = [2, 3].map(|waiter| pair.call(waiter));
    pair.settle();
    pair.server.reply(key(last), 5);
    pair.settle();
    for id in waiting {
        assert!(matches!(pair.client.poll(id), Next::Granted));
        assert!(pair.client.cannot_resume(id, pair.now), "sending takes an id of its own");
    }
    assert!(pair.client.outcome(last).is_ok());
    assert_eq!(pair.client.connection.calls(), 0);
}
