//! Calls, cancels and places, while nothing goes wrong.

use super::super::{CallKey, Entry};
use super::pair::{Next, Pair, plain};
use crate::limits::Limits;
use crate::{Code, Executed};

#[test]
fn a_call_goes_there_and_its_reply_comes_back() {
    let mut pair = Pair::new();
    let id = pair.call(7);
    pair.settle();
    let arrived = pair.server.arrived.pop().expect("a call");
    assert_eq!((arrived.method.as_str(), &arrived.params[..]), ("Target.method", &[0x90][..]));
    assert_eq!(arrived.deadline, None);
    assert!(matches!(pair.client.poll(id), Next::Pending));

    pair.server.reply(arrived.key, 5);
    pair.settle();
    assert_eq!(pair.client.woken, [7]);
    assert_eq!(pair.client.outcome(id).expect("a value").as_slice(), [5]);
    assert_eq!(pair.client.connection.calls(), 0);
    assert_eq!(pair.server.connection.running(), 0);
}

#[test]
fn a_one_way_call_leaves_nothing_behind() {
    let mut pair = Pair::new();
    let entry = pair.client.enter(7, pair.now, |call| super::pair::Plain { oneway: true, ..call });
    assert!(matches!(entry, Entry::Queued));
    pair.settle();
    let arrived = pair.server.arrived.pop().expect("a call");
    assert_eq!(arrived.key.reply_id(), None);
    pair.server.reply(arrived.key, 5);
    pair.settle();
    assert!(pair.client.woken.is_empty());
    assert_eq!((pair.client.connection.calls(), pair.server.connection.running()), (0, 0));
}

#[test]
fn case_05_slices_of_one_byte_give_the_same_results() {
    let mut pair = Pair::new();
    let ids = [1, 2, 3].map(|waiter| pair.call(waiter));
    for byte in pair.client.output() {
        pair.server.receive(&[byte], pair.now).expect("sound frames");
    }
    let keys: Vec<_> = pair.server.arrived.iter().map(|arrived| arrived.key).collect();
    assert_eq!(keys.len(), 3);
    for (value, key) in keys.into_iter().rev().enumerate() {
        pair.server.reply(key, value as u8);
    }
    for byte in pair.server.output() {
        pair.client.receive(&[byte], pair.now).expect("sound frames");
    }
    assert_eq!(pair.client.woken, [3, 2, 1]);
    for (value, id) in ids.into_iter().rev().enumerate() {
        assert_eq!(pair.client.outcome(id).expect("a value").as_slice(), [value as u8]);
    }
}

#[test]
fn case_56_a_call_dropped_before_it_was_handed_over_is_never_sent() {
    let mut pair = Pair::new();
    let ids = [1, 2, 3].map(|waiter| pair.call(waiter));
    pair.client.drop_call(ids[1]);
    pair.settle();
    let keys: Vec<_> = pair.server.arrived.iter().map(|arrived| arrived.key).collect();
    assert_eq!(keys, [ids[0], ids[2]].map(|id| CallKey::Call(id.number())));
    assert!(pair.server.cancelled.is_empty() && pair.server.stopped.is_empty());

    let last = pair.call(4);
    pair.client.drop_call(last);
    assert!(!pair.client.connection.has_output(), "nothing is left to send");
}

#[test]
fn case_56_a_call_dropped_while_it_waits_is_never_sent() {
    let mut pair = Pair::connecting(Limits::default(), Limits::default());
    let id = pair.call(1);
    pair.client.drop_call(id);
    pair.open();
    pair.settle();
    assert!(pair.server.arrived.is_empty() && pair.client.woken.is_empty());
}

#[test]
fn case_57_a_call_dropped_after_it_was_handed_over_is_stopped() {
    let mut pair = Pair::new();
    let id = pair.call(1);
    pair.settle();
    pair.client.drop_call(id);
    pair.settle();
    let key = CallKey::Call(id.number());
    assert_eq!(pair.server.stopped, [key]);
    assert_eq!(pair.server.connection.running(), 1, "it counts until it has really ended");
    pair.server.stop(key);
    assert_eq!(pair.server.connection.running(), 0);
    assert!(!pair.server.connection.has_output(), "nobody waits for a reply");
}

#[test]
fn case_58_a_cancel_that_races_the_reply_leaves_one_outcome() {
    // The reply is on its way when the caller goes, and the cancel finds nothing.
    let mut pair = Pair::new();
    let id = pair.call(1);
    pair.settle();
    let key = pair.server.arrived[0].key;
    pair.server.reply(key, 5);
    pair.client.drop_call(id);
    pair.settle();
    assert_eq!((pair.client.connection.calls(), pair.server.connection.running()), (0, 0));
    assert!(pair.client.woken.is_empty() && pair.server.stopped.is_empty());
    assert_eq!(pair.server.cancelled, [id.number()]);

    // The cancel comes first, and the handler ends in that moment.
    let id = pair.call(2);
    pair.settle();
    let key = pair.server.arrived[1].key;
    pair.client.drop_call(id);
    pair.client_to_server();
    pair.server.reply(key, 6);
    assert!(!pair.server.connection.has_output(), "a reply that nobody waits for is not sent");
    pair.settle();
    assert_eq!((pair.client.connection.calls(), pair.server.connection.running()), (0, 0));

    // The reply was there, but its caller had not looked when it went.
    let id = pair.call(3);
    pair.settle();
    pair.server.reply(pair.server.arrived[2].key, 7);
    pair.settle();
    pair.client.drop_call(id);
    assert!(!pair.client.connection.has_output(), "there is nothing left to cancel");
    assert_eq!(pair.client.connection.calls(), 0);
}

#[test]
fn places_are_waited_for_and_granted_in_order() {
    let mut pair = Pair::with_limits(Limits::default(), Limits::default().with_calls(2));
    let ids: Vec<_> = (0..5).map(|waiter| pair.call(waiter)).collect();
    pair.settle();
    assert_eq!(pair.server.arrived.len(), 2, "the client knows the server's limit");
    assert!(ids[2..].iter().all(|id| matches!(pair.client.poll(*id), Next::Pending)));

    pair.server.reply(pair.server.arrived[1].key, 1);
    pair.settle();
    assert_eq!(pair.client.woken, [1, 2], "the answered one, then the one that has waited longest");
    assert!(matches!(pair.client.poll(ids[2]), Next::Granted));
    let sent = pair.client.resume(ids[2], 2, pair.now);
    pair.settle();
    assert_eq!(pair.server.arrived.len(), 3);
    assert_eq!(pair.server.arrived[2].key, CallKey::Call(sent.number()));

    // One that waits and goes gives its turn to the next; one that was sent gives its place.
    pair.client.drop_call(ids[3]);
    pair.client.drop_call(ids[0]);
    assert_eq!(pair.client.woken, [1, 2, 4]);
    assert!(matches!(pair.client.poll(ids[4]), Next::Granted));
}

#[test]
fn case_62_one_call_above_the_limit_is_refused_and_cancelled_ones_that_run_count() {
    let limits = || Limits::default().with_calls(2);
    let mut pair = Pair::with_limits(limits(), limits());
    let ids = [1, 2].map(|waiter| pair.call(waiter));
    pair.settle();
    // The client thinks that it has a place again; the server knows that the handler still runs.
    pair.client.drop_call(ids[0]);
    let above = pair.call(3);
    pair.settle();
    assert_eq!(pair.server.arrived.len(), 2);
    assert_eq!(pair.client.error(above), (Code::ResourceExhausted, Executed::No));

    pair.server.stop(CallKey::Call(ids[0].number()));
    let next = pair.call(4);
    pair.settle();
    assert_eq!(pair.server.arrived.len(), 3);
    assert!(matches!(pair.client.poll(next), Next::Pending));
}

#[test]
fn a_full_queue_makes_new_calls_wait() {
    let mut pair = Pair::with_limits(Limits::default().with_send_queue_bytes(1), Limits::default());
    let first = pair.call(1);
    let second = pair.call(2);
    pair.client_to_server();
    assert_eq!(pair.server.arrived.len(), 1);
    assert_eq!(pair.client.woken, [2], "there is room now");
    assert!(matches!(pair.client.poll(second), Next::Granted));
    assert!(matches!(pair.client.poll(first), Next::Pending));
    assert_eq!(plain().method, pair.server.arrived[0].method);
}
