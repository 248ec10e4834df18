//! Looks from outside: is there progress, are all places free.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::asks::Stubs;
use crate::invariants;
use crate::together::all;
use crate::world::World;

/// How long what runs at once may take at rest, where nothing else goes on.
const SOON: Duration = Duration::from_secs(5);

/// How often it is tried: a call that its caller has given up may still be on its way, and takes a place when it comes.
const TRIES: u32 = 4;

/// Waits for the first answer of a server after all is well again (I8).
pub(crate) async fn progress(world: &World, client: usize, stubs: &Stubs) {
    let bound = world.scenario.healing_takes();
    loop {
        let since = world.lock().healed.unwrap_or_default();
        let took = world.now().saturating_sub(since);
        let left = bound.saturating_sub(took) + Duration::from_millis(50);
        let answer = stubs.probe.alive().wait_for_ready().timeout(left).await;
        let took = world.now().saturating_sub(since);
        match answer {
            Ok(_) => return invariants::i8_progress(world, client, stubs.server, Some(took)),
            Err(_) if took > bound => return invariants::i8_progress(world, client, stubs.server, None),
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

/// What runs at once.
#[derive(Clone, Copy, Debug)]
enum What {
    Calls,
    Streams,
    CallsBack,
}

/// Lets as many calls, streams and calls back run at once as the limits say (I6).
pub(crate) async fn places(world: &Arc<World>, client: usize, stubs: &Stubs) {
    for what in [What::Calls, What::Streams, What::CallsBack] {
        let ours = &world.scenario.clients[client];
        let theirs = &world.scenario.servers[stubs.server];
        // Several windows of what this side lets a stream have.
        let bytes = (3 * ours.stream_bytes()).min(6_000) as u32;
        let mut failure = None;
        for _ in 0..TRIES {
            let batch = world.new_batch();
            let ran = match what {
                What::Calls => calls(stubs, batch, theirs.calls() as u32).await,
                What::Streams => streams(stubs, batch, theirs.streams() as u32, bytes).await,
                What::CallsBack => calls_back(stubs, batch, ours.calls() as u32).await,
            };
            failure = ran.err();
            if failure.is_none() {
                break;
            }
            sleep(Duration::from_millis(500)).await;
        }
        if let Some(Failure(failure)) = failure {
            invariants::i6_places(world, &format!("{what:?}"), &failure);
        }
    }
}

async fn calls(stubs: &Stubs, batch: u32, count: u32) -> Result<(), Failure> {
    first_failure(all((0..count).map(|_| stubs.probe.meet(batch, count).timeout(SOON))).await)
}

async fn streams(stubs: &Stubs, batch: u32, count: u32, bytes: u32) -> Result<(), Failure> {
    let stream = || async {
        let mut items = stubs.probe.meet_streaming(batch, count, bytes).timeout(SOON).await?;
        while let Some(item) = items.next().await {
            item?;
        }
        Ok::<_, rpc::Error>(())
    };
    first_failure(all((0..count).map(|_| stream())).await)
}

async fn calls_back(stubs: &Stubs, batch: u32, count: u32) -> Result<(), Failure> {
    let met = stubs.probe.gather(batch, count).timeout(SOON).await?;
    if met == count { Ok(()) } else { Err(Failure(format!("{met} of them met"))) }
}

/// Why not all of them ran.
struct Failure(String);

impl<E: fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure(error.to_string())
    }
}

fn first_failure<T, E: Into<Failure>>(results: Vec<Result<T, E>>) -> Result<(), Failure> {
    results.into_iter().find_map(Result::err).map_or(Ok(()), |error| Err(error.into()))
}
