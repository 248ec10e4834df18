//! Three times as many calls as a server can do: it does nearly as many as ever, and refuses the others unexecuted.
//!
//! What a server can do is measured with callers that each wait for their reply. Then calls come at three times this
//! rate whether or not those before them have ended, as they do from many users. That is done by three processes,
//! with a timeout for each call, so that work for somebody who has given up counts as lost.
//!
//! Rounds of both take turns, since what a server can do is not the same all the time on a machine that others use. Where it
//! computes, what it does is judged by the CPU time that it gets.

use std::io::stdin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rpc::{Code, Executed};
use tokio::time::MissedTickBehavior;

use super::child::Child;
use super::report::{Table, percent};
use super::server::{Served, runtime};
use super::service::{LoadedClient, WORKERS};
use super::{Options, Result};

/// What is called: its name, how many calls of it the server lets run, and how many callers it takes to find its peak.
struct Subject {
    method: &'static str,
    limit: usize,
    callers: usize,
    /// Whether that is a matter of CPU time.
    computes: bool,
}

impl Subject {
    fn unit(&self) -> &'static str {
        if self.computes { "calls a second of CPU time" } else { "calls/s" }
    }
}

const WORK: Subject = Subject { method: "work", limit: 4 * WORKERS, callers: 3 * WORKERS, computes: false };
const COMPUTE: Subject = Subject { method: "compute", limit: 16, callers: 12, computes: true };

const PROCESSES: usize = 3;
const CONNECTIONS: usize = 2;
const FACTOR: f64 = 3.0;
const TIMEOUT: Duration = Duration::from_secs(1);
const TARGET: f64 = 0.8;

pub(crate) fn measure(table: &mut Table, options: &Options) -> Result<()> {
    let (rounds, millis) = if options.smoke { (1, 1_500) } else { (3, 4_000) };
    // What is computed in a short run says more of who else computes on the machine.
    let subjects = if options.smoke { &[&WORK][..] } else { &[&WORK, &COMPUTE] };
    for &subject in subjects {
        let limit = format!("server_calls={}", subject.limit);
        let what = format!("overload: {}, at most {} calls on the server", subject.method, subject.limit);
        let (peak, load) = overload(subject, &[&limit], rounds, millis)?;
        table.note(format!("{what}: peak"), format!("{peak:.0} {}", subject.unit()));
        let goodput = load.served_at(subject) / peak;
        let measured = format!("{:.0} {}, {}", load.served_at(subject), subject.unit(), percent(goodput));
        table.judge(format!("{what}: goodput at 3x"), measured, "at least 80 % of peak", goodput >= TARGET);
        let measured = format!(
            "{} refused, {} expired unexecuted, {} maybe, {} otherwise",
            load.refused, load.expired, load.maybe, load.otherwise
        );
        let passed = load.refused > 0 && load.maybe == 0 && load.otherwise == 0;
        table.judge(format!("{what}: the excess at 3x"), measured, "refused, executed No", passed);
        let measured = format!("{} executed", load.executed_after_all);
        table.judge(
            format!("{what}: not executed, they were told"),
            measured,
            "none",
            load.executed_after_all == 0,
        );
        let [median, p99] = load.latencies.map(|micros| micros as f64 / 1e3);
        table
            .note(format!("{what}: latency of those served"), format!("p50 {median:.1} ms, p99 {p99:.1} ms"));
    }
    if !options.smoke {
        let (peak, load) = overload(&WORK, &[], 1, millis)?;
        table.note(
            "overload: work, without that limit: goodput at 3x",
            format!("{} of peak, {} maybe", percent(load.served_at(&WORK) / peak), load.maybe),
        );
    }
    Ok(())
}

/// The peak in calls a second, and what became of three times as many.
fn overload(subject: &Subject, limits: &[&str], rounds: usize, millis: u64) -> Result<(f64, Load)> {
    let server = Served::start(2, limits)?;
    let mut clients = Vec::new();
    for number in 0..PROCESSES {
        clients.push(Child::start("calls", &[&server.address, subject.method, &number.to_string()])?);
    }
    let mut ask = |question: &str| -> Result<Load> {
        let before = server.process.cpu()?;
        clients.iter_mut().try_for_each(|client| client.tell(question))?;
        let mut sum = Load::default();
        for client in &mut clients {
            sum = sum.and(&Load::from(client.numbers()?));
        }
        Ok(Load { cpu: server.process.cpu()? - before, ..sum })
    };
    let callers = subject.callers / PROCESSES;
    // Methods are measured by the server, and threads get what they lend to connections.
    ask(&format!("closed {callers} {}", millis / 4))?;
    let (mut peak, mut all) = (Load::default(), Load::default());
    for _ in 0..rounds {
        let closed = ask(&format!("closed {callers} {millis}"))?;
        let rate = FACTOR * closed.rate() / PROCESSES as f64;
        peak = peak.and_then(&closed);
        all = all.and_then(&ask(&format!("open {rate} {millis}"))?);
    }
    Ok((peak.served_at(subject), all))
}

/// What became of some calls.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    millis: u64,
    /// Of the server.
    cpu: Duration,
    served: u64,
    /// At a limit, not executed.
    refused: u64,
    /// For want of time, not executed.
    expired: u64,
    maybe: u64,
    otherwise: u64,
    /// Of those that were said not to be.
    executed_after_all: u64,
    /// Of those served: the median and the 99th percentile, in microseconds.
    latencies: [u64; 2],
}

impl From<[u64; 9]> for Load {
    fn from(numbers: [u64; 9]) -> Self {
        let [millis, served, refused, expired, maybe, otherwise, executed_after_all, median, p99] = numbers;
        let latencies = [median, p99];
        Load {
            millis,
            served,
            refused,
            expired,
            maybe,
            otherwise,
            executed_after_all,
            latencies,
            ..Load::default()
        }
    }
}

impl Load {
    /// Calls served in a second.
    fn rate(&self) -> f64 {
        self.served as f64 / (self.millis as f64 / 1e3)
    }

    /// Calls served in a second, or in one of CPU time where that is what they take.
    fn served_at(&self, subject: &Subject) -> f64 {
        if subject.computes { self.served as f64 / self.cpu.as_secs_f64() } else { self.rate() }
    }

    /// Both at the same time; of the latencies the worse ones.
    fn and(&self, other: &Load) -> Load {
        Load { millis: self.millis.max(other.millis), ..self.and_then(other) }
    }

    /// One after the other.
    fn and_then(&self, other: &Load) -> Load {
        Load {
            millis: self.millis + other.millis,
            cpu: self.cpu + other.cpu,
            served: self.served + other.served,
            refused: self.refused + other.refused,
            expired: self.expired + other.expired,
            maybe: self.maybe + other.maybe,
            otherwise: self.otherwise + other.otherwise,
            executed_after_all: self.executed_after_all + other.executed_after_all,
            latencies: [0, 1].map(|which| self.latencies[which].max(other.latencies[which])),
        }
    }
}

/// Calls as it is told: `closed` with a number of callers, `open` with a rate, both with milliseconds.
pub(crate) fn play(arguments: &[&str]) -> Result<()> {
    let [address, method, process] = arguments else {
        return Err("an address, a method and a number".into());
    };
    let is_work = match *method {
        "work" => true,
        "compute" => false,
        unknown => return Err(format!("there is no {unknown:?} to call").into()),
    };
    let process: u64 = process.parse()?;
    runtime(1)?.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(LoadedClient::connect(*address).await?);
        }
        // No number comes twice, from whatever process and in whatever round.
        let mut caller = Caller { clients, is_work, next: process << 48, tally: Arc::default() };
        for line in stdin().lines() {
            match line?.split(' ').collect::<Vec<_>>()[..] {
                ["closed", callers, millis] => caller.closed(callers.parse()?, millis.parse()?).await?,
                ["open", rate, millis] => caller.open(rate.parse()?, millis.parse()?).await?,
                ref unknown => return Err(format!("callers cannot {unknown:?}").into()),
            }
        }
        Ok(())
    })
}

struct Caller {
    clients: Vec<LoadedClient>,
    is_work: bool,
    next: u64,
    tally: Arc<Mutex<Tally>>,
}

/// What is noted of calls as they end.
#[derive(Default)]
struct Tally {
    load: Load,
    micros: Vec<u64>,
    unexecuted: Vec<u64>,
}

impl Caller {
    /// One call.
    fn call(&mut self) -> impl Future<Output = ()> + Send + 'static {
        self.next += 1;
        let number = self.next;
        let client = &self.clients[number as usize % self.clients.len()];
        let call = if self.is_work { client.work(number) } else { client.compute(number) }.timeout(TIMEOUT);
        let (begun, tally) = (Instant::now(), self.tally.clone());
        async move {
            let ended = call.await;
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.note(number, begun, ended);
        }
    }

    async fn closed(&mut self, callers: usize, millis: u64) -> Result<()> {
        let begun = Instant::now();
        let end = begun + Duration::from_millis(millis);
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..callers {
            calls.spawn(self.call());
        }
        while let Some(ended) = calls.join_next().await {
            ended?;
            if Instant::now() < end {
                calls.spawn(self.call());
            }
        }
        self.report(begun).await
    }

    /// Calls at a rate, whatever becomes of them. A tick that comes late makes up for what it missed.
    async fn open(&mut self, rate: f64, millis: u64) -> Result<()> {
        let begun = Instant::now();
        let calls = (rate * millis as f64 / 1e3) as u64;
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut made = 0;
        let mut running = tokio::task::JoinSet::new();
        while made < calls {
            ticks.tick().await;
            let due = ((rate * begun.elapsed().as_secs_f64()) as u64).min(calls);
            for _ in made..due {
                running.spawn(self.call());
            }
            made = due;
            while running.try_join_next().transpose()?.is_some() {}
        }
        // What is under way when the last call is made does not stretch the time that the rate is counted over, but for
        // as long as it takes.
        while running.join_next().await.transpose()?.is_some() {}
        self.report(begun).await
    }

    /// Says what became of the calls since the last report, once the server has said which of them it executed.
    async fn report(&mut self, begun: Instant) -> Result<()> {
        let millis = begun.elapsed().as_millis() as u64;
        let Tally { load, mut micros, unexecuted } =
            std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        let mut executed_after_all = 0;
        for numbers in unexecuted.chunks(10_000) {
            executed_after_all += self.executed(numbers).await?;
        }
        micros.sort_unstable();
        let percentile = |share: usize| micros.get(micros.len() * share / 100).copied().unwrap_or_default();
        let Load { served, refused, expired, maybe, otherwise, .. } = load;
        let [median, p99] = [50, 99].map(percentile);
        println!(
            "{millis} {served} {refused} {expired} {maybe} {otherwise} {executed_after_all} {median} {p99}"
        );
        Ok(())
    }

    /// How many of these the server has executed. It may be at its limit still.
    async fn executed(&self, numbers: &[u64]) -> Result<u64> {
        loop {
            match self.clients[0].executed(numbers.to_vec()).await {
                Ok(count) => return Ok(count),
                Err(error) if error.code() == Code::ResourceExhausted => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Tally {
    fn note(&mut self, number: u64, begun: Instant, ended: std::result::Result<(), rpc::Error>) {
        let load = &mut self.load;
        let error = match ended {
            Ok(()) => {
                load.served += 1;
                return self.micros.push(begun.elapsed().as_micros() as u64);
            }
            Err(error) => error,
        };
        match (error.code(), error.executed()) {
            (Code::ResourceExhausted, Executed::No) => load.refused += 1,
            (Code::DeadlineExceeded, Executed::No) => load.expired += 1,
            (_, Executed::Maybe) => load.maybe += 1,
            _ => load.otherwise += 1,
        }
        if error.executed() == Executed::No {
            self.unexecuted.push(number);
        }
    }
}
