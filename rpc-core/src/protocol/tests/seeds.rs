//! Random calls, replies, cancels, losses and delays, and what must hold whatever happens. A seed that fails is
//! printed; `RPC_SEED=... cargo test -p rpc-core random_` runs it alone, `RPC_SEEDS=...` so many of them.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;

use super::super::{CallFailure, CallId, CallKey, Entry, Outcome};
use super::pair::{Next, Pair, Plain};
use crate::limits::Limits;
use crate::marshal::Payload;
use crate::{Code, Executed};

const SEEDS: u64 = 10_000;
const STEPS: u32 = 60;
const CALLS: usize = 3;

/// How large some arguments and replies are.
const LARGE: usize = 100_000;
static LARGE_PAYLOAD: LazyLock<Payload> = LazyLock::new(|| {
    // Not one byte again and again: a fragment in the place of another is to be seen.
    let bytes: Vec<u8> = (0..LARGE as u32).map(|index| (index % 251) as u8).collect();
    Payload::from(Bytes::from(bytes))
});

#[test]
fn random_histories_keep_every_promise() {
    for_each_seed(|seed| History::new(seed).run());
}

/// Runs a history for each seed, or for the one that was asked for.
pub(super) fn for_each_seed(history: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse().ok());
    if let Some(seed) = number("RPC_SEED") {
        return history(seed);
    }
    for seed in 0..number("RPC_SEEDS").unwrap_or(SEEDS) {
        let run = std::panic::catch_unwind(|| history(seed));
        if let Err(panic) = run {
            eprintln!("the seed is {seed}: RPC_SEED={seed} cargo test -p rpc-core random_");
            std::panic::resume_unwind(panic);
        }
    }
}

struct History {
    pair: Pair,
    random: Random,
    /// Calls whose outcome has not been taken, by waiter.
    open: HashMap<u32, CallId>,
    next: u32,
    /// How often each call was started on the server, by the number that it carries.
    started: HashMap<u64, u32>,
    /// What runs on the server, and of that what was told to stop.
    running: HashSet<CallKey>,
    seen: usize,
    /// Bytes that have been written and have not arrived.
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

impl History {
    fn new(seed: u64) -> Self {
        // Frames so small that a large message takes two or three turns, and so few large ones that some wait.
        let limits = || {
            let limits = Limits::default().with_calls(CALLS).with_send_queue_bytes(200);
            limits.with_frame_bytes(1_024).with_message_bytes(2 * LARGE + 100)
        };
        History {
            pair: Pair::with_limits(limits(), limits()),
            random: Random::new(seed),
            open: HashMap::new(),
            next: 0,
            started: HashMap::new(),
            running: HashSet::new(),
            seen: 0,
            to_server: Vec::new(),
            to_client: Vec::new(),
        }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
            self.look();
        }
        if self.random.one_in(2) {
            self.heal();
        } else {
            self.lose();
        }
    }

    fn step(&mut self) {
        match self.random.below(10) {
            0 | 1 => self.enter(),
            2 => self.drop_one(),
            3 => self.to_server.extend(self.pair.client.turn()),
            4 => self.to_client.extend(self.pair.server.turn()),
            5 => self.carry_to_server(),
            6 => self.carry_to_client(),
            7 | 8 => self.end_one(),
            _ => {
                let time = Duration::from_millis(self.random.below(400));
                self.pair.wait(time);
            }
        }
    }

    fn enter(&mut self) {
        let deadline = self.random.one_in(3).then(|| self.pair.now + Duration::from_millis(500));
        let waiter = self.next;
        self.next += 1;
        let large = self.random.one_in(3);
        let options = |call| {
            if large {
                Plain { deadline, payload: &LARGE_PAYLOAD, ..call }
            } else {
                Plain { deadline, ..call }
            }
        };
        match self.pair.client.enter(waiter, self.pair.now, options) {
            Entry::Entered(id) | Entry::Waiting(id) => drop(self.open.insert(waiter, id)),
            other => panic!("a call was not taken: {other:?}"),
        }
    }

    fn drop_one(&mut self) {
        if let Some(waiter) = self.random.pick(self.open.keys().copied()) {
            let id = self.open.remove(&waiter).expect("it was picked from there");
            self.pair.client.drop_call(id);
        }
    }

    fn carry_to_server(&mut self) {
        let count = self.random.below(self.to_server.len() as u64 + 1) as usize;
        let bytes: Vec<u8> = self.to_server.drain(..count).collect();
        self.pair.server.receive(&bytes, self.pair.now).expect("an honest client");
    }

    fn carry_to_client(&mut self) {
        let count = self.random.below(self.to_client.len() as u64 + 1) as usize;
        let bytes: Vec<u8> = self.to_client.drain(..count).collect();
        self.pair.client.receive(&bytes, self.pair.now).expect("an honest server");
    }

    fn end_one(&mut self) {
        if let Some(key) = self.random.pick(self.running.iter().copied()) {
            self.running.remove(&key);
            match self.pair.server.stopped.contains(&key) {
                true => self.pair.server.stop(key),
                false => {
                    let size = if self.random.one_in(3) { LARGE } else { 1 };
                    let value = Payload::from(Bytes::from(vec![checksum(key); size]));
                    self.pair.server.reply_with(key, Ok(value));
                }
            }
        }
    }

    /// What holds at every moment.
    fn look(&mut self) {
        for arrived in &self.pair.server.arrived[self.seen..] {
            let id = arrived.key.reply_id().expect("no call here is one-way");
            *self.started.entry(id).or_default() += 1;
            assert_eq!(self.started[&id], 1, "call {id} was started twice");
            self.running.insert(arrived.key);
            let whole = arrived.params == [0x90] || arrived.params == LARGE_PAYLOAD.as_slice();
            assert!(whole, "call {id} came with {} bytes of arguments", arrived.params.len());
        }
        self.seen = self.pair.server.arrived.len();
        assert_eq!(self.pair.server.connection.running(), self.running.len());
        assert!(self.running.len() <= CALLS, "more calls run than the limit");

        let woken = self.pair.client.woken.split_off(0);
        for waiter in woken {
            if let Some(id) = self.open.get(&waiter).copied() {
                self.look_after(waiter, id);
            }
        }
    }

    fn look_after(&mut self, waiter: u32, id: CallId) {
        match self.pair.client.poll(id) {
            Next::Granted => {
                let id = self.pair.client.resume(id, waiter, self.pair.now);
                self.open.insert(waiter, id);
            }
            Next::Done(outcome) => {
                self.open.remove(&waiter);
                self.judge(id, outcome);
            }
            Next::Pending => panic!("call {id:?} was woken for nothing"),
        }
    }

    /// What an outcome claims is true.
    fn judge(&self, id: CallId, outcome: Outcome) {
        let started = self.started.contains_key(&id.number());
        match outcome.result {
            Ok(value) => {
                let expected = checksum(CallKey::Call(id.number()));
                assert!(value.iter().all(|byte| *byte == expected) && [1, LARGE].contains(&value.len()));
            }
            Err(CallFailure::Rpc(error)) => {
                let known = [Code::DeadlineExceeded, Code::ResourceExhausted, Code::Unavailable]
                    .contains(&error.code());
                assert!(known, "{error}");
                assert!(error.executed() != Executed::No || !started, "{error}: it was started");
            }
            Err(CallFailure::Moved) => assert!(!started, "a call that was started is not sent again"),
            Err(CallFailure::App(_)) => panic!("no handler here has an error of its own"),
        }
    }

    /// Everything arrives and every handler ends: every call has its outcome, and all is at rest.
    fn heal(&mut self) {
        for _ in 0..1_000 {
            self.to_server.extend(self.pair.client.output());
            self.to_client.extend(self.pair.server.output());
            let bytes = std::mem::take(&mut self.to_server);
            self.pair.server.receive(&bytes, self.pair.now).expect("an honest client");
            let bytes = std::mem::take(&mut self.to_client);
            self.pair.client.receive(&bytes, self.pair.now).expect("an honest server");
            self.look();
            self.end_one();
            let quiet =
                [&self.pair.client, &self.pair.server].iter().all(|side| !side.connection.has_output());
            if self.open.is_empty() && self.running.is_empty() && quiet {
                break;
            }
        }
        assert!(self.open.is_empty(), "calls without an outcome: {:?}", self.open);
        for side in [&self.pair.client, &self.pair.server] {
            assert!(side.reassembly.is_empty() && side.connection.large_bytes() == 0);
        }
        assert_eq!(self.pair.client.connection.calls(), 0);
        assert_eq!(self.pair.server.connection.running(), 0);
    }

    /// The connection is lost with bytes under way: every call has its outcome.
    fn lose(&mut self) {
        self.pair.client.lose();
        self.pair.server.lose();
        self.look();
        assert!(self.open.is_empty(), "calls without an outcome: {:?}", self.open);
        assert!(self.running.iter().all(|key| self.pair.server.stopped.contains(key)));
    }
}

fn checksum(key: CallKey) -> u8 {
    let id = key.reply_id().unwrap_or_default();
    (id ^ (id >> 20)) as u8 & 0x7f
}

/// Marsaglia's xorshift64 (Journal of Statistical Software 8, 14): good enough to be unfair.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// One of some things whose order is nobody's: sorted first, so that a seed is one history.
    pub(super) fn pick<T: Ord>(&mut self, things: impl Iterator<Item = T>) -> Option<T> {
        let mut things: Vec<T> = things.collect();
        things.sort_unstable();
        (!things.is_empty()).then(|| things.swap_remove(self.below(things.len() as u64) as usize))
    }
}
