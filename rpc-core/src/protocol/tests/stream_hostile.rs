//! Messages about streams that no honest side sends, and those that only look so.

use super::super::{CallId, CallKey, Caller, Leave, StreamKey, Taken};
use super::pair::{Pair, Plain, argument_of, key_of, reply_of};
use crate::limits::Limits;
use crate::marshal::Payload;
use crate::message::{GoAway, Reason, encode_goaway};
use crate::{Code, Executed};

const WINDOW: usize = 10;

fn limits() -> Limits {
    Limits::default().with_stream_bytes(WINDOW).with_max_stream_bytes(WINDOW)
}

fn uint(value: u64) -> Vec<u8> {
    [&[0xcf][..], &value.to_be_bytes()].concat()
}

/// `[kind, id, stream, last]`
fn about(kind: u8, id: u64, stream: u8, last: &[u8]) -> Vec<u8> {
    [&[0x94, kind][..], &uint(id), &[0xcc, stream], last].concat()
}

fn items(id: u64, stream: u8, items: &[u8]) -> Vec<u8> {
    let mut array = vec![0xdd];
    array.extend_from_slice(&(items.len() as u32).to_be_bytes());
    array.extend_from_slice(items);
    about(11, id, stream, &array)
}

fn end(id: u64, stream: u8) -> Vec<u8> {
    about(12, id, stream, &[0xc0])
}

fn credit(id: u64, stream: u8, bytes: u64) -> Vec<u8> {
    about(13, id, stream, &uint(bytes))
}

fn stop(id: u64, stream: u8) -> Vec<u8> {
    about(13, id, stream, &[0xc0])
}

fn blocked(id: u64, stream: u8) -> Vec<u8> {
    [&[0x93, 64][..], &uint(id), &[0xcc, stream]].concat()
}

/// `[15, id, "m", nil, {}, streams, []]`
fn open(id: u64, streams: u8) -> Vec<u8> {
    [&[0x97, 15][..], &uint(id), &[0xa1, b'm', 0xc0, 0x80, 0xcc, streams, 0x90]].concat()
}

fn response(id: u64, error: &[u8], result: &[u8]) -> Vec<u8> {
    [&[0x94, 1][..], &uint(id), error, result].concat()
}

fn stream_reply(id: u64) -> Vec<u8> {
    response(id, &[0xc0], &[0xd4, 1, 0])
}

fn goaway(last_id: u64, reason: Reason) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_goaway(&mut frame, &GoAway { last_id, reason, message: "" });
    frame
}

/// A server with call 7 open, which has two arguments that are streams, and 9 as the highest id it has seen.
fn serving() -> Pair {
    let mut pair = Pair::with_limits(limits(), limits());
    pair.server.frame(&open(7, 2), pair.now).expect("a call");
    pair.server.frame(&open(9, 0), pair.now).expect("a call");
    pair.server.reply(CallKey::Stream(9), 0);
    pair
}

/// A client with a call open that has an argument, and whose reply streams.
fn calling() -> (Pair, CallId) {
    let mut pair = Pair::with_limits(limits(), limits());
    let id = pair.client.open_call(1, pair.now, 1);
    pair.client.frame(&stream_reply(id.number()), pair.now).expect("a reply");
    assert!(pair.client.outcome(id).is_ok());
    (pair, id)
}

#[test]
fn a_receiver_tells_late_messages_from_those_that_must_not_come() {
    let late: &[(&str, Vec<u8>)] = &[
        ("items of a call that is over", items(9, 1, &[1])),
        ("items of a call that was refused or never had streams", items(8, 16, &[1])),
        ("an end of a call that is over", end(9, 1)),
        ("credit for a call that is over", credit(9, 0, u64::MAX)),
        ("a stop for a call that is over", stop(9, 0)),
    ];
    for (what, message) in late {
        let mut pair = serving();
        pair.server
            .frame(message, pair.now)
            .unwrap_or_else(|violation| panic!("{what}: {}", violation.message));
        assert_eq!(pair.server.connection.ignored(), 1, "{what}");
    }
    let mut pair = serving();
    for stream in [0, 1, 2, 3] {
        for id in [7, 8, 9, 10, u64::MAX] {
            pair.server.frame(&blocked(id, stream), pair.now).expect("an optional message");
        }
    }
    let wrong: &[(&str, Vec<u8>)] = &[
        ("items of a call that was never made", items(10, 1, &[1])),
        ("an end of a call that was never made", end(u64::MAX, 1)),
        ("credit for a call that was never made", credit(10, 0, 1)),
        ("items of a reply that nobody asked for", items(7, 0, &[1])),
        ("an end of a reply that nobody asked for", end(7, 0)),
        ("credit for a reply that was not given", credit(7, 0, 1)),
        ("a stop for a reply that was not given", stop(7, 0)),
        ("credit for an argument of a call that this side never made", credit(7, 1, 1)),
        ("items of an argument beyond those declared", items(7, 3, &[1])),
        ("an end of an argument beyond those declared", end(7, 16)),
        ("a stream 17", items(7, 17, &[1])),
        ("a stream 255", credit(7, 255, 1)),
        ("an open with 17 streams", open(11, 17)),
        ("an open with an id in use", open(7, 1)),
        ("items that are no array", about(11, 7, 1, &[0x01])),
        ("bytes behind no items", about(11, 7, 1, &[0x90, 1])),
        ("bytes behind an end", about(12, 7, 1, &[0xc0, 1])),
        ("a credit that is negative", about(13, 7, 0, &[0xff])),
    ];
    for (what, message) in wrong {
        let mut pair = serving();
        let violation = pair.server.frame(message, pair.now).expect_err(what);
        assert_eq!(violation.reason, Reason::Protocol, "{what}: {}", violation.message);
        assert_eq!(pair.server.arrived.len(), 2, "{what}");
    }
}

#[test]
fn a_caller_tells_late_messages_from_those_that_must_not_come() {
    type Make = fn(u64) -> Vec<u8>;
    let wrong: &[(&str, Make)] = &[
        ("items of a call that was never made", |id| items(id + 1, 0, &[1])),
        ("an end of a call that was never made", |_| end(u64::MAX, 0)),
        ("credit for a call that was never made", |_| credit(0, 1, 1)),
        ("credit for an argument beyond those declared", |id| credit(id, 2, 1)),
        ("items of an argument, which go the other way", |id| items(id, 1, &[1])),
        ("a reply to a call that was never made", |id| stream_reply(id + (1 << 20))),
    ];
    for (what, make) in wrong {
        let (mut pair, id) = calling();
        let violation = pair.client.frame(&make(id.number()), pair.now).expect_err(what);
        assert_eq!(violation.reason, Reason::Protocol, "{what}: {}", violation.message);
    }
    let after_the_end: &[(&str, Make)] = &[
        ("items after the end", |id| items(id, 0, &[1])),
        ("a second end", |id| end(id, 0)),
        ("credit for an argument", |id| credit(id, 1, 1)),
        ("a stop of an argument", |id| stop(id, 1)),
    ];
    for (what, make) in after_the_end {
        for taken in [false, true] {
            let (mut pair, id) = calling();
            pair.client.frame(&end(id.number(), 0), pair.now).expect("an end");
            if taken {
                pair.client.drain(reply_of(id)[0]);
            }
            pair.client.frame(&make(id.number()), pair.now).expect_err(what);
        }
    }
    let before_the_reply: &[(&str, Make)] =
        &[("items", |id| items(id, 0, &[1])), ("an end", |id| end(id, 0))];
    for (what, make) in before_the_reply {
        let mut pair = Pair::with_limits(limits(), limits());
        let id = pair.client.open_call(1, pair.now, 1);
        let violation = pair.client.frame(&make(id.number()), pair.now).expect_err(what);
        assert_eq!(violation.reason, Reason::Protocol, "{what}");
        pair.client.violated(&violation);
        assert!(pair.client.outcome(id).is_err());
        assert!(pair.client.is_at_rest());
    }
    // Whoever has gone does not mind what was on its way, up to the end.
    let (mut pair, id) = calling();
    pair.client.leave_stream(reply_of(id)[0]);
    for late in [items(id.number(), 0, &[1; 1_000]), items(id.number(), 0, &[1]), credit(id.number(), 1, 1)] {
        pair.client.frame(&late, pair.now).expect("it may have been on its way");
    }
    pair.client.frame(&end(id.number(), 0), pair.now).expect("an end");
    assert_eq!(pair.client.connection.ignored(), 4);
    assert!(pair.client.is_at_rest());
    pair.client.frame(&items(id.number(), 0, &[1]), pair.now).expect_err("after the end");
}

#[test]
fn items_beyond_credit_are_too_much() {
    for first in [WINDOW, WINDOW + 1, 100 * WINDOW] {
        let mut pair = serving();
        pair.server.frame(&items(7, 1, &vec![1; first]), pair.now).expect("one message may go beyond");
        let violation = pair.server.frame(&items(7, 1, &[1]), pair.now).expect_err("no credit is left");
        assert_eq!(violation.reason, Reason::Calm);
        // The other argument has credit of its own.
        let mut pair = serving();
        pair.server.frame(&items(7, 1, &vec![1; first]), pair.now).expect("one message may go beyond");
        pair.server.frame(&items(7, 2, &[1; WINDOW]), pair.now).expect("it has credit of its own");
        // And with what is given for the items that were consumed it goes on.
        assert_eq!(pair.server.drain(argument_of_7(1)).0.len(), first);
        pair.server.frame(&items(7, 1, &[1; WINDOW]), pair.now).expect("credit was given");
        pair.server.frame(&items(7, 1, &[1]), pair.now).expect_err("and no more of it");
    }
}

fn argument_of_7(stream: u8) -> StreamKey {
    StreamKey::argument(Caller::There, 7, stream)
}

#[test]
fn credit_beyond_all_measure_is_a_violation() {
    let (mut pair, id) = calling();
    for (bytes, fits) in [
        (0, true),
        (1, true),
        ((1 << 62) - 1 - WINDOW as u64, true),
        (1, false),
        (i64::MAX as u64, false),
        (u64::MAX, false),
    ] {
        let result = pair.client.frame(&credit(id.number(), 1, bytes), pair.now);
        assert_eq!(result.is_ok(), fits, "{bytes}");
        if let Err(violation) = result {
            assert_eq!(violation.reason, Reason::Protocol);
        }
    }
}

#[test]
fn a_stop_counts_once_and_credit_after_it_for_nothing() {
    let (mut pair, id) = calling();
    let [out, _] = argument_of(id, 1);
    for message in [stop(id.number(), 1), stop(id.number(), 1), credit(id.number(), 1, u64::MAX)] {
        pair.client.frame(&message, pair.now).expect("a second one at most changes nothing");
    }
    assert_eq!(pair.client.connection.ignored(), 2);
    assert_eq!(pair.client.send(out, &[1]), Leave::Over);

    // The reply's stream can be stopped so as well: its handler ends, and its end is sent.
    let mut pair = serving();
    assert!(pair.server.open_reply(7));
    pair.server.frame(&stop(7, 0), pair.now).expect("a stop");
    let reply = StreamKey::reply(Caller::There, 7);
    assert!(pair.server.is_over(reply));
    assert_eq!(pair.server.send(reply, &[1]), Leave::Over);
    pair.server.output();
    pair.server.reply(CallKey::Stream(7), 0);
    assert_eq!(pair.server.output()[4..], [0x94, 12, 7, 0, 0xc0]);
    assert!(pair.server.is_at_rest());
}

#[test]
fn case_25_a_hundred_empty_messages_are_borne_and_one_more_is_not() {
    let empty = || items(7, 1, &[]);
    let mut pair = serving();
    for _ in 0..3 {
        for _ in 0..100 {
            pair.server.frame(&empty(), pair.now).expect("so many are borne");
        }
        pair.server.frame(&items(7, 2, &[1]), pair.now).expect("an item");
    }
    for _ in 0..100 {
        pair.server.frame(&empty(), pair.now).expect("so many are borne");
    }
    let violation = pair.server.frame(&empty(), pair.now).expect_err("one more");
    assert_eq!(violation.reason, Reason::Calm);

    // Items that take no bytes are as good as none: they would cost no credit.
    let mut pair = serving();
    let without_bytes = about(11, 7, 1, &[0xdd, 255, 255, 255, 255]);
    for _ in 0..100 {
        pair.server.frame(&without_bytes, pair.now).expect("its stream's trouble");
    }
    let violation = pair.server.frame(&without_bytes, pair.now).expect_err("one more");
    assert_eq!(violation.reason, Reason::Calm);
}

#[test]
fn counts_that_cannot_be_are_kept_as_what_cannot_be_understood() {
    let mut pair = Pair::new();
    pair.server.frame(&open(7, 1), pair.now).expect("a call");
    // Small ones that wait are put together, and their counts added.
    for _ in 0..50 {
        let declared = about(11, 7, 1, &[0xdd, 255, 255, 255, 255, 1, 2]);
        pair.server.frame(&declared, pair.now).expect("its stream's trouble");
    }
    let Taken::Items(chunk) = pair.server.take_items(argument_of_7(1), 0) else { panic!("items came") };
    assert!(chunk.count as usize > chunk.bytes.len(), "whoever unmarshals them finds too few");
}

#[test]
fn blocked_is_not_answered_more_than_windows_grow() {
    let mut pair = Pair::new();
    pair.server.frame(&open(7, 1), pair.now).expect("a call");
    assert!(matches!(pair.server.take_items(argument_of_7(1), 0), Taken::Wait));
    let mut answers = 0;
    for _ in 0..10_000 {
        pair.server.frame(&blocked(7, 1), pair.now).expect("an optional message");
        answers += usize::from(!pair.server.output().is_empty());
    }
    // From 64 KiB to 4 MiB.
    assert_eq!(answers, 6);
}

#[test]
fn case_29_a_second_reply_does_not_end_a_stream_nor_free_its_place_twice() {
    let second: [fn(u64) -> Vec<u8>; 4] = [
        stream_reply,
        |id| response(id, &[0xc0], &[7]),
        |id| response(id, &[0x94, 13, 2, 0xa1, b'x', 0xc0], &[0xc0]),
        |id| response(id, &[0x92, 0, 7], &[0xc0]),
    ];
    for make in second {
        // While the stream flows, once it has ended and not been taken, and when nothing is left of it.
        let (mut pair, id) = calling();
        let consumer = reply_of(id)[0];
        pair.client.frame(&make(id.number()), pair.now).expect("an oddity at most");
        pair.client.frame(&items(id.number(), 0, &[1]), pair.now).expect("the stream goes on");
        pair.client.frame(&end(id.number(), 0), pair.now).expect("up to its end");
        pair.client.frame(&make(id.number()), pair.now).expect("an oddity at most");
        let (came, ending) = pair.client.drain(consumer);
        assert!(came == [1] && matches!(ending, Some(Ok(()))), "{came:?}, {ending:?}");
        pair.client.frame(&make(id.number()), pair.now).expect("an oddity at most");
        assert_eq!(pair.client.connection.ignored(), 3);
        assert!(pair.client.is_at_rest());

        // And while it is cancelled.
        let (mut pair, id) = calling();
        pair.client.leave_stream(reply_of(id)[0]);
        pair.client.frame(&make(id.number()), pair.now).expect("an oddity at most");
        pair.client.frame(&end(id.number(), 0), pair.now).expect("its final message");
        assert!(pair.client.is_at_rest());
    }
}

#[test]
fn a_goaway_that_disowns_what_was_answered_frees_no_place_twice() {
    for reason in [Reason::Drain, Reason::Protocol] {
        for ended in [false, true] {
            let (mut pair, id) = calling();
            let consumer = reply_of(id)[0];
            pair.client.frame(&items(id.number(), 0, &[1]), pair.now).expect("an item");
            if ended {
                pair.client.frame(&end(id.number(), 0), pair.now).expect("its end");
            }
            for _ in 0..2 {
                pair.client.frame(&goaway(0, reason), pair.now).expect("a sound envelope");
            }
            if !ended && reason == Reason::Drain {
                pair.client
                    .frame(&end(id.number(), 0), pair.now)
                    .expect("it was answered, so it is finished");
            }
            let (came, ending) = pair.client.drain(consumer);
            assert_eq!(came, [1]);
            assert_eq!(matches!(ending, Some(Ok(()))), ended || reason == Reason::Drain, "{ending:?}");
            assert!(pair.client.is_at_rest());
        }
    }
}

#[test]
fn a_goaway_with_a_reason_and_messages_behind_it_are_no_panic() {
    let messages: [fn(u64) -> Vec<u8>; 7] = [
        |id| items(id, 0, &[1]),
        |id| end(id, 0),
        |id| credit(id, 1, 1),
        |id| stop(id, 1),
        |id| blocked(id, 0),
        stream_reply,
        |id| response(id, &[0x94, 13, 2, 0xa1, b'x', 0xc0], &[0xc0]),
    ];
    for first in messages {
        for second in messages {
            let (mut pair, id) = calling();
            pair.client.frame(&goaway(u64::MAX, Reason::Calm), pair.now).expect("a sound envelope");
            let _ = pair.client.frame(&first(id.number()), pair.now);
            let _ = pair.client.frame(&second(id.number()), pair.now);
            pair.client.lose();
            assert!(matches!(pair.client.drain(reply_of(id)[0]).1, Some(Err(_))));
            assert!(pair.client.is_at_rest());
        }
    }
}

#[test]
fn a_stream_in_reply_to_a_call_without_streams_is_a_value_that_nobody_understands() {
    let mut pair = Pair::with_limits(limits(), limits());
    let id = pair.call(1);
    pair.client.frame(&stream_reply(id.number()), pair.now).expect("its caller's trouble");
    assert_eq!(pair.client.outcome(id).expect("some value").as_slice(), [0xd4, 1, 0]);
    pair.client.frame(&items(id.number(), 0, &[1]), pair.now).expect_err("there is no such stream");
}

#[test]
fn cancels_do_not_free_places_of_what_still_runs() {
    let limits = || Limits::default().with_streams(3);
    let mut pair = Pair::with_limits(limits(), limits());
    for id in 1..100_u64 {
        pair.server.frame(&open(id, 1), pair.now).expect("a call");
        pair.server.frame(&items(id, 1, &[1]), pair.now).expect("items behind it");
        pair.server.frame(&[&[0x92, 6][..], &uint(id)].concat(), pair.now).expect("a cancel");
    }
    assert_eq!(pair.server.arrived.len(), 3);
    assert_eq!(pair.server.stopped.len(), 3);
    for id in 1..=3 {
        pair.server.stop(CallKey::Stream(id));
    }
    assert!(pair.server.is_at_rest());
}

#[test]
fn whatever_a_final_message_says_it_is_one() {
    type Make = fn(u64) -> Vec<Vec<u8>>;
    // A call that is cancelled hears what the other side makes of that, in any form.
    let finals: [Make; 4] = [
        |id| vec![response(id, &[0x94, 1, 1, 0xa1, b'x', 0xc0], &[0xc0])],
        |id| vec![response(id, &[0xc0], &[7])],
        |id| vec![stream_reply(id), end(id, 0)],
        |id| {
            vec![
                stream_reply(id),
                items(id, 0, &[1; 50]),
                items(id, 0, &[1; 50]),
                about(12, id, 0, &[0x92, 0, 7]),
            ]
        },
    ];
    for make in finals {
        let mut pair = Pair::with_limits(limits(), limits());
        let id = pair.client.open_call(1, pair.now, 1);
        pair.settle();
        pair.client.drop_call(id);
        for message in make(id.number()) {
            pair.client.frame(&message, pair.now).expect("it may be so");
        }
        assert!(pair.client.is_at_rest());
    }
    let mut pair = Pair::with_limits(limits(), limits());
    let id = pair.client.open_call(1, pair.now, 1);
    pair.settle();
    pair.client
        .frame(&response(id.number(), &[0x93, 1, 1, 1], &[0xc0]), pair.now)
        .expect("its caller's trouble");
    assert_eq!(pair.client.error(id), (Code::Internal, Executed::Yes));
    assert!(pair.client.is_at_rest());
    pair.server.reply(key_of(id), 0);
}

/// Nothing may be kept for it: the connection ends, and nobody would ever take what is kept.
#[test]
fn a_stream_in_answer_to_a_call_that_has_not_gone_whole_leaves_nothing() {
    let mut pair = Pair::with_limits(Limits::default(), Limits::default().with_frame_bytes(1_024));
    let payload: &'static Payload = Box::leak(Box::new(Payload::from_slice(&[0x90; 3_000])));
    let large = |call| Plain { streams: Some(0), payload, ..call };
    let id = pair.client.call(1, pair.now, large);
    let violation = pair.client.frame(&stream_reply(id.number()), pair.now).expect_err("it has not heard it");
    assert_eq!(violation.reason, Reason::Protocol);
    pair.client.violated(&violation);
    assert!(pair.client.is_moved(id));
    assert!(pair.client.is_at_rest());
}

/// Its reply ended for a reason of its own, and what came for it must end as well: nothing more comes.
#[test]
fn a_call_that_is_stopped_after_its_reply_was_cut_short_waits_for_no_items() {
    let mut pair = Pair::new();
    pair.server.frame(&goaway(0, Reason::Protocol), pair.now).expect("it may go");
    pair.server.frame(&open(1, 1), pair.now).expect("a call");
    let (reply, argument) = (StreamKey::reply(Caller::There, 1), StreamKey::argument(Caller::There, 1, 1));
    assert!(pair.server.open_reply(1));
    assert_eq!(pair.server.send_one(reply, 100_000), Leave::Given);
    assert_eq!(pair.server.send_one(reply, 1), Leave::Over, "there will be no more credit");
    assert!(matches!(pair.server.take_items(argument, 0), Taken::Wait));
    pair.server.frame(&[0x92, 6, 1], pair.now).expect("a cancel");
    assert!(matches!(pair.server.take_items(argument, 0), Taken::End(Err(_))));
}

/// What was not sent for want of credit would be missing in the middle.
#[test]
fn a_reply_that_was_cut_short_does_not_go_on_where_credit_comes_after_all() {
    let mut pair = Pair::new();
    pair.server.frame(&goaway(0, Reason::Protocol), pair.now).expect("it may go");
    pair.server.frame(&open(1, 0), pair.now).expect("a call");
    let reply = StreamKey::reply(Caller::There, 1);
    assert!(pair.server.open_reply(1));
    assert_eq!(pair.server.send_one(reply, 100_000), Leave::Given);
    assert_eq!(pair.server.send_one(reply, 1), Leave::Over, "there will be no more credit");
    pair.server.frame(&credit(1, 0, 1 << 20), pair.now).expect("it comes too late");
    assert_eq!(pair.server.send_one(reply, 1), Leave::Over);
    assert!(pair.server.is_over(reply));
}
