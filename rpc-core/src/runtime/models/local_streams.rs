//! The streams of a call in this process: its handler takes items on one thread while the call ends on another.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;

use super::super::local_streams::LocalStreams;
use super::world::{block_on, join, model, spawn};
use crate::marshal::{ItemWriter, Shape};
use crate::stream::{CallStreams, Fill, Incoming, Inlet, Producer};

/// Has no item yet, and never will; counts how often it is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Producer for Waiting {
    fn poll_fill(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ItemWriter) -> Fill {
        Fill::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The streams of a call, its handler's end of the one that there is, and how often that was dropped.
fn streams() -> (Arc<LocalStreams>, Box<dyn Inlet>, Arc<AtomicUsize>) {
    let dropped = Arc::new(AtomicUsize::new(0));
    let streams = LocalStreams::new(vec![Box::pin(Waiting(dropped.clone()))], Shape::Named);
    let argument = streams.argument(1).expect("it is the first");
    (streams, argument, dropped)
}

#[test]
fn a_handler_that_waits_learns_that_its_call_has_ended() {
    model(5, || {
        let (streams, mut argument, dropped) = streams();
        let ends = spawn(move || streams.end_arguments());
        let end = block_on(poll_fn(|cx| argument.poll_items(cx)));
        assert!(matches!(end, Incoming::End(Err(_))), "{end:?}");
        join(ends);
        assert_eq!(dropped.load(Ordering::Relaxed), 1, "once, by whoever had it");
    });
}

#[test]
fn a_stream_is_dropped_once_by_whoever_goes_first() {
    model(5, || {
        let (streams, argument, dropped) = streams();
        let ends = spawn(move || streams.end_arguments());
        drop(argument);
        join(ends);
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn an_argument_is_given_to_one_who_takes_it() {
    model(5, || {
        let streams = LocalStreams::new(vec![Box::pin(Waiting(Arc::default()))], Shape::Named);
        let other = streams.clone();
        let other = spawn(move || other.argument(1).is_some());
        let taken = streams.argument(1).is_some();
        assert!(taken != join(other));
    });
}
