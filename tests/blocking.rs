//! Callers without async, and callers on other executors than the connection's.
//!
//! These are plain tests: a runtime is there only where one is made.

#[path = "support/lifecycle/mod.rs"]
mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use rpc::{CallError, Code, Error, Executed, Server};
use support::executor::block_on;
use support::{Event, ProbeClient, ProbeServer, Recorder, Refused, Serving, Way, unused_memory};
use tokio::runtime::{Builder, Runtime};

/// A server on a runtime of its own, which ends with this.
struct Elsewhere {
    address: String,
    handler: std::sync::Arc<Recorder>,
    _runtime: Runtime,
}

impl Elsewhere {
    fn serve(way: Way) -> Self {
        let runtime = multi_thread();
        let (handler, _events) = Recorder::new();
        let server = Server::new().add(ProbeServer::new(handler.clone()));
        let serving = runtime.block_on(Serving::start(server, &way.address()));
        Elsewhere { address: serving.address, handler, _runtime: runtime }
    }

    fn connect(&self) -> ProbeClient {
        ProbeClient::connect(&self.address).blocking().expect("connected")
    }
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Runs something that must end; only a test that fails waits long.
fn in_time<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        let result = function();
        // Nobody listens any more if it took too long.
        let _ = done.send(());
        result
    });
    match ended.recv_timeout(Duration::from_secs(20)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        // If it panicked, joining says how.
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

fn assert_says(error: &Error, advice: &str) {
    assert_eq!((error.code(), error.executed()), (Code::FailedPrecondition, Executed::No), "{error}");
    assert!(error.message().contains(advice), "{error}");
}

// ---- without a runtime ----

#[test]
fn a_program_without_a_runtime_connects_and_calls() {
    for way in [Way::Tcp, Way::Memory] {
        let server = Elsewhere::serve(way);
        let client = server.connect();
        assert_eq!(client.echo(1).blocking().expect("a reply"), 1);
        assert!(matches!(client.refuse(2).blocking(), Err(CallError::App(Refused(2)))));
        client.note(3).blocking().expect("queued");
        let (value, metadata) = client.echo(4).with_metadata().blocking().expect("a reply");
        assert_eq!((value, metadata.len()), (4, 0));
        let error =
            client.wait(5).timeout(Duration::from_millis(20)).blocking().expect_err("the gate is shut");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe));
        let error = client.panic_at_once().blocking().expect_err("it panics");
        assert_eq!(error.code(), Code::Internal);
    }
}

#[test]
fn a_program_without_a_runtime_is_told_when_it_cannot_connect() {
    let error = ProbeClient::connect(unused_memory()).blocking().expect_err("nobody listens");
    assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));
    let error = ProbeClient::connect("carrier-pigeon://roof").blocking().expect_err("no such transport");
    assert_eq!((error.code(), error.executed()), (Code::InvalidArgument, Executed::No));
}

#[test]
fn many_threads_wait_at_once_on_one_client() {
    let server = Elsewhere::serve(Way::Tcp);
    let client = server.connect();
    thread::scope(|scope| {
        for thread in 0..16 {
            let client = client.clone();
            scope.spawn(move || {
                for number in thread * 1_000..thread * 1_000 + 100 {
                    assert_eq!(client.echo(number).blocking().expect("a reply"), number);
                }
            });
        }
    });
    // And each with a client of its own, all opened at once.
    thread::scope(|scope| {
        for number in 0..16 {
            let server = &server;
            scope.spawn(move || {
                assert_eq!(server.connect().echo(number).blocking().expect("a reply"), number)
            });
        }
    });
}

#[test]
fn in_process_needs_no_runtime_either() {
    let (handler, _events) = Recorder::new();
    let client = ProbeClient::in_process(ProbeServer::new(handler.clone()));
    assert_eq!(client.echo(1).blocking().expect("a reply"), 1);
    let error = client.wait(2).timeout(Duration::from_millis(20)).blocking().expect_err("the gate is shut");
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(block_on(client.echo(3)).expect("a reply"), 3);
    let error = block_on(client.wait(4).timeout(Duration::from_millis(20))).expect_err("the gate is shut");
    assert_eq!(error.code(), Code::DeadlineExceeded);
    // The handler waits while another thread opens the gate.
    let waiting = thread::spawn(move || client.wait(5).blocking());
    handler.open_gate();
    assert_eq!(waiting.join().expect("no panic").expect("a reply"), 5);
}

// ---- where waiting is allowed, and where it is not ----

#[test]
fn inside_an_async_task_it_is_an_error_that_says_what_to_do() {
    let server = Elsewhere::serve(Way::Tcp);
    let (handler, _events) = Recorder::new();
    let clients = [server.connect(), ProbeClient::in_process(ProbeServer::new(handler))];
    for runtime in [multi_thread(), current_thread()] {
        let address = server.address.clone();
        let moved = clients.clone();
        runtime.block_on(async move {
            let inside = async move {
                assert_says(
                    &ProbeClient::connect(&address).blocking().expect_err("a task"),
                    "spawn_blocking",
                );
                for client in moved {
                    assert_says(&client.echo(1).blocking().expect_err("a task"), "spawn_blocking");
                    assert_says(
                        &client.echo(1).with_metadata().blocking().expect_err("a task"),
                        "spawn_blocking",
                    );
                    let Err(CallError::Rpc(error)) = client.refuse(1).blocking() else { panic!("a task") };
                    assert_says(&error, ".await");
                    // And nothing is broken by having tried.
                    assert_eq!(client.echo(2).await.expect("a reply"), 2);
                }
            };
            inside.await;
        });
        let client = clients[0].clone();
        runtime.block_on(async move {
            let spawned = tokio::spawn(async move { client.echo(1).blocking() }).await.expect("no panic");
            assert_says(&spawned.expect_err("a task"), "spawn_blocking");
        });
    }
    assert_eq!(server.handler.executions(1), 0);
}

#[test]
fn inside_spawn_blocking_and_block_in_place_it_works() {
    let server = Elsewhere::serve(Way::Tcp);
    let runtime = multi_thread();
    let address = server.address.clone();
    let theirs = server.connect();
    runtime.block_on(async {
        let ours = ProbeClient::connect(&address).await.expect("connected");
        for client in [ours, theirs] {
            let moved = client.clone();
            let reply =
                tokio::task::spawn_blocking(move || moved.echo(1).blocking()).await.expect("no panic");
            assert_eq!(reply.expect("a reply"), 1);
            let reply = tokio::spawn(async move {
                tokio::task::block_in_place(|| client.echo(2).blocking()).expect("a reply")
            });
            assert_eq!(reply.await.expect("no panic"), 2);
        }
        let connected = tokio::task::spawn_blocking(move || ProbeClient::connect(address).blocking());
        let client = connected.await.expect("no panic").expect("connected");
        assert_eq!(client.echo(3).await.expect("a reply"), 3);
    });
}

#[test]
fn on_a_client_of_a_current_thread_runtime_it_is_an_error_that_says_what_to_do() {
    let server = Elsewhere::serve(Way::Tcp);
    let runtime = current_thread();
    let client = runtime.block_on(async { ProbeClient::connect(&server.address).await }).expect("connected");
    // The thread of the runtime, which nobody drives now, and another one.
    assert_says(&client.echo(1).blocking().expect_err("it could wait for ever"), "connect(...).blocking()");
    let moved = client.clone();
    let elsewhere = thread::spawn(move || moved.echo(1).blocking()).join().expect("no panic");
    assert_says(&elsewhere.expect_err("it could wait for ever"), "connect(...).blocking()");
    assert_eq!(server.handler.executions(1), 0);
    assert_eq!(runtime.block_on(client.echo(2)).expect("a reply"), 2);
}

// ---- other executors ----

#[test]
fn calls_can_be_awaited_on_any_executor() {
    let server = Elsewhere::serve(Way::Tcp);
    let home = multi_thread();
    let client = home.block_on(async { ProbeClient::connect(&server.address).await }).expect("connected");
    // None at all, another multi-thread runtime, another current-thread one.
    let moved = client.clone();
    assert_eq!(in_time(move || block_on(moved.echo(1))).expect("a reply"), 1);
    let moved = client.clone();
    let error = in_time(move || block_on(moved.wait(2).timeout(Duration::from_millis(20))));
    assert_eq!(error.expect_err("the gate is shut").code(), Code::DeadlineExceeded);
    for other in [multi_thread(), current_thread()] {
        let client = client.clone();
        let both = in_time(move || {
            other.block_on(async move { tokio::join!(client.echo(3), tokio::spawn(client.echo(4))) })
        });
        assert_eq!(both.0.expect("a reply"), 3);
        assert_eq!(both.1.expect("no panic").expect("a reply"), 4);
    }
    let client = server.connect();
    assert_eq!(in_time(move || block_on(client.echo(5))).expect("a reply"), 5);
}

#[test]
fn connecting_outside_of_a_runtime_is_an_error_that_says_what_to_do() {
    for way in [Way::Tcp, Way::Memory] {
        let server = Elsewhere::serve(way);
        let address = server.address.clone();
        let error = in_time(move || block_on(async { ProbeClient::connect(address).await }));
        assert_says(&error.expect_err("no runtime"), ".blocking()");
        assert_says(&rpc::Channel::connect(&server.address).lazy().expect_err("no runtime"), ".blocking()");
    }
}

#[test]
fn listening_outside_of_a_runtime_is_an_error_and_not_a_panic() {
    let error = in_time(|| block_on(async { Server::new().bind("tcp://127.0.0.1:0").await }));
    assert_eq!(error.expect_err("no runtime").code(), Code::FailedPrecondition);
}

#[test]
fn an_attempt_to_connect_can_be_abandoned() {
    let server = Elsewhere::serve(Way::Memory);
    let runtime = current_thread();
    runtime.block_on(async {
        let mut connecting = pin!(rpc::Channel::connect(&server.address));
        std::future::poll_fn(|cx| {
            assert!(connecting.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    });
    drop(runtime);
    assert_eq!(server.connect().echo(1).blocking().expect("a reply"), 1);
}

// ---- the end of the runtime that a client was opened on ----

#[test]
fn when_the_clients_runtime_ends_its_calls_end_too() {
    for in_background in [false, true] {
        let (handler, mut events) = Recorder::new();
        let elsewhere = multi_thread();
        let serving = elsewhere
            .block_on(Serving::start(Server::new().add(ProbeServer::new(handler)), "tcp://127.0.0.1:0"));
        let home = multi_thread();
        let client =
            home.block_on(async { ProbeClient::connect(&serving.address).await }).expect("connected");
        let moved = client.clone();
        let pending = thread::spawn(move || block_on(moved.wait(1)));
        elsewhere.block_on(events.expect(Event::Started(1)));
        if in_background {
            home.shutdown_background();
        } else {
            drop(home);
        }
        let error = in_time(move || pending.join().expect("no panic")).expect_err("lost");
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
        // From now on there is no way, which is said at once, however it is asked.
        for _ in 0..2 {
            let moved = client.clone();
            let error = in_time(move || block_on(moved.echo(2))).expect_err("no runtime");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));
            assert!(error.message().contains("runtime"), "{error}");
            let moved = client.clone();
            let error = in_time(move || moved.echo(2).wait_for_ready().blocking()).expect_err("no runtime");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));
        }
    }
}

#[test]
fn a_runtime_that_ends_while_it_connects_ends_the_attempt() {
    // Accepts and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("tcp://{}", listener.local_addr().expect("an address"));
    let home = multi_thread();
    let entered = home.enter();
    let mut connecting = Box::pin(ProbeClient::connect(address.as_str()).into_future());
    block_on(std::future::poll_fn(|cx| {
        assert!(connecting.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    }));
    drop(entered);
    let (_socket, _) = listener.accept().expect("it connects");
    drop(home);
    let error = in_time(move || block_on(connecting)).expect_err("the runtime has ended");
    assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));
}

#[test]
fn dropping_a_call_or_a_client_after_its_runtime_is_harmless() {
    let server = Elsewhere::serve(Way::Tcp);
    let home = multi_thread();
    let client = home.block_on(async { ProbeClient::connect(&server.address).await }).expect("connected");
    let mut call = Box::pin(client.wait(1));
    block_on(std::future::poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    }));
    drop(home);
    drop(call);
    drop(client);
    assert_eq!(server.connect().echo(2).blocking().expect("the server goes on"), 2);
}
