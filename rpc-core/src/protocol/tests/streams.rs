//! Streams while nothing goes wrong: opening, items and credit to the byte, growth, room, places.

use super::super::{CallKey, Leave, StreamKey, Taken};
use super::pair::{CONSUMER, Next, PRODUCER, Pair, Side, argument_of, key_of, reply_of};
use crate::limits::{BATCH_BYTES, Limits};
use crate::message::{Credit, StreamName, encode_credit};
use crate::{Code, Executed};

/// A window that is quickly used up.
const WINDOW: usize = 100;

fn narrow() -> Limits {
    Limits::default().with_stream_bytes(WINDOW).with_max_stream_bytes(WINDOW)
}

/// A pair with narrow windows, and a call whose reply is a stream: its consumer's and its producer's name for it.
fn streaming() -> (Pair, StreamKey, StreamKey) {
    streaming_with(narrow())
}

fn streaming_with(limits: Limits) -> (Pair, StreamKey, StreamKey) {
    let mut pair = Pair::with_limits(limits.clone(), limits);
    let id = pair.client.open_call(1, pair.now, 0);
    pair.settle();
    assert!(pair.server.open_reply(id.number()));
    pair.settle();
    let [consumer, producer] = reply_of(id);
    assert!(pair.client.outcome(id).is_ok());
    (pair, consumer, producer)
}

fn taken(side: &mut Side, key: StreamKey, consumed: usize) -> Vec<u8> {
    match side.take_items(key, consumed) {
        Taken::Items(chunk) => chunk.bytes.to_vec(),
        other => panic!("expected items, got {other:?}"),
    }
}

fn waits(side: &mut Side, key: StreamKey, consumed: usize) {
    let taken = side.take_items(key, consumed);
    assert!(matches!(taken, Taken::Wait), "{taken:?}");
}

/// Consumes and produces until the window grows no more, and says by how much it has grown.
fn growth(pair: &mut Pair, consumer: StreamKey, producer: StreamKey, piece: usize) -> usize {
    let before = pair.client.connection.rest_of_growth();
    for _ in 0..20 {
        loop {
            match pair.server.send_one(producer, piece) {
                Leave::Given => {}
                Leave::Blocked => break,
                Leave::Wait => pair.settle(),
                Leave::Over => panic!("it is wanted"),
            }
        }
        pair.settle();
        pair.client.drain(consumer);
        pair.settle();
    }
    pair.client.connection.rest_of_growth() - before
}

// ---- opening ----

#[test]
fn a_call_may_stream_both_ways_and_leaves_nothing_behind() {
    let mut pair = Pair::new();
    let id = pair.client.open_call(1, pair.now, 2);
    let ([consumer, producer], number) = (reply_of(id), id.number());
    // Directly behind the open, before anybody has answered.
    let [out, into] = argument_of(id, 1);
    let [other_out, other_into] = argument_of(id, 2);
    assert_eq!(pair.client.send(out, &[1, 2]), Leave::Given);
    assert_eq!(pair.client.send(other_out, &[3]), Leave::Given);
    pair.settle();
    assert_eq!(pair.server.arrived[0].key, key_of(id));
    assert_eq!(pair.server.items(into), vec![1, 2]);

    assert!(pair.server.open_reply(number));
    assert_eq!(pair.server.send(producer, &[4]), Leave::Given);
    pair.settle();
    assert_eq!(pair.client.outcome(id).expect("a stream").as_slice(), [0xd4, 1, 0]);
    let (items, ending) = pair.client.drain(consumer);
    assert!(items == [4] && ending.is_none());

    pair.client.end_argument(out, &Ok(()));
    assert_eq!(pair.client.send(other_out, &[5]), Leave::Given);
    pair.client.end_argument(other_out, &Ok(()));
    pair.settle();
    assert!(matches!(pair.server.drain(into), (items, Some(Ok(()))) if items.is_empty()));
    assert!(matches!(pair.server.drain(other_into), (items, Some(Ok(()))) if items == [3, 5]));

    pair.server.reply(key_of(id), 0);
    pair.settle();
    assert!(matches!(pair.client.drain(consumer), (items, Some(Ok(()))) if items.is_empty()));
    assert!(pair.client.is_at_rest() && pair.server.is_at_rest());
    assert_eq!((pair.client.connection.ignored(), pair.server.connection.ignored()), (0, 0));
}

#[test]
fn either_side_may_open_and_the_same_number_is_two_calls() {
    let mut pair = Pair::new();
    let here = pair.client.open_call(1, pair.now, 1);
    let there = pair.server.open_call(2, pair.now, 1);
    assert_eq!(here, there, "both count from the beginning");
    pair.client.send(argument_of(here, 1)[0], &[1]);
    pair.server.send(argument_of(there, 1)[0], &[2]);
    pair.settle();
    for (side, value) in [(&mut pair.server, 1), (&mut pair.client, 2)] {
        assert_eq!(side.items(argument_of(here, 1)[1]), vec![value]);
        assert!(side.open_reply(here.number()));
        side.send(reply_of(here)[1], &[value + 10]);
        side.reply(key_of(here), 0);
    }
    pair.settle();
    for (side, value) in [(&mut pair.client, 11), (&mut pair.server, 12)] {
        assert!(side.outcome(here).is_ok());
        assert!(matches!(side.drain(reply_of(here)[0]), (items, Some(Ok(()))) if items == [value]));
        assert!(side.is_at_rest());
    }
}

#[test]
fn a_plain_value_or_an_error_answers_an_open_call_and_ends_its_arguments() {
    let mut pair = Pair::new();
    let ids = [1, 2].map(|waiter| pair.client.open_call(waiter, pair.now, 1));
    pair.settle();
    for id in ids {
        assert_eq!(pair.client.send(argument_of(id, 1)[0], &[1]), Leave::Given);
    }
    assert!(!pair.client.is_over(argument_of(ids[0], 1)[0]));
    pair.server.reply(key_of(ids[0]), 5);
    pair.server.fail(key_of(ids[1]), crate::Error::new(Code::NotFound, "x").into());
    pair.settle();
    assert_eq!(pair.client.woken, [1, PRODUCER + 1, 2]);
    assert_eq!(pair.client.outcome(ids[0]).expect("a value").as_slice(), [5]);
    assert_eq!(pair.client.error(ids[1]).0, Code::NotFound);
    for id in ids {
        assert_eq!(pair.client.send(argument_of(id, 1)[0], &[2]), Leave::Over);
    }
    assert!(pair.client.is_at_rest() && pair.server.is_at_rest());
}

#[test]
fn a_side_without_the_feature_is_sent_no_open() {
    let mut pair = Pair::new();
    pair.client.forget_streams_of_peer(pair.now);
    let entry = pair.client.enter(1, pair.now, |call| super::pair::Plain { streams: Some(0), ..call });
    assert!(
        matches!(&entry, super::super::Entry::Ended(super::super::CallFailure::Rpc(error))
            if (error.code(), error.executed()) == (Code::Unimplemented, Executed::No)),
        "{entry:?}"
    );
    assert!(!pair.client.connection.has_output());
}

// ---- credit ----

#[test]
fn credit_is_counted_to_the_byte_and_one_message_may_go_beyond() {
    let (mut pair, consumer, producer) = streaming();
    assert_eq!(pair.server.send(producer, &[1; WINDOW - 1]), Leave::Given);
    assert_eq!(pair.server.send_one(producer, 1_000), Leave::Given, "a byte was left");
    assert_eq!(pair.server.send(producer, &[2]), Leave::Blocked, "it is said once");
    assert_eq!(pair.server.send(producer, &[2]), Leave::Wait);
    pair.settle();

    // Half of the window is not enough of what is owed: the sum must come above zero.
    assert_eq!(taken(&mut pair.client, consumer, 0).len(), WINDOW - 1);
    assert_eq!(taken(&mut pair.client, consumer, WINDOW - 1).len(), 1_000);
    pair.settle();
    assert_eq!(pair.server.woken, [PRODUCER], "whoever waits looks at every credit");
    assert_eq!(pair.server.send(producer, &[2]), Leave::Wait, "1,000 above, 99 given, 1 left");
    waits(&mut pair.client, consumer, 1_000);
    pair.settle();
    assert_eq!(pair.server.send(producer, &[2; WINDOW]), Leave::Given);
    assert_eq!(pair.server.send(producer, &[2]), Leave::Blocked, "and said anew");
    pair.settle();
    assert_eq!(pair.client.items(consumer), vec![2; WINDOW]);
}

#[test]
fn exactly_the_credit_leaves_none() {
    let (mut pair, _, producer) = streaming();
    assert_eq!(pair.server.send(producer, &[1; WINDOW]), Leave::Given);
    assert_eq!(pair.server.send(producer, &[1]), Leave::Blocked);
}

#[test]
fn credit_is_given_when_half_the_window_is_consumed_and_not_before() {
    let (mut pair, consumer, producer) = streaming();
    for _ in 0..4 {
        assert_eq!(pair.server.send(producer, &[1; WINDOW / 4]), Leave::Given);
    }
    pair.settle();
    taken(&mut pair.client, consumer, 0);
    taken(&mut pair.client, consumer, WINDOW / 4);
    assert!(!pair.client.connection.has_output());
    taken(&mut pair.client, consumer, WINDOW / 4);
    let mut credit = Vec::new();
    let name = StreamName { call: consumer.name.call, stream: 0 };
    encode_credit(&mut credit, Credit { name, bytes: Some(WINDOW as u64 / 2) });
    assert_eq!(pair.client.output()[4..], credit);
}

#[test]
fn what_is_in_the_consumers_hands_is_not_consumed() {
    let (mut pair, consumer, producer) = streaming();
    pair.server.send(producer, &[1; WINDOW]);
    pair.settle();
    taken(&mut pair.client, consumer, 0);
    assert!(!pair.client.connection.has_output(), "it was given, and nothing is known of it");
    waits(&mut pair.client, consumer, WINDOW);
    assert!(pair.client.connection.has_output());
}

#[test]
fn a_window_of_one_byte_is_enough_for_items_of_any_size() {
    let limits = Limits::default().with_stream_bytes(1).with_max_stream_bytes(1);
    let (mut pair, consumer, producer) = streaming_with(limits);
    for size in [1, 2, 100_000, 1, 7] {
        assert_eq!(pair.server.send_one(producer, size), Leave::Given, "{size} bytes");
        assert_eq!(pair.server.send_one(producer, 1), Leave::Blocked);
        pair.settle();
        assert_eq!(pair.client.drain(consumer).0.len(), size);
        pair.settle();
    }
}

#[test]
fn each_side_has_a_window_of_its_own() {
    let limits = |bytes| Limits::default().with_stream_bytes(bytes);
    let mut pair = Pair::with_limits(limits(10), limits(20));
    let id = pair.client.open_call(1, pair.now, 1);
    pair.settle();
    pair.server.open_reply(id.number());
    assert_eq!(pair.client.send(argument_of(id, 1)[0], &[1; 19]), Leave::Given);
    assert_eq!(pair.client.send(argument_of(id, 1)[0], &[1]), Leave::Given);
    assert_eq!(pair.client.send(argument_of(id, 1)[0], &[1]), Leave::Blocked);
    assert_eq!(pair.server.send(reply_of(id)[1], &[1; 9]), Leave::Given);
    assert_eq!(pair.server.send(reply_of(id)[1], &[1]), Leave::Given);
    assert_eq!(pair.server.send(reply_of(id)[1], &[1]), Leave::Blocked);
}

#[test]
fn many_small_messages_that_wait_are_kept_close_together() {
    let (mut pair, consumer, producer) = streaming_with(Limits::default());
    let items: Vec<u8> = (0..5_000_u32).map(|item| (item % 128) as u8).collect();
    for item in &items {
        assert_eq!(pair.server.send(producer, &[*item]), Leave::Given);
    }
    pair.settle();
    // Each of them by itself would take more than what it carries.
    let (mut chunks, mut all, mut consumed) = (0, Vec::new(), 0);
    while let Taken::Items(chunk) = pair.client.take_items(consumer, consumed) {
        assert_eq!(chunk.count as usize, chunk.bytes.len());
        (chunks, consumed) = (chunks + 1, chunk.bytes.len());
        all.extend_from_slice(&chunk.bytes);
    }
    assert_eq!(all, items);
    assert!(chunks < 10, "{chunks} chunks");
    // And not so close that credit waits for all of them: large ones among them stay apart, in order.
    for size in [1, 1, 6_000, 1, 1, 6_000, 6_000, 1] {
        pair.server.send_one(producer, size);
    }
    pair.settle();
    let sizes: Vec<usize> = std::iter::from_fn(|| match pair.client.take_items(consumer, 0) {
        Taken::Items(chunk) => Some(chunk.bytes.len()),
        _ => None,
    })
    .collect();
    assert_eq!(sizes, [1, 1, 6_000, 2, 6_000, 6_000, 1]);
}

// ---- growth ----

#[test]
fn a_window_grows_for_a_consumer_that_keeps_up_and_only_to_its_end() {
    let limits = || Limits::default().with_stream_bytes(WINDOW).with_max_stream_bytes(10 * WINDOW);
    let (mut pair, consumer, producer) = streaming_with(limits());
    assert_eq!(growth(&mut pair, consumer, producer, 1), 9 * WINDOW);
    // With the call its growth is gone.
    pair.server.reply(CallKey::Stream(producer.name.call), 0);
    pair.settle();
    pair.client.drain(consumer);
    assert!(pair.client.is_at_rest() && pair.server.is_at_rest());
}

#[test]
fn a_window_does_not_grow_while_nobody_waits_for_items() {
    let limits = || Limits::default().with_stream_bytes(WINDOW).with_max_stream_bytes(10 * WINDOW);
    // More in a message than half a window, and more than a window: each is in the consumer's hands for long.
    for piece in [WINDOW / 4, WINDOW / 2 + 10, 3 * WINDOW] {
        let (mut pair, consumer, producer) = streaming_with(limits());
        let mut consumed = 0;
        for _ in 0..20 {
            while pair.server.send_one(producer, piece) == Leave::Given {}
            pair.settle();
            assert_eq!(pair.client.connection.rest_of_growth(), 0, "pieces of {piece}");
            match pair.client.take_items(consumer, consumed) {
                Taken::Items(chunk) => consumed = chunk.bytes.len(),
                // It has consumed all there was, and so does keep up.
                Taken::Wait if piece > WINDOW => break,
                other => panic!("pieces of {piece}: {other:?}"),
            }
            pair.settle();
            assert_eq!(pair.client.connection.rest_of_growth(), 0, "pieces of {piece}");
        }
    }
}

#[test]
fn a_window_does_not_grow_for_a_producer_that_has_no_more() {
    let limits = || Limits::default().with_stream_bytes(WINDOW).with_max_stream_bytes(10 * WINDOW);
    let (mut pair, consumer, producer) = streaming_with(limits());
    for _ in 0..20 {
        assert_eq!(pair.server.send(producer, &[1; WINDOW]), Leave::Given);
        pair.settle();
        assert_eq!(pair.client.drain(consumer).0.len(), WINDOW);
        pair.settle();
    }
    assert_eq!(pair.client.connection.rest_of_growth(), 0);
}

#[test]
fn a_connections_streams_grow_by_sixteen_mebibytes_together_and_give_that_back() {
    const MEBIBYTE: usize = 1024 * 1024;
    let limits = || Limits::default().with_max_stream_bytes(4 * MEBIBYTE);
    let mut pair = Pair::with_limits(limits(), limits());
    let open = |pair: &mut Pair| {
        let id = pair.client.open_call(1, pair.now, 0);
        pair.settle();
        assert!(pair.server.open_reply(id.number()));
        pair.settle();
        assert!(pair.client.outcome(id).is_ok());
        id
    };
    let piece = 32 * 1024;
    let mut grown = Vec::new();
    let ids: Vec<_> = (0..6)
        .map(|_| {
            let id = open(&mut pair);
            let [consumer, producer] = reply_of(id);
            grown.push(growth(&mut pair, consumer, producer, piece));
            id
        })
        .collect();
    let initial = Limits::default().stream_bytes();
    assert_eq!(grown[..4], [4 * MEBIBYTE - initial; 4]);
    assert_eq!(grown[4..], [4 * initial, 0], "what the others had left of it");
    assert_eq!(pair.client.connection.rest_of_growth(), 16 * MEBIBYTE);

    // One that ends by itself, one that is left, one whose handler fails: the next may grow again.
    pair.server.reply(key_of(ids[0]), 0);
    pair.client.leave_stream(reply_of(ids[1])[0]);
    pair.server.fail(key_of(ids[2]), crate::Error::new(Code::Internal, "x").into());
    pair.settle();
    pair.client.drain(reply_of(ids[0])[0]);
    pair.client.drain(reply_of(ids[2])[0]);
    assert_eq!(pair.client.connection.rest_of_growth(), 16 * MEBIBYTE - 3 * (4 * MEBIBYTE - initial));
    let [consumer, producer] = reply_of(open(&mut pair));
    assert_eq!(growth(&mut pair, consumer, producer, piece), 4 * MEBIBYTE - initial);
}

// ---- room ----

#[test]
fn streams_wait_for_room_in_order_and_calls_do_not() {
    let mut pair = Pair::new();
    let count = 40;
    let ids: Vec<_> = (0..count).map(|waiter| pair.client.open_call(waiter, pair.now, 1)).collect();
    drop(pair.client.output());
    let key = |index: usize| argument_of(ids[index], 1)[0];
    // Each has credit for four batches, of which the first ones fill the queue.
    let mut given = 0;
    let first_to_wait = 'full: loop {
        for index in 0..ids.len() {
            match pair.client.send_one(key(index), BATCH_BYTES) {
                Leave::Given => given += 1,
                Leave::Wait => break 'full index,
                other => panic!("{other:?}"),
            }
        }
    };
    assert!((16..=17).contains(&given), "{given} batches");
    for index in 0..ids.len() {
        let index = (first_to_wait + index) % ids.len();
        let leave = pair.client.connection.send_items(
            key(index),
            super::super::Batch { count: 1, bytes: super::super::BatchBytes::Small(&[0; BATCH_BYTES]) },
            |waiter| *waiter = Some(PRODUCER + index as u32),
        );
        assert_eq!(leave, Leave::Wait);
    }
    // A call beside them goes at once, and one of the streams has gone.
    let call = pair.call(77);
    assert!(matches!(pair.client.poll(call), Next::Pending));
    pair.client.end_argument(key(first_to_wait), &Ok(()));

    let mut order: Vec<u32> = (0..count).map(|step| (first_to_wait as u32 + step) % count).collect();
    order.remove(0);
    for some in order.chunks(16) {
        pair.client.woken.clear();
        let bytes = pair.client.output();
        assert!(bytes.len() < 17 * (BATCH_BYTES + 32) + 64, "{} bytes at once", bytes.len());
        assert_eq!(pair.client.woken, some.iter().map(|index| PRODUCER + index).collect::<Vec<_>>());
        for index in some {
            assert_eq!(pair.client.send_one(key(*index as usize), BATCH_BYTES), Leave::Given);
        }
    }
}

#[test]
fn without_credit_room_is_not_waited_for() {
    let (mut pair, _, producer) = streaming();
    // As much as goes in one piece, and a few pongs behind it: so much that streams wait for room.
    assert_eq!(pair.server.send_one(producer, 256 * 1024 - 40), Leave::Given);
    (0..8).for_each(|token| pair.server.frame(&[0x92, 7, token], pair.now).expect("a ping"));
    assert_eq!(pair.server.send(producer, &[1]), Leave::Blocked, "so that the other side knows it in time");
}

// ---- places ----

#[test]
fn calls_with_streams_have_places_of_their_own() {
    let limits = || Limits::default().with_calls(1).with_streams(2);
    let mut pair = Pair::with_limits(limits(), limits());
    let plain = [1, 2].map(|waiter| pair.call(waiter));
    let open: Vec<_> = (3..7).map(|waiter| pair.client.open_call(waiter, pair.now, 0)).collect();
    pair.settle();
    let keys: Vec<_> = pair.server.arrived.iter().map(|arrived| arrived.key).collect();
    assert_eq!(keys, [CallKey::Call(plain[0].number()), key_of(open[0]), key_of(open[1])]);

    // A call whose reply streams keeps its place until its end.
    pair.server.open_reply(open[0].number());
    pair.settle();
    assert!(pair.client.outcome(open[0]).is_ok());
    assert!(matches!(pair.client.poll(open[2]), Next::Pending));
    pair.server.reply(key_of(open[0]), 0);
    pair.settle();
    assert_eq!(pair.client.woken, [3, 5], "what has come may be taken later");
    let sent = pair.client.resume_open(open[2], 5, pair.now, 0);
    pair.settle();
    assert_eq!(pair.server.arrived[3].key, key_of(sent));

    // One that waits and goes leaves no trace; plain calls wait for plain calls.
    pair.client.drop_call(open[3]);
    pair.server.reply(key_of(open[1]), 7);
    pair.server.reply(key_of(sent), 7);
    pair.settle();
    assert!(matches!(pair.client.poll(plain[1]), Next::Pending));
    assert_eq!(pair.server.arrived.len(), 4);
}

#[test]
fn a_cancelled_call_keeps_its_place_until_its_final_message() {
    let limits = || Limits::default().with_streams(1);
    let mut pair = Pair::with_limits(limits(), limits());
    let first = pair.client.open_call(1, pair.now, 0);
    let second = pair.client.open_call(2, pair.now, 0);
    pair.settle();
    pair.client.drop_call(first);
    pair.settle();
    assert!(matches!(pair.client.poll(second), Next::Pending), "its handler still runs");
    assert_eq!(pair.server.stopped, [key_of(first)]);
    pair.server.stop(key_of(first));
    pair.settle();
    assert_eq!(pair.client.woken, [2]);
    assert!(matches!(pair.client.poll(second), Next::Granted));
}

#[test]
fn a_granted_call_that_is_refused_after_all_gives_its_place_to_the_next() {
    let limits = || Limits::default().with_calls(1).with_streams(1);
    let mut pair = Pair::with_limits(limits(), limits());
    let deadline = pair.now + std::time::Duration::from_secs(1);
    for streams in [None, Some(0)] {
        let options = |call| super::pair::Plain { streams, ..call };
        let first = pair.client.call(1, pair.now, options);
        let refused = pair.client.call(2, pair.now, options);
        let last = pair.client.call(3, pair.now, options);
        pair.settle();
        pair.server.reply(pair.server.arrived.last().expect("a call").key, 5);
        pair.settle();
        assert!(pair.client.outcome(first).is_ok());
        assert!(matches!(pair.client.poll(refused), Next::Granted));
        pair.client.woken.clear();
        let entry = pair.client.resume_as(refused, 2, deadline, |call| super::pair::Plain {
            deadline: Some(deadline),
            ..options(call)
        });
        assert!(matches!(entry, super::super::Entry::Ended(_)), "{entry:?}");
        assert_eq!(pair.client.woken, [3]);
        assert!(matches!(pair.client.poll(last), Next::Granted));
        pair.client.drop_call(last);
        assert!(pair.client.is_at_rest() && pair.server.is_at_rest());
    }
}

#[test]
fn a_queued_call_is_taken_back_from_between_streams() {
    let mut pair = Pair::new();
    let id = pair.client.open_call(1, pair.now, 1);
    let [out, into] = argument_of(id, 1);
    pair.settle();
    pair.client.send(out, &[1; 20]);
    let dropped = pair.call(2);
    pair.client.send_one(out, 10_000);
    let kept = pair.call(3);
    pair.client.send(out, &[2; 20]);
    pair.client.drop_call(dropped);
    let last = pair.call(4);
    pair.client.drop_call(last);
    pair.settle();
    let keys: Vec<_> = pair.server.arrived.iter().map(|arrived| arrived.key).collect();
    assert_eq!(keys, [key_of(id), CallKey::Call(kept.number())]);
    assert!(pair.server.cancelled.is_empty());
    let (items, _) = pair.server.drain(into);
    assert_eq!(items, [vec![1; 20], vec![0; 10_000], vec![2; 20]].concat());
}

#[test]
fn a_consumer_is_woken_once_for_what_it_waits_for() {
    let (mut pair, consumer, producer) = streaming();
    pair.client.woken.clear();
    pair.server.send(producer, &[1]);
    pair.settle();
    assert!(pair.client.woken.is_empty(), "nobody waits yet");
    assert_eq!(pair.client.items(consumer), vec![1]);
    for _ in 0..2 {
        pair.server.send(producer, &[2]);
    }
    pair.settle();
    assert_eq!(pair.client.woken, [CONSUMER]);
    assert_eq!(pair.client.items(consumer), vec![2, 2]);
}
