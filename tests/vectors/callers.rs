//! What a program does for its client to send what an exchange says: one entry an exchange, by its name.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rpc::{CallError, Channel, Code, Error, Executed, VersionMismatch};
use tokio::sync::oneshot;

use crate::services::{CalculatorClient, Details, MathError, Refusal, details};

const HOUR: Duration = Duration::from_secs(3600);

/// Makes the calls of an exchange and looks at how they end. `played` ends when the server's part has been played,
/// for clients that only wait.
pub(crate) async fn call(exchange: &str, connected: Result<Channel, Error>, played: oneshot::Receiver<()>) {
    if exchange == "no version in common, as the client sees it" {
        return no_version_in_common(connected.expect_err("no version in common"));
    }
    let calculator = CalculatorClient::new(connected.expect("connected"));
    match exchange {
        "both speak version 1" | "a server from the future" | "the client goes" => {}
        "a call from the server"
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

/// Polls a call once, which sends it, and drops it, which cancels it.
async fn drop_once_sent(call: impl Future) {
    let mut call = pin!(call);
    poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending(), "it never ends by itself");
        Poll::Ready(())
    })
    .await;
}
