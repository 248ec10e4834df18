//! The golden vectors in `tests/vectors/*.json`, checked against a real server and a real client.
//!
//! Against the server a raw peer sends the client's bytes and compares what comes back, byte for byte. Against the
//! client a raw peer compares what the client sends, and answers with the server's bytes. The pipe between the two
//! is in memory and time is paused, so that timeouts and keepalives are exact; whole sessions run over TCP, too.
//!
//! A step with `begins` ends in a text for people: what is before the text is compared, the text may differ.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "vectors/callers.rs"]
mod callers;
#[path = "vectors/peer.rs"]
mod peer;
#[path = "vectors/services.rs"]
mod services;
#[path = "vectors/values.rs"]
mod values;

use std::sync::Arc;
use std::time::Duration;

use callers::Cues;
use peer::{Peer, Side, Step};
use rpc::{Bound, Channel, Connecting, IoTransport, Limits, Once, Server};
use serde::Deserialize;
use services::{Abacus, CalculatorServer};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

/// A file of exchanges.
#[derive(Deserialize)]
struct Group {
    /// Whether they begin with the first byte of the connection, or after the hellos.
    from_start: bool,
    exchanges: Vec<Exchange>,
}

/// What goes over one connection, in order.
#[derive(Deserialize)]
struct Exchange {
    name: String,
    /// Which side the real implementation can play.
    checked_as: Vec<Side>,
    steps: Vec<Step>,
}

/// In virtual time this passes at once, and it is longer than anything that an exchange waits for.
const STUCK: Duration = Duration::from_secs(600);

macro_rules! groups {
    ($($server:ident $client:ident $file:literal)+) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $server() {
                let group = group(include_str!(concat!("vectors/", $file)));
                for exchange in group.checked_as(Side::Server) {
                    let (ours, theirs) = pipe();
                    let (server, abacus) = server(exchange);
                    let bound = server.bind(Once::new(IoTransport::new(theirs))).await.unwrap();
                    group.check_server(exchange, bound, &abacus, ours).await;
                }
            }

            #[tokio::test(start_paused = true)]
            async fn $client() {
                let group = group(include_str!(concat!("vectors/", $file)));
                for exchange in group.checked_as(Side::Client) {
                    let (ours, theirs) = pipe();
                    let limits = exchange.limits(Side::Client);
                    let connecting = Channel::connect(Once::new(IoTransport::new(theirs))).limits(limits);
                    group.check_client(exchange, connecting, ours).await;
                }
            }
        )+
    };
}

groups! {
    server_hello client_hello "hello.json"
    server_calls client_calls "calls.json"
    server_errors client_errors "errors.json"
    server_control client_control "control.json"
    server_streams client_streams "streams.json"
    server_credit client_credit "credit.json"
    server_fragments client_fragments "fragments.json"
    server_violations client_violations "violations.json"
    server_sessions client_sessions "sessions.json"
}

/// With the clock running, since a socket does not wait for virtual time.
#[tokio::test]
async fn server_sessions_over_tcp() {
    let group = group(include_str!("vectors/sessions.json"));
    for exchange in group.checked_as(Side::Server) {
        let (server, abacus) = server(exchange);
        let bound = server.bind("tcp://127.0.0.1:0").await.unwrap();
        let address = bound.local_addr().to_string();
        let stream = TcpStream::connect(address.trim_start_matches("tcp://")).await.unwrap();
        group.check_server(exchange, bound, &abacus, stream).await;
    }
}

/// The one without a timeout: how much time is left depends on the clock.
#[tokio::test]
async fn client_session_over_tcp() {
    let group = group(include_str!("vectors/sessions.json"));
    let exchange = group.exchanges.iter().find(|exchange| exchange.name == "a calculator").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let connecting = tokio::spawn(async move { listener.accept().await.unwrap().0 });
    // The client connects when it is first polled, and the system accepts for the listener.
    let stream = async { connecting.await.unwrap() };
    group.check_client_later(exchange, Channel::connect(url.as_str()), stream).await;
}

/// What docs/protocol.md shows of sessions is what the vectors have.
#[test]
fn the_hex_dumps_in_the_docs_are_sessions() {
    let text = include_str!("../docs/protocol.md");
    let (_, section) = text.split_once("## A whole session").unwrap();
    let (section, _) = section.split_once("## The least that works").unwrap();
    let group = group(include_str!("vectors/sessions.json"));
    let mut blocks = section.split("```text\n").skip(1);
    for name in ["a calculator", "a stream"] {
        let (dump, _) = blocks.next().unwrap().split_once("```").unwrap();
        let exchange = group.exchanges.iter().find(|exchange| exchange.name == name).unwrap();
        let sent = exchange.steps.iter().filter_map(|step| match step {
            Step::Bytes(step) => Some((step.from, peer::bytes(&step.hex))),
            _ => None,
        });
        assert_eq!(shown(dump), sent.collect::<Vec<_>>(), "{name}");
    }
    assert!(blocks.next().is_none());
}

/// What each side sends, as a hex dump shows it.
fn shown(dump: &str) -> Vec<(Side, Vec<u8>)> {
    let mut shown = Vec::new();
    for line in dump.lines() {
        // A side, where it begins to send; its bytes; what they mean.
        let (side, rest) = line.split_at(8);
        match side.trim() {
            "client" => shown.push((Side::Client, Vec::new())),
            "server" => shown.push((Side::Server, Vec::new())),
            _ => {}
        }
        shown.last_mut().unwrap().1.extend(peer::bytes(&rest[..rest.len().min(48)]));
    }
    shown
}

impl Exchange {
    /// The limits of which a side speaks in its hello, if it says one.
    fn limits(&self, side: Side) -> Limits {
        let hellos = self.steps.iter().filter_map(|step| match step {
            Step::Bytes(bytes) if bytes.from == side => bytes.message.as_ref(),
            _ => None,
        });
        let mut limits = Limits::default();
        let Some(hello) = hellos.into_iter().find(|message| message[0] == 10) else { return limits };
        for (name, value) in hello[4].as_object().unwrap() {
            let value = usize::try_from(value.as_u64().unwrap()).unwrap();
            limits = match name.as_str() {
                "frame_bytes" => limits.with_frame_bytes(value),
                "calls" => limits.with_calls(value),
                "message_bytes" => limits.with_message_bytes(value),
                "streams" => limits.with_streams(value),
                "stream_bytes" => limits.with_stream_bytes(value),
                "pings_per_second" => limits.with_pings_per_second(value as u32),
                "cancels" => limits.with_cancels(value as u32),
                "cancels_per_second" => limits.with_cancels_per_second(value as u32),
                _ => limits,
            };
        }
        limits
    }
}

impl Group {
    fn checked_as(&self, side: Side) -> impl Iterator<Item = &Exchange> {
        let exchanges = self.exchanges.iter().filter(move |exchange| exchange.checked_as.contains(&side));
        exchanges.inspect(|exchange| println!("{}", exchange.name))
    }

    /// Plays the client's part to a real server.
    async fn check_server<S>(&self, exchange: &Exchange, bound: Bound, abacus: &Abacus, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shutdown = bound.shutdown_handle();
        let serving = tokio::spawn(bound.serve());
        let play = async {
            let mut peer = Peer::new(stream, Side::Client);
            if !self.from_start {
                peer.greet().await;
            }
            for step in &exchange.steps {
                match step {
                    Step::Event { event } => match event.as_str() {
                        "the server is told to shut down" => drop(shutdown.shutdown()),
                        "the handler ends" | "the producer has an item" => abacus.let_go(),
                        // The server waits for it, and so virtual time goes on.
                        "30 seconds pass" | "20 seconds pass" => {}
                        other => panic!("what is {other:?}?"),
                    },
                    step => peer.play(step).await,
                }
            }
            peer.leave().await;
        };
        tokio::time::timeout(STUCK, play).await.expect("the exchange goes on");
        serving.abort();
    }

    /// Plays the server's part to a real client.
    async fn check_client<S>(&self, exchange: &Exchange, connecting: Connecting<Channel>, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.check_client_later(exchange, connecting, std::future::ready(stream)).await;
    }

    async fn check_client_later<S>(
        &self,
        exchange: &Exchange,
        connecting: Connecting<Channel>,
        stream: impl Future<Output = S>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (played, all_played) = oneshot::channel();
        let items = Arc::new(Semaphore::new(0));
        let cues = Cues { played: all_played, items: Arc::clone(&items) };
        let call = async { callers::call(&exchange.name, connecting.await, cues).await };
        let play = async {
            let mut peer = Peer::new(stream.await, Side::Server);
            if !self.from_start {
                peer.greet().await;
            }
            for step in &exchange.steps {
                match step {
                    Step::Event { event } if event == "the producer has an item" => items.add_permits(1),
                    // What happens at the server shows in what it sends.
                    Step::Event { .. } => {}
                    step => peer.play(step).await,
                }
            }
            // Callers that wait for more than their calls have gone otherwise.
            let _ = played.send(());
            peer.leave().await;
        };
        tokio::time::timeout(STUCK, async { tokio::join!(call, play) }).await.expect("the exchange goes on");
    }
}

fn group(json: &str) -> Group {
    serde_json::from_str(json).unwrap()
}

fn pipe() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(64 * 1024)
}

/// The server that an exchange is with.
fn server(exchange: &Exchange) -> (Server, Abacus) {
    let limits = exchange.limits(Side::Server);
    let limits = match exchange.name.as_str() {
        "a call too many" => limits.with_calls(1),
        "too much metadata" => limits.with_metadata_bytes(64),
        "an open that is refused, and its items" | "a place is free after the final message" => {
            limits.with_streams(1)
        }
        _ => limits,
    };
    let abacus = Abacus::default();
    (Server::new().limits(limits).add(CalculatorServer::new(abacus.clone())), abacus)
}
