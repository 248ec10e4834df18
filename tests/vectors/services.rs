//! The services that the vectors call.

use std::collections::BTreeMap;
use std::sync::Arc;

use rpc::{Code, Context, Error, Executed, Timestamp, service};
use serde::{Deserialize, Serialize};
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
