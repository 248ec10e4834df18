//! The calls that a client makes: what is asked, how it is waited for, and that what comes back is right.

use std::sync::Arc;
use std::time::Duration;

use rpc::{CallError, Channel, MethodError, Returned};
use tokio::time::Instant;

use crate::invariants;
use crate::items::{Items, Plain, item_of};
use crate::ledger::{Call, OpenCall};
use crate::random::Random;
use crate::services::*;
use crate::together::{Patience, wait};
use crate::trace::{Actor, Outcome, Step};
use crate::world::World;

/// What one calls a server through.
#[derive(Debug)]
pub(crate) struct Stubs {
    pub(crate) server: usize,
    pub(crate) work: WorkClient,
    pub(crate) flow: FlowClient,
    pub(crate) probe: ProbeClient,
}

impl Stubs {
    pub(crate) fn new(server: usize, channel: &Channel) -> Self {
        Stubs {
            server,
            work: WorkClient::new(channel.clone()),
            flow: FlowClient::new(channel.clone()),
            probe: ProbeClient::new(channel.clone()),
        }
    }
}

/// A call that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) way: Way,
    pub(crate) plan: Plan,
    pub(crate) payload: usize,
    pub(crate) timeout: Option<Duration>,
    /// It waits for a connection.
    pub(crate) patient: bool,
    pub(crate) patience: Patience,
    pub(crate) metadata: bool,
    /// How a stream is consumed: with what pauses, and how much of it.
    pub(crate) pause: Duration,
    pub(crate) take: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Echo,
    Look,
    Finish,
    Quick,
    Heavy,
    Relay,
    Tell,
    Down,
    Open,
    Up,
    Both,
}

const UNARY: &[Way] = &[Way::Echo, Way::Echo, Way::Look, Way::Finish, Way::Quick, Way::Heavy, Way::Relay];
const STREAMS: &[Way] = &[Way::Down, Way::Open, Way::Up, Way::Both];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Echo => "echo",
            Way::Look => "look",
            Way::Finish => "finish",
            Way::Quick => "quick",
            Way::Heavy => "heavy",
            Way::Relay => "relay",
            Way::Tell => "tell",
            Way::Down => "down",
            Way::Open => "open",
            Way::Up => "up",
            Way::Both => "both",
        }
    }
}

impl Ask {
    pub(crate) fn unary(random: &mut Random) -> Self {
        let way = *random.pick(UNARY);
        Ask::new(random, way)
    }

    pub(crate) fn streaming(random: &mut Random) -> Self {
        let way = *random.pick(STREAMS);
        Ask::new(random, way)
    }

    pub(crate) fn new(random: &mut Random, way: Way) -> Self {
        let patience = match random.below(20) {
            0 => Patience::None,
            1 => Patience::Once,
            2..6 => Patience::For(random.millis(0..=120)),
            _ => Patience::ToTheEnd,
        };
        let timeout =
            random.one_in(2).then(|| Duration::from_millis(*random.pick(&[1, 5, 20, 100, 400, 1_000])));
        let stops = way != Way::Tell && (timeout.is_some() || matches!(patience, Patience::For(_)));
        let mut ask = Ask {
            way,
            plan: plan(random, way, stops, 0),
            payload: *random.pick(SIZES),
            timeout,
            patient: random.one_in(3),
            patience,
            metadata: random.one_in(4),
            pause: if random.one_in(3) { random.millis(0..=30) } else { Duration::ZERO },
            take: random.one_in(4).then(|| random.below(20) as u32),
        };
        // Calls that need calls need places on both sides, and may wait for each other until their deadline.
        if ask.plan.back.is_some() && ask.timeout.is_none() {
            ask.timeout = Some(Duration::from_millis(1_000));
        }
        ask
    }

    /// One that does not end by itself.
    pub(crate) fn endless(random: &mut Random, way: Way) -> Self {
        let mut ask = Ask::new(random, way);
        ask.plan = Plan { end: End::Never, back: None, ..ask.plan };
        Ask { timeout: None, patient: false, patience: Patience::ToTheEnd, take: None, ..ask }
    }

    /// Makes the call, once; gives how it ended, if somebody waited for that.
    pub(crate) async fn attempt(&self, world: &Arc<World>, actor: Actor, stubs: &Stubs) -> Option<Outcome> {
        let timeout = self.timeout;
        let call = Call {
            timeout,
            patient: self.patient,
            relays: matches!(self.way, Way::Relay | Way::Up) && self.plan.back.is_some(),
            sends: matches!(self.way, Way::Up | Way::Both),
            ..Call::new(actor, self.way.name(), self.plan.end)
        };
        let (method, server, patient) = (self.way.name(), stubs.server, self.patient);
        let open = world.open(call, |number| Step::Calls { number, method, server, timeout, patient });
        wait(self.patience, self.make(world, open, stubs)).await?
    }

    async fn make(&self, world: &Arc<World>, open: OpenCall, stubs: &Stubs) -> Option<Outcome> {
        let (number, plan, since) = (open.number, self.plan.clone(), Instant::now());
        let payload = fill(number, ARGUMENT, self.payload);
        let (work, flow) = (&stubs.work, &stubs.flow);
        let unary = Unary { ask: self, world, open, payload: &payload };
        let given = match self.way {
            Way::Echo => return unary.run(work.echo(number, plan, payload.clone())).await,
            Way::Look => return unary.run(work.look(number, plan, &payload)).await,
            Way::Finish => return unary.run(work.finish(number, plan, payload.clone())).await,
            Way::Quick => return unary.run(work.quick(number, plan, payload.clone())).await,
            Way::Heavy => return unary.run(work.heavy(number, plan, payload.clone())).await,
            Way::Relay => return unary.run(work.relay(number, plan, payload.clone())).await,
            Way::Tell => {
                let result = self.with_options(number, work.tell(number, plan, payload.clone())).await;
                let result: Result<(), CallError<Refusal>> = result.map_err(CallError::Rpc);
                return Some(unary.open.settle(since, &result));
            }
            Way::Up => {
                let items = Plain(Items::new(number, &self.outgoing(), None));
                let result = self.with_options(number, flow.up(number, plan, items)).await;
                let result = result.map(|sum| self.check_sum(world, number, sum));
                return Some(unary.open.settle::<Refusal>(since, &result.map_err(CallError::Rpc)));
            }
            Way::Down => {
                let items = self.with_options(number, flow.down(number, plan)).await;
                self.consume(world, number, since, items).await
            }
            Way::Open => {
                let items = self.with_options(number, flow.open(number, plan)).await;
                self.consume(world, number, since, items).await
            }
            Way::Both => {
                let items = Plain(Items::new(number, &self.outgoing(), None));
                let items = self.with_options(number, flow.both(number, plan, items)).await;
                self.consume(world, number, since, items).await
            }
        };
        let (since, result) = given?;
        Some(unary.open.settle(since, &result))
    }

    /// What a caller sends as a stream ends by itself.
    fn outgoing(&self) -> Plan {
        Plan { end: End::Value, ..self.plan.clone() }
    }

    fn with_options<T: Returned, E: MethodError>(
        &self,
        number: Number,
        mut call: rpc::Call<T, E>,
    ) -> rpc::Call<T, E> {
        if let Some(timeout) = self.timeout {
            call = call.timeout(timeout);
        }
        if self.patient {
            call = call.wait_for_ready();
        }
        if self.metadata {
            call = call.metadata("number", number.to_string());
        }
        call
    }

    async fn consume<E, F>(
        &self,
        world: &World,
        number: Number,
        since: Instant,
        items: Result<rpc::Streaming<Item, E>, F>,
    ) -> Option<(Instant, Result<(), CallError<Refusal>>)>
    where
        E: MethodError<CallError: Into<CallError<Refusal>>>,
        F: Into<CallError<Refusal>>,
    {
        match items {
            Ok(items) => world.consume(number, &self.plan, items, self.pause, self.take).await,
            Err(error) => Some((since, Err(error.into()))),
        }
    }

    fn check_sum(&self, world: &World, number: Number, sum: Sum) {
        let mut right = Sum { number, items: 0, hash: 0 };
        (0..u32::from(self.plan.items))
            .for_each(|index| right.add(&item_of(number, index, self.plan.item_bytes)));
        if sum != right {
            invariants::i3_garbled(world, number, "the sum of its stream");
        }
    }
}

/// A call with one reply.
struct Unary<'a> {
    ask: &'a Ask,
    world: &'a Arc<World>,
    open: OpenCall,
    payload: &'a [u8],
}

impl Unary<'_> {
    async fn run<E>(self, call: rpc::Call<Echo, E>) -> Option<Outcome>
    where
        E: MethodError<CallError: Into<CallError<Refusal>>>,
    {
        let (number, since) = (self.open.number, Instant::now());
        let result = self.ask.with_options(number, call).await;
        let result = match result {
            Ok(echo) => {
                self.world.check_echo(number, &self.ask.plan, self.payload, &echo);
                Ok(())
            }
            Err(error) => Err(error.into()),
        };
        Some(self.open.settle(since, &result))
    }
}

/// Sizes of arguments and replies: few of them, so that some that are under way together are alike, and some above a
/// frame.
const SIZES: &[usize] = &[0, 1, 10, 10, 100, 100, 700, 2_500, 9_000, 20_000];

/// What a handler is to do; it may be one that does not end where it `stops` otherwise.
fn plan(random: &mut Random, way: Way, stops: bool, depth: u32) -> Plan {
    let waits = match random.below(3) {
        0 => Vec::new(),
        1 => vec![random.below(20) as u16],
        _ => (0..random.within(1..=3)).map(|_| random.below(120) as u16).collect(),
    };
    let back = (depth < 2 && random.one_in(5)).then(|| {
        let stream = random.one_in(3);
        let way_back = if stream { Way::Down } else { Way::Echo };
        let alone = way == Way::Tell || random.one_in(2);
        Box::new(Back {
            timeout: alone.then(|| random.within(1..=500) as u16),
            stream,
            plan: plan(random, way_back, alone, depth + 1),
        })
    });
    let end = match (random.below(14), way) {
        (0, Way::Echo | Way::Look | Way::Finish | Way::Quick | Way::Heavy | Way::Down | Way::Open) => {
            End::App
        }
        (0, Way::Relay | Way::Up) => End::Code,
        (1, Way::Both) => End::Value,
        (1, _) => End::Panic,
        (2, Way::Echo | Way::Look | Way::Finish | Way::Quick | Way::Heavy | Way::Relay) => End::Bomb,
        (3, _) if stops && way != Way::Finish => End::Never,
        _ => End::Value,
    };
    let item_bytes = *random.pick(&[0, 1, 10, 100, 900]);
    Plan {
        waits,
        yields: random.below(3) as u8,
        reply_bytes: *random.pick(SIZES) as u32,
        back,
        end,
        items: random.below(if item_bytes > 100 { 25 } else { 60 }) as u16,
        item_bytes,
        item_pause: if random.one_in(3) { random.below(8) as u8 } else { 0 },
    }
}
