//! A steady load for hours, through a network with faults: nothing is lost, and no memory stays behind.
//!
//! What is asserted of memory is the slope of the *floor of the live heap* ([`crate::heap`]): bytes that are allocated and
//! stay so whatever comes and goes. Resident memory is sampled and reported beside it. It holds more, which grows with the
//! largest moment that there has been, ever more slowly, by steps above what is asserted, and with no end that could be
//! waited for: pages that the allocator keeps, and memory of large messages, 64 MiB at most.

mod slope;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::network::Weather;
use crate::options::{Failure, Options};
use crate::proc::Usage;
use crate::random::Random;
use crate::report;
use crate::service::{State, Temper};
use crate::world::{Process, Settings, World};
use slope::Slope;

/// How often memory is looked at.
const SAMPLED: Duration = Duration::from_secs(10);

/// How long it may grow, for pools and tables that fill once.
const WARM_UP: Duration = Duration::from_secs(10 * 60);

/// What the slope must stay under, in bytes an hour.
const MOST_AN_HOUR: f64 = 1024.0 * 1024.0;

/// The least time behind the warm-up in which a slope says something.
const LEAST_JUDGED: Duration = Duration::from_secs(20 * 60);

/// Runs for so many minutes, and checks what is left.
///
/// # Errors
/// Anything is not as it must be.
pub(crate) fn run(mut options: Options) -> Result<(), Failure> {
    let minutes: f64 = options.take("minutes")?.unwrap_or(60.0);
    let faults: String = options.take("faults")?.unwrap_or("1%".into());
    let rate = options.take("rate")?.unwrap_or(2_000);
    let largest = options.take("largest")?.unwrap_or(512 * 1024);
    let seed = options.take("seed")?.unwrap_or_else(Random::seed_of_now);
    options.finish()?;
    let percent: f64 = faults.trim_end_matches('%').parse()?;
    let weather = Weather { faults: (percent * 10_000.0) as u64, altered: 0 };
    let time = Duration::from_secs_f64(minutes * 60.0);
    println!("soak for {minutes} min, {rate} calls/s, {percent} % of pieces with a fault, seed {seed}");
    let settings = Settings {
        servers: 1,
        clients: 2,
        connections: 4,
        rate: rate / 2,
        largest,
        limits: Temper::Default,
        weather,
        seed,
        sabotage: None,
    };
    let wrong = tokio::runtime::Runtime::new()?.block_on(soak(time, settings))?;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Gives all that is wrong.
async fn soak(time: Duration, settings: Settings) -> Result<Vec<String>, Failure> {
    let mut world = World::open(settings).await?;
    let mut watched = Watched::default();
    let start = Instant::now();
    while start.elapsed() < time && world.is_sound() {
        tokio::time::sleep(SAMPLED.min(time.saturating_sub(start.elapsed()))).await;
        let at = start.elapsed();
        for process in world.servers.iter_mut().chain(&mut world.clients).flatten() {
            watched.look_at(process, at).await?;
        }
        report::progress(at, &world.counts(), &watched.now());
    }
    let processor = watched.processor(&world, start.elapsed())?;
    let network = world.network.clone();
    let (counts, mut wrong) = world.finish().await?;
    report::table(&counts, &[("the network", &network.all())]);
    println!("processor time, of one core: {processor}");
    println!(
        "\nmemory after {} min, least-squares slopes an hour, twice their standard errors",
        WARM_UP.as_secs() / 60
    );
    wrong.extend(watched.judge());
    Ok(wrong)
}

/// The memory of all processes over time.
#[derive(Debug, Default)]
struct Watched(BTreeMap<String, Curves>);

#[derive(Debug, Default)]
struct Curves {
    floor: Slope,
    resident: Slope,
    usage: Usage,
    state: Option<State>,
}

impl Watched {
    async fn look_at(&mut self, process: &mut Process, at: Duration) -> Result<(), Failure> {
        let state: State = process.child.ask("state").await?.parse()?;
        let usage = process.child.usage()?;
        let curves = self.0.entry(process.child.name.clone()).or_default();
        (curves.usage, curves.state) = (usage, Some(state));
        if at >= WARM_UP {
            curves.floor.add(at, state.floor as f64);
            curves.resident.add(at, usage.resident as f64);
        }
        Ok(())
    }

    /// The memory of each process as last seen.
    fn now(&self) -> String {
        let each = |(name, curves): (&String, &Curves)| {
            let floor = curves.state.map_or(0, |state| state.floor);
            let resident = curves.usage.resident;
            format!("; {name}: heap {}, resident {}", kib(floor), kib(resident))
        };
        self.0.iter().map(each).collect()
    }

    /// How much of a core everything took.
    fn processor(&self, world: &World, elapsed: Duration) -> Result<String, Failure> {
        let mut words = Vec::new();
        let mut all = 0.0;
        let mut add = |name: &str, usage: Usage| {
            let share = usage.cpu.as_secs_f64() / elapsed.as_secs_f64();
            all += share;
            words.push(format!("{name} {share:.2}"));
        };
        for process in world.servers.iter().chain(&world.clients).flatten() {
            add(&process.child.name, process.child.usage()?);
        }
        add("network and ledgers", Usage::of(std::process::id())?);
        Ok(format!("{}, {all:.2} in all", words.join(", ")))
    }

    /// Prints the slopes, and gives what is wrong with them.
    fn judge(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, curves) in &self.0 {
            let (Some(floor), Some(resident)) = (curves.floor.an_hour(), curves.resident.an_hour()) else {
                println!("  {name}: too short a run to tell");
                continue;
            };
            println!("  {name}: floor of the live heap {floor}; resident {resident}");
            if curves.floor.time() < LEAST_JUDGED {
                println!("    not judged: {} min are too few", curves.floor.time().as_secs() / 60);
            } else if floor.bytes >= MOST_AN_HOUR {
                wrong.push(format!("the heap of {name} grows by {floor} an hour"));
            }
        }
        wrong
    }
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes / 1024)
}
