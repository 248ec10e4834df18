//! Services, handlers and stubs: how many of each go together.

#[path = "support/lifecycle/mod.rs"]
mod support;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rpc::{Call, Channel, Code, Executed, MethodError, Server, service};
use support::{Serving, Way};

#[service]
trait Calculator {
    async fn add(&self, a: i64, b: i64) -> i64;
}

#[service]
trait Counter {
    async fn next(&self) -> u64;
}

/// Another trait, of the same name on the wire as the first one.
#[service(name = "Calculator")]
trait Impostor {
    async fn subtract(&self, a: i64, b: i64) -> i64;
}

#[derive(Default)]
struct Everything {
    count: AtomicU64,
}

impl Calculator for Everything {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

impl Counter for Everything {
    async fn next(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }
}

impl Impostor for Everything {
    async fn subtract(&self, a: i64, b: i64) -> i64 {
        a - b
    }
}

fn everything() -> (Server, Arc<Everything>) {
    let handler = Arc::new(Everything::default());
    let calculator = CalculatorServer::new(Everything::default());
    (Server::new().add(calculator).add(CounterServer::new(handler.clone())), handler)
}

#[tokio::test]
async fn one_address_holds_many_services_and_one_channel_many_stubs() {
    for way in [Way::Tcp, Way::Memory] {
        let (server, handler) = everything();
        let serving = Serving::start(server, &way.address()).await;
        let channel = Channel::connect(&serving.address).await.expect("connected");
        let calculator = CalculatorClient::new(channel.clone());
        let counter = CounterClient::from(channel.clone());
        let another = CounterClient::new(AsRef::<Channel>::as_ref(&calculator).clone());
        assert_eq!(calculator.add(2, 3).await.expect("a sum"), 5);
        assert_eq!(counter.next().await.expect("a count"), 0);
        assert_eq!(another.next().await.expect("a count"), 1);
        // The test has the same handler in its hands.
        assert_eq!(handler.next().await, 2);
        assert_eq!(counter.clone().next().await.expect("a count"), 3);
        // And a service that is not there is not there.
        let error = ImpostorClient::new(channel).subtract(3, 2).await.expect_err("not added");
        assert_eq!((error.code(), error.executed()), (Code::Unimplemented, Executed::No));
    }
}

#[tokio::test]
async fn two_services_of_one_name_are_refused_at_bind_and_named() {
    for way in [Way::Tcp, Way::Memory] {
        let server = everything().0.add(ImpostorServer::new(Everything::default()));
        let address = way.address();
        let error = server.bind(address.as_str()).await.expect_err("the names clash");
        assert_eq!((error.code(), error.executed()), (Code::InvalidArgument, Executed::No));
        assert!(error.message().contains("Calculator"), "{error}");
        let twice = everything().0.add(CalculatorServer::new(Everything::default()));
        assert_eq!(
            twice.listen(address.as_str()).await.expect_err("the names clash").code(),
            Code::InvalidArgument
        );
        // The refusal has not taken the address.
        everything().0.bind(address.as_str()).await.expect("the address is free");
    }
}

#[tokio::test]
async fn in_process_a_stub_shares_its_handler_with_the_test() {
    let handler = Arc::new(Everything::default());
    let counter = CounterClient::in_process(CounterServer::new(handler.clone()));
    assert_eq!(counter.next().await.expect("a count"), 0);
    assert_eq!(handler.next().await, 1);
    assert_eq!(counter.clone().next().await.expect("a count"), 2);
    let error = CalculatorClient::new(AsRef::<Channel>::as_ref(&counter).clone()).add(1, 2).await;
    let error = error.expect_err("one service only");
    assert_eq!((error.code(), error.executed()), (Code::Unimplemented, Executed::No));
}

// ---- code that is generic over services ----

/// Takes the handler itself: the trait is an ordinary one.
async fn doubled(calculator: &impl Calculator, number: i64) -> i64 {
    calculator.add(number, number).await
}

/// Serves any handler, spawns its calls.
async fn served<Handler: Calculator>(handler: Handler, way: Way) -> i64 {
    let serving = Serving::start(Server::new().add(CalculatorServer::new(handler)), &way.address()).await;
    let client = CalculatorClient::connect(&serving.address).await.expect("connected");
    summed(client.add(1, 2), client.add(3, 4)).await
}

/// Knows of calls, and not of what they call.
async fn summed<E: MethodError<CallError: Debug>>(one: Call<i64, E>, two: Call<i64, E>) -> i64 {
    let two = tokio::spawn(two);
    one.await.expect("a sum") + two.await.expect("no panic").expect("a sum")
}

#[tokio::test]
async fn code_can_be_generic_over_services() {
    assert_eq!(doubled(&Everything::default(), 21).await, 42);
    assert_eq!(served(Everything::default(), Way::Tcp).await, 10);
    assert_eq!(served(Everything::default(), Way::Memory).await, 10);
    let spawned = tokio::spawn(served(Everything::default(), Way::Memory));
    assert_eq!(spawned.await.expect("no panic"), 10);
}
