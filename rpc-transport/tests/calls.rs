//! Calls over every transport: what the layers above make of the bytes comes out whole on the other side.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use rpc_core::{
    Address, Bound, Call, Channel, Code, Connecting, Context, Limits, Listen, Method, Reply, Request, Server,
    Service,
};
use rpc_transport::{IoTransport, Once};
use tokio::task::JoinSet;

/// What `#[service]` would generate for `echo(&self, text: &str) -> String` and `peer(&self) -> String`.
#[derive(Clone)]
struct Echo;

impl Service for Echo {
    const NAME: &'static str = "Echo";
    const METHODS: &'static [Method] = &[Method::new("echo", &["text"]), Method::new("peer", &[])];

    async fn dispatch(&self, request: &Request) -> Reply {
        let mut arguments = request.arguments()?;
        match request.method() {
            "echo" => request.reply(arguments.next::<String>()?),
            "peer" => request.reply(Context::current().peer().address().unwrap().as_str()),
            _ => request.unimplemented(),
        }
    }
}

async fn bind<Via>(to: impl Listen<Via>) -> Bound {
    Server::new().add(Echo).bind(to).await.unwrap()
}

/// The addresses to listen on in one test; name and number keep those of different tests apart.
fn addresses(test: &str, number: u8) -> Vec<Address> {
    let unique = format!("rpc-calls-{test}-{}", std::process::id());
    // Linux answers on all of 127.0.0.0/8: with a host of its own, no other test is given this one's port while
    // nobody listens on it.
    let host = if cfg!(target_os = "linux") { format!("127.0.1.{number}") } else { "127.0.0.1".to_owned() };
    let mut addresses =
        vec![Address::new(format!("tcp://{host}:0")), Address::new(format!("mem://{unique}"))];
    if cfg!(unix) {
        addresses.push(Address::new(format!("unix:{}", std::env::temp_dir().join(&unique).display())));
    }
    addresses
}

/// Small calls and ones that are larger than what any of the transports has under way, all at once.
async fn check_echo(channel: &Channel) {
    let mut calls = JoinSet::new();
    for length in [0, 1, 64 * 1024, 3_000_000].into_iter().cycle().take(40) {
        let text = "x".repeat(length);
        let call: Call<String> = channel.call("Echo.echo", (&text,));
        calls
            .spawn(async move { assert!(call.await.unwrap() == text, "{length} bytes came back otherwise") });
    }
    calls.join_all().await;
}

#[tokio::test]
async fn calls_of_all_sizes_come_back_over_every_transport() {
    for address in addresses("sizes", 1) {
        let bound = bind(&address).await;
        let channel = Channel::connect(bound.local_addr());
        let serving = tokio::spawn(bound.serve());
        check_echo(&channel.await.unwrap()).await;
        serving.abort();
    }
}

#[tokio::test]
async fn calls_go_over_a_stream_that_was_open_already() {
    let (client, server) = tokio::io::duplex(1000);
    let server = IoTransport::new(server).with_peer(Address::new("test:client"));
    let serving = tokio::spawn(bind(Once::new(server)).await.serve());
    let channel = Channel::connect(Once::new(IoTransport::new(client))).await.unwrap();
    check_echo(&channel).await;
    let peer: Call<String> = channel.call("Echo.peer", ());
    assert_eq!(peer.await.unwrap(), "test:client");
    serving.abort();
}

#[tokio::test]
async fn a_handler_sees_where_its_caller_is() {
    for address in addresses("peer", 2) {
        let bound = bind(&address).await;
        let local = bound.local_addr();
        let serving = tokio::spawn(bound.serve());
        let channel = Channel::connect(&local).await.unwrap();
        let peer: Call<String> = channel.call("Echo.peer", ());
        let peer = peer.await.unwrap();
        match local.port() {
            Some(_) => assert!(peer.starts_with("tcp://127.0.") && peer != local.as_str(), "{peer}"),
            None => assert_eq!(peer, local.as_str()),
        }
        serving.abort();
    }
}

#[tokio::test]
async fn a_channel_finds_the_server_that_came_back() {
    for address in addresses("again", 3) {
        let bound = bind(&address).await;
        let local = bound.local_addr();
        let serving = tokio::spawn(bound.serve());
        let limits = Limits::default().with_backoff(Duration::from_millis(1));
        let channel: Channel = Connecting::new(&local).limits(limits).await.unwrap();
        serving.abort();
        // Awaited, so that the first server has dropped its listener before the second wants the address.
        assert!(serving.await.unwrap_err().is_cancelled());

        let serving = tokio::spawn(bind(&local).await.serve());
        // A call that was sent before the loss was noticed may have run; it is safe to say so once more.
        let echo = async || {
            let call: Call<String> = channel.call("Echo.echo", ("again",));
            call.idempotent().wait_for_ready().await
        };
        let echoed = match echo().await {
            Err(error) if error.is_retryable() => echo().await,
            result => result,
        };
        assert_eq!(echoed.unwrap(), "again", "over {local}");
        serving.abort();
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    for address in addresses("nobody", 4) {
        // Listening once and stopping gives an address that was valid a moment ago.
        let local = bind(&address).await.local_addr();
        let error = Channel::connect(&local).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "over {local}");
        assert_eq!(error.message(), format!("cannot connect to {local}"));
    }
}
