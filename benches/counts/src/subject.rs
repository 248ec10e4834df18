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
#[derive(Debug)]
pub struct Mode {
    /// By which it is asked for.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    side: Side,
}

/// Which side of a connection is counted.
#[derive(Debug)]
enum Side {
    /// A client with so many callers.
    Client(u64),
    /// A server that gets so many calls of a method at a time.
    Server(&'static str, u64),
    /// Both, without a connection.
    InProcess,
}

const ADD: &str = "Arithmetic.add";
const ADD_LATER: &str = "Arithmetic.add_later";

/// All that can be counted.
pub const MODES: [Mode; 6] = [
    Mode { name: "client-1", what: "client, one call at a time", side: Side::Client(1) },
    Mode { name: "client-64", what: "client, 64 in flight", side: Side::Client(64) },
    Mode { name: "server-1", what: "server, one call at a time", side: Side::Server(ADD, 1) },
    Mode { name: "server-64", what: "server, 64 at a time", side: Side::Server(ADD, 64) },
    Mode {
        name: "server-64-tasks",
        what: "server, 64 at a time, whose handlers are not ready at once",
        side: Side::Server(ADD_LATER, 64),
    },
    Mode { name: "in-process", what: "in process", side: Side::InProcess },
];

/// Makes so many calls, after those that warm it up.
pub fn run(mode: &Mode, calls: u64) -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let subject = runtime.block_on(Subject::new(&mode.side))?;
    runtime.block_on(subject.make(WARM_UP))?;
    runtime.block_on(subject.make(calls))
}

enum Subject {
    Client { client: ArithmeticClient, callers: u64 },
    Server(Canned),
}

impl Subject {
    async fn new(side: &Side) -> Result<Self, Box<dyn Error>> {
        Ok(match *side {
            Side::Client(callers) => {
                Subject::Client { client: ArithmeticClient::connect(Canned::server()).await?, callers }
            }
            Side::Server(method, batch) => {
                let canned = Canned::client(method, batch);
                let server = Server::new().add(ArithmeticServer::new(Wrapping));
                spawn(server.bind(Door(Some(canned.clone()))).await?.serve());
                Subject::Server(canned)
            }
            Side::InProcess => {
                let client = ArithmeticClient::in_process(ArithmeticServer::new(Wrapping));
                Subject::Client { client, callers: 1 }
            }
        })
    }

    async fn make(&self, calls: u64) -> Result<(), Box<dyn Error>> {
        match self {
            Subject::Client { client, callers: 1 } => call(client, calls).await?,
            Subject::Client { client, callers } => {
                let share = calls / callers;
                let mut tasks = JoinSet::new();
                for _ in 0..*callers {
                    let client = client.clone();
                    tasks.spawn(async move { call(&client, share).await });
                }
                while let Some(ended) = tasks.join_next().await {
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
