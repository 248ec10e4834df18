//! The server: a process that says where it listens and serves until it is killed.

use rpc::{Limits, Server};
use tokio::runtime::{Builder, Runtime};

use super::Result;
use super::child::Child;
use super::service::{Here, LoadedServer};

/// A server as the part that started it sees it.
pub(crate) struct Served {
    pub(crate) process: Child,
    pub(crate) address: String,
}

impl Served {
    /// Starts one on so many threads, with limits as `name=value` that differ from the default.
    pub(crate) fn start(threads: usize, limits: &[&str]) -> Result<Self> {
        let threads = threads.to_string();
        let mut process = Child::start("server", &[&[threads.as_str()], limits].concat())?;
        let address = process.hear()?;
        Ok(Served { process, address })
    }
}

/// A runtime of so many threads.
pub(crate) fn runtime(threads: usize) -> Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    Ok(builder.worker_threads(threads).enable_all().build()?)
}

pub(crate) fn play(arguments: &[&str]) -> Result<()> {
    let [threads, settings @ ..] = arguments else { return Err("a server needs a number of threads".into()) };
    let mut limits = Limits::default();
    for setting in settings {
        let (name, value) = setting.split_once('=').ok_or("a limit is a name=value")?;
        let value = value.parse()?;
        limits = match name {
            "calls" => limits.with_calls(value),
            "server_calls" => limits.with_server_calls(value),
            unknown => return Err(format!("a server cannot be given {unknown:?}").into()),
        };
    }
    runtime(threads.parse()?)?.block_on(async {
        let server = Server::new().limits(limits).add(LoadedServer::new(Here::new()));
        let bound = server.bind("tcp://127.0.0.1:0").await?;
        println!("{}", bound.local_addr());
        Ok(bound.serve().await?)
    })
}
