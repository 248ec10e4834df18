//! The good client: makes a small call a millisecond, one after the other, and says how long they took.

use std::io::stdin;
use std::time::{Duration, Instant};

use super::super::Result;
use super::super::server::runtime;
use super::super::service::LoadedClient;

const PAUSE: Duration = Duration::from_millis(1);

/// For each line, calls for so many milliseconds and says the median and the 99th percentile, in microseconds.
pub(crate) fn visit(arguments: &[&str]) -> Result<()> {
    let [address] = arguments else { return Err("a visitor needs an address".into()) };
    runtime(1)?.block_on(async {
        let client = LoadedClient::connect(*address).await?;
        for line in stdin().lines() {
            let end = Instant::now() + Duration::from_millis(line?.parse()?);
            let mut micros = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                if client.add(2, 3).await? != 5 {
                    return Err("2 and 3 is not 5".into());
                }
                micros.push(begun.elapsed().as_micros());
                tokio::time::sleep(PAUSE).await;
            }
            micros.sort_unstable();
            println!("{} {}", micros[micros.len() / 2], micros[micros.len() * 99 / 100]);
        }
        Ok(())
    })
}
