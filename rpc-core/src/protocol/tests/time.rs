//! Deadlines, signs of life, and sides that owe something.

use std::time::{Duration, Instant};

use super::super::CallKey;
use super::pair::{Next, Pair, Plain, Side};
use crate::frame::LENGTH_BYTES;
use crate::limits::{DRAIN_NOTICE, Limits};
use crate::message::Reason;
use crate::{Code, Executed};

const SECOND: Duration = Duration::from_secs(1);

fn until(deadline: Instant) -> impl FnOnce(Plain) -> Plain {
    move |call| Plain { deadline: Some(deadline), ..call }
}

#[test]
fn a_deadline_ends_a_call_on_both_sides() {
    let mut pair = Pair::new();
    let id = pair.client.call(1, pair.now, until(pair.now + SECOND));
    pair.settle();
    let key = CallKey::Call(id.number());
    assert_eq!(pair.server.arrived[0].deadline, Some(pair.now + SECOND));

    pair.wait(SECOND);
    assert_eq!(pair.client.woken, [1]);
    assert_eq!(pair.client.error(id), (Code::DeadlineExceeded, Executed::Maybe));
    assert_eq!(pair.server.stopped, [key]);
    // Each tells the other; neither minds.
    pair.settle();
    pair.server.stop(key);
    assert_eq!((pair.client.connection.calls(), pair.server.connection.running()), (0, 0));
}

#[test]
fn a_server_ends_a_call_whose_client_keeps_no_time() {
    let mut pair = Pair::new();
    let id = pair.client.call(1, pair.now, until(pair.now + SECOND));
    pair.settle();
    pair.now += SECOND;
    pair.server.tick(pair.now).expect("nothing else is due");
    pair.server_to_client();
    assert_eq!(pair.client.error(id), (Code::DeadlineExceeded, Executed::Maybe));
}

#[test]
fn a_deadline_counts_while_a_call_waits() {
    let mut pair = Pair::with_limits(Limits::default(), Limits::default().with_calls(1));
    let first = pair.call(1);
    let waiting = pair.client.call(2, pair.now, until(pair.now + SECOND));
    pair.settle();
    pair.wait(SECOND);
    assert_eq!(pair.client.error(waiting), (Code::DeadlineExceeded, Executed::No));
    assert!(!pair.client.connection.has_output(), "what was never sent is not cancelled");
    assert!(matches!(pair.client.poll(first), Next::Pending));
}

#[test]
fn case_53_no_time_left_is_refused_without_a_start() {
    let mut pair = Pair::new();
    // [3, 9, "Target.method", 0, {}, []]
    let mut frame = vec![0x96, 3, 9, 0xad];
    frame.extend_from_slice(b"Target.method");
    frame.extend_from_slice(&[0, 0x80, 0x90]);
    pair.server.frame(&frame, pair.now).expect("a sound envelope");
    assert!(pair.server.arrived.is_empty());
    assert!(pair.server.connection.has_output(), "the caller is told");
    assert_eq!(pair.server.connection.running(), 0);
}

#[test]
fn case_54_a_deadline_that_is_too_far_is_clamped() {
    let mut pair = Pair::new();
    let day = Duration::from_secs(24 * 60 * 60);
    let far = pair.now + 3 * 365 * day;
    pair.client.call(1, pair.now, until(far));
    pair.settle();
    assert_eq!(pair.server.arrived[0].deadline, Some(pair.now + day));
    // [3, 9, "m", u64::MAX, {}, []]
    let frame = [0x96, 3, 9, 0xa1, b'm', 0xcf, 255, 255, 255, 255, 255, 255, 255, 255, 0x80, 0x90];
    pair.server.frame(&frame, pair.now).expect("a sound envelope");
    assert_eq!(pair.server.arrived[1].deadline, Some(pair.now + day));
}

#[test]
fn spans_without_end_are_no_panic() {
    let forever = Duration::MAX;
    let limits = || {
        Limits::default()
            .with_max_deadline(forever)
            .with_stall_timeout(forever)
            .with_keepalive_interval(forever)
            .with_keepalive_timeout(forever)
    };
    let mut pair = Pair::with_limits(limits(), limits());
    let frame = [0x96, 3, 9, 0xa1, b'm', 0xcf, 255, 255, 255, 255, 255, 255, 255, 255, 0x80, 0x90];
    pair.server.frame(&frame, pair.now).expect("a sound envelope");
    pair.server.receive(&[0, 0], pair.now).expect("the beginning of a frame");
    pair.server.connection.blocked(pair.now, false);
    pair.wait(Duration::from_secs(365 * 24 * 60 * 60));
    assert_eq!(pair.server.arrived.len(), 1);
}

#[test]
fn a_silent_connection_is_asked_for_a_sign_of_life_and_given_up_without_one() {
    let mut pair = Pair::new();
    pair.wait(Duration::from_secs(29));
    assert!(!pair.client.connection.has_output());
    pair.wait(SECOND);
    assert!(pair.client.connection.has_output(), "a ping");
    pair.settle();
    pair.wait(Duration::from_secs(29));
    assert!(!pair.client.connection.has_output(), "the answer counts as a sign");

    pair.wait(SECOND);
    let asked = pair.now;
    drop(pair.client.output());
    pair.now = asked + Duration::from_secs(20) - Duration::from_millis(1);
    pair.client.tick(pair.now).expect("there is a moment left");
    pair.now = asked + Duration::from_secs(20);
    let violation = pair.client.tick(pair.now).expect_err("it is over");
    assert_eq!(violation.reason, Reason::Stall);
}

#[test]
fn an_answer_to_a_ping_is_not_late_before_the_other_side_has_got_that() {
    let mut pair = Pair::new();
    // The transport takes slowly what was there before the ping, and then what the ping is among.
    pair.client.connection.blocked(pair.now, false);
    let mut minute = |client: &mut Side| {
        for _ in 0..60 {
            pair.now += SECOND;
            client.connection.blocked(pair.now, true);
            client.tick(pair.now).expect("the other side takes what it is sent, if slowly");
        }
        pair.now
    };
    minute(&mut pair.client);
    assert!(!pair.client.output().is_empty(), "a ping");
    let now = minute(&mut pair.client);
    pair.client.connection.sent(|| now);
    let late = now + Duration::from_secs(20);
    // From then on it may be late, whatever else is taken.
    pair.client.connection.blocked(late - SECOND, true);
    pair.client.tick(late - Duration::from_millis(1)).expect("there is a moment left");
    assert_eq!(pair.client.tick(late).expect_err("it is over").reason, Reason::Stall);
}

#[test]
fn case_27_a_frame_that_does_not_go_on_is_a_stall() {
    let mut pair = Pair::with_limits(
        Limits::default(),
        Limits::default().with_keepalive_interval(Duration::from_secs(300)),
    );
    pair.server.receive(&[0, 0, 0], pair.now).expect("the beginning of a frame");
    let until = pair.now + Duration::from_secs(30);
    assert_eq!(pair.server.connection.poll_timeout(), Some(until));
    pair.server.tick(until - Duration::from_millis(1)).expect("there is a moment left");
    let violation = pair.server.tick(until).expect_err("it is over");
    assert_eq!(violation.reason, Reason::Stall);
}

#[test]
fn a_frame_is_not_owed_while_this_side_does_not_read() {
    let mut pair = Pair::new();
    pair.server.receive(&[0, 0, 0], pair.now).expect("the beginning of a frame");
    // The other side takes replies, but slowly, and so nothing is read from it.
    for _ in 0..120 {
        pair.server.connection.not_reading(pair.now);
        pair.server.connection.blocked(pair.now, true);
        pair.now += SECOND;
        pair.server.tick(pair.now).expect("it reads what it is sent");
    }
    // From the moment this side reads again it counts anew.
    pair.server.connection.sent(|| pair.now);
    pair.server.receive(&[1], pair.now).expect("the frame's length");
    pair.now += Duration::from_secs(30);
    assert_eq!(pair.server.tick(pair.now).expect_err("a stall").reason, Reason::Stall);
}

#[test]
fn a_side_that_does_not_read_is_a_stall_and_a_slow_one_is_not() {
    let mut pair = Pair::with_limits(
        Limits::default(),
        Limits::default().with_keepalive_interval(Duration::from_secs(300)),
    );
    for _ in 0..5 {
        pair.server.connection.blocked(pair.now, true);
        pair.now += Duration::from_secs(29);
        pair.server.tick(pair.now).expect("it reads, if slowly");
        pair.server.connection.blocked(pair.now, false);
    }
    pair.now += SECOND;
    assert_eq!(pair.server.tick(pair.now).expect_err("a stall").reason, Reason::Stall);
}

#[test]
fn a_drain_that_is_not_answered_is_done_after_its_notice_and_asks_for_no_more_time() {
    let mut pair = Pair::new();
    let id = pair.call(1);
    pair.settle();
    pair.server.connection.start_drain(pair.now);
    drop(pair.server.output());
    let notice = pair.now + DRAIN_NOTICE;
    assert_eq!(pair.server.connection.poll_timeout(), Some(notice));
    // The helper's tick asserts that nothing that was due is due again.
    pair.server.tick(notice).expect("nothing is wrong");
    assert!(!pair.server.connection.is_finished(notice), "a call runs");
    pair.server.reply(CallKey::Call(id.number()), 1);
    assert!(pair.server.connection.is_finished(notice));
}

#[test]
fn a_side_that_has_said_all_it_has_to_say_is_pinged_and_owes_no_answer() {
    let mut pair = Pair::new();
    let id = pair.call(1);
    pair.client.connection.retire(pair.now, false);
    pair.client_to_server();
    drop(pair.server.output());
    pair.server.end_of_bytes();
    // Nothing can come any more, but what goes out tells the transport whether anybody is there.
    for _ in 0..20 {
        pair.now += Duration::from_secs(30);
        pair.server.tick(pair.now).expect("it waits for its reply and can say nothing");
        let output = pair.server.output();
        assert_eq!(
            (output.len(), &output[LENGTH_BYTES..][..2]),
            (LENGTH_BYTES + 3, &[0x92, 7][..]),
            "a ping"
        );
        let due = pair.server.connection.poll_timeout();
        assert_eq!(due, Some(pair.now + Duration::from_secs(30)));
    }
    pair.server.reply(CallKey::Call(id.number()), 5);
    pair.server_to_client();
    assert_eq!(pair.client.outcome(id).expect("a value").as_slice(), [5]);
}
