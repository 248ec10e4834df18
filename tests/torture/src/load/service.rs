//! What is called under load, and what the server notes of it.

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rpc::service;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use crate::heap;

/// How many calls of [`Loaded::work`] get on at once, and how long each takes.
pub(crate) const WORKERS: usize = 16;
pub(crate) const WORK: Duration = Duration::from_millis(5);

/// How many steps [`Loaded::compute`] makes: about half a millisecond.
const STEPS: u64 = 400_000;

#[service]
pub(crate) trait Loaded {
    async fn add(&self, a: i64, b: i64) -> i64;
    /// Takes one of few workers for a fixed time, and waits for one if it must.
    async fn work(&self, number: u64);
    /// Computes.
    async fn compute(&self, number: u64);
    /// How many of these numbers were worked on or computed.
    async fn executed(&self, numbers: Vec<u64>) -> u64;
    /// The sum, once it is released.
    async fn hold(&self, a: i64, b: i64) -> i64;
    /// How many calls are held.
    async fn held(&self) -> u64;
    async fn release(&self);
    /// How many values there are, each made of defaults.
    async fn length(&self, values: Vec<Defaults>) -> u64;
    /// So many bytes.
    async fn sevens(&self, bytes: u64) -> Vec<u8>;
    /// How many bytes the server's process holds.
    async fn live(&self) -> u64;
}

/// What a byte of `0x80` becomes: 416 bytes.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Defaults {
    numbers: [[u64; 26]; 2],
}

const _: () = assert!(size_of::<Defaults>() == 416);

#[derive(Clone)]
pub(crate) struct Here {
    workers: Arc<Semaphore>,
    executed: Arc<Mutex<HashSet<u64>>>,
    held: watch::Sender<u64>,
    /// Counts how often what is held was released.
    released: watch::Sender<u64>,
}

impl Here {
    pub(crate) fn new() -> Self {
        Here {
            workers: Arc::new(Semaphore::new(WORKERS)),
            executed: Arc::default(),
            held: watch::Sender::new(0),
            released: watch::Sender::new(0),
        }
    }

    fn note(&self, number: u64) {
        self.executed.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
    }
}

impl Loaded for Here {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn work(&self, number: u64) {
        self.note(number);
        // It is never closed.
        let _worker = self.workers.acquire().await;
        tokio::time::sleep(WORK).await;
    }

    async fn compute(&self, number: u64) {
        self.note(number);
        black_box((0..STEPS).fold(number, |value, step| (value ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    }

    async fn executed(&self, numbers: Vec<u64>) -> u64 {
        let executed = self.executed.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.iter().filter(|number| executed.contains(number)).count() as u64
    }

    async fn hold(&self, a: i64, b: i64) -> i64 {
        let mut released = self.released.subscribe();
        self.held.send_modify(|held| *held += 1);
        // The sender is this service's, which a handler borrows.
        let _ = released.changed().await;
        self.held.send_modify(|held| *held -= 1);
        a + b
    }

    async fn held(&self) -> u64 {
        *self.held.borrow()
    }

    async fn release(&self) {
        self.released.send_modify(|times| *times += 1);
    }

    async fn length(&self, values: Vec<Defaults>) -> u64 {
        values.len() as u64
    }

    async fn sevens(&self, bytes: u64) -> Vec<u8> {
        vec![7; bytes as usize]
    }

    async fn live(&self) -> u64 {
        heap::live()
    }
}
