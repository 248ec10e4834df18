//! What is done to a world, drawn from its seed: one thing after the other, and what undoes each when it is time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::network::Weather;
use crate::options::Failure;
use crate::world::{Child, PATIENCE, Process, World};

/// What can be done.
#[derive(Clone, Copy, Debug)]
enum Deed {
    KillServer,
    KillClient,
    Stop,
    Drain,
    Flood,
    Reset,
    Partition,
    Storm,
}

/// Of all deeds, how often each is done.
const MIXTURE: [(u64, Deed); 8] = [
    (20, Deed::KillServer),
    (15, Deed::KillClient),
    (10, Deed::Stop),
    (12, Deed::Drain),
    (6, Deed::Flood),
    (15, Deed::Reset),
    (12, Deed::Partition),
    (10, Deed::Storm),
];

/// What is to be done later.
#[derive(Clone, Copy, Debug)]
enum Then {
    StartServer(usize),
    StartClient(usize),
    /// Goes on, if the process at this place is still the one of this number.
    Continue(Role, usize, u32),
    EndPartition(usize),
    EndStorm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

/// A world that things are done to.
#[derive(Debug)]
pub(super) struct Chaos {
    pub(super) world: World,
    later: Vec<(Instant, Then)>,
    /// Servers that end by themselves, the place that each had, and since when.
    draining: Vec<(Process, usize, Instant)>,
    floods: Vec<Child>,
    tally: BTreeMap<String, u64>,
    weather: Weather,
}

impl Chaos {
    pub(super) fn new(world: World) -> Self {
        let weather = world.weather();
        let (later, draining, floods) = (Vec::new(), Vec::new(), Vec::new());
        Chaos { world, later, draining, floods, tally: BTreeMap::new(), weather }
    }

    /// How many processes were killed.
    pub(super) fn kills(&self) -> u64 {
        ["servers killed", "clients killed"]
            .map(|name| self.tally.get(name).copied().unwrap_or(0))
            .iter()
            .sum()
    }

    /// Waits a little, and does one thing.
    ///
    /// # Errors
    /// A process has ended that nobody has killed, or the system does not let it.
    pub(super) async fn step(&mut self) -> Result<(), Failure> {
        tokio::time::sleep(self.world.random.millis(50..800)).await;
        self.look_after().await?;
        let deed = self.world.random.weighted(&MIXTURE);
        self.carry_out(deed).await
    }

    /// Ends what was begun: floods, drains, and processes that were stopped.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub(super) async fn end(mut self) -> Result<(World, BTreeMap<String, u64>), Failure> {
        for flood in std::mem::take(&mut self.floods) {
            flood.end().await?;
        }
        for (_, then) in std::mem::take(&mut self.later) {
            self.follow_up(then).await?;
        }
        while !self.draining.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.look_after().await?;
        }
        // Those that had drained by now start again, and clients do.
        for (_, then) in std::mem::take(&mut self.later) {
            self.follow_up(then).await?;
        }
        Ok((self.world, self.tally))
    }

    async fn carry_out(&mut self, deed: Deed) -> Result<(), Failure> {
        let now = Instant::now();
        let random = &mut self.world.random;
        match deed {
            Deed::KillServer => {
                let place = random.index(self.world.servers.len());
                let pause = random.millis(0..1_000);
                if let Some(process) = self.world.servers[place].take() {
                    self.world.kill(process).await?;
                    self.later.push((now + pause, Then::StartServer(place)));
                    self.count("servers killed");
                }
            }
            Deed::KillClient => {
                let place = random.index(self.world.clients.len());
                let pause = random.millis(0..300);
                if let Some(process) = self.world.clients[place].take() {
                    self.world.kill(process).await?;
                    self.later.push((now + pause, Then::StartClient(place)));
                    self.count("clients killed");
                }
            }
            Deed::Stop => {
                let role = if random.one_in(2) { Role::Server } else { Role::Client };
                let pause = random.millis(50..1_500);
                let places = self.places(role).len();
                let place = self.world.random.index(places);
                if let Some(process) = &self.places(role)[place] {
                    process.child.signal("STOP").await?;
                    self.later.push((now + pause, Then::Continue(role, place, process.number)));
                    self.count("processes stopped for a while");
                }
            }
            Deed::Drain => {
                let place = random.index(self.world.servers.len());
                if let Some(mut process) = self.world.servers[place].take() {
                    process.child.tell("drain").await?;
                    self.draining.push((process, place, now));
                    self.count("servers drained");
                }
            }
            Deed::Flood => {
                // Always the same, so that the others show what a neighbour notices; and one flood at a time.
                let seed = random.next();
                let seconds = random.between(1..4);
                if let (true, Some(address)) = (self.floods.is_empty(), self.flooded()) {
                    let options = [
                        ("address", address.to_string()),
                        ("seed", seed.to_string()),
                        ("seconds", seconds.to_string()),
                    ];
                    let flood = self.world.start_stranger("flood", &options)?;
                    self.floods.push(flood);
                    self.count("floods");
                }
            }
            Deed::Reset => {
                let place = random.index(self.world.links.len());
                self.world.links[place].reset();
                self.count("resets of all connections to a server");
            }
            Deed::Partition => {
                let place = random.index(self.world.links.len());
                let pause = random.millis(100..4_500);
                self.world.links[place].partition(true);
                self.later.push((now + pause, Then::EndPartition(place)));
                self.count("partitions");
            }
            Deed::Storm => {
                let pause = random.millis(200..2_000);
                let faults = random.between(50_000..300_000);
                self.world.set_weather(Weather { faults, ..self.weather });
                self.later.push((now + pause, Then::EndStorm));
                self.count("storms");
            }
        }
        Ok(())
    }

    /// Does what is due, and looks who has ended.
    async fn look_after(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = later;
        let due: Vec<(Instant, Then)> = due;
        for (_, then) in due {
            self.follow_up(then).await?;
        }
        for (mut process, place, since) in std::mem::take(&mut self.draining) {
            match process.child.ended()? {
                Some(status) if status.success() => {
                    self.world.gone(process);
                    self.later.push((now, Then::StartServer(place)));
                }
                Some(status) => {
                    return Err(format!("{} drained and ended with {status}", process.child.name).into());
                }
                None if since.elapsed() > PATIENCE => {
                    return Err(format!("{} drains and does not end", process.child.name).into());
                }
                None => self.draining.push((process, place, since)),
            }
        }
        for process in self.world.servers.iter_mut().chain(&mut self.world.clients).flatten() {
            if let Some(status) = process.child.ended()? {
                return Err(process.child.obituary(status).into());
            }
        }
        for mut flood in std::mem::take(&mut self.floods) {
            match flood.ended()? {
                None => self.floods.push(flood),
                Some(status) if status.success() => {}
                Some(status) => return Err(flood.obituary(status).into()),
            }
        }
        Ok(())
    }

    async fn follow_up(&mut self, then: Then) -> Result<(), Failure> {
        match then {
            Then::StartServer(place) => self.world.start_server(place).await,
            Then::StartClient(place) => self.world.start_client(place).await,
            Then::Continue(role, place, number) => match &self.places(role)[place] {
                Some(process) if process.number == number => process.child.signal("CONT").await,
                _ => self.continue_draining(number).await,
            },
            Then::EndPartition(place) => {
                self.world.links[place].partition(false);
                Ok(())
            }
            Then::EndStorm => {
                self.world.set_weather(self.weather);
                Ok(())
            }
        }
    }

    /// One that was stopped may have been told to drain meanwhile.
    async fn continue_draining(&self, number: u32) -> Result<(), Failure> {
        match self.draining.iter().find(|(process, ..)| process.number == number) {
            Some((process, ..)) => process.child.signal("CONT").await,
            None => Ok(()),
        }
    }

    fn places(&self, role: Role) -> &[Option<Process>] {
        match role {
            Role::Server => &self.world.servers,
            Role::Client => &self.world.clients,
        }
    }

    /// Who is flooded, if it runs.
    fn flooded(&self) -> Option<SocketAddr> {
        self.world.servers.first()?.as_ref()?.address
    }

    fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }
}
