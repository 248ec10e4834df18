//! Whoever wishes a server ill, and knows its protocol: connections without end, noise, halves of everything, calls that are
//! cancelled at once, replies that are never read.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::network::connect;
use crate::options::{Failure, Options};
use crate::random::Random;

/// So many connections at a time.
const CONNECTIONS: usize = 64;

/// No connection lasts longer: a server that is stopped, or has had enough, may not read what is written to it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Magic, and a hello that speaks version 1, without features and with the usual limits.
const HELLO: &[u8] = b"\xc1RPC\x00\x00\x00\x06\x95\x0a\x01\x01\x90\x80";

/// Floods an address for so many seconds.
///
/// # Errors
/// The system gives no threads.
pub(crate) fn flood(mut options: Options) -> Result<(), Failure> {
    let address: SocketAddr = options.need("address")?;
    let seconds: u64 = options.need("seconds")?;
    let mut random = Random::new(options.need("seed")?);
    options.finish()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let mut random = Random::new(random.next());
            connections.spawn(async move {
                while Instant::now() < end {
                    // Whatever the server does about it is its right; that it closes the connection is the usual end.
                    let _ = tokio::time::timeout(PATIENCE, attack(address, &mut random)).await;
                    tokio::time::sleep(random.millis(0..20)).await;
                }
            });
        }
        while connections.join_next().await.is_some() {}
        Ok(())
    })
}

/// One connection that does something that no friend does.
async fn attack(address: SocketAddr, random: &mut Random) -> io::Result<()> {
    let mut stream = connect(address).await?;
    match random.between(0..10) {
        // Nothing at all.
        0 => {}
        1 => stream.write_all(&noise(random, 4096)).await?,
        2 => {
            let part = random.index(HELLO.len());
            stream.write_all(&HELLO[..part]).await?;
            linger(random).await;
        }
        3 => {
            open(&mut stream).await?;
            let mut half = frame(&request(1, 60_000));
            half.truncate(1 + random.index(half.len() - 1));
            stream.write_all(&half).await?;
            linger(random).await;
        }
        4 => {
            open(&mut stream).await?;
            stream.write_all(&frame(&noise(random, 512))).await?;
            drain(&mut stream, random).await?;
        }
        5 => {
            open(&mut stream).await?;
            // A length that nobody takes, or that takes for ever.
            let length = if random.one_in(2) { u32::MAX } else { 64 * 1024 };
            stream.write_all(&length.to_be_bytes()).await?;
            stream.write_all(&noise(random, 4096)).await?;
            linger(random).await;
        }
        6 | 7 => {
            open(&mut stream).await?;
            let mut calls = Vec::new();
            for id in 1..2_000 {
                calls.extend(frame(&request(id, 60_000)));
                calls.extend(frame(&cancel(id)));
            }
            stream.write_all(&calls).await?;
            drain(&mut stream, random).await?;
        }
        8 => {
            open(&mut stream).await?;
            // More than may run, and answers to all of them that nobody reads.
            let calls: Vec<u8> = (1..5_000).flat_map(|id| frame(&request(id, id % 50))).collect();
            stream.write_all(&calls).await?;
            linger(random).await;
        }
        _ => {
            open(&mut stream).await?;
            for id in 1..200 {
                let mut message = request(id, 10);
                let place = random.index(message.len());
                message[place] ^= 1 << random.between(0..8);
                stream.write_all(&frame(&message)).await?;
            }
            drain(&mut stream, random).await?;
        }
    }
    if random.one_in(2) {
        stream.set_zero_linger()?;
    }
    Ok(())
}

/// Says hello as a friend does.
async fn open(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(HELLO).await?;
    let mut head = [0; 8];
    stream.read_exact(&mut head).await?;
    let [_, _, _, _, length @ ..] = head;
    let mut hello = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut hello).await.map(drop)
}

async fn linger(random: &mut Random) {
    tokio::time::sleep(random.millis(0..300)).await;
}

/// Reads for a while.
async fn drain(stream: &mut TcpStream, random: &mut Random) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let reading = async {
        while stream.read(&mut buffer).await? > 0 {}
        Ok(())
    };
    tokio::time::timeout(random.millis(0..300), reading).await.unwrap_or(Ok(()))
}

fn noise(random: &mut Random, longest: usize) -> Vec<u8> {
    (0..1 + random.index(longest)).map(|_| random.next() as u8).collect()
}

/// `[0, id, "Work.linger", [milliseconds]]`
fn request(id: u16, milliseconds: u16) -> Vec<u8> {
    let mut message = vec![0x94, 0x00];
    message.extend(uint(id));
    message.extend(b"\xabWork.linger\x91");
    message.extend(uint(milliseconds));
    message
}

/// `[6, id]`
fn cancel(id: u16) -> Vec<u8> {
    let mut message = vec![0x92, 0x06];
    message.extend(uint(id));
    message
}

fn uint(value: u16) -> [u8; 3] {
    let [high, low] = value.to_be_bytes();
    [0xcd, high, low]
}

fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = (message.len() as u32).to_be_bytes().to_vec();
    frame.extend(message);
    frame
}
