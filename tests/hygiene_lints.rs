//! A crate that denies every lint it can: generated code gives none of them a reason.
//!
//! What is tested here is mostly that it compiles, and under `cargo clippy --tests` that it does so in silence.

#![deny(
    warnings,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    single_use_lifetimes,
    unused_lifetimes,
    unused_results,
    trivial_casts,
    trivial_numeric_casts,
    let_underscore_drop,
    explicit_outlives_requirements,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::unwrap_used
)]
#![forbid(unsafe_code)]

pub use rpc::service;
use rpc::{CallError, Stream, Streaming};
use serde::{Deserialize, Serialize};

/// A point.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Across.
    pub x: i32,
}

/// A number that is odd.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Odd(u32);

/// A service that is seen from outside.
#[service]
pub trait Public {
    /// The sum.
    async fn sum(&self, a: i32, point: &Point, rest: &[Point]) -> i32;
    /// Some text.
    ///
    /// # Errors
    /// None.
    #[rpc(idempotent, name = "words", alias = "text")]
    async fn text(&self, text: &str, #[rpc(default)] grown: u64) -> Result<String, String> {
        Ok(format!("{text}{grown}"))
    }
    /// A long list.
    #[expect(clippy::too_many_arguments, reason = "what is expected of the trait is allowed in the client")]
    async fn long(&self, a1: u8, b1: u8, c1: u8, d1: u8, e1: u8, f1: u8, g1: u8, h1: u8) -> u8;
    /// Names that another crate has chosen.
    #[allow(non_snake_case, reason = "forwarded to the client")]
    async fn camelCase(&self, otherName: u8) -> u8;
    /// No more.
    #[deprecated = "use `text`"]
    async fn old(&self) -> u8;
    /// Only sometimes.
    #[cfg(false)]
    async fn gone(&self, unknown: Unknown);
    /// Numbers below another.
    async fn count(&self, to: u32) -> impl Stream<Item = u32>;
    /// The same, if there are any.
    ///
    /// # Errors
    /// If there are none; with the first that is odd.
    #[rpc(idempotent)]
    async fn even(&self, to: &[u32]) -> Result<impl Stream<Item = Result<u32, Odd>>, String>;
    /// All of them at once.
    async fn collected(&self, name: &str, numbers: Streaming<u32>, points: Streaming<Point, Odd>)
    -> Vec<u32>;
    /// One for one.
    #[deprecated = "use `count`"]
    #[allow(non_snake_case, reason = "forwarded to the client")]
    async fn echoAll(&self, allNumbers: Streaming<u32>) -> impl Stream<Item = Result<u32, rpc::Error>> {
        allNumbers
    }
    /// Only sometimes, and then of what is not there.
    #[cfg(false)]
    async fn gone_too(&self, unknown: Streaming<Unknown>) -> impl Stream<Item = Unknown>;
}

/// Streams, and nothing else to decode.
#[service]
pub trait Only {
    /// Numbers without an end.
    async fn numbers(&self) -> impl Stream<Item = u32>;
}

/// Pairs of values.
#[service(compact)]
pub trait Pairs<K: Ord, V>: std::fmt::Debug {
    /// The value of a key.
    async fn value(&self, key: &K) -> Option<V>;
    /// Each of them.
    async fn each(&self, keys: Streaming<K>) -> impl Stream<Item = (K, V)>;
}

/// Nothing at all.
#[service]
pub trait Empty {}

/// A service that nobody should use.
#[service]
#[deprecated]
#[doc(hidden)]
pub trait Old {
    /// Something.
    async fn method(&self, a: u8);
}

mod inner {
    use super::{Deserialize, Serialize, Stream, Streaming, service};

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Private;

    /// Only its client is used here.
    #[service]
    pub(super) trait Called {
        async fn method(&self, private: Private) -> Private;
        async fn other(&self);
        async fn stream(&self, private: Streaming<Private>) -> impl Stream<Item = Private>;
    }

    /// Only its server is used here.
    #[service]
    pub(super) trait Served {
        async fn method(&self, private: Private) -> Private;
        async fn other(&self);
        async fn stream(&self, private: Streaming<Private>) -> impl Stream<Item = Private>;
    }
}

use inner::{CalledClient, Private, Served, ServedServer};

#[derive(Debug)]
struct Handler;

impl Public for Handler {
    async fn sum(&self, a: i32, point: &Point, rest: &[Point]) -> i32 {
        a + point.x + rest.iter().map(|point| point.x).sum::<i32>()
    }
    async fn long(&self, a1: u8, b1: u8, c1: u8, d1: u8, e1: u8, f1: u8, g1: u8, h1: u8) -> u8 {
        a1 + b1 + c1 + d1 + e1 + f1 + g1 + h1
    }
    async fn camelCase(&self, other_name: u8) -> u8 {
        other_name
    }
    async fn old(&self) -> u8 {
        9
    }
    async fn count(&self, to: u32) -> impl Stream<Item = u32> {
        rpc::iter(0..to)
    }
    async fn even(&self, to: &[u32]) -> Result<impl Stream<Item = Result<u32, Odd>>, String> {
        let Some(&to) = to.first() else { return Err("none".to_owned()) };
        Ok(rpc::iter((0..to).map(|number| if number % 2 == 0 { Ok(number) } else { Err(Odd(number)) })))
    }
    async fn collected(
        &self,
        name: &str,
        mut numbers: Streaming<u32>,
        mut points: Streaming<Point, Odd>,
    ) -> Vec<u32> {
        let mut all = vec![u32::try_from(name.len()).unwrap_or_default()];
        while let Some(Ok(number)) = numbers.next().await {
            all.push(number);
        }
        while let Some(point) = points.next().await {
            match point {
                Ok(point) => all.push(point.x.unsigned_abs()),
                Err(CallError::App(Odd(odd))) => all.push(odd),
                Err(CallError::Rpc(_)) => all.clear(),
            }
        }
        all
    }
}

impl Served for Handler {
    async fn method(&self, private: Private) -> Private {
        private
    }
    async fn other(&self) {}
    async fn stream(&self, mut private: Streaming<Private>) -> impl Stream<Item = Private> {
        rpc::iter(private.next().await.and_then(Result::ok))
    }
}

impl Only for Handler {
    async fn numbers(&self) -> impl Stream<Item = u32> {
        rpc::iter(0..)
    }
}

#[tokio::test]
async fn it_is_called_over_a_socket() -> Result<(), rpc::Error> {
    let server = rpc::Server::new().add(PublicServer::new(Handler)).add(ServedServer::new(Handler));
    let bound = server.bind("tcp://127.0.0.1:0").await?;
    let client = PublicClient::connect(bound.local_addr().to_string().as_str());
    let serving = tokio::spawn(bound.serve());
    let client = client.await?;
    assert_eq!(client.sum(1, &Point { x: 2 }, &[Point { x: 3 }]).await?, 6);
    assert_eq!(client.text("text", 1).await.ok().as_deref(), Some("text1"));
    assert_eq!(client.long(1, 2, 3, 4, 5, 6, 7, 8).await?, 36);
    assert_eq!(client.camelCase(5).await?, 5);
    #[expect(deprecated, reason = "the client's method is as deprecated as the trait's")]
    let old = client.old().await?;
    assert_eq!(old, 9);
    let mut count = client.count(1).await?;
    assert_eq!(count.next().await.transpose()?, Some(0));
    assert_eq!(count.next().await.transpose()?, None);
    let Ok(mut even) = client.even(&[2]).await else { panic!("there are some") };
    assert_eq!(even.next().await.and_then(Result::ok), Some(0));
    assert!(matches!(even.next().await, Some(Err(CallError::App(Odd(1))))));
    let points = rpc::iter([Ok(Point { x: -3 }), Err(Odd(5))]);
    assert_eq!(client.collected("four", rpc::iter([1]), points).await?, [4, 1, 3, 5]);
    #[expect(deprecated, reason = "the client's method is as deprecated as the trait's")]
    let mut echo = client.echoAll(rpc::iter([6])).await?;
    assert_eq!(echo.next().await.transpose()?, Some(6));
    let only = OnlyClient::in_process(OnlyServer::new(Handler));
    assert_eq!(only.numbers().await?.next().await.transpose()?, Some(0));
    let called = CalledClient::from(AsRef::<rpc::Channel>::as_ref(&client).clone());
    assert!(called.method(Private).await.is_err());
    assert!(called.stream(rpc::iter([Private])).await.is_err());
    serving.abort();
    Ok(())
}
