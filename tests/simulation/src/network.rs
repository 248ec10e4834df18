//! The world over a simulated network: each process is a host with a runtime of its own, and what is sent between two of
//! them is late, or lost for good. A process that crashes is gone at once, with all its tasks.

mod socket;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use rpc::{Address, ConnectFuture, Connector, Listener, Transport};
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};

use self::socket::{Cut, Socket};
use crate::course::{Course, Turn};
use crate::invariants;
use crate::processes::{self, Ground};
use crate::scenario::{Event, Scenario, Way};
use crate::trace::{Actor, Step};
use crate::world::{Clock, World};

/// Where servers listen.
const PORT: u16 = 9000;

/// How much time passes at once for a host, one host after the other: what is sent must be on its way for as long, or it
/// would arrive before it was sent, by the clock of whoever comes later in the same step.
const STEP: Duration = Duration::from_millis(2);

/// Beyond all that a world takes.
const LONG: Duration = Duration::from_secs(100_000);

/// How many segments may be under way on a connection, and connections wait to be accepted.
const SEGMENTS: usize = 64;

/// Runs a seed's world from its beginning to its end.
pub(crate) fn run(scenario: Scenario, seed: u64, aloud: bool) -> Arc<World> {
    let world = World::new(scenario, Clock::Steps(Default::default()), aloud);
    let lines = Arc::new(Mutex::new(Lines {
        closed: vec![Duration::ZERO; world.scenario.servers.len()],
        all: Vec::new(),
    }));
    let hosts = Hosts { world: world.clone(), lines };
    let delay = Duration::from_millis(world.scenario.wire.delay);
    let mut sim = Builder::new()
        .rng_seed(seed)
        .epoch(SystemTime::UNIX_EPOCH)
        .simulation_duration(LONG)
        .tick_duration(STEP)
        .min_message_latency(STEP)
        .max_message_latency(STEP + delay)
        .tcp_capacity(SEGMENTS)
        .enable_random_order()
        .build();
    for actor in world.servers().chain(world.clients()) {
        let (hosts, world) = (hosts.clone(), world.clone());
        let process = move || {
            let (hosts, world) = (hosts.clone(), world.clone());
            async move {
                match actor {
                    Actor::Server(index) => processes::serve(world, hosts, index).await,
                    Actor::Client(index) => processes::call(world, hosts, index).await,
                    Actor::World => {}
                }
                Ok(())
            }
        };
        sim.host(name(actor), process);
    }
    Network { sim, hosts, faults: Vec::new(), silent: BTreeSet::new() }.live();
    world.hush(true);
    world
}

fn name(actor: Actor) -> String {
    match actor {
        Actor::Server(index) => format!("server-{index}"),
        Actor::Client(index) => format!("client-{index}"),
        Actor::World => "world".to_owned(),
    }
}

/// The network, and what is wrong with it.
struct Network<'a> {
    sim: Sim<'a>,
    hosts: Hosts,
    faults: Vec<Fault>,
    /// Who crashed without a word, and does not hear either.
    silent: BTreeSet<Actor>,
}

/// Nothing gets through between two, one way or both.
#[derive(Clone, Copy, Debug)]
struct Fault {
    until: Duration,
    client: usize,
    server: usize,
    way: Way,
    /// What is sent meanwhile is lost; else it is late.
    lossy: bool,
}

impl Fault {
    fn is_between(&self, one: Actor, other: Actor) -> bool {
        let ends = [Actor::Client(self.client), Actor::Server(self.server)];
        ends == [one, other] || ends == [other, one]
    }
}

impl Network<'_> {
    fn live(&mut self) {
        let world = self.hosts.world.clone();
        let mut course = Course::new(&world);
        while !course.is_over() {
            for turn in course.turn(&world) {
                match turn {
                    Turn::Starts(actor) => self.start(actor),
                    Turn::Befalls(event) => {
                        if let Some((actor, down)) = self.befall(event) {
                            course.is_absent(&world, actor, down);
                        }
                    }
                    Turn::Heals => self.repair(|_| true),
                }
            }
            let now = world.now();
            self.repair(|until| until <= now);
            if let Err(error) = self.sim.step() {
                return invariants::always(&world, &format!("a host fails: {error}"));
            }
            world.set_now(self.sim.elapsed());
        }
    }

    fn start(&mut self, actor: Actor) {
        self.silent.remove(&actor);
        self.settle_around(actor);
        self.sim.bounce(name(actor));
    }

    /// In which order the runtime drops its tasks depends on what ran before in our process. So nothing of what they do
    /// gets out; if their sockets are to be closed behind them, that is done here.
    fn crash(&mut self, actor: Actor, without_a_word: bool) {
        for other in self.others(actor) {
            self.sim.partition(name(actor), name(other));
        }
        self.hosts.world.hush(true);
        self.sim.crash(name(actor));
        self.hosts.world.hush(false);
        if without_a_word {
            self.silent.insert(actor);
        } else {
            self.silent.remove(&actor);
            self.cut(|line| line.is_at != actor && line.has(actor));
        }
        self.settle_around(actor);
    }

    fn cut(&self, which: impl Fn(&Line) -> bool) {
        let cuts: Vec<_> = {
            let mut lines = self.hosts.lock();
            lines.all.retain(|line| line.cut.strong_count() > 0);
            lines.all.iter().filter(|line| which(line)).filter_map(|line| line.cut.upgrade()).collect()
        };
        cuts.iter().for_each(|cut| cut.cut());
    }

    fn others(&self, actor: Actor) -> Vec<Actor> {
        let world = &self.hosts.world;
        world.servers().chain(world.clients()).filter(|other| *other != actor).collect()
    }

    /// Lets something happen; says who comes back after what time.
    fn befall(&mut self, event: Event) -> Option<(Actor, Duration)> {
        match event {
            Event::Drain { server } => self.hosts.world.drains[server].change(|drains| *drains += 1),
            Event::CrashServer { server, down, without_a_word } => {
                self.crash(Actor::Server(server), without_a_word);
                return Some((Actor::Server(server), down));
            }
            Event::CrashClient { client, down, without_a_word } => {
                self.crash(Actor::Client(client), without_a_word);
                return Some((Actor::Client(client), down));
            }
            Event::Cut { client, server } => {
                let ends = [Actor::Client(client), Actor::Server(server)];
                self.cut(|line| line.is_at == ends[0] && line.has(ends[1]));
            }
            Event::Silence { client, server, way, time, lossy } => {
                let (here, there) = (Actor::Client(client), Actor::Server(server));
                let until = self.hosts.world.now() + time;
                self.faults.retain(|fault| !fault.is_between(here, there));
                self.faults.push(Fault { until, client, server, way, lossy });
                self.settle(here, there);
            }
            Event::Refuse { server, time } => {
                let until = self.hosts.world.now() + time;
                self.hosts.lock().closed[server] = until;
            }
        }
        None
    }

    /// Repairs what was to last until a moment that is over.
    fn repair(&mut self, is_over: impl Fn(Duration) -> bool) {
        let over: Vec<_> = self.faults.extract_if(.., |fault| is_over(fault.until)).collect();
        for Fault { client, server, .. } in over {
            self.settle(Actor::Client(client), Actor::Server(server));
        }
    }

    fn settle_around(&mut self, actor: Actor) {
        for other in self.others(actor) {
            self.settle(actor, other);
        }
    }

    /// Puts the link between two into the state that follows from all that is wrong with it now. What turmoil is told
    /// takes the place of what it was told before, so nobody else may tell it that a link is well.
    fn settle(&mut self, one: Actor, other: Actor) {
        let [here, there] = [one, other].map(name);
        if self.silent.contains(&one) || self.silent.contains(&other) {
            return self.sim.partition(here, there);
        }
        let Some(fault) = self.faults.iter().find(|fault| fault.is_between(one, other)) else {
            return self.sim.release(here, there);
        };
        let (client, server) = (name(Actor::Client(fault.client)), name(Actor::Server(fault.server)));
        match fault.way {
            Way::Both if fault.lossy => self.sim.partition(client, server),
            Way::Both => self.sim.hold(client, server),
            Way::ToServer => {
                self.sim.repair(here, there);
                self.sim.partition_oneway(client, server);
            }
            Way::ToClient => {
                self.sim.repair(here, there);
                self.sim.partition_oneway(server, client);
            }
        }
    }
}

/// What processes reach each other by.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    world: Arc<World>,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug)]
struct Lines {
    /// Until when each server refuses connections.
    closed: Vec<Duration>,
    all: Vec<Line>,
}

/// An end of a connection, and what it can be cut by.
#[derive(Debug)]
struct Line {
    client: usize,
    server: usize,
    is_at: Actor,
    cut: Weak<Cut>,
}

impl Line {
    fn has(&self, actor: Actor) -> bool {
        actor == Actor::Client(self.client) || actor == Actor::Server(self.server)
    }
}

impl Hosts {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn socket(&self, stream: TcpStream, client: usize, server: usize, is_at: Actor) -> Box<dyn Transport> {
        let connection = self.world.new_connection();
        let peer = Address::new(format!("sim://{client}-{server}/{connection}"));
        let socket = Socket::new(&self.world, stream, peer, connection);
        let cut = Arc::downgrade(&socket.cut);
        self.lock().all.push(Line { client, server, is_at, cut });
        self.world.trace(is_at, Step::Connects { connection });
        Box::new(socket)
    }
}

impl Ground for Hosts {
    type Listener = Listening;
    type Connector = Route;

    const APART: bool = true;

    async fn listen(&self, server: usize) -> io::Result<Listening> {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        Ok(Listening { hosts: self.clone(), server, listener: Arc::new(listener), accepting: None })
    }

    fn connector(&self, client: usize, server: usize) -> Route {
        Route { hosts: self.clone(), client, server }
    }
}

type Accepting = Pin<Box<dyn Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send>>;

/// A server's socket.
pub(crate) struct Listening {
    hosts: Hosts,
    server: usize,
    listener: Arc<TcpListener>,
    accepting: Option<Accepting>,
}

impl Listener for Listening {
    fn local_addr(&self) -> Address {
        Address::new(format!("sim://{}", self.server))
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        let listener = self.listener.clone();
        let accepting =
            self.accepting.get_or_insert_with(|| Box::pin(async move { listener.accept().await }));
        let accepted = ready!(accepting.as_mut().poll(cx));
        self.accepting = None;
        let (stream, from) = accepted?;
        let is_from = |client: &usize| turmoil::lookup(name(Actor::Client(*client))) == from.ip();
        let client = (0..self.hosts.world.scenario.clients.len()).find(is_from).unwrap_or_default();
        Poll::Ready(Ok(self.hosts.socket(stream, client, self.server, Actor::Server(self.server))))
    }
}

/// A client's way to a server.
#[derive(Debug)]
pub(crate) struct Route {
    hosts: Hosts,
    client: usize,
    server: usize,
}

impl Connector for Route {
    fn address(&self) -> Address {
        Address::new(format!("sim://{}", self.server))
    }

    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async {
            if self.hosts.lock().closed[self.server] > self.hosts.world.now() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let stream = TcpStream::connect((name(Actor::Server(self.server)), PORT)).await?;
            Ok(self.hosts.socket(stream, self.client, self.server, Actor::Client(self.client)))
        })
    }
}
