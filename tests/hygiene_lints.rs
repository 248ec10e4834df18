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
use serde::{Deserialize, Serialize};

/// A point.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Across.
    pub x: i32,
}

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
}

/// Pairs of values.
#[service(compact)]
pub trait Pairs<K: Ord, V>: std::fmt::Debug {
    /// The value of a key.
    async fn value(&self, key: &K) -> Option<V>;
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
    use super::{Deserialize, Serialize, service};

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Private;

    /// Only its client is used here.
    #[service]
    pub(super) trait Called {
        async fn method(&self, private: Private) -> Private;
        async fn other(&self);
    }

    /// Only its server is used here.
    #[service]
    pub(super) trait Served {
        async fn method(&self, private: Private) -> Private;
        async fn other(&self);
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
}

impl Served for Handler {
    async fn method(&self, private: Private) -> Private {
        private
    }
    async fn other(&self) {}
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
    let called = CalledClient::from(AsRef::<rpc::Channel>::as_ref(&client).clone());
    assert!(called.method(Private).await.is_err());
    serving.abort();
    Ok(())
}
