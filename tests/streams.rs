//! Streams in all their shapes, over a socket and in process.

use rpc::{CallError, Code, Server, Stream, Streaming, iter, service};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Odd(u64);

#[service]
trait Numbers {
    async fn count(&self, to: u64) -> impl Stream<Item = u64>;
    async fn pick(&self, to: u64) -> Result<impl Stream<Item = u64>, Odd>;
    async fn even(&self, numbers: Vec<u64>) -> impl Stream<Item = Result<u64, Odd>>;
    async fn failing(&self) -> impl Stream<Item = Result<u64, rpc::Error>>;
    async fn sum(&self, scale: u64, numbers: Streaming<u64>) -> u64;
    async fn weigh(&self, numbers: Streaming<u64, Odd>) -> Result<u64, Odd>;
    async fn running(&self, numbers: Streaming<u64>) -> impl Stream<Item = u64>;
    async fn zip(&self, left: Streaming<u64>, name: &str, right: Streaming<String>) -> Vec<String>;
    async fn large(&self, count: usize, size: usize) -> impl Stream<Item = Vec<u8>>;
    async fn until_broken(&self, numbers: Streaming<u64>) -> (Vec<u64>, bool);
    async fn panics(&self, at: u64) -> impl Stream<Item = u64>;
}

struct Here;

impl Numbers for Here {
    async fn count(&self, to: u64) -> impl Stream<Item = u64> {
        iter(0..to)
    }

    async fn pick(&self, to: u64) -> Result<impl Stream<Item = u64>, Odd> {
        if to.is_multiple_of(2) { Ok(iter(0..to)) } else { Err(Odd(to)) }
    }

    async fn even(&self, numbers: Vec<u64>) -> impl Stream<Item = Result<u64, Odd>> {
        iter(numbers.into_iter().map(|number| if number % 2 == 0 { Ok(number) } else { Err(Odd(number)) }))
    }

    async fn failing(&self) -> impl Stream<Item = Result<u64, rpc::Error>> {
        iter([Ok(1), Err(rpc::Error::new(Code::DataLoss, "the disk is gone")), Ok(2)])
    }

    async fn sum(&self, scale: u64, mut numbers: Streaming<u64>) -> u64 {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            sum += number.expect("the client's stream ends well");
        }
        sum * scale
    }

    async fn weigh(&self, mut numbers: Streaming<u64, Odd>) -> Result<u64, Odd> {
        let mut sum = 0;
        loop {
            match numbers.next().await {
                None => return Ok(sum),
                Some(Ok(number)) => sum += number,
                Some(Err(CallError::App(odd))) => return Err(odd),
                Some(Err(CallError::Rpc(error))) => panic!("{error}"),
            }
        }
    }

    async fn running(&self, numbers: Streaming<u64>) -> impl Stream<Item = u64> {
        Running { numbers, sum: 0 }
    }

    async fn zip(&self, mut left: Streaming<u64>, name: &str, mut right: Streaming<String>) -> Vec<String> {
        let mut zipped = Vec::new();
        while let (Some(Ok(left)), Some(Ok(right))) = (left.next().await, right.next().await) {
            zipped.push(format!("{left}{name}{right}"));
        }
        zipped
    }

    async fn large(&self, count: usize, size: usize) -> impl Stream<Item = Vec<u8>> {
        large(count, size)
    }

    async fn until_broken(&self, mut numbers: Streaming<u64>) -> (Vec<u64>, bool) {
        let mut all = Vec::new();
        loop {
            match numbers.next().await {
                Some(Ok(number)) => all.push(number),
                Some(Err(error)) => return (all, error.code() == Code::Internal),
                None => return (all, false),
            }
        }
    }

    async fn panics(&self, at: u64) -> impl Stream<Item = u64> {
        iter((0..).map(move |n| if n == at { panic!("on purpose") } else { n }))
    }
}

fn large(count: usize, size: usize) -> impl Stream<Item = Vec<u8>> {
    iter((0..count).map(move |index| vec![index as u8; size]))
}

struct Running {
    numbers: Streaming<u64>,
    sum: u64,
}

impl Stream for Running {
    type Item = u64;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<u64>> {
        std::pin::Pin::new(&mut self.numbers).poll_next(cx).map(|item| {
            let number = item?.ok()?;
            self.sum += number;
            Some(self.sum)
        })
    }
}

async fn collect<T: serde::de::DeserializeOwned>(mut items: Streaming<T>) -> Vec<T> {
    let mut all = Vec::new();
    while let Some(item) = items.next().await {
        all.push(item.expect("an item"));
    }
    all
}

async fn over_tcp() -> NumbersClient {
    let bound = Server::new().add(NumbersServer::new(Here)).bind("tcp://127.0.0.1:0").await.expect("a port");
    let address = bound.local_addr();
    tokio::spawn(bound.serve());
    NumbersClient::connect(address).await.expect("a connection")
}

async fn every_shape(client: &NumbersClient) {
    assert_eq!(collect(client.count(5).await.expect("a stream")).await, [0, 1, 2, 3, 4]);
    assert_eq!(collect(client.count(0).await.expect("a stream")).await, [0; 0]);
    let many = collect(client.count(300_000).await.expect("a stream")).await;
    assert!(many.iter().copied().eq(0..300_000));

    assert_eq!(collect(client.pick(2).await.expect("a stream")).await, [0, 1]);
    assert!(matches!(client.pick(3).await, Err(CallError::App(Odd(3)))));

    let mut even = client.even(vec![2, 4, 5, 6]).await.expect("a stream");
    assert_eq!(even.next().await.expect("an item").expect("an even one"), 2);
    assert_eq!(even.next().await.expect("an item").expect("an even one"), 4);
    assert!(matches!(even.next().await, Some(Err(CallError::App(Odd(5))))));
    assert!(even.next().await.is_none() && even.next().await.is_none());

    let mut failing = client.failing().await.expect("a stream");
    assert_eq!(failing.next().await.expect("an item").expect("the first"), 1);
    let error = failing.next().await.expect("an end").expect_err("an error");
    assert_eq!((error.code(), error.message()), (Code::DataLoss, "the disk is gone"));
    assert!(failing.next().await.is_none());

    assert_eq!(client.sum(2, iter(1..=4)).await.expect("a sum"), 20);
    assert_eq!(client.sum(1, iter(0..200_000)).await.expect("a sum"), 199_999 * 100_000);
    assert_eq!(client.weigh(iter([Ok(1), Ok(2)])).await.expect("a sum"), 3);
    assert!(matches!(client.weigh(iter([Ok(1), Err(Odd(7)), Ok(2)])).await, Err(CallError::App(Odd(7)))));

    let running = client.running(iter(1..=100_000)).await.expect("a stream");
    assert_eq!(collect(running).await.last(), Some(&(100_000 * 100_001 / 2)));

    // Around where items are copied, where they are sent as they lie, and where they are cut.
    for size in [16 << 10, (64 << 10) - 6, 64 << 10, 100_000, 256 << 10, (256 << 10) + 1, 1 << 20, 3 << 20] {
        let items = collect(client.large(5, size).await.expect("a stream")).await;
        let expected: Vec<_> = (0..5).map(|index| vec![index; size]).collect();
        assert!(items == expected, "items of {size} bytes");
    }

    let words = ["a", "b", "c"].map(str::to_owned);
    let zipped = client.zip(iter(1..), "-", iter(words)).await.expect("a reply");
    assert_eq!(zipped, ["1-a", "2-b", "3-c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shape_over_tcp() {
    every_shape(&over_tcp().await).await;
}

#[tokio::test]
async fn every_shape_on_one_thread() {
    every_shape(&over_tcp().await).await;
}

#[tokio::test]
async fn every_shape_in_process() {
    every_shape(&NumbersClient::in_process(NumbersServer::new(Here))).await;
}

#[tokio::test]
async fn items_go_in_messages_that_the_other_side_takes_and_one_that_fits_in_none_says_so() {
    let limits = || rpc::Limits::default().with_message_bytes(4_096);
    let server = Server::new().limits(limits()).add(NumbersServer::new(Here));
    let bound = server.bind("tcp://127.0.0.1:0").await.expect("a port");
    let address = bound.local_addr();
    tokio::spawn(bound.serve());
    let client = NumbersClient::connect(address).limits(limits()).await.expect("a connection");

    let many = collect(client.count(300_000).await.expect("a stream")).await;
    assert!(many.iter().copied().eq(0..300_000));
    assert_eq!(client.sum(1, iter(0..200_000)).await.expect("a sum"), 199_999 * 100_000);
    for size in [1, 1_000, 3_000, 4_000] {
        assert_eq!(collect(client.large(9, size).await.expect("a stream")).await.len(), 9, "{size} bytes");
    }
    let mut large = client.large(2, 5_000).await.expect("a stream");
    let error = large.next().await.expect("an end").expect_err("an error");
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.message().contains("5003 bytes") && error.message().contains("4064 bytes"), "{error}");
    assert!(large.next().await.is_none());
    // Nothing else is lost by it.
    assert_eq!(client.sum(1, iter(0..3)).await.expect("a sum"), 3);
}

/// What a stream gives before it panics arrives, and then the error.
#[tokio::test]
async fn a_panic_in_a_stream_comes_after_its_items_from_either_side() {
    let client = over_tcp().await;
    for client in [client, NumbersClient::in_process(NumbersServer::new(Here))] {
        let broken = iter((1..).map(|n| if n == 4 { panic!("on purpose") } else { n }));
        assert_eq!(client.until_broken(broken).await.expect("a reply"), ([1, 2, 3].into(), true));
        let mut panics = client.panics(3).await.expect("a stream");
        for expected in 0..3 {
            assert_eq!(panics.next().await.expect("an item").expect("a number"), expected);
        }
        let error = panics.next().await.expect("an end").expect_err("an error");
        assert_eq!((error.code(), error.message()), (Code::Internal, "the stream panicked"));
        assert!(panics.next().await.is_none());
    }
}

/// A caller without async has nothing but iterators, and these may wait.
#[test]
fn without_async_a_stream_may_be_an_iterator_that_blocks() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let bound = Server::new().add(NumbersServer::new(Here)).bind("tcp://127.0.0.1:0");
    let bound = runtime.block_on(bound).expect("a port");
    let address = bound.local_addr();
    runtime.spawn(bound.serve());
    let client = NumbersClient::connect(address).blocking().expect("a connection");

    // Who feeds the stream needs the same connection to do so.
    let (send, receive) = std::sync::mpsc::channel();
    let feeder = client.clone();
    let feeding = std::thread::spawn(move || {
        for number in 1..=3 {
            let doubled = feeder.sum(2, iter([number])).blocking().expect("a sum");
            send.send(doubled).expect("it is wanted");
        }
    });
    assert_eq!(client.sum(1, iter(receive)).blocking().expect("a sum"), 12);
    feeding.join().expect("no panic");

    // What one call gives is the argument of another.
    let counted = client.count(1_000).blocking().expect("a stream").map_while(Result::ok);
    assert_eq!(client.sum(1, iter(counted)).blocking().expect("a sum"), 499_500);

    // A deadline ends a call whose stream does not come.
    let (_keep, never) = std::sync::mpsc::channel::<u64>();
    let late = client.sum(1, iter(never)).timeout(std::time::Duration::from_millis(50)).blocking();
    assert_eq!(late.expect_err("too late").code(), Code::DeadlineExceeded);
}
