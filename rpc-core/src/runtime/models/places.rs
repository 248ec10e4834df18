//! Places on the other side, which are granted to calls that wait, and passed on by those that go; and the line of
//! handlers that wait to start.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Waker};

use super::world::{Open, begin, block_on, flush, join, model, receive, reply, spawn};
use crate::limits::Limits;
use crate::message::encode_ping;
use crate::{Call, Channel, Code, Error, Executed};

fn call(channel: &Channel) -> Call<u8> {
    channel.call("m", ())
}

/// A connection with one place, which a call has, and two calls that wait for it.
fn one_place() -> (Open, Call<u8>, [Call<u8>; 2]) {
    let open = Open::new(&Limits::default().with_calls(1));
    let mut calls = [(); 3].map(|()| call(&open.channel));
    calls.iter_mut().for_each(begin);
    let [has_it, first, second] = calls;
    (open, has_it, [first, second])
}

/// Waits for a call, and answers all calls that are sent meanwhile, from one of them on.
fn answered(mut call: Call<u8>, open: &Open, from: usize) -> Result<u8, Error> {
    let mut answered = from;
    block_on(poll_fn(|cx| {
        let polled = Pin::new(&mut call).poll(cx);
        if polled.is_pending() {
            flush(&open.link);
            for id in &open.wire.calls()[answered..] {
                answered += 1;
                receive(&open.link, &reply(*id, 1));
            }
        }
        polled
    }))
}

#[test]
fn a_place_that_a_call_is_granted_as_it_goes_is_passed_on() {
    model(4, || {
        let (open, has_it, [goes, waits]) = one_place();
        let (link, id) = (open.link.clone(), open.wire.calls()[0]);
        let frees = spawn(move || receive(&link, &reply(id, 1)));
        let goes = spawn(move || drop(goes));
        assert_eq!(answered(waits, &open, 1).expect("it has its place in the end"), 1);
        join(frees);
        join(goes);
        drop(has_it);
        assert!(open.link.lock().connection.is_idle());
    });
}

#[test]
fn a_place_that_a_call_has_used_before_it_goes_is_passed_on() {
    model(4, || {
        let (open, has_it, [mut goes, waits]) = one_place();
        let (link, id) = (open.link.clone(), open.wire.calls()[0]);
        let frees = spawn(move || receive(&link, &reply(id, 1)));
        let goes = spawn(move || {
            // It may have its place by now, and then it is sent.
            let _ = Pin::new(&mut goes).poll(&mut Context::from_waker(Waker::noop()));
        });
        assert_eq!(answered(waits, &open, 1).expect("it has its place in the end"), 1);
        join(frees);
        join(goes);
        drop(has_it);
        assert!(open.link.lock().connection.is_idle());
    });
}

#[test]
fn a_place_that_is_granted_on_a_lost_connection_is_no_second_end() {
    model(4, || {
        let (open, has_it, [first, second]) = one_place();
        let (link, id) = (open.link.clone(), open.wire.calls()[0]);
        let frees = spawn(move || receive(&link, &reply(id, 1)));
        let link = open.link.clone();
        let loses = spawn(move || link.close(Error::new(Code::Unavailable, "the connection was lost")));
        let error = block_on(first).expect_err("nobody answers");
        // It was sent, as the second of all calls, if the reply came before the loss; the one behind it never was.
        let sent = open.wire.calls().len() > 1;
        assert!(!sent || error.executed() == Executed::Maybe, "{error}");
        assert_eq!(block_on(second).expect_err("nobody answers").executed(), Executed::No);
        join(frees);
        join(loses);
        drop(has_it);
        assert!(open.link.lock().connection.is_idle());
    });
}

/// A connection on which so much waits to be sent that handlers have to wait, as two do.
fn crowded() -> (Open, [super::super::handler::HandlerTask; 2]) {
    let limits = Limits::default().with_send_queue_bytes(1);
    let open = Open::serving(limits, &Limits::default());
    let mut ping = Vec::new();
    encode_ping(&mut ping, 1);
    receive(&open.link, &ping);
    let mut tasks = [1, 2].map(|id| open.handler(id, true, async {}));
    tasks.iter_mut().for_each(begin);
    (open, tasks)
}

#[test]
fn handlers_that_wait_to_start_do_when_there_is_room() {
    model(2, || {
        let (open, tasks) = crowded();
        let wire = open.wire.clone();
        let driver = open.driver;
        let [first, second] = tasks;
        let first = spawn(move || block_on(first));
        let task = spawn(move || block_on(driver));
        block_on(second);
        join(first);
        wire.end();
        join(task);
    });
}

#[test]
fn a_turn_to_start_is_passed_on_by_a_handler_that_goes() {
    model(2, || {
        let (open, [goes, starts]) = crowded();
        let wire = open.wire.clone();
        let driver = open.driver;
        let goes = spawn(move || drop(goes));
        let task = spawn(move || block_on(driver));
        block_on(starts);
        join(goes);
        wire.end();
        join(task);
    });
}

#[test]
fn handlers_that_wait_to_start_learn_that_nothing_will_be_sent_any_more() {
    model(3, || {
        let (open, [first, second]) = crowded();
        let link = open.link.clone();
        let loses = spawn(move || link.close(Error::new(Code::Unavailable, "the connection was lost")));
        let first = spawn(move || block_on(first));
        block_on(second);
        join(first);
        join(loses);
    });
}
