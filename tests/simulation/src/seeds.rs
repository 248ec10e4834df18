//! Seed after seed, several at once: each in a thread of its own, so that nothing is left of the one before it.

use std::cell::RefCell;
use std::iter;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::invariants::{Invariant, Violation};
use crate::memory;
use crate::network;
use crate::options::Options;
use crate::scenario::Scenario;

/// Which world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Network,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Memory => "memory",
            Kind::Network => "network",
        }
    }
}

/// What a seed came to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    /// All that happened, in one number.
    pub(crate) hash: u64,
    pub(crate) violations: Vec<Violation>,
    lines: Vec<String>,
    calls: usize,
}

/// The first seeds of a run are run twice, to see that they come to the same.
const TWICE: u64 = 40;

/// A world that takes so many seconds of our time has come to a stop: most take a few milliseconds. They are waited for
/// one after the other, so that a machine which is suspended meanwhile adds no more than one.
const STUCK: usize = 120;

/// Runs the seeds that are asked for; says whether all of them passed.
pub(crate) fn run(kind: Kind, options: &Options) -> bool {
    quiet();
    if let Some(seed) = options.seed {
        let report = apart(kind, seed, true);
        print(kind, &report);
        return report.violations.is_empty();
    }
    let begin = Instant::now();
    let seeds = options.from..options.from + options.seeds(kind);
    let next = AtomicU64::new(seeds.start);
    let calls = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let printing = Mutex::new(());
    thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.load(Ordering::Relaxed) && !options.all {
                        return;
                    }
                    let mut report = apart(kind, seed, false);
                    calls.fetch_add(report.calls as u64, Ordering::Relaxed);
                    if seed < seeds.start + TWICE && apart(kind, seed, false).hash != report.hash {
                        let message = "the same seed came to something else".to_owned();
                        report.violations.push(Violation { invariant: Invariant::Always, message });
                    }
                    if !report.violations.is_empty() {
                        failed.store(true, Ordering::Relaxed);
                        let _one_at_a_time = printing.lock();
                        if options.all {
                            report
                                .violations
                                .iter()
                                .for_each(|violation| println!("seed {seed}: {violation}"));
                        } else {
                            print(kind, &report);
                        }
                    }
                }
            });
        }
    });
    let passed = !failed.into_inner();
    if passed {
        let (count, calls) = (seeds.end - seeds.start, calls.into_inner());
        println!("{}: {count} seeds with {calls} calls passed in {:.1?}", kind.name(), begin.elapsed());
    }
    passed
}

/// Runs a seed in a thread of its own.
pub(crate) fn apart(kind: Kind, seed: u64, aloud: bool) -> Report {
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        rpc_core::seed_chance(seed);
        let scenario = Scenario::new(seed);
        if aloud {
            eprintln!("{scenario:#?}");
        }
        let world = match kind {
            Kind::Memory => memory::run(scenario, aloud),
            Kind::Network => network::run(scenario, seed, aloud),
        };
        let mut state = world.lock();
        let panics = PANICS.take();
        let panics = panics.into_iter().map(|message| Violation { invariant: Invariant::Always, message });
        let violations = state.violations.drain(..).chain(panics).collect();
        let (hash, lines, calls) = (state.trace.hash(), state.trace.lines(), state.ledger.calls.len());
        // Whoever looks has gone only if the whole run has failed.
        let _ = sender.send(Report { seed, hash, violations, lines, calls });
    };
    thread::spawn(run);
    let mut patience = iter::repeat_with(|| receiver.recv_timeout(Duration::from_secs(1))).take(STUCK);
    let message = match patience.find(|waited| !matches!(waited, Err(RecvTimeoutError::Timeout))) {
        Some(Ok(report)) => return report,
        Some(Err(_)) => "the world itself panicked",
        None => "time stands still",
    };
    let violation = Violation { invariant: Invariant::Always, message: message.to_owned() };
    Report { seed, hash: 0, violations: vec![violation], lines: Vec::new(), calls: 0 }
}

/// Panics are noted, wherever they are caught.
pub(crate) fn quiet() {
    std::panic::set_hook(Box::new(note_panic));
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Handlers panic as planned without coming here: this is somebody else.
fn note_panic(info: &PanicHookInfo<'_>) {
    PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
}

fn print(kind: Kind, report: &Report) {
    for line in &report.lines {
        println!("  {line}");
    }
    let (name, seed) = (kind.name(), report.seed);
    report.violations.iter().for_each(|violation| println!("{violation}"));
    println!("{name}, seed {seed}: {} calls, {:016x}", report.calls, report.hash);
    println!(
        "once more: cargo run --release --manifest-path tests/simulation/Cargo.toml -- {name} --seed {seed}"
    );
}
