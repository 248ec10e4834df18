//! The attacker: bytes that the protocol does not mean, on as many connections as it is told. One that the server ends
//! is begun anew.

use std::io::stdin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::super::Result;
use super::super::server::runtime;
use super::super::wire;

/// What all connections have done.
struct Attack {
    case: u64,
    address: String,
    /// In bytes a second; 0 is as many as go.
    rate: u64,
    since: Instant,
    begun: AtomicU64,
    sent: AtomicU64,
}

/// Attacks until it is told to stop, then says how many connections it has begun, how many bytes it has sent, and in how
/// many milliseconds.
pub(crate) fn attack(arguments: &[&str]) -> Result<()> {
    let [case, address, connections, rate] = arguments else {
        return Err("a case, an address, and numbers of connections and bytes a second".into());
    };
    let attack: &'static Attack = Box::leak(Box::new(Attack {
        case: case.parse()?,
        address: address.trim_start_matches("tcp://").to_owned(),
        rate: rate.parse()?,
        since: Instant::now(),
        begun: AtomicU64::new(0),
        sent: AtomicU64::new(0),
    }));
    let connections: u64 = connections.parse()?;
    thread::spawn(move || {
        let _ = stdin().lines().next();
        let [begun, sent] = [&attack.begun, &attack.sent].map(|count| count.load(Ordering::Relaxed));
        println!("{begun} {sent} {}", attack.since.elapsed().as_millis());
        std::process::exit(0);
    });
    runtime(1)?.block_on(async {
        let mut first = Vec::new();
        for _ in 0..connections {
            first.push(TcpStream::connect(&attack.address).await?);
            attack.begun.fetch_add(1, Ordering::Relaxed);
        }
        // All at once.
        first.into_iter().for_each(|stream| drop(tokio::spawn(attack.persist(stream))));
        println!("begun");
        std::future::pending().await
    })
}

/// Says where it listens, reads all that comes and does nothing about it.
pub(crate) fn sink(_: &[&str]) -> Result<()> {
    runtime(2)?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("tcp://{}", listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 * 1024];
                while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
            });
        }
    })
}

/// A method that there is, and one that there is not.
const SEVENS: &str = "Loaded.sevens";
const HOLD: &str = "Loaded.hold";
const LENGTH: &str = "Loaded.length";
const NOTHING: &str = "Loaded.nothing";

const LARGE: usize = 4 << 20;

/// So many values of 416 bytes are just below the memory that those of a message may take.
const ALLOWED: usize = 40_000;

impl Attack {
    /// One connection after the other.
    async fn persist(&self, first: TcpStream) {
        let mut next = Some(first);
        loop {
            let stream = match next.take() {
                Some(stream) => stream,
                None => match TcpStream::connect(&self.address).await {
                    Ok(stream) => {
                        self.begun.fetch_add(1, Ordering::Relaxed);
                        stream
                    }
                    // There are no more ports for now, or the server does not take it.
                    Err(_) => {
                        sleep(Duration::from_millis(10)).await;
                        continue;
                    }
                },
            };
            // However the server ends it.
            let _ = self.be_hostile(stream).await;
        }
    }

    async fn be_hostile(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let hello = wire::hello_with(1, 1, &[], &[("frame_bytes", 8 << 20), ("calls", 1_024)]);
        let call = |id, method, arguments: &[u8]| wire::framed(&wire::request(id, method, arguments));
        match self.case {
            1 => read_all(&mut stream).await,
            2 => {
                for byte in hello {
                    self.send(&mut stream, &[byte]).await?;
                    sleep(Duration::from_secs(1)).await;
                }
                Ok(())
            }
            21 => {
                self.send(&mut stream, &hello).await?;
                self.send(&mut stream, &[&(LARGE as u32).to_be_bytes()[..], &[0x94]].concat()).await?;
                read_all(&mut stream).await
            }
            37 | 90 => {
                self.send(&mut stream, &hello).await?;
                let elements = if self.case == 37 { LARGE - 64 } else { ALLOWED };
                let list = [&[0xdd][..], &(elements as u32).to_be_bytes()].concat();
                let maps = [0x80; 64 * 1024];
                let (mut recv, mut send) = stream.split();
                let send = async {
                    for id in 1.. {
                        let head = wire::request(id, LENGTH, &wire::array(&[&list]));
                        let length = ((head.len() + elements) as u32).to_be_bytes();
                        self.send(&mut send, &[&length, &head[..]].concat()).await?;
                        let mut rest = elements;
                        while rest > 0 {
                            let piece = rest.min(maps.len());
                            self.send(&mut send, &maps[..piece]).await?;
                            rest -= piece;
                        }
                    }
                    Ok(())
                };
                until_either(read_all(&mut recv), send).await
            }
            84 => {
                self.send(&mut stream, &hello).await?;
                let calls = (1..=16).map(|id| call(id, SEVENS, &wire::array(&[&wire::uint(LARGE as u64)])));
                self.send(&mut stream, &calls.collect::<Vec<_>>().concat()).await?;
                std::future::pending().await
            }
            85 => {
                self.send(&mut stream, &hello).await?;
                let (mut recv, mut send) = stream.split();
                let send = async {
                    let arguments = wire::array(&[&[1], &[2]]);
                    for first in (1..).step_by(50) {
                        let calls = (first..first + 50)
                            .map(|id| [call(id, HOLD, &arguments), wire::framed(&wire::cancel(id))].concat());
                        self.send(&mut send, &calls.collect::<Vec<_>>().concat()).await?;
                    }
                    Ok(())
                };
                until_either(read_all(&mut recv), send).await
            }
            86 => {
                self.send(&mut stream, &hello).await?;
                let calls: Vec<u8> = (1..=500).flat_map(|id| call(id, NOTHING, &[0x90])).collect();
                loop {
                    self.send(&mut stream, &calls).await?;
                }
            }
            _ => std::future::pending().await,
        }
    }

    /// Sends, no faster than the rate.
    async fn send(&self, stream: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) -> std::io::Result<()> {
        let sent = self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if self.rate > 0 {
            let due = self.since + Duration::from_secs_f64(sent as f64 / self.rate as f64);
            tokio::time::sleep_until(due.into()).await;
        }
        stream.write_all(bytes).await
    }
}

/// Reads and forgets until nothing more comes.
async fn read_all(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<()> {
    let mut bytes = [0; 4 * 1024];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}

/// What ends first ends it.
async fn until_either<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    tokio::select! {
        ended = one => ended,
        ended = other => ended,
    }
}
