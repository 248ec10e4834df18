//! Who writes: callers who write through themselves, and the connection's task, which sees to what they leave.

use std::task::Waker;

use super::world::{Bell, Open, begin, block_on, join, model, spawn};
use crate::limits::Limits;
use crate::{Call, Channel, Code, Executed};

fn call(channel: &Channel) -> Call<u8> {
    channel.call("m", ())
}

#[test]
fn what_is_entered_is_written_or_the_task_is_woken() {
    model(5, || {
        let open = Open::new(&Limits::default());
        let task = Bell::new();
        open.link.lock().register(&Waker::from(task.clone()));
        let callers = [(); 2].map(|()| {
            let mut call = call(&open.channel);
            spawn(move || {
                begin(&mut call);
                call
            })
        });
        let calls = callers.map(join);
        let has_output = open.link.lock().connection.has_output();
        assert_eq!(open.wire.calls().len() < 2, has_output, "it is written once, or still lies there");
        assert!(!has_output || task.has_rung(), "nobody will write it");
        drop(calls);
    });
}

#[test]
fn callers_and_the_task_write_all_there_is() {
    model(3, || {
        let open = Open::new(&Limits::default());
        // No reply comes, and would wake the task, before all three are there. The first call is written by its caller,
        // since it is alone, and the others by the task.
        open.wire.answer(3);
        let mut first = call(&open.channel);
        begin(&mut first);
        let (driver, wire) = (open.driver, open.wire);
        let task = spawn(move || block_on(driver));
        let other = call(&open.channel);
        let other = spawn(move || block_on(other));
        assert_eq!(block_on(call(&open.channel)).expect("a reply"), 1);
        assert_eq!(join(other).expect("a reply"), 1);
        assert_eq!(block_on(first).expect("a reply"), 1);
        wire.end();
        join(task);
        assert_eq!(wire.calls().len(), 3, "each was written once");
    });
}

#[test]
fn the_task_goes_on_with_what_a_caller_could_not_write() {
    model(3, || {
        let open = Open::new(&Limits::default());
        open.wire.answer(1);
        open.wire.fill();
        let (driver, wire) = (open.driver, open.wire);
        let task = spawn(move || block_on(driver));
        let caller = call(&open.channel);
        let caller = spawn(move || block_on(caller));
        wire.make_room();
        assert_eq!(join(caller).expect("a reply"), 1);
        wire.end();
        join(task);
    });
}

#[test]
fn a_write_that_fails_for_a_caller_ends_the_connection() {
    model(3, || {
        let open = Open::new(&Limits::default());
        open.wire.break_off();
        let driver = open.driver;
        let task = spawn(move || block_on(driver));
        let error = block_on(call(&open.channel)).expect_err("nothing can be written");
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
        assert_eq!(join(task).code(), Code::Unavailable);
    });
}

#[test]
fn a_connection_that_ends_waits_for_no_caller_that_writes() {
    model(3, || {
        let open = Open::new(&Limits::default());
        // No message, so that this side says why it goes; and then the other side has gone as well.
        open.wire.come(&[0xc0]);
        open.wire.end();
        let driver = open.driver;
        let task = spawn(move || block_on(driver));
        let error = block_on(call(&open.channel)).expect_err("nobody answers");
        assert_eq!(error.code(), Code::Unavailable);
        assert_eq!(join(task).code(), Code::Unavailable);
    });
}
