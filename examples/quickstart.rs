//! The first five minutes: one trait, a server and a client in two processes.
//!
//! ```text
//! cargo run --example quickstart          # both: starts the server as a process of its own and calls it
//! cargo run --example quickstart serve    # only the server, at tcp://127.0.0.1:9000
//! ```

use std::io::{BufRead, BufReader};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{self, Poll};
use std::time::{Duration, SystemTime};

use rpc::{CallError, Code, Context, Stream, Streaming, Timestamp, service};
use serde::{Deserialize, Serialize};

/// Integer arithmetic over the network.
#[service]
pub trait Calculator {
    /// The sum of two integers.
    async fn add(&self, a: i64, b: i64) -> i64;

    /// The quotient of two integers. Fails as its own type, not as a failed call.
    #[rpc(idempotent)]
    async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, MathError>;

    /// How often a byte occurs in data that is borrowed from the request.
    async fn count(&self, name: &str, data: &[u8], byte: u8) -> Count;

    /// The moment that is so many seconds after another.
    async fn later(&self, than: Timestamp, seconds: u32) -> Timestamp;

    /// Each byte of data combined with another one.
    async fn mask(&self, data: &[u8], with: u8) -> Vec<u8>;

    /// The primes up to a limit, as they are found.
    async fn primes(&self, limit: u64) -> impl Stream<Item = u64>;

    /// The sum of numbers that come one by one.
    async fn sum(&self, numbers: Streaming<i64>) -> Result<i64, rpc::Error>;

    /// The mean of each sample and those before it, as they come.
    async fn running_mean(&self, samples: Streaming<f64>) -> impl Stream<Item = f64>;

    /// Thinks for a while before it answers.
    async fn ponder(&self, seconds: u64) -> String;

    /// Writes a line to the server's log. Nobody waits for a reply.
    #[rpc(oneway)]
    async fn log(&self, line: String);
}

/// What can be wrong with arithmetic.
#[derive(Debug, Serialize, Deserialize)]
pub enum MathError {
    /// There is no such number.
    DivisionByZero,
    /// The result does not fit.
    Overflow,
}

/// How often something occurs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Count {
    /// In what it was counted.
    pub name: String,
    /// How often it occurs.
    pub times: u64,
}

/// The server's side: an ordinary impl with ordinary async fns.
struct Exact;

impl Calculator for Exact {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, MathError> {
        match divisor {
            0 => Err(MathError::DivisionByZero),
            _ => dividend.checked_div(divisor).ok_or(MathError::Overflow),
        }
    }

    async fn count(&self, name: &str, data: &[u8], byte: u8) -> Count {
        let times = data.iter().filter(|candidate| **candidate == byte).count() as u64;
        Count { name: name.to_owned(), times }
    }

    async fn later(&self, than: Timestamp, seconds: u32) -> Timestamp {
        SystemTime::try_from(than)
            .ok()
            .and_then(|than| than.checked_add(Duration::from_secs(seconds.into())))
            .map(Timestamp::from)
            .unwrap_or(than)
    }

    async fn mask(&self, data: &[u8], with: u8) -> Vec<u8> {
        data.iter().map(|byte| byte ^ with).collect()
    }

    async fn primes(&self, limit: u64) -> impl Stream<Item = u64> {
        let is_prime =
            |number: &u64| !(2..).take_while(|d| d * d <= *number).any(|d| number.is_multiple_of(d));
        rpc::iter((2..=limit).filter(is_prime))
    }

    async fn sum(&self, mut numbers: Streaming<i64>) -> Result<i64, rpc::Error> {
        let mut sum = 0i64;
        // Only a stream that ends without an error is complete.
        while let Some(number) = numbers.next().await {
            sum = sum.wrapping_add(number?);
        }
        Ok(sum)
    }

    async fn running_mean(&self, samples: Streaming<f64>) -> impl Stream<Item = f64> {
        RunningMean { samples, sum: 0.0, count: 0.0 }
    }

    async fn ponder(&self, seconds: u64) -> String {
        let mut thought = Thought { finished: false };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        thought.finished = true;
        "forty-two".to_owned()
    }

    async fn log(&self, line: String) {
        let tenant = Context::current().metadata("tenant").unwrap_or_else(|| "nobody".to_owned());
        println!("  server: {tenant} says {line:?}");
    }
}

/// A stream of one's own, out of another.
struct RunningMean {
    samples: Streaming<f64>,
    sum: f64,
    count: f64,
}

impl Stream for RunningMean {
    type Item = f64;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<f64>> {
        Pin::new(&mut self.samples).poll_next(cx).map(|sample| {
            self.sum += sample?.ok()?;
            self.count += 1.0;
            Some(self.sum / self.count)
        })
    }
}

/// Says so when its handler is dropped before the end, because the caller has gone.
struct Thought {
    finished: bool,
}

impl Drop for Thought {
    fn drop(&mut self) {
        if !self.finished {
            println!("  server: nobody waits any more, so I stop pondering");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve("tcp://127.0.0.1:9000").await,
        Some("serve-anywhere") => serve("tcp://127.0.0.1:0").await,
        _ => {
            let (_server, address) = start_server()?;
            call(&address).await
        }
    }
}

async fn serve(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let bound = rpc::Server::new().add(CalculatorServer::new(Exact)).bind(address).await?;
    println!("serving at {}", bound.local_addr());
    bound.serve().await?;
    Ok(())
}

async fn call(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    println!("A server runs in another process, at {address}. This one calls it.\n");
    let calculator = CalculatorClient::connect(address).await?;

    println!("2 + 3 = {}", calculator.add(2, 3).await?);

    match calculator.divide(1, 0).await {
        Ok(quotient) => println!("1 / 0 = {quotient}?!"),
        Err(CallError::App(MathError::DivisionByZero)) => {
            println!("1 / 0: the procedure ran and said no, with its own error type");
        }
        Err(error) => println!("1 / 0: {error:?}"),
    }

    let count = calculator.count("a sentence", b"she sells sea shells", b's').await?;
    println!("the letter s occurs {} times in {}", count.times, count.name);

    let now = Timestamp::now();
    println!("it is {now}; an hour later it will be {}", calculator.later(now, 3600).await?);

    calculator.log("hello".to_owned()).metadata("tenant", "acme").await?;
    println!("a one-way call went out; nobody waits for a reply");

    let mut primes = calculator.primes(u64::MAX).await?;
    print!("primes without an end:");
    while let Some(prime) = primes.next().await {
        let prime = prime?;
        print!(" {prime}");
        if prime > 30 {
            break;
        }
    }
    drop(primes);
    println!(" ... and that is enough, which stops the server");

    println!("1 + ... + 100000 = {}, one by one", calculator.sum(rpc::iter(1..=100_000)).await?);
    let mut means = calculator.running_mean(rpc::iter([2.0, 4.0, 9.0])).await?;
    while let Some(mean) = means.next().await {
        println!("the mean so far is {}", mean?);
    }

    let error = match calculator.ponder(60).timeout(Duration::from_millis(200)).await {
        Ok(answer) => return Err(format!("an answer within 200 ms: {answer}").into()),
        Err(error) => error,
    };
    assert_eq!(error.code(), Code::DeadlineExceeded);
    println!("200 ms were not enough to ponder: {error} (did it run? {:?})", error.executed());

    tokio::select! {
        answer = calculator.ponder(60) => println!("an answer already: {answer:?}"),
        () = tokio::time::sleep(Duration::from_millis(100)) => {
            println!("I lost interest after 100 ms and dropped the call, which cancels it on the server");
        }
    }

    let (a, b, c) = tokio::join!(calculator.add(1, 1), calculator.add(2, 2), calculator.add(3, 3));
    println!("three calls at once on one connection: {}, {}, {}", a?, b?, c?);
    Ok(())
}

/// Starts this program again as the server, and waits until it says where it listens.
fn start_server() -> Result<(KillOnDrop, String), Box<dyn std::error::Error>> {
    let mut server =
        Command::new(std::env::current_exe()?).arg("serve-anywhere").stdout(Stdio::piped()).spawn()?;
    let output = server.stdout.take().ok_or("the server has no output")?;
    let server = KillOnDrop(server);
    let mut lines = BufReader::new(output).lines();
    let first = lines.next().ok_or("the server ended before it said where it listens")??;
    let address = first.strip_prefix("serving at ").ok_or("the server said something else")?.to_owned();
    // What it says from now on is shown here.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| println!("{line}")));
    Ok((server, address))
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
