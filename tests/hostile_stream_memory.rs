//! What streams of an attacker cost in memory.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hostile::{Victim, wire};
use rpc::Limits;
use tokio::time::{Instant, timeout};

const CALLS: u64 = 16;
const WINDOW: usize = 64 * 1024;

/// Resident memory of this process, in bytes. Source: proc_pid_statm(5).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4_096
}

/// Writes all of this, letting the server work meanwhile.
async fn write(stream: &mut TcpStream, mut bytes: &[u8]) {
    let since = Instant::now();
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        assert!(since.elapsed() < Duration::from_secs(60), "the server does not read");
        tokio::task::yield_now().await;
    }
}

/// Reads until these bytes have come, and gives all that came before.
async fn read_until(stream: &mut TcpStream, last: &[u8]) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4_096]);
    let since = Instant::now();
    while !all.windows(last.len()).any(|window| window == last) {
        match stream.read(&mut buffer) {
            Ok(0) => panic!("closed after {all:02x?}"),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        assert!(since.elapsed() < Duration::from_secs(60), "the server does not answer");
        tokio::task::yield_now().await;
    }
    all
}

/// Opens all calls that it may, and sends the whole window of each of their streams, in messages of so many items of
/// a byte, and nothing more. Gives the connection, which stays open.
async fn fill(victim: &Victim, in_a_message: usize) -> TcpStream {
    let mut stream = TcpStream::connect(&victim.url["tcp://".len()..]).expect("connected");
    stream.set_nonblocking(true).expect("an option of every socket");
    write(&mut stream, &wire::hello_streams(1)).await;
    let arguments = wire::array(&[&wire::stream(1), &wire::stream(2)]);
    for id in 1..=CALLS {
        write(&mut stream, &wire::framed(&wire::open(id, "Target.neglect", 2, &arguments))).await;
        for number in 1..=2 {
            let message = wire::framed(&wire::items(id, number, &vec![vec![7]; in_a_message]));
            let batch = message.repeat(WINDOW / in_a_message / 64);
            for _ in 0..64 {
                write(&mut stream, &batch).await;
            }
        }
    }
    // Once this is answered, all before it has been taken.
    write(&mut stream, &wire::framed(&wire::ping(0x77))).await;
    read_until(&mut stream, &[0x92, 8, 0x77]).await;
    stream
}

#[test]
fn streams_that_nobody_takes_cost_their_windows_and_little_more() {
    // On one thread, and so from one heap.
    let limits = Limits::default().with_streams(CALLS as usize).with_stream_bytes(WINDOW);
    Victim::attacked_over_tcp(limits, async |victim| {
        let windows = 2 * CALLS as usize * WINDOW;
        // What a first connection and its calls leave in caches is no part of it.
        drop(fill(victim, WINDOW / 64).await);
        victim.is_at_rest().await;
        let before = resident();
        let mut most = 0;
        for round in 0..3 {
            // The window in one message, in some, in messages of a byte each.
            for in_a_message in [WINDOW / 64, 64, 1] {
                let stream = fill(victim, in_a_message).await;
                victim.ledger.running(CALLS as usize).await;
                let cost = resident().saturating_sub(before);
                assert!(cost < 3 * windows, "{cost} bytes for {windows}, {in_a_message} items in a message");
                victim.serves_neighbours().await;
                drop(stream);
                let gone = timeout(Duration::from_secs(2), victim.ledger.running(0)).await;
                gone.expect("handlers end with their connection");
                victim.is_at_rest().await;
            }
            // What one round has cost, the next one uses again.
            let now = resident();
            assert!(round == 0 || now <= most + windows, "{now} bytes after round {round}, {most} before");
            most = most.max(now);
        }
    });
}
