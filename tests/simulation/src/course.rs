//! The course of a world: what befalls it and when, and which phase follows once everybody has done what there was to do.

use std::collections::VecDeque;
use std::time::Duration;

use crate::invariants;
use crate::scenario::Event;
use crate::trace::{Actor, Step};
use crate::world::{Phase, World};

/// How long the probes at rest may take, all of them.
const PROBES: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) struct Course {
    events: VecDeque<(Duration, Event)>,
    /// Who has crashed, and when they come again.
    absent: Vec<(Duration, Actor)>,
    stage: Stage,
    /// Until when this stage may last.
    until: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Storm,
    /// Callers come to their ends.
    Healed,
    /// Handlers do.
    Settles,
    Rest,
    Closing,
    Closed,
    Over,
}

/// What a world has to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    Befalls(Event),
    Starts(Actor),
    /// Nothing bad may be left.
    Heals,
}

impl Course {
    pub(crate) fn new(world: &World) -> Self {
        let until = world.scenario.storm_ends();
        let events = world.scenario.events.iter().copied().collect();
        Course { events, absent: Vec::new(), stage: Stage::Storm, until }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Somebody has crashed, and comes again after some time.
    pub(crate) fn is_absent(&mut self, world: &World, actor: Actor, down: Duration) {
        self.absent.retain(|(_, other)| *other != actor);
        self.absent.push((world.now() + down, actor));
    }

    /// How long nothing happens, as far as is known.
    pub(crate) fn pause(&self, world: &World) -> Duration {
        let step = Duration::from_millis(10);
        let moments = self.events.front().map(|(at, _)| at).into_iter();
        let next = moments.chain(self.absent.iter().map(|(at, _)| at)).min();
        next.map_or(step, |next| next.saturating_sub(world.now()).min(step))
    }

    /// What is due.
    pub(crate) fn turn(&mut self, world: &World) -> Vec<Turn> {
        let now = world.now();
        let mut turns = Vec::new();
        while let Some(at) = self.absent.iter().position(|(at, _)| *at <= now) {
            turns.push(Turn::Starts(self.absent.remove(at).1));
        }
        while let Some((_, event)) = self.events.front().copied().filter(|(at, _)| *at <= now) {
            self.events.pop_front();
            world.trace(Actor::World, Step::Suffers { event: format!("{event:?}") });
            turns.push(Turn::Befalls(event));
        }
        let late = now > self.until;
        match self.stage {
            Stage::Storm if now >= self.until && self.absent.is_empty() && turns.is_empty() => {
                turns.push(Turn::Heals);
                world.enter(Phase::Healed);
                self.go_on(world, Stage::Healed, world.scenario.calls_take());
            }
            Stage::Healed if world.have_reported(Phase::Healed, world.clients()) => {
                // Handlers that nobody can stop run on for a while, and may call.
                self.go_on(world, Stage::Settles, world.scenario.healing_takes());
            }
            Stage::Healed if late => {
                invariants::i1_all_have_ended(world);
                invariants::always(world, "the clients do not come to an end");
                self.stage = Stage::Over;
            }
            Stage::Settles if late || world.is_at_rest() => {
                if late {
                    invariants::i7_handlers(world);
                }
                invariants::i1_all_have_ended(world);
                world.enter(Phase::Rest);
                self.go_on(world, Stage::Rest, PROBES);
            }
            Stage::Rest if world.have_reported(Phase::Rest, world.clients()) => {
                world.enter(Phase::Closing);
                self.go_on(world, Stage::Closing, world.scenario.closing_takes());
            }
            Stage::Rest if late => {
                invariants::always(world, "the probes do not come to an end");
                self.stage = Stage::Over;
            }
            Stage::Closing if have_closed(world, Phase::Closing) => {
                world.enter(Phase::Closed);
                self.go_on(world, Stage::Closed, world.scenario.closing_takes());
            }
            Stage::Closed if have_closed(world, Phase::Closed) => {
                invariants::i1_all_have_ended(world);
                self.stage = Stage::Over;
            }
            Stage::Closing | Stage::Closed if late => {
                invariants::i7_open(world);
                self.stage = Stage::Over;
            }
            _ => {}
        }
        turns
    }

    fn go_on(&mut self, world: &World, stage: Stage, time: Duration) {
        self.stage = stage;
        self.until = world.now() + time;
    }
}

/// Whether those have who close in this phase.
fn have_closed(world: &World, phase: Phase) -> bool {
    let all = world.servers().chain(world.clients());
    world.have_reported(phase, all.filter(|actor| world.closes_in(*actor) == phase))
}
