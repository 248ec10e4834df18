//! Plain calls: small ones, echoes, and small ones beside large echoes.

use super::{PATTERN, Stint, Task, Work, Workload, crew::Crew, crew::Shift, wrong};
use crate::{
    contender::{Calls, Result},
    measure::{Latencies, Outcome},
};
use bytes::Bytes;
use tokio::{time, try_join};

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `add`, the small call.
    Add,
    /// `echo` of so many bytes.
    Echo(usize),
    /// `echo` of [`TRANSFER`] bytes, which are what is counted.
    Transfer,
    /// `add`, while [`TRANSFERS`] transfers go on over the same connection.
    AddBesideTransfers,
}

impl Call {
    /// The largest payload that it carries, in bytes.
    fn largest(self) -> usize {
        match self {
            Self::Add => 0,
            Self::Echo(length) => length,
            Self::Transfer | Self::AddBesideTransfers => TRANSFER,
        }
    }
}

/// Large echoes that go on at once, beside small calls or alone.
pub(super) const TRANSFERS: usize = 4;

/// The length of each of them, in bytes.
pub(super) const TRANSFER: usize = 16 << 20;

/// Puts clients to work that make calls.
#[derive(Debug)]
pub enum Calling {}

impl<C: Calls> Work<C> for Calling {
    type Idle = C;

    async fn verify(workload: &Workload, client: &mut C) -> Result<()> {
        for (a, b) in [(2, 3), (-1, 1), (i64::MAX, 1), (i64::MIN, -1), (-70_000, 128)] {
            let sum = client.add(a, b).await?;
            if sum != a.wrapping_add(b) {
                return Err(wrong(format!("{a} + {b} is not {sum}")));
            }
        }
        let Task::Calls(call) = workload.task else { return Err(workload.other_kind()) };
        for length in [0, 1, 1000, 64 << 10, call.largest()] {
            let payload = PATTERN.slice(..length);
            if client.echo(payload.clone()).await? != payload {
                return Err(wrong(format!("the echo of {length} bytes differs")));
            }
        }
        Ok(())
    }

    async fn run(workload: &Workload, clients: &[C], stint: Stint) -> Result<Outcome> {
        let Task::Calls(call) = workload.task else { return Err(workload.other_kind()) };
        let callers = || clients.iter().flat_map(|client| vec![client; workload.in_flight]);
        match call {
            Call::Add => {
                // A clock read costs little beside a lone call, but a tenth of the CPU of a small call in a batch.
                let interval = if workload.is_alone() { 1 } else { 16 };
                adders(callers(), interval, stint).work().await
            }
            Call::Echo(length) => echoers(callers(), length, 1, stint).work().await,
            Call::Transfer => echoers(callers(), TRANSFER, TRANSFER as u64, stint).work().await,
            Call::AddBesideTransfers => {
                let large = clients.iter().flat_map(|client| [client; TRANSFERS]);
                let large = |stint| echoers(large, TRANSFER, TRANSFER as u64, stint);
                beside(large, |stint| adders(callers(), 1, stint), stint).await
            }
        }
    }

    async fn idle(mut client: C) -> Result<C> {
        // After its one call a connection is established beyond doubt, and holds what it keeps after use.
        client.add(1, 1).await?;
        Ok(client)
    }
}

/// Lets a light crew work while a heavy one does, whose throughput is what goes on beside.
pub(super) async fn beside(
    heavy: impl FnOnce(Stint) -> Crew,
    light: impl FnOnce(Stint) -> Crew,
    stint: Stint,
) -> Result<Outcome> {
    let Stint::Time(duration) = stint else {
        return Err("two crews are never at work for a number of times".into());
    };
    // Calls that find the connection still idle would pass for calls beside the heavy ones.
    let head_start = duration / 8;
    let heavy = heavy(Stint::Time(duration - head_start));
    time::sleep(head_start).await;
    let light = light(Stint::Time(duration - head_start));
    let (light, heavy) = try_join!(light.work(), heavy.work())?;
    Ok(Outcome { beside: heavy.per_second() as u64, ..light })
}

pub(super) fn adders<'a, C: Calls>(
    clients: impl Iterator<Item = &'a C>,
    interval: usize,
    stint: Stint,
) -> Crew {
    let mut crew = Crew::new(stint);
    for client in clients {
        crew.employ(|shift| keep_adding(client.clone(), shift, interval));
    }
    crew
}

async fn keep_adding(mut client: impl Calls, mut shift: Shift, interval: usize) -> Result<Latencies> {
    let mut sampled = Latencies::one_in(interval, shift.number);
    // No two callers ever send the same terms, so a reply given to the wrong one shows.
    let a = (shift.number as i64) << 40;
    let mut b = 0;
    while shift.goes_on() {
        b += 1;
        let began = sampled.begin();
        let sum = client.add(a, b).await?;
        sampled.end(began, 1);
        if sum != a + b {
            return Err(wrong(format!("{a} + {b} is not {sum}")));
        }
    }
    Ok(sampled)
}

/// Callers that echo; each echo counts as so many.
fn echoers<'a, C: Calls>(
    clients: impl Iterator<Item = &'a C>,
    length: usize,
    count: u64,
    stint: Stint,
) -> Crew {
    let mut crew = Crew::new(stint);
    for client in clients {
        crew.employ(|shift| keep_echoing(client.clone(), shift, PATTERN.slice(..length), count));
    }
    crew
}

async fn keep_echoing(
    mut client: impl Calls,
    mut shift: Shift,
    payload: Bytes,
    count: u64,
) -> Result<Latencies> {
    let mut sampled = Latencies::one_in(1, 0);
    while shift.goes_on() {
        let began = sampled.begin();
        let echoed = client.echo(payload.clone()).await?;
        sampled.end(began, count);
        // The contents were compared when the connection was opened; here that would be most of the work.
        if echoed.len() != payload.len() {
            return Err(wrong(format!("the echo of {} bytes has {}", payload.len(), echoed.len())));
        }
    }
    Ok(sampled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::{runtime::Builder, task::yield_now};

    /// A contender that works, except for what is wrong with it on purpose.
    #[derive(Clone)]
    struct Fake {
        off_by: i64,
        cut_off: usize,
    }

    impl Calls for Fake {
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
        let ran = Calling::run(workload, &[client.clone()], Stint::Time(Duration::from_millis(5))).await;
        [Calling::verify(workload, &mut client).await, ran.map(drop)]
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
        assert_eq!(outcome(Fake { off_by: 0, cut_off: 0 }, "beside-8"), [true, true]);
        assert_eq!(outcome(Fake { off_by: 0, cut_off: 1 }, "beside-8"), [false, false]);
    }
}
