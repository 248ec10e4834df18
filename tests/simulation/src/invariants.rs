//! What must hold whatever happens, each by its number.

use std::fmt;
use std::time::Duration;

use rpc::{Code, Executed};
use tokio::time::Instant;

use crate::ledger::{Call, Family, Fate};
use crate::scenario::Weather;
use crate::services::{End, Number};
use crate::trace::{Actor, Outcome};
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    /// Each call that is not dropped has one outcome.
    I1,
    /// What is said not to have been executed was not, anything else at most once an attempt.
    I2,
    /// What arrives is what was sent.
    I3,
    /// Never more runs than the limit.
    I4,
    /// A call has its outcome, and a handler ends, one tick after the deadline.
    I5,
    /// At rest all places and all credit are there.
    I6,
    /// No task is left after the close.
    I7,
    /// Everybody gets answers soon after all is well again.
    I8,
    /// A drain loses no call.
    I9,
    /// Nothing panics, and honest peers are never said to break the protocol.
    Always,
}

#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} does not hold: {}", self.invariant, self.message)
    }
}

/// A timer goes off within a millisecond of its moment, and whoever waits is polled in the same instant.
const TICK: Duration = Duration::from_millis(2);

/// At the end of all calls.
pub(crate) fn i1_all_have_ended(world: &World) {
    let calls = world.lock().ledger.calls.clone();
    for (number, call) in calls.iter().enumerate().filter(|(_, call)| call.fate == Fate::Open) {
        let message = format!("call {number} ({}, {:?}) has no outcome", call.method, call.caller);
        world.violate(Invariant::I1, message);
    }
}

/// Something comes after the end of a stream.
pub(crate) fn i1_two_ends(world: &World, number: Number) {
    world.violate(Invariant::I1, format!("the stream of call {number} goes on after its end"));
}

/// As a call is started.
pub(crate) fn i2_begun(world: &World, number: Number, call: &Call) {
    if call.begun > 1 {
        let message = format!("call {number} ({}) was started {} times", call.method, call.begun);
        world.violate(Invariant::I2, message);
    }
    if let Fate::Ended(outcome @ Outcome::Rpc { executed: Executed::No, .. }) = call.fate {
        let message = format!("call {number} ({}) is started after it ended with {outcome:?}", call.method);
        world.violate(Invariant::I2, message);
    }
}

/// As a caller learns how a call ended.
pub(crate) fn i2_settled(world: &World, number: Number, call: &Call, outcome: Outcome, message: &str) {
    let sound = match outcome {
        Outcome::Rpc { executed: Executed::No, .. } => call.begun == 0,
        Outcome::Rpc { executed: Executed::Maybe, .. } => call.begun <= 1,
        Outcome::Rpc { executed: Executed::Yes, .. } | Outcome::App => call.begun == 1,
        // A one-way call is over when it is on its way.
        Outcome::Ok => call.begun == 1 || call.method == "tell" && call.begun == 0,
    };
    if !sound {
        let text = format!(
            "call {number} ({}) ended with {outcome:?} and was started {} times: {message}",
            call.method, call.begun
        );
        world.violate(Invariant::I2, text);
    }
}

/// A handler was started for a call that nobody made.
pub(crate) fn i3_unknown(world: &World, number: Number) {
    world.violate(Invariant::I3, format!("call {number} was started, which nobody made"));
}

/// A value is not the one that was sent.
pub(crate) fn i3_garbled(world: &World, number: Number, what: &str) {
    world.violate(Invariant::I3, format!("call {number}: {what} is not what was sent"));
}

/// A call ends as its plan says, or as the world lets it; no sound value is said not to be understood.
pub(crate) fn i3_planned(world: &World, number: Number, call: &Call, outcome: Outcome, message: &str) {
    let planned = call.planned;
    let sound = match outcome {
        Outcome::Ok => planned == End::Value || call.method == "tell",
        Outcome::App => planned == End::App,
        Outcome::Rpc { .. } if call.relays => true,
        Outcome::Rpc { code, executed } => match code {
            Code::Aborted => planned == End::Code && executed == Executed::Yes,
            Code::Internal => {
                matches!(planned, End::Panic | End::Bomb) && executed == Executed::Yes
                    || message.ends_with("the stream was dropped before its end")
            }
            Code::DeadlineExceeded => call.timeout.is_some() || call.by.is_some(),
            Code::Cancelled => call.by.is_some() || call.sends,
            Code::ResourceExhausted => executed == Executed::No,
            Code::Unavailable => true,
            _ => false,
        },
    };
    if !sound {
        let text = format!(
            "call {number} ({}) ended with {outcome:?}, planned was {planned:?}: {message}",
            call.method
        );
        world.violate(Invariant::I3, text);
    }
}

/// As a handler starts.
pub(crate) fn i4_running(world: &World, actor: Actor, family: Family, running: usize, limit: usize) {
    if running > limit {
        let message =
            format!("{running} handlers ({family:?}) run at {actor:?} on a connection, the limit is {limit}");
        world.violate(Invariant::I4, message);
    }
}

/// As a caller learns how a call ended, for which it has waited `since` a moment.
pub(crate) fn i5_resolved(
    world: &World,
    number: Number,
    call: &Call,
    deadline: Option<Instant>,
    since: Instant,
) {
    let Some(deadline) = deadline else { return };
    let late = Instant::now().saturating_duration_since(deadline.max(since));
    if late > TICK {
        let message = format!("call {number} ({}) had its outcome {late:?} after its deadline", call.method);
        world.violate(Invariant::I5, message);
    }
}

/// As a handler goes that its deadline stops.
pub(crate) fn i5_stopped(world: &World, number: Number, deadline: Option<Instant>) {
    let late = deadline.map(|deadline| Instant::now().saturating_duration_since(deadline));
    if let Some(late) = late.filter(|late| *late > TICK) {
        world
            .violate(Invariant::I5, format!("the handler of call {number} ran {late:?} beyond its deadline"));
    }
}

/// A probe of as many calls at once as there are places, none of which ends before all of them run.
pub(crate) fn i6_places(world: &World, what: &str, failure: &str) {
    world.violate(Invariant::I6, format!("{what} do not take all places at rest: {failure}"));
}

/// Handlers that run when all calls have ended, long after.
pub(crate) fn i7_handlers(world: &World) {
    let running = world.lock().ledger.running.values().sum::<usize>();
    world.violate(Invariant::I7, format!("{running} handlers run that nobody waits for"));
}

/// Tasks that are left when all have closed.
pub(crate) fn i7_tasks(world: &World, actor: Actor, tasks: usize) {
    world.violate(Invariant::I7, format!("{tasks} tasks are left at {actor:?} after the close"));
}

/// Who has not closed in time.
pub(crate) fn i7_open(world: &World) {
    let message = format!("not everybody has closed in {:?}", world.scenario.closing_takes());
    world.violate(Invariant::I7, message);
}

/// The first answer after all is well again took so long.
pub(crate) fn i8_progress(world: &World, client: usize, server: usize, took: Option<Duration>) {
    let bound = world.scenario.healing_takes();
    if took.is_none_or(|took| took > bound) {
        let took = took.map_or("none".to_owned(), |took| format!("the first after {took:?}"));
        let message =
            format!("client {client} got no answer from server {server} in {bound:?} of health: {took}");
        world.violate(Invariant::I8, message);
    }
}

/// Where servers do nothing worse than drain, no call that has run is lost, and none that waits is turned away.
pub(crate) fn i9_settled(world: &World, number: Number, call: &Call, outcome: Outcome, message: &str) {
    if world.scenario.weather == Weather::Stormy || call.relays || call.planned == End::Never {
        return;
    }
    let Outcome::Rpc { code: Code::Unavailable, executed } = outcome else { return };
    // A handler that nobody waits for may find its caller gone.
    if !all_wait_for(world, call) {
        return;
    }
    // A stream among the arguments cannot begin anew, and who calls back has nobody else to call.
    let waits = (call.patient || call.timeout.is_some()) && !call.sends && call.by.is_none();
    if executed != Executed::No || waits {
        let text = format!("a drain lost call {number} ({}), executed {executed:?}: {message}", call.method);
        world.violate(Invariant::I9, text);
    }
}

/// Whether the callers of all handlers that this call was made by still wait for them.
fn all_wait_for(world: &World, call: &Call) -> bool {
    let state = world.lock();
    let mut by = call.by;
    while let Some(number) = by {
        let outer = &state.ledger.calls[number as usize];
        if outer.fate != Fate::Open {
            return false;
        }
        by = outer.by;
    }
    true
}

/// What must not happen in any world.
pub(crate) fn always(world: &World, what: &str) {
    world.violate(Invariant::Always, what);
}

/// Connections end because they are silent, or are lost, but not for what was said on them.
pub(crate) fn honest(world: &World, message: &str) {
    let ended = ["the connection was ended: ", "the other side ended the connection: "];
    let stalls = [
        "nothing was read for",
        "a frame was not finished within",
        "a message that comes in fragments did not go on",
        "no sign of life within",
    ];
    let reason = ended.iter().find_map(|begin| message.strip_prefix(begin));
    if let Some(reason) = reason.filter(|reason| !stalls.iter().any(|stall| reason.starts_with(stall))) {
        world.violate(Invariant::Always, format!("an honest peer was sent away: {reason}"));
    }
}
