//! Calls that take long: what each costs its client and its server while it runs.

use std::io::stdin;

use super::child::Child;
use super::report::Table;
use super::server::{Served, runtime};
use super::service::LoadedClient;
use super::{Options, Result};
use crate::heap;

const TARGET: f64 = 2_048.0;

pub(crate) fn measure(table: &mut Table, options: &Options) -> Result<()> {
    let calls: u64 = if options.smoke { 20_000 } else { 100_000 };
    for connections in [100, 1] {
        // For a hundred connections those that there are by default are as good as enough.
        let limits = [format!("calls={}", calls + 1_000), format!("server_calls={}", calls + 1_000)];
        let limits = if connections > 1 { &limits[1..] } else { &limits };
        let limits: Vec<_> = limits.iter().map(String::as_str).collect();
        let server = Served::start(2, &limits)?;
        let mut client = Child::start("in-flight", &[&server.address, &connections.to_string()])?;
        // What is there for calls whatever their number.
        client.tell("100")?;
        let before: [u64; 2] = client.numbers()?;
        let resident =
            [&client, &server.process].map(|process| process.memory().map(|memory| memory.resident));
        client.tell(&calls.to_string())?;
        let after: [u64; 2] = client.numbers()?;
        let side = |process: &Child, resident: Result<u64>, live: u64| -> Result<[f64; 2]> {
            Ok([process.memory()?.resident - resident?, live].map(|bytes| bytes as f64 / calls as f64))
        };
        let [of_client, of_server] = resident;
        let sides = [
            ("client", side(&client, of_client, after[0] - before[0])?),
            ("server", side(&server.process, of_server, after[1] - before[1])?),
        ];
        for (name, [resident, live]) in sides {
            table.judge(
                format!("in flight: the {name}, {calls} calls on {connections} connection(s)"),
                format!("{resident:.0} bytes each, {live:.0} of it live heap"),
                "at most 2048 bytes each",
                resident <= TARGET,
            );
        }
        client.tell("0")?;
        let rest: [u64; 2] = client.numbers()?;
        let kept = |side: usize| (rest[side] as f64 - before[side] as f64) / calls as f64;
        table.note(
            format!("in flight: live heap after {calls} calls on {connections} connection(s)"),
            format!("{:.0} bytes each on the client, {:.0} on the server", kept(0), kept(1)),
        );
    }
    Ok(())
}

/// Lets as many calls more run as it is told, or ends them all for 0, and says what both heaps hold.
pub(crate) fn play(arguments: &[&str]) -> Result<()> {
    let [address, connections] = arguments else {
        return Err("an address and a number of connections".into());
    };
    runtime(1)?.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..connections.parse()? {
            clients.push(LoadedClient::connect(*address).await?);
        }
        let other = LoadedClient::connect(*address).await?;
        let mut calls = Vec::new();
        for line in stdin().lines() {
            let more = line?.parse::<usize>()?;
            if more == 0 {
                other.release().await?;
                for call in calls.drain(..) {
                    let call: tokio::task::JoinHandle<std::result::Result<i64, rpc::Error>> = call;
                    if call.await?? != 5 {
                        return Err("2 and 3 is not 5".into());
                    }
                }
                calls = Vec::new();
            } else {
                calls.reserve_exact(more);
            }
            for number in 0..more {
                let call = clients[number % clients.len()].hold(2, 3);
                calls.push(tokio::spawn(call));
            }
            while other.held().await? != calls.len() as u64 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            println!("{} {}", heap::live(), other.live().await?);
        }
        Ok(())
    })
}
