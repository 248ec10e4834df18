//! Memory of all connections together: who hoards it is sent away, and everybody else goes on. On real sockets.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hostile::always::{Always, Neighbour, resident};
use hostile::raw::{Liar, Raw};
use hostile::wire::{self, EXHAUSTED, Value, framed, in_fragments};
use hostile::{Heavy, TargetClient, Victim};
use rpc::{Address, Channel, Code, Executed, Limits, MemoryUse, Server, service};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn hello() -> Vec<u8> {
    wire::hello_with(1, 1, &["fragments"], &[("frame_bytes", 4 << 20), ("calls", 1_024)])
}

async fn open(url: &str) -> Raw {
    let mut raw = Raw::connect(url).await;
    raw.greet(&hello()).await;
    raw
}

/// A call with an argument of so many bytes, in fragments of 64 KiB.
fn large(id: u64, bytes: usize) -> Vec<Vec<u8>> {
    let params = wire::array(&[&wire::text(""), &wire::binary(&vec![7; bytes])]);
    let pieces = in_fragments(1, &wire::request(id, "Target.length", &params), 64 * KIB);
    pieces.iter().map(|piece| framed(piece)).collect()
}

/// A server whose connections may hold 4 MiB together.
fn attacked(attack: impl AsyncFn(&Victim)) {
    Victim::attacked_over_tcp(Limits::default().with_memory_bytes(4 * MIB), attack);
}

/// Waits until it is so much; nothing tells when that is.
async fn until(memory: &MemoryUse, what: impl Fn(usize) -> bool) {
    let reached = async {
        while !what(memory.bytes()) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(60 * SECOND, reached).await.unwrap_or_else(|_| panic!("{} bytes", memory.bytes()));
}

/// One more begins a message of 900 KiB and does not go on. There is room for four.
async fn hoard(victim: &Victim, holders: &mut Vec<Raw>, mut raw: Raw, first: &[u8]) {
    let before = victim.memory.bytes();
    raw.send(first).await;
    if holders.len() < 4 {
        until(&victim.memory, |bytes| bytes >= before + 700 * KIB).await;
    }
    holders.push(raw);
    victim.serves_neighbours().await;
}

#[test]
fn case_90_the_oldest_message_that_has_not_come_whole_goes_and_the_others_finish() {
    attacked(async |victim| {
        let mut holders = Vec::new();
        let message = large(7, 900 * KIB);
        let (first, rest) = message.split_at(13);
        // Of the oldest a call is pending, too.
        let mut oldest = open(&victim.url).await;
        oldest.say(&wire::request(1, "Target.hold", &[0x90])).await;
        victim.ledger.running(1).await;
        for number in 0..5 {
            let raw = if number == 0 {
                std::mem::replace(&mut oldest, open(&victim.url).await)
            } else {
                open(&victim.url).await
            };
            hoard(victim, &mut holders, raw, &first.concat()).await;
        }
        let goaway = holders.remove(0).is_sent_away().await;
        assert_eq!((goaway.reason, goaway.last_id), (EXHAUSTED, 1), "{}", goaway.message);
        victim.ledger.running(0).await;
        for raw in &mut holders {
            raw.send(&rest.concat()).await;
            let reply = raw.recv().await.expect("a reply");
            assert_eq!(reply.value(), (7, &Value::Uint(900 * KIB as u64)));
        }
        drop((oldest, holders));
    });
}

#[test]
fn case_90_the_same_with_frames_that_are_not_finished() {
    attacked(async |victim| {
        let params = wire::array(&[&wire::text(""), &wire::binary(&vec![7; 900 * KIB])]);
        let frame = framed(&wire::request(7, "Target.length", &params));
        let (first, rest) = frame.split_at(850 * KIB);
        let mut holders = Vec::new();
        for _ in 0..5 {
            let raw = open(&victim.url).await;
            hoard(victim, &mut holders, raw, first).await;
        }
        let goaway = holders.remove(0).is_sent_away().await;
        assert_eq!((goaway.reason, goaway.last_id), (EXHAUSTED, 0), "{}", goaway.message);
        for raw in &mut holders {
            raw.send(rest).await;
            assert_eq!(raw.recv().await.expect("a reply").value(), (7, &Value::Uint(900 * KIB as u64)));
        }
        drop(holders);
    });
}

#[test]
fn case_90_hoarders_that_come_again_and_again_stop_no_honest_message() {
    let limits = Limits::default().with_memory_bytes(8 * MIB);
    Victim::attacked_over_tcp_but(Always::on_threads(), limits, async |victim| {
        let (over, sent_away) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let first = Arc::new(large(7, 2 * MIB)[..16].concat());
        let mut hoarders = JoinSet::new();
        for _ in 0..12 {
            let (url, memory) = (victim.url.clone(), victim.memory.clone());
            let (over, sent_away, first) = (over.clone(), sent_away.clone(), first.clone());
            hoarders.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let mut raw = open(&url).await;
                    raw.send(&first).await;
                    // It would hold this for ever.
                    while let Ok(message) = timeout(SECOND / 20, raw.recv()).await {
                        match message {
                            Some(goaway) => assert_eq!(goaway.elements()[2], Value::Uint(EXHAUSTED)),
                            None => break,
                        }
                        sent_away.fetch_add(1, Ordering::Relaxed);
                    }
                    while !over.load(Ordering::Relaxed) && memory.bytes() < 6 * MIB {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            });
        }
        let client = victim.client().await;
        let data = vec![7; 3 * MIB];
        for _ in 0..8 {
            let length = async {
                loop {
                    match client.length("", &data).await {
                        Ok(length) => break length,
                        // One that was the oldest goes to another connection, a few times in a row at most.
                        Err(error) => assert_eq!(error.executed(), Executed::No, "{error}"),
                    }
                }
            };
            assert_eq!(timeout(60 * SECOND, length).await.expect("nobody stops it"), data.len());
            victim.serves_neighbours().await;
        }
        over.store(true, Ordering::Relaxed);
        while let Some(hoarder) = hoarders.join_next().await {
            hoarder.expect("joined");
        }
        assert!(sent_away.load(Ordering::Relaxed) > 0, "there was room for all of them");
        drop(client);
        until(&victim.memory, |bytes| bytes == 0).await;
    });
}

/// Keeps what it is given until the gate opens.
#[service]
trait Store {
    async fn keep(&self, data: Vec<u8>) -> usize;
    async fn weigh(&self, items: Vec<Heavy>) -> usize;
    async fn add(&self, left: u8, right: u8) -> u8;
}

#[derive(Clone)]
struct Shelf {
    gate: Arc<Semaphore>,
    kept: Arc<AtomicUsize>,
}

impl Shelf {
    async fn wait(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
        self.gate.acquire().await.expect("the gate is never closed").forget();
    }
}

impl Store for Shelf {
    async fn keep(&self, data: Vec<u8>) -> usize {
        self.wait().await;
        data.len()
    }
    async fn weigh(&self, items: Vec<Heavy>) -> usize {
        self.wait().await;
        items.len()
    }
    async fn add(&self, left: u8, right: u8) -> u8 {
        left + right
    }
}

/// A store of 4 MiB.
struct Full {
    address: Address,
    shelf: Shelf,
    memory: MemoryUse,
}

impl Full {
    async fn begin() -> (Full, Neighbour) {
        let shelf = Shelf { gate: Arc::new(Semaphore::new(0)), kept: Arc::default() };
        let limits = Limits::default().with_memory_bytes(4 * MIB);
        let server = resident(Server::new().limits(limits)).add(StoreServer::new(shelf.clone()));
        let bound = server.bind("tcp://127.0.0.1:0").await.expect("a port");
        let (address, memory) = (bound.local_addr(), bound.memory_use());
        tokio::spawn(bound.serve());
        let neighbour = Channel::connect(&address).await.expect("connected");
        (Full { address, shelf, memory }, Neighbour::new(neighbour))
    }
}

/// Fills it, as this does.
fn filled(fill: impl AsyncFn(StoreClient, &Shelf, &MemoryUse)) {
    Always::on_sockets().holds(Full::begin, async |full| {
        let client = StoreClient::connect(&full.address).await.expect("connected");
        fill(client, &full.shelf, &full.memory).await;
    });
}

#[test]
fn case_90_a_request_for_which_handlers_have_left_no_room_is_refused_and_not_executed() {
    filled(async |client, shelf, memory| {
        let data = vec![7; MIB];
        let kept: Vec<_> = (0..3).map(|_| tokio::spawn(client.keep(data.clone()).into_future())).collect();
        until(memory, |_| shelf.kept.load(Ordering::Relaxed) == 3).await;
        assert!((3 * MIB..3 * MIB + 4 * KIB).contains(&memory.bytes()), "{}", memory.bytes());
        let refused = client.keep(vec![7; 1_040 * KIB]).await.expect_err("there is no room");
        assert_eq!(
            (refused.code(), refused.executed()),
            (Code::ResourceExhausted, Executed::No),
            "{refused}"
        );
        assert!(refused.is_retryable());
        assert_eq!(client.add(1, 2).await.expect("small ones need no room"), 3);
        assert_eq!(shelf.kept.load(Ordering::Relaxed), 3);
        shelf.gate.add_permits(4);
        for call in kept {
            assert_eq!(call.await.expect("joined").expect("the same connection"), MIB);
        }
        until(memory, |bytes| bytes == 0).await;
        assert_eq!(client.keep(data).await.expect("there is room again"), MIB);
        until(memory, |bytes| bytes == 0).await;
    });
}

#[test]
fn case_90_a_cancelled_request_gives_its_memory_back() {
    filled(async |client, shelf, memory| {
        for _ in 0..20 {
            let call = tokio::spawn(client.keep(vec![7; 3 * MIB]).into_future());
            until(memory, |bytes| bytes >= 3 * MIB).await;
            call.abort();
            until(memory, |bytes| bytes == 0).await;
        }
        assert!(shelf.kept.load(Ordering::Relaxed) <= 20);
    });
}

#[test]
fn case_90_values_for_which_there_is_no_room_are_refused_and_not_executed() {
    filled(async |client, shelf, memory| {
        // 416 bytes each, and a quarter of that in their message.
        let items = || (0..6_000).map(|_| Heavy::default()).collect::<Vec<_>>();
        let kept = tokio::spawn(client.weigh(items()).into_future());
        until(memory, |_| shelf.kept.load(Ordering::Relaxed) == 1).await;
        assert!((2_400_000..2_600_000).contains(&memory.bytes()), "{}", memory.bytes());
        let refused = client.weigh(items()).await.expect_err("there is no room");
        assert_eq!(
            (refused.code(), refused.executed()),
            (Code::ResourceExhausted, Executed::No),
            "{refused}"
        );
        assert!(refused.message().starts_with("argument `items` (1 of 1): "), "{refused}");
        assert_eq!(client.add(1, 2).await.expect("small ones need no room"), 3);
        shelf.gate.add_permits(2);
        assert_eq!(kept.await.expect("joined").expect("the same connection"), 6_000);
        until(memory, |bytes| bytes == 0).await;
        assert_eq!(client.weigh(items()).await.expect("there is room again"), 6_000);
        until(memory, |bytes| bytes == 0).await;
    });
}

#[test]
fn case_90_a_message_that_becomes_hundreds_of_times_larger_is_refused() {
    attacked(async |victim| {
        let heavy = |count: usize| {
            let items = [&[0xdd][..], &(count as u32).to_be_bytes(), &vec![0x80; count]].concat();
            wire::array(&[&items])
        };
        let mut raw = open(&victim.url).await;
        for round in 0..20 {
            let (_, code, executed, message) = {
                raw.say(&wire::request(2 * round + 1, "Target.heavy", &heavy(30_000))).await;
                let refused = raw.recv().await.expect("a refusal");
                let (id, code, executed, message) = refused.error();
                (id, code, executed, message.to_owned())
            };
            assert_eq!((code, executed), (wire::RESOURCE_EXHAUSTED, wire::NO), "{message}");
            let counted = raw.call(2 * round + 2, "Target.heavy", &heavy(9_000)).await;
            assert_eq!(counted.value().1, &Value::Uint(9_000));
        }
        drop(raw);
    });
}

#[test]
fn case_90_a_client_does_the_same_to_its_server() {
    Liar::attacks_over_tcp(async |liar| {
        let limits = Limits::default().with_memory_bytes(MIB);
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).limits(limits).into_future());
        let mut raw = liar.accept().await;
        raw.recv_hello().await;
        raw.send(&hello()).await;
        let client = connecting.await.expect("joined").expect("connected");
        let memory = AsRef::<Channel>::as_ref(&client).memory_use().expect("it has connections");
        let calls: Vec<_> = (0..3).map(|_| tokio::spawn(client.hold().into_future())).collect();
        for _ in 0..3 {
            raw.recv().await.expect("a request");
        }
        // No end of a reply that would be as large as a message may be.
        let reply = wire::reply(1 << 20, &wire::binary(&vec![7; 8 * MIB]));
        let pieces = in_fragments(1, &reply, 64 * KIB);
        let sending = async {
            for piece in &pieces[..100] {
                raw.send.write_all(&framed(piece)).await?;
            }
            std::io::Result::Ok(())
        };
        // It may be sent away while it still sends.
        let _ = sending.await;
        let goaway = raw.is_sent_away().await;
        assert_eq!(goaway.reason, EXHAUSTED, "{}", goaway.message);
        for call in calls {
            let error =
                timeout(SECOND * 5, call).await.expect("at once").expect("joined").expect_err("a bad server");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
        }
        until(&memory, |bytes| bytes == 0).await;
    });
}
