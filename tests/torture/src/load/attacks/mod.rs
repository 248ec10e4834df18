//! A thousand hostile connections at once: what the server holds meanwhile, and how long a good client waits.
//!
//! For the memory, the attacker gets as much CPU time as anybody. For the latency it is a process that gets what the
//! others leave, since a real one has a machine of its own. What it takes nevertheless, and what the kernel does for its
//! bytes, is no fault of the server: so a good client is measured beside the same attack upon another process that only
//! reads and forgets (the sink), at the rate that the attack upon the server had; and the two take turns. A machine with
//! little to do is slow to wake, so what a good client sees on one is as good a measure, where that is more. Of all
//! rounds the least counts: other work on the machine only adds to it. Cases are those of docs/limits.md.

mod attacker;
mod visitor;

pub(crate) use attacker::{attack, sink};
pub(crate) use visitor::visit;

use std::thread::sleep;
use std::time::Duration;

use super::child::{Child, Memory};
use super::report::{Table, mebibytes};
use super::server::Served;
use super::{Options, Result};

const CONNECTIONS: usize = 1_000;
const MOST_MEMORY: u64 = 1 << 30;
const MOST_LATENCY: f64 = 2.0;

/// A case, what it is, and for how many seconds it is tried at a time: long enough for what the server does about it.
const CASES: [(u64, &str, u64); 8] = [
    (1, "silent connections", 7),
    (2, "hellos at a byte a second", 7),
    (21, "headers of 4 MiB and one byte", 4),
    (37, "4 MiB of 0x80 for values of 416 bytes", 4),
    (84, "replies of 4 MiB that nobody reads", 4),
    (85, "calls that are cancelled at once", 4),
    (86, "errors that nobody reads", 4),
    (90, "40 kB that become 16 MiB", 4),
];

pub(crate) fn measure(table: &mut Table, options: &Options) -> Result<()> {
    let wanted = |case| options.case.is_none_or(|only| only == case);
    for (case, what, seconds) in CASES.into_iter().filter(|(case, ..)| wanted(*case)) {
        let (rounds, millis) = if options.smoke { (1, 700) } else { (3, 1_000 * seconds) };
        let found = try_case(case, rounds, millis)?;
        let what = format!("attack {case}, {what}");
        let measured = format!("{} at most", mebibytes(found.peak));
        table.judge(
            format!("{what}: memory of the server"),
            measured,
            "under 1 GiB",
            found.peak < MOST_MEMORY,
        );
        for (which, latency) in ["median", "p99"].into_iter().zip(found.latencies()) {
            let [quiet, beside, under] = latency.micros;
            let ratio =
                format!("{:.1}x: {under} µs, {beside} beside the sink, {quiet} without", latency.ratio);
            let what = format!("{what}: {which} of a good client");
            // So short a look says little about what one call in a hundred takes.
            if options.smoke {
                table.note(what, ratio);
            } else {
                table.judge(what, ratio, "at most 2x", latency.ratio <= MOST_LATENCY);
            }
        }
        let [begun, bytes] = found.attack;
        let [median, p99] = found.at_full_strength;
        table.note(
            format!("{what}: at full strength"),
            format!(
                "{begun} connections, {} sent; median {median} µs, p99 {p99} µs; {} afterwards",
                mebibytes(bytes),
                mebibytes(found.ended)
            ),
        );
    }
    Ok(())
}

/// What was found in a case, of all rounds.
struct Found {
    peak: u64,
    /// How many connections the attack began for that, and how many bytes it sent; and the median and the 99th
    /// percentile meanwhile, in microseconds.
    attack: [u64; 2],
    at_full_strength: [u64; 2],
    /// The median and the 99th percentile, each quiet, beside the sink, and under attack, in microseconds.
    rounds: Vec<[[u64; 3]; 2]>,
    /// What the server held when all was over.
    ended: u64,
}

struct Latency {
    ratio: f64,
    micros: [u64; 3],
}

impl Found {
    /// The least of each, which is what nothing else has added to.
    fn latencies(&self) -> [Latency; 2] {
        [0, 1].map(|which| {
            let least = |phase: usize| self.rounds.iter().map(|round| round[which][phase]).min();
            let micros = [0, 1, 2].map(|phase| least(phase).unwrap_or_default());
            let [quiet, beside, under] = micros;
            Latency { ratio: under as f64 / quiet.max(beside).max(1) as f64, micros }
        })
    }
}

fn try_case(case: u64, rounds: usize, millis: u64) -> Result<Found> {
    let server = Served::start(2, &[])?;
    let mut sink = Child::start("sink", &[])?;
    let sink_address = sink.hear()?;
    let mut visitor = Child::start("visitor", &[&server.address])?;
    let mut visit = |millis: u64| -> Result<[u64; 2]> {
        visitor.tell(&millis.to_string())?;
        visitor.numbers()
    };
    visit(300)?;
    let mut attacker = Attacker::start(case, &server.address, None, Child::start)?;
    let at_full_strength = visit(millis)?;
    let [begun, bytes, _] = attacker.stop()?;
    let peak = server.process.memory()?.peak;
    drop(attacker);
    // It has a thousand connections to end.
    visit(millis)?;
    let mut rounds_found = Vec::new();
    for _ in 0..rounds {
        let quiet = visit(millis / 4)?;
        let mut attacker = Attacker::start(case, &server.address, None, Child::start_nice)?;
        let under = visit(millis)?;
        let [_, bytes, took] = attacker.stop()?;
        let rate = (bytes * 1_000 / took.max(1)).max(1);
        let mut attacker = Attacker::start(case, &sink_address, Some(rate), Child::start_nice)?;
        let beside = visit(millis)?;
        attacker.stop()?;
        rounds_found.push([0, 1].map(|which| [quiet[which], beside[which], under[which]]));
    }
    // What is given back is given back soon, though not all of what an allocator has goes back to the system.
    sleep(Duration::from_millis(300));
    let Memory { resident, peak: later } = server.process.memory()?;
    let peak = peak.max(later);
    Ok(Found { peak, attack: [begun, bytes], at_full_strength, rounds: rounds_found, ended: resident })
}

struct Attacker(Child);

impl Attacker {
    /// Starts one that sends no more than `rate` bytes a second, and waits until it has as many connections as it is to
    /// have.
    fn start(
        case: u64,
        address: &str,
        rate: Option<u64>,
        start: fn(&str, &[&str]) -> Result<Child>,
    ) -> Result<Self> {
        let rate = rate.unwrap_or_default();
        let words = [&case.to_string(), address, &CONNECTIONS.to_string(), &rate.to_string()];
        let mut attacker = start("attacker", &words)?;
        attacker.hear()?;
        Ok(Attacker(attacker))
    }

    /// Ends it: how many connections it has begun, how many bytes it has sent, in how many milliseconds.
    fn stop(&mut self) -> Result<[u64; 3]> {
        self.0.tell("stop")?;
        self.0.numbers()
    }
}
