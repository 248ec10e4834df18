//! The place where a caller waits, against whoever tells it.

use std::sync::Arc;
use std::task::Waker;

use super::super::pending::{Pending, Progress};
use super::world::{Bell, join, model, spawn};
use crate::marshal::Payload;
use crate::protocol::Outcome;

fn ended(value: u8) -> Progress {
    Progress::Ended(Outcome::from(Payload::from_slice(&[value])))
}

fn value(progress: Progress) -> Option<u8> {
    match progress {
        Progress::Granted => None,
        Progress::Ended(outcome) => Some(outcome.result.expect("a value").as_slice()[0]),
    }
}

/// What became of a call that waits here, asked for whenever its bell rings.
fn wait(pending: &Pending, bell: &Arc<Bell>) -> Progress {
    let waker = Waker::from(bell.clone());
    loop {
        match pending.poll(&waker) {
            Some(progress) => return progress,
            None => bell.wait(),
        }
    }
}

#[test]
fn a_call_ends_once_in_whichever_order_it_is_told() {
    model(5, || {
        let (pending, bell) = (Arc::new(Pending::default()), Bell::new());
        let turn = pending.take(&Waker::from(bell.clone())).expect("it is free");
        let tellers = [Progress::Granted, ended(1)].map(|progress| {
            let pending = pending.clone();
            spawn(move || pending.tell(turn, progress))
        });
        let mut last = wait(&pending, &bell);
        if let Progress::Granted = last {
            last = wait(&pending, &bell);
        }
        assert_eq!(value(last), Some(1), "it is granted its place once, and then ends");
        tellers.into_iter().for_each(join);
        assert!(pending.poll(Waker::noop()).is_none(), "the end is the last word");
    });
}

#[test]
fn what_comes_for_an_earlier_call_reaches_no_later_one() {
    model(5, || {
        let (pending, bell) = (Arc::new(Pending::default()), Bell::new());
        let waker = Waker::from(bell.clone());
        let first = pending.take(&waker).expect("it is free");
        let late = pending.clone();
        let late = spawn(move || {
            late.tell(first, Progress::Granted);
            late.tell(first, ended(1));
        });
        pending.leave();
        let second = pending.take(&waker).expect("it is free again");
        let told = pending.clone();
        let told = spawn(move || told.tell(second, ended(2)));
        assert_eq!(value(wait(&pending, &bell)), Some(2));
        join(late);
        join(told);
        assert!(pending.take(&waker).is_some(), "it is free again");
        assert!(pending.poll(&waker).is_none());
    });
}

#[test]
fn whoever_asked_last_is_woken() {
    model(5, || {
        let pending = Arc::new(Pending::default());
        let turn = pending.take(Waker::noop()).expect("it is free");
        let told = pending.clone();
        let told = spawn(move || told.tell(turn, ended(1)));
        // The call has moved to another task, which asks whenever it is woken itself.
        let first = pending.poll(Waker::noop());
        assert_eq!(value(first.unwrap_or_else(|| wait(&pending, &Bell::new()))), Some(1));
        join(told);
    });
}

#[test]
fn of_two_calls_one_has_the_place() {
    model(5, || {
        let pending = Arc::new(Pending::default());
        let takers = [1, 2].map(|number| {
            let (pending, bell) = (pending.clone(), Bell::new());
            spawn(move || {
                let turn = pending.take(&Waker::from(bell.clone()))?;
                pending.tell(turn, ended(number));
                assert_eq!(value(wait(&pending, &bell)), Some(number), "its own end");
                Some(())
            })
        });
        let taken = takers.map(join);
        assert!(taken.iter().any(Option::is_some));
        assert!(pending.take(Waker::noop()).is_some(), "it is free again");
    });
}
