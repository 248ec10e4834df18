//! Messages that no honest side sends.

use super::super::CallKey;
use super::pair::Pair;
use crate::limits::Limits;
use crate::message::Reason;

/// `[1, id, nil, 7]`, for an id of up to eight bytes.
fn reply_to(id: u64) -> Vec<u8> {
    let mut frame = vec![0x94, 1, 0xcf];
    frame.extend_from_slice(&id.to_be_bytes());
    frame.extend_from_slice(&[0xc0, 7]);
    frame
}

/// `[0, id, "m", []]`
fn request(id: u8) -> Vec<u8> {
    vec![0x94, 0, id, 0xa1, b'm', 0x90]
}

#[test]
fn case_28_a_reply_to_an_id_never_issued_ends_the_connection() {
    // Ids that were never given: of no sequence, of a slot that never was, of one that has not come so far.
    for never in [0, 1, 1 << 20, u64::MAX] {
        let mut pair = Pair::new();
        let violation = pair.client.frame(&reply_to(never), pair.now).expect_err("nobody asked");
        assert_eq!(violation.reason, Reason::Protocol, "id {never}");
    }
    let mut pair = Pair::new();
    let id = pair.call(1);
    for never in [id.number() + 1, id.number() + (1 << 20), id.number() ^ (1 << 20)] {
        let violation = pair.client.frame(&reply_to(never), pair.now).expect_err("nobody asked");
        assert_eq!(violation.reason, Reason::Protocol, "id {never}");
    }
}

#[test]
fn case_28_a_reply_to_a_call_that_still_waits_ends_the_connection() {
    let mut pair = Pair::with_limits(Limits::default(), Limits::default().with_calls(1));
    pair.call(1);
    let waiting = pair.call(2);
    let violation = pair.client.frame(&reply_to(waiting.number()), pair.now).expect_err("it was not sent");
    assert_eq!(violation.reason, Reason::Protocol);
}

#[test]
fn case_28_a_late_reply_is_ignored_and_counted() {
    let mut pair = Pair::new();
    let id = pair.call(1);
    pair.settle();
    pair.client.drop_call(id);
    pair.client.frame(&reply_to(id.number()), pair.now).expect("it may have been on its way");
    assert!(pair.client.woken.is_empty());
    assert_eq!(pair.client.connection.ignored(), 1);
}

#[test]
fn case_29_a_second_reply_is_ignored_and_counted_and_the_first_kept() {
    let mut pair = Pair::new();
    let id = pair.call(1);
    pair.settle();
    pair.server.reply(CallKey::Call(id.number()), 5);
    pair.settle();
    pair.client.frame(&reply_to(id.number()), pair.now).expect("an oddity at most");
    assert_eq!(pair.client.woken, [1]);
    assert_eq!(pair.client.outcome(id).expect("a value").as_slice(), [5]);
    pair.client.frame(&reply_to(id.number()), pair.now).expect("an oddity at most");
    assert_eq!(pair.client.connection.ignored(), 2);
}

#[test]
fn case_51_an_id_in_use_ends_the_connection_and_does_not_run_twice() {
    let mut pair = Pair::new();
    pair.server.frame(&request(7), pair.now).expect("a call");
    let violation = pair.server.frame(&request(7), pair.now).expect_err("the id is in use");
    assert_eq!(violation.reason, Reason::Protocol);
    assert_eq!(pair.server.arrived.len(), 1);

    // An id whose call has ended is free again: nothing says that ids must differ for ever.
    let mut pair = Pair::new();
    pair.server.frame(&request(7), pair.now).expect("a call");
    pair.server.reply(CallKey::Call(7), 1);
    pair.server.frame(&request(7), pair.now).expect("another call");
    assert_eq!(pair.server.arrived.len(), 2);

    // One that was cancelled and still runs is not.
    pair.server.frame(&[0x92, 6, 7], pair.now).expect("a cancel");
    pair.server.frame(&request(7), pair.now).expect_err("the id is in use");
}

#[test]
fn case_59_a_cancel_of_an_unknown_id_is_ignored_and_counted() {
    let mut pair = Pair::new();
    pair.server.frame(&request(7), pair.now).expect("a call");
    pair.server.frame(&[0x92, 6, 8], pair.now).expect("a cancel");
    assert!(pair.server.stopped.is_empty());
    assert_eq!(pair.server.connection.ignored(), 1);
    pair.server.frame(&[0x92, 6, 7], pair.now).expect("a cancel");
    pair.server.frame(&[0x92, 6, 7], pair.now).expect("a second cancel");
    assert_eq!(pair.server.stopped, [CallKey::Call(7)]);
    assert_eq!(pair.server.connection.ignored(), 2);
}

#[test]
fn case_11_a_second_hello_ends_the_connection() {
    let mut pair = Pair::new();
    // [10, 1, 1, [], {}]
    let violation = pair.server.frame(&[0x95, 10, 1, 1, 0x90, 0x80], pair.now).expect_err("not now");
    assert_eq!(violation.reason, Reason::Protocol);
}

#[test]
fn case_22_only_optional_kinds_may_be_unknown() {
    let mut pair = Pair::new();
    pair.server.frame(&[0x92, 64, 1], pair.now).expect("it need not be understood");
    let violation = pair.server.frame(&[0x92, 63, 1], pair.now).expect_err("it must be understood");
    assert_eq!(violation.reason, Reason::Protocol);
}

#[test]
fn case_47_an_envelope_that_is_not_sound_ends_the_connection_whatever_its_kind() {
    let unsound: &[&[u8]] = &[
        &[0xc0],
        &[0x90],
        &[0x91, 0xc0],
        &[0x94, 0, 0xc0, 0xa1, b'm', 0x90],
        &[0x94, 0, 7, 0x05, 0x90],
        &[0x94, 0, 7, 0xa1, 0xff, 0x90],
        &[0x94, 0, 7, 0xa1, b'm'],
        &[0x93, 2, 0x90],
        &[0x96, 3, 7, 0xa1, b'm', 0xa0, 0x80, 0x90],
        &[0x96, 3, 7, 0xa1, b'm', 0xc0, 0xdf, 0xff, 0xff, 0xff, 0xff],
        &[0x96, 3, 7, 0xa1, b'm', 0xc0, 0x81, 1, 2, 0x90],
        &[0x94, 1, 0xd0, 0xff, 0xc0, 0xc0],
        &[0x92, 6, 0xa0],
        &[0x93, 6, 7, 7],
        &[0x94, 9, 0, 0, 0xc0],
    ];
    for frame in unsound {
        let mut pair = Pair::new();
        let violation = pair.server.frame(frame, pair.now).expect_err("an unsound envelope");
        assert_eq!(violation.reason, Reason::Protocol, "{frame:02x?}");
        assert!(pair.server.arrived.is_empty(), "{frame:02x?}");
    }
}
