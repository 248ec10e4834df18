//! Servers, clients, the network between them and the ledgers of them all: what is tortured, and what must be true of it
//! in the end.

mod child;
mod health;
mod scratch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::ledger::{Books, Counts, Writer};
use crate::network::{self, Link, Weather};
use crate::options::Failure;
use crate::random::Random;
use crate::service::{Sabotage, Temper};

pub(crate) use child::{Child, PATIENCE};
use health::Rest;
use scratch::Scratch;

/// How large a world is, and what happens in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) servers: usize,
    pub(crate) clients: usize,
    /// How many connections each client has to each server.
    pub(crate) connections: usize,
    /// Calls a second of each client.
    pub(crate) rate: u64,
    /// How many bytes arguments and replies have at most.
    pub(crate) largest: u64,
    pub(crate) limits: Temper,
    pub(crate) weather: Weather,
    pub(crate) seed: u64,
    pub(crate) sabotage: Option<Sabotage>,
}

/// All that there is in a run.
#[derive(Debug)]
pub(crate) struct World {
    settings: Settings,
    pub(crate) random: Random,
    books: Arc<Mutex<Books>>,
    pub(crate) network: Arc<network::Counts>,
    pub(crate) links: Vec<Link>,
    /// By their places; a place is empty while its process is down.
    pub(crate) servers: Vec<Option<Process>>,
    pub(crate) clients: Vec<Option<Process>>,
    processes: u32,
    _reader: Reader,
    directory: Scratch,
}

/// A process of a world.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) number: u32,
    pub(crate) child: Child,
    /// Where it listens, if it is a server.
    pub(crate) address: Option<SocketAddr>,
    /// What it used before anybody called.
    rest: Rest,
}

impl World {
    /// Opens the network, and starts all servers and clients.
    ///
    /// # Errors
    /// The system does not let it.
    pub(crate) async fn open(settings: Settings) -> Result<World, Failure> {
        let books = Arc::new(Mutex::new(Books::default()));
        let network = Arc::new(network::Counts::default());
        let mut random = Random::new(settings.seed);
        let mut links = Vec::new();
        for _ in 0..settings.servers {
            let link = Link::open(random.next(), network.clone()).await?;
            links.push(link);
        }
        let mut world = World {
            settings,
            random,
            _reader: Reader::start(books.clone()),
            books,
            network,
            links,
            servers: Vec::new(),
            clients: Vec::new(),
            processes: 0,
            directory: Scratch::new()?,
        };
        world.servers.resize_with(settings.servers, || None);
        world.clients.resize_with(settings.clients, || None);
        world.set_weather(settings.weather);
        for place in 0..settings.servers {
            world.start_server(place).await?;
        }
        for place in 0..settings.clients {
            world.start_client(place).await?;
        }
        Ok(world)
    }

    /// Starts a server at a place that is empty.
    ///
    /// # Errors
    /// The system does not let it.
    pub(crate) async fn start_server(&mut self, place: usize) -> Result<(), Failure> {
        let (number, ledger) = self.register("server", place);
        let mut options = vec![
            ("number", number.to_string()),
            ("ledger", ledger.display().to_string()),
            ("threads", self.threads(place).to_string()),
            ("limits", self.settings.limits.to_string()),
        ];
        options.extend(self.sabotage());
        let mut child =
            Child::start(&name("server", place, number), "serve", &options, self.directory.path())?;
        let url = child.hear().await?;
        let address: SocketAddr = url.strip_prefix("tcp://").unwrap_or(&url).parse()?;
        let rest = Rest::of(&mut child).await?;
        self.links[place].lead_to(address);
        self.servers[place] = Some(Process { number, child, address: Some(address), rest });
        Ok(())
    }

    /// Starts a client at a place that is empty.
    ///
    /// # Errors
    /// The system does not let it.
    pub(crate) async fn start_client(&mut self, place: usize) -> Result<(), Failure> {
        let (number, ledger) = self.register("client", place);
        let addresses: Vec<_> = self.links.iter().map(|link| format!("tcp://{}", link.address)).collect();
        let mut options = vec![
            ("number", number.to_string()),
            ("ledger", ledger.display().to_string()),
            ("threads", self.threads(place).to_string()),
            ("limits", self.settings.limits.to_string()),
            ("addresses", addresses.join(",")),
            ("connections", self.settings.connections.to_string()),
            ("largest", self.settings.largest.to_string()),
            ("rate", self.settings.rate.to_string()),
            ("seed", self.random.next().to_string()),
        ];
        options.extend(self.sabotage());
        let mut child =
            Child::start(&name("client", place, number), "call", &options, self.directory.path())?;
        let rest = Rest::said(&mut child).await?;
        child.tell("begin").await?;
        self.clients[place] = Some(Process { number, child, address: None, rest });
        Ok(())
    }

    /// Starts a process that writes no ledger, such as one that floods.
    ///
    /// # Errors
    /// The system does not let it.
    pub(crate) fn start_stranger(
        &mut self,
        part: &str,
        options: &[(&str, String)],
    ) -> Result<Child, Failure> {
        self.processes += 1;
        Child::start(&format!("{part} {}", self.processes), part, options, self.directory.path())
    }

    /// Kills a process as `kill -9` does, and reads what it has written.
    ///
    /// # Errors
    /// The system does not let it.
    pub(crate) async fn kill(&self, process: Process) -> Result<(), Failure> {
        self.books().killed(process.number);
        process.child.kill().await?;
        self.books().gone(process.number);
        Ok(())
    }

    /// A process has ended by itself: reads what it has written.
    pub(crate) fn gone(&self, process: Process) {
        self.books().gone(process.number);
    }

    /// How bad the network is for a start.
    pub(crate) fn weather(&self) -> Weather {
        self.settings.weather
    }

    /// Changes how bad the network is.
    pub(crate) fn set_weather(&self, mut weather: Weather) {
        if self.settings.sabotage == Some(Sabotage::AlterReply) {
            weather.altered = 20_000;
        }
        for link in &self.links {
            link.set_weather(weather);
        }
    }

    /// What the ledgers add up to.
    pub(crate) fn counts(&self) -> Counts {
        self.books().counts().clone()
    }

    /// Whether nothing is wrong in the ledgers so far.
    pub(crate) fn is_sound(&self) -> bool {
        self.books().wrong().is_empty()
    }

    /// Lets the network be in order, all servers run and all clients come to their end, and checks that this is what they
    /// do. Gives all that is wrong.
    ///
    /// # Errors
    /// The system does not let it.
    pub(crate) async fn finish(mut self) -> Result<(Counts, Vec<String>), Failure> {
        let mut wrong = Vec::new();
        self.heal().await?;
        self.finish_clients(&mut wrong).await;
        self.rest_servers(&mut wrong).await;
        self.end_all(&mut wrong).await;
        let counts = {
            let mut books = self.books();
            books.close();
            books.counts().clone()
        };
        wrong.extend_from_slice(self.books().wrong());
        if counts.well() == 0 {
            wrong.push("not a single call ended well".into());
        }
        wrong.extend(self.directory.panics()?);
        // What was found on purpose is not looked at again.
        if wrong.is_empty() || self.settings.sabotage.is_some() {
            self.directory.remove()?;
        }
        Ok((counts, wrong))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number and a ledger for a new process.
    fn register(&mut self, what: &str, place: usize) -> (u32, PathBuf) {
        self.processes += 1;
        let number = self.processes;
        let ledger = self.directory.path().join(format!("ledger-{number}"));
        let name = name(what, place, number);
        self.books().follow(Writer { number, name, ledger: ledger.clone() });
        (number, ledger)
    }

    /// Every other process has one thread, the others two.
    fn threads(&self, place: usize) -> usize {
        if place.is_multiple_of(2) { 2 } else { 1 }
    }

    fn sabotage(&self) -> Option<(&'static str, String)> {
        self.settings.sabotage.map(|sabotage| ("sabotage", sabotage.to_string()))
    }
}

fn name(what: &str, place: usize, number: u32) -> String {
    format!("{what} {} (process {number})", place + 1)
}

/// Reads the ledgers as they are written, on a thread that ends when this is dropped.
#[derive(Debug)]
struct Reader {
    stop: Arc<AtomicBool>,
}

impl Reader {
    fn start(books: Arc<Mutex<Books>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                books.lock().unwrap_or_else(PoisonError::into_inner).read();
                thread::sleep(Duration::from_millis(100));
            }
        });
        Reader { stop }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
