//! The course of a comparison: rounds, in each round workloads, in each workload all contenders in turn.

use crate::{
    contender::{Name, Result},
    measure::{Disturbance, Machine, Outcome, raise_descriptor_limit},
    options::{Flavour, Options},
    peer::{Pair, Peer},
    workload::{IDLE_STREAMS_A_CONNECTION, Kind, Workload},
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Everything that was measured.
#[derive(Debug)]
pub struct Findings {
    /// The runtime in both processes.
    pub flavour: Flavour,
    /// One list a round, in the order of measuring.
    pub rounds: Vec<Vec<Cell>>,
    /// Nanoseconds of a call in process, one a round.
    pub in_process: Vec<f64>,
    /// Growth of the server's memory for each idle connection, in bytes.
    pub idle: Vec<(Name, f64)>,
    /// How many connections were idle.
    pub idle_connections: usize,
    /// Growth of the server's and the client's memory for each idle stream, in bytes.
    pub idle_streams: Vec<(Name, [f64; 2])>,
}

impl Findings {
    /// Nothing yet.
    fn new(flavour: Flavour) -> Self {
        Self {
            flavour,
            rounds: Vec::new(),
            in_process: Vec::new(),
            idle: Vec::new(),
            idle_connections: 0,
            idle_streams: Vec::new(),
        }
    }
}

/// One contender at one workload in one round.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// What was done.
    pub workload: &'static str,
    /// By whom.
    pub contender: Name,
    /// What the client found.
    pub outcome: Outcome,
    /// The server's CPU time for it.
    pub server_cpu: Duration,
    /// What else went on meanwhile.
    pub disturbance: Disturbance,
}

/// Measures everything that `options` ask for, on one kind of runtime.
pub fn compare(options: &Options, flavour: Flavour) -> Result<Findings> {
    let mut findings = Findings::new(flavour);
    let rounds = if options.workloads.is_empty() && !options.in_process { 0 } else { options.rounds };
    for round in 0..rounds {
        eprintln!("{flavour}, round {} of {rounds}", round + 1);
        if !options.workloads.is_empty() {
            findings.rounds.push(measure_round(options, flavour, round)?);
        }
        if options.in_process {
            findings.in_process.push(measure_in_process(options)?);
        }
    }
    if options.idle_connections > 0 {
        // Some descriptors are needed for other things, and a server has one for each connection.
        let possible = raise_descriptor_limit()?.saturating_sub(100);
        findings.idle_connections = options.idle_connections.min(usize::try_from(possible)?);
        for contender in contenders(Kind::Calls, options) {
            eprintln!("{} idle connections of {contender}", findings.idle_connections);
            let [server, _] = measure_idle(Kind::Calls, contender, flavour, findings.idle_connections - 1)?;
            findings.idle.push((contender, server));
        }
    }
    if options.idle_streams > 0 {
        for contender in contenders(Kind::Streams, options) {
            eprintln!("{} idle streams of {contender}", options.idle_streams);
            let connections = options.idle_streams / IDLE_STREAMS_A_CONNECTION;
            let growth = measure_idle(Kind::Streams, contender, flavour, connections)?;
            let each = growth.map(|growth| growth / IDLE_STREAMS_A_CONNECTION as f64);
            findings.idle_streams.push((contender, each));
        }
    }
    Ok(findings)
}

/// Those that take part and have clients of this kind.
pub fn contenders(kind: Kind, options: &Options) -> impl Iterator<Item = Name> {
    options.contenders.iter().copied().filter(move |&name| kind.suits(name))
}

fn measure_round(options: &Options, flavour: Flavour, round: usize) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for &kind in Kind::ALL {
        let workloads = options.workloads.iter().copied().filter(|workload| workload.kind() == kind);
        cells.extend(measure_kind(kind, &workloads.collect::<Vec<_>>(), options, flavour, round)?);
    }
    Ok(cells)
}

/// New processes in every round, so that where the kernel happened to put them averages out as well.
fn measure_kind(
    kind: Kind,
    workloads: &[&Workload],
    options: &Options,
    flavour: Flavour,
    round: usize,
) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    if workloads.is_empty() {
        return Ok(cells);
    }
    let mut pairs = Vec::new();
    for name in contenders(kind, options) {
        pairs.push((name, Pair::start(kind, name, flavour)?));
    }
    for (turn, workload) in workloads.iter().enumerate() {
        // Whoever went first last time goes last now, so that nobody always follows the same one.
        let first = (round + turn) % pairs.len().max(1);
        let (last, earlier) = pairs.split_at_mut(first);
        for (name, pair) in earlier.iter_mut().chain(last) {
            let cell = measure_in_peace(workload, *name, pair, options)
                .map_err(|error| format!("{name} at {}: {error}", workload.name))?;
            cells.push(cell);
        }
    }
    Ok(cells)
}

/// Measures when the machine is quiet, again if it did not stay so, and anyhow once patience is at an end.
fn measure_in_peace(
    workload: &Workload,
    contender: Name,
    pair: &mut Pair,
    options: &Options,
) -> Result<Cell> {
    let end = Instant::now() + options.patience;
    loop {
        while Instant::now() < end && is_busy()? {}
        let cell = measure_cell(workload, contender, pair, options)?;
        if Instant::now() >= end || !cell.disturbance.is_serious() {
            return Ok(cell);
        }
    }
}

/// Whether others are at work, as far as a moment's look shows.
fn is_busy() -> Result<bool> {
    let before = Machine::now()?;
    thread::sleep(Duration::from_millis(300));
    Ok(before.disturbance_until(Machine::now()?, Duration::ZERO).is_serious())
}

fn measure_cell(workload: &Workload, contender: Name, pair: &mut Pair, options: &Options) -> Result<Cell> {
    pair.ask_client(&format!("open {}", workload.name))?;
    pair.ask_client(&format!("run {}", options.warm_up.as_millis()))?;
    let (machine, cpu) = (Machine::now()?, pair.server_cpu()?);
    let outcome: Outcome = pair.ask_client(&format!("run {}", options.measured.as_millis()))?.parse()?;
    let server_cpu = pair.server_cpu()? - cpu;
    let disturbance = machine.disturbance_until(Machine::now()?, server_cpu + outcome.cpu);
    pair.ask_client("close")?;
    Ok(Cell { workload: workload.name, contender, outcome, server_cpu, disturbance })
}

fn measure_in_process(options: &Options) -> Result<f64> {
    let milliseconds = options.measured.as_millis().to_string();
    let mut process = Peer::start(&["in-process", "--millis", &milliseconds], Flavour::CurrentThread)?;
    Ok(process.listen()?.parse()?)
}

/// The growth of server and client for each of so many idle connections.
fn measure_idle(kind: Kind, contender: Name, flavour: Flavour, connections: usize) -> Result<[f64; 2]> {
    let mut pair = Pair::start(kind, contender, flavour)?;
    // The first connection also fills what a process has once, whatever the number of connections.
    pair.ask_client("idle 1")?;
    let before = pair.memory()?;
    pair.ask_client(&format!("idle {connections}"))?;
    let after = pair.memory()?;
    let growth = |side: usize| after[side].saturating_sub(before[side]) as f64 / connections as f64;
    Ok([growth(0), growth(1)])
}
