//! The world in memory: everybody on one runtime of one thread with a paused clock, which goes on when nobody has
//! anything to do. Connections are pipes of ours. A process that crashes is dropped where it stands.

mod pipe;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rpc::{Address, ConnectFuture, Connector, Listener, Transport};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};

use self::pipe::{Pipe, Reader, Writer};
use crate::course::{Course, Turn};
use crate::invariants;
use crate::processes::{self, Ground};
use crate::random::Random;
use crate::scenario::{Event, Scenario, Way, Weather};
use crate::trace::{Actor, Step};
use crate::world::{Clock, Phase, World};

/// Runs a seed's world from its beginning to its end.
pub(crate) fn run(scenario: Scenario, aloud: bool) -> Arc<World> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("there is no runtime: {error}"));
    let world = runtime.block_on(live(scenario, aloud));
    world.hush(true);
    world
}

async fn live(scenario: Scenario, aloud: bool) -> Arc<World> {
    let world = World::new(scenario, Clock::Paused(Instant::now()), aloud);
    let mut processes = Processes { hub: Hub::new(&world), set: JoinSet::new(), handles: Vec::new() };
    world.servers().chain(world.clients()).for_each(|actor| processes.start(actor));
    let mut course = Course::new(&world);
    while !course.is_over() {
        for turn in course.turn(&world) {
            match turn {
                Turn::Starts(actor) => processes.start(actor),
                Turn::Befalls(event) => {
                    if let Some((actor, down)) = processes.befall(event) {
                        course.is_absent(&world, actor, down);
                    }
                }
                // Silence ends by itself here, or never.
                Turn::Heals => {}
            }
        }
        sleep(course.pause(&world)).await;
    }
    if !world.has_failed() {
        processes.no_task_is_left().await;
    }
    world
}

/// Who lives here.
struct Processes {
    hub: Hub,
    set: JoinSet<()>,
    handles: Vec<(Actor, AbortHandle)>,
}

impl Processes {
    fn start(&mut self, actor: Actor) {
        let (world, hub) = (self.hub.world.clone(), self.hub.clone());
        let handle = match actor {
            Actor::Server(index) => self.set.spawn(processes::serve(world, hub, index)),
            Actor::Client(index) => self.set.spawn(processes::call(world, hub, index)),
            Actor::World => return,
        };
        self.handles.retain(|(other, _)| *other != actor);
        self.handles.push((actor, handle));
    }

    /// Everybody has closed: what runs on is nobody's (I7).
    async fn no_task_is_left(&mut self) {
        while self.set.join_next().await.is_some() {}
        let metrics = tokio::runtime::Handle::current().metrics();
        let world = &self.hub.world;
        let end = Instant::now() + world.scenario.closing_takes();
        while metrics.num_alive_tasks() > 0 {
            if Instant::now() > end {
                return invariants::i7_tasks(world, Actor::World, metrics.num_alive_tasks());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn crash(&mut self, actor: Actor, without_a_word: bool) {
        for line in self.hub.lines(|line| line.has(actor)) {
            for pipe in line.pipes() {
                if without_a_word { pipe.silence(None) } else { pipe.reset() }
            }
        }
        self.handles.iter().filter(|(other, _)| *other == actor).for_each(|(_, handle)| handle.abort());
    }

    /// Lets something happen; says who comes back after what time.
    fn befall(&mut self, event: Event) -> Option<(Actor, Duration)> {
        let hub = &self.hub;
        match event {
            Event::Drain { server } => hub.world.drains[server].change(|drains| *drains += 1),
            Event::CrashServer { server, down, without_a_word } => {
                self.crash(Actor::Server(server), without_a_word);
                return Some((Actor::Server(server), down));
            }
            Event::CrashClient { client, down, without_a_word } => {
                self.crash(Actor::Client(client), without_a_word);
                return Some((Actor::Client(client), down));
            }
            Event::Cut { client, server } => {
                hub.lines(|line| line.is_between(client, server))
                    .iter()
                    .flat_map(|line| line.pipes())
                    .for_each(Pipe::reset);
            }
            Event::Silence { client, server, way, time, lossy } => {
                // What is lost never comes.
                let time = (!lossy).then_some(time);
                for line in hub.lines(|line| line.is_between(client, server)) {
                    if way != Way::ToClient {
                        line.to_server.silence(time);
                    }
                    if way != Way::ToServer {
                        line.to_client.silence(time);
                    }
                }
            }
            Event::Refuse { server, time } => hub.lock().closed[server] = Instant::now() + time,
        }
        None
    }
}

/// Where connections are made.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    world: Arc<World>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    random: Random,
    /// Where each server listens, and how often that was another place.
    listening: Vec<(u64, Option<mpsc::UnboundedSender<Open>>)>,
    closed: Vec<Instant>,
    lines: Vec<Arc<Line>>,
}

/// A connection.
#[derive(Debug)]
struct Line {
    client: usize,
    server: usize,
    to_server: Arc<Pipe>,
    to_client: Arc<Pipe>,
}

impl Line {
    fn has(&self, actor: Actor) -> bool {
        actor == Actor::Client(self.client) || actor == Actor::Server(self.server)
    }

    fn is_between(&self, client: usize, server: usize) -> bool {
        (self.client, self.server) == (client, server)
    }

    fn pipes(&self) -> [&Pipe; 2] {
        [&self.to_server, &self.to_client]
    }
}

impl Hub {
    fn new(world: &Arc<World>) -> Self {
        let servers = world.scenario.servers.len();
        let shared = Shared {
            random: world.random_of(Actor::World),
            listening: vec![(0, None); servers],
            closed: vec![Instant::now(); servers],
            lines: Vec::new(),
        };
        Hub { world: world.clone(), shared: Arc::new(Mutex::new(shared)) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self, which: impl Fn(&Line) -> bool) -> Vec<Arc<Line>> {
        let mut shared = self.lock();
        // A line that nobody holds any more is over.
        shared
            .lines
            .retain(|line| Arc::strong_count(&line.to_server) > 1 || Arc::strong_count(&line.to_client) > 1);
        shared.lines.iter().filter(|line| which(line)).cloned().collect()
    }

    fn connect(&self, client: usize, server: usize) -> io::Result<Open> {
        let number = self.world.new_connection();
        let (listening, random) = {
            let shared = self.lock();
            let refuses = shared.closed[server] > Instant::now();
            let listening = shared.listening[server].1.clone().filter(|_| !refuses);
            (listening, shared.random.fork(u64::from(number)))
        };
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listening = listening.ok_or_else(refused)?;
        let wire = self.world.scenario.wire;
        let pipe = |label| Pipe::new(&self.world, number, wire, random.fork(label));
        let (to_server, to_client) = (pipe(0), pipe(1));
        let open = |recv: &Arc<Pipe>, send: &Arc<Pipe>| Open {
            peer: Address::new(format!("sim://{client}-{server}/{number}")),
            recv: Reader { pipe: recv.clone(), sleep: None },
            send: Writer { pipe: send.clone() },
        };
        let (ours, theirs) = (open(&to_client, &to_server), open(&to_server, &to_client));
        listening.send(theirs).map_err(|_| refused())?;
        self.world.trace(Actor::Client(client), Step::Connects { connection: number });
        self.lock().lines.push(Arc::new(Line { client, server, to_server, to_client }));
        Ok(ours)
    }
}

impl Ground for Hub {
    type Listener = Listening;
    type Connector = Route;

    const APART: bool = false;

    async fn listen(&self, server: usize) -> io::Result<Listening> {
        let (queue, accepted) = mpsc::unbounded_channel();
        let mut shared = self.lock();
        let (time, listening) = &mut shared.listening[server];
        *time += 1;
        *listening = Some(queue);
        Ok(Listening { hub: self.clone(), server, time: *time, accepted })
    }

    fn connector(&self, client: usize, server: usize) -> Route {
        Route { hub: self.clone(), client, server }
    }
}

/// A server's end of the hub.
#[derive(Debug)]
pub(crate) struct Listening {
    hub: Hub,
    server: usize,
    time: u64,
    accepted: mpsc::UnboundedReceiver<Open>,
}

impl Listener for Listening {
    fn local_addr(&self) -> Address {
        Address::new(format!("sim://{}", self.server))
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        match ready!(self.accepted.poll_recv(cx)) {
            Some(open) => Poll::Ready(Ok(Box::new(open))),
            // Another has taken its place.
            None => Poll::Pending,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut shared = self.hub.lock();
        let (time, listening) = &mut shared.listening[self.server];
        // Another one may have taken its place.
        if *time == self.time {
            *listening = None;
        }
    }
}

/// A client's way to a server.
#[derive(Debug)]
pub(crate) struct Route {
    hub: Hub,
    client: usize,
    server: usize,
}

impl Connector for Route {
    fn address(&self) -> Address {
        Address::new(format!("sim://{}", self.server))
    }

    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async {
            let (delay, hangs) = {
                let mut shared = self.hub.lock();
                let delay = self.hub.world.scenario.wire.delay;
                let stormy = self.hub.world.scenario.weather == Weather::Stormy;
                let hangs = stormy && self.hub.world.phase() == Phase::Storm && shared.random.one_in(30);
                (shared.random.millis(0..=delay), hangs)
            };
            sleep(delay).await;
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok(Box::new(self.hub.connect(self.client, self.server)?) as Box<dyn Transport>)
        })
    }
}

/// An end of a connection.
#[derive(Debug)]
pub(crate) struct Open {
    peer: Address,
    recv: Reader,
    send: Writer,
}

impl Transport for Open {
    fn peer(&self) -> Address {
        self.peer.clone()
    }

    fn split(self: Box<Self>) -> (rpc::RecvHalf, rpc::SendHalf) {
        (Box::new(self.recv), Box::new(self.send))
    }
}
