//! How streams end: by themselves, with an error, stopped, cancelled at every point, at deadlines, with the connection.

use std::time::Duration;

use super::super::{CallId, CallKey, Leave, StreamKey, Taken, Violation};
use super::pair::{CONSUMER, Next, PRODUCER, Pair, Plain, Side, argument_of, key_of, reply_of};
use crate::failure::{Ending, Failure};
use crate::limits::{DRAIN_NOTICE, Limits};
use crate::marshal::Payload;
use crate::message::{GoAway, Reason, encode_goaway};
use crate::{Code, Error, Executed, Metadata};

const SECOND: Duration = Duration::from_secs(1);

fn at_rest(pair: &Pair) {
    assert!(pair.client.is_at_rest() && pair.server.is_at_rest());
}

/// A call with an argument that is a stream, whose reply streams as well.
fn both_ways() -> (Pair, CallId) {
    let mut pair = Pair::new();
    let id = open(&mut pair, None);
    (pair, id)
}

fn open(pair: &mut Pair, timeout: Option<Duration>) -> CallId {
    let deadline = timeout.map(|timeout| pair.now + timeout);
    let id = pair.client.call(1, pair.now, |call| Plain { streams: Some(1), deadline, ..call });
    pair.settle();
    assert!(pair.server.open_reply(id.number()));
    pair.settle();
    assert!(pair.client.outcome(id).is_ok());
    id
}

/// The next thing to come out of a stream is its end, which is an error.
fn fails(side: &mut Side, key: StreamKey) -> (Code, Executed) {
    match side.take_items(key, 0) {
        Taken::End(Err(Failure::Rpc(error))) => (error.code(), error.executed()),
        other => panic!("expected an error, got {other:?}"),
    }
}

fn ends(side: &mut Side, key: StreamKey) {
    let taken = side.take_items(key, 0);
    assert!(matches!(taken, Taken::End(Ok(()))), "{taken:?}");
}

// ---- ends ----

#[test]
fn every_end_arrives_as_it_was_said_and_once() {
    let app = || -> Ending { Err(Failure::App(Payload::from_slice(&[0xa1, b'x']))) };
    let rpc = || -> Ending { Err(Error::new(Code::DataLoss, "why").with_executed(Executed::Yes).into()) };
    let is = |ending: &Ending, taken: Taken| match (ending, taken) {
        (Ok(()), Taken::End(Ok(()))) => {}
        (Err(Failure::App(_)), Taken::End(Err(Failure::App(value)))) => {
            assert_eq!(value.as_slice(), [0xa1, b'x']);
        }
        (Err(Failure::Rpc(_)), Taken::End(Err(Failure::Rpc(error)))) => {
            assert_eq!(
                (error.code(), error.message(), error.executed()),
                (Code::DataLoss, "why", Executed::Yes)
            );
        }
        (ending, taken) => panic!("{ending:?} arrived as {taken:?}"),
    };
    for ending in [Ok(()), app(), rpc()] {
        let (mut pair, id) = both_ways();
        let ([out, into], [consumer, producer]) = (argument_of(id, 1), reply_of(id));
        pair.client.send(out, &[1]);
        pair.client.end_argument(out, &ending);
        // Once: the second is not sent.
        pair.client.end_argument(out, &ending);
        pair.settle();
        assert!(matches!(pair.server.take_items(into, 0), Taken::Items(_)));
        is(&ending, pair.server.take_items(into, 1));

        pair.server.send(producer, &[1]);
        match ending.clone() {
            Ok(()) => pair.server.reply(key_of(id), 0),
            Err(failure) => pair.server.fail(key_of(id), failure),
        }
        pair.settle();
        assert!(matches!(pair.client.take_items(consumer, 0), Taken::Items(_)));
        is(&ending, pair.client.take_items(consumer, 1));
        at_rest(&pair);
        assert_eq!((pair.client.connection.ignored(), pair.server.connection.ignored()), (0, 0));
    }
}

#[test]
fn an_end_that_is_too_large_for_the_other_side_says_so_instead() {
    let limits = || Limits::default().with_message_bytes(1_024);
    for failure in [
        Failure::App(Payload::from_slice(&[0; 2_000])),
        Error::new(Code::Internal, "x".repeat(2_000)).into(),
        Error::new(Code::Internal, "x").with_details(&"y".repeat(2_000)).into(),
    ] {
        let mut pair = Pair::with_limits(limits(), limits());
        let id = open(&mut pair, None);
        pair.client.end_argument(argument_of(id, 1)[0], &Err(failure.clone()));
        pair.server.fail(key_of(id), failure);
        pair.settle();
        assert_eq!(fails(&mut pair.client, reply_of(id)[0]), (Code::ResourceExhausted, Executed::Yes));
        at_rest(&pair);
    }
}

#[test]
fn a_handler_that_was_dropped_ends_its_streams() {
    let (mut pair, id) = both_ways();
    let dropped_before_it_replied = pair.client.open_call(2, pair.now, 0);
    pair.settle();
    pair.server.stop(key_of(id));
    pair.server.stop(key_of(dropped_before_it_replied));
    pair.settle();
    assert_eq!(fails(&mut pair.client, reply_of(id)[0]), (Code::Unavailable, Executed::Maybe));
    assert_eq!(pair.client.error(dropped_before_it_replied), (Code::Unavailable, Executed::Maybe));
    at_rest(&pair);
}

#[test]
fn what_came_before_the_final_message_is_taken_after_it() {
    let (mut pair, id) = both_ways();
    let [consumer, producer] = reply_of(id);
    for item in 0..10 {
        pair.server.send_one(producer, 5_000 + item);
    }
    pair.server.reply(key_of(id), 0);
    pair.settle();
    assert!(pair.server.is_at_rest());
    let (items, ending) = pair.client.drain(consumer);
    assert!(items.len() == 50_045 && matches!(ending, Some(Ok(()))));
    at_rest(&pair);
}

// ---- stopped ----

#[test]
fn a_receiver_that_wants_no_more_of_an_argument_stops_it_alone() {
    let mut pair = Pair::new();
    let id = pair.client.open_call(1, pair.now, 2);
    pair.settle();
    let ([out, into], [other_out, other_into]) = (argument_of(id, 1), argument_of(id, 2));
    pair.client.send(out, &[1]);
    assert!(!pair.client.is_over(out));
    pair.server.leave_stream(into);
    pair.server.leave_stream(into);
    // Crosses the stop on its way.
    pair.client.send(out, &[2]);
    pair.settle();
    assert_eq!(pair.client.woken, [PRODUCER + 1]);
    assert!(pair.client.is_over(out));
    assert_eq!(pair.client.send(out, &[3]), Leave::Over);
    // It ends all the same, so that a receiver may count on it.
    pair.client.end_argument(out, &Ok(()));
    assert!(pair.client.connection.has_output());
    pair.client.end_argument(out, &Ok(()));
    pair.settle();
    assert_eq!(pair.server.connection.ignored(), 3, "two messages of items and the end");

    assert_eq!(pair.client.send(other_out, &[4]), Leave::Given);
    pair.settle();
    assert_eq!(pair.server.drain(other_into).0, [4]);
    pair.server.reply(key_of(id), 5);
    pair.settle();
    assert!(pair.client.outcome(id).is_ok());
    at_rest(&pair);
}

#[test]
fn a_consumer_that_leaves_the_reply_cancels_the_call() {
    let (mut pair, id) = both_ways();
    let ([out, _], [consumer, producer]) = (argument_of(id, 1), reply_of(id));
    pair.server.send(producer, &[1]);
    assert!(!pair.client.is_over(out) && !pair.server.is_over(producer));
    pair.client.leave_stream(consumer);
    assert_eq!(pair.client.send(out, &[1]), Leave::Over);
    pair.client.end_argument(out, &Ok(()));
    pair.settle();
    assert_eq!(pair.server.stopped, [key_of(id)]);
    assert_eq!(pair.server.connection.ignored(), 0, "nothing follows a cancel");
    // What is on its way crosses, and is nobody's fault.
    pair.server.stop(key_of(id));
    pair.settle();
    at_rest(&pair);
}

// ---- cancelled ----

/// Cancels at every point of a call's life, with whatever crosses the cancel on its way.
#[test]
fn a_cancel_at_every_point_leaves_both_sides_at_rest() {
    #[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
    enum Point {
        NotHandedOver,
        OnItsWay,
        Arrived,
        ItemsSent,
        Replied,
        ReplyArrived,
        ReplyTaken,
        ItemsCame,
        Ended,
        EndArrived,
    }
    use Point::*;
    for point in [
        NotHandedOver,
        OnItsWay,
        Arrived,
        ItemsSent,
        Replied,
        ReplyArrived,
        ReplyTaken,
        ItemsCame,
        Ended,
        EndArrived,
    ] {
        let mut pair = Pair::new();
        let id = pair.client.open_call(1, pair.now, 1);
        let ([out, into], [consumer, producer]) = (argument_of(id, 1), reply_of(id));
        pair.client.send(out, &[1]);
        let mut on_its_way = Vec::new();
        if point >= OnItsWay {
            on_its_way = pair.client.output();
        }
        if point >= Arrived {
            pair.server.receive(&std::mem::take(&mut on_its_way), pair.now).expect("an honest client");
        }
        if point >= ItemsSent {
            pair.client.send(out, &[2]);
        }
        if point >= Replied {
            assert!(pair.server.open_reply(id.number()));
            pair.server.send(producer, &[3]);
        }
        if point >= ReplyArrived {
            pair.server_to_client();
        }
        if point >= ReplyTaken {
            assert!(pair.client.outcome(id).is_ok());
        }
        if point >= ItemsCame {
            assert!(matches!(pair.client.take_items(consumer, 0), Taken::Items(_)));
            pair.server.send(producer, &[4]);
        }
        if point >= Ended {
            pair.server.reply(key_of(id), 0);
        }
        if point >= EndArrived {
            pair.server_to_client();
        }
        if point >= ReplyTaken {
            pair.client.leave_stream(consumer);
        } else {
            pair.client.drop_call(id);
        }
        assert_eq!(pair.client.send(out, &[5]), Leave::Over, "{point:?}");
        pair.client.end_argument(out, &Ok(()));
        pair.server.receive(&on_its_way, pair.now).expect("an honest client");
        pair.settle();
        if point < Ended {
            assert_eq!(pair.server.stopped, [key_of(id)], "{point:?}");
            assert!(!pair.server.open_reply(id.number()), "{point:?}: nobody wants it");
            assert_eq!(pair.server.send(producer, &[6]), Leave::Over, "{point:?}");
            pair.server.drain(into);
            pair.server.stop(key_of(id));
        }
        pair.settle();
        at_rest(&pair);
        assert!(pair.client.woken.iter().all(|waiter| [1, CONSUMER, PRODUCER + 1].contains(waiter)));
    }
}

#[test]
fn a_cancelled_call_is_told_as_cancelled_to_whoever_asks_what_became_of_it() {
    for replied in [false, true] {
        let mut pair = Pair::new();
        let id = pair.client.open_call(1, pair.now, 0);
        pair.settle();
        if replied {
            assert!(pair.server.open_reply(id.number()));
        }
        // A cancel by hand: this side's bookkeeping still waits for what is said.
        pair.server.frame(&cancel(id), pair.now).expect("a cancel");
        pair.server.reply(key_of(id), 5);
        pair.settle();
        let (code, executed) = match replied {
            false => pair.client.error(id),
            true => {
                assert!(pair.client.outcome(id).is_ok());
                fails(&mut pair.client, reply_of(id)[0])
            }
        };
        assert_eq!((code, executed), (Code::Cancelled, Executed::Maybe), "whatever the handler did last");
        at_rest(&pair);
    }
}

fn cancel(id: CallId) -> Vec<u8> {
    let mut frame = vec![0x92, 6, 0xcf];
    frame.extend_from_slice(&id.number().to_be_bytes());
    frame
}

#[test]
fn a_handler_that_runs_on_after_a_cancel_finds_its_streams_ended() {
    let mut pair = Pair::with_limits(Limits::default().with_stream_bytes(10), Limits::default());
    let id = open(&mut pair, None);
    let ([out, into], [consumer, producer]) = (argument_of(id, 1), reply_of(id));
    pair.client.send(out, &[1]);
    pair.settle();
    pair.server.send(producer, &[1; 10]);
    assert_eq!(pair.server.send(producer, &[1]), Leave::Blocked);
    assert_eq!(pair.server.drain(into).0, [1]);
    pair.client.send(out, &[2]);
    pair.client.leave_stream(consumer);
    pair.settle();
    // It waits for credit and for items that never come: it must hear of that, or would run for ever.
    let mut woken = std::mem::take(&mut pair.server.woken);
    woken.retain(|waiter| *waiter == PRODUCER || *waiter == CONSUMER + 1);
    assert!(woken.contains(&PRODUCER) && woken.contains(&(CONSUMER + 1)), "{woken:?}");
    assert_eq!(pair.server.send(producer, &[1]), Leave::Over);
    assert!(matches!(pair.server.take_items(into, 0), Taken::Items(_)), "what had come is still there");
    assert_eq!(fails(&mut pair.server, into), (Code::Cancelled, Executed::Maybe));
    pair.server.leave_stream(into);
    pair.server.reply(key_of(id), 0);
    pair.settle();
    at_rest(&pair);
}

#[test]
fn a_cancel_of_a_call_that_was_not_started_is_answered() {
    let mut pair = Pair::new();
    let id = pair.client.open_call(1, pair.now, 1);
    let opened = pair.client.output();
    pair.client.drop_call(id);
    let cancel = pair.client.output();
    pair.server.receive_batch(&[opened, cancel].concat(), pair.now);
    pair.settle();
    at_rest(&pair);
    assert_eq!(pair.server.connection.ignored(), 0);
}

// ---- refused ----

#[test]
fn refused_opens_leave_nothing_and_what_follows_them_is_ignored() {
    let limits = || Limits::default().with_streams(1).with_metadata_bytes(100);
    let head = |id: u8, method: u8, timeout: u8| vec![0x97, 15, id, 0xa1, method, timeout];
    let open = |id: u8| [head(id, b'm', 0xc0), vec![0x80, 1, 0x90]].concat();
    let too_much = |id: u8| {
        let value = [&[0xd9, 100][..], &[b'v'; 100]].concat();
        [head(id, b'm', 0xc0), vec![0x81, 0xa1, b'n'], value, vec![1, 0x90]].concat()
    };
    let no_time = |id: u8| [head(id, b'm', 0), vec![0x80, 1, 0x90]].concat();
    let behind = |id: u8| [vec![0x94, 11, id, 1, 0x91, 7], vec![0x94, 12, id, 1, 0xc0]];
    for (refused, code) in [
        (open(9), Code::ResourceExhausted),
        (too_much(9), Code::ResourceExhausted),
        (no_time(9), Code::DeadlineExceeded),
    ] {
        let mut pair = Pair::with_limits(limits(), limits());
        let full = refused == open(9);
        if full {
            pair.server.frame(&open(8), pair.now).expect("a call");
        }
        let before = pair.server.arrived.len();
        pair.server.frame(&refused, pair.now).expect("a call");
        assert_eq!(pair.server.arrived.len(), before);
        for late in behind(9) {
            pair.server.frame(&late, pair.now).expect("it may have been on its way");
        }
        assert_eq!(pair.server.connection.ignored(), 2);
        let answer = pair.server.output();
        assert_eq!(answer[4..9], [0x94, 1, 9, 0x94, code.number()], "{answer:02x?}");
        if full {
            pair.server.reply(CallKey::Stream(8), 5);
            pair.server.frame(&open(9), pair.now).expect("a place is free");
            assert_eq!(pair.server.arrived.len(), 2);
        } else {
            assert!(pair.server.is_at_rest());
        }
    }
}

#[test]
fn an_unknown_method_is_refused_and_what_follows_is_ignored() {
    let mut pair = Pair::new();
    let id = pair.client.open_call(1, pair.now, 1);
    let [out, _] = argument_of(id, 1);
    pair.client.send(out, &[1]);
    pair.client.end_argument(out, &Ok(()));
    let bytes = pair.client.output();
    pair.server.receive_refusing(&bytes, pair.now);
    pair.settle();
    assert_eq!(pair.client.error(id), (Code::Unimplemented, Executed::No));
    assert_eq!(pair.server.connection.ignored(), 2);
    at_rest(&pair);
}

#[test]
fn a_drain_takes_opens_for_a_while_and_then_refuses_them() {
    let mut pair = Pair::new();
    let running = open(&mut pair, None);
    pair.server.connection.start_drain(pair.now);
    drop(pair.server.output());
    let early = pair.client.open_call(2, pair.now, 1);
    pair.settle();
    pair.wait(DRAIN_NOTICE);
    let late = pair.client.open_call(3, pair.now, 1);
    pair.client.send(argument_of(late, 1)[0], &[1]);
    pair.settle();
    assert_eq!(pair.client.error(late), (Code::Unavailable, Executed::No));
    assert!(!pair.server.connection.is_finished(pair.now), "streams are open");
    pair.server.reply(key_of(early), 5);
    assert!(!pair.server.connection.is_finished(pair.now), "one is");
    pair.server.send(reply_of(running)[1], &[1]);
    pair.server.reply(key_of(running), 0);
    assert!(pair.server.connection.is_finished(pair.now));
    pair.settle();
    assert!(pair.client.outcome(early).is_ok());
    assert!(matches!(pair.client.drain(reply_of(running)[0]), (items, Some(Ok(()))) if items == [1]));
    at_rest(&pair);
}

#[test]
fn metadata_beyond_the_limit_of_either_side_stops_the_stream_that_comes_with_it() {
    let metadata = |bytes| {
        let mut metadata = Metadata::default();
        metadata.insert("n", "v".repeat(bytes));
        metadata
    };
    // More than the caller takes: it fails the call, and nobody takes the stream.
    let mut pair = Pair::with_limits(Limits::default().with_metadata_bytes(100), Limits::default());
    let id = pair.client.open_call(1, pair.now, 0);
    pair.settle();
    assert!(pair.server.connection.open_reply(id.number(), Some(&metadata(200))));
    pair.settle();
    assert_eq!(pair.client.error(id), (Code::ResourceExhausted, Executed::Yes));
    assert_eq!(pair.server.stopped, [key_of(id)]);
    pair.server.stop(key_of(id));
    pair.settle();
    at_rest(&pair);

    // More than a frame that the caller takes: it is not sent.
    let mut pair = Pair::with_limits(Limits::default().with_message_bytes(1_024), Limits::default());
    let id = pair.client.open_call(1, pair.now, 0);
    pair.settle();
    assert!(!pair.server.connection.open_reply(id.number(), Some(&metadata(2_000))));
    pair.server.reply(key_of(id), 0);
    pair.settle();
    assert_eq!(pair.client.error(id), (Code::ResourceExhausted, Executed::Yes));
    at_rest(&pair);
}

// ---- deadlines ----

#[test]
fn a_deadline_before_the_reply_ends_the_call_on_both_sides() {
    let mut pair = Pair::new();
    let deadline = Some(pair.now + SECOND);
    let id = pair.client.call(1, pair.now, |call| Plain { streams: Some(1), deadline, ..call });
    let [out, into] = argument_of(id, 1);
    pair.settle();
    assert!(!pair.client.is_over(out));
    assert!(matches!(pair.server.take_items(into, 0), Taken::Wait));
    pair.wait(SECOND);
    assert_eq!(pair.client.error(id), (Code::DeadlineExceeded, Executed::Maybe));
    assert_eq!(pair.client.send(out, &[1]), Leave::Over);
    assert_eq!(pair.server.stopped, [key_of(id)]);
    assert_eq!(pair.server.woken, [CONSUMER + 1]);
    assert_eq!(fails(&mut pair.server, into), (Code::DeadlineExceeded, Executed::Maybe));
    assert!(!pair.server.open_reply(id.number()));
    pair.server.stop(key_of(id));
    pair.settle();
    at_rest(&pair);
}

#[test]
fn a_deadline_after_the_reply_ends_the_stream_on_both_sides() {
    for taken_before_the_end_comes in [true, false] {
        let mut pair = Pair::new();
        let id = open(&mut pair, Some(SECOND));
        let [consumer, producer] = reply_of(id);
        pair.server.send(producer, &[1]);
        pair.settle();
        assert_eq!(pair.client.drain(consumer).0, [1]);
        assert!(!pair.server.is_over(producer));
        pair.client.woken.clear();
        pair.wait(SECOND);
        assert_eq!(pair.client.woken, [CONSUMER]);
        assert_eq!(pair.server.stopped, [key_of(id)]);
        if taken_before_the_end_comes {
            assert_eq!(fails(&mut pair.client, consumer), (Code::DeadlineExceeded, Executed::Maybe));
        }
        pair.server.send(producer, &[2]);
        pair.server.stop(key_of(id));
        pair.settle();
        if !taken_before_the_end_comes {
            assert_eq!(fails(&mut pair.client, consumer), (Code::DeadlineExceeded, Executed::Maybe));
        }
        at_rest(&pair);
    }
}

#[test]
fn either_side_keeps_a_deadline_by_itself() {
    for replied in [false, true] {
        for late in ["client", "server"] {
            let mut pair = Pair::new();
            let deadline = Some(pair.now + SECOND);
            let id = pair.client.call(1, pair.now, |call| Plain { streams: Some(0), deadline, ..call });
            pair.settle();
            if replied {
                pair.server.open_reply(id.number());
                pair.settle();
                assert!(pair.client.outcome(id).is_ok());
            }
            pair.now += SECOND;
            match late {
                "client" => pair.server.tick(pair.now).expect("nothing else is due"),
                _ => pair.client.tick(pair.now).expect("nothing else is due"),
            }
            pair.settle();
            assert_eq!(pair.server.stopped, [key_of(id)], "{late} keeps no time");
            pair.server.stop(key_of(id));
            pair.settle();
            let (code, executed) = match replied {
                true => fails(&mut pair.client, reply_of(id)[0]),
                false => pair.client.error(id),
            };
            assert_eq!((code, executed), (Code::DeadlineExceeded, Executed::Maybe), "{late} keeps no time");
            at_rest(&pair);
        }
    }
}

#[test]
fn what_has_ended_before_the_deadline_may_be_taken_after_it() {
    let mut pair = Pair::new();
    let id = open(&mut pair, Some(SECOND));
    pair.server.send(reply_of(id)[1], &[1]);
    pair.server.reply(key_of(id), 0);
    pair.settle();
    pair.wait(2 * SECOND);
    assert!(matches!(pair.client.drain(reply_of(id)[0]), (items, Some(Ok(()))) if items == [1]));
    at_rest(&pair);
}

// ---- the connection's end ----

#[test]
fn a_lost_connection_ends_every_stream_with_what_had_come_before() {
    let (mut pair, id) = both_ways();
    let ([out, into], [consumer, producer]) = (argument_of(id, 1), reply_of(id));
    let ended = open(&mut pair, None);
    pair.server.send(reply_of(ended)[1], &[7]);
    pair.server.reply(key_of(ended), 0);
    let unanswered = pair.client.open_call(3, pair.now, 1);
    pair.client.send(out, &[1]);
    pair.server.send(producer, &[2]);
    pair.settle();
    assert!(!pair.client.is_over(out) && !pair.server.is_over(producer));
    pair.client.woken.clear();
    pair.client.lose();
    pair.server.lose();
    assert_eq!(pair.client.error(unanswered), (Code::Unavailable, Executed::Maybe));
    for (side, consumer, producer, item) in
        [(&mut pair.client, consumer, out, 2), (&mut pair.server, into, producer, 1)]
    {
        assert_eq!(side.send(producer, &[3]), Leave::Over);
        assert!(side.is_over(producer));
        let Taken::Items(chunk) = side.take_items(consumer, 0) else { panic!("it had come") };
        assert_eq!(chunk.bytes.as_slice(), [item]);
        assert_eq!(fails(side, consumer), (Code::Unavailable, Executed::Maybe));
    }
    assert!(matches!(pair.client.drain(reply_of(ended)[0]), (items, Some(Ok(()))) if items == [7]));
    assert!(pair.client.woken.contains(&3) && pair.server.woken.contains(&PRODUCER));
    for key in [key_of(id), key_of(unanswered)] {
        assert!(pair.server.stopped.contains(&key));
        pair.server.stop(key);
    }
    at_rest(&pair);
    assert!(!pair.client.connection.has_output() && !pair.server.connection.has_output());
}

#[test]
fn streams_that_are_left_after_the_connection_are_forgotten() {
    let (mut pair, id) = both_ways();
    pair.server.send(reply_of(id)[1], &[1]);
    pair.settle();
    pair.client.lose();
    pair.client.leave_stream(reply_of(id)[0]);
    assert!(pair.client.is_at_rest());
    pair.server.lose();
    pair.server.leave_stream(argument_of(id, 1)[1]);
    pair.server.stop(key_of(id));
    assert!(pair.server.is_at_rest());
}

#[test]
fn a_goaway_with_a_reason_ends_streams_and_says_which_were_never_taken() {
    let (mut pair, id) = both_ways();
    let cancelled = pair.client.open_call(2, pair.now, 1);
    pair.client.drop_call(cancelled);
    let never_taken = pair.client.open_call(3, pair.now, 1);
    drop(pair.client.output());
    pair.server.violated(&Violation::new(Reason::Protocol, "enough"));
    pair.server_to_client();
    assert_eq!(fails(&mut pair.client, reply_of(id)[0]), (Code::Unavailable, Executed::Maybe));
    assert!(pair.client.is_moved(never_taken));
    assert_eq!(pair.client.send(argument_of(id, 1)[0], &[1]), Leave::Over);
    assert_eq!(pair.client.send(argument_of(never_taken, 1)[0], &[1]), Leave::Over);
    pair.server.stop(key_of(id));
    at_rest(&pair);
}

#[test]
fn a_drain_moves_opens_that_were_not_taken_and_finishes_the_others() {
    let (mut pair, id) = both_ways();
    let (moved, cancelled) = (pair.client.open_call(2, pair.now, 1), pair.client.open_call(3, pair.now, 1));
    pair.client.drop_call(cancelled);
    drop(pair.client.output());
    let mut frame = Vec::new();
    encode_goaway(&mut frame, &GoAway { last_id: id.number(), reason: Reason::Drain, message: "" });
    pair.client.frame(&frame, pair.now).expect("a goaway");
    assert!(pair.client.is_moved(moved));
    assert_eq!(pair.client.send(argument_of(moved, 1)[0], &[1]), Leave::Over);
    assert_eq!(pair.client.send(argument_of(id, 1)[0], &[1]), Leave::Given);
    pair.server.send(reply_of(id)[1], &[1]);
    pair.server.reply(key_of(id), 0);
    pair.settle();
    assert!(matches!(pair.client.drain(reply_of(id)[0]), (items, Some(Ok(()))) if items == [1]));
    at_rest(&pair);
}

#[test]
fn a_half_closed_side_gets_its_streams_as_far_as_its_credit_goes() {
    const WINDOW: usize = 10;
    let limits = || Limits::default().with_stream_bytes(WINDOW).with_max_stream_bytes(WINDOW);
    for (items, whole) in [(WINDOW, true), (WINDOW + 1, false)] {
        let mut pair = Pair::with_limits(limits(), limits());
        let id = open(&mut pair, None);
        let ([_, into], [consumer, producer]) = (argument_of(id, 1), reply_of(id));
        assert!(!pair.server.is_over(producer));
        pair.client.connection.retire(pair.now, false);
        pair.client_to_server();
        pair.server.woken.clear();
        pair.server.end_of_bytes();
        assert_eq!(pair.server.woken, [PRODUCER]);
        assert_eq!(fails(&mut pair.server, into), (Code::Unavailable, Executed::Maybe));
        assert!(pair.server.stopped.is_empty(), "it still takes what it asked for");
        let mut sent = 0;
        while sent < items && pair.server.send(producer, &[1]) == Leave::Given {
            sent += 1;
        }
        assert_eq!(sent, WINDOW);
        // The handler ends well either way: it need not know that nobody can want more of it.
        pair.server.reply(key_of(id), 0);
        pair.server_to_client();
        let (came, ending) = pair.client.drain(consumer);
        assert_eq!(came.len(), WINDOW);
        match (whole, ending) {
            (true, Some(Ok(()))) => {}
            (false, Some(Err(Failure::Rpc(error)))) => assert_eq!(error.code(), Code::Unavailable),
            (whole, ending) => panic!("whole: {whole}, but {ending:?}"),
        }
        pair.client.end_argument(argument_of(id, 1)[0], &Ok(()));
        at_rest(&pair);
    }
}

#[test]
fn case_96_when_ids_are_used_up_open_calls_are_finished() {
    let mut pair = Pair::new();
    pair.client.connection.use_up_ids(1);
    let id = open(&mut pair, None);
    let entry = pair.client.enter(2, pair.now, |call| Plain { streams: Some(0), ..call });
    assert!(matches!(entry, super::super::Entry::Ended(super::super::CallFailure::Moved)));
    assert!(!pair.client.connection.is_finished(pair.now));
    pair.server.send(reply_of(id)[1], &[1]);
    pair.settle();
    assert_eq!(pair.client.drain(reply_of(id)[0]).0, [1]);
    assert!(!pair.client.connection.is_finished(pair.now), "there may be more");
    pair.server.reply(key_of(id), 0);
    pair.settle();
    assert!(pair.client.connection.is_finished(pair.now));
    ends(&mut pair.client, reply_of(id)[0]);
    at_rest(&pair);
}

#[test]
fn an_open_call_that_waits_for_a_connection_gets_it() {
    let mut pair = Pair::connecting(Limits::default(), Limits::default());
    let id = pair.client.open_call(1, pair.now, 1);
    pair.open();
    assert!(matches!(pair.client.poll(id), Next::Granted));
    let id = pair.client.resume_open(id, 1, pair.now, 1);
    assert_eq!(pair.client.send(argument_of(id, 1)[0], &[1]), Leave::Given);
    pair.settle();
    assert_eq!(pair.server.drain(argument_of(id, 1)[1]).0, [1]);
}
