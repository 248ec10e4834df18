//! The end of a run: everything heals, every client comes to its end, and every process is as it was before.

use std::time::{Duration, Instant};

use super::World;
use super::child::{Child, PATIENCE};
use crate::network::Weather;
use crate::options::Failure;
use crate::service::State;

/// What a process uses at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    tasks: usize,
    descriptors: usize,
    /// Bytes, without those that are kept for large messages.
    held: u64,
}

/// What may be held above what it was: names, buffers of threads, and memory of handlers, kept for the next ones.
const KEPT_BYTES: u64 = 2 * 1024 * 1024;

impl Rest {
    /// Asks for it.
    pub(super) async fn of(child: &mut Child) -> Result<Self, Failure> {
        child.tell("state").await?;
        Rest::said(child).await
    }

    /// Hears it.
    pub(super) async fn said(child: &mut Child) -> Result<Self, Failure> {
        let state: State = child.hear().await?.parse()?;
        let descriptors = child.usage()?.descriptors;
        Ok(Rest { tasks: state.tasks, descriptors, held: state.held })
    }

    fn is_back_at(&self, before: &Rest) -> bool {
        self.tasks <= before.tasks
            && self.descriptors <= before.descriptors
            && self.held <= before.held + KEPT_BYTES
    }
}

impl World {
    /// Puts the network in order, and starts the servers that are down.
    pub(super) async fn heal(&mut self) -> Result<(), Failure> {
        self.set_weather(Weather::default());
        for link in &self.links {
            link.partition(false);
        }
        for place in 0..self.servers.len() {
            if self.servers[place].is_none() {
                self.start_server(place).await?;
            }
        }
        for process in self.servers.iter().chain(&self.clients).flatten() {
            process.child.signal("CONT").await?;
        }
        Ok(())
    }

    /// Tells the clients to finish, and checks that they do and then hold nothing any more.
    pub(super) async fn finish_clients(&mut self, wrong: &mut Vec<String>) {
        let patience = self.patience();
        for client in self.clients.iter_mut().flatten() {
            if let Err(error) = client.child.tell("finish").await {
                wrong.push(error.to_string());
            }
        }
        for client in self.clients.iter_mut().flatten() {
            match client.child.hear().await {
                Ok(line) if line == "finished" => {}
                Ok(line) => wrong.push(format!("{} says {line:?}", client.child.name)),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        for client in self.clients.iter_mut().flatten() {
            let before = client.rest;
            if let Err(error) = comes_to_rest(&mut client.child, &before, patience).await {
                // The others wait as long, and say no more.
                return wrong.push(error.to_string());
            }
        }
    }

    /// Checks that servers without clients hold nothing any more.
    pub(super) async fn rest_servers(&mut self, wrong: &mut Vec<String>) {
        let patience = self.patience();
        for server in self.servers.iter_mut().flatten() {
            let before = server.rest;
            if let Err(error) = comes_to_rest(&mut server.child, &before, patience).await {
                // The others wait as long, and say no more.
                return wrong.push(error.to_string());
            }
        }
    }

    /// How long a process may take to come to rest. What was sabotaged need not be waited for.
    fn patience(&self) -> Duration {
        if self.settings.sabotage.is_some() { Duration::from_secs(10) } else { PATIENCE }
    }

    /// Lets all processes end.
    pub(super) async fn end_all(&mut self, wrong: &mut Vec<String>) {
        for mut server in self.servers.iter_mut().filter_map(Option::take) {
            // One that cannot be told has ended, and how is seen next.
            let _ = server.child.tell("drain").await;
            wrong.extend(server.child.wait().await.err().map(|error| error.to_string()));
        }
        for client in self.clients.iter_mut().filter_map(Option::take) {
            wrong.extend(client.child.end().await.err().map(|error| error.to_string()));
        }
    }
}

/// Waits until a process uses no more than before.
async fn comes_to_rest(child: &mut Child, before: &Rest, patience: Duration) -> Result<(), Failure> {
    let since = Instant::now();
    loop {
        let rest = Rest::of(child).await?;
        if rest.is_back_at(before) {
            return Ok(());
        }
        if since.elapsed() > patience {
            return Err(
                format!("{} does not come to rest: {before:?} before, {rest:?} now", child.name).into()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
