//! How a connection learns that nothing runs any more, and how what runs is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::world::{Open, block_on, flush, join, model, receive, spawn};
use crate::limits::Limits;
use crate::message::encode_cancel;
use crate::{Call, Executed};

#[test]
fn a_drain_ends_when_the_last_handler_has() {
    model(2, || {
        let open = Open::serving(Limits::default(), &Limits::default());
        let ended = Arc::new(AtomicUsize::new(0));
        let tasks = [1, 2].map(|id| {
            let ended = ended.clone();
            open.handler(id, false, async move {
                ended.fetch_add(1, Ordering::Relaxed);
            })
        });
        let tasks = tasks.map(|task| spawn(move || block_on(task)));
        open.wire.follow();
        open.link.start_drain();
        block_on(open.driver);
        assert_eq!(ended.load(Ordering::Relaxed), 2, "both had ended");
        let mut replies = open.wire.replies();
        replies.sort_unstable();
        assert_eq!(replies, [1, 2], "and their replies were sent");
        assert!(open.link.registry.running.has_room(1), "whoever has a reply may call again at once");
        tasks.into_iter().for_each(join);
    });
}

#[test]
fn a_drain_that_begins_as_the_last_handler_is_stopped_ends_too() {
    model(3, || {
        let open = Open::serving(Limits::default(), &Limits::default());
        let task = open.handler(1, false, async {});
        // Without a reply, which would wake the connection's task in any case.
        let task = spawn(move || drop(task));
        open.wire.follow();
        let link = open.link.clone();
        let drains = spawn(move || link.start_drain());
        block_on(open.driver);
        join(task);
        join(drains);
        assert!(open.link.lock().connection.is_idle());
    });
}

#[test]
fn a_client_that_goes_lets_its_last_call_end_and_waits_for_nobody() {
    model(3, || {
        let open = Open::new(&Limits::default());
        open.wire.answer(1);
        let call: Call<u8> = open.channel.call("m", ());
        let caller = spawn(move || block_on(call));
        let (driver, link) = (open.driver, open.link);
        let task = spawn(move || block_on(driver));
        link.retire();
        // It came too late, or was answered.
        match join(caller) {
            Ok(value) => assert_eq!(value, 1),
            Err(error) => assert_eq!(error.executed(), Executed::No, "{error}"),
        }
        join(task);
    });
}

#[test]
fn a_handler_that_ends_as_it_is_cancelled_ends_once() {
    model(3, || {
        let open = Open::serving(Limits::default(), &Limits::default());
        let task = open.handler(1, false, async {});
        let ends = spawn(move || block_on(task));
        let mut cancel = Vec::new();
        encode_cancel(&mut cancel, 1);
        receive(&open.link, &cancel);
        join(ends);
        flush(&open.link);
        let shared = open.link.lock();
        let came_late = shared.connection.ignored();
        assert_eq!(open.wire.replies().len() as u64, came_late, "no reply to a caller that has gone");
        assert!(shared.connection.is_idle());
    });
}
