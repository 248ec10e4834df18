//! Memory of handlers that have ended, kept by each thread for the next ones of their type.
//!
//! A connection borrows it for as long as it starts handlers, one after the other, so that it has none while it is
//! idle: it may be as large as the largest handler of a service. A call in process has no task: its handler runs in
//! whoever polls it, on any thread. What belongs to the thread is found without a lock.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::Context;

use super::dispatch::{HandlerFuture, Slot, poll_and_clear};
use crate::context::Ambient;
use crate::failure::Reply;

/// Of how many handlers a thread keeps the memory; beyond it is allocated each time.
const KEPT: usize = 64;

/// Handlers that are larger than this take their memory with them.
const LARGEST: usize = 16 * 1024;

/// Memory for a handler. It is boxed once more, so that it can lie among that of others.
pub(super) type Spare<F> = Option<Pin<Box<Slot<F>>>>;

thread_local! {
    /// What was used last, for it is most likely what is used next.
    static LAST: Cell<Option<Box<dyn Any>>> = const { Cell::new(None) };
    static OTHERS: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Starts a handler and polls it once, in its context. If it goes on it is given back; else `ended` gets its reply,
/// and passes it on to where it stays, without one more copy.
#[inline]
pub(super) fn run<F: Future<Output = Reply> + Send + 'static>(
    start: impl FnOnce() -> F,
    ambient: &mut Option<Ambient>,
    cx: &mut Context<'_>,
    ended: impl FnMut(Reply),
) -> Option<HandlerFuture> {
    let mut spare = take::<F>();
    let slot = spare.get_or_insert_with(|| Box::pin(Slot::empty()));
    slot.as_mut().fill(start());
    if poll_and_clear(slot.as_mut(), ambient, cx, ended).is_pending() {
        let slot = spare.take();
        put(spare);
        return slot.map(|slot| -> HandlerFuture { slot });
    }
    put(spare);
    None
}

#[inline]
pub(super) fn take<F: 'static>() -> Box<Spare<F>> {
    match LAST.try_with(Cell::take).ok().flatten().map(|last| last.downcast()) {
        Some(Ok(spare)) => spare,
        Some(Err(other)) => find(Some(other)),
        None => find(None),
    }
}

#[inline]
pub(super) fn put<F: 'static>(spare: Box<Spare<F>>) {
    if size_of::<F>() > LARGEST {
        return;
    }
    // It belongs to nobody where the thread ends.
    if let Ok(Some(other)) = LAST.try_with(|last| last.replace(Some(spare))) {
        keep(other);
    }
}

/// Looks for memory among that of others, and puts `other` there.
#[cold]
fn find<F: 'static>(other: Option<Box<dyn Any>>) -> Box<Spare<F>> {
    let found = OTHERS.try_with(|others| {
        let mut others = others.borrow_mut();
        let at = others.iter().position(|other| other.is::<Spare<F>>())?;
        others.swap_remove(at).downcast().ok()
    });
    other.into_iter().for_each(keep);
    found.ok().flatten().unwrap_or_default()
}

#[cold]
fn keep(spare: Box<dyn Any>) {
    let refused = OTHERS.try_with(|others| {
        let mut others = others.borrow_mut();
        if others.len() < KEPT {
            others.push(spare);
            None
        } else {
            Some(spare)
        }
    });
    drop(refused);
}
