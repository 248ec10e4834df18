//! Calls whose handlers take their time, and light calls beside them on the same connection.

use super::{
    Stint, Task, Work, Workload,
    calls::{adders, beside},
    crew::{Crew, Shift},
    wrong,
};
use crate::{
    contender::{Handlers, Result},
    measure::{Latencies, Outcome},
};
use std::time::Duration;
use tokio::sync::mpsc;

/// What is called, and what beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Light calls, each [`ONE_IN`]th of which sleeps so long in its handler. Only the others are measured.
    Sleepers(Duration),
    /// Calls whose handler is busy.
    Busy,
    /// Light calls, while [`BUSY_CALLERS`] call a busy handler.
    AddBesideBusy,
}

/// The time for which a busy handler keeps a core, in which one core does nothing else.
pub const BUSY: Duration = Duration::from_micros(50);

/// Those who call the busy handler at once.
pub(super) const BUSY_CALLERS: usize = 16;

/// So many calls there are for each that sleeps.
const ONE_IN: u64 = 100;

/// Puts clients to work whose handlers take their time.
#[derive(Debug)]
pub enum Handling {}

impl<C: Handlers> Work<C> for Handling {
    type Idle = C;

    async fn verify(_: &Workload, client: &mut C) -> Result<()> {
        for (a, b, micros) in [(2, 3, 0), (-1, 1, 1), (i64::MAX, 1, 0), (-70_000, 128, 1000)] {
            check_sum(a, b, client.add_after(a, b, micros).await?)?;
        }
        check_sum(2, 3, client.add(2, 3).await?)?;
        for micros in [0, 1, 300] {
            check_spun(micros, client.spin(micros).await?)?;
        }
        Ok(())
    }

    async fn run(workload: &Workload, clients: &[C], stint: Stint) -> Result<Outcome> {
        let Task::Handlers(mix) = workload.task else { return Err(workload.other_kind()) };
        let callers = || clients.iter().flat_map(|client| vec![client; workload.in_flight]);
        match mix {
            Mix::Sleepers(sleep) => add_beside_sleepers(callers(), sleep, stint).await,
            Mix::Busy => spinners(callers(), stint).work().await,
            Mix::AddBesideBusy => {
                let heavy = clients.iter().flat_map(|client| [client; BUSY_CALLERS]);
                let heavy = |stint| spinners(heavy, stint);
                beside(heavy, |stint| adders(callers(), 1, stint), stint).await
            }
        }
    }

    async fn idle(mut client: C) -> Result<C> {
        client.add(1, 1).await?;
        Ok(client)
    }
}

/// Nobody waits for a call that sleeps before making the next one, so there are as many light calls at once with
/// sleepers as without.
async fn add_beside_sleepers<'a, C: Handlers>(
    clients: impl Iterator<Item = &'a C>,
    sleep: Duration,
    stint: Stint,
) -> Result<Outcome> {
    let mut crew = Crew::new(stint);
    let (ended, mut ends) = mpsc::unbounded_channel();
    for client in clients {
        crew.employ(|shift| keep_adding(client.clone(), shift, sleep.as_micros() as u64, ended.clone()));
    }
    let outcome = crew.work().await?;
    drop(ended);
    while let Some(end) = ends.recv().await {
        end?;
    }
    Ok(outcome)
}

async fn keep_adding(
    mut client: impl Handlers,
    mut shift: Shift,
    micros: u64,
    ended: mpsc::UnboundedSender<Result<()>>,
) -> Result<Latencies> {
    let mut sampled = Latencies::one_in(16, shift.number);
    let a = (shift.number as i64) << 40;
    let mut b = 0;
    // Callers whose turns to sleep fell together would leave bursts and gaps.
    let mut until_sleep = 1 + shift.number as u64 % ONE_IN;
    while shift.goes_on() {
        b += 1;
        until_sleep -= 1;
        if until_sleep == 0 {
            until_sleep = ONE_IN;
            let (mut client, ended) = (client.clone(), ended.clone());
            tokio::spawn(async move {
                let sum = client.add_after(a, b, micros).await;
                // Whoever waits for the ends has given up only if something else went wrong.
                let _ = ended.send(sum.and_then(|sum| check_sum(a, b, sum)));
            });
        } else {
            let began = sampled.begin();
            let sum = client.add_after(a, b, 0).await?;
            sampled.end(began, 1);
            check_sum(a, b, sum)?;
        }
    }
    Ok(sampled)
}

fn spinners<'a, C: Handlers>(clients: impl Iterator<Item = &'a C>, stint: Stint) -> Crew {
    let mut crew = Crew::new(stint);
    for client in clients {
        crew.employ(|shift| keep_spinning(client.clone(), shift));
    }
    crew
}

async fn keep_spinning(mut client: impl Handlers, mut shift: Shift) -> Result<Latencies> {
    let mut sampled = Latencies::one_in(1, 0);
    let micros = BUSY.as_micros() as u64;
    while shift.goes_on() {
        let began = sampled.begin();
        let spun = client.spin(micros).await?;
        sampled.end(began, 1);
        check_spun(micros, spun)?;
    }
    Ok(sampled)
}

fn check_sum(a: i64, b: i64, sum: i64) -> Result<()> {
    if sum != a.wrapping_add(b) {
        return Err(wrong(format!("{a} + {b} is not {sum}")));
    }
    Ok(())
}

fn check_spun(wanted: u64, spun: u64) -> Result<()> {
    if spun != wanted {
        return Err(wrong(format!("the handler was busy for {spun} us, not {wanted}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Calls;
    use bytes::Bytes;
    use tokio::{runtime::Builder, task::yield_now};

    /// A contender that works, except for what is wrong with it on purpose.
    #[derive(Clone, Default)]
    struct Fake {
        /// Sums are so much too great.
        off_by: i64,
        /// Sums after a sleep are so much greater yet.
        off_after_sleep: i64,
        /// Handlers are busy for so much too long.
        too_long: u64,
    }

    impl Calls for Fake {
        async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
            // Whoever never waits starves the timer that ends the run.
            yield_now().await;
            Ok(a.wrapping_add(b).wrapping_add(self.off_by))
        }

        async fn echo(&mut self, payload: Bytes) -> Result<Bytes> {
            Ok(payload)
        }
    }

    impl Handlers for Fake {
        async fn add_after(&mut self, a: i64, b: i64, micros: u64) -> Result<i64> {
            let sum = self.add(a, b).await?;
            Ok(if micros == 0 { sum } else { sum.wrapping_add(self.off_after_sleep) })
        }

        async fn spin(&mut self, micros: u64) -> Result<u64> {
            yield_now().await;
            Ok(micros + self.too_long)
        }
    }

    /// Whether verifying and running end well.
    fn outcome(mut client: Fake, workload: &str) -> [bool; 2] {
        let workload = Workload::named(workload).expect("a workload of the table");
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let stint = Stint::Time(Duration::from_millis(5));
            let ran = Handling::run(workload, &[client.clone()], stint).await;
            [Handling::verify(workload, &mut client).await.is_ok(), ran.is_ok()]
        })
    }

    #[test]
    fn wrong_results_fail_the_connection_and_the_run() {
        for workload in ["awake", "sleepers", "busy", "beside-busy"] {
            assert_eq!(outcome(Fake::default(), workload), [true, true], "{workload}");
        }
        for workload in ["awake", "sleepers", "beside-busy"] {
            assert_eq!(
                outcome(Fake { off_by: 1, ..Fake::default() }, workload),
                [false, false],
                "{workload}"
            );
        }
        for workload in ["busy", "beside-busy"] {
            assert_eq!(
                outcome(Fake { too_long: 1, ..Fake::default() }, workload),
                [false, false],
                "{workload}"
            );
        }
        let wrong_after_sleep = || Fake { off_after_sleep: 1, ..Fake::default() };
        assert_eq!(outcome(wrong_after_sleep(), "sleepers"), [false, false]);
        assert_eq!(outcome(wrong_after_sleep(), "awake"), [false, true]);
    }

    #[test]
    fn one_call_in_a_hundred_sleeps_and_is_not_counted() {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let clients = [Fake::default(), Fake::default()];
        let ran = add_beside_sleepers(clients.iter(), Duration::from_micros(1), Stint::Times(1000));
        assert_eq!(runtime.block_on(ran).expect("nothing is wrong").count, 2 * 990);
    }
}
