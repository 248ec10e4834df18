//! What a seed decides before anything happens: who there is, what each takes, and what befalls them.

use std::time::Duration;

use rpc::Limits;

use crate::random::Random;

/// All that is known of a world in advance.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) random: Random,
    pub(crate) weather: Weather,
    pub(crate) servers: Vec<Limits>,
    pub(crate) clients: Vec<Limits>,
    /// How many tasks of a client call, and how often each.
    pub(crate) callers: u64,
    pub(crate) actions: u64,
    pub(crate) wire: Wire,
    /// When what happens, in order.
    pub(crate) events: Vec<(Duration, Event)>,
    pub(crate) servers_close_first: bool,
    pub(crate) all_close_at_once: bool,
}

/// How bad it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Nothing at all.
    Still,
    /// Servers drain, one after the other or at once. No call may be lost by that.
    Calm,
    /// Connections are cut, go silent one way or both, servers and clients crash.
    Stormy,
}

/// What lies between two sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    /// The longest delay, in milliseconds.
    pub(crate) delay: u64,
    /// How many bytes may be under way, where the world has a say in that.
    pub(crate) capacity: usize,
    /// Reads and writes are cut into pieces, and some have to be tried again.
    pub(crate) slices: bool,
    /// Nothing is on its way before it is flushed.
    pub(crate) buffered: bool,
}

/// What befalls somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Drain {
        server: usize,
    },
    CrashServer {
        server: usize,
        down: Duration,
        without_a_word: bool,
    },
    CrashClient {
        client: usize,
        down: Duration,
        without_a_word: bool,
    },
    /// A connection of this client's to this server is reset.
    Cut {
        client: usize,
        server: usize,
    },
    /// Nothing gets through between them for so long; what was sent is late, or lost.
    Silence {
        client: usize,
        server: usize,
        way: Way,
        time: Duration,
        lossy: bool,
    },
    /// Nobody can connect for so long.
    Refuse {
        server: usize,
        time: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
    Both,
}

/// The longest time that a handler takes, all calls that it makes included; unless it waits for its end.
pub(crate) const HANDLER: Duration = Duration::from_millis(1_500);

/// How long a drain may take where none may be lost.
const PATIENCE: Duration = Duration::from_secs(10);

impl Scenario {
    pub(crate) fn new(seed: u64) -> Self {
        let base = Random::new(seed);
        let mut random = base.fork(0);
        let weather = match random.below(10) {
            0 => Weather::Still,
            1..4 => Weather::Calm,
            _ => Weather::Stormy,
        };
        let servers: Vec<_> = (0..random.within(1..=2)).map(|_| limits(&mut random, weather)).collect();
        let clients: Vec<_> = (0..random.within(1..=3)).map(|_| limits(&mut random, weather)).collect();
        let delay = *random.pick(&[0, 0, 1, 3, 10]);
        let capacity = *random.pick(&[600, 2_000, 20_000, 70_000]);
        let wire = Wire { delay, capacity, slices: random.one_in(2), buffered: random.one_in(2) };
        let callers = random.within(1..=4);
        let actions = random.within(3..=8);
        let events = events(&mut random, weather, servers.len() as u64, clients.len() as u64);
        let servers_close_first = random.one_in(2);
        let all_close_at_once = random.one_in(3);
        Scenario {
            random: base,
            weather,
            servers,
            clients,
            callers,
            actions,
            wire,
            events,
            servers_close_first,
            all_close_at_once,
        }
    }

    /// When nothing bad happens any more.
    pub(crate) fn storm_ends(&self) -> Duration {
        let last = self.events.iter().map(|(at, event)| *at + event.lasts()).max();
        last.unwrap_or_default() + Duration::from_millis(10)
    }

    /// Within what time of that each client gets an answer from each server (I8): a connection that is dead is found out
    /// by silence or by a stall, it has a second to be closed in, the next one may just have been waited for in vain, and
    /// handlers come to their ends.
    pub(crate) fn healing_takes(&self) -> Duration {
        let all = || self.servers.iter().chain(&self.clients);
        let most = |time: fn(&Limits) -> Duration| all().map(time).max().unwrap_or_default();
        let silence = most(|limits| limits.keepalive_interval() + limits.keepalive_timeout());
        let dead = silence.max(most(Limits::stall_timeout));
        let connect = most(Limits::hello_timeout) + most(Limits::max_backoff).mul_f64(1.2);
        2 * dead + Duration::from_secs(2) + 2 * connect + 2 * HANDLER + Duration::from_secs(2)
    }

    /// Within what time of that each call has ended (I1): all that a caller does.
    pub(crate) fn calls_take(&self) -> Duration {
        self.healing_takes() + Duration::from_secs(60)
    }

    /// How long it may take until all have closed.
    pub(crate) fn closing_takes(&self) -> Duration {
        let drain = self.servers.iter().chain(&self.clients).map(Limits::drain_timeout).max();
        2 * drain.unwrap_or_default() + Duration::from_secs(10)
    }
}

impl Event {
    fn lasts(&self) -> Duration {
        match *self {
            Event::Drain { .. } | Event::Cut { .. } => Duration::ZERO,
            Event::CrashServer { down, .. } | Event::CrashClient { down, .. } => down,
            Event::Silence { time, .. } | Event::Refuse { time, .. } => time,
        }
    }
}

/// Limits that matter: small ones.
fn limits(random: &mut Random, weather: Weather) -> Limits {
    let stormy = weather == Weather::Stormy;
    let drain = if stormy { random.millis(200..=3_000) } else { PATIENCE };
    // Messages above their frames go in fragments.
    let frame = random.within(1_024..=6_000) as usize;
    let window = *random.pick(&[40, 300, 2_000, 64 * 1_024]);
    Limits::default()
        .with_frame_bytes(frame)
        .with_message_bytes(random.within(26_000..=60_000) as usize)
        .with_calls(random.within(1..=6) as usize)
        .with_streams(random.within(1..=4) as usize)
        .with_stream_bytes(window)
        .with_max_stream_bytes(window * random.within(1..=8) as usize)
        .with_half_open(random.within(2..=4) as usize)
        .with_send_queue_bytes(random.within(400..=20_000) as usize)
        .with_hello_timeout(random.millis(300..=1_000))
        .with_stall_timeout(random.millis(500..=1_500))
        .with_drain_timeout(drain)
        .with_keepalive_interval(random.millis(100..=600))
        .with_keepalive_timeout(random.millis(250..=700))
        .with_backoff(random.millis(10..=80))
        .with_max_backoff(random.millis(80..=400))
        .with_cancels(*random.pick(&[1, 2, 5, 1_000]))
        .with_cancels_per_second(*random.pick(&[1, 10, 200]))
}

fn events(random: &mut Random, weather: Weather, servers: u64, clients: u64) -> Vec<(Duration, Event)> {
    let count = match weather {
        Weather::Still => 0,
        Weather::Calm => random.within(1..=3),
        Weather::Stormy => random.within(1..=7),
    };
    let mut at = Duration::ZERO;
    let mut event = || {
        at += random.millis(0..=400);
        let (server, client) = (random.below(servers) as usize, random.below(clients) as usize);
        let down = random.millis(0..=300);
        let without_a_word = random.one_in(2);
        let event = match (weather, random.below(12)) {
            (Weather::Stormy, 0 | 1) => Event::CrashServer { server, down, without_a_word },
            (Weather::Stormy, 2) => Event::CrashClient { client, down, without_a_word },
            (Weather::Stormy, 3..6) => Event::Cut { client, server },
            (Weather::Stormy, 6..10) => {
                let way = *random.pick(&[Way::ToServer, Way::ToClient, Way::Both]);
                let time = random.millis(0..=1_500);
                Event::Silence { client, server, way, time, lossy: random.one_in(2) }
            }
            (Weather::Stormy, 10) => Event::Refuse { server, time: random.millis(0..=800) },
            _ => Event::Drain { server },
        };
        (at, event)
    };
    (0..count).map(|_| event()).collect()
}
