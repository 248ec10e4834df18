//! A crate without the prelude: generated code names all it needs by absolute paths.

#![no_implicit_prelude]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use ::rpc::service;
use ::serde::{Deserialize, Serialize};
use ::std::result::Result;
use ::std::string::String;

#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    why: String,
}

#[service]
trait Bare<K: ::std::cmp::Ord> {
    async fn lookup(&self, key: &K, keys: &[K], text: &str) -> Result<u64, Refusal>;
    async fn r#type(&self, #[rpc(default)] grown: u8) -> u8 {
        grown
    }
    #[rpc(oneway)]
    async fn log(&self, line: String);
    #[deprecated]
    async fn old(&self);
    async fn count(&self, to: &K) -> impl ::rpc::Stream<Item = u64>;
    async fn opened(&self, keys: &[K]) -> Result<impl ::rpc::Stream<Item = Result<u64, Refusal>>, Refusal>;
    async fn sum(&self, key: K, keys: ::rpc::Streaming<K>, words: ::rpc::Streaming<String, Refusal>) -> u64;
    async fn back(&self, keys: ::rpc::Streaming<K>) -> impl ::rpc::Stream<Item = Result<K, ::rpc::Error>> {
        keys
    }
}

#[service(compact, name = "")]
trait Empty {}

struct Handler;

impl Bare<u32> for Handler {
    async fn lookup(&self, key: &u32, keys: &[u32], text: &str) -> Result<u64, Refusal> {
        if text.is_empty() {
            return Result::Err(Refusal { why: ::std::convert::From::from("no text") });
        }
        Result::Ok(::std::convert::From::from(*key + keys[0]))
    }
    async fn log(&self, _line: String) {}
    async fn old(&self) {}
    async fn count(&self, to: &u32) -> impl ::rpc::Stream<Item = u64> {
        ::rpc::iter(0..::std::convert::From::from(*to))
    }
    async fn opened(&self, keys: &[u32]) -> Result<impl ::rpc::Stream<Item = Result<u64, Refusal>>, Refusal> {
        if keys.is_empty() {
            return Result::Err(Refusal { why: ::std::convert::From::from("no keys") });
        }
        let refusal = Refusal { why: ::std::convert::From::from("no more") };
        Result::Ok(::rpc::iter([Result::Ok(::std::convert::From::from(keys[0])), Result::Err(refusal)]))
    }
    async fn sum(
        &self,
        key: u32,
        mut keys: ::rpc::Streaming<u32>,
        mut words: ::rpc::Streaming<String, Refusal>,
    ) -> u64 {
        let mut sum = key;
        while let ::std::option::Option::Some(key) = keys.next().await {
            sum += key.unwrap();
        }
        while let ::std::option::Option::Some(Result::Ok(_)) = words.next().await {
            sum += 1;
        }
        ::std::convert::From::from(sum)
    }
}

impl Empty for Handler {}

#[::core::prelude::v1::test]
fn it_is_called_over_a_socket() {
    ::tokio::runtime::Runtime::new().unwrap().block_on(async {
        let server = ::rpc::Server::new().add(BareServer::new(Handler)).add(EmptyServer::new(Handler));
        let bound = server.bind("tcp://127.0.0.1:0").await.unwrap();
        let address = ::std::string::ToString::to_string(&bound.local_addr());
        let _serving = ::tokio::spawn(bound.serve());
        let client = BareClient::<u32>::connect(address.as_str()).await.unwrap();
        ::std::assert_eq!(client.lookup(&1, &[2], "text").await.unwrap(), 3);
        let refusal = client.lookup(&1, &[2], "").await.unwrap_err();
        ::std::assert_eq!(refusal.app().unwrap().why, "no text");
        ::std::assert_eq!(client.r#type(4).await.unwrap(), 4);
        client.log(::std::convert::From::from("line")).await.unwrap();
        let mut count = client.count(&1).await.unwrap();
        ::std::assert_eq!(count.next().await.unwrap().unwrap(), 0);
        ::std::assert!(count.next().await.is_none());
        let mut opened = client.opened(&[7]).await.unwrap();
        ::std::assert_eq!(opened.next().await.unwrap().unwrap(), 7);
        ::std::assert_eq!(opened.next().await.unwrap().unwrap_err().app().unwrap().why, "no more");
        ::std::assert_eq!(client.opened(&[]).await.unwrap_err().app().unwrap().why, "no keys");
        let words = ::rpc::iter([Result::Ok(::std::convert::From::from("word"))]);
        ::std::assert_eq!(client.sum(1, ::rpc::iter([2, 3]), words).await.unwrap(), 7);
        let mut back = client.back(::rpc::iter([9])).await.unwrap();
        ::std::assert_eq!(back.next().await.unwrap().unwrap(), 9);
    });
}
