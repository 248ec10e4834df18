//! What is counted: a small call on one side of a connection, or in process.

use std::{error::Error, future::poll_fn, task::Poll};

use rpc::{Server, service};
use tokio::{
    runtime::Builder,
    task::{JoinSet, spawn},
};

use crate::canned::{Canned, Door};

/// The two numbers and their sum, as they are marshalled.
pub const A: &[u8] = &[0xce, 0x00, 0x0f, 0x42, 0x40];
/// The second.
pub const B: &[u8] = &[0xcd, 0x03, 0xe8];
/// Their sum.
pub const SUM: &[u8] = &[0xce, 0x00, 0x0f, 0x46, 0x28];

/// So many calls come first, until memory, ids and averages are what they stay.
pub const WARM_UP: u64 = 6_400;

/// In flight where there are many.
const MANY: u64 = 64;

/// Arithmetic, counted.
#[service]
pub trait Arithmetic {
    /// The sum of two integers, wrapping around.
    async fn add(&self, a: i64, b: i64) -> i64;
    /// The same, but it is not ready at once.
    async fn add_later(&self, a: i64, b: i64) -> i64;
}

struct Wrapping;

impl Arithmetic for Wrapping {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    async fn add_later(&self, a: i64, b: i64) -> i64 {
        let mut again = true;
        poll_fn(|cx| {
            if std::mem::take(&mut again) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        a.wrapping_add(b)
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A client with one call after another.
    ClientOne,
    /// A client with 64 callers.
    ClientMany,
    /// A server that gets one call after another.
    ServerOne,
    /// A server that gets 64 calls at a time.
    ServerMany,
    /// The same with a handler that waits once, so that it moves to a task of its own.
    ServerTasks,
    /// One call after another without a connection.
    InProcess,
}

/// All modes, with the names by which they are asked for and what they are.
pub const MODES: [(&str, Mode, &str); 6] = [
    ("client-1", Mode::ClientOne, "client, one call at a time"),
    ("client-64", Mode::ClientMany, "client, 64 in flight"),
    ("server-1", Mode::ServerOne, "server, one call at a time"),
    ("server-64", Mode::ServerMany, "server, 64 at a time"),
    ("server-64-tasks", Mode::ServerTasks, "server, 64 at a time, handlers not ready at once"),
    ("in-process", Mode::InProcess, "in process"),
];

/// Makes so many calls, after those that warm it up.
pub fn run(mode: Mode, calls: u64) -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let subject = runtime.block_on(Subject::new(mode))?;
    runtime.block_on(subject.make(WARM_UP))?;
    runtime.block_on(subject.make(calls))
}

enum Subject {
    Caller(ArithmeticClient),
    Callers(ArithmeticClient),
    Server(Canned),
}

impl Subject {
    async fn new(mode: Mode) -> Result<Self, Box<dyn Error>> {
        Ok(match mode {
            Mode::ClientOne => Subject::Caller(ArithmeticClient::connect(Canned::server()).await?),
            Mode::ClientMany => Subject::Callers(ArithmeticClient::connect(Canned::server()).await?),
            Mode::ServerOne => Subject::serve("Arithmetic.add", 1).await?,
            Mode::ServerMany => Subject::serve("Arithmetic.add", MANY).await?,
            Mode::ServerTasks => Subject::serve("Arithmetic.add_later", MANY).await?,
            Mode::InProcess => Subject::Caller(ArithmeticClient::in_process(ArithmeticServer::new(Wrapping))),
        })
    }

    async fn serve(method: &'static str, batch: u64) -> Result<Self, Box<dyn Error>> {
        let canned = Canned::client(method, batch);
        let server = Server::new().add(ArithmeticServer::new(Wrapping));
        spawn(server.bind(Door(Some(canned.clone()))).await?.serve());
        Ok(Subject::Server(canned))
    }

    async fn make(&self, calls: u64) -> Result<(), Box<dyn Error>> {
        match self {
            Subject::Caller(client) => call(client, calls).await?,
            Subject::Callers(client) => {
                let mut callers = JoinSet::new();
                for _ in 0..MANY {
                    let client = client.clone();
                    callers.spawn(async move { call(&client, calls / MANY).await });
                }
                while let Some(ended) = callers.join_next().await {
                    ended??;
                }
            }
            Subject::Server(canned) => canned.call(calls).await?,
        }
        Ok(())
    }
}

async fn call(client: &ArithmeticClient, calls: u64) -> Result<(), String> {
    for _ in 0..calls {
        match client.add(1_000_000, 1_000).await {
            Ok(1_001_000) => {}
            Ok(wrong) => return Err(format!("a wrong sum: {wrong}")),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}
