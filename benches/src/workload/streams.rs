//! Streams of small items: many items one way, one item each way, and short streams.

use super::{IDLE_STREAMS_A_CONNECTION, Stint, Task, Work, Workload, crew::Crew, crew::Shift, wrong};
use crate::{
    contender::{Exchange, Result, Streams},
    measure::{Latencies, Outcome},
};
use futures_util::{Stream, StreamExt};

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// So many items from the server to the client.
    Down(u64),
    /// So many items from the client to the server, which gives back their sum.
    Up(u64),
    /// One item each way at a time, over one stream each way.
    BackAndForth,
    /// A stream a time: opened, one item from the server, end.
    OpenAndEnd,
}

/// Puts clients to work that have streams.
#[derive(Debug)]
pub enum Streaming {}

impl<C: Streams> Work<C> for Streaming {
    type Idle = (C, Vec<C::Numbers>);

    async fn verify(_: &Workload, client: &mut C) -> Result<()> {
        for length in [0, 1, 2, 1000, 100_000] {
            take_in(client.count(length).await?, length).await?;
            let sum = client.sum(length).await?;
            check_sum(sum, length)?;
        }
        let mut exchange = client.exchange().await?;
        for number in [0, u64::MAX - 1, 5] {
            pass(&mut exchange, number).await?;
        }
        exchange.finish().await
    }

    async fn run(workload: &Workload, clients: &[C], stint: Stint) -> Result<Outcome> {
        let Task::Streams(flow) = workload.task else { return Err(workload.other_kind()) };
        // As for small calls, a clock read costs little beside a lone stream, but not beside one of many.
        let interval = if workload.is_alone() { 1 } else { 16 };
        let mut crew = Crew::new(stint);
        for client in clients.iter().flat_map(|client| vec![client; workload.in_flight]) {
            let client = client.clone();
            crew.employ(|shift| async move {
                match flow {
                    Flow::Down(length) => keep_receiving(client, shift, length).await,
                    Flow::Up(length) => keep_sending(client, shift, length).await,
                    Flow::BackAndForth => keep_passing(client, shift).await,
                    Flow::OpenAndEnd => keep_opening(client, shift, interval).await,
                }
            });
        }
        crew.work().await
    }

    async fn idle(mut client: C) -> Result<Self::Idle> {
        let mut streams = Vec::with_capacity(IDLE_STREAMS_A_CONNECTION);
        for _ in 0..IDLE_STREAMS_A_CONNECTION {
            let mut numbers = client.watch().await?;
            match numbers.next().await.transpose()? {
                Some(0) => streams.push(numbers),
                other => return Err(wrong(format!("{other:?} came first to one who watches"))),
            }
        }
        Ok((client, streams))
    }
}

async fn keep_receiving(mut client: impl Streams, mut shift: Shift, length: u64) -> Result<Latencies> {
    let mut sampled = Latencies::one_in(1, 0);
    while shift.goes_on() {
        let began = sampled.begin();
        take_in(client.count(length).await?, length).await?;
        sampled.end(began, length);
    }
    Ok(sampled)
}

async fn keep_sending(mut client: impl Streams, mut shift: Shift, length: u64) -> Result<Latencies> {
    let mut sampled = Latencies::one_in(1, 0);
    while shift.goes_on() {
        let began = sampled.begin();
        let sum = client.sum(length).await?;
        sampled.end(began, length);
        check_sum(sum, length)?;
    }
    Ok(sampled)
}

async fn keep_passing(mut client: impl Streams, mut shift: Shift) -> Result<Latencies> {
    let mut sampled = Latencies::one_in(1, 0);
    let mut exchange = client.exchange().await?;
    let mut number = 0;
    while shift.goes_on() {
        number += 1;
        let began = sampled.begin();
        pass(&mut exchange, number).await?;
        sampled.end(began, 1);
    }
    exchange.finish().await?;
    Ok(sampled)
}

async fn keep_opening(mut client: impl Streams, mut shift: Shift, interval: usize) -> Result<Latencies> {
    let mut sampled = Latencies::one_in(interval, shift.number);
    while shift.goes_on() {
        let began = sampled.begin();
        take_in(client.count(1).await?, 1).await?;
        sampled.end(began, 1);
    }
    Ok(sampled)
}

/// Receives a stream to its end; exactly the numbers below `below` must come, in order.
async fn take_in(mut numbers: impl Stream<Item = Result<u64>> + Unpin, below: u64) -> Result<()> {
    let mut expected = 0;
    while let Some(number) = numbers.next().await {
        let number = number?;
        if number != expected {
            return Err(wrong(format!("{number} came in place of {expected}")));
        }
        expected += 1;
    }
    if expected != below {
        return Err(wrong(format!("{expected} items came, not {below}")));
    }
    Ok(())
}

fn check_sum(sum: u64, below: u64) -> Result<()> {
    if sum != (0..below).sum() {
        return Err(wrong(format!("{sum} is not the sum of the numbers below {below}")));
    }
    Ok(())
}

async fn pass(exchange: &mut impl Exchange, number: u64) -> Result<()> {
    let answer = exchange.pass(number).await?;
    if answer != number + 1 {
        return Err(wrong(format!("{answer} came back for {number}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream::{self, BoxStream};
    use std::time::Duration;
    use tokio::{runtime::Builder, task::yield_now};

    /// A contender that works, except for what is wrong with it on purpose.
    #[derive(Clone, Default)]
    struct Fake {
        /// Every stream begins with so many items too few.
        skipped: u64,
        /// Sums and answers are so much too great.
        off_by: u64,
    }

    impl Streams for Fake {
        type Numbers = BoxStream<'static, Result<u64>>;
        type Exchange = Self;

        async fn count(&mut self, below: u64) -> Result<Self::Numbers> {
            // Whoever never waits starves the timer that ends the run.
            yield_now().await;
            Ok(stream::iter(self.skipped..below).map(Ok).boxed())
        }

        async fn watch(&mut self) -> Result<Self::Numbers> {
            Ok(stream::iter(self.skipped..1).map(Ok).boxed())
        }

        async fn sum(&mut self, below: u64) -> Result<u64> {
            yield_now().await;
            Ok((0..below).sum::<u64>() + self.off_by)
        }

        async fn exchange(&mut self) -> Result<Self> {
            Ok(self.clone())
        }
    }

    impl Exchange for Fake {
        async fn pass(&mut self, number: u64) -> Result<u64> {
            yield_now().await;
            Ok(number.wrapping_add(self.off_by).wrapping_add(1))
        }

        async fn finish(self) -> Result<()> {
            Ok(())
        }
    }

    /// Whether verifying, running and keeping streams idle end well.
    fn outcome(mut client: Fake, workload: &str) -> [bool; 3] {
        let workload = Workload::named(workload).expect("a workload of the table");
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let ran =
                Streaming::run(workload, &[client.clone()], Stint::Time(Duration::from_millis(5))).await;
            let verified = Streaming::verify(workload, &mut client).await;
            [verified.is_ok(), ran.is_ok(), Streaming::idle(client).await.is_ok()]
        })
    }

    #[test]
    fn wrong_items_fail_the_connection_and_the_run() {
        for workload in ["items", "upload", "lone-item", "open-close-x64"] {
            assert_eq!(outcome(Fake::default(), workload), [true, true, true], "{workload}");
        }
        for workload in ["items", "open-close"] {
            assert_eq!(
                outcome(Fake { skipped: 1, off_by: 0 }, workload),
                [false, false, false],
                "{workload}"
            );
        }
        for workload in ["upload", "lone-item"] {
            assert_eq!(outcome(Fake { skipped: 0, off_by: 1 }, workload), [false, false, true], "{workload}");
        }
    }
}
