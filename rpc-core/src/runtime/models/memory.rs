//! The account of memory, of which one connection takes back what another hoards.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::super::clock::now;
use super::world::{Bell, Open, block_on, join, model, spawn};
use crate::MemoryUse;
use crate::limits::Limits;
use crate::memory::{Charge, Memory, Place};

const ROOM: usize = 1024;

/// What a connection holds beyond what is not counted.
const fn counted(bytes: usize) -> usize {
    64 * 1024 + bytes
}

/// A connection whose message has not come whole.
struct Hoard {
    memory: Arc<Memory>,
    since: Instant,
    place: Option<Box<Place>>,
    task: Arc<Bell>,
}

impl Hoard {
    fn new(memory: &Arc<Memory>, since: Instant) -> Self {
        Hoard { memory: memory.clone(), since, place: None, task: Bell::new() }
    }

    /// Whether it may have so much.
    fn hold(&mut self, bytes: usize) -> bool {
        let task = || Waker::from(self.task.clone());
        self.memory.hold(&mut self.place, counted(bytes), self.since, task).is_ok()
    }

    /// Whether it has been taken back, once nobody else takes any more; then its task must know.
    fn check_taken_back(&self) -> bool {
        let taken_back = self.place.as_ref().is_some_and(|place| self.memory.has_taken_back(place));
        assert!(!taken_back || self.task.has_rung(), "it is woken to let go of it");
        taken_back
    }
}

fn used(memory: &Arc<Memory>) -> usize {
    MemoryUse(memory.clone()).bytes()
}

#[test]
fn what_is_taken_back_is_told_and_counts_no_more() {
    model(4, || {
        let memory = Memory::new(ROOM);
        let start = now();
        let mut oldest = Hoard::new(&memory, start);
        assert!(oldest.hold(300), "there is room");
        let mut other = Hoard::new(&memory, start + Duration::from_secs(1));
        let grows = spawn(move || (oldest.hold(600), oldest));
        let comes = spawn(move || (other.hold(500), other));
        let charge = Charge::new(memory.clone());
        assert!(charge.take(200).is_ok(), "others make room");
        let (grew, oldest) = join(grows);
        let (came, other) = join(comes);
        assert!(came, "the older one makes room");
        assert!(!other.check_taken_back());
        let holds = if grew && !oldest.check_taken_back() { 600 } else { 0 };
        assert_eq!(used(&memory), holds + 500 + 200);
        assert!(used(&memory) <= memory.limit());
    });
}

#[test]
fn who_takes_at_once_takes_no_more_than_there_is() {
    model(5, || {
        let memory = Memory::new(ROOM);
        let takers = [600, 700].map(|bytes| {
            let memory = memory.clone();
            spawn(move || {
                let charge = Charge::new(memory);
                charge.take(bytes).is_ok().then_some(charge)
            })
        });
        let charges = takers.map(join);
        assert!(charges.iter().any(Option::is_some), "there is room for either");
        assert!(used(&memory) <= memory.limit());
        drop(charges);
        assert_eq!(used(&memory), 0);
    });
}

#[test]
fn a_connection_from_which_memory_is_taken_back_ends() {
    model(3, || {
        let limits = Limits::default().with_memory_bytes(ROOM);
        let open = Open::serving(limits, &Limits::default());
        open.wire.come_in_part(&[0; counted(ROOM / 2)]);
        let memory = open.link.memory.clone();
        let driver = open.driver;
        let task = spawn(move || block_on(driver));
        // It holds it already, or it will, or it does not even get it.
        let charge = Charge::new(memory.clone());
        assert!(charge.take(ROOM).is_ok(), "the connection makes room");
        join(task);
        drop(charge);
        assert_eq!(used(&memory), 0);
    });
}
