//! Calls over a link, against their replies, the loss of the connection and callers that go.

use super::world::{Open, begin, block_on, join, model, receive, reply, spawn};
use crate::limits::Limits;
use crate::{Call, Channel, Code, Error, Executed};

fn call(channel: &Channel) -> Call<u8> {
    channel.call("m", ())
}

fn loss() -> Error {
    Error::new(Code::Unavailable, "the connection was lost")
}

/// What must hold of a call that a lost connection has ended.
fn check_lost(result: &Result<u8, Error>, sent: bool) {
    let error = result.as_ref().expect_err("nobody has answered");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(!sent || error.executed() == Executed::Maybe, "it may have run: {error}");
}

#[test]
fn a_reply_ends_its_call() {
    model(4, || {
        let open = Open::new(&Limits::default());
        let mut call = call(&open.channel);
        begin(&mut call);
        let (link, id) = (open.link.clone(), open.wire.calls()[0]);
        let replies = spawn(move || receive(&link, &reply(id, 1)));
        assert_eq!(block_on(call).expect("a reply"), 1);
        join(replies);
        assert!(open.link.lock().connection.is_idle());
    });
}

#[test]
fn a_call_that_is_dropped_is_cancelled_or_had_ended() {
    model(4, || {
        let open = Open::new(&Limits::default());
        let mut dropped = call(&open.channel);
        begin(&mut dropped);
        let (link, id) = (open.link.clone(), open.wire.calls()[0]);
        let replies = spawn(move || receive(&link, &reply(id, 1)));
        drop(dropped);
        assert!(open.link.lock().connection.is_idle(), "its slot is free, whether a reply comes or not");
        join(replies);
        let mut shared = open.link.lock();
        // It is cancelled if its reply had not come, and then that was late; or nothing is said of it.
        assert_eq!(shared.connection.ignored() == 1, shared.connection.has_output());
        shared.connection.close(loss(), &mut Default::default());
    });
}

#[test]
fn a_lost_connection_ends_calls_by_whether_they_were_sent() {
    model(4, || {
        let open = Open::new(&Limits::default());
        let callers = [(); 2].map(|()| {
            let call = call(&open.channel);
            spawn(move || block_on(call))
        });
        open.link.close(loss());
        let results = callers.map(join);
        let sent = open.wire.calls().len();
        for result in &results {
            check_lost(result, false);
        }
        let maybe = results.iter().flat_map(Result::as_ref).count()
            + results
                .iter()
                .filter(|result| matches!(result, Err(error) if error.executed() == Executed::Maybe))
                .count();
        assert!(maybe >= sent, "{sent} were sent, and {maybe} may have run");
        assert!(open.link.lock().connection.is_idle());
    });
}

#[test]
fn of_a_reply_and_a_loss_one_is_the_end() {
    model(4, || {
        let open = Open::new(&Limits::default());
        let mut call = call(&open.channel);
        begin(&mut call);
        let (link, id) = (open.link.clone(), open.wire.calls()[0]);
        let replies = spawn(move || receive(&link, &reply(id, 1)));
        let link = open.link.clone();
        let loses = spawn(move || link.close(loss()));
        match block_on(call) {
            Ok(value) => assert_eq!(value, 1),
            lost => check_lost(&lost, true),
        }
        join(replies);
        join(loses);
        assert!(open.link.lock().connection.is_idle());
    });
}
