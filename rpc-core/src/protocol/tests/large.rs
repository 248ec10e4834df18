//! Large messages: in fragments, behind what is small, and given up at any point.

use std::time::Duration;

use bytes::Bytes;

use super::super::{Batch, BatchBytes, CallFailure, CallId, CallKey, Caller, Entry, Leave, StreamKey};
use super::pair::{Next, Pair, Plain};
use crate::failure::Failure;
use crate::limits::{DRAIN_NOTICE, Limits};
use crate::marshal::Payload;
use crate::message::Reason;
use crate::{Code, Executed};

const SIZE: usize = 4_000_000;
/// A turn in which nothing small goes along, and one beside something small.
const ALONE: usize = 256 * 1024 + 100;
const BESIDE: usize = 64 * 1024 + 400;
const SECOND: Duration = Duration::from_secs(1);

/// Arguments or a value of so many bytes, of which no two neighbourhoods are alike.
fn bytes(size: usize) -> Bytes {
    (0..size as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn payload(size: usize) -> Payload {
    Payload::from(bytes(size))
}

/// A call with arguments of so many bytes. It lives as long as the test, which is not long.
fn large(size: usize) -> impl Fn(Plain) -> Plain {
    let payload: &'static Payload = Box::leak(Box::new(payload(size)));
    move |call| Plain { payload, ..call }
}

fn key(id: CallId) -> CallKey {
    CallKey::Call(id.number())
}

impl Pair {
    fn large_call(&mut self, waiter: u32, size: usize) -> CallId {
        self.client.call(waiter, self.now, large(size))
    }

    /// Carries what the client says in one turn.
    fn turn_to_server(&mut self) -> usize {
        let bytes = self.client.turn();
        self.server.receive(&bytes, self.now).expect("an honest client");
        bytes.len()
    }

    fn turn_to_client(&mut self) -> usize {
        let bytes = self.server.turn();
        self.client.receive(&bytes, self.now).expect("an honest server");
        bytes.len()
    }

    /// A large call whose arguments are half way.
    fn half_sent(&mut self) -> CallId {
        let id = self.large_call(1, SIZE);
        (0..8).for_each(|_| assert!(self.turn_to_server() > 0));
        assert!(!self.server.reassembly.is_empty() && self.server.arrived.is_empty());
        id
    }
}

#[test]
fn a_large_call_and_its_large_reply_arrive_whole() {
    let mut pair = Pair::new();
    for size in [262_145, SIZE, 20 << 20] {
        let id = pair.large_call(1, size);
        pair.settle();
        let arrived = pair.server.arrived.pop().expect("a call");
        assert!(arrived.params == bytes(size), "{size} bytes of arguments");
        pair.server.reply_with(arrived.key, Ok(payload(size)));
        pair.settle();
        assert!(pair.client.outcome(id).expect("a value").as_slice() == bytes(size), "{size} bytes of value");
    }
    assert!(pair.client.reassembly.is_empty() && pair.server.reassembly.is_empty());
}

#[test]
fn a_large_error_of_the_procedure_arrives_whole() {
    let mut pair = Pair::new();
    let id = pair.call(1);
    pair.settle();
    pair.server.reply_with(key(id), Err(Failure::App(payload(SIZE))));
    pair.settle();
    match pair.client.outcome(id) {
        Err(CallFailure::App(value)) => assert!(value.as_slice() == bytes(SIZE)),
        other => panic!("expected the procedure's own error, got {other:?}"),
    }
}

#[test]
fn case_26_small_calls_wait_for_one_fragment_at_most() {
    let mut pair = Pair::new();
    let slow = pair.large_call(1, SIZE);
    assert!((BESIDE..ALONE).contains(&pair.turn_to_server()));
    for waiter in 2..10 {
        let quick = pair.call(waiter);
        let turn = pair.turn_to_server();
        assert!(turn <= BESIDE, "{turn} bytes in a turn");
        assert_eq!(pair.server.arrived.last().map(|arrived| arrived.key), Some(key(quick)));
        pair.server.reply(key(quick), 7);
        pair.turn_to_client();
        assert!(pair.client.outcome(quick).is_ok());
    }
    assert!(!pair.server.arrived.iter().any(|arrived| arrived.key == key(slow)));
    pair.settle();
    assert_eq!(pair.server.arrived.last().map(|arrived| arrived.key), Some(key(slow)));

    // The same for replies.
    pair.server.reply_with(key(slow), Ok(payload(SIZE)));
    assert!((BESIDE..ALONE).contains(&pair.turn_to_client()));
    for waiter in 10..14 {
        let quick = pair.call(waiter);
        pair.turn_to_server();
        pair.server.reply(key(quick), 7);
        assert!(pair.turn_to_client() <= BESIDE);
        assert!(pair.client.outcome(quick).is_ok());
        assert!(matches!(pair.client.poll(slow), Next::Pending));
    }
}

#[test]
fn large_calls_beyond_what_the_server_takes_wait_for_one_another() {
    let server = Limits::default().with_message_bytes(2_000_000);
    let mut pair = Pair::with_limits(Limits::default(), server);
    let ids: Vec<_> = (0..20).map(|waiter| pair.large_call(waiter, 600_000)).collect();
    // The server would end the connection over one too many.
    pair.settle();
    let mut arrived: Vec<_> = pair.server.arrived.iter().map(|arrived| arrived.key).collect();
    arrived.sort();
    assert_eq!(arrived, ids.into_iter().map(key).collect::<Vec<_>>());
}

#[test]
fn case_49_the_largest_message_is_the_one_that_was_said() {
    let limits = || Limits::default().with_message_bytes(500_000);
    let mut pair = Pair::with_limits(limits(), limits());
    match pair.client.enter(1, pair.now, large(500_001)) {
        Entry::Ended(CallFailure::Rpc(error)) => {
            assert_eq!((error.code(), error.executed()), (Code::ResourceExhausted, Executed::No));
            assert!(error.message().contains("500000") && error.message().contains("5000"), "{error}");
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
    let id = pair.large_call(1, 499_900);
    pair.settle();
    assert_eq!(pair.server.arrived.len(), 1);
    pair.server.reply_with(key(id), Ok(payload(500_001)));
    pair.settle();
    assert_eq!(pair.client.error(id), (Code::ResourceExhausted, Executed::Yes));
}

#[test]
fn a_side_without_the_feature_gets_whole_frames_up_to_its_limit() {
    let mut pair = Pair::connecting(Limits::default(), Limits::default());
    pair.open_with(|hello| hello.has_fragments = false);
    let id = pair.large_call(1, 3 << 20);
    assert!(pair.turn_to_server() > 3 << 20, "all in one frame");
    assert_eq!(pair.server.arrived.last().map(|arrived| arrived.key), Some(key(id)));
    match pair.client.enter(2, pair.now, large(5 << 20)) {
        Entry::Ended(CallFailure::Rpc(error)) => assert!(error.message().contains("4194304"), "{error}"),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn frames_of_one_kibibyte_carry_large_messages() {
    let mut pair = Pair::with_limits(Limits::default().with_frame_bytes(1_024), Limits::default());
    let id = pair.large_call(1, SIZE);
    pair.settle();
    // What is above the client's frames goes in fragments, however small it is.
    pair.server.reply_with(key(id), Ok(payload(1_500)));
    pair.settle();
    assert!(pair.client.outcome(id).expect("a value").as_slice() == bytes(1_500));
    let id = pair.call(2);
    pair.settle();
    pair.server.reply_with(key(id), Ok(payload(SIZE)));
    pair.settle();
    assert!(pair.client.outcome(id).expect("a value").as_slice() == bytes(SIZE));
}

#[test]
fn a_whole_frame_above_the_largest_message_is_a_violation() {
    let mut pair = Pair::with_limits(Limits::default(), Limits::default().with_message_bytes(1_024));
    let mut frame = vec![0x94, 0, 7, 0xa1, b'm', 0xc5, 0x04, 0];
    frame.resize(frame.len() + 1_024, 0);
    assert_eq!(pair.server.frame(&frame, pair.now).expect_err("too long").reason, Reason::Frame);
}

// ---- given up ----

#[test]
fn case_56_a_large_call_dropped_on_its_way_is_not_executed_and_leaves_nothing() {
    let mut pair = Pair::new();
    let id = pair.half_sent();
    pair.client.drop_call(id);
    pair.settle();
    assert!(pair.server.reassembly.is_empty(), "its memory is free");
    assert!(pair.server.arrived.is_empty() && pair.server.cancelled.is_empty(), "there is nothing to cancel");
    assert_eq!((pair.client.connection.calls(), pair.client.connection.large_bytes()), (0, 0));

    // Before anything of it was handed over it leaves no trace at all.
    let id = pair.large_call(2, SIZE);
    pair.client.drop_call(id);
    assert!(!pair.client.connection.has_output());
    // And one that has gone whole is cancelled like any other.
    let id = pair.large_call(3, SIZE);
    pair.settle();
    pair.client.drop_call(id);
    pair.settle();
    assert_eq!(pair.server.stopped, [key(id)]);
}

#[test]
fn a_deadline_that_passes_on_the_way_is_a_call_that_was_not_executed() {
    let mut pair = Pair::new();
    let deadline = Some(pair.now + SECOND);
    let with_payload = large(SIZE);
    let id = pair.client.call(1, pair.now, |call| Plain { deadline, ..with_payload(call) });
    (0..5).for_each(|_| assert!(pair.turn_to_server() > 0));
    pair.wait(SECOND);
    assert_eq!(pair.client.error(id), (Code::DeadlineExceeded, Executed::No));
    pair.settle();
    assert!(pair.server.reassembly.is_empty() && pair.server.arrived.is_empty());
}

#[test]
fn a_connection_lost_on_the_way_moves_the_call() {
    let mut pair = Pair::new();
    let whole = pair.large_call(1, SIZE);
    while pair.client.connection.has_output() {
        drop(pair.client.turn());
    }
    let part = pair.large_call(2, SIZE);
    drop(pair.client.turn());
    let none = pair.large_call(3, SIZE);
    pair.client.lose();
    assert_eq!(pair.client.error(whole), (Code::Unavailable, Executed::Maybe));
    assert!(pair.client.is_moved(part), "its last fragment was never handed over");
    assert!(pair.client.is_moved(none));
    assert_eq!(pair.client.connection.large_bytes(), 0);
}

#[test]
fn a_call_counts_as_sent_with_its_last_fragment() {
    let mut pair = Pair::new();
    let id = pair.large_call(1, SIZE);
    let mut turns = 0;
    while pair.client.connection.has_output() {
        let mut other = Pair::new();
        let same = other.large_call(1, SIZE);
        (0..=turns).for_each(|_| drop(other.client.turn()));
        drop(pair.client.turn());
        turns += 1;
        other.client.lose();
        if pair.client.connection.has_output() {
            assert!(other.client.is_moved(same), "after {turns} turns");
        } else {
            assert_eq!(other.client.error(same), (Code::Unavailable, Executed::Maybe));
        }
    }
    assert_eq!(turns, SIZE.div_ceil(262_144));
    assert!(matches!(pair.client.poll(id), Next::Pending));
}

#[test]
fn a_drain_moves_calls_that_are_on_their_way() {
    let mut pair = Pair::new();
    let id = pair.half_sent();
    pair.server.connection.start_drain(pair.now);
    pair.server_to_client();
    assert!(pair.client.is_moved(id));
    pair.settle();
    assert!(pair.server.reassembly.is_empty() && pair.server.arrived.is_empty());
    assert!(pair.server.connection.is_finished(pair.now));
}

#[test]
fn a_one_way_call_on_its_way_goes_before_the_farewell() {
    for drains in [true, false] {
        let mut pair = Pair::new();
        let with_payload = large(SIZE);
        let entry = pair.client.enter(1, pair.now, |call| Plain { oneway: true, ..with_payload(call) });
        assert!(matches!(entry, Entry::Queued));
        pair.turn_to_server();
        if drains {
            pair.server.connection.start_drain(pair.now);
        } else {
            pair.client.connection.retire(pair.now, false);
        }
        assert!(!pair.client.connection.is_finished(pair.now));
        pair.settle();
        assert_eq!(pair.server.arrived.len(), 1, "nobody could be told that it was refused");
        assert!(pair.server.connection.peer_is_leaving());
        assert!(pair.client.connection.is_finished(pair.now));
    }
}

#[test]
fn a_call_is_taken_back_from_behind_the_farewell() {
    let mut pair = Pair::new();
    let served = pair.server.call(1, pair.now, |call| Plain { back: true, ..call });
    pair.settle();
    let with_payload = large(SIZE);
    pair.client.enter(1, pair.now, |call| Plain { oneway: true, ..with_payload(call) });
    pair.turn_to_server();
    pair.client.connection.retire(pair.now, true);
    while pair.client.connection.large_bytes() > 0 {
        pair.turn_to_server();
    }
    // The farewell waits to go out, and what the running handler calls waits behind it.
    let [dropped, kept] =
        [2, 3].map(|waiter| pair.client.call(waiter, pair.now, |call| Plain { back: true, ..call }));
    pair.client.drop_call(dropped);
    pair.settle();
    assert!(pair.server.connection.peer_is_leaving());
    assert_eq!(pair.server.arrived.len(), 2, "the one-way call, and one of the others");
    for (side, id) in [(&mut pair.server, kept), (&mut pair.client, served)] {
        side.reply(key(id), 1);
    }
    pair.settle();
    assert!(pair.client.outcome(kept).is_ok() && pair.server.outcome(served).is_ok());
}

#[test]
fn a_side_that_drains_finishes_its_large_replies() {
    let mut pair = Pair::new();
    let id = pair.call(1);
    pair.settle();
    pair.server.connection.start_drain(pair.now);
    pair.settle();
    pair.server.reply_with(key(id), Ok(payload(SIZE)));
    pair.now += DRAIN_NOTICE;
    while pair.server.connection.has_output() {
        assert!(!pair.server.connection.is_finished(pair.now));
        pair.turn_to_client();
    }
    assert!(pair.server.connection.is_finished(pair.now));
    assert!(pair.client.outcome(id).is_ok());
}

#[test]
fn a_reply_on_its_way_is_given_up_when_its_caller_goes() {
    let mut pair = Pair::new();
    let id = pair.call(1);
    pair.settle();
    pair.server.reply_with(key(id), Ok(payload(SIZE)));
    (0..3).for_each(|_| assert!(pair.turn_to_client() > 0));
    pair.client.drop_call(id);
    pair.client_to_server();
    assert_eq!(pair.server.connection.large_bytes(), 0);
    assert_eq!(pair.server.connection.ignored(), 0, "the cancel was not late");
    pair.settle();
    assert!(pair.client.reassembly.is_empty());
}

// ---- hostile ----

#[test]
fn case_28_a_reply_to_a_call_that_has_not_gone_whole_ends_the_connection() {
    let mut pair = Pair::new();
    let id = pair.half_sent();
    let mut frame = vec![0x94, 1, 0xcf];
    frame.extend_from_slice(&id.number().to_be_bytes());
    frame.extend_from_slice(&[0xc0, 7]);
    assert_eq!(pair.client.frame(&frame, pair.now).expect_err("it cannot know").reason, Reason::Protocol);
}

#[test]
fn a_fragment_within_a_fragment_ends_the_connection() {
    let mut pair = Pair::new();
    // [14, 0, 0, bin of [14, 0, 0, bin of 0]]
    let frame = [0x94, 14, 0, 0, 0xc4, 6, 0x94, 14, 0, 0, 0xc4, 0];
    let violation = pair.server.frame(&frame, pair.now).expect_err("a fragment is no message");
    assert_eq!(violation.reason, Reason::Protocol);
    assert!(violation.message.contains("fragment"), "{}", violation.message);
}

#[test]
fn a_message_that_does_not_go_on_is_a_stall_whatever_else_comes() {
    let mut pair = Pair::new();
    // [14, 1, 9, bin of 1]: nine more bytes were to come.
    pair.server.receive(&[0, 0, 0, 7, 0x94, 14, 1, 9, 0xc4, 1, 7], pair.now).expect("a sound fragment");
    let begun = pair.now;
    for second in 1..30 {
        pair.now = begun + second * SECOND;
        // Another message goes on all the time.
        let rest = 100 - second as u8;
        pair.server
            .receive(&[0, 0, 0, 7, 0x94, 14, 2, rest, 0xc4, 1, 7], pair.now)
            .expect("a sound fragment");
        pair.server.tick(pair.now).expect("there is time left");
    }
    pair.now = begun + 30 * SECOND;
    assert_eq!(pair.server.connection.poll_timeout(), Some(pair.now));
    assert_eq!(pair.server.tick(pair.now).expect_err("a stall").reason, Reason::Stall);
}

#[test]
fn a_message_is_not_owed_while_this_side_does_not_read() {
    let mut pair = Pair::new();
    pair.server.receive(&[0, 0, 0, 7, 0x94, 14, 1, 9, 0xc4, 1, 7], pair.now).expect("a sound fragment");
    for _ in 0..120 {
        pair.server.connection.not_reading(pair.now);
        pair.server.reassembly.not_reading(pair.now);
        pair.now += SECOND;
        pair.server.tick(pair.now).expect("it could not go on");
    }
    pair.now += 29 * SECOND;
    assert_eq!(pair.server.tick(pair.now).expect_err("a stall").reason, Reason::Stall);
}

// ---- streams ----

fn open_with_argument(pair: &mut Pair, size: usize) -> CallId {
    let with_payload = large(size);
    pair.client.call(1, pair.now, |call| Plain { streams: Some(1), ..with_payload(call) })
}

#[test]
fn items_wait_for_the_large_call_that_they_belong_to() {
    let mut pair = Pair::new();
    let id = open_with_argument(&mut pair, SIZE);
    let key = StreamKey::argument(Caller::Here, id.number(), 1);
    pair.turn_to_server();
    let batch = Batch { count: 1, bytes: BatchBytes::Small(&[7]) };
    let leave = pair.client.connection.send_items(key, batch, |waiter| *waiter = Some(99));
    assert_eq!(leave, Leave::Wait);
    pair.settle();
    assert_eq!(pair.client.woken, [99], "it is woken when its call has gone");
    let leave = pair.client.connection.send_items(key, batch, |_| {});
    assert_eq!(leave, Leave::Given);
    pair.settle();
}

#[test]
fn the_end_of_an_argument_does_not_overtake_its_call_nor_its_items() {
    let mut pair = Pair::new();
    let id = open_with_argument(&mut pair, SIZE);
    let key = StreamKey::argument(Caller::Here, id.number(), 1);
    pair.turn_to_server();
    pair.client.connection.end_argument(key, &Ok(()));
    // An end of a call that was never made would end the connection.
    pair.settle();
    assert_eq!(pair.server.arrived.len(), 1);

    let id = open_with_argument(&mut pair, 10);
    pair.settle();
    let key = StreamKey::argument(Caller::Here, id.number(), 1);
    let items = payload(SIZE);
    let batch = Batch { count: 1, bytes: BatchBytes::Large(&items) };
    assert_eq!(pair.client.connection.send_items(key, batch, |_| {}), Leave::Given);
    pair.turn_to_server();
    pair.client.connection.end_argument(key, &Err(Failure::App(payload(SIZE))));
    pair.settle();
    let there = StreamKey::argument(Caller::There, id.number(), 1);
    let taken = |pair: &mut Pair| pair.server.connection.take_items(there, 0, |_| {});
    let first = taken(&mut pair);
    assert!(matches!(first, super::super::Taken::Items(chunk) if chunk.bytes.as_slice() == bytes(SIZE)));
    let second = taken(&mut pair);
    assert!(
        matches!(second, super::super::Taken::End(Err(Failure::App(value))) if value.as_slice() == bytes(SIZE))
    );
}

#[test]
fn a_large_call_with_streams_dropped_on_its_way_gives_its_place_back() {
    let mut pair = Pair::with_limits(Limits::default(), Limits::default().with_streams(1));
    let id = open_with_argument(&mut pair, SIZE);
    pair.turn_to_server();
    pair.client.drop_call(id);
    pair.settle();
    assert!(pair.server.reassembly.is_empty() && pair.server.cancelled.is_empty());
    // The one place is free at once: the other side never knew of the call.
    open_with_argument(&mut pair, 10);
    pair.settle();
    assert_eq!(pair.server.arrived.len(), 1);
}
