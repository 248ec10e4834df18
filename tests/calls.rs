//! Calls over a real socket: values, errors, options, borrowed arguments, one-way methods.

use std::time::Duration;

use rpc::{CallError, Code, Context, Error, Executed, service};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum MathError {
    DivisionByZero,
}

#[service]
trait Calculator {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, MathError>;
    async fn digest(&self, name: &str, data: &[u8]) -> usize;
    async fn refuse(&self) -> Result<(), Error>;
    async fn whoami(&self) -> Option<String>;
    async fn sleepy(&self, millis: u64) -> bool;
    async fn panics(&self);
}

struct Exact;

impl Calculator for Exact {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
    async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, MathError> {
        if divisor == 0 { Err(MathError::DivisionByZero) } else { Ok(dividend / divisor) }
    }
    async fn digest(&self, name: &str, data: &[u8]) -> usize {
        tokio::task::yield_now().await;
        name.len() + data.len()
    }
    async fn refuse(&self) -> Result<(), Error> {
        Err(Error::new(Code::PermissionDenied, "not today"))
    }
    async fn whoami(&self) -> Option<String> {
        Context::current().set_reply_metadata("seen", "yes");
        Context::current().metadata("tenant")
    }
    async fn sleepy(&self, millis: u64) -> bool {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        true
    }
    async fn panics(&self) {
        panic!("the secret text");
    }
}

async fn connected() -> CalculatorClient {
    let bound =
        rpc::Server::new().add(CalculatorServer::new(Exact)).bind("tcp://127.0.0.1:0").await.expect("bound");
    let address = bound.local_addr();
    tokio::spawn(bound.serve());
    CalculatorClient::connect(address).await.expect("connected")
}

#[tokio::test]
async fn values_and_errors_arrive_as_what_they_are() {
    let calculator = connected().await;
    assert_eq!(calculator.add(2, 3).await.expect("a sum"), 5);
    assert_eq!(calculator.divide(7, 2).await.expect("a quotient"), 3);
    assert!(matches!(calculator.divide(1, 0).await, Err(CallError::App(MathError::DivisionByZero))));
    assert_eq!(calculator.digest("name", &[1, 2, 3]).await.expect("a digest"), 7);
    let big = vec![7; 1 << 20];
    assert_eq!(calculator.digest("name", &big).await.expect("a digest"), 4 + (1 << 20));
    let error = calculator.refuse().await.expect_err("refused");
    assert_eq!(
        (error.code(), error.message(), error.executed()),
        (Code::PermissionDenied, "not today", Executed::Yes)
    );
    let (tenant, metadata) =
        calculator.whoami().metadata("tenant", "acme").with_metadata().await.expect("a reply");
    assert_eq!((tenant.as_deref(), metadata.get("seen")), (Some("acme"), Some("yes")));
    let error = calculator.sleepy(60_000).timeout(Duration::from_millis(20)).await.expect_err("too slow");
    assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe));
    let error = calculator.panics().await.expect_err("panicked");
    assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes));
    assert!(!error.message().contains("secret"));
    let sums: Vec<_> = (0..500).map(|n| tokio::spawn(calculator.add(n, n))).collect();
    for (n, sum) in sums.into_iter().enumerate() {
        assert_eq!(sum.await.expect("joined").expect("a sum"), 2 * n as i64);
    }
}
