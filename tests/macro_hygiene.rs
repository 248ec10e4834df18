//! Generated code keeps to itself: no name of the user's gets in its way, and none of its own in the user's.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod macro_support;

use macro_support::serve;
use rpc::{Server, Stream, Streaming, iter, service};

#[service]
trait Locals {
    #[allow(clippy::too_many_arguments)]
    async fn names(
        &self,
        arguments: u8,
        request: u8,
        handler: u8,
        channel: u8,
        service: u8,
        to: u8,
        formatter: u8,
    ) -> u8;
    #[allow(clippy::too_many_arguments)]
    async fn more_names(&self, self_: u8, this: u8, types: u8, reply: u8, rpc: u8, std: u8, core: u8) -> u8;
}

struct Sum;

impl Locals for Sum {
    async fn names(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) -> u8 {
        a + b + c + d + e + f + g
    }
    async fn more_names(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) -> u8 {
        a + b + c + d + e + f + g
    }
}

/// Methods that the handler, its `Arc` and everything else have as well.
#[service]
trait Popular: Clone {
    async fn clone(&self) -> u8;
    async fn as_ref(&self) -> u8;
    async fn into(&self) -> u8;
    async fn everywhere(&self) -> u8;
    async fn dispatch(&self) -> u8;
}

trait Everywhere {
    fn everywhere(&self) -> u8 {
        0
    }
}

impl<T: ?Sized> Everywhere for T {}

#[derive(Clone)]
struct Well;

impl Popular for Well {
    async fn clone(&self) -> u8 {
        1
    }
    async fn as_ref(&self) -> u8 {
        2
    }
    async fn into(&self) -> u8 {
        3
    }
    async fn everywhere(&self) -> u8 {
        4 + Everywhere::everywhere(self)
    }
    async fn dispatch(&self) -> u8 {
        5
    }
}

/// Types named as the macro names its type parameters.
#[service]
trait Handler<Via: Into<u64>> {
    async fn handle(&self, client: &Client, via: Via) -> u64;
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Client {
    number: u64,
}

struct Handles;

impl Handler<u32> for Handles {
    async fn handle(&self, client: &Client, via: u32) -> u64 {
        client.number + u64::from(via)
    }
}

#[tokio::test]
async fn names_of_the_users_are_free() {
    let server = Server::new().add(LocalsServer::new(Sum)).add(PopularServer::new(Well));
    let address = serve(server.add(HandlerServer::new(Handles))).await;
    let channel = rpc::Channel::connect(address.as_str()).await.unwrap();
    let locals = LocalsClient::new(channel.clone());
    assert_eq!(locals.names(1, 2, 3, 4, 5, 6, 7).await.unwrap(), 28);
    assert_eq!(locals.more_names(1, 2, 3, 4, 5, 6, 7).await.unwrap(), 28);
    let popular = PopularClient::new(channel.clone());
    assert_eq!(popular.clone().await.unwrap(), 1);
    assert_eq!(popular.as_ref().await.unwrap(), 2);
    assert_eq!(PopularClient::into(&popular).await.unwrap(), 3);
    assert_eq!(popular.everywhere().await.unwrap(), 4);
    assert_eq!(popular.dispatch().await.unwrap(), 5);
    let handler = HandlerClient::<u32>::new(channel);
    assert_eq!(handler.handle(&Client { number: 2 }, 3).await.unwrap(), 5);
}

/// As a crate that hands the framework on would have it.
mod reexported {
    pub(crate) mod framework {
        pub(crate) use rpc::*;
    }
}

#[service(crate = reexported::framework)]
trait Elsewhere {
    async fn number(&self) -> u8;
}

/// The same by an absolute path, and with the types of a private module.
mod private {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Secret(u8);

    #[super::service(crate = crate::reexported::framework)]
    trait Hidden {
        async fn reveal(&self, secret: Secret) -> Secret;
    }

    struct Keeper;

    impl Hidden for Keeper {
        async fn reveal(&self, secret: Secret) -> Secret {
            Secret(secret.0 + 1)
        }
    }

    pub(super) fn server(server: rpc::Server) -> rpc::Server {
        server.add(HiddenServer::new(Keeper))
    }

    pub(super) async fn reveal(channel: rpc::Channel) -> u8 {
        HiddenClient::new(channel).reveal(Secret(1)).await.unwrap().0
    }
}

/// Traits that come out of a `macro_rules!`, whose names and types are those of the caller.
macro_rules! getter {
    ($name:ident, $method:ident: $ty:ty, $result:ty) => {
        #[service]
        trait $name {
            async fn $method(&self, key: $ty) -> $result;
            async fn twice(&self, key: $ty) -> $result {
                drop(self.$method(key).await);
                self.$method(key).await
            }
        }
    };
}

getter!(Getter, lookup: &str, Result<usize, String>);

struct Seven;

impl Elsewhere for Seven {
    async fn number(&self) -> u8 {
        7
    }
}

impl Getter for Seven {
    async fn lookup(&self, key: &str) -> Result<usize, String> {
        if key.is_empty() { Err("no key".to_owned()) } else { Ok(key.len()) }
    }
}

#[tokio::test]
async fn paths_modules_macros_and_function_bodies() {
    #[service]
    trait Inside {
        async fn increment(&self, number: u8) -> u8;
    }

    impl Inside for Seven {
        async fn increment(&self, number: u8) -> u8 {
            number + 1
        }
    }

    let server = Server::new().add(ElsewhereServer::new(Seven)).add(InsideServer::new(Seven));
    let server = private::server(server.add(GetterServer::new(Seven)));
    let channel = rpc::Channel::connect(serve(server).await.as_str()).await.unwrap();
    assert_eq!(ElsewhereClient::new(channel.clone()).number().await.unwrap(), 7);
    assert_eq!(InsideClient::new(channel.clone()).increment(1).await.unwrap(), 2);
    assert_eq!(private::reveal(channel.clone()).await, 2);
    let getter = GetterClient::new(channel);
    assert_eq!(getter.lookup("four").await.unwrap(), 4);
    assert_eq!(getter.twice("").await.unwrap_err().app().unwrap(), "no key");
}

/// Two of one name, in one module and a function of it, and another of another name beside them.
#[service]
trait Twice {
    async fn count(&self, to: u8) -> impl Stream<Item = u8>;
    async fn sum(&self, numbers: Streaming<u8>) -> u8;
}

#[service(name = "Twice.again", crate = reexported::framework)]
trait TwiceAgain {
    async fn count(&self, to: u8) -> impl Stream<Item = u8>;
    async fn sum(&self, numbers: Streaming<u8>) -> u8;
}

impl Twice for Seven {
    async fn count(&self, to: u8) -> impl Stream<Item = u8> {
        iter(0..to)
    }
    async fn sum(&self, numbers: Streaming<u8>) -> u8 {
        sum(numbers).await
    }
}

impl TwiceAgain for Seven {
    async fn count(&self, to: u8) -> impl Stream<Item = u8> {
        iter((0..to).rev())
    }
    async fn sum(&self, numbers: Streaming<u8>) -> u8 {
        sum(numbers).await * 2
    }
}

async fn sum(mut numbers: Streaming<u8>) -> u8 {
    let mut sum = 0;
    while let Some(number) = numbers.next().await {
        sum += number.unwrap();
    }
    sum
}

#[tokio::test]
async fn streams_twice_in_a_module_and_in_a_function_body() {
    mod inside {
        use rpc::{Stream, Streaming, service};

        /// Where a type of the user's is called as the crate's are, the crate's are meant by the macro.
        #[allow(dead_code)]
        pub(super) struct Call;
        #[allow(dead_code)]
        pub(super) struct StreamArgument;

        #[service(name = "inside")]
        pub(super) trait Twice {
            async fn count(&self, to: u8) -> impl Stream<Item = u8> {
                rpc::iter([to])
            }
            async fn back(&self, numbers: Streaming<u8>) -> impl Stream<Item = Result<u8, rpc::Error>> {
                numbers
            }
        }
    }
    #[service(name = "body")]
    trait InBody {
        async fn count(&self, to: u8) -> impl Stream<Item = u8>;
        async fn sum(&self, numbers: Streaming<u8>) -> u8;
    }

    impl InBody for Seven {
        async fn count(&self, to: u8) -> impl Stream<Item = u8> {
            iter(7..7 + to)
        }
        async fn sum(&self, numbers: Streaming<u8>) -> u8 {
            sum(numbers).await + 7
        }
    }

    impl inside::Twice for Seven {}

    let server = Server::new().add(TwiceServer::new(Seven)).add(TwiceAgainServer::new(Seven));
    let server = server.add(InBodyServer::new(Seven)).add(inside::TwiceServer::new(Seven));
    let channel = rpc::Channel::connect(serve(server).await.as_str()).await.unwrap();
    let twice = TwiceClient::new(channel.clone());
    let again = TwiceAgainClient::new(channel.clone());
    let body = InBodyClient::new(channel.clone());
    let inside = inside::TwiceClient::new(channel);
    assert_eq!(twice.sum(iter([1, 2])).await.unwrap(), 3);
    assert_eq!(again.sum(iter([1, 2])).await.unwrap(), 6);
    assert_eq!(body.sum(iter([1, 2])).await.unwrap(), 10);
    assert_eq!(sum(twice.count(4).await.unwrap()).await, 6);
    assert_eq!(again.count(4).await.unwrap().next().await.unwrap().unwrap(), 3);
    assert_eq!(sum(body.count(2).await.unwrap()).await, 15);
    assert_eq!(sum(inside.count(9).await.unwrap()).await, 9);
    assert_eq!(sum(inside.back(iter([8, 1])).await.unwrap()).await, 9);
}

#[tokio::test]
async fn a_client_in_this_process_is_of_the_same_type() {
    let client: GetterClient = GetterClient::in_process(GetterServer::new(std::sync::Arc::new(Seven)));
    assert_eq!(client.lookup("three").await.unwrap(), 5);
    assert!(format!("{client:?}").starts_with("GetterClient"), "{client:?}");
    assert_eq!(format!("{:?}", GetterServer::new(Seven)), "GetterServer { .. }");
}
