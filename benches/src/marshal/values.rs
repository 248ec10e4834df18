//! The values that are marshalled, the same for every codec.

use crate::workload::PATTERN;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A record of ten fields, as an application might keep of a customer.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(super) struct Record {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    email: String,
    #[prost(uint32, tag = "4")]
    age: u32,
    #[prost(double, tag = "5")]
    balance: f64,
    #[prost(bool, tag = "6")]
    active: bool,
    #[prost(sint64, tag = "7")]
    registered: i64,
    #[prost(string, optional, tag = "8")]
    referrer: Option<String>,
    #[prost(string, repeated, tag = "9")]
    tags: Vec<String>,
    #[prost(uint32, repeated, tag = "10")]
    orders: Vec<u32>,
}

/// What prost needs around floats.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Floats {
    #[prost(double, repeated, tag = "1")]
    pub(super) values: Vec<f64>,
}

/// What prost needs around bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Blob {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) bytes: Bytes,
}

pub(super) fn record() -> Record {
    Record {
        id: 8_234_567_890,
        name: "Ada Lovelace".to_owned(),
        email: "ada.lovelace@example.org".to_owned(),
        age: 36,
        balance: 1_234.56,
        active: true,
        registered: 1_763_700_000_000,
        referrer: Some("Charles Babbage".to_owned()),
        tags: ["engine", "poetry", "numbers"].map(str::to_owned).to_vec(),
        orders: vec![3, 141, 59_265, 358_979],
    }
}

/// A thousand floats.
pub(super) fn floats() -> Vec<f64> {
    (0..1000).map(|index| f64::from(index).sqrt()).collect()
}

/// A mebibyte.
pub(super) fn bytes() -> Bytes {
    PATTERN.slice(..1 << 20)
}
