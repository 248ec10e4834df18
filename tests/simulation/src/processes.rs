//! What runs in a world, whichever it is: servers that serve, drain and come again; clients that call, and look at the
//! end whether all is as it should be.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rpc::{Channel, Connector, Listener, Server};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::asks::{Ask, Stubs, Way};
use crate::handlers::Desk;
use crate::invariants;
use crate::ledger::is_safe_again;
use crate::probes;
use crate::random::Random;
use crate::services::{FlowServer, ProbeServer, WorkServer};
use crate::together::all;
use crate::trace::{Actor, Step};
use crate::world::{Phase, World};

/// Where processes run, and what lies between them.
pub(crate) trait Ground: Clone + Send + Sync + 'static {
    type Listener: Listener;
    type Connector: Connector;

    /// Whether each process has a runtime of its own, so that it can count its tasks.
    const APART: bool;

    fn listen(&self, server: usize) -> impl Future<Output = io::Result<Self::Listener>> + Send;
    fn connector(&self, client: usize, server: usize) -> Self::Connector;
}

/// A server, from its start to the close of the world. It drains when it is told to, and then comes again.
pub(crate) async fn serve<G: Ground>(world: Arc<World>, ground: G, index: usize) {
    let actor = Actor::Server(index);
    let mut random = world.random_of(actor);
    let drains = &world.drains[index];
    let mut drained = drains.value();
    let closes = world.closes_in(actor);
    while world.phase() < closes {
        let Ok(listener) = ground.listen(index).await else {
            // The one before it has not let go of the address yet.
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        let limits = world.scenario.servers[index].clone();
        let desk = Desk { world: world.clone(), actor, limits: limits.clone() };
        let desk = Arc::new(desk);
        let server = Server::new()
            .limits(limits)
            .add(WorkServer::new(desk.clone()))
            .add(FlowServer::new(desk.clone()))
            .add(ProbeServer::new(desk));
        let Ok(bound) = server.bind(listener).await else {
            return invariants::always(&world, "a server cannot be bound");
        };
        world.trace(actor, Step::Starts);
        let handle = bound.shutdown_handle();
        let told = async {
            let mut closing = pin!(world.reach(closes));
            let mut told = pin!(drains.until(|drains| drains > drained));
            std::future::poll_fn(|cx| {
                if closing.as_mut().poll(cx).is_ready() || told.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
            world.trace(actor, Step::Drains);
            handle.shutdown().await;
        };
        let (ended, ()) = join(bound.serve(), told).await;
        world.trace(actor, Step::Drained);
        drained = drains.value();
        if ended.is_err() {
            invariants::always(&world, "a server ends with an error");
        }
        if G::APART {
            no_task_is_left(&world, actor).await;
        }
        if world.phase() < closes && random.one_in(2) {
            sleep(random.millis(0..=100)).await;
        }
    }
    world.report(closes, actor);
}

/// Waits for both.
async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|cx| {
        if first.is_none() {
            first = ready(a.as_mut().poll(cx));
        }
        if second.is_none() {
            second = ready(b.as_mut().poll(cx));
        }
        if first.is_none() || second.is_none() {
            return Poll::Pending;
        }
        Poll::Ready(first.take().zip(second.take()))
    })
    .await
    .unwrap_or_else(|| unreachable!("both were looked at"))
}

fn ready<T>(polled: Poll<T>) -> Option<T> {
    match polled {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// A client, from its start to the close of the world.
pub(crate) async fn call<G: Ground>(world: Arc<World>, ground: G, index: usize) {
    let actor = Actor::Client(index);
    let mut random = world.random_of(actor);
    world.trace(actor, Step::Starts);
    let servers = 0..world.scenario.servers.len();
    let channels = all(servers.map(|server| connect(&world, &ground, index, server, random.one_in(2)))).await;
    let stubs: Vec<_> =
        channels.iter().enumerate().map(|(server, channel)| Arc::new(Stubs::new(server, channel))).collect();

    let mut callers = JoinSet::new();
    for number in 0..world.scenario.callers {
        // Some have a handle of their own, some share one.
        let stubs = channels.iter().zip(&stubs).enumerate().map(|(server, (channel, shared))| {
            if random.one_in(2) { Arc::new(Stubs::new(server, channel)) } else { shared.clone() }
        });
        let stubs = stubs.collect();
        let random = random.fork(number);
        callers.spawn(Caller { world: world.clone(), actor, random, stubs }.run());
    }
    world.reach(Phase::Healed).await;
    let looks = stubs.iter().map(|stubs| probes::progress(&world, index, stubs));
    all(looks).await;
    while callers.join_next().await.is_some() {}
    world.report(Phase::Healed, actor);

    world.reach(Phase::Rest).await;
    for stubs in &stubs {
        probes::places(&world, index, stubs).await;
    }
    for stubs in &stubs {
        for way in [Way::Heavy, Way::Down] {
            let ask = Ask::endless(&mut random, way);
            let (world, stubs) = (world.clone(), stubs.clone());
            callers.spawn(async move {
                ask.attempt(&world, actor, &stubs).await;
            });
        }
    }
    // So that they run when it is closed.
    sleep(Duration::from_millis(50)).await;
    world.report(Phase::Rest, actor);

    let closes = world.closes_in(actor);
    world.reach(closes).await;
    callers.shutdown().await;
    drop((channels, stubs));
    if G::APART {
        no_task_is_left(&world, actor).await;
    }
    world.report(closes, actor);
}

async fn connect<G: Ground>(
    world: &Arc<World>,
    ground: &G,
    client: usize,
    server: usize,
    lazy: bool,
) -> Channel {
    let limits = world.scenario.clients[client].clone();
    let desk = Desk { world: world.clone(), actor: Actor::Client(client), limits: limits.clone() };
    let desk = Arc::new(desk);
    loop {
        let connecting = Channel::connect(ground.connector(client, server))
            .limits(limits.clone())
            .serve(WorkServer::new(desk.clone()))
            .serve(FlowServer::new(desk.clone()))
            .serve(ProbeServer::new(desk.clone()));
        let connected = if lazy { connecting.lazy() } else { connecting.await };
        match connected {
            Ok(channel) => return channel,
            Err(_refused) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// How long tasks may take to end after their process has closed.
const TASKS_END: Duration = Duration::from_secs(3);

/// Waits for the tasks of a process that has closed to end (I7).
async fn no_task_is_left(world: &World, actor: Actor) {
    // Its server's drain is over by now; a client that serves may have one before it.
    let mut patience = TASKS_END;
    if let Actor::Client(index) = actor {
        patience += world.scenario.clients[index].drain_timeout();
    }
    let step = Duration::from_millis(10);
    let metrics = tokio::runtime::Handle::current().metrics();
    while metrics.num_alive_tasks() > 0 {
        if patience < step {
            return invariants::i7_tasks(world, actor, metrics.num_alive_tasks());
        }
        patience -= step;
        sleep(step).await;
    }
}

/// Somebody who calls one server or another, one time after the other.
struct Caller {
    world: Arc<World>,
    actor: Actor,
    random: Random,
    stubs: Vec<Arc<Stubs>>,
}

impl Caller {
    async fn run(mut self) {
        for _ in 0..self.world.scenario.actions {
            sleep(self.random.millis(0..=150)).await;
            let stubs = self.random.pick(&self.stubs).clone();
            match self.random.below(10) {
                0..4 => {
                    let ask = Ask::unary(&mut self.random);
                    self.ask(&ask, &stubs).await;
                }
                4..7 => {
                    let ask = Ask::streaming(&mut self.random);
                    self.ask(&ask, &stubs).await;
                }
                7 => {
                    let ask = Ask::new(&mut self.random, Way::Tell);
                    self.ask(&ask, &stubs).await;
                }
                _ => self.burst(&stubs).await,
            }
        }
    }

    /// One call, again and again as long as that is safe.
    async fn ask(&mut self, ask: &Ask, stubs: &Stubs) {
        for _ in 0..3 {
            let outcome = ask.attempt(&self.world, self.actor, stubs).await;
            if !outcome.is_some_and(is_safe_again) {
                return;
            }
            sleep(self.random.millis(0..=60)).await;
        }
    }

    /// Several at once, more than the server runs.
    async fn burst(&mut self, stubs: &Stubs) {
        let most = self.world.scenario.servers[stubs.server].calls() as u64 + 3;
        let count = self.random.within(2..=most);
        let ask = |random: &mut Random| match random.below(8) {
            0 => Ask::streaming(random),
            1 => Ask::new(random, Way::Tell),
            _ => Ask::unary(random),
        };
        let asks: Vec<_> = (0..count).map(|_| ask(&mut self.random)).collect();
        all(asks.iter().map(|ask| ask.attempt(&self.world, self.actor, stubs))).await;
    }
}
