//! Connections on which nothing happens: what each costs the server.

use std::io::stdin;

use super::child::Child;
use super::report::Table;
use super::server::{Served, runtime};
use super::service::LoadedClient;
use super::{Options, Result};

const TARGET: f64 = 2_500.0;

pub(crate) fn measure(table: &mut Table, options: &Options) -> Result<()> {
    let connections = if options.smoke { 1_000 } else { 9_900 };
    for threads in [1, 2] {
        let server = Served::start(threads, &[])?;
        let mut clients = Child::start("idle", &[&server.address])?;
        // What comes with the first connections comes once.
        let before: [u64; 1] = {
            clients.tell("100")?;
            clients.numbers()?
        };
        let resident = server.process.memory()?.resident;
        clients.tell(&connections.to_string())?;
        let after: [u64; 1] = clients.numbers()?;
        let each = |grown: u64| grown as f64 / connections as f64;
        let (resident, live) =
            (each(server.process.memory()?.resident - resident), each(after[0] - before[0]));
        let what = format!("idle: the server, {threads} thread(s), {connections} connections more than 100");
        let measured = format!("{:.2} kB each, {:.2} kB of it live heap", resident / 1e3, live / 1e3);
        // With few connections what the allocator takes at once is much for each.
        if options.smoke {
            table.note(what, measured);
        } else {
            table.judge(what, measured, "at most 2.5 kB each", resident <= TARGET);
        }
    }
    Ok(())
}

/// Opens as many connections more as it is told, makes a call on each, and says what the server's heap holds.
pub(crate) fn play(arguments: &[&str]) -> Result<()> {
    let [address] = arguments else { return Err("idle clients need an address".into()) };
    runtime(1)?.block_on(async {
        let mut clients = Vec::new();
        for line in stdin().lines() {
            for _ in 0..line?.parse::<usize>()? {
                let client = LoadedClient::connect(*address).await?;
                if client.add(2, 3).await? != 5 {
                    return Err("2 and 3 is not 5".into());
                }
                clients.push(client);
            }
            let first = clients.first().ok_or("no connection")?;
            println!("{}", first.live().await?);
        }
        Ok(())
    })
}
