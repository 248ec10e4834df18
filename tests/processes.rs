//! Real processes that are killed: what is left for the others, and whether what they are told is true.
//!
//! The other process is this test program again, told by its environment to play a part.

#[path = "support/process.rs"]
mod process;
#[path = "support/lifecycle/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use process::{PART, Process};
use rpc::{Code, Error, Executed, Limits, Server, service};
use support::{Event, ProbeClient, ProbeServer, Recorder, Serving, patiently};

/// What the other process serves. Each execution is written to a file that outlives it.
#[service]
trait Ledger {
    /// Gives the number back.
    async fn enter(&self, number: u64) -> u64;
    /// Never ends.
    async fn hold(&self, number: u64) -> u64;
    /// The process that answers.
    async fn process(&self) -> u32;
}

struct InFile(File);

impl InFile {
    fn write(&self, number: u64) {
        // One write of few bytes to the end of a file: it is there as a whole or not at all.
        (&self.0).write_all(&number.to_be_bytes()).expect("the disk is not full");
    }
}

impl Ledger for InFile {
    async fn enter(&self, number: u64) -> u64 {
        self.write(number);
        number
    }
    async fn hold(&self, number: u64) -> u64 {
        self.write(number);
        println!("started {number}");
        std::future::pending().await
    }
    async fn process(&self) -> u32 {
        std::process::id()
    }
}

const ADDRESS: &str = "RPC_TEST_ADDRESS";
const LEDGER: &str = "RPC_TEST_LEDGER";
const CALLS: usize = 4;

/// Does nothing, unless this process was started by one of the tests below to play a part.
#[tokio::test]
async fn plays_its_part_in_another_test() {
    let variable = |name| std::env::var(name).expect("set with the part");
    match std::env::var(PART).as_deref() {
        Ok("server") => {
            let file = File::options().append(true).create(true).open(variable(LEDGER)).expect("a file");
            let limits = Limits::default().with_calls(CALLS).with_drain_timeout(Duration::from_millis(300));
            let server = Server::new().limits(limits).add(LedgerServer::new(InFile(file)));
            let bound = server.bind(variable(ADDRESS)).await.expect("the address is free");
            println!("at {}.", bound.local_addr());
            let shutdown = bound.shutdown_handle();
            std::thread::spawn(move || {
                // The parent says nothing; that its end is closed is the message.
                let _ = std::io::stdin().read(&mut [0]);
                drop(shutdown.shutdown());
            });
            bound.serve().await.expect("served");
            println!("drained.");
        }
        Ok("client") => {
            let client = ProbeClient::connect(variable(ADDRESS)).await.expect("connected");
            let held: Vec<_> = (0..50).map(|number| tokio::spawn(client.wait(number))).collect();
            // And goes on calling until it is killed.
            for number in 1_000.. {
                client.echo(number).await.expect("a reply");
            }
            drop(held);
        }
        Ok(part) => panic!("there is no part {part:?}"),
        Err(_) => {}
    }
}

fn start(part: &str, address: &str, ledger: &Path) -> Process {
    Process::start(part, &[(ADDRESS, address.as_ref()), (LEDGER, ledger.as_ref())])
}

async fn start_server(address: &str, ledger: &Path) -> (Process, String) {
    let mut process = start("server", address, ledger);
    let address = process.says("at ").await;
    (process, address)
}

/// A file of this test's own that is removed with this.
struct LedgerFile(PathBuf);

impl LedgerFile {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rpc-{}-{test}.ledger", std::process::id()));
        // One left by an earlier process of this id.
        let _ = std::fs::remove_file(&path);
        LedgerFile(path)
    }

    /// How often each number was executed, in all processes that wrote here.
    fn executions(&self) -> BTreeMap<u64, usize> {
        let mut executions = BTreeMap::new();
        let bytes = std::fs::read(&self.0).expect("a ledger");
        for number in bytes.chunks_exact(8) {
            *executions.entry(u64::from_be_bytes(number.try_into().expect("8 bytes"))).or_default() += 1;
        }
        executions
    }
}

impl Drop for LedgerFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn case_68_after_kill_9_what_was_pending_may_have_run_and_what_was_not_sent_has_not() {
    let ledger = LedgerFile::new("pending");
    let (mut server, address) = start_server("tcp://127.0.0.1:0", &ledger.0).await;
    let client = LedgerClient::connect(&address).await.expect("connected");
    assert_ne!(client.process().await.expect("a reply"), std::process::id());
    let calls: Vec<_> = (0..10).map(|number| tokio::spawn(client.hold(number))).collect();
    // The server takes four; the others wait for a place.
    for _ in 0..CALLS {
        server.says("started ").await;
    }
    server.kill().await;
    let executions = ledger.executions();
    for (number, call) in (0..).zip(calls) {
        let error = patiently("the end", call).await.expect("no panic").expect_err("it was killed");
        let executed = if executions.contains_key(&number) { Executed::Maybe } else { Executed::No };
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, executed), "{number}: {error:?}");
    }
    assert_eq!(executions.len(), CALLS);
}

/// Callers that call until they meet an error that is not the end, and what they were told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_68_a_server_killed_halfway_through_many_calls_comes_back_and_nothing_was_lost_unsaid() {
    let ledger = LedgerFile::new("halfway");
    let (mut server, address) = start_server("tcp://127.0.0.1:0", &ledger.0).await;
    let next = Arc::new(AtomicU64::new(0));
    let (told, mut progress) = tokio::sync::mpsc::unbounded_channel();
    let mut callers = Vec::new();
    for _ in 0..4 {
        let limits = Limits::default().with_backoff(Duration::from_millis(5));
        let client = LedgerClient::connect(&address).limits(limits).await.expect("connected");
        for _ in 0..8 {
            let (client, next, told) = (client.clone(), next.clone(), told.clone());
            callers.push(tokio::spawn(async move {
                let mut outcomes = Vec::new();
                // Nobody listens any more when the test has seen enough.
                while told.send(()).is_ok() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    outcomes.push((number, client.enter(number).wait_for_ready().await));
                }
                outcomes
            }));
        }
    }
    let mut calls = async |count| {
        for _ in 0..count {
            patiently("a call", progress.recv()).await.expect("the callers go on");
        }
    };
    for _ in 0..3 {
        calls(500).await;
        server.kill().await;
        (server, _) = start_server(&address, &ledger.0).await;
    }
    calls(500).await;
    drop(progress);
    let mut outcomes: Vec<(u64, Result<u64, Error>)> = Vec::new();
    for caller in callers {
        outcomes.extend(patiently("the end of a caller", caller).await.expect("no panic"));
    }
    // Once it is gone, the file says all there is to say.
    server.kill().await;
    let executions = ledger.executions();
    let (mut well, mut lost) = (0, 0);
    for (number, outcome) in outcomes {
        let executions = executions.get(&number).copied().unwrap_or_default();
        match outcome {
            Ok(value) => {
                assert_eq!((value, executions), (number, 1));
                well += 1;
            }
            Err(error) => {
                assert_eq!(
                    (error.code(), error.executed()),
                    (Code::Unavailable, Executed::Maybe),
                    "{error:?}"
                );
                assert!(executions <= 1, "call {number} was executed {executions} times");
                lost += 1;
            }
        }
    }
    assert!(well > 1_000);
    // Each kill ends at most what each caller had under way.
    assert!((1..=3 * 32).contains(&lost), "{lost} lost");
}

#[tokio::test]
async fn a_client_killed_halfway_through_many_calls_leaves_nothing_behind() {
    let (handler, mut events) = Recorder::new();
    let server = Server::new().add(ProbeServer::new(handler.clone()));
    let serving = Serving::start(server, "tcp://127.0.0.1:0").await;
    let neighbour = ProbeClient::connect(&serving.address).await.expect("connected");
    assert_eq!(neighbour.echo(500).await.expect("a reply"), 500);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();

    let process = start("client", &serving.address, Path::new(""));
    events.until(Event::Started(2_000)).await;
    process.kill().await;
    let mut dropped = 0;
    while dropped < 50 {
        if let Event::Dropped(number) = events.next().await {
            assert!(number < 50);
            dropped += 1;
        }
    }
    assert_eq!(neighbour.echo(501).await.expect("it has noticed nothing"), 501);
    let none_left = async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    patiently("the end of its tasks", none_left).await;
}

#[tokio::test]
async fn case_93_a_process_that_drains_exits_even_if_a_handler_is_stuck() {
    let ledger = LedgerFile::new("stuck");
    let (mut server, address) = start_server("tcp://127.0.0.1:0", &ledger.0).await;
    let client = LedgerClient::connect(&address).await.expect("connected");
    let stuck = tokio::spawn(client.hold(1));
    server.says("started ").await;
    assert_eq!(client.enter(2).await.expect("a reply"), 2);
    drop(server.child.stdin.take());
    server.says("drained").await;
    let status = patiently("its exit", server.child.wait()).await.expect("a status");
    assert!(status.success(), "{status}");
    let error = patiently("the end", stuck).await.expect("no panic").expect_err("it was dropped");
    assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
    let error = patiently("the end", client.enter(3)).await.expect_err("nobody is there");
    assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));
    assert_eq!(ledger.executions().into_keys().collect::<Vec<_>>(), [1, 2]);
}
