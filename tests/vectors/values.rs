//! The values in `values.json`: each is sent and received by a real client and a real server.

use std::collections::BTreeSet;
use std::fmt::Debug;

use rpc::{Channel, IoTransport, Once, Server, Timestamp};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::peer::{bytes, shown};
use crate::services::*;

#[derive(Deserialize)]
struct Values {
    values: Vec<Value>,
}

#[derive(Deserialize)]
struct Value {
    name: String,
    /// The method that gives it back.
    method: String,
    /// How it is written.
    hex: String,
    /// Other forms that are read as the same value.
    #[serde(default)]
    accepted: Vec<String>,
}

fn values() -> Vec<Value> {
    let Values { values } = serde_json::from_str(include_str!("values.json")).unwrap();
    values
}

/// Every form is understood, and what comes back is the one form that is written.
#[tokio::test]
async fn a_server_reads_and_writes_all_values() {
    let mut peer = served().await;
    let mut id = 0;
    for value in values() {
        for form in std::iter::once(&value.hex).chain(&value.accepted) {
            id = (id + 1) % 0x80;
            let mut request = vec![0x94, 0, id, 0xa0 | value.method.len() as u8];
            request.extend_from_slice(value.method.as_bytes());
            request.push(0x91);
            request.extend_from_slice(&bytes(form));
            let mut expected = vec![0x94, 1, id, 0xc0];
            expected.extend_from_slice(&bytes(&value.hex));
            let response = exchange(&mut peer, &request).await;
            assert!(response == expected, "{}: {form} came back as {}", value.name, shown(&response));
        }
    }
}

/// What a client sends as an argument is what the vector says, and every form of it is understood as a result.
#[tokio::test]
async fn a_client_writes_and_reads_all_values() {
    let (mut peer, echo) = called().await;
    let mut seen = BTreeSet::new();
    macro_rules! check {
        ($($method:ident { $($name:literal: $value:expr;)+ })+) => {
            $($({
                let value = vector($name, concat!("Echo.", stringify!($method)));
                for form in std::iter::once(&value.hex).chain(&value.accepted) {
                    let (answer, ()) = tokio::join!(echo.$method($value), answer(&mut peer, &value, form));
                    check($name, &$value, &answer.unwrap());
                }
                seen.insert($name.to_owned());
            })+)+
        };
    }
    check! {
        i64 {
            "i64 0": 0; "i64 1": 1; "i64 127": 127; "i64 128": 128; "i64 255": 255; "i64 256": 256;
            "i64 65535": 65_535; "i64 65536": 65_536; "i64 4294967295": 4_294_967_295;
            "i64 4294967296": 4_294_967_296; "i64 9223372036854775807": i64::MAX;
            "i64 -1": -1; "i64 -32": -32; "i64 -33": -33; "i64 -128": -128; "i64 -129": -129;
            "i64 -32768": -32_768; "i64 -32769": -32_769; "i64 -2147483648": -2_147_483_648;
            "i64 -2147483649": -2_147_483_649; "i64 -9223372036854775808": i64::MIN;
        }
        u8 { "u8 255": 255; }
        u64 { "u64 9223372036854775808": 1 << 63; "u64 18446744073709551615": u64::MAX; }
        i128 { "i128 as 16 bytes, big-endian": -2; }
        f64 {
            "f64 1.5": 1.5; "f64 1.0": 1.0; "f64 -0.0": -0.0; "f64 infinity": f64::INFINITY;
            "f64 not a number": f64::NAN;
        }
        f32 { "f32 1.5": 1.5; }
        bool { "true": true; "false": false; }
        unit { "unit": (); }
        text {
            "text, empty": String::new(); "text": "a".to_owned();
            "text beyond ASCII": "Grüße, 世界 🦀".to_owned();
            "text of 31 bytes": "x".repeat(31); "text of 32 bytes": "x".repeat(32);
            "text of 255 bytes": "x".repeat(255); "text of 256 bytes": "x".repeat(256);
        }
        char { "char": 'ß'; }
        bytes {
            "bytes, none": vec![]; "bytes": vec![1, 2, 255];
            "bytes, 255": vec![0xaa; 255]; "bytes, 256": vec![0xaa; 256];
        }
        three { "bytes of a fixed number": [1, 2, 255]; }
        list { "list, empty": vec![]; "list": vec![1, -1, 1000]; "list of 16": (0..16).collect(); }
        map { "map": [("a".to_owned(), 1), ("b".to_owned(), 2)].into(); }
        numbered { "map with integers as keys": [(-1, true), (7, false)].into(); }
        pair { "tuple": (1, "one".to_owned()); }
        option { "option, none": None; "option, some": Some(5); }
        point { "struct": Point { x: 1, y: -1 }; }
        label { "struct with an option that is left out": Label { text: "here".to_owned(), at: None }; }
        meters { "struct of one unnamed field": Meters(1.5); }
        span { "struct of two unnamed fields": Span(1, 2); }
        empty { "struct without fields": Empty; }
        shape {
            "variant without contents": Shape::Nothing;
            "variant with one value": Shape::Circle(1.5);
            "variant with two values": Shape::Line(Point { x: 0, y: 0 }, Point { x: 3, y: 4 });
            "variant with fields": Shape::Box { width: 3, height: 4 };
        }
        time {
            "timestamp 32: the epoch": at(0, 0);
            "timestamp 32: its last second": at((1 << 32) - 1, 0);
            "timestamp 64: a nanosecond": at(0, 1);
            "timestamp 64: 2026-01-01T12:00:00.25Z": "2026-01-01T12:00:00.25Z".parse().unwrap();
            "timestamp 64: without a fraction": at(1 << 32, 0);
            "timestamp 64: its last nanosecond": at((1 << 34) - 1, 999_999_999);
            "timestamp 96: beyond": at(1 << 34, 0);
            "timestamp 96: before the epoch": at(-1, 999_999_999);
        }
        drawing {
            "nested": Drawing {
                shapes: vec![Shape::Nothing, Shape::Circle(0.5)],
                legend: [("a".to_owned(), Label { text: "x".to_owned(), at: Some(Point { x: 1, y: 2 }) })].into(),
                image: vec![0, 255],
                made: "2026-01-01T12:00:00.25Z".parse().unwrap(),
            };
        }
    }
    let all: BTreeSet<_> = values().into_iter().map(|value| value.name).collect();
    assert_eq!(seen, all, "every vector is sent");
}

fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp::new(seconds, nanoseconds).unwrap()
}

fn vector(name: &str, method: &str) -> Value {
    let value = values().into_iter().find(|value| value.name == name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(value.method, method, "{name}");
    value
}

/// Compares by what is shown, which also tells the two zeros apart and takes what is not a number for itself.
fn check<T: Debug>(name: &str, value: &T, answer: &T) {
    assert_eq!(format!("{answer:?}"), format!("{value:?}"), "{name}");
}

/// Takes a client's call, compares its argument, and answers with a form of it.
async fn answer(peer: &mut DuplexStream, vector: &Value, form: &str) {
    let request = frame(peer).await;
    // A request of four elements whose id, by its size, is of five bytes.
    let head = [&[0x94, 0, 0xce], &request[3..7], &[0xa0 | vector.method.len() as u8]].concat();
    let expected = [&head, vector.method.as_bytes(), &[0x91], &bytes(&vector.hex)].concat();
    assert!(request == expected, "{}: sent as {}", vector.name, shown(&request));
    let response = [&[0x94, 1, 0xce], &request[3..7], &[0xc0], &bytes(form)].concat();
    send(peer, &response).await;
}

async fn exchange(peer: &mut DuplexStream, request: &[u8]) -> Vec<u8> {
    send(peer, request).await;
    frame(peer).await
}

async fn send(peer: &mut DuplexStream, body: &[u8]) {
    peer.write_all(&(body.len() as u32).to_be_bytes()).await.unwrap();
    peer.write_all(body).await.unwrap();
}

async fn frame(peer: &mut DuplexStream) -> Vec<u8> {
    let mut body = vec![0; peer.read_u32().await.unwrap() as usize];
    peer.read_exact(&mut body).await.unwrap();
    body
}

/// What a hello begins with, up to the features.
const HELLO: [u8; 4] = [0x95, 10, 1, 1];

async fn hello(peer: &mut DuplexStream) {
    peer.write_all(b"\xc1RPC").await.unwrap();
    send(peer, &[&HELLO[..], &[0x90, 0x80]].concat()).await;
}

async fn read_hello(peer: &mut DuplexStream) {
    let mut magic = [0; 4];
    peer.read_exact(&mut magic).await.unwrap();
    assert!(frame(peer).await.starts_with(&HELLO));
}

/// A raw client of a real server.
async fn served() -> DuplexStream {
    let (mut peer, theirs) = tokio::io::duplex(64 * 1024);
    let server = Server::new().add(EchoServer::new(Wall));
    let bound = server.bind(Once::new(IoTransport::new(theirs))).await.unwrap();
    tokio::spawn(bound.serve());
    hello(&mut peer).await;
    read_hello(&mut peer).await;
    peer
}

/// A raw server of a real client.
async fn called() -> (DuplexStream, EchoClient) {
    let (mut peer, theirs) = tokio::io::duplex(64 * 1024);
    let greet = async {
        read_hello(&mut peer).await;
        hello(&mut peer).await;
    };
    let (channel, ()) = tokio::join!(Channel::connect(Once::new(IoTransport::new(theirs))), greet);
    (peer, EchoClient::new(channel.unwrap()))
}
