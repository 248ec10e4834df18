//! Servers and clients that are killed, stopped, drained, cut off and flooded at random.

mod chaos;
mod flood;

pub(crate) use flood::flood;

use std::time::{Duration, Instant};

use crate::network::Weather;
use crate::options::{Failure, Options};
use crate::random::Random;
use crate::report;
use crate::service::{Sabotage, Temper};
use crate::world::{Settings, World};
use chaos::Chaos;

/// Runs for so many seconds, and checks what is left.
///
/// # Errors
/// Anything is not as it must be.
pub(crate) fn run(mut options: Options) -> Result<(), Failure> {
    let seconds = options.take("seconds")?.unwrap_or(60);
    let seed = options.take("seed")?.unwrap_or_else(Random::seed_of_now);
    let sabotage = options.take("sabotage")?;
    options.finish()?;
    let wrong = torture(Duration::from_secs(seconds), seed, sabotage)?;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Runs with each kind of sabotage, which must be found.
///
/// # Errors
/// One was not, or something else was found first.
pub(crate) fn bites(mut options: Options) -> Result<(), Failure> {
    let seconds = options.take("seconds")?.unwrap_or(4);
    let seed = options.take("seed")?.unwrap_or_else(Random::seed_of_now);
    options.finish()?;
    for sabotage in Sabotage::ALL {
        println!("---- {sabotage}");
        let wrong = torture(Duration::from_secs(seconds), seed, Some(sabotage))?;
        let expected = sabotage.is_found_as();
        match wrong.iter().find(|wrong| expected.iter().any(|expected| wrong.contains(expected))) {
            Some(found) => println!("found: {found}"),
            None => return Err(format!("{sabotage} was not found, but {wrong:#?}").into()),
        }
    }
    Ok(())
}

/// How often it says how it goes.
const PROGRESS: Duration = Duration::from_secs(10);

/// Gives all that is wrong.
fn torture(time: Duration, seed: u64, sabotage: Option<Sabotage>) -> Result<Vec<String>, Failure> {
    println!("torture of processes for {} s, seed {seed}", time.as_secs());
    let weather = Weather { faults: 10_000, altered: 0 };
    let settings = Settings {
        servers: 3,
        clients: 4,
        connections: 1,
        rate: 600,
        largest: 512 * 1024,
        limits: Temper::Short,
        weather,
        seed,
        sabotage,
    };
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut chaos = Chaos::new(World::open(settings).await?);
        let (start, mut said) = (Instant::now(), Instant::now());
        while start.elapsed() < time && chaos.world.is_sound() {
            chaos.step().await?;
            if said.elapsed() >= PROGRESS {
                said = Instant::now();
                let more = format!(", {} kills", chaos.kills());
                report::progress(start.elapsed(), &chaos.world.counts(), &more);
            }
        }
        let (world, tally) = chaos.end().await?;
        let network = world.network.clone();
        let (counts, wrong) = world.finish().await?;
        report::table(&counts, &[("what was done", &tally), ("the network", &network.all())]);
        Ok(wrong)
    })
}
