//! Streams of large items, measured in bytes.

use super::{PATTERN, Stint, Task, Work, Workload, crew::Crew, crew::Shift, wrong};
use crate::{
    contender::{Downloads, Result},
    measure::{Latencies, Outcome},
};

/// Puts clients to work that have large items.
#[derive(Debug)]
pub enum Downloading {}

impl<C: Downloads> Work<C> for Downloading {
    type Idle = C;

    async fn verify(_: &Workload, client: &mut C) -> Result<()> {
        for (count, length) in [(0, 1), (1, 1), (3, 1000), (2, 1 << 20)] {
            let mut received = Vec::new();
            client.download(count, length, |piece| received.extend_from_slice(piece)).await?;
            if received != PATTERN[..length].repeat(count as usize) {
                return Err(wrong(format!("{count} items of {length} bytes differ")));
            }
        }
        Ok(())
    }

    async fn run(workload: &Workload, clients: &[C], stint: Stint) -> Result<Outcome> {
        let Task::Download(count, length) = workload.task else { return Err(workload.other_kind()) };
        let mut crew = Crew::new(stint);
        for client in clients.iter().flat_map(|client| vec![client; workload.in_flight]) {
            crew.employ(|shift| keep_downloading(client.clone(), shift, count, length));
        }
        crew.work().await
    }

    async fn idle(client: C) -> Result<C> {
        Ok(client)
    }
}

async fn keep_downloading(
    mut client: impl Downloads,
    mut shift: Shift,
    count: u64,
    length: usize,
) -> Result<Latencies> {
    let mut sampled = Latencies::one_in(1, 0);
    let expected = count * length as u64;
    while shift.goes_on() {
        let mut received = 0;
        let began = sampled.begin();
        // The contents were compared when the connection was opened; here that would be much of the work.
        client.download(count, length, |piece| received += piece.len() as u64).await?;
        sampled.end(began, received);
        if received != expected {
            return Err(wrong(format!("{received} bytes came, not {expected}")));
        }
    }
    Ok(sampled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::{runtime::Builder, task::yield_now};

    /// Downloads that lack so many bytes of each item.
    #[derive(Clone)]
    struct Fake(usize);

    impl Downloads for Fake {
        async fn download(
            &mut self,
            count: u64,
            length: usize,
            mut look: impl FnMut(&[u8]) + Send,
        ) -> Result<()> {
            for _ in 0..count {
                // Whoever never waits starves the timer that ends the run.
                yield_now().await;
                look(&PATTERN[..length - self.0]);
            }
            Ok(())
        }
    }

    fn outcome(mut client: Fake) -> [bool; 2] {
        let workload = Workload::named("1MiB-items").expect("a workload of the table");
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let ran =
                Downloading::run(workload, &[client.clone()], Stint::Time(Duration::from_millis(5))).await;
            [Downloading::verify(workload, &mut client).await.is_ok(), ran.is_ok()]
        })
    }

    #[test]
    fn missing_bytes_fail_the_connection_and_the_run() {
        assert_eq!(outcome(Fake(0)), [true, true]);
        assert_eq!(outcome(Fake(1)), [false, false]);
    }
}
