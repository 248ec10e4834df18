//! Every form that a service can have, called over a socket.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod macro_support;

use macro_support::serve;
use rpc::{CallError, Channel, Code, Error, Server, service};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum MathError {
    DivisionByZero { dividend: i64 },
}

type Quotient = Result<i64, MathError>;

#[service]
trait Arguments {
    async fn owned(&self, number: u64, text: String, bytes: Vec<u8>, point: Point) -> String;
    async fn borrowed(&self, text: &str, bytes: &[u8]) -> (usize, usize);
    async fn lent(&self, point: &Point, numbers: &BTreeMap<String, u64>) -> i32;
    async fn slices(&self, points: &[Point], words: &[&str]) -> usize;
    async fn inside(
        &self,
        maybe: Option<&str>,
        pairs: Vec<(&str, &[u8])>,
        by_name: BTreeMap<&str, u8>,
    ) -> String;
    async fn elided(&self, text: Cow<'_, str>, other: &'_ str, fixed: Cow<'static, str>) -> String;
    #[allow(clippy::too_many_arguments)]
    async fn sixteen(
        &self,
        a: u8,
        b: u8,
        c: u8,
        d: u8,
        e: u8,
        f: u8,
        g: u8,
        h: u8,
        i: u8,
        j: u8,
        k: u8,
        l: u8,
        m: u8,
        n: u8,
        o: u8,
        p: u8,
    ) -> Vec<u8>;
}

struct Echo;

impl Arguments for Echo {
    async fn owned(&self, number: u64, text: String, bytes: Vec<u8>, point: Point) -> String {
        format!("{number} {text} {bytes:?} {point:?}")
    }
    async fn borrowed(&self, text: &str, bytes: &[u8]) -> (usize, usize) {
        (text.len(), bytes.len())
    }
    async fn lent(&self, point: &Point, numbers: &BTreeMap<String, u64>) -> i32 {
        point.x + point.y + i32::try_from(numbers["a"]).unwrap()
    }
    async fn slices(&self, points: &[Point], words: &[&str]) -> usize {
        points.len() + words.concat().len()
    }
    async fn inside(
        &self,
        maybe: Option<&str>,
        pairs: Vec<(&str, &[u8])>,
        by_name: BTreeMap<&str, u8>,
    ) -> String {
        format!("{maybe:?} {pairs:?} {by_name:?}")
    }
    async fn elided(&self, text: Cow<'_, str>, other: &'_ str, fixed: Cow<'static, str>) -> String {
        format!("{text}{other}{fixed}")
    }
    #[rustfmt::skip]
    async fn sixteen(
        &self,
        a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8,
        i: u8, j: u8, k: u8, l: u8, m: u8, n: u8, o: u8, p: u8,
    ) -> Vec<u8> {
        vec![a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }
}

#[tokio::test]
async fn arguments() {
    let address = serve(Server::new().add(ArgumentsServer::new(Echo))).await;
    let client = ArgumentsClient::connect(address.as_str()).await.unwrap();
    let point = Point { x: 3, y: 4 };
    assert_eq!(
        client.owned(u64::MAX, "text".into(), vec![0, 255], point.clone()).await.unwrap(),
        "18446744073709551615 text [0, 255] Point { x: 3, y: 4 }"
    );
    assert_eq!(client.borrowed("four", &[1, 2, 3]).await.unwrap(), (4, 3));
    assert_eq!(client.borrowed("", &[]).await.unwrap(), (0, 0));
    assert_eq!(client.lent(&point, &BTreeMap::from([("a".into(), 1)])).await.unwrap(), 8);
    assert_eq!(client.slices(&[point.clone(), point], &["ab", "c"]).await.unwrap(), 5);
    assert_eq!(
        client.inside(Some("yes"), vec![("a", b"b")], BTreeMap::from([("k", 1)])).await.unwrap(),
        r#"Some("yes") [("a", [98])] {"k": 1}"#
    );
    assert_eq!(client.elided("a".into(), "b", "c".into()).await.unwrap(), "abc");
    let sixteen = client.sixteen(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15).await.unwrap();
    assert_eq!(sixteen, (0..16).collect::<Vec<u8>>());
}

#[service]
trait Outcomes {
    async fn nothing(&self);
    async fn unit(&self) -> ();
    async fn value(&self) -> Option<Point>;
    async fn result(&self, dividend: i64, divisor: i64) -> Result<i64, MathError>;
    #[expect(unused_qualifications)]
    async fn qualified(&self) -> std::result::Result<(), String>;
    async fn code(&self, ok: bool) -> Result<u8, Error>;
    async fn alias(&self, dividend: i64, divisor: i64) -> Quotient;
    async fn default_body(&self, dividend: i64) -> Result<i64, MathError> {
        if dividend < 0 {
            return Ok(0);
        }
        Ok(self.result(dividend, 2).await? + self.result(dividend, 0).await.unwrap_or(1))
    }
}

struct Divider;

impl Outcomes for Divider {
    async fn nothing(&self) {}
    async fn unit(&self) {}
    async fn value(&self) -> Option<Point> {
        Some(Point { x: 1, y: 2 })
    }
    async fn result(&self, dividend: i64, divisor: i64) -> Result<i64, MathError> {
        dividend.checked_div(divisor).ok_or(MathError::DivisionByZero { dividend })
    }
    #[expect(unused_qualifications)]
    async fn qualified(&self) -> std::result::Result<(), String> {
        Err("no".into())
    }
    async fn code(&self, ok: bool) -> Result<u8, Error> {
        if ok { Ok(7) } else { Err(Error::new(Code::NotFound, "there is none")) }
    }
    async fn alias(&self, dividend: i64, divisor: i64) -> Quotient {
        self.result(dividend, divisor).await
    }
}

#[tokio::test]
async fn outcomes() {
    let address = serve(Server::new().add(OutcomesServer::new(Divider))).await;
    let client = OutcomesClient::connect(address.as_str()).await.unwrap();
    let () = client.nothing().await.unwrap();
    let () = client.unit().await.unwrap();
    assert_eq!(client.value().await.unwrap(), Some(Point { x: 1, y: 2 }));
    assert_eq!(client.result(7, 2).await.unwrap(), 3);
    match client.result(7, 0).await {
        Err(CallError::App(error)) => assert_eq!(error, MathError::DivisionByZero { dividend: 7 }),
        other => panic!("{other:?}"),
    }
    assert!(matches!(client.qualified().await, Err(CallError::App(no)) if no == "no"));
    assert_eq!(client.code(true).await.unwrap(), 7);
    let error: Error = client.code(false).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::NotFound, "there is none"));
    // Under another name a `Result` is a value like any other, and arrives as one.
    assert_eq!(client.alias(7, 2).await.unwrap(), Ok(3));
    assert_eq!(client.alias(7, 0).await.unwrap(), Err(MathError::DivisionByZero { dividend: 7 }));
    assert_eq!(client.default_body(6).await.unwrap(), 4);
    assert_eq!(client.default_body(-6).await.unwrap(), 0);
}

/// Keys and what is kept under them.
#[service]
pub(crate) trait Store<K: Ord, V, const SHARDS: usize = 2>: std::fmt::Debug
where
    V: Clone,
    Self: Sized,
{
    async fn put(&self, key: K, value: V) -> Option<V>;
    async fn get(&self, key: &K) -> Option<V>;
    async fn get_all(&self, keys: &[K]) -> Vec<V> {
        let mut found = Vec::new();
        for key in keys {
            found.extend(self.get(key).await);
        }
        found
    }
    async fn shards(&self) -> usize {
        SHARDS
    }
}

#[derive(Debug, Default)]
struct Memory<K, V>(Mutex<BTreeMap<K, V>>);

impl<K: Ord + rpc::Value, V: Clone + rpc::Value> Store<K, V> for Memory<K, V>
where
    Self: std::fmt::Debug,
{
    async fn put(&self, key: K, value: V) -> Option<V> {
        self.0.lock().unwrap().insert(key, value)
    }
    async fn get(&self, key: &K) -> Option<V> {
        self.0.lock().unwrap().get(key).cloned()
    }
}

#[tokio::test]
async fn generic_services() {
    let memory = Arc::new(Memory::<String, Vec<u32>>::default());
    let address = serve(Server::new().add(StoreServer::new(memory.clone()))).await;
    let client = StoreClient::<String, Vec<u32>>::connect(address.as_str()).await.unwrap();
    assert_eq!(client.put("a".into(), vec![1]).await.unwrap(), None);
    assert_eq!(client.put("a".into(), vec![2]).await.unwrap(), Some(vec![1]));
    assert_eq!(client.get(&"a".into()).await.unwrap(), Some(vec![2]));
    assert_eq!(client.clone().get_all(&["a".into(), "b".into()]).await.unwrap(), [[2]]);
    assert_eq!(client.shards().await.unwrap(), 2);
    assert_eq!(memory.0.lock().unwrap().len(), 1);
}

/// Named in the ways a service can be.
#[service(name = "names.v2")]
trait Named {
    #[rpc(name = "current", alias = "former", alias = "oldest")]
    async fn renamed(&self) -> u8;
    async fn r#type(&self, r#match: u8) -> u8;
}

#[service(name = "")]
trait Bare {
    async fn bare(&self) -> u8;
}

#[service(compact)]
trait Compact {
    async fn swap(&self, point: Point) -> Point;
}

#[service]
trait Empty {}

struct Names;

impl Named for Names {
    async fn renamed(&self) -> u8 {
        1
    }
    async fn r#type(&self, r#match: u8) -> u8 {
        r#match
    }
}

impl Bare for Names {
    async fn bare(&self) -> u8 {
        3
    }
}

impl Compact for Names {
    async fn swap(&self, point: Point) -> Point {
        Point { x: point.y, y: point.x }
    }
}

impl Empty for Names {}

#[tokio::test]
async fn names_and_many_services_on_one_channel() {
    let server = Server::new().add(NamedServer::new(Names)).add(BareServer::new(Names));
    let server = server.add(CompactServer::new(Names)).add(EmptyServer::new(Names));
    let channel = Channel::connect(serve(server).await.as_str()).await.unwrap();
    assert_eq!(NamedClient::new(channel.clone()).renamed().await.unwrap(), 1);
    assert_eq!(NamedClient::from(channel.clone()).r#type(2).await.unwrap(), 2);
    assert_eq!(BareClient::new(channel.clone()).bare().await.unwrap(), 3);
    let swapped = CompactClient::new(channel.clone()).swap(Point { x: 1, y: 2 }).await.unwrap();
    assert_eq!(swapped, Point { x: 2, y: 1 });
    let empty = EmptyClient::new(channel.clone());
    for name in ["names.v2.current", "names.v2.former", "names.v2.oldest"] {
        assert_eq!(channel.call::<u8, Error>(name, ()).await.unwrap(), 1, "{name}");
    }
    assert_eq!(channel.call::<u8, Error>("names.v2.type", (2_u8,)).await.unwrap(), 2);
    assert_eq!(channel.call::<u8, Error>("bare", ()).await.unwrap(), 3);
    // A compact reply is an array, whoever asks.
    let array = channel.call::<(i32, i32), Error>("Compact.swap", (Point { x: 1, y: 2 },)).await.unwrap();
    assert_eq!(array, (2, 1));
    let missing = empty.as_ref().call::<u8, Error>("Empty.method", ()).await.unwrap_err();
    assert_eq!(missing.code(), Code::Unimplemented);
}

#[service]
trait Grown {
    async fn sum(
        &self,
        first: u64,
        #[rpc(default)] second: u64,
        #[rpc(default)] names: Option<Vec<String>>,
    ) -> u64;
    async fn conditional(
        &self,
        first: u64,
        #[rpc(default)]
        #[cfg(false)]
        never: Unknown,
        #[rpc(default)]
        #[cfg(test)]
        always: u64,
    ) -> u64;
    #[cfg(false)]
    async fn gone(&self, unknown: Unknown) -> Unknown;
    #[cfg(test)]
    async fn variant(&self) -> u8;
    #[cfg(not(test))]
    async fn variant(&self, other: String) -> String;
}

struct Adder;

impl Grown for Adder {
    async fn sum(&self, first: u64, second: u64, names: Option<Vec<String>>) -> u64 {
        first + second + names.map_or(0, |names| names.len() as u64)
    }
    async fn conditional(&self, first: u64, always: u64) -> u64 {
        first + always
    }
    async fn variant(&self) -> u8 {
        5
    }
}

#[tokio::test]
async fn trailing_defaults_and_conditions() {
    let address = serve(Server::new().add(GrownServer::new(Adder))).await;
    let client = GrownClient::connect(address.as_str()).await.unwrap();
    assert_eq!(client.sum(1, 2, Some(vec![String::new()])).await.unwrap(), 4);
    assert_eq!(client.conditional(1, 2).await.unwrap(), 3);
    assert_eq!(client.variant().await.unwrap(), 5);
    // Callers from before there were as many arguments.
    let channel: &Channel = client.as_ref();
    assert_eq!(channel.call::<u64, Error>("Grown.sum", (1_u64,)).await.unwrap(), 1);
    assert_eq!(channel.call::<u64, Error>("Grown.sum", (1_u64, 2_u64)).await.unwrap(), 3);
    assert_eq!(channel.call::<u64, Error>("Grown.conditional", (1_u64,)).await.unwrap(), 1);
    let none = channel.call::<u64, Error>("Grown.sum", ()).await.unwrap_err();
    assert_eq!(none.code(), Code::InvalidArgument);
    let gone = channel.call::<u64, Error>("Grown.gone", (1_u64,)).await.unwrap_err();
    assert_eq!(gone.code(), Code::Unimplemented);
}
