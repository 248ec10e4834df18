//! What all who live in a world share: its clock, its phase, the ledger of what was executed, and the book of all calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::invariants::{Invariant, Violation};
use crate::ledger::Ledger;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::signal::Signal;
use crate::trace::{Actor, Step, Trace};

/// How far a world has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Bad things happen.
    Storm,
    /// They do not any more: everything comes to its end, and everybody gets answers.
    Healed,
    /// Nothing is under way: all places are free.
    Rest,
    /// Whoever closes first does.
    Closing,
    /// And now everybody.
    Closed,
}

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    clock: Clock,
    phase: Signal<Phase>,
    /// How often each server was told to drain.
    pub(crate) drains: Vec<Signal<u32>>,
    state: Mutex<State>,
}

/// What time it is.
#[derive(Debug)]
pub(crate) enum Clock {
    /// That of the one runtime.
    Paused(Instant),
    /// Each host has a runtime of its own; this is how many microseconds all of them have gone.
    Steps(AtomicU64),
}

pub(crate) struct State {
    pub(crate) trace: Trace,
    pub(crate) ledger: Ledger,
    pub(crate) violations: Vec<Violation>,
    pub(crate) healed: Option<Duration>,
    pub(crate) connections: u32,
    incarnations: BTreeMap<Actor, u64>,
    reports: BTreeSet<(Phase, Actor)>,
    /// How many of a batch of probes are there.
    pub(crate) met: BTreeMap<u32, Arc<Signal<u32>>>,
    pub(crate) batches: u32,
}

impl World {
    pub(crate) fn new(scenario: Scenario, clock: Clock, aloud: bool) -> Arc<Self> {
        let drains = scenario.servers.iter().map(|_| Signal::new(0)).collect();
        let state = State {
            trace: Trace::new(aloud),
            ledger: Ledger::default(),
            violations: Vec::new(),
            healed: None,
            connections: 0,
            incarnations: BTreeMap::new(),
            reports: BTreeSet::new(),
            met: BTreeMap::new(),
            batches: 0,
        };
        Arc::new(World {
            scenario,
            clock,
            phase: Signal::new(Phase::Storm),
            drains,
            state: Mutex::new(state),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A violation does not make the rest of the history worthless.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much time has passed in this world.
    pub(crate) fn now(&self) -> Duration {
        match &self.clock {
            Clock::Paused(start) => start.elapsed(),
            Clock::Steps(micros) => Duration::from_micros(micros.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn set_now(&self, now: Duration) {
        if let Clock::Steps(micros) = &self.clock {
            micros.store(now.as_micros() as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn trace(&self, actor: Actor, step: Step) {
        let now = self.now();
        self.lock().trace.push(now, actor, step);
    }

    pub(crate) fn violate(&self, invariant: Invariant, message: impl Into<String>) {
        let message = message.into();
        let now = self.now();
        let mut state = self.lock();
        state.trace.push(now, Actor::World, Step::Violates { what: format!("{invariant:?}: {message}") });
        state.violations.push(Violation { invariant, message });
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.lock().violations.is_empty()
    }

    /// Chance of one's own, another one after each restart.
    pub(crate) fn random_of(&self, actor: Actor) -> Random {
        let mut state = self.lock();
        let incarnation = state.incarnations.entry(actor).or_default();
        *incarnation += 1;
        let label = match actor {
            Actor::World => 1,
            Actor::Server(index) => 1_000 + index as u64,
            Actor::Client(index) => 2_000 + index as u64,
        };
        self.scenario.random.fork(label << 32 | *incarnation)
    }

    /// A name for a connection that no other has.
    pub(crate) fn new_connection(&self) -> u32 {
        let mut state = self.lock();
        state.connections += 1;
        state.connections
    }

    /// Waits until so many of a batch are there.
    pub(crate) async fn meet(&self, batch: u32, count: u32) -> u32 {
        let met = self.lock().met.entry(batch).or_insert_with(|| Arc::new(Signal::new(0))).clone();
        met.change(|met| *met += 1);
        met.until(|met| met >= count).await
    }

    /// A name for a batch that no other has.
    pub(crate) fn new_batch(&self) -> u32 {
        let mut state = self.lock();
        state.batches += 1;
        state.batches
    }

    /// Whether no handler runs.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.lock().ledger.running.values().all(|running| *running == 0)
    }

    /// Lets what happens go unheard, or not any more.
    pub(crate) fn hush(&self, unheard: bool) {
        self.lock().trace.hush(unheard);
    }

    // ---- phases ----

    pub(crate) fn phase(&self) -> Phase {
        self.phase.value()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        let name = match phase {
            Phase::Storm => "storm",
            Phase::Healed => "healed",
            Phase::Rest => "rest",
            Phase::Closing => "closing",
            Phase::Closed => "closed",
        };
        self.trace(Actor::World, Step::Enters { phase: name });
        if phase == Phase::Healed {
            let now = self.now();
            self.lock().healed = Some(now);
        }
        self.phase.change(|now| *now = phase);
    }

    pub(crate) async fn reach(&self, phase: Phase) {
        self.phase.until(|now| now >= phase).await;
    }

    /// Somebody has done what there was to do in a phase.
    pub(crate) fn report(&self, phase: Phase, actor: Actor) {
        self.lock().reports.insert((phase, actor));
    }

    pub(crate) fn have_reported(&self, phase: Phase, actors: impl IntoIterator<Item = Actor>) -> bool {
        let state = self.lock();
        actors.into_iter().all(|actor| state.reports.contains(&(phase, actor)))
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = Actor> + use<> {
        (0..self.scenario.servers.len()).map(Actor::Server)
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = Actor> + use<> {
        (0..self.scenario.clients.len()).map(Actor::Client)
    }

    /// When this one closes.
    pub(crate) fn closes_in(&self, actor: Actor) -> Phase {
        let first = self.scenario.all_close_at_once
            || self.scenario.servers_close_first == matches!(actor, Actor::Server(_));
        if first { Phase::Closing } else { Phase::Closed }
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("scenario", &self.scenario).finish_non_exhaustive()
    }
}
