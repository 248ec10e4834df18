//! Every form of a stream that a service can have, called over connections.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod macro_support;

use std::fmt::Debug;
use std::future::poll_fn;
use std::marker::PhantomPinned;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use macro_support::serve;
use rpc::{
    CallError, Channel, Code, Error, MethodError, Server, Stream, StreamArgument, Streaming, iter, service,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Broken {
    At(u32),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Missing {
    name: String,
}

/// Not named `Result`, so the macro takes it for a value like any other.
type Outcome = Result<u32, Broken>;
/// Of the same name, and one all the same.
mod io {
    pub(super) type Result<T, E> = std::result::Result<T, E>;
}

/// Serves where no other test does, without a socket.
async fn serve_in_memory(name: &str, server: Server) -> String {
    let address = format!("mem://macro-streams-{name}");
    let bound = server.bind(address.as_str()).await.unwrap();
    tokio::spawn(bound.serve());
    address
}

/// All items of a stream that ends well.
async fn all<T: DeserializeOwned, E: MethodError<CallError: Debug>>(mut items: Streaming<T, E>) -> Vec<T> {
    let mut all = Vec::new();
    while let Some(item) = items.next().await {
        all.push(item.unwrap());
    }
    all
}

/// The items before the error that a stream ends with.
async fn until_error<T, E>(mut items: Streaming<T, E>) -> (Vec<T>, E::CallError)
where
    T: DeserializeOwned + Debug,
    E: MethodError,
{
    let mut before = Vec::new();
    loop {
        match items.next().await.expect("it ends with an error") {
            Ok(item) => before.push(item),
            Err(error) => {
                assert!(items.next().await.is_none());
                return (before, error);
            }
        }
    }
}

/// The error of the other side's own.
fn own<E: Debug>(error: CallError<E>) -> E {
    match error {
        CallError::App(error) => error,
        CallError::Rpc(error) => panic!("{error}"),
    }
}

/// A stream like those of others: made neither by `iter` nor by this crate, and not `Unpin`.
struct Upwards {
    at: AtomicU32,
    to: u32,
    _pinned: PhantomPinned,
}

fn upwards(to: u32) -> Upwards {
    Upwards { at: AtomicU32::new(0), to, _pinned: PhantomPinned }
}

impl Stream for Upwards {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        let at = self.at.fetch_add(1, Ordering::Relaxed);
        Poll::Ready((at < self.to).then_some(at))
    }
}

#[service]
trait Given {
    async fn values(&self, to: u32) -> impl Stream<Item = u32>;
    async fn nothing(&self, times: u32) -> impl Stream<Item = ()>;
    #[allow(unused_qualifications)]
    async fn elsewhere(&self) -> impl rpc::Stream<Item = Option<Point>>;
    #[rustfmt::skip]
    #[allow(unused_parens)]
    async fn parentheses(&self) -> (impl Stream<Item = (u8, String)>);
    async fn bounds(&self) -> impl 'static + Unpin + Stream<Item = u32> + Send + Sync;
    async fn ending(&self, numbers: &[u32]) -> impl Stream<Item = Result<u32, Broken>>;
    async fn ending_qualified(&self) -> impl Stream<Item = io::Result<u32, Missing>>;
    async fn ending_with_code(&self) -> impl Stream<Item = Result<u32, Error>>;
    async fn results(&self, outcomes: Vec<Outcome>) -> impl Stream<Item = Outcome>;
    async fn opened(&self, name: &str) -> Result<impl Stream<Item = u32>, Missing>;
    async fn opened_with_code(&self, name: &str) -> Result<impl Stream<Item = u32> + Send, Error>;
    async fn opened_and_ending(&self, name: &str)
    -> Result<impl Stream<Item = Result<u32, Broken>>, Missing>;
    #[rpc(idempotent)]
    async fn opened_qualified(&self, name: String) -> io::Result<impl Stream<Item = Outcome>, Missing>;
}

/// Knows what is called "known".
struct Giver;

fn known(name: &str) -> Result<u32, Missing> {
    if name == "known" { Ok(2) } else { Err(Missing { name: name.into() }) }
}

impl Given for Giver {
    async fn values(&self, to: u32) -> impl Stream<Item = u32> {
        upwards(to)
    }
    async fn nothing(&self, times: u32) -> impl Stream<Item = ()> {
        iter((0..times).map(|_| ()))
    }
    async fn elsewhere(&self) -> impl Stream<Item = Option<Point>> {
        iter([None, Some(Point { x: 1, y: 2 })])
    }
    async fn parentheses(&self) -> impl Stream<Item = (u8, String)> {
        iter([(1, "one".into())])
    }
    async fn bounds(&self) -> impl 'static + Unpin + Stream<Item = u32> + Send + Sync {
        iter([1, 2])
    }
    async fn ending(&self, numbers: &[u32]) -> impl Stream<Item = Result<u32, Broken>> {
        iter(numbers.iter().map(|&number| if number < 10 { Ok(number) } else { Err(Broken::At(number)) }))
    }
    async fn ending_qualified(&self) -> impl Stream<Item = io::Result<u32, Missing>> {
        iter([Ok(1), known("other"), Ok(3)])
    }
    async fn ending_with_code(&self) -> impl Stream<Item = Result<u32, Error>> {
        iter([Ok(1), Err(Error::new(Code::DataLoss, "torn")), Ok(3)])
    }
    async fn results(&self, outcomes: Vec<Outcome>) -> impl Stream<Item = Outcome> {
        iter(outcomes)
    }
    async fn opened(&self, name: &str) -> Result<impl Stream<Item = u32>, Missing> {
        known(name).map(upwards)
    }
    async fn opened_with_code(&self, name: &str) -> Result<impl Stream<Item = u32>, Error> {
        known(name).map(upwards).map_err(|missing| Error::new(Code::NotFound, missing.name))
    }
    async fn opened_and_ending(
        &self,
        name: &str,
    ) -> Result<impl Stream<Item = Result<u32, Broken>>, Missing> {
        known(name).map(|count| iter([Ok(count), Err(Broken::At(1)), Ok(count)]))
    }
    async fn opened_qualified(&self, name: String) -> io::Result<impl Stream<Item = Outcome>, Missing> {
        known(&name).map(|count| iter([Err(Broken::At(0)), Ok(count)]))
    }
}

async fn every_result(client: GivenClient) {
    assert_eq!(all(client.values(3).await.unwrap()).await, [0, 1, 2]);
    assert_eq!(all(client.nothing(2).await.unwrap()).await, [(), ()]);
    assert_eq!(all(client.elsewhere().await.unwrap()).await, [None, Some(Point { x: 1, y: 2 })]);
    assert_eq!(all(client.parentheses().await.unwrap()).await, [(1, "one".into())]);
    assert_eq!(all(client.bounds().await.unwrap()).await, [1, 2]);

    assert_eq!(all(client.ending(&[1, 2]).await.unwrap()).await, [1, 2]);
    let ending: Streaming<u32, Broken> = client.ending(&[1, 10, 2]).await.unwrap();
    let (before, error) = until_error(ending).await;
    assert_eq!((before, own(error)), (vec![1], Broken::At(10)));
    let (before, error) = until_error(client.ending_qualified().await.unwrap()).await;
    assert_eq!((before, own(error).name.as_str()), (vec![1], "other"));
    let ending: Streaming<u32> = client.ending_with_code().await.unwrap();
    let (before, error) = until_error(ending).await;
    assert_eq!((before, error.code(), error.message()), (vec![1], Code::DataLoss, "torn"));
    // Under another name a `Result` is an item like any other, and an `Err` ends nothing.
    let outcomes = vec![Ok(1), Err(Broken::At(2)), Ok(3)];
    assert_eq!(all(client.results(outcomes.clone()).await.unwrap()).await, outcomes);

    assert_eq!(all(client.opened("known").await.unwrap()).await, [0, 1]);
    let missing: CallError<Missing> = client.opened("other").await.unwrap_err();
    assert_eq!(own(missing).name, "other");
    assert_eq!(all(client.opened_with_code("known").await.unwrap()).await, [0, 1]);
    let error: Error = client.opened_with_code("other").await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::NotFound, "other"));
    let (before, error) = until_error(client.opened_and_ending("known").await.unwrap()).await;
    assert_eq!((before, own(error)), (vec![2], Broken::At(1)));
    let missing = client.opened_and_ending("other").await.unwrap_err();
    assert_eq!(own(missing).name, "other");
    let opened = client.opened_qualified("known".into()).await.unwrap();
    assert_eq!(all(opened).await, [Err(Broken::At(0)), Ok(2)]);
    assert!(client.opened_qualified("other".into()).await.is_err());
}

#[tokio::test]
async fn results() {
    let server = || Server::new().add(GivenServer::new(Giver));
    every_result(GivenClient::connect(serve(server()).await.as_str()).await.unwrap()).await;
    let address = serve_in_memory("results", server()).await;
    every_result(GivenClient::connect(address.as_str()).await.unwrap()).await;
    every_result(GivenClient::in_process(GivenServer::new(Giver))).await;
}

#[service]
trait Taken {
    async fn values(&self, numbers: Streaming<u32>) -> Vec<u32>;
    #[allow(unused_qualifications)]
    async fn elsewhere(&self, points: rpc::Streaming<Option<Point>>) -> Vec<Option<Point>>;
    #[allow(unused_parens)]
    async fn parentheses(&self, numbers: (::rpc::Streaming<(u8, String)>)) -> usize;
    async fn ending(&self, numbers: Streaming<u32, Broken>) -> Result<Vec<u32>, Broken>;
    async fn ending_with_code(&self, numbers: Streaming<u32, Error>) -> Result<u32, Error>;
    async fn results(&self, outcomes: Streaming<Result<u32, Broken>>) -> Vec<Outcome>;
    async fn results_and_ending(&self, outcomes: Streaming<Outcome, Missing>) -> Result<usize, Missing>;
    async fn among(
        &self,
        name: &str,
        left: Streaming<u32>,
        point: &Point,
        scales: &[u32],
        right: Streaming<String, Missing>,
        #[rpc(default)] last: Option<String>,
    ) -> String;
    #[allow(clippy::too_many_arguments)]
    async fn sixteen(
        &self,
        a: Streaming<u32>,
        b: Streaming<u32>,
        c: Streaming<u32>,
        d: Streaming<u32>,
        e: Streaming<u32>,
        f: Streaming<u32>,
        g: Streaming<u32>,
        h: Streaming<u32>,
        i: Streaming<u32>,
        j: Streaming<u32>,
        k: Streaming<u32>,
        l: Streaming<u32>,
        m: Streaming<u32>,
        n: Streaming<u32>,
        o: Streaming<u32>,
        p: Streaming<u32>,
    ) -> Vec<Vec<u32>>;
    async fn back(&self, numbers: Streaming<u32>) -> impl Stream<Item = Result<u32, Error>>;
    #[rpc(no_cancel)]
    async fn opened(&self, name: &str, numbers: Streaming<u32>) -> Result<impl Stream<Item = u32>, Missing>;
}

struct Taker;

impl Taken for Taker {
    async fn values(&self, numbers: Streaming<u32>) -> Vec<u32> {
        all(numbers).await
    }
    async fn elsewhere(&self, points: Streaming<Option<Point>>) -> Vec<Option<Point>> {
        all(points).await
    }
    async fn parentheses(&self, numbers: Streaming<(u8, String)>) -> usize {
        all(numbers).await.len()
    }
    async fn ending(&self, mut numbers: Streaming<u32, Broken>) -> Result<Vec<u32>, Broken> {
        let mut all = Vec::new();
        while let Some(number) = numbers.next().await {
            match number {
                Ok(number) => all.push(number),
                Err(error) => return Err(own(error)),
            }
        }
        Ok(all)
    }
    async fn ending_with_code(&self, mut numbers: Streaming<u32>) -> Result<u32, Error> {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            sum += number?;
        }
        Ok(sum)
    }
    async fn results(&self, outcomes: Streaming<Result<u32, Broken>>) -> Vec<Outcome> {
        all(outcomes).await
    }
    async fn results_and_ending(&self, outcomes: Streaming<Outcome, Missing>) -> Result<usize, Missing> {
        let (before, error) = until_error(outcomes).await;
        let missing = own(error);
        if missing.name.is_empty() { Ok(before.len()) } else { Err(missing) }
    }
    async fn among(
        &self,
        name: &str,
        left: Streaming<u32>,
        point: &Point,
        scales: &[u32],
        right: Streaming<String, Missing>,
        last: Option<String>,
    ) -> String {
        // In the order that callers do not expect: each stream has a window of its own.
        let (words, error) = until_error(right).await;
        let Missing { name: missing } = own(error);
        format!("{name} {:?} {point:?} {scales:?} {words:?} {missing} {last:?}", all(left).await)
    }
    #[rustfmt::skip]
    async fn sixteen(
        &self,
        a: Streaming<u32>, b: Streaming<u32>, c: Streaming<u32>, d: Streaming<u32>,
        e: Streaming<u32>, f: Streaming<u32>, g: Streaming<u32>, h: Streaming<u32>,
        i: Streaming<u32>, j: Streaming<u32>, k: Streaming<u32>, l: Streaming<u32>,
        m: Streaming<u32>, n: Streaming<u32>, o: Streaming<u32>, p: Streaming<u32>,
    ) -> Vec<Vec<u32>> {
        let mut each = Vec::new();
        for stream in [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] {
            each.push(all(stream).await);
        }
        each
    }
    async fn back(&self, numbers: Streaming<u32>) -> impl Stream<Item = Result<u32, Error>> {
        numbers
    }
    async fn opened(&self, name: &str, numbers: Streaming<u32>) -> Result<impl Stream<Item = u32>, Missing> {
        known(name)?;
        Ok(iter(all(numbers).await))
    }
}

async fn every_argument(client: TakenClient) {
    assert_eq!(client.values(upwards(3)).await.unwrap(), [0, 1, 2]);
    assert_eq!(client.values(iter([])).await.unwrap(), []);
    let points = [None, Some(Point { x: 1, y: 2 })];
    assert_eq!(client.elsewhere(iter(points.clone())).await.unwrap(), points);
    assert_eq!(client.parentheses(iter([(1, "one".into())])).await.unwrap(), 1);
    assert_eq!(client.ending(iter([Ok(1), Ok(2)])).await.unwrap(), [1, 2]);
    let error = client.ending(iter([Ok(1), Err(Broken::At(1)), Ok(2)])).await.unwrap_err();
    assert_eq!(own(error), Broken::At(1));
    assert_eq!(client.ending_with_code(iter([Ok(1), Ok(2)])).await.unwrap(), 3);
    let torn = Error::new(Code::DataLoss, "torn");
    let error = client.ending_with_code(iter([Ok(1), Err(torn)])).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::DataLoss, "torn"));

    // What is `T` is an item whatever it is, and an `Err` of it ends nothing.
    let outcomes = [Ok(1), Err(Broken::At(2)), Ok(3)];
    assert_eq!(client.results(iter(outcomes.clone())).await.unwrap(), outcomes);
    let ending =
        |name: &str| iter(outcomes.clone().map(Ok).into_iter().chain([Err(Missing { name: name.into() })]));
    assert_eq!(client.results_and_ending(ending("")).await.unwrap(), 3);
    let error = client.results_and_ending(ending("end")).await.unwrap_err();
    assert_eq!(own(error).name, "end");

    let right = iter([Ok("a".to_owned()), Err(Missing { name: "b".into() })]);
    let among = client.among("name", upwards(2), &Point { x: 1, y: 2 }, &[3], right, None).await.unwrap();
    assert_eq!(among, r#"name [0, 1] Point { x: 1, y: 2 } [3] ["a"] b None"#);
    #[rustfmt::skip]
    let sixteen = client.sixteen(
        upwards(0), upwards(1), upwards(2), upwards(3), upwards(4), upwards(5), upwards(6), upwards(7),
        upwards(8), upwards(9), upwards(10), upwards(11), upwards(12), upwards(13), upwards(14), upwards(15),
    );
    let expected: Vec<Vec<u32>> = (0..16).map(|to| (0..to).collect()).collect();
    assert_eq!(sixteen.await.unwrap(), expected);

    assert_eq!(all(client.back(upwards(3)).await.unwrap()).await, [0, 1, 2]);
    assert_eq!(all(client.opened("known", upwards(3)).await.unwrap()).await, [0, 1, 2]);
    let missing = client.opened("other", upwards(3)).await.unwrap_err();
    assert_eq!(own(missing).name, "other");
}

#[tokio::test]
async fn arguments() {
    let server = || Server::new().add(TakenServer::new(Taker));
    every_argument(TakenClient::connect(serve(server()).await.as_str()).await.unwrap()).await;
    let address = serve_in_memory("arguments", server()).await;
    every_argument(TakenClient::connect(address.as_str()).await.unwrap()).await;
    every_argument(TakenClient::in_process(TakenServer::new(Taker))).await;
}

/// Words that are kept, and nothing of them copied until it is sent.
struct Dictionary(Vec<String>);

#[service]
trait Words {
    async fn starting(&self, with: &str) -> impl Stream<Item = String>;
    async fn of_lengths(&self, lengths: &[usize]) -> Result<impl Stream<Item = String>, Missing>;
    async fn split(&self, text: &str, at: &Vec<char>) -> impl Stream<Item = String> {
        iter(text.split(at.as_slice()).map(str::to_owned))
    }
}

impl Words for Dictionary {
    async fn starting(&self, with: &str) -> impl Stream<Item = String> {
        iter(self.0.iter().filter(move |word| word.starts_with(with)).cloned())
    }
    async fn of_lengths(&self, lengths: &[usize]) -> Result<impl Stream<Item = String>, Missing> {
        Ok(iter(self.0.iter().filter(|word| lengths.contains(&word.len())).cloned()))
    }
}

#[tokio::test]
async fn streams_borrow_from_the_handler_and_the_arguments() {
    let dictionary = Dictionary(["ant", "bee", "adder"].map(str::to_owned).into());
    let address = serve_in_memory("words", Server::new().add(WordsServer::new(dictionary))).await;
    let client = WordsClient::connect(address.as_str()).await.unwrap();
    assert_eq!(all(client.starting("a").await.unwrap()).await, ["ant", "adder"]);
    assert_eq!(all(client.of_lengths(&[5, 1]).await.unwrap()).await, ["adder"]);
    assert_eq!(all(client.split("a,b;c", &vec![',', ';']).await.unwrap()).await, ["a", "b", "c"]);
}

#[service]
trait Defaults {
    async fn given(&self, to: u32) -> impl Stream<Item = u32>;
    async fn checked(&self, name: &str) -> Result<u32, Missing>;
    async fn sum(&self, numbers: Streaming<u32>) -> u32 {
        all(numbers).await.into_iter().sum()
    }
    async fn passed_on(&self, numbers: Streaming<u32>) -> u32 {
        self.sum(numbers).await
    }
    async fn again(&self, to: u32) -> impl Stream<Item = u32> {
        self.given(to + 1).await
    }
    async fn own_sum(&self, to: u32) -> u32 {
        let mut given = pin!(self.again(to).await);
        let mut sum = 0;
        while let Some(number) = poll_fn(|cx| given.as_mut().poll_next(cx)).await {
            sum += number;
        }
        sum
    }
    async fn ending(&self, at: u32) -> impl Stream<Item = Result<u32, Broken>> {
        iter([Ok(at), Err(Broken::At(at))])
    }
    async fn opened(&self, name: &str, early: bool) -> Result<impl Stream<Item = u32>, Missing> {
        if early {
            return Err(Missing { name: "early".into() });
        }
        let count = self.checked(name).await?;
        Ok(self.again(count).await)
    }
}

struct Plain;

impl Defaults for Plain {
    async fn given(&self, to: u32) -> impl Stream<Item = u32> {
        upwards(to)
    }
    async fn checked(&self, name: &str) -> Result<u32, Missing> {
        known(name)
    }
}

/// Replaces what has a default, by what is as different as it may be.
struct Replaced;

impl Defaults for Replaced {
    async fn given(&self, _to: u32) -> impl Stream<Item = u32> {
        iter([])
    }
    async fn checked(&self, name: &str) -> Result<u32, Missing> {
        known(name)
    }
    async fn again(&self, to: u32) -> impl Stream<Item = u32> {
        iter(vec![to; 3])
    }
    async fn ending(&self, _at: u32) -> impl Stream<Item = Result<u32, Broken>> {
        iter(None)
    }
}

#[tokio::test]
async fn default_bodies() {
    let plain = serve_in_memory("default", Server::new().add(DefaultsServer::new(Plain))).await;
    let client = DefaultsClient::connect(plain.as_str()).await.unwrap();
    assert_eq!(client.sum(upwards(4)).await.unwrap(), 6);
    assert_eq!(client.passed_on(upwards(4)).await.unwrap(), 6);
    assert_eq!(all(client.again(2).await.unwrap()).await, [0, 1, 2]);
    assert_eq!(client.own_sum(4).await.unwrap(), 10);
    let (before, error) = until_error(client.ending(7).await.unwrap()).await;
    assert_eq!((before, own(error)), (vec![7], Broken::At(7)));
    assert_eq!(all(client.opened("known", false).await.unwrap()).await, [0, 1, 2]);
    for (early, name) in [(true, "early"), (false, "other")] {
        let error = client.opened("other", early).await.unwrap_err();
        assert_eq!(own(error).name, name);
    }

    let replaced = serve_in_memory("replaced", Server::new().add(DefaultsServer::new(Replaced))).await;
    let client = DefaultsClient::connect(replaced.as_str()).await.unwrap();
    assert_eq!(all(client.again(2).await.unwrap()).await, [2, 2, 2]);
    assert_eq!(client.own_sum(4).await.unwrap(), 12);
    assert_eq!(all(client.ending(7).await.unwrap()).await, []);
}

/// Generic in its items, the errors that end them, and the error before them.
#[service]
trait Feed<T: Clone, E = String, const TIMES: usize = 2>
where
    E: Clone + Debug,
{
    async fn repeat(&self, item: &T) -> impl Stream<Item = T>;
    async fn until(&self, items: &[T], error: E) -> impl Stream<Item = Result<T, E>> {
        iter(items.iter().cloned().map(Ok).chain([Err(error)]).collect::<Vec<_>>())
    }
    async fn opened(&self, refusal: Option<E>) -> Result<impl Stream<Item = Option<T>>, E> {
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(iter(vec![None; TIMES])),
        }
    }
    async fn last(&self, items: Streaming<T>, ending: Streaming<(T, E), E>) -> (Option<T>, Option<E>) {
        (all(items).await.pop(), until_broken(ending).await)
    }
}

/// The error of its own that a stream ends with, if it does.
async fn until_broken<T: DeserializeOwned, E: rpc::Value + Debug>(mut items: Streaming<T, E>) -> Option<E> {
    while let Some(item) = items.next().await {
        if let Err(error) = item {
            return Some(own(error));
        }
    }
    None
}

struct Repeater;

impl<T: Clone + rpc::Value, E: Clone + Debug + rpc::Value> Feed<T, E, 3> for Repeater {
    async fn repeat(&self, item: &T) -> impl Stream<Item = T> {
        iter(std::iter::repeat_n(item, 3).cloned())
    }
}

#[tokio::test]
async fn generic_services() {
    let server = FeedServer::<Point, Broken, 3, _>::new(Repeater);
    let address = serve_in_memory("generic", Server::new().add(server)).await;
    let client = FeedClient::<Point, Broken, 3>::connect(address.as_str()).await.unwrap();
    let point = Point { x: 1, y: 2 };
    assert_eq!(all(client.repeat(&point).await.unwrap()).await, vec![point.clone(); 3]);
    let until = client.until(std::slice::from_ref(&point), Broken::At(3)).await.unwrap();
    let (before, error) = until_error(until).await;
    assert_eq!((before, own(error)), (vec![point.clone()], Broken::At(3)));
    assert_eq!(all(client.opened(None).await.unwrap()).await, vec![None::<Point>; 3]);
    assert_eq!(own(client.opened(Some(Broken::At(4))).await.unwrap_err()), Broken::At(4));
    let ending = iter([Ok((point.clone(), Broken::At(0))), Err(Broken::At(5))]);
    let last = client.last(iter([point.clone()]), ending).await.unwrap();
    assert_eq!(last, (Some(point), Some(Broken::At(5))));
}

#[service(compact, name = "track")]
trait Compact {
    async fn points(&self) -> impl Stream<Item = Point>;
    async fn until(&self) -> impl Stream<Item = Result<Point, Missing>>;
    async fn opened(&self) -> Result<impl Stream<Item = Point>, Missing>;
    async fn sum(&self, points: Streaming<Point>) -> Point;
    async fn missing(&self, points: Streaming<Point, Missing>) -> Option<String>;
}

/// The same service, for one who sees what is on the wire: what has no names of fields is a tuple.
#[service(name = "track")]
trait Positional {
    async fn points(&self) -> impl Stream<Item = (i32, i32)>;
    async fn until(&self) -> impl Stream<Item = Result<(i32, i32), (String,)>>;
    async fn opened(&self) -> Result<impl Stream<Item = (i32, i32)>, (String,)>;
    async fn sum(&self, points: Streaming<(i32, i32)>) -> (i32, i32);
    async fn missing(&self, points: Streaming<(i32, i32), (String,)>) -> Option<String>;
}

struct Track;

impl Compact for Track {
    async fn points(&self) -> impl Stream<Item = Point> {
        iter([Point { x: 1, y: 2 }])
    }
    async fn until(&self) -> impl Stream<Item = Result<Point, Missing>> {
        iter([Ok(Point { x: 1, y: 2 }), Err(Missing { name: "end".into() })])
    }
    async fn opened(&self) -> Result<impl Stream<Item = Point>, Missing> {
        known("all")?;
        Ok(iter([Point { x: 1, y: 2 }]))
    }
    async fn sum(&self, points: Streaming<Point>) -> Point {
        let add = |sum: Point, point: Point| Point { x: sum.x + point.x, y: sum.y + point.y };
        all(points).await.into_iter().reduce(add).unwrap()
    }
    async fn missing(&self, points: Streaming<Point, Missing>) -> Option<String> {
        until_broken(points).await.map(|missing| missing.name)
    }
}

impl Positional for Track {
    async fn points(&self) -> impl Stream<Item = (i32, i32)> {
        iter([(1, 2)])
    }
    async fn until(&self) -> impl Stream<Item = Result<(i32, i32), (String,)>> {
        iter([Ok((1, 2)), Err(("end".into(),))])
    }
    async fn opened(&self) -> Result<impl Stream<Item = (i32, i32)>, (String,)> {
        known("all").map_err(|missing| (missing.name,))?;
        Ok(iter([(1, 2)]))
    }
    async fn sum(&self, points: Streaming<(i32, i32)>) -> (i32, i32) {
        all(points).await.into_iter().reduce(|sum, point| (sum.0 + point.0, sum.1 + point.1)).unwrap()
    }
    async fn missing(&self, points: Streaming<(i32, i32), (String,)>) -> Option<String> {
        until_broken(points).await.map(|(name,)| name)
    }
}

#[tokio::test]
async fn items_of_a_compact_service_are_positional() {
    let compact = serve(Server::new().add(CompactServer::new(Track))).await;
    let positional = serve(Server::new().add(PositionalServer::new(Track))).await;
    let point = Point { x: 1, y: 2 };
    let missing = || Missing { name: "b".into() };
    for address in [&compact, &positional] {
        let client = CompactClient::connect(address.as_str()).await.unwrap();
        assert_eq!(all(client.points().await.unwrap()).await, std::slice::from_ref(&point));
        let (before, error) = until_error(client.until().await.unwrap()).await;
        assert_eq!((before, own(error).name.as_str()), (vec![point.clone()], "end"));
        assert_eq!(own(client.opened().await.unwrap_err()).name, "all");
        assert_eq!(client.sum(iter([point.clone(), point.clone()])).await.unwrap(), Point { x: 2, y: 4 });
        let ending = iter([Ok(point.clone()), Err(missing())]);
        assert_eq!(client.missing(ending).await.unwrap().unwrap(), "b");
    }
    let client = PositionalClient::connect(compact.as_str()).await.unwrap();
    assert_eq!(all(client.points().await.unwrap()).await, [(1, 2)]);
    let (before, error) = until_error(client.until().await.unwrap()).await;
    assert_eq!((before, own(error).0.as_str()), (vec![(1, 2)], "end"));
    assert_eq!(own(client.opened().await.unwrap_err()).0, "all");
}

/// Named as no method is called, under conditions, and with names that are words of the language.
#[service(name = "options.v2")]
trait Options {
    #[rpc(name = "current", alias = "former", alias = "oldest")]
    async fn renamed(&self, to: u32) -> impl Stream<Item = u32>;
    #[rpc(alias = "add")]
    async fn sum(&self, left: Streaming<u32>, scale: u32, right: Streaming<u32>) -> u32;
    async fn r#type(&self, r#match: Streaming<u32>) -> impl Stream<Item = Result<u32, Error>>;
    #[cfg(false)]
    async fn gone(&self, unknown: Streaming<Unknown>) -> impl Stream<Item = Unknown>;
    #[cfg(test)]
    async fn variant(&self) -> impl Stream<Item = u32>;
    #[cfg(not(test))]
    async fn variant(&self, numbers: Streaming<Unknown>) -> u32;
    async fn grown(
        &self,
        numbers: Streaming<u32>,
        #[rpc(default)]
        #[cfg(false)]
        never: Unknown,
        #[rpc(default)]
        #[cfg(test)]
        always: u32,
    ) -> u32;
    /// What the locals of generated code are called as well.
    async fn names(
        &self,
        arguments: Streaming<u32>,
        request: Streaming<u32>,
        handler: Streaming<u32>,
        channel: Streaming<u32>,
        stream: Streaming<u32>,
        rpc: Streaming<u32>,
    ) -> impl Stream<Item = Result<u32, Error>>;
}

impl Options for Taker {
    async fn renamed(&self, to: u32) -> impl Stream<Item = u32> {
        upwards(to)
    }
    async fn sum(&self, left: Streaming<u32>, scale: u32, right: Streaming<u32>) -> u32 {
        (all(left).await.iter().sum::<u32>() + all(right).await.iter().sum::<u32>()) * scale
    }
    async fn r#type(&self, r#match: Streaming<u32>) -> impl Stream<Item = Result<u32, Error>> {
        r#match
    }
    async fn variant(&self) -> impl Stream<Item = u32> {
        iter([5])
    }
    async fn grown(&self, numbers: Streaming<u32>, always: u32) -> u32 {
        all(numbers).await.iter().sum::<u32>() + always
    }
    async fn names(
        &self,
        _a: Streaming<u32>,
        _b: Streaming<u32>,
        _c: Streaming<u32>,
        _d: Streaming<u32>,
        _e: Streaming<u32>,
        f: Streaming<u32>,
    ) -> impl Stream<Item = Result<u32, Error>> {
        f
    }
}

#[tokio::test]
async fn options_names_and_conditions() {
    let address = serve_in_memory("options", Server::new().add(OptionsServer::new(Taker))).await;
    let client = OptionsClient::connect(address.as_str()).await.unwrap();
    assert_eq!(all(client.renamed(2).await.unwrap()).await, [0, 1]);
    assert_eq!(client.sum(upwards(3), 10, upwards(4)).await.unwrap(), 90);
    assert_eq!(all(client.r#type(upwards(2)).await.unwrap()).await, [0, 1]);
    assert_eq!(all(client.variant().await.unwrap()).await, [5]);
    assert_eq!(client.grown(upwards(3), 1).await.unwrap(), 4);
    let none = || upwards(0);
    let names = client.names(none(), none(), none(), none(), none(), upwards(2)).await.unwrap();
    assert_eq!(all(names).await, [0, 1]);

    let channel: &Channel = client.as_ref();
    for name in ["options.v2.current", "options.v2.former", "options.v2.oldest"] {
        let items = channel.call::<Streaming<u32>, Error>(name, (2_u32,)).await.unwrap();
        assert_eq!(all(items).await, [0, 1], "{name}");
    }
    let arguments = (StreamArgument(1), 10_u32, StreamArgument(2));
    let sum = channel.call::<u32, Error>("options.v2.add", arguments).stream(upwards(3)).stream(upwards(4));
    assert_eq!(sum.await.unwrap(), 90);
    let items = channel.call::<Streaming<u32>, Error>("options.v2.type", (StreamArgument(1),));
    assert_eq!(all(items.stream(upwards(2)).await.unwrap()).await, [0, 1]);
    // A caller from before there was more than the stream.
    let grown = channel.call::<u32, Error>("options.v2.grown", (StreamArgument(1),)).stream(upwards(3));
    assert_eq!(grown.await.unwrap(), 3);
    let gone = channel.call::<u32, Error>("options.v2.gone", (StreamArgument(1),)).stream(upwards(3));
    assert_eq!(gone.await.unwrap_err().code(), Code::Unimplemented);
}

/// Types that come out of a `macro_rules!`, in one piece or in several.
macro_rules! streaming {
    ($name:ident, $item:ty, $given:ty, $taken:ty) => {
        #[service]
        trait $name {
            async fn whole(&self, items: $taken) -> $given;
            async fn part(&self, items: Streaming<$item>) -> impl Stream<Item = $item>;
            async fn result(&self, items: $taken) -> Result<$given, Missing> {
                Ok(self.whole(items).await)
            }
        }
    };
}

streaming!(Produced, u32, impl Stream<Item = u32>, Streaming<u32>);

impl Produced for Taker {
    async fn whole(&self, items: Streaming<u32>) -> impl Stream<Item = u32> {
        iter(all(items).await)
    }
    async fn part(&self, items: Streaming<u32>) -> impl Stream<Item = u32> {
        iter(all(items).await.into_iter().rev())
    }
}

#[tokio::test]
async fn types_from_a_macro() {
    let address = serve_in_memory("produced", Server::new().add(ProducedServer::new(Taker))).await;
    let client = ProducedClient::connect(address.as_str()).await.unwrap();
    assert_eq!(all(client.whole(upwards(2)).await.unwrap()).await, [0, 1]);
    assert_eq!(all(client.part(upwards(2)).await.unwrap()).await, [1, 0]);
    assert_eq!(all(client.result(upwards(2)).await.unwrap()).await, [0, 1]);
}

#[service]
trait Patience {
    async fn cancelled(&self) -> impl Stream<Item = u32>;
    #[rpc(no_cancel)]
    async fn finished(&self) -> impl Stream<Item = u32>;
    #[rpc(no_cancel)]
    async fn collected(&self, numbers: Streaming<u32>);
    async fn hello(&self);
}

/// Tells the test what happens to it.
struct Patient {
    events: mpsc::UnboundedSender<&'static str>,
    go_on: Notify,
}

/// A stream that gives one item and then waits for ever; its end is told.
struct Told(mpsc::UnboundedSender<&'static str>, bool);

impl Stream for Told {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        if std::mem::replace(&mut self.1, true) { Poll::Pending } else { Poll::Ready(Some(1)) }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send("stream dropped");
    }
}

impl Patient {
    async fn open(&self) -> Told {
        let stream = Told(self.events.clone(), false);
        self.events.send("started").unwrap();
        self.go_on.notified().await;
        self.events.send("opened").unwrap();
        stream
    }
}

impl Patience for Patient {
    async fn cancelled(&self) -> impl Stream<Item = u32> {
        self.open().await
    }
    async fn finished(&self) -> impl Stream<Item = u32> {
        self.open().await
    }
    async fn collected(&self, mut numbers: Streaming<u32>) {
        assert_eq!(numbers.next().await.unwrap().unwrap(), 1);
        self.events.send("started").unwrap();
        let error = numbers.next().await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::Cancelled);
        self.events.send("numbers gone").unwrap();
    }
    async fn hello(&self) {}
}

#[tokio::test]
async fn no_cancel_keeps_the_handler_and_not_its_stream() {
    let (events, mut told) = mpsc::unbounded_channel();
    let handler = Arc::new(Patient { events, go_on: Notify::new() });
    let server = Server::new().add(PatienceServer::new(handler.clone()));
    let client = PatienceClient::connect(serve(server).await.as_str()).await.unwrap();

    let call = tokio::spawn(client.cancelled());
    assert_eq!(told.recv().await.unwrap(), "started");
    call.abort();
    assert_eq!(told.recv().await.unwrap(), "stream dropped");

    let call = tokio::spawn(client.finished());
    assert_eq!(told.recv().await.unwrap(), "started");
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // A later call on the same connection is answered after the cancellation was handled.
    client.hello().await.unwrap();
    handler.go_on.notify_one();
    assert_eq!(told.recv().await.unwrap(), "opened");
    assert_eq!(told.recv().await.unwrap(), "stream dropped");

    // Once it streams, there is no more to finish than that.
    for call in [client.cancelled(), client.finished()] {
        handler.go_on.notify_one();
        let mut items = call.await.unwrap();
        assert_eq!(items.next().await.unwrap().unwrap(), 1);
        drop(items);
        for event in ["started", "opened", "stream dropped"] {
            assert_eq!(told.recv().await.unwrap(), event);
        }
    }

    let call = tokio::spawn(client.collected(Told(handler.events.clone(), false)));
    assert_eq!(told.recv().await.unwrap(), "started");
    call.abort();
    let mut last = [told.recv().await.unwrap(), told.recv().await.unwrap()];
    last.sort_unstable();
    assert_eq!(last, ["numbers gone", "stream dropped"]);
}
