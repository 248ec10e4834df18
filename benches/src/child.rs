//! What the measured processes do: answer the questions that come on standard input, one line each way.
//!
//! They end with the process that started them, since then their standard input ends.

use crate::{
    contender::{Client, Contender, Result, rpc::in_process},
    measure::{process_cpu, raise_descriptor_limit, resident_memory},
    options::Flavour,
    workload::Workload,
};
use std::{
    future::Future,
    io::stdin,
    net::SocketAddr,
    process, thread,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, time::timeout};

/// Serves `C`, says where, and answers `cpu` with nanoseconds and `memory` with bytes.
pub fn serve<C: Contender>(runtime: &Runtime) -> Result<()> {
    raise_descriptor_limit()?;
    thread::spawn(|| {
        let ended = answer_about_server();
        process::exit(i32::from(ended.is_err()));
    });
    runtime.block_on(C::serve(|address| println!("{address}")))
}

fn answer_about_server() -> Result<()> {
    for question in stdin().lines() {
        match question?.as_str() {
            "cpu" => println!("{}", process_cpu().as_nanos()),
            "memory" => println!("{}", resident_memory()?),
            unknown => return Err(format!("a server cannot {unknown:?}").into()),
        }
    }
    Ok(())
}

/// Calls `C`: `open` connects for a workload, `run` keeps its callers busy, `close` disconnects, and `idle` opens
/// connections that are used once each.
pub fn call<C: Contender>(runtime: &Runtime, server: SocketAddr) -> Result<()> {
    raise_descriptor_limit()?;
    let mut opened = None;
    let mut idle = Vec::new();
    for question in stdin().lines() {
        match question?.split(' ').collect::<Vec<_>>()[..] {
            ["open", workload] => {
                let workload = Workload::named(workload)?;
                let clients = runtime.block_on(within(PATIENCE, workload.connect::<C>(server)))?;
                opened = Some((workload, clients));
                println!("opened");
            }
            ["run", milliseconds] => {
                let (workload, clients) = opened.as_ref().ok_or("run before open")?;
                let duration = Duration::from_millis(milliseconds.parse()?);
                let run = within(duration + PATIENCE, workload.run(clients, duration));
                println!("{}", runtime.block_on(run)?);
            }
            ["close"] => {
                // Some clients say goodbye through the runtime when they are dropped.
                runtime.block_on(async { opened = None });
                println!("closed");
            }
            ["idle", connections] => {
                let more = runtime.block_on(connect_idle::<C>(server, connections.parse()?))?;
                idle.extend(more);
                println!("opened");
            }
            ref unknown => return Err(format!("a client cannot {unknown:?}").into()),
        }
    }
    Ok(())
}

async fn connect_idle<C: Contender>(server: SocketAddr, connections: usize) -> Result<Vec<C::Client>> {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut client = within(PATIENCE, C::connect(server)).await?;
        // After its one call a connection is established beyond doubt, and holds what it keeps after use.
        within(PATIENCE, client.add(1, 1)).await?;
        clients.push(client);
    }
    Ok(clients)
}

/// Makes calls within this process for `duration` and says how many nanoseconds of CPU time one takes: the same as
/// by the clock, since nothing is waited for, but true on a busy machine too.
pub fn call_in_process(duration: Duration) -> Result<()> {
    let runtime = Flavour::CurrentThread.runtime()?;
    runtime.block_on(async {
        let mut client = in_process();
        let (mut calls, started, cpu) = (0_i64, Instant::now(), process_cpu());
        while started.elapsed() < duration {
            for _ in 0..1000 {
                calls += 1;
                if Client::add(&mut client, calls, -1).await? != calls - 1 {
                    return Err("wrong result: in process".into());
                }
            }
        }
        println!("{}", (process_cpu() - cpu).as_nanos() as f64 / calls as f64);
        Ok(())
    })
}

/// Whatever takes longer hangs, and that must be a failure rather than a benchmark that never ends.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(limit, work).await.map_err(|_| format!("no end after {limit:?}"))?
}

const PATIENCE: Duration = Duration::from_secs(20);
