//! Values with large `Bytes` in them, wherever they stand, in calls and streams over every kind of connection.

use std::collections::BTreeMap;

use bytes::Bytes;
use rpc::{CallError, Server, Stream, Streaming, iter, service};
use serde::{Deserialize, Serialize};

/// Small, shared, in one frame, and in fragments.
const SIZES: [usize; 8] = [0, 100, 4_095, 4_096, 65_536, 200_000, 300_000, 3 << 20];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct File {
    name: String,
    parts: Vec<Bytes>,
    note: Option<Bytes>,
    attributes: BTreeMap<String, Bytes>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Signed { by: u32, signature: Bytes },
    Opaque(Bytes),
}

#[service]
trait Files {
    async fn same(&self, file: File) -> File;
    async fn two(
        &self,
        first: Bytes,
        between: &str,
        second: Bytes,
        raw: &[u8],
    ) -> (Bytes, String, Bytes, u64);
    async fn fail(&self, with: Bytes) -> Result<(), File>;
    async fn each(&self, files: Streaming<File>) -> impl Stream<Item = Result<File, rpc::Error>>;
    async fn parts(&self, sizes: Vec<usize>) -> impl Stream<Item = Bytes>;
    /// What is given is kept, and given again in the next call.
    async fn swap(&self, data: Bytes) -> Bytes;
}

#[derive(Default)]
struct Shelf {
    kept: std::sync::Mutex<Bytes>,
}

impl Files for Shelf {
    async fn same(&self, file: File) -> File {
        file
    }
    async fn two(
        &self,
        first: Bytes,
        between: &str,
        second: Bytes,
        raw: &[u8],
    ) -> (Bytes, String, Bytes, u64) {
        (second, between.to_owned(), first, sum(raw))
    }
    async fn fail(&self, with: Bytes) -> Result<(), File> {
        Err(file(with.len()))
    }
    async fn each(&self, files: Streaming<File>) -> impl Stream<Item = Result<File, rpc::Error>> {
        files
    }
    async fn parts(&self, sizes: Vec<usize>) -> impl Stream<Item = Bytes> {
        iter(sizes.into_iter().map(data))
    }
    async fn swap(&self, data: Bytes) -> Bytes {
        std::mem::replace(&mut self.kept.lock().expect("nobody panics"), data)
    }
}

/// Bytes that differ from place to place and from size to size.
fn data(size: usize) -> Bytes {
    (0..size).map(|at| (at * 31 + at / 251 + size) as u8).collect()
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

fn file(size: usize) -> File {
    File {
        name: format!("{size} bytes"),
        parts: vec![data(size), data(7), data(size / 2)],
        note: size.is_multiple_of(2).then(|| data(size / 3)),
        attributes: BTreeMap::from([("long".to_owned(), data(size)), ("short".to_owned(), data(3))]),
        kind: match size {
            0 => Kind::Plain,
            1..100_000 => Kind::Signed { by: 7, signature: data(size) },
            _ => Kind::Opaque(data(size)),
        },
    }
}

/// Two clients: on a connection, and in process.
async fn clients(url: &str) -> [FilesClient; 2] {
    let server =
        Server::new().add(FilesServer::new(Shelf::default())).bind(url).await.expect("a free address");
    let url = server.local_addr().to_string();
    tokio::spawn(server.serve());
    let connected = FilesClient::connect(&*url).await.expect("the server listens");
    [connected, FilesClient::in_process(FilesServer::new(Shelf::default()))]
}

#[tokio::test]
async fn they_arrive_as_they_were_wherever_they_stand() {
    for client in clients("tcp://127.0.0.1:0").await {
        for size in SIZES {
            assert!(client.same(file(size)).await.expect("a reply") == file(size), "{size} bytes");
            let (raw, other) = (data(size), data(size / 5));
            let (second, between, first, sum_of_raw) =
                client.two(raw.clone(), "between", other.clone(), &raw).await.expect("a reply");
            assert!((first, second) == (raw.clone(), other), "{size} bytes");
            assert_eq!((between.as_str(), sum_of_raw), ("between", sum(&raw)));
        }
    }
}

#[tokio::test]
async fn a_methods_own_error_holds_them_too() {
    for client in clients("mem://large-bytes-errors").await {
        for size in SIZES {
            match client.fail(data(size)).await {
                Err(CallError::App(error)) => assert!(error == file(size), "{size} bytes"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn items_hold_them_in_both_directions() {
    for client in clients("tcp://127.0.0.1:0").await {
        let mut files = client.each(iter(SIZES.map(file))).await.expect("a stream");
        for size in SIZES {
            assert!(files.next().await.expect("an item").expect("sound") == file(size), "{size} bytes");
        }
        assert!(files.next().await.is_none());
        // Small and large ones side by side in the same batches.
        let sizes = SIZES.into_iter().cycle().take(200).map(|size| size % 100_000).collect::<Vec<_>>();
        let mut parts = client.parts(sizes.clone()).await.expect("a stream");
        for size in sizes {
            assert!(parts.next().await.expect("an item").expect("sound") == data(size), "{size} bytes");
        }
        assert!(parts.next().await.is_none());
    }
}

#[tokio::test]
async fn what_is_kept_stays_as_it_is_while_others_come_and_go() {
    for client in clients("tcp://127.0.0.1:0").await {
        let mut before = 0;
        // Replies that are kept must not be written over by what comes into the same memory later.
        let mut replies = Vec::new();
        for size in SIZES.into_iter().cycle().take(40) {
            replies.push((before, client.swap(data(size)).await.expect("a reply")));
            before = size;
        }
        for (size, reply) in replies {
            assert!(reply == data(size), "{size} bytes");
        }
    }
}
