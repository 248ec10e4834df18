//! What is called, how often at once and over how many connections, and the callers that do it.
//!
//! Every caller is a task that makes one call after another. Each result is checked, since a framework that mixes up
//! replies must not look fast.

use crate::{
    contender::{Client, Contender, Error, Result},
    measure::{Latencies, Outcome, process_cpu},
};
use bytes::Bytes;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time};

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// The name on the command line.
    pub name: &'static str,
    /// The name in the table.
    pub title: &'static str,
    /// Connections from the one client process.
    pub connections: usize,
    /// Callers on each connection.
    pub in_flight: usize,
    /// What each of them calls.
    pub method: Method,
}

/// The method that a workload calls.
#[derive(Clone, Copy, Debug)]
pub enum Method {
    /// `add`, the small call.
    Add,
    /// `echo` of so many bytes.
    Echo(usize),
}

/// All workloads, in the order of the table.
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "1x1", title: "one call at a time", connections: 1, in_flight: 1, method: Method::Add },
    Workload { name: "1x64", title: "64 in flight", connections: 1, in_flight: 64, method: Method::Add },
    Workload { name: "1x512", title: "512 in flight", connections: 1, in_flight: 512, method: Method::Add },
    Workload {
        name: "8x64",
        title: "8 connections x 64",
        connections: 8,
        in_flight: 64,
        method: Method::Add,
    },
    Workload {
        name: "64KiBx8",
        title: "echo 64 KiB x 8",
        connections: 1,
        in_flight: 8,
        method: Method::Echo(64 << 10),
    },
    Workload {
        name: "1MiBx4",
        title: "echo 1 MiB x 4",
        connections: 1,
        in_flight: 4,
        method: Method::Echo(1 << 20),
    },
];

impl Workload {
    /// The workload called `name`.
    pub fn named(name: &str) -> Result<&'static Self> {
        let known = WORKLOADS.iter().find(|workload| workload.name == name);
        known.ok_or_else(|| format!("no workload is called {name:?}").into())
    }

    /// Opens the connections and tries each of them once.
    pub async fn connect<C: Contender>(&self, server: SocketAddr) -> Result<Vec<C::Client>> {
        let mut clients = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            let mut client = C::connect(server).await?;
            verify(&mut client).await?;
            clients.push(client);
        }
        Ok(clients)
    }

    /// Keeps every caller busy for `duration` and lets the last calls finish.
    pub async fn run<C: Client>(&self, clients: &[C], duration: Duration) -> Result<Outcome> {
        let stop = Arc::new(AtomicBool::new(false));
        let payload = self.payload();
        let mut callers = JoinSet::new();
        let cpu_before = process_cpu();
        let started = Instant::now();
        for client in clients {
            for _ in 0..self.in_flight {
                let number = callers.len();
                let caller = Caller {
                    client: client.clone(),
                    number,
                    stop: stop.clone(),
                    sampled: Latencies::one_in(self.sample_interval(), number),
                };
                match self.method {
                    Method::Add => callers.spawn(caller.keep_adding()),
                    Method::Echo(_) => callers.spawn(caller.keep_echoing(payload.clone())),
                };
            }
        }
        time::sleep(duration).await;
        stop.store(true, Ordering::Relaxed);
        let mut latencies = Latencies::one_in(1, 0);
        while let Some(caller) = callers.join_next().await {
            latencies.merge(caller??);
        }
        Ok(Outcome::new(latencies, started.elapsed(), process_cpu() - cpu_before))
    }

    /// A clock read costs little beside a lone call or a large echo, but a tenth of the CPU of a small call in a batch.
    fn sample_interval(&self) -> usize {
        match self.method {
            Method::Add if self.in_flight > 1 => 16,
            Method::Add | Method::Echo(_) => 1,
        }
    }

    fn payload(&self) -> Bytes {
        match self.method {
            Method::Add => Bytes::new(),
            Method::Echo(length) => pattern(length),
        }
    }
}

/// Checks that a connection adds and echoes rightly, at the edges too.
async fn verify(client: &mut impl Client) -> Result<()> {
    for (a, b) in [(2, 3), (-1, 1), (i64::MAX, 1), (i64::MIN, -1), (-70_000, 128)] {
        let sum = client.add(a, b).await?;
        if sum != a.wrapping_add(b) {
            return Err(wrong(format!("{a} + {b} is not {sum}")));
        }
    }
    for length in [0, 1, 1000, 64 << 10, 1 << 20] {
        let payload = pattern(length);
        if client.echo(payload.clone()).await? != payload {
            return Err(wrong(format!("the echo of {length} bytes differs")));
        }
    }
    Ok(())
}

/// One of those that call.
struct Caller<C> {
    client: C,
    number: usize,
    stop: Arc<AtomicBool>,
    sampled: Latencies,
}

impl<C: Client> Caller<C> {
    async fn keep_adding(mut self) -> Result<Latencies> {
        // No two callers ever send the same terms, so a reply given to the wrong one shows.
        let a = (self.number as i64) << 40;
        let mut b = 0;
        while !self.stop.load(Ordering::Relaxed) {
            b += 1;
            let began = self.sampled.begin();
            let sum = self.client.add(a, b).await?;
            self.sampled.end(began);
            if sum != a + b {
                return Err(wrong(format!("{a} + {b} is not {sum}")));
            }
        }
        Ok(self.sampled)
    }

    async fn keep_echoing(mut self, payload: Bytes) -> Result<Latencies> {
        while !self.stop.load(Ordering::Relaxed) {
            let began = self.sampled.begin();
            let echoed = self.client.echo(payload.clone()).await?;
            self.sampled.end(began);
            // The contents were compared when the connection was opened; here that would be most of the work.
            if echoed.len() != payload.len() {
                return Err(wrong(format!("the echo of {} bytes has {}", payload.len(), echoed.len())));
            }
        }
        Ok(self.sampled)
    }
}

fn wrong(what: String) -> Error {
    format!("wrong result: {what}").into()
}

/// Bytes that repeat with a period that divides no buffer's size.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|index| (index % 251) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{runtime::Builder, task::yield_now};

    /// A contender that works, except for what is wrong with it on purpose.
    #[derive(Clone)]
    struct Fake {
        off_by: i64,
        cut_off: usize,
    }

    impl Client for Fake {
        async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
            // Whoever never waits starves the timer that ends the run.
            yield_now().await;
            Ok(a.wrapping_add(b).wrapping_add(self.off_by))
        }

        async fn echo(&mut self, payload: Bytes) -> Result<Bytes> {
            yield_now().await;
            Ok(payload.slice(..payload.len().saturating_sub(self.cut_off)))
        }
    }

    async fn verify_and_run(mut client: Fake, workload: &str) -> [Result<()>; 2] {
        let workload = Workload::named(workload).expect("a workload of the table");
        let ran = workload.run(&[client.clone()], Duration::from_millis(5)).await;
        [verify(&mut client).await, ran.map(drop)]
    }

    fn outcome(client: Fake, workload: &str) -> [bool; 2] {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(verify_and_run(client, workload)).map(|result| result.is_ok())
    }

    #[test]
    fn wrong_results_fail_the_connection_and_the_run() {
        assert_eq!(outcome(Fake { off_by: 0, cut_off: 0 }, "1x64"), [true, true]);
        assert_eq!(outcome(Fake { off_by: 1, cut_off: 0 }, "1x64"), [false, false]);
        assert_eq!(outcome(Fake { off_by: 0, cut_off: 1 }, "64KiBx8"), [false, false]);
    }
}
