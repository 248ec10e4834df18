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
    });
}
