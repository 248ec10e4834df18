//! The limit of all calls that run on a server, whichever connection they came on.

#[path = "support/lifecycle/mod.rs"]
mod support;

use std::time::Duration;

use rpc::{Channel, Code, Error, Executed, Limits, Server, service};
use support::{Event, ProbeClient, Scene, Serving, Way, patiently};

/// A server with such a limit, and clients of it with a connection each.
async fn scene_with(limit: usize, clients: usize) -> (Scene, Vec<ProbeClient>) {
    let server = Server::new().limits(Limits::default().with_server_calls(limit));
    let scene = Scene::with_server(Way::Tcp, server).await;
    let address = &scene.serving.as_ref().expect("a socket").address;
    let mut others = Vec::new();
    for _ in 0..clients {
        others.push(ProbeClient::from(Channel::connect(address).await.expect("connected")));
    }
    (scene, others)
}

fn is_refused(error: &Error) {
    assert_eq!((error.code(), error.executed()), (Code::ResourceExhausted, Executed::No), "{error}");
    assert!(error.message().contains("calls run on this server"), "{error}");
}

#[tokio::test]
async fn case_62_one_call_above_the_limit_of_the_server_is_refused_on_every_connection() {
    let (mut scene, clients) = scene_with(3, 3).await;
    let mut calls = Vec::new();
    for (number, client) in (0..).zip([&clients[0], &clients[0], &clients[1]]) {
        calls.push(tokio::spawn(client.wait(number)));
        scene.events.expect(Event::Started(number)).await;
    }
    for client in &clients {
        is_refused(&client.wait(9).await.expect_err("there is no room"));
        // Also what would end at once: nobody can know that it will.
        is_refused(&client.echo(9).await.expect_err("there is no room"));
    }
    assert_eq!(scene.handler.executions(9), 0);

    scene.handler.open_gate();
    for (number, call) in (0..).zip(calls) {
        assert_eq!(call.await.expect("no panic").expect("it ran already"), number);
    }
    for client in &clients {
        assert_eq!(client.wait(10).await.expect("there is room"), 10);
    }
    scene.settle().await;
}

#[tokio::test]
async fn a_call_that_is_cancelled_makes_room_when_its_handler_has_ended() {
    let (mut scene, clients) = scene_with(1, 2).await;
    let stopped = tokio::spawn(clients[0].wait(1));
    scene.events.expect(Event::Started(1)).await;
    stopped.abort();
    scene.events.expect(Event::Dropped(1)).await;
    let room = async {
        while clients[1].echo(2).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    patiently("room", room).await;

    // One that finishes whatever happens keeps its place until it has.
    let left = tokio::spawn(clients[0].finish(3));
    scene.events.until(Event::Started(3)).await;
    left.abort();
    scene.events.expect(Event::Cancelled(3)).await;
    is_refused(&clients[1].echo(4).await.expect_err("it runs still"));
    scene.handler.open_gate();
    scene.events.expect(Event::Ended(3)).await;
    patiently("room", async { while clients[1].echo(5).await.is_err() {} }).await;
    scene.settle().await;
}

#[tokio::test]
async fn one_way_calls_are_not_among_them() {
    let (mut scene, clients) = scene_with(1, 1).await;
    for number in 0..3 {
        clients[0].note_slowly(number).await.expect("queued");
        scene.events.expect(Event::Started(number)).await;
    }
    assert_eq!(clients[0].echo(7).await.expect("there is room"), 7);
    scene.handler.open_gate();
    scene.settle().await;
}

#[service]
trait Later {
    /// The number, but not at once.
    async fn later(&self, number: u64) -> u64;
    /// A panic, but not at once.
    async fn panic(&self);
}

struct Yields;

impl Later for Yields {
    async fn later(&self, number: u64) -> u64 {
        tokio::task::yield_now().await;
        number
    }
    async fn panic(&self) {
        tokio::task::yield_now().await;
        panic!("as the test wants");
    }
}

/// Whoever has a reply does not count any more, or who calls one after the other would be refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_waits_for_each_reply_is_never_refused() {
    let server = Server::new().limits(Limits::default().with_server_calls(1)).add(LaterServer::new(Yields));
    let serving = Serving::start(server, "tcp://127.0.0.1:0").await;
    let client = LaterClient::connect(&serving.address).await.expect("connected");
    for number in 0..2_000 {
        assert_eq!(client.later(number).await.expect("there is room"), number);
        if number % 900 == 0 {
            let error = client.panic().await.expect_err("it panics");
            assert_eq!(error.code(), Code::Internal);
        }
        if number % 100 == 50 {
            // Its deadline may have passed before it runs, while it does, or after it has.
            let _ = client.later(number).timeout(Duration::from_micros(number)).await;
            patiently("room", async { while client.later(number).await.is_err() {} }).await;
        }
    }
}
