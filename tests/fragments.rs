//! Messages too large for a frame, over connections as users have them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rpc::{
    Code, Connect, Connector, Error, Executed, Limits, Listener, MemoryListener, RecvHalf, SendHalf, Server,
    Stream, Streaming, iter, service,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

const MIB: usize = 1 << 20;
/// In paused time nothing is left to do by then but what waits for the test.
const MOMENT: Duration = Duration::from_millis(1);

#[service]
trait Store {
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn echo(&self, data: Bytes) -> Bytes;
    async fn size(&self, data: Bytes) -> usize;
    async fn make(&self, size: usize) -> Bytes;
    #[rpc(oneway)]
    async fn note(&self, data: Bytes);
    /// Numbers that `note` has had.
    async fn noted(&self) -> usize;
    async fn items(&self, count: usize, size: usize) -> impl Stream<Item = Bytes>;
    /// A large argument beside a stream of large items, and such a stream back.
    async fn join(&self, data: Bytes, items: Streaming<Bytes>) -> impl Stream<Item = Bytes>;
}

#[derive(Clone, Default)]
struct Shelf {
    executed: Arc<AtomicUsize>,
    noted: Arc<AtomicUsize>,
}

impl Shelf {
    fn executed(&self) -> usize {
        self.executed.load(Ordering::SeqCst)
    }
}

impl Store for Shelf {
    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
    async fn echo(&self, data: Bytes) -> Bytes {
        self.executed.fetch_add(1, Ordering::SeqCst);
        data
    }
    async fn size(&self, data: Bytes) -> usize {
        self.executed.fetch_add(1, Ordering::SeqCst);
        data.len()
    }
    async fn make(&self, size: usize) -> Bytes {
        bytes(size)
    }
    async fn note(&self, data: Bytes) {
        self.noted.fetch_add(data.len(), Ordering::SeqCst);
    }
    async fn noted(&self) -> usize {
        self.noted.load(Ordering::SeqCst)
    }
    async fn items(&self, count: usize, size: usize) -> impl Stream<Item = Bytes> {
        iter((0..count).map(move |_| bytes(size)))
    }
    async fn join(&self, data: Bytes, mut items: Streaming<Bytes>) -> impl Stream<Item = Bytes> {
        let mut all = vec![data];
        while let Some(item) = items.next().await {
            all.push(item.expect("the client's stream ends well"));
        }
        iter(all)
    }
}

/// Bytes of which no two neighbourhoods are alike.
fn bytes(size: usize) -> Bytes {
    (0..size as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn name(name: &str) -> String {
    format!("mem://fragments-{name}")
}

async fn serve(url: &str, limits: Limits) -> (String, Shelf) {
    let shelf = Shelf::default();
    let server = Server::new().limits(limits).add(StoreServer::new(shelf.clone()));
    let bound = server.bind(url).await.expect("an address of its own");
    let url = bound.local_addr().to_string();
    tokio::spawn(bound.serve());
    (url, shelf)
}

async fn connect(url: &str) -> StoreClient {
    StoreClient::connect(url).await.expect("connected")
}

#[tokio::test]
async fn large_messages_arrive_whole_in_both_directions() {
    for url in ["tcp://127.0.0.1:0", &name("whole")] {
        let (url, _) = serve(url, Limits::default()).await;
        let client = connect(&url).await;
        for size in [256 * 1024, 300_000, 16 * MIB, 60 * MIB] {
            let data = bytes(size);
            assert!(client.echo(data.clone()).await.expect("an echo") == data, "{size} bytes over {url}");
        }
        client.note(bytes(5 * MIB)).await.expect("sent");
        while client.noted().await.expect("a number") == 0 {}
        assert_eq!(client.noted().await.expect("a number"), 5 * MIB);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_large_calls_at_once_with_small_ones_between() {
    let (url, shelf) = serve("tcp://127.0.0.1:0", Limits::default()).await;
    let client = connect(&url).await;
    let data = bytes(16 * MIB);
    let mut large = JoinSet::new();
    for _ in 0..4 {
        let (client, data) = (client.clone(), data.clone());
        large.spawn(async move { client.echo(data.clone()).await.expect("an echo") == data });
    }
    let mut small = 0;
    while !large.is_empty() {
        assert_eq!(client.add(small, 1).await.expect("a sum"), small + 1);
        small += 1;
        while let Some(echoed) = large.try_join_next() {
            assert!(echoed.expect("joined"), "the echo differs");
        }
    }
    assert_eq!(shelf.executed(), 4);
}

/// A way to the server that carries so much at a time as the test allows.
struct Throttle {
    url: String,
    to_server: Arc<Semaphore>,
    to_client: Arc<Semaphore>,
    task: JoinHandle<()>,
}

const PERMIT_BYTES: usize = 64 * 1024;
const OPEN: usize = Semaphore::MAX_PERMITS / 2;

impl Throttle {
    fn to(url: &str, own: &str) -> Throttle {
        let mut listener = MemoryListener::bind(format!("fragments-{own}")).expect("a name of its own");
        let [to_server, to_client] = [0, 0].map(|permits| Arc::new(Semaphore::new(permits)));
        let gates = (to_server.clone(), to_client.clone());
        let server = url.to_owned();
        let task = tokio::spawn(async move {
            let mut ways = JoinSet::new();
            loop {
                let accepted = std::future::poll_fn(|cx| listener.poll_accept(cx)).await;
                let (recv, send) = accepted.expect("a connection").split();
                let connector: Arc<dyn Connector> = server.as_str().into_connector().expect("a URL");
                let (back, there) = connector.connect().await.expect("the server listens").split();
                ways.spawn(carry(recv, there, gates.0.clone()));
                ways.spawn(carry(back, send, gates.1.clone()));
            }
        });
        Throttle { url: name(own), to_server, to_client, task }
    }

    /// Lets the hellos through.
    async fn connect(&self) -> StoreClient {
        let gates = [&self.to_server, &self.to_client];
        gates.iter().for_each(|gate| gate.add_permits(1));
        let client = connect(&self.url).await;
        sleep(MOMENT).await;
        client
    }

    fn open(&self) {
        self.to_server.add_permits(OPEN);
        self.to_client.add_permits(OPEN);
    }
}

async fn carry(mut from: RecvHalf, mut to: SendHalf, gate: Arc<Semaphore>) {
    let mut buffer = vec![0; PERMIT_BYTES];
    loop {
        gate.acquire().await.expect("the gate is never closed").forget();
        let mut count = 0;
        // As much as there is, up to what a permit is for.
        while count < PERMIT_BYTES {
            let more = timeout(MOMENT / 2, from.read(&mut buffer[count..])).await;
            match more {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(more)) => count += more,
                Err(_elapsed) if count > 0 => break,
                Err(_elapsed) => {}
            }
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Lets bytes through one way, piece by piece, until a call has ended; says how many pieces that took.
async fn pieces_until<T>(gate: &Semaphore, call: &JoinHandle<T>) -> usize {
    let mut pieces = 0;
    while !call.is_finished() {
        gate.add_permits(1);
        pieces += 1;
        sleep(3 * MOMENT).await;
        assert!(pieces < 1_000, "the call does not end");
    }
    pieces
}

#[tokio::test(start_paused = true)]
async fn case_26_small_calls_beside_a_large_one_end_long_before_it() {
    let (url, _) = serve(&name("26"), Limits::default()).await;
    let throttle = Throttle::to(&url, "26-throttled");
    let client = throttle.connect().await;

    // The calls go through the narrow way.
    throttle.to_client.add_permits(OPEN);
    let large = tokio::spawn(client.size(bytes(16 * MIB)).into_future());
    sleep(MOMENT).await;
    for _ in 0..20 {
        let small = tokio::spawn(client.add(1, 2).into_future());
        sleep(MOMENT).await;
        let pieces = pieces_until(&throttle.to_server, &small).await;
        assert!(pieces <= 6, "{pieces} pieces of 64 KiB went before a small call");
        assert_eq!(small.await.expect("joined").expect("a sum"), 3);
    }
    assert!(!large.is_finished());
    let pieces = pieces_until(&throttle.to_server, &large).await;
    assert!(pieces > 100, "it was a large one: {pieces}");
    assert_eq!(large.await.expect("joined").expect("a size"), 16 * MIB);
}

#[tokio::test(start_paused = true)]
async fn case_26_small_replies_beside_a_large_one_come_long_before_it() {
    let (url, _) = serve(&name("26-reply"), Limits::default()).await;
    let throttle = Throttle::to(&url, "26-reply-throttled");
    let client = throttle.connect().await;
    throttle.to_server.add_permits(OPEN);
    // So that it is known to be small.
    let small = tokio::spawn(client.add(1, 2).into_future());
    pieces_until(&throttle.to_client, &small).await;

    let large = tokio::spawn(client.make(16 * MIB).into_future());
    sleep(MOMENT).await;
    for _ in 0..20 {
        let small = tokio::spawn(client.add(1, 2).into_future());
        sleep(MOMENT).await;
        let pieces = pieces_until(&throttle.to_client, &small).await;
        assert!(pieces <= 6, "{pieces} pieces of 64 KiB came before a small reply");
    }
    assert!(!large.is_finished());
    throttle.to_client.add_permits(OPEN);
    assert!(large.await.expect("joined").expect("bytes") == bytes(16 * MIB));
}

#[tokio::test]
async fn case_49_what_is_too_large_names_size_and_limit_in_both_directions() {
    let small = Limits::default().with_message_bytes(MIB);
    let (url, shelf) = serve(&name("49"), small.clone()).await;
    let client = connect(&url).await;
    let names = |error: &Error| {
        let text = error.to_string();
        assert!(text.contains("1048576") && text.contains("2097"), "{text}");
        (error.code(), error.executed())
    };
    let error = client.echo(bytes(2 * MIB)).await.expect_err("too large");
    assert_eq!(names(&error), (Code::ResourceExhausted, Executed::No));
    assert_eq!(shelf.executed(), 0);
    assert_eq!(client.echo(bytes(MIB - 100)).await.expect("an echo").len(), MIB - 100);

    let (url, _) = serve(&name("49-reply"), Limits::default()).await;
    let client = StoreClient::connect(&url).limits(small).await.expect("connected");
    let error = client.make(2 * MIB).await.expect_err("too large");
    assert_eq!(names(&error), (Code::ResourceExhausted, Executed::Yes));
    assert_eq!(client.make(MIB - 100).await.expect("bytes").len(), MIB - 100);
}

#[tokio::test(start_paused = true)]
async fn case_56_a_large_call_dropped_half_way_is_not_executed_and_forgotten() {
    // Were one of them kept, there would be no room for the next one.
    let limits = Limits::default().with_message_bytes(MIB);
    let (url, shelf) = serve(&name("56"), limits).await;
    let throttle = Throttle::to(&url, "56-throttled");
    let client = throttle.connect().await;
    throttle.to_client.add_permits(OPEN);
    for _ in 0..40 {
        let call = tokio::spawn(client.size(bytes(900_000)).into_future());
        sleep(MOMENT).await;
        for _ in 0..5 {
            throttle.to_server.add_permits(1);
            sleep(3 * MOMENT).await;
        }
        assert!(!call.is_finished());
        call.abort();
        assert!(call.await.expect_err("aborted").is_cancelled());
        // What is under way, and that it is given up.
        throttle.to_server.add_permits(3);
        sleep(20 * MOMENT).await;
    }
    assert_eq!(shelf.executed(), 0);
    throttle.open();
    assert_eq!(client.size(bytes(900_000)).await.expect("a size"), 900_000);
    assert_eq!(shelf.executed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_within_a_large_call_leaves_it_unexecuted() {
    let (url, shelf) = serve(&name("lost"), Limits::default()).await;
    let throttle = Throttle::to(&url, "lost-throttled");
    let client = throttle.connect().await;
    throttle.to_client.add_permits(OPEN);
    let call = tokio::spawn(client.size(bytes(2 * MIB)).into_future());
    throttle.to_server.add_permits(5);
    sleep(50 * MOMENT).await;
    assert!(!call.is_finished());
    throttle.task.abort();
    let error = timeout(Duration::from_secs(60), call).await.expect("it ends").expect("joined");
    let error = error.expect_err("nobody is there any more");
    assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));
    assert_eq!(shelf.executed(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_within_a_large_call_moves_it_to_the_next_one() {
    let (url, shelf) = serve(&name("moves"), Limits::default()).await;
    let first = Throttle::to(&url, "moves-throttled");
    let client = first.connect().await;
    let call = tokio::spawn(client.size(bytes(2 * MIB)).timeout(Duration::from_secs(60)).into_future());
    first.to_server.add_permits(5);
    sleep(50 * MOMENT).await;
    first.task.abort();
    assert!(first.task.await.expect_err("aborted").is_cancelled());
    let second = Throttle::to(&url, "moves-throttled");
    second.open();
    assert_eq!(call.await.expect("joined").expect("a size"), 2 * MIB);
    assert_eq!(shelf.executed(), 1);
}

#[tokio::test]
async fn frames_of_one_kibibyte_on_either_side() {
    let narrow = Limits::default().with_frame_bytes(1_024);
    for (index, (server, client)) in
        [(narrow.clone(), Limits::default()), (Limits::default(), narrow.clone()), (narrow.clone(), narrow)]
            .into_iter()
            .enumerate()
    {
        let (url, _) = serve(&name(&format!("narrow-{index}")), server).await;
        let client = StoreClient::connect(&url).limits(client).await.expect("connected");
        for size in [900, 1_000, 1_100, 5_000, 300_000, 3 * MIB] {
            let data = bytes(size);
            assert!(client.echo(data.clone()).await.expect("an echo") == data, "{size} bytes");
        }
    }
}

#[tokio::test]
async fn large_items_beside_large_calls() {
    let (url, _) = serve("tcp://127.0.0.1:0", Limits::default()).await;
    let client = connect(&url).await;
    let data = bytes(3 * MIB);
    let mut down = client.items(20, MIB).await.expect("a stream");
    let echo = tokio::spawn(client.echo(bytes(16 * MIB)).into_future());
    let uploaded = vec![bytes(MIB), bytes(10), bytes(2 * MIB), bytes(300_000)];
    let mut joined = client.join(data.clone(), iter(uploaded.clone())).await.expect("a stream");
    assert!(joined.next().await.expect("an item").expect("the argument") == data);
    for item in uploaded {
        assert!(joined.next().await.expect("an item").expect("an item") == item);
    }
    assert!(joined.next().await.is_none());
    for _ in 0..20 {
        assert!(down.next().await.expect("an item").expect("an item") == bytes(MIB));
    }
    assert!(down.next().await.is_none());
    assert!(echo.await.expect("joined").expect("an echo") == bytes(16 * MIB));
}
