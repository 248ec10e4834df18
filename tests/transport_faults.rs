//! A transport that fails at each of its operations in turn: every caller learns how its call ended, and it is true.
//!
//! Time is paused, so that a call that hangs shows as one that took long.

#[path = "support/always/mod.rs"]
mod always;
#[path = "support/lifecycle/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use always::{Always, bystander};
use rpc::{Code, Error, Executed, MemoryConnector, MemoryListener, Server};
use support::faults::{Fault, Faults, Faulty, Operation};
use support::{ProbeClient, ProbeServer, Recorder, Serving, unused_memory};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// At which end of the connection the transport misbehaves.
#[derive(Clone, Copy, Debug)]
enum End {
    Client,
    Server,
}

/// How a session went.
struct Session {
    faults: Arc<Faults>,
    /// What the callers were told.
    outcomes: Vec<(u64, Result<u64, Error>)>,
    /// How long until the last of them was.
    took: Duration,
}

/// Connects, makes calls of all kinds, and goes.
async fn session(end: End, fault: Option<Fault>) -> Session {
    let faults = Faults::new(fault);
    let address = unused_memory();
    let name = address.trim_start_matches("mem://");
    let listener = MemoryListener::bind(name).expect("a name of its own");
    let connector = MemoryConnector::new(name);
    let (handler, _events) = Recorder::new();
    let server = Server::new().add(ProbeServer::new(handler.clone()));
    let no_faults = Faults::new(None);
    let (at_client, at_server) = match end {
        End::Client => (faults.clone(), no_faults.clone()),
        End::Server => (no_faults.clone(), faults.clone()),
    };
    let serving = Serving::run(server.bind(Faulty(listener, at_server)).await.expect("bound"));

    let started = Instant::now();
    let mut outcomes = Vec::new();
    match ProbeClient::connect(Faulty(connector, at_client)).await {
        Err(error) => outcomes.push((0, Err(error))),
        Ok(client) => call_all(&client, &handler, &mut outcomes).await,
    }
    let took = started.elapsed();

    // The client has gone; so do its connections, and then the server.
    handler.open_gate();
    let ending = Instant::now();
    faults.all_closed().await;
    serving.shutdown.shutdown().await;
    serving.task.await.expect("no panic").expect("served");
    assert!(ending.elapsed() < Duration::from_secs(40), "{end:?} {fault:?}: {:?}", ending.elapsed());
    no_faults.all_closed().await;

    for (number, outcome) in &outcomes {
        let executions = handler.executions(*number);
        let expected = match outcome {
            Ok(value) => {
                assert_eq!(value, number);
                1..=1
            }
            Err(error) if error.executed() == Executed::No => 0..=0,
            Err(_) => 0..=1,
        };
        assert!(
            expected.contains(&executions),
            "{end:?} {fault:?}: call {number} was executed {executions} times and ended with {outcome:?}"
        );
    }
    Session { faults, outcomes, took }
}

async fn call_all(client: &ProbeClient, handler: &Recorder, outcomes: &mut Vec<(u64, Result<u64, Error>)>) {
    let mut calls: Vec<(u64, JoinHandle<Result<u64, Error>>)> = Vec::new();
    // A lone call is written by its caller, those after it by the connection's task.
    outcomes.push((1, client.echo(1).await));
    for number in 10..20 {
        calls.push((number, tokio::spawn(client.echo(number))));
        calls.push((number + 10, tokio::spawn(client.wait(number + 10))));
        let note = client.note(number + 20);
        calls.push((number + 20, tokio::spawn(async move { note.await.map(|()| number + 20) })));
    }
    let mut cancelled = client.wait(40);
    tokio::select! {
        _ = &mut cancelled => {}
        outcome = client.echo(41) => outcomes.push((41, outcome)),
    }
    drop(cancelled);
    outcomes.push((42, client.echo(42).await));
    handler.open_gate();
    for (number, call) in calls {
        let outcome = call.await.expect("no panic");
        // That a one-way call was queued does not say that it was executed.
        if !(30..40).contains(&number) || outcome.is_err() {
            outcomes.push((number, outcome));
        }
    }
}

fn failures(session: &Session) -> Vec<&Error> {
    session.outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().err()).collect()
}

/// Whatever the transport does to some, others in the process are served, and nothing is left.
fn always(case: impl AsyncFn()) {
    Always::in_memory().holds(async || ((), bystander().await), async |()| case().await);
}

#[test]
fn case_70_short_and_pending_reads_and_writes_change_nothing() {
    always(async || {
        for end in [End::Client, End::Server] {
            let session = session(end, Some(Fault::Slow)).await;
            assert_eq!(failures(&session).len(), 0, "{:?}", session.outcomes);
            assert_eq!(session.outcomes.len(), 23);
            assert!(session.took < Duration::from_secs(1));
            // Each byte takes two attempts, and nobody spins meanwhile.
            let writes = session.faults.count(Operation::Write);
            assert!(writes < 4_000, "{writes} writes");
            let reads = session.faults.count(Operation::Read);
            assert!(reads < 4_000, "{reads} reads");
        }
    });
}

#[test]
fn case_70_a_write_that_takes_nothing_is_an_error() {
    always(async || {
        for end in [End::Client, End::Server] {
            let mut number = 0;
            loop {
                let session = session(end, Some(Fault::WriteZero(number))).await;
                assert!(session.took < Duration::from_secs(6), "{end:?} {number}: {:?}", session.took);
                if session.faults.count(Operation::Write) <= number {
                    break;
                }
                let writes = session.faults.count(Operation::Write);
                assert!(writes < 100, "{writes} writes");
                number += 1;
            }
            assert!(number >= 4, "only {number} writes");
        }
    });
}

#[test]
fn case_70_a_write_that_is_never_ready_ends_at_the_limit() {
    always(async || {
        for end in [End::Client, End::Server] {
            let mut number = 0;
            loop {
                let session = session(end, Some(Fault::WriteStuck(number))).await;
                // A hello may take 5 s, a stalled write 30 s, and the end of a connection 1 s.
                assert!(session.took < Duration::from_secs(60), "{end:?} {number}: {:?}", session.took);
                if session.faults.count(Operation::Write) <= number {
                    break;
                }
                let writes = session.faults.count(Operation::Write);
                assert!(writes < 200, "{writes} writes: it spins");
                number += 1;
            }
            assert!(number >= 4, "only {number} writes");
        }
    });
}

#[test]
fn case_71_whatever_operation_fails_every_caller_learns_how_its_call_ended() {
    always(async || {
        let operations = [Operation::Read, Operation::Write, Operation::Flush, Operation::Shutdown];
        for end in [End::Client, End::Server] {
            for operation in operations {
                let mut number = 0;
                let (mut not, mut maybe) = (0, 0);
                loop {
                    let session = session(end, Some(Fault::Fail(operation, number))).await;
                    let (fault, took) = (format!("{end:?} {operation:?} {number}"), session.took);
                    // At once: only the pause before another attempt to connect comes between.
                    assert!(took < Duration::from_secs(2), "{fault}: {took:?}");
                    for error in failures(&session) {
                        assert_eq!(error.code(), Code::Unavailable, "{fault}: {error:?}");
                        match error.executed() {
                            Executed::No => not += 1,
                            Executed::Maybe => maybe += 1,
                            Executed::Yes => panic!("{fault}: {error:?}"),
                        }
                    }
                    if session.faults.count(operation) <= number {
                        assert_eq!(failures(&session).len(), 0, "{fault} did not happen");
                        break;
                    }
                    number += 1;
                }
                // All of them were reached, and they did harm.
                assert!(number >= 1, "{end:?} {operation:?}: only {number}");
                if operation != Operation::Shutdown {
                    assert!(not > 0 && maybe > 0, "{end:?} {operation:?}: {not} not, {maybe} maybe");
                }
            }
        }
    });
}

#[test]
fn case_71_a_failure_is_told_with_its_cause() {
    always(async || {
        for operation in [Operation::Read, Operation::Write, Operation::Flush] {
            // The hello's are numbers 0 and up to 2.
            let session = session(End::Client, Some(Fault::Fail(operation, 4))).await;
            let errors = failures(&session);
            assert!(!errors.is_empty());
            for error in errors {
                let mut causes =
                    std::iter::successors(std::error::Error::source(error), |cause| cause.source());
                let expected = format!("{operation:?} ");
                assert!(
                    causes.any(|cause| cause.to_string().starts_with(&expected)),
                    "{error:?} has no cause that speaks of the {operation:?}"
                );
            }
        }
    });
}

#[test]
fn case_71_a_failed_attempt_to_connect_is_an_error_and_not_the_end() {
    always(async || {
        let address = unused_memory();
        let name = address.trim_start_matches("mem://");
        let (handler, _events) = Recorder::new();
        let server = Server::new().add(ProbeServer::new(handler.clone()));
        let serving = Serving::start(server, &address).await;
        for operation in [Operation::Read, Operation::Write, Operation::Flush] {
            let faults = Faults::new(Some(Fault::Fail(operation, 0)));
            let connector = Faulty(MemoryConnector::new(name), faults.clone());
            let error = ProbeClient::connect(connector).await.expect_err("no hello");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));
            assert!(error.is_retryable());
            faults.all_closed().await;
        }
        // The server has other clients.
        assert_eq!(
            ProbeClient::connect(&address).await.expect("connected").echo(1).await.expect("a reply"),
            1
        );
        serving.kill().await;
    });
}
