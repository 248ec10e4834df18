//! How deep values may nest and how much memory they may take, as settings of either side.

use rpc::{Channel, Code, Error, Executed, Limits, Server, service};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    inside: Option<Box<Nested>>,
}

impl Nested {
    /// So many structs, each of which takes two levels: its own, and that of the option it is in.
    fn of(structs: usize) -> Self {
        (1..structs).fold(Nested { inside: None }, |inner, _| Nested { inside: Some(Box::new(inner)) })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Refusal {
    why: Nested,
}

#[service]
trait Mirror {
    async fn accept(&self, nested: Nested);
    async fn numbers(&self, numbers: Vec<u64>) -> usize;
    async fn nest(&self, structs: usize) -> Nested;
    async fn ones(&self, count: usize) -> Vec<u64>;
    async fn refuse(&self, structs: usize) -> Result<(), Refusal>;
}

struct Glass;

impl Mirror for Glass {
    async fn accept(&self, _nested: Nested) {}

    async fn numbers(&self, numbers: Vec<u64>) -> usize {
        numbers.len()
    }

    async fn nest(&self, structs: usize) -> Nested {
        Nested::of(structs)
    }

    async fn ones(&self, count: usize) -> Vec<u64> {
        vec![1; count]
    }

    async fn refuse(&self, structs: usize) -> Result<(), Refusal> {
        Err(Refusal { why: Nested::of(structs) })
    }
}

/// A client and a server with limits of their own.
async fn between(name: &str, client: Limits, server: Limits) -> MirrorClient {
    let address = format!("mem://unmarshal-limits-{name}");
    let bound =
        Server::new().add(MirrorServer::new(Glass)).limits(server).bind(&address).await.expect("bound");
    tokio::spawn(bound.serve());
    MirrorClient::new(Channel::connect(&address).limits(client).await.expect("connected"))
}

#[track_caller]
fn is(error: &Error, code: Code, executed: Executed, says: &str) {
    assert_eq!((error.code(), error.executed()), (code, executed), "{error}");
    assert!(error.message().contains(says), "{error}");
}

const TOO_DEEP: &str = "nested too deeply";
const TOO_LARGE: &str = "more memory";

#[tokio::test]
async fn a_server_may_take_less_or_more() {
    let less = Limits::default().with_unmarshal_depth(8).with_unmarshal_budget(700);
    let client = between("server-less", Limits::default(), less).await;
    client.accept(Nested::of(4)).await.expect("eight levels");
    let error = client.accept(Nested::of(5)).await.expect_err("ten levels");
    is(&error, Code::InvalidArgument, Executed::No, TOO_DEEP);
    assert_eq!(client.numbers(vec![1; 100]).await.expect("800 bytes, of which 100 came"), 100);
    let error = client.numbers(vec![1; 110]).await.expect_err("880 bytes, of which 110 came");
    is(&error, Code::InvalidArgument, Executed::No, TOO_LARGE);
    assert_eq!(client.nest(32).await.expect("replies are the client's affair"), Nested::of(32));

    let more = Limits::default().with_unmarshal_depth(200);
    let client = between("server-more", Limits::default(), more).await;
    client.accept(Nested::of(100)).await.expect("two hundred levels");
}

#[tokio::test]
async fn a_client_may_take_less_or_more() {
    let less = Limits::default().with_unmarshal_depth(8).with_unmarshal_budget(700);
    let client = between("client-less", less, Limits::default()).await;
    assert_eq!(client.nest(4).await.expect("eight levels"), Nested::of(4));
    is(&client.nest(5).await.expect_err("ten levels"), Code::Internal, Executed::Yes, TOO_DEEP);
    assert_eq!(client.ones(100).await.expect("800 bytes, of which 100 came").len(), 100);
    is(&client.ones(110).await.expect_err("880 bytes"), Code::Internal, Executed::Yes, TOO_LARGE);
    match client.refuse(5).await.expect_err("it always refuses") {
        rpc::CallError::Rpc(error) => is(&error, Code::Internal, Executed::Yes, TOO_DEEP),
        rpc::CallError::App(refusal) => panic!("{refusal:?} is too deep"),
    }

    let more = Limits::default().with_unmarshal_depth(200);
    let client = between("client-more", more, Limits::default()).await;
    assert_eq!(client.nest(100).await.expect("two hundred levels"), Nested::of(100));
}

#[test]
fn a_depth_out_of_range_counts_as_the_end_of_the_range() {
    assert_eq!(Limits::default().with_unmarshal_depth(u32::MAX).unmarshal_depth(), 1_024);
    assert_eq!(Limits::default().with_unmarshal_depth(0).unmarshal_depth(), 1);
}
