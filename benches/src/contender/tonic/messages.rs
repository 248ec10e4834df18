//! The messages, which a `.proto` file would say as well.

use bytes::Bytes;

/// What is added.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Terms {
    /// One term.
    #[prost(int64, tag = "1")]
    pub a: i64,
    /// The other term.
    #[prost(int64, tag = "2")]
    pub b: i64,
}

/// What is added after some sleep.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TermsLater {
    /// One term.
    #[prost(int64, tag = "1")]
    pub a: i64,
    /// The other term.
    #[prost(int64, tag = "2")]
    pub b: i64,
    /// The length of the sleep, in microseconds.
    #[prost(uint64, tag = "3")]
    pub micros: u64,
}

/// What comes of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sum {
    /// The sum.
    #[prost(int64, tag = "1")]
    pub sum: i64,
}

/// What is echoed, and a large item.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    /// Any bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub payload: Bytes,
}

/// A small item, and how many of them are wanted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Number {
    /// The number.
    #[prost(uint64, tag = "1")]
    pub value: u64,
}

/// No arguments.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Nothing {}

/// Which large items are wanted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Repetition {
    /// How many.
    #[prost(uint64, tag = "1")]
    pub count: u64,
    /// The length of each, in bytes.
    #[prost(uint64, tag = "2")]
    pub length: u64,
}
