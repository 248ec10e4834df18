//! Streams and calls back together: streams of the client's that a server consumes, and that of these.

#[path = "support/lifecycle/mod.rs"]
mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use rpc::{Code, Context, Error, Executed, Limits, Server, Stream, Streaming, iter, service};
use support::{Event, Events, Recorder, Serving, Way, patiently};

/// What both sides serve.
#[service]
trait Relay {
    /// The numbers from 0, each passed on through so many levels, which are on either side in turn.
    async fn numbers(&self, levels: u64, count: u64)
    -> Result<impl Stream<Item = Result<u64, Error>>, Error>;
    /// The same, and the innermost gives one number and never another one.
    async fn one(&self, levels: u64) -> Result<impl Stream<Item = Result<u64, Error>>, Error>;
    /// Passes a stream on through so many levels, and gives its sum.
    async fn sum(&self, levels: u64, numbers: Streaming<u64>) -> Result<u64, Error>;
}

type Numbers = Pin<Box<dyn Stream<Item = Result<u64, Error>> + Send>>;

struct Side {
    recorder: Arc<Recorder>,
    passed: AtomicU64,
}

impl Side {
    fn new() -> (Arc<Self>, Events) {
        let (recorder, events) = Recorder::new();
        (Arc::new(Side { recorder, passed: AtomicU64::new(0) }), events)
    }
}

fn caller() -> RelayClient {
    Context::current().peer().client()
}

impl Relay for Side {
    async fn numbers(
        &self,
        levels: u64,
        count: u64,
    ) -> Result<impl Stream<Item = Result<u64, Error>>, Error> {
        Ok(match levels {
            0 => Box::pin(iter((0..count).map(Ok))) as Numbers,
            _ => Box::pin(caller().numbers(levels - 1, count).await?),
        })
    }
    async fn one(&self, levels: u64) -> Result<impl Stream<Item = Result<u64, Error>>, Error> {
        let inner: Numbers = match levels {
            0 => Box::pin(One { given: false, gate: Box::pin(gate(self.recorder.clone())) }),
            _ => Box::pin(caller().one(levels - 1).await?),
        };
        self.recorder.tell(Event::Started(levels));
        Ok(Told { inner, recorder: self.recorder.clone(), levels })
    }
    async fn sum(&self, levels: u64, mut numbers: Streaming<u64>) -> Result<u64, Error> {
        if levels > 0 {
            return caller().sum(levels - 1, Values(numbers)).await;
        }
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            sum += number?;
            self.passed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(sum)
    }
}

/// The numbers of a stream up to its end, however that is.
struct Values(Streaming<u64>);

impl Stream for Values {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<u64>> {
        Pin::new(&mut self.0).poll_next(cx).map(|item| item?.ok())
    }
}

async fn gate(recorder: Arc<Recorder>) {
    recorder.gate().await;
}

/// One number, and the end after the gate.
struct One {
    given: bool,
    gate: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Stream for One {
    type Item = Result<u64, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if !std::mem::replace(&mut self.given, true) {
            return Poll::Ready(Some(Ok(1)));
        }
        self.gate.as_mut().poll(cx).map(|()| None)
    }
}

/// Tells when it is dropped.
struct Told {
    inner: Numbers,
    recorder: Arc<Recorder>,
    levels: u64,
}

impl Stream for Told {
    type Item = Result<u64, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.inner.as_mut().poll_next(cx)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.recorder.tell(Event::Dropped(self.levels));
    }
}

struct Pair {
    client: RelayClient,
    at_client: Arc<Side>,
    at_server: Arc<Side>,
    client_events: Events,
    server_events: Events,
    serving: Serving,
}

async fn pair(way: Way) -> Pair {
    let (at_server, server_events) = Side::new();
    let server = Server::new().add(RelayServer::new(at_server.clone()));
    let serving = Serving::start(server, &way.address()).await;
    let (at_client, client_events) = Side::new();
    let connecting = RelayClient::connect(&serving.address).limits(Limits::default());
    let client = connecting.serve(RelayServer::new(at_client.clone())).await.expect("connected");
    Pair { client, at_client, at_server, client_events, server_events, serving }
}

async fn collect(mut numbers: Streaming<u64>) -> Result<Vec<u64>, Error> {
    let mut all = Vec::new();
    while let Some(number) = numbers.next().await {
        all.push(number?);
    }
    Ok(all)
}

const WAYS: [Way; 2] = [Way::Tcp, Way::Memory];

#[tokio::test]
async fn streams_go_to_and_fro_to_a_depth_of_ten() {
    for way in WAYS {
        let pair = pair(way).await;
        for levels in [0, 1, 2, 10] {
            let numbers = pair.client.numbers(levels, 5_000).await.expect("a stream");
            let numbers = patiently("the end of a stream", collect(numbers)).await.expect("all of it");
            assert!(numbers.iter().copied().eq(0..5_000), "{levels} levels");
            let sum = pair.client.sum(levels, iter(0..5_000));
            assert_eq!(patiently("a sum", sum).await.expect("a sum"), (0..5_000).sum());
            let side = if levels % 2 == 0 { &pair.at_server } else { &pair.at_client };
            assert_eq!(side.passed.swap(0, Ordering::Relaxed), 5_000, "the innermost is where it should be");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_both_ways_at_once_do_not_wait_for_each_other() {
    for way in WAYS {
        let pair = pair(way).await;
        let streams: Vec<_> = (0..40)
            .map(|levels| {
                let client = pair.client.clone();
                tokio::spawn(async move {
                    let numbers = collect(client.numbers(levels % 6, 20_000).await?).await?;
                    Ok::<_, Error>((numbers.len(), client.sum(levels % 6, iter(0..20_000)).await?))
                })
            })
            .collect();
        for stream in streams {
            let outcome = patiently("the end of a stream", stream).await.expect("no panic");
            assert_eq!(outcome.expect("all of it"), (20_000, (0..20_000).sum()));
        }
    }
}

#[tokio::test]
async fn dropping_the_outermost_stream_drops_the_innermost() {
    for way in WAYS {
        let mut pair = pair(way).await;
        let mut numbers = pair.client.one(5).await.expect("a stream");
        assert_eq!(numbers.next().await.expect("one").expect("a number"), 1);
        drop(numbers);
        for (events, levels) in [(&mut pair.server_events, [5, 3, 1]), (&mut pair.client_events, [4, 2, 0])] {
            let (mut dropped, mut expected) = (Vec::new(), levels.to_vec());
            while dropped.len() < 3 {
                if let Event::Dropped(level) = events.next().await {
                    dropped.push(level);
                }
            }
            dropped.sort();
            expected.sort();
            assert_eq!(dropped, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drains_finishes_streams_that_come_from_its_clients() {
    let pair = pair(Way::Memory).await;
    let mut numbers = pair.client.one(3).await.expect("a stream");
    assert_eq!(numbers.next().await.expect("one").expect("a number"), 1);
    let mut drained = pair.serving.shutdown.shutdown();
    tokio::select! {
        () = &mut drained => panic!("a stream is open"),
        () = tokio::time::sleep(Duration::from_secs(20)) => {}
    }
    pair.at_client.recorder.open_gate();
    pair.at_server.recorder.open_gate();
    assert!(patiently("the end of the stream", numbers.next()).await.is_none());
    patiently("the end of the drain", drained).await;
}

#[tokio::test]
async fn when_the_server_is_gone_streams_both_ways_say_so() {
    for way in WAYS {
        let mut pair = pair(way).await;
        let mut numbers = pair.client.one(4).await.expect("a stream");
        assert_eq!(numbers.next().await.expect("one").expect("a number"), 1);
        pair.serving.kill().await;
        let error = patiently("the end", numbers.next()).await.expect("an error").expect_err("lost");
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
        assert!(numbers.next().await.is_none());
        for (events, count) in [(&mut pair.server_events, 3), (&mut pair.client_events, 2)] {
            let mut dropped = 0;
            while dropped < count {
                dropped += usize::from(matches!(events.next().await, Event::Dropped(_)));
            }
        }
    }
}
