//! Streams: from the server, to the server, both ways at once, stopped halfway, and a large message beside them.
//!
//! ```text
//! cargo run --example streams          # starts the server as a process of its own and calls it
//! cargo run --example streams serve    # only the server, at tcp://127.0.0.1:9000
//! ```

use std::io::{BufRead, BufReader};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};

use rpc::{CallError, Stream, Streaming, iter, service};
use serde::{Deserialize, Serialize};

/// A weather station.
#[service]
pub trait Station {
    /// Temperatures as they are measured, for as long as anybody wants them.
    async fn temperatures(&self) -> impl Stream<Item = f64>;

    /// What was measured on a day of the year, hour by hour; on some days the sensor failed.
    async fn history(&self, day: u32) -> Result<impl Stream<Item = Result<f64, SensorFailed>>, NoSuchDay>;

    /// Takes what another station has measured, and says what it amounts to.
    async fn record(&self, name: &str, samples: Streaming<f64>) -> Result<Summary, rpc::Error>;

    /// The mean of each sample and the one before it.
    async fn smooth(&self, samples: Streaming<f64>) -> impl Stream<Item = f64>;

    /// A picture of the sky.
    async fn picture(&self) -> Vec<u8>;
}

/// The sensor had no value.
#[derive(Debug, Serialize, Deserialize)]
pub struct SensorFailed {
    /// Since this hour of the day.
    pub hour: u32,
}

/// There is no such day in a year.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoSuchDay;

/// What samples amount to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Who measured them.
    pub name: String,
    /// How many there were.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
}

/// The server's side.
struct OnTheRoof;

impl Station for OnTheRoof {
    async fn temperatures(&self) -> impl Stream<Item = f64> {
        let sensor = Sensor;
        iter((0..).map(move |second| sensor.measure(second)))
    }

    async fn history(&self, day: u32) -> Result<impl Stream<Item = Result<f64, SensorFailed>>, NoSuchDay> {
        if !(1..=366).contains(&day) {
            return Err(NoSuchDay);
        }
        let failure = if day == 13 { 2 } else { 24 };
        Ok(iter((0..24).map(move |hour| match hour {
            hour if hour >= failure => Err(SensorFailed { hour }),
            hour => Ok(10.0 + f64::from(hour) / 2.0),
        })))
    }

    async fn record(&self, name: &str, mut samples: Streaming<f64>) -> Result<Summary, rpc::Error> {
        let (mut count, mut sum) = (0, 0.0);
        // A stream that breaks off is no measurement.
        while let Some(sample) = samples.next().await {
            count += 1;
            sum += sample?;
        }
        Ok(Summary { name: name.to_owned(), count, mean: sum / count as f64 })
    }

    async fn smooth(&self, samples: Streaming<f64>) -> impl Stream<Item = f64> {
        Smooth { samples, last: None }
    }

    async fn picture(&self) -> Vec<u8> {
        vec![0xff; 16 << 20]
    }
}

struct Sensor;

impl Sensor {
    fn measure(&self, second: u32) -> f64 {
        20.0 + f64::from(second % 10) / 10.0
    }
}

/// Dropped with the stream that measures.
impl Drop for Sensor {
    fn drop(&mut self) {
        println!("  server: nobody wants temperatures any more, so I stop measuring");
    }
}

struct Smooth {
    samples: Streaming<f64>,
    last: Option<f64>,
}

impl Stream for Smooth {
    type Item = f64;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<f64>> {
        Pin::new(&mut self.samples).poll_next(cx).map(|sample| {
            let sample = sample?.ok()?;
            let last = self.last.replace(sample).unwrap_or(sample);
            Some((last + sample) / 2.0)
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve("tcp://127.0.0.1:9000").await,
        Some("serve-anywhere") => serve("tcp://127.0.0.1:0").await,
        _ => {
            let (mut server, address) = start_server()?;
            call(&address, &mut server).await
        }
    }
}

async fn serve(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let bound = rpc::Server::new().add(StationServer::new(OnTheRoof)).bind(address).await?;
    println!("serving at {}", bound.local_addr());
    bound.serve().await?;
    Ok(())
}

async fn call(address: &str, server: &mut Server) -> Result<(), Box<dyn std::error::Error>> {
    let station = StationClient::connect(address).await?;

    let mut temperatures = station.temperatures().await?;
    for _ in 0..3 {
        if let Some(temperature) = temperatures.next().await {
            println!("it has {} degrees", temperature?);
        }
    }
    // There would be more for ever; this stops them, over there.
    drop(temperatures);
    println!("{}", server.next_line()?);

    let mut history = station.history(13).await.map_err(|error| format!("{error:?}"))?;
    while let Some(temperature) = history.next().await {
        match temperature {
            Ok(temperature) => println!("on day 13 it had {temperature} degrees"),
            Err(CallError::App(SensorFailed { hour })) => {
                println!("then the sensor failed, at {hour} o'clock")
            }
            Err(CallError::Rpc(error)) => return Err(error.into()),
        }
    }
    if let Err(CallError::App(NoSuchDay)) = station.history(400).await {
        println!("there is no day 400, and no stream");
    }

    let summary = station.record("the barn", iter((0..100_000).map(f64::from))).await?;
    println!("{} sent {} samples, {} on average", summary.name, summary.count, summary.mean);

    let mut smooth = station.smooth(iter([10.0, 20.0, 40.0])).await?;
    while let Some(sample) = smooth.next().await {
        println!("smoothed: {}", sample?);
    }

    // 16 MiB come in pieces, and what is asked meanwhile need not wait for the last of them.
    let (picture, summary) = tokio::try_join!(station.picture(), station.record("the shed", iter([1.0])))?;
    println!("a picture of {} MiB, and {} sample from {}", picture.len() >> 20, summary.count, summary.name);
    Ok(())
}

/// The server's process, which is killed when this is dropped.
struct Server {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Server {
    fn next_line(&mut self) -> Result<String, Box<dyn std::error::Error>> {
        Ok(self.lines.next().ok_or("the server has ended")??)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts this program again as the server, and waits until it says where it listens.
fn start_server() -> Result<(Server, String), Box<dyn std::error::Error>> {
    let mut process =
        Command::new(std::env::current_exe()?).arg("serve-anywhere").stdout(Stdio::piped()).spawn()?;
    let output = process.stdout.take().ok_or("the server has no output")?;
    let mut server = Server { process, lines: BufReader::new(output).lines() };
    let first = server.next_line()?;
    let address = first.strip_prefix("serving at ").ok_or("the server said something else")?.to_owned();
    Ok((server, address))
}
