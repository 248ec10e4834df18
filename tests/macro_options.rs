//! What `#[rpc(...)]` on a method changes: one-way calls, calls that outlive their caller.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod macro_support;

use macro_support::serve;
use rpc::{Code, Error, Server, service};
use tokio::sync::{Notify, mpsc};

#[service]
trait Options {
    #[rpc(oneway)]
    async fn log(&self, line: String, priority: u8);
    #[rpc(oneway, alias = "ping")]
    async fn hello(&self);
    #[rpc(idempotent)]
    async fn idempotent(&self, number: u8) -> u8;
    async fn cancelled(&self);
    #[rpc(no_cancel)]
    async fn finished(&self);
}

/// Tells the test what happens to it.
struct Handler {
    events: mpsc::UnboundedSender<String>,
    go_on: Notify,
}

impl Handler {
    fn tell(&self, event: impl Into<String>) {
        self.events.send(event.into()).expect("the test listens to its end");
    }

    async fn wait_as(&self, name: &str) {
        let _dropped = TellOnDrop(self, format!("{name} dropped"));
        self.tell(format!("{name} started"));
        self.go_on.notified().await;
        self.tell(format!("{name} ended"));
    }
}

struct TellOnDrop<'a>(&'a Handler, String);

impl Drop for TellOnDrop<'_> {
    fn drop(&mut self) {
        self.0.tell(self.1.clone());
    }
}

impl Options for Handler {
    async fn log(&self, line: String, priority: u8) {
        self.tell(format!("{priority} {line}"));
    }
    async fn hello(&self) {
        self.tell("hello");
    }
    async fn idempotent(&self, number: u8) -> u8 {
        number
    }
    async fn cancelled(&self) {
        self.wait_as("cancelled").await;
    }
    async fn finished(&self) {
        self.wait_as("finished").await;
    }
}

async fn start() -> (OptionsClient, std::sync::Arc<Handler>, mpsc::UnboundedReceiver<String>) {
    let (events, told) = mpsc::unbounded_channel();
    let handler = std::sync::Arc::new(Handler { events, go_on: Notify::new() });
    let address = serve(Server::new().add(OptionsServer::new(handler.clone()))).await;
    (OptionsClient::connect(address.as_str()).await.unwrap(), handler, told)
}

#[tokio::test]
async fn one_way_calls_arrive() {
    let (client, _handler, mut told) = start().await;
    client.log("line".into(), 3).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "3 line");
    client.hello().await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "hello");
    client.as_ref().notify("Options.ping", ()).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "hello");
}

#[tokio::test]
async fn an_idempotent_method_is_called_as_any_other() {
    let (client, _handler, _told) = start().await;
    assert_eq!(client.idempotent(7).await.unwrap(), 7);
    let wrong = client.as_ref().call::<u8, Error>("Options.idempotent", ("seven",)).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn only_no_cancel_outlives_its_caller() {
    let (client, handler, mut told) = start().await;

    let call = tokio::spawn({
        let client = client.clone();
        async move { client.cancelled().await }
    });
    assert_eq!(told.recv().await.unwrap(), "cancelled started");
    call.abort();
    assert_eq!(told.recv().await.unwrap(), "cancelled dropped");

    let call = tokio::spawn({
        let client = client.clone();
        async move { client.finished().await }
    });
    assert_eq!(told.recv().await.unwrap(), "finished started");
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // A later call on the same connection is answered after the cancellation was handled.
    assert_eq!(client.idempotent(1).await.unwrap(), 1);
    handler.go_on.notify_one();
    assert_eq!(told.recv().await.unwrap(), "finished ended");
    assert_eq!(told.recv().await.unwrap(), "finished dropped");
}
