//! What an attack costs the process: memory and descriptors.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hostile::{Victim, wire};
use rpc::Limits;
use tokio::time::{Instant, sleep};

/// Virtual and resident memory of this process, in bytes. Source: proc_pid_statm(5).
fn memory() -> (usize, usize) {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let mut pages = statm.split(' ').map(|pages| pages.parse::<usize>().expect("a number"));
    let mut next = || pages.next().expect("statm has seven fields") * 4_096;
    (next(), next())
}

/// Connections that have said hello, as plain sockets: they hold no memory of this process.
async fn connections(victim: &Victim, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(&victim.url["tcp://".len()..]).expect("connected");
        stream.write_all(&wire::hello()).expect("written");
        stream.set_nonblocking(true).expect("an option of every socket");
        streams.push(stream);
    }
    for stream in &mut streams {
        read_some(stream).await;
    }
    streams
}

/// Reads what the server says next, letting it work meanwhile.
async fn read_some(stream: &mut TcpStream) -> usize {
    let mut buffer = [0; 256];
    let since = Instant::now();
    loop {
        match stream.read(&mut buffer) {
            Ok(count) => return count,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
        assert!(since.elapsed() < Duration::from_secs(30), "the server says nothing");
        tokio::task::yield_now().await;
    }
}

/// Lets the server take all that has been sent: the answer to a ping on another connection does not say so, but
/// memory that does not grow any more does.
async fn settled() -> (usize, usize) {
    let mut last = memory();
    for _ in 0..100 {
        sleep(Duration::from_millis(5)).await;
        let now = memory();
        if now == last {
            return now;
        }
        last = now;
    }
    last
}

#[test]
fn case_21_declared_lengths_cost_no_memory() {
    // On one thread, and so from one heap: those of other threads come in steps of 64 MiB.
    Victim::attacked_over_tcp(Limits::default(), async |victim| {
        const CONNECTIONS: usize = 500;
        let mut streams = connections(victim, CONNECTIONS).await;
        let (virtual_before, resident_before) = settled().await;
        let frame_bytes = Limits::default().frame_bytes() as u32;
        for stream in &mut streams {
            stream.write_all(&frame_bytes.to_be_bytes()).expect("written");
            stream.write_all(&[0x94]).expect("written");
        }
        let (virtual_after, resident_after) = settled().await;
        let most = CONNECTIONS * 64 * 1024;
        let resident = resident_after.saturating_sub(resident_before);
        assert!(resident <= most, "{resident} bytes resident");
        // The heap of a thread grows within what was set aside for it, or by another 64 MiB.
        let heap = 64 << 20;
        let virtually = virtual_after.saturating_sub(virtual_before);
        assert!(virtually <= most + heap, "{virtually} bytes of address space");

        // More of each frame costs what has come, in whole pages, and does not touch the rest.
        let piece = [0; 1_024];
        for stream in &mut streams {
            stream.write_all(&piece).expect("written");
        }
        let (_, resident_later) = settled().await;
        let resident = resident_later.saturating_sub(resident_before);
        assert!(resident <= most / 4, "{resident} bytes resident");
        drop(streams);
    });
}

#[test]
fn descriptors_and_tasks_are_as_before_once_attackers_have_gone() {
    let limits = Limits::default()
        .with_hello_timeout(Duration::from_millis(200))
        .with_stall_timeout(Duration::from_millis(200));
    Victim::attacked_over_tcp(limits, async |victim| {
        let mut streams = connections(victim, 60).await;
        for (index, stream) in streams.iter_mut().enumerate() {
            let bytes = match index % 6 {
                0 => vec![],
                1 => vec![0, 0],
                2 => 0u32.to_be_bytes().to_vec(),
                3 => wire::framed(&[0x92, 63, 0]),
                4 => wire::framed(&wire::request(1, "Target.hold", &[0x90])),
                _ => wire::framed(&wire::reply(1, &[0])),
            };
            stream.write_all(&bytes).expect("written");
        }
        let silent: Vec<_> =
            (0..20).map(|_| TcpStream::connect(&victim.url["tcp://".len()..]).expect("connected")).collect();
        victim.ledger.running(10).await;
        victim.serves_neighbours().await;
        drop((streams, silent));
    });
}
