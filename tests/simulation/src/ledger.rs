//! The ledger of what was executed, kept whatever becomes of who executed it, and the book of what callers were told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rpc::{CallError, Code, Error, Executed};
use tokio::time::Instant;

use crate::invariants;
use crate::services::{End, Number};
use crate::trace::{Actor, Outcome, Step};
use crate::world::World;

/// All calls, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) calls: Vec<Call>,
    /// What runs on each connection.
    pub(crate) running: BTreeMap<Place, usize>,
}

/// An attempt of a call: what its caller knows, and what was done.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) caller: Actor,
    pub(crate) method: &'static str,
    pub(crate) timeout: Option<Duration>,
    /// It waits for a connection, and for the next one.
    pub(crate) patient: bool,
    /// It has streams among its arguments.
    pub(crate) sends: bool,
    /// Its handler fails with whatever the call that it makes itself fails with.
    pub(crate) relays: bool,
    /// It was made by the handler of this call, to whoever called that.
    pub(crate) by: Option<Number>,
    pub(crate) planned: End,
    pub(crate) fate: Fate,
    /// How often it was started.
    pub(crate) begun: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    /// Its caller has gone.
    Left,
    Ended(Outcome),
}

/// What a call counts among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Call,
    Stream,
    OneWay,
}

/// Where handlers are counted: on which side of which connection, among what.
type Place = (bool, u32, Family);

impl Call {
    pub(crate) fn new(caller: Actor, method: &'static str, planned: End) -> Self {
        Call {
            caller,
            method,
            timeout: None,
            patient: false,
            sends: false,
            relays: false,
            by: None,
            planned,
            fate: Fate::Open,
            begun: 0,
        }
    }
}

/// A call that somebody makes, until they know how it ended or go.
#[derive(Debug)]
pub(crate) struct OpenCall {
    world: Arc<World>,
    pub(crate) number: Number,
    caller: Actor,
    deadline: Option<Instant>,
    settled: bool,
}

impl World {
    /// Enters a call into the book, and so gives it its number.
    pub(crate) fn open(self: &Arc<Self>, call: Call, step: impl FnOnce(Number) -> Step) -> OpenCall {
        let deadline = call.timeout.map(|timeout| Instant::now() + timeout);
        let caller = call.caller;
        let number = {
            let mut state = self.lock();
            state.ledger.calls.push(call);
            state.ledger.calls.len() as Number - 1
        };
        self.trace(caller, step(number));
        OpenCall { world: self.clone(), number, caller, deadline, settled: false }
    }

    /// A handler has started.
    pub(crate) fn begin(
        self: &Arc<Self>,
        actor: Actor,
        number: Number,
        (family, limit): (Family, usize),
        cancellable: bool,
    ) -> Running {
        let context = rpc::Context::current();
        let connection = connection_of(&context);
        let place = (matches!(actor, Actor::Server(_)), connection, family);
        self.trace(actor, Step::Begins { number, connection });
        let (begun, running) = {
            let mut state = self.lock();
            let begun = state.ledger.calls.get_mut(number as usize).map(|call| {
                call.begun += 1;
                call.clone()
            });
            let running = state.ledger.running.entry(place).or_default();
            *running += 1;
            (begun, *running)
        };
        match begun {
            Some(call) => invariants::i2_begun(self, number, &call),
            None => invariants::i3_unknown(self, number),
        }
        invariants::i4_running(self, actor, family, running, limit);
        let deadline = context.deadline().filter(|_| cancellable).map(Instant::from_std);
        Running { world: self.clone(), actor, number, place, deadline }
    }
}

/// Which connection a call came by: the last part of its peer's address.
fn connection_of(context: &rpc::Context) -> u32 {
    let address = context.peer().address();
    let name = address.as_ref().and_then(|address| address.as_str().rsplit('/').next());
    name.and_then(|name| name.parse().ok()).unwrap_or_default()
}

/// A handler that runs.
#[derive(Debug)]
pub(crate) struct Running {
    world: Arc<World>,
    actor: Actor,
    number: Number,
    place: Place,
    deadline: Option<Instant>,
}

impl Running {
    pub(crate) fn replies(&self) {
        self.world.trace(self.actor, Step::Replies { number: self.number });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.world.trace(self.actor, Step::Stops { number: self.number });
        if let Some(running) = self.world.lock().ledger.running.get_mut(&self.place) {
            *running -= 1;
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            invariants::i5_stopped(&self.world, self.number, self.deadline);
        }
    }
}

impl OpenCall {
    /// Its caller has learned how it ended. It has waited for that since a moment.
    pub(crate) fn settle<E>(mut self, since: Instant, result: &Result<(), CallError<E>>) -> Outcome {
        self.settled = true;
        let (outcome, message) = match result {
            Ok(()) => (Outcome::Ok, ""),
            Err(CallError::App(_)) => (Outcome::App, ""),
            Err(CallError::Rpc(error)) => {
                (Outcome::Rpc { code: error.code(), executed: error.executed() }, error.message())
            }
        };
        self.world.trace(self.caller, Step::Ends { number: self.number, outcome });
        let call = {
            let mut state = self.world.lock();
            let call = &mut state.ledger.calls[self.number as usize];
            call.fate = Fate::Ended(outcome);
            call.clone()
        };
        let world = &self.world;
        invariants::i2_settled(world, self.number, &call, outcome, message);
        invariants::i3_planned(world, self.number, &call, outcome, message);
        invariants::i5_resolved(world, self.number, &call, self.deadline, since);
        invariants::i9_settled(world, self.number, &call, outcome, message);
        invariants::honest(world, message);
        outcome
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if !self.settled {
            self.world.trace(self.caller, Step::Leaves { number: self.number });
            self.world.lock().ledger.calls[self.number as usize].fate = Fate::Left;
        }
    }
}

/// An error as an outcome.
pub(crate) fn failed<E>(error: Error) -> Result<(), CallError<E>> {
    Err(CallError::Rpc(error))
}

/// Whether another attempt may be made.
pub(crate) fn is_safe_again(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Rpc { code: Code::Unavailable | Code::ResourceExhausted, executed: Executed::No }
    )
}
