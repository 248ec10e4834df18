//! The process that serves.

use std::path::PathBuf;
use std::sync::Arc;

use rpc::Server;

use super::caller::Caller;
use super::handler::Worker;
use super::stdin::{self, State};
use super::{Sabotage, Temper, WorkServer};
use crate::heap::Floor;
use crate::ledger::Ledger;
use crate::options::{Failure, Options};

/// Serves at a port that it says, until it is told to `drain`, or its input ends; answers `state`.
///
/// # Errors
/// It cannot listen or write its ledger.
pub(crate) fn serve(mut options: Options) -> Result<(), Failure> {
    let number: u32 = options.need("number")?;
    let ledger: PathBuf = options.need("ledger")?;
    let threads: usize = options.need("threads")?;
    let temper: Temper = options.need("limits")?;
    let sabotage: Option<Sabotage> = options.take("sabotage")?;
    options.finish()?;

    let ledger = Arc::new(Ledger::create(ledger)?);
    let worker = Worker::new(Caller::new(number, ledger), sabotage);
    let server = Server::new().limits(temper.limits()).add(WorkServer::new(worker));
    runtime(threads)?.block_on(async {
        let bound = server.bind("tcp://127.0.0.1:0").await?;
        println!("{}", bound.local_addr());
        let shutdown = bound.shutdown_handle();
        // On a task, for that is where users have it.
        let mut serving = tokio::spawn(bound.serve());
        let floor = Floor::watch();
        let mut questions = stdin::lines();
        loop {
            let question = tokio::select! {
                question = questions.recv() => question,
                served = &mut serving => return Ok(served??),
            };
            match question.as_deref() {
                Some("state") => println!("{}", State::now(&floor)),
                // It ends when the server has.
                Some("drain") => drop(shutdown.shutdown()),
                Some(unknown) => return Err(format!("a server cannot {unknown:?}").into()),
                None => return Ok(()),
            }
        }
    })
}

/// A runtime with so many threads; one alone is the current one.
///
/// # Errors
/// The system gives no threads.
pub(super) fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    Ok(builder.enable_all().build()?)
}
