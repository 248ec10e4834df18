//! The services that the vectors call.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use rpc::{CallError, Code, Context, Error, Executed, Stream, Streaming, Timestamp, iter, service};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, watch};

/// What the exchanges are about.
#[service]
pub(crate) trait Calculator {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, MathError>;
    async fn later(&self, than: Timestamp, seconds: u32) -> Timestamp;
    async fn repeat(&self, text: &str, times: usize) -> String;
    async fn shout(&self, text: &str, #[rpc(default)] marks: usize) -> String;
    /// Does nothing.
    async fn rest(&self);
    /// Never ends.
    async fn ponder(&self);
    /// Ends when it is let go.
    async fn wait(&self);
    async fn panic(&self);
    #[rpc(oneway)]
    async fn log(&self, line: String);
    /// What was logged, as soon as there is something.
    async fn logged(&self) -> Vec<String>;
    /// What the metadata say.
    async fn tenant(&self) -> Option<String>;
    /// Sends metadata back.
    async fn priced(&self) -> bool;
    /// Fails as its own type unless the number is from 0 to 100.
    async fn check(&self, number: i64) -> Result<(), Refusal>;
    /// Fails as it is told to.
    async fn fail(&self, code: u64, executed: u64) -> Result<(), Error>;
    async fn detailed(&self) -> Result<(), Error>;

    /// The primes up to a limit.
    async fn primes(&self, limit: u64) -> impl Stream<Item = u64>;
    /// The same, with metadata.
    async fn priced_primes(&self, limit: u64) -> impl Stream<Item = u64>;
    /// The same; all but the first wait until they are let go.
    async fn slow_primes(&self, limit: u64) -> impl Stream<Item = u64>;
    /// -1 if the numbers fail.
    async fn sum(&self, numbers: Streaming<i64>) -> i64;
    /// Fails as its numbers do.
    async fn total(&self, numbers: Streaming<i64, Refusal>) -> Result<i64, Refusal>;
    async fn dot(&self, left: Streaming<i64>, factor: i64, right: Streaming<i64>) -> i64;
    async fn running_mean(&self, samples: Streaming<f64>) -> impl Stream<Item = f64>;
    /// Reads no further than the first.
    async fn add_first(&self, to: i64, numbers: Streaming<i64>) -> i64;
    /// Reads no further than the first, and ends when it is let go.
    async fn taste(&self, numbers: Streaming<i64>) -> i64;
    /// Reads nothing, and never ends.
    async fn hoard(&self, numbers: Streaming<i64>);
    /// The bytes of the longest text.
    async fn longest(&self, texts: Streaming<String>) -> usize;
    /// Gives 0, and never ends.
    async fn ticks(&self) -> impl Stream<Item = u64>;
    /// Gives 0, and panics when it is let go.
    async fn panicking(&self) -> impl Stream<Item = u64>;
    /// Fails as its own type unless the number is from 0 to 100.
    async fn countdown(&self, from: i64) -> Result<impl Stream<Item = i64>, Refusal>;
    /// As many as it is told to, then its own error.
    async fn samples(&self, count: i64) -> impl Stream<Item = Result<i64, Refusal>>;
    /// As many as it is told to, then an error of the call.
    async fn broken(&self, count: i64) -> impl Stream<Item = Result<i64, Error>>;
    /// The word, each time that it is let go.
    async fn dictate(&self, word: String, times: usize) -> impl Stream<Item = String>;
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum MathError {
    DivisionByZero,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    TooLarge { limit: i64 },
    TooSmall(i64),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Details {
    pub(crate) missing: Vec<String>,
    pub(crate) until: Timestamp,
}

/// The calculator's handler.
#[derive(Clone, Default)]
pub(crate) struct Abacus {
    lines: Arc<watch::Sender<Vec<String>>>,
    let_go: Arc<Notify>,
}

/// A stream that a future fills.
pub(crate) struct Filled<T, F> {
    filling: Pin<Box<F>>,
    is_full: bool,
    items: UnboundedReceiver<T>,
}

pub(crate) fn filled<T, F: Future<Output = ()>>(fill: impl FnOnce(UnboundedSender<T>) -> F) -> Filled<T, F> {
    let (sender, items) = unbounded_channel();
    Filled { filling: Box::pin(fill(sender)), is_full: false, items }
}

impl<T, F: Future<Output = ()>> Stream for Filled<T, F> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<T>> {
        if !self.is_full {
            self.is_full = self.filling.as_mut().poll(cx).is_ready();
        }
        match self.items.try_recv() {
            Ok(item) => Poll::Ready(Some(item)),
            Err(_) if self.is_full => Poll::Ready(None),
            // It was polled before, and so is woken when there is more.
            Err(_) => Poll::Pending,
        }
    }
}

/// The primes up to a limit, which need not be found fast.
fn primes(limit: u64) -> impl Iterator<Item = u64> + Send {
    (2..=limit).filter(|number| !(2..*number).any(|divisor| number.is_multiple_of(divisor)))
}

impl Abacus {
    /// Ends a call of `wait`.
    pub(crate) fn let_go(&self) {
        self.let_go.notify_one();
    }
}

impl Calculator for Abacus {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
    async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, MathError> {
        dividend.checked_div(divisor).ok_or(MathError::DivisionByZero)
    }
    async fn later(&self, than: Timestamp, seconds: u32) -> Timestamp {
        Timestamp::new(than.seconds() + i64::from(seconds), than.nanoseconds()).unwrap()
    }
    async fn repeat(&self, text: &str, times: usize) -> String {
        text.repeat(times)
    }
    async fn shout(&self, text: &str, marks: usize) -> String {
        text.to_uppercase() + &"!".repeat(marks)
    }
    async fn rest(&self) {}
    async fn ponder(&self) {
        std::future::pending().await
    }
    async fn wait(&self) {
        self.let_go.notified().await
    }
    async fn panic(&self) {
        panic!("on purpose")
    }
    async fn log(&self, line: String) {
        self.lines.send_modify(|lines| lines.push(line));
    }
    async fn logged(&self) -> Vec<String> {
        let mut lines = self.lines.subscribe();
        lines.wait_for(|lines| !lines.is_empty()).await.unwrap().clone()
    }
    async fn tenant(&self) -> Option<String> {
        Context::current().metadata("tenant")
    }
    async fn priced(&self) -> bool {
        Context::current().set_reply_metadata("cost", "7");
        true
    }
    async fn check(&self, number: i64) -> Result<(), Refusal> {
        match number {
            ..0 => {
                Context::current().set_reply_metadata("hint", "positive");
                Err(Refusal::TooSmall(0))
            }
            0..=100 => Ok(()),
            101.. => Err(Refusal::TooLarge { limit: 100 }),
        }
    }
    async fn fail(&self, code: u64, executed: u64) -> Result<(), Error> {
        let executed = [Executed::No, Executed::Maybe, Executed::Yes][executed as usize];
        Err(Error::new(Code::from_number(code), "as you wish").with_executed(executed))
    }
    async fn detailed(&self) -> Result<(), Error> {
        Err(Error::new(Code::FailedPrecondition, "not yet").with_details(&details()))
    }

    async fn primes(&self, limit: u64) -> impl Stream<Item = u64> {
        iter(primes(limit))
    }
    async fn priced_primes(&self, limit: u64) -> impl Stream<Item = u64> {
        Context::current().set_reply_metadata("cost", "7");
        iter(primes(limit))
    }
    async fn slow_primes(&self, limit: u64) -> impl Stream<Item = u64> {
        let let_go = Arc::clone(&self.let_go);
        filled(async move |items| {
            for prime in primes(limit) {
                items.send(prime).unwrap();
                if prime == 2 {
                    let_go.notified().await;
                }
            }
        })
    }
    async fn sum(&self, mut numbers: Streaming<i64>) -> i64 {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            let Ok(number) = number else { return -1 };
            sum += number;
        }
        sum
    }
    async fn total(&self, mut numbers: Streaming<i64, Refusal>) -> Result<i64, Refusal> {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            match number {
                Ok(number) => sum += number,
                Err(CallError::App(refusal)) => return Err(refusal),
                Err(CallError::Rpc(error)) => panic!("{error}"),
            }
        }
        Ok(sum)
    }
    async fn dot(&self, mut left: Streaming<i64>, factor: i64, mut right: Streaming<i64>) -> i64 {
        let mut sum = 0;
        while let (Some(Ok(left)), Some(Ok(right))) = (left.next().await, right.next().await) {
            sum += left * right;
        }
        sum * factor
    }
    async fn running_mean(&self, mut samples: Streaming<f64>) -> impl Stream<Item = f64> {
        filled(async move |items| {
            let (mut sum, mut count) = (0.0, 0.0);
            while let Some(Ok(sample)) = samples.next().await {
                sum += sample;
                count += 1.0;
                items.send(sum / count).unwrap();
            }
        })
    }
    async fn add_first(&self, to: i64, mut numbers: Streaming<i64>) -> i64 {
        to + numbers.next().await.unwrap().unwrap()
    }
    async fn taste(&self, mut numbers: Streaming<i64>) -> i64 {
        let first = numbers.next().await.unwrap().unwrap();
        drop(numbers);
        self.let_go.notified().await;
        first
    }
    async fn hoard(&self, _numbers: Streaming<i64>) {
        std::future::pending().await
    }
    async fn longest(&self, mut texts: Streaming<String>) -> usize {
        let mut longest = 0;
        while let Some(Ok(text)) = texts.next().await {
            longest = longest.max(text.len());
        }
        longest
    }
    async fn ticks(&self) -> impl Stream<Item = u64> {
        filled(async |items| {
            items.send(0).unwrap();
            std::future::pending().await
        })
    }
    async fn panicking(&self) -> impl Stream<Item = u64> {
        let let_go = Arc::clone(&self.let_go);
        filled(async move |items| {
            items.send(0).unwrap();
            let_go.notified().await;
            panic!("on purpose")
        })
    }
    async fn countdown(&self, from: i64) -> Result<impl Stream<Item = i64>, Refusal> {
        match from {
            0..=100 => Ok(iter((0..=from).rev())),
            _ => Err(Refusal::TooLarge { limit: 100 }),
        }
    }
    async fn samples(&self, count: i64) -> impl Stream<Item = Result<i64, Refusal>> {
        iter((0..count).map(Ok).chain([Err(Refusal::TooSmall(count))]))
    }
    async fn broken(&self, count: i64) -> impl Stream<Item = Result<i64, Error>> {
        let error = Error::new(Code::DataLoss, "a page is missing").with_executed(Executed::Yes);
        iter((0..count).map(Ok).chain([Err(error)]))
    }
    async fn dictate(&self, word: String, times: usize) -> impl Stream<Item = String> {
        let let_go = Arc::clone(&self.let_go);
        filled(async move |items| {
            for _ in 0..times {
                let_go.notified().await;
                items.send(word.clone()).unwrap();
            }
        })
    }
}

/// The details that `detailed` fails with.
pub(crate) fn details() -> Details {
    let until = "2026-01-01T12:00:00Z".parse().unwrap();
    Details { missing: vec!["a".to_owned(), "b".to_owned()], until }
}

macro_rules! echo {
    ($($method:ident: $type:ty;)+) => {
        /// Gives back what it gets.
        #[service]
        #[allow(dead_code, reason = "a client can do more than the vectors need")]
        pub(crate) trait Echo {
            $(async fn $method(&self, value: $type) -> $type;)+
        }

        /// The echo's handler.
        pub(crate) struct Wall;

        impl Echo for Wall {
            $(async fn $method(&self, value: $type) -> $type {
                value
            })+
        }
    };
}

echo! {
    i64: i64;
    u8: u8;
    u64: u64;
    i128: i128;
    f64: f64;
    f32: f32;
    bool: bool;
    unit: ();
    text: String;
    char: char;
    bytes: Vec<u8>;
    three: [u8; 3];
    list: Vec<i64>;
    map: BTreeMap<String, i64>;
    numbered: BTreeMap<i64, bool>;
    pair: (i64, String);
    option: Option<i64>;
    point: Point;
    label: Label;
    meters: Meters;
    span: Span;
    empty: Empty;
    shape: Shape;
    time: Timestamp;
    drawing: Drawing;
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) x: i32,
    pub(crate) y: i32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Label {
    pub(crate) text: String,
    pub(crate) at: Option<Point>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meters(pub(crate) f64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Span(pub(crate) i64, pub(crate) i64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Empty;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shape {
    Nothing,
    Circle(f64),
    Line(Point, Point),
    Box { width: u32, height: u32 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Drawing {
    pub(crate) shapes: Vec<Shape>,
    pub(crate) legend: BTreeMap<String, Label>,
    pub(crate) image: Vec<u8>,
    pub(crate) made: Timestamp,
}
