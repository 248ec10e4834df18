//! The process that calls.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rpc::{Call, CallError, Executed, Streaming};
use tokio::task::JoinSet;

use super::caller::Caller;
use super::customer::Respondent;
use super::items::{Disorder, InOrder, Item, Items, consumer_pause};
use super::payload::{Hash, Part, payload};
use super::plan::Plan;
use super::server::runtime;
use super::stdin::{self, State};
use super::{CustomerServer, Refusal, Sabotage, Temper, Ticket, WorkClient};
use crate::heap::Floor;
use crate::ledger::{Attempt, Ending, Ledger, Method};
use crate::options::{Failure, Options};
use crate::random::Random;

/// So many calls are under way at once on each connection, bursts apart.
const CALLERS: u64 = 32;

/// A call is tried so often at most.
const ATTEMPTS: u32 = 4;

/// A burst is so many calls at once, and comes once in so many calls. In every other one all of them are large, so that
/// memory is soon as full as it ever gets.
const BURST: u64 = 40;
const BURST_ONCE_IN: u64 = 2_000;

/// Calls that are late are made up for, but a client that was stopped does not come back with a flood.
const MOST_LATE: Duration = Duration::from_secs(1);

/// How long the last call may take, when the network is in order again and all servers are up.
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);

/// Says its state, and when it is told to `begin` calls until it is told to `finish`, which it answers when all its calls have ended and each server has answered once
/// more; answers `state`, and ends with its input.
///
/// # Errors
/// It cannot write its ledger, or a server does not answer in the end.
pub(crate) fn call(mut options: Options) -> Result<(), Failure> {
    let addresses: String = options.need("addresses")?;
    let number: u32 = options.need("number")?;
    let ledger: PathBuf = options.need("ledger")?;
    let threads: usize = options.need("threads")?;
    let connections: usize = options.need("connections")?;
    let rate: u64 = options.need("rate")?;
    let largest: u64 = options.need("largest")?;
    let temper: Temper = options.need("limits")?;
    let seed: u64 = options.need("seed")?;
    let sabotage: Option<Sabotage> = options.take("sabotage")?;
    options.finish()?;

    let ledger = Arc::new(Ledger::create(ledger)?);
    runtime(threads)?.block_on(async {
        let floor = Floor::watch();
        println!("{}", State::now(&floor));
        let mut questions = stdin::lines();
        // Until it may begin there is nothing but the process, which is what it is compared with in the end.
        match questions.recv().await.as_deref() {
            Some("begin") => {}
            other => return Err(format!("a client cannot {other:?} before it begins").into()),
        }
        let connect = |address: &str| {
            let connecting = WorkClient::connect(address).limits(temper.limits());
            connecting.serve(CustomerServer::new(Respondent { ledger: ledger.clone() })).lazy()
        };
        let addresses = addresses.split(',').flat_map(|address| std::iter::repeat_n(address, connections));
        let servers = addresses.map(connect).collect::<Result<Vec<_>, _>>()?;
        let tasks = CALLERS * servers.len() as u64;
        let client = Arc::new(Client {
            caller: Caller::new(number, ledger.clone()),
            servers,
            largest,
            sabotage,
            finishing: AtomicBool::new(false),
        });
        let mut random = Random::new(seed);
        let mut callers = JoinSet::new();
        for _ in 0..tasks {
            let (client, random) = (client.clone(), Random::new(random.next()));
            callers.spawn(client.keep_calling(random, Duration::from_micros(1_000_000 * tasks / rate)));
        }
        let mut client = Some(client);
        while let Some(question) = questions.recv().await {
            match question.as_str() {
                "state" => println!("{}", State::now(&floor)),
                "finish" => {
                    let client = client.take().ok_or("it has finished")?;
                    client.finishing.store(true, Ordering::Relaxed);
                    while let Some(ended) = callers.join_next().await {
                        ended?;
                    }
                    client.try_all().await?;
                    drop(client);
                    println!("finished");
                }
                unknown => return Err(format!("a client cannot {unknown:?}").into()),
            }
        }
        Ok(())
    })
}

struct Client {
    caller: Caller,
    servers: Vec<WorkClient>,
    /// How many bytes arguments and replies have at most.
    largest: u64,
    sabotage: Option<Sabotage>,
    finishing: AtomicBool,
}

impl Client {
    /// One call after the other, one in each `interval` on average.
    async fn keep_calling(self: Arc<Self>, mut random: Random, interval: Duration) {
        let mut next = Instant::now();
        while !self.finishing.load(Ordering::Relaxed) {
            next += interval.mul_f64(random.between(0..2_000) as f64 / 1e3);
            next = next.max(Instant::now().checked_sub(MOST_LATE).unwrap_or(next));
            tokio::time::sleep_until(next.into()).await;
            if random.one_in(BURST_ONCE_IN) {
                let draw = if random.one_in(2) { Plan::draw } else { Plan::draw_large };
                let mut burst = JoinSet::new();
                for _ in 0..BURST {
                    let (client, mut random) = (self.clone(), Random::new(random.next()));
                    let plan = draw(&mut random, self.largest);
                    burst.spawn(async move { client.call(&plan, &mut random).await });
                }
                while burst.join_next().await.is_some() {}
            } else {
                let plan = Plan::draw(&mut random, self.largest);
                self.call(&plan, &mut random).await;
            }
        }
    }

    /// One call, tried again where that is safe, and at whichever server it may be.
    async fn call(&self, plan: &Plan, random: &mut Random) {
        let mut attempt = self.caller.next();
        loop {
            // A clone of its own, as each user of a channel has.
            let server = self.servers[random.index(self.servers.len())].clone();
            let retry = self.attempt(&server, plan, attempt).await;
            if !retry || attempt.number == ATTEMPTS || self.finishing.load(Ordering::Relaxed) {
                return;
            }
            attempt.number += 1;
            tokio::time::sleep(random.millis(1..50)).await;
        }
    }

    /// Makes an attempt, and says whether another one is safe and may end differently.
    async fn attempt(&self, server: &WorkClient, plan: &Plan, attempt: Attempt) -> bool {
        let ticket = plan.ticket(attempt);
        let data = payload(attempt, Part::Arguments, plan.argument_bytes);
        let open = self.caller.intend(attempt, plan.method, Hash::of(&data), expected(plan.method, &ticket));
        let made = make(server, plan, ticket, data);
        let ended = match plan.dropped_after {
            None => Some(made.await),
            Some(patience) => tokio::time::timeout(patience, made).await.ok(),
        };
        let (ending, retry) = match ended {
            None => (Ending::Dropped, false),
            Some(Ok(hash)) => (Ending::Ok(hash), false),
            Some(Err(Outcome::Refused)) => (Ending::App, false),
            Some(Err(Outcome::Disordered)) => (Ending::Disordered, false),
            Some(Err(Outcome::Failed(error))) => {
                let reckless =
                    self.sabotage == Some(Sabotage::RetryMaybe) && error.executed() == Executed::Maybe;
                (Ending::from(&error), error.is_retryable() || reckless)
            }
        };
        if self.sabotage == Some(Sabotage::LoseOutcome) && attempt.sequence().is_multiple_of(50) {
            std::mem::forget(open);
        } else {
            open.end(ending);
        }
        retry
    }

    /// Calls each server once more.
    ///
    /// # Errors
    /// One does not answer in time.
    async fn try_all(&self) -> Result<(), Failure> {
        for (index, server) in self.servers.iter().enumerate() {
            let attempt = self.caller.next();
            let ticket = Ticket { call: attempt.call, attempt: 1, reply_bytes: 32, items: 0, pause: 0 };
            let data = payload(attempt, Part::Arguments, 32);
            let expected = expected(Method::Plain, &ticket);
            let open = self.caller.intend(attempt, Method::Plain, Hash::of(&data), expected);
            match server.plain(ticket, data).timeout(HEALTHY_WITHIN).await {
                Ok(reply) => open.end(Ending::Ok(Hash::of(&reply))),
                Err(error) => {
                    open.end(Ending::from(&error));
                    return Err(format!("server {index} does not recover: {error:?}").into());
                }
            }
        }
        Ok(())
    }
}

/// How an attempt ended without its value.
enum Outcome {
    Refused,
    Disordered,
    Failed(rpc::Error),
}

impl From<rpc::Error> for Outcome {
    fn from(error: rpc::Error) -> Self {
        Outcome::Failed(error)
    }
}

impl From<CallError<Refusal>> for Outcome {
    fn from(error: CallError<Refusal>) -> Self {
        match error {
            CallError::App(Refusal) => Outcome::Refused,
            CallError::Rpc(error) => Outcome::Failed(error),
        }
    }
}

impl From<Disorder> for Outcome {
    fn from(Disorder: Disorder) -> Self {
        Outcome::Disordered
    }
}

/// The hash of what an attempt gives if it ends well.
fn expected(method: Method, ticket: &Ticket) -> u64 {
    match method {
        Method::Note => Hash::of(&[]),
        Method::Download | Method::Converse => Items::hash(ticket),
        Method::Upload => Hash::of(&Items::hash(ticket).to_le_bytes()),
        _ => Hash::of(&payload(ticket.attempt(), Part::Reply, ticket.reply_bytes)),
    }
}

/// Makes the call of a plan, and gives the hash of its reply.
async fn make(server: &WorkClient, plan: &Plan, ticket: Ticket, data: Bytes) -> Result<u64, Outcome> {
    let reply = match plan.method {
        Method::Plain => plan.set(server.plain(ticket, data)).await?,
        Method::Repeatable => plan.set(server.repeatable(ticket, data)).await?,
        Method::Refuse => plan.set(server.refuse(ticket, &data)).await?,
        Method::Slow => plan.set(server.slow(ticket, data)).await?,
        Method::Finish => plan.set(server.finish(ticket, data)).await?,
        Method::Note => {
            plan.set(server.note(ticket, data)).await?;
            Bytes::new()
        }
        Method::Download => return consume(plan.set(server.download(ticket, data)).await?, &ticket).await,
        Method::Upload => plan.set(server.upload(ticket, Items::new(ticket))).await?,
        Method::Converse => {
            return consume(plan.set(server.converse(ticket, Items::new(ticket))).await?, &ticket).await;
        }
        Method::Consult => plan.set(server.consult(ticket, data)).await?,
        Method::Answer => unreachable!("a client is asked that, and does not ask"),
    };
    Ok(Hash::of(&reply))
}

/// Takes all items of a stream.
async fn consume(mut items: Streaming<Item>, ticket: &Ticket) -> Result<u64, Outcome> {
    let mut order = InOrder::new(ticket);
    while let Some(item) = items.next().await {
        let item = item?;
        order.take(&item)?;
        if let Some(pause) = consumer_pause(ticket, &item) {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(order.whole()?)
}

impl Plan {
    /// The options of the call.
    fn set<T: rpc::Returned, E: rpc::MethodError>(&self, mut call: Call<T, E>) -> Call<T, E> {
        if let Some(timeout) = self.timeout {
            call = call.timeout(timeout);
        }
        if self.waits_for_ready {
            call = call.wait_for_ready();
        }
        call
    }
}
