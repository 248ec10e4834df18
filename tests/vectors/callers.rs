//! What a program does for its client to send what an exchange says: one entry an exchange, by its name.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rpc::{CallError, Channel, Code, Error, Executed, Stream, Streaming, VersionMismatch, iter};
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, oneshot};

use crate::services::{CalculatorClient, Details, MathError, Refusal, details, filled};

const HOUR: Duration = Duration::from_secs(3600);

/// When a program goes on.
pub(crate) struct Cues {
    /// Ends when the server's part has been played, for clients that only wait.
    pub(crate) played: oneshot::Receiver<()>,
    /// Has a permit for each item that a producer is to have after its first.
    pub(crate) items: Arc<Semaphore>,
}

/// Makes the calls of an exchange and looks at how they end.
pub(crate) async fn call(exchange: &str, connected: Result<Channel, Error>, cues: Cues) {
    let Cues { played, items } = cues;
    if exchange == "no version in common, as the client sees it" {
        return no_version_in_common(connected.expect_err("no version in common"));
    }
    let calculator = CalculatorClient::new(connected.expect("connected"));
    match exchange {
        "both speak version 1"
        | "a server from the future"
        | "a client that takes few cancels"
        | "the client goes" => {}
        "a side without features" => {
            let error = calculator.primes(10).await.unwrap_err();
            assert_eq!((error.code(), error.executed()), (Code::Unimplemented, Executed::No));
        }
        "a call from the server"
        | "an open from the server"
        | "an item for a call that was never made"
        | "ping from the server"
        | "optional kinds, to the client"
        | "keepalive of the client"
        | "the server drains" => played.await.expect("the exchange was played"),
        "request and response" => assert_eq!(calculator.add(2, 3).await.unwrap(), 5),
        "no arguments, no result" => calculator.rest().await.unwrap(),
        "a call with a timeout" => assert_eq!(calculator.add(2, 3).timeout(HOUR).await.unwrap(), 5),
        "a call with metadata" => {
            let tenant = calculator.tenant().metadata("tenant", "acme").await.unwrap();
            assert_eq!(tenant.as_deref(), Some("acme"));
        }
        "a call with both" => {
            let call = calculator.tenant().metadata("tenant", "acme").metadata("trace", "");
            assert_eq!(call.timeout(HOUR).await.unwrap().as_deref(), Some("acme"));
        }
        "a reply with metadata" => priced(&calculator).await,
        "a notification" => {
            calculator.log("a line".to_owned()).await.unwrap();
            assert_eq!(calculator.logged().await.unwrap(), ["a line"]);
        }
        "a send" => {
            let call = calculator.log("a line".to_owned()).metadata("tenant", "acme");
            call.timeout(HOUR).await.unwrap();
            assert_eq!(calculator.logged().await.unwrap(), ["a line"]);
        }
        "several calls" => {
            assert_eq!(calculator.add(2, 3).await.unwrap(), 5);
            assert_eq!(calculator.add(-2, -3).await.unwrap(), -5);
            assert_eq!(calculator.divide(7, 2).await.unwrap(), 3);
        }
        "the procedure's own error" => division_by_zero(&calculator).await,
        "the procedure's own error, with contents" => {
            let refusal = calculator.check(101).await.unwrap_err();
            assert_eq!(refusal.app(), Some(&Refusal::TooLarge { limit: 100 }));
        }
        "the procedure's own error, with metadata" => {
            let refusal = calculator.check(-1).await.unwrap_err();
            assert_eq!(refusal.app(), Some(&Refusal::TooSmall(0)));
        }
        "the sixteen codes" => {
            for code in 1..=16 {
                fail(&calculator, code, Executed::Yes).await;
            }
        }
        "the three answers to whether it ran" => {
            for executed in [Executed::No, Executed::Maybe, Executed::Yes] {
                fail(&calculator, 14, executed).await;
            }
        }
        "details" => {
            let error = calculator.detailed().await.unwrap_err();
            assert_eq!(error.details::<Details>(), Some(details()));
        }
        "a code from the future" => {
            let error = calculator.rest().await.unwrap_err();
            assert_eq!((error.code(), error.executed()), (Code::Unknown, Executed::Maybe));
            assert_eq!(error.message(), "from the future");
        }
        "an error that is none" => {
            let error = calculator.rest().await.unwrap_err();
            assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes));
            calculator.rest().await.unwrap();
        }
        "a result of another type" => {
            let error = calculator.add(2, 3).await.unwrap_err();
            assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes));
            assert_eq!(calculator.add(2, 3).await.unwrap(), 5);
        }
        "a deadline that passes, at the client" => {
            let error = calculator.ponder().timeout(Duration::from_millis(50)).await.unwrap_err();
            assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe));
        }
        "cancel" => drop_once_sent(calculator.ponder()).await,
        "a reply that comes too late" => {
            drop_once_sent(calculator.ponder()).await;
            assert_eq!(calculator.add(2, 3).await.unwrap(), 5);
            assert_eq!(calculator.add(2, 3).await.unwrap(), 5);
        }
        "the server drains while a call runs" => {
            calculator.wait().await.unwrap();
            played.await.expect("the exchange was played");
        }
        "the last id" => {
            let (taken, not_taken) = tokio::join!(calculator.ponder(), calculator.ponder());
            for (outcome, executed) in [(taken, Executed::Maybe), (not_taken, Executed::No)] {
                let error = outcome.unwrap_err();
                assert_eq!((error.code(), error.executed()), (Code::Unavailable, executed), "{error}");
            }
        }
        "memory is exhausted" => {
            let error = calculator.ponder().await.unwrap_err();
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe), "{error}");
        }
        "a calculator" => {
            assert_eq!(calculator.add(2, 3).await.unwrap(), 5);
            assert_eq!(calculator.divide(7, 2).await.unwrap(), 3);
            division_by_zero(&calculator).await;
            let noon = "2026-01-01T12:00:00.25Z".parse().unwrap();
            let later = calculator.later(noon, 3600).await.unwrap();
            assert_eq!(later.to_string(), "2026-01-01T13:00:00.25Z");
            calculator.log("a line".to_owned()).await.unwrap();
            assert_eq!(calculator.logged().await.unwrap(), ["a line"]);
        }
        "a deadline, a cancelled call and a drain" => {
            let tenant = calculator.tenant().timeout(HOUR).metadata("tenant", "acme").await.unwrap();
            assert_eq!(tenant.as_deref(), Some("acme"));
            priced(&calculator).await;
            drop_once_sent(calculator.ponder()).await;
            fail(&calculator, 7, Executed::Yes).await;
            calculator.wait().await.unwrap();
            played.await.expect("the exchange was played");
        }
        "a stream" => {
            assert_eq!(collect(calculator.primes(10)).await, [2, 3, 5, 7]);
            assert_eq!(calculator.sum(iter([1, 2, 39])).await.unwrap(), 42);
            assert_eq!(first(&mut calculator.ticks().await.unwrap()).await, 0);
        }
        "a stream from the server" | "a second answer within a stream" | "a stream in fragments" => {
            assert_eq!(collect(calculator.primes(10)).await, [2, 3, 5, 7]);
        }
        "an empty stream" => assert_eq!(collect(calculator.primes(1)).await, [0; 0]),
        "a stream with a timeout and metadata" => {
            let call = calculator.primes(10).timeout(HOUR).metadata("tenant", "acme");
            assert_eq!(collect(call).await, [2, 3, 5, 7]);
        }
        "a reply with metadata, that is a stream" => {
            let (primes, metadata) = calculator.priced_primes(4).with_metadata().await.unwrap();
            assert_eq!(metadata.get("cost"), Some("7"));
            assert_eq!(collect(async { Ok(primes) }).await, [2, 3]);
        }
        "a stream to the server" => assert_eq!(calculator.sum(iter([1, 2, 39])).await.unwrap(), 42),
        "nothing but its end" => assert_eq!(calculator.sum(iter([])).await.unwrap(), 0),
        "streams both ways" => {
            assert_eq!(collect(calculator.running_mean(iter([2.0, 4.0]))).await, [2.0, 3.0]);
        }
        "two argument streams and a value, from the client" => {
            assert_eq!(calculator.dot(iter([]), 10, iter([])).await.unwrap(), 0);
        }
        "the procedure's own error in place of a stream" => {
            let refusal = calculator.countdown(101).await.unwrap_err();
            assert_eq!(refusal.app(), Some(&Refusal::TooLarge { limit: 100 }));
        }
        "a stream that ends in the producer's own error" => {
            let mut samples = calculator.samples(2).await.unwrap();
            assert_eq!(
                (samples.next().await.unwrap().unwrap(), samples.next().await.unwrap().unwrap()),
                (0, 1)
            );
            assert_eq!(samples.next().await.unwrap().unwrap_err().app(), Some(&Refusal::TooSmall(2)));
            assert!(samples.next().await.is_none());
        }
        "a stream that ends in an error of a call" => {
            let mut items = calculator.broken(2).await.unwrap();
            assert_eq!((first(&mut items).await, first(&mut items).await), (0, 1));
            let error = items.next().await.unwrap().unwrap_err();
            assert_eq!((error.code(), error.executed()), (Code::DataLoss, Executed::Yes));
            assert_eq!(error.message(), "a page is missing");
            assert!(items.next().await.is_none());
        }
        "an argument stream that ends in its producer's own error" => {
            let numbers = iter([Ok(1), Ok(2), Err(Refusal::TooSmall(0))]);
            let refusal = calculator.total(numbers).await.unwrap_err();
            assert_eq!(refusal.app(), Some(&Refusal::TooSmall(0)));
        }
        "a cancel within a stream" => {
            assert_eq!(first(&mut calculator.ticks().await.unwrap()).await, 0);
        }
        "a cancel that crosses items" => {
            assert_eq!(first(&mut calculator.ticks().await.unwrap()).await, 0);
            assert_eq!(calculator.add(2, 3).await.unwrap(), 5);
        }
        "a deadline that passes within a stream, at the client" => {
            let mut ticks = calculator.ticks().timeout(Duration::from_millis(50)).await.unwrap();
            assert_eq!(first(&mut ticks).await, 0);
            let error = ticks.next().await.unwrap().unwrap_err();
            assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe));
        }
        "empty item messages" => assert_eq!(collect(calculator.primes(3)).await, [2, 3]),
        "blocked, when the call is over" => {
            assert_eq!(collect(calculator.primes(1)).await, [0; 0]);
            played.await.expect("the exchange was played");
        }
        "calls beside a stream" => {
            let mut ticks = calculator.ticks().await.unwrap();
            assert_eq!(first(&mut ticks).await, 0);
            assert_eq!(calculator.add(2, 3).await.unwrap(), 5);
        }
        "the server drains while a stream flows" => {
            assert_eq!(collect(calculator.slow_primes(3)).await, [2, 3]);
        }
        "a client that sends as much as the server says" => {
            assert_eq!(calculator.sum(cued([1, 2, 3, 4], items)).await.unwrap(), 10);
        }
        "the server wants no more, as the client sees it" => {
            assert_eq!(calculator.taste(cued([40, 41], items)).await.unwrap(), 40);
        }
        "a client that gives credit as it uses items" => {
            let word = "l".repeat(31);
            assert_eq!(collect(calculator.dictate(word.clone(), 4)).await, vec![word; 4]);
        }
        "answers in fragments that mix" => {
            let (x, y) = tokio::join!(calculator.repeat("x", 20), calculator.repeat("y", 20));
            assert_eq!((x.unwrap(), y.unwrap()), ("x".repeat(20), "y".repeat(20)));
        }
        "an answer that is given up" => {
            drop_once_sent(calculator.ponder()).await;
            assert_eq!(calculator.add(2, 3).await.unwrap(), 5);
        }
        "a request in fragments, as the client cuts it" => {
            assert_eq!(calculator.shout(&"x".repeat(1100), 3).await.unwrap(), "short");
        }
        "an item in fragments, as the client cuts it" => {
            assert_eq!(calculator.longest(iter(["x".repeat(1100)])).await.unwrap(), 1100);
        }
        "items without credit, to the client" | "a hundred and one empty item messages, to the client" => {
            let _ticks = calculator.ticks().await.unwrap();
            played.await.expect("the exchange was played");
        }
        "credit for the reply" => lost(first_or_error(calculator.ticks()).await),
        "an item before the response" | "an end before the response" => {
            lost(calculator.ticks().await.map(drop));
        }
        "an item for a call that is over" | "a second end of the reply" => {
            assert_eq!(collect(calculator.primes(1)).await, [0; 0]);
            played.await.expect("the exchange was played");
        }
        "an item for an argument" | "credit for a stream that is not there" => {
            lost(calculator.sum(iter([])).await.map(drop));
        }
        "credit for a call that is over" => {
            assert_eq!(calculator.sum(iter([])).await.unwrap(), 0);
            played.await.expect("the exchange was played");
        }
        other => panic!("nobody knows how a client sends what {other:?} says"),
    }
}

fn no_version_in_common(error: Error) {
    assert_eq!((error.code(), error.executed()), (Code::FailedPrecondition, Executed::No));
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<VersionMismatch>());
    assert_eq!(cause.map(|mismatch| (mismatch.ours.clone(), mismatch.theirs.clone())), Some((1..=1, 2..=9)));
}

async fn priced(calculator: &CalculatorClient) {
    let (priced, metadata) = calculator.priced().with_metadata().await.unwrap();
    assert!(priced);
    assert_eq!(metadata.get("cost"), Some("7"));
}

async fn division_by_zero(calculator: &CalculatorClient) {
    let error = calculator.divide(1, 0).await.unwrap_err();
    assert!(matches!(error, CallError::App(MathError::DivisionByZero)));
}

async fn fail(calculator: &CalculatorClient, code: u64, executed: Executed) {
    let error = calculator.fail(code, executed as u64).await.unwrap_err();
    assert_eq!((error.code(), error.executed()), (Code::from_number(code), executed));
    assert_eq!(error.message(), "as you wish");
}

/// All items of a stream that ends well.
async fn collect<T: DeserializeOwned>(call: impl IntoFuture<Output = Result<Streaming<T>, Error>>) -> Vec<T> {
    let mut stream = call.await.unwrap();
    let mut items = Vec::new();
    while let Some(item) = stream.next().await {
        items.push(item.unwrap());
    }
    items
}

async fn first<T: DeserializeOwned>(stream: &mut Streaming<T>) -> T {
    stream.next().await.unwrap().unwrap()
}

/// The first item of a stream, or why there is none.
async fn first_or_error(call: impl IntoFuture<Output = Result<Streaming<u64>, Error>>) -> Result<(), Error> {
    call.await?.next().await.unwrap().map(drop)
}

/// The connection broke while a call ran.
fn lost(outcome: Result<(), Error>) {
    let error = outcome.unwrap_err();
    assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe), "{error}");
}

/// The first number at once, each other when there is a permit for it.
fn cued<const N: usize>(numbers: [i64; N], permits: Arc<Semaphore>) -> impl Stream<Item = i64> {
    filled(async move |items| {
        for (at, number) in numbers.into_iter().enumerate() {
            if at > 0 {
                permits.acquire().await.unwrap().forget();
            }
            items.send(number).unwrap();
        }
    })
}

/// Polls a call once, which sends it, and drops it, which cancels it.
async fn drop_once_sent(call: impl Future) {
    let mut call = pin!(call);
    poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending(), "it never ends by itself");
        Poll::Ready(())
    })
    .await;
}
