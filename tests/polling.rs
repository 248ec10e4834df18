//! Where handlers are polled first: on the connection's task or on tasks of their own, measured or said.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod macro_support;

use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use macro_support::serve;
use rpc::{Server, service};
use tokio::sync::{Notify, Semaphore};

/// Each method gives the task that polls it, by its id.
#[service]
trait Tasks {
    async fn measured(&self, blocks: bool) -> String;
    #[rpc(inline)]
    async fn inline(&self, blocks: bool) -> String;
    #[rpc(spawn)]
    async fn spawned(&self) -> String;
    /// Before and after it has waited.
    #[rpc(inline)]
    async fn later(&self) -> (String, String);
    /// Until the gate opens.
    #[rpc(inline)]
    async fn wait(&self);
    #[rpc(inline)]
    async fn length(&self, bytes: &[u8]) -> (String, usize);
    #[rpc(inline, oneway)]
    async fn note_inline(&self);
    #[rpc(spawn, oneway)]
    async fn note_spawned(&self);
    async fn noted(&self) -> Vec<String>;
    /// Ends when two run at the same moment, on two threads.
    async fn meet(&self);
    #[rpc(spawn)]
    async fn meet_spawned(&self);
}

#[service(spawn)]
trait Spawned {
    async fn service_says(&self) -> String;
    #[rpc(inline)]
    async fn method_says(&self) -> String;
}

#[service(inline)]
trait Inline {
    async fn service_says(&self) -> String;
    #[rpc(spawn)]
    async fn method_says(&self) -> String;
}

struct Handler {
    noted: Mutex<Vec<String>>,
    enough: Notify,
    gate: Semaphore,
    both: Barrier,
}

fn task() -> String {
    tokio::task::id().to_string()
}

/// Far longer than any limit of the rule; nothing waits for it.
fn block() {
    thread::sleep(Duration::from_millis(1));
}

impl Handler {
    fn new() -> Self {
        Handler {
            noted: Mutex::default(),
            enough: Notify::new(),
            gate: Semaphore::new(0),
            both: Barrier::new(2),
        }
    }

    fn note(&self) {
        let mut noted = self.noted.lock().unwrap();
        noted.push(task());
        if noted.len() == 2 {
            self.enough.notify_one();
        }
    }
}

impl Tasks for Handler {
    async fn measured(&self, blocks: bool) -> String {
        if blocks {
            block();
        }
        task()
    }
    async fn inline(&self, blocks: bool) -> String {
        if blocks {
            block();
        }
        task()
    }
    async fn spawned(&self) -> String {
        task()
    }
    async fn later(&self) -> (String, String) {
        let before = task();
        tokio::task::yield_now().await;
        (before, task())
    }
    async fn wait(&self) {
        drop(self.gate.acquire().await.unwrap());
    }
    async fn length(&self, bytes: &[u8]) -> (String, usize) {
        (task(), bytes.len())
    }
    async fn note_inline(&self) {
        self.note();
    }
    async fn note_spawned(&self) {
        self.note();
    }
    async fn noted(&self) -> Vec<String> {
        self.enough.notified().await;
        self.noted.lock().unwrap().clone()
    }
    async fn meet(&self) {
        self.both.wait();
    }
    async fn meet_spawned(&self) {
        self.both.wait();
    }
}

impl Spawned for Handler {
    async fn service_says(&self) -> String {
        task()
    }
    async fn method_says(&self) -> String {
        task()
    }
}

impl Inline for Handler {
    async fn service_says(&self) -> String {
        task()
    }
    async fn method_says(&self) -> String {
        task()
    }
}

async fn connect() -> TasksClient {
    connect_to(Arc::new(Handler::new())).await
}

async fn connect_to(handler: Arc<Handler>) -> TasksClient {
    let address = serve(Server::new().add(TasksServer::new(handler))).await;
    TasksClient::connect(address.as_str()).await.unwrap()
}

/// More calls than a rule that works could ever need.
const MANY: usize = 10_000;

/// After so many calls at most another one is timed.
const FARTHEST: usize = 31;

/// Calls until the handler is, or is not, on the connection's task; gives how many calls found it where it was.
async fn calls_until(client: &TasksClient, on_connection: bool, blocks: bool) -> usize {
    let connection = client.inline(false).await.unwrap();
    for count in 0..MANY {
        if (client.measured(blocks).await.unwrap() == connection) == on_connection {
            return count;
        }
    }
    panic!("{MANY} calls change nothing");
}

#[tokio::test]
async fn a_method_says_where_it_starts() {
    let client = connect().await;
    let connection = client.inline(false).await.unwrap();
    let mut seen = Vec::new();
    for turn in 0..100 {
        // Neither is moved by how long it takes.
        assert_eq!(client.inline(turn > 50).await.unwrap(), connection);
        let spawned = client.spawned().await.unwrap();
        assert_ne!(spawned, connection);
        assert!(!seen.contains(&spawned), "each call has a task of its own");
        seen.push(spawned);
    }
}

#[tokio::test]
async fn a_service_says_it_for_its_methods() {
    let server = Server::new()
        .add(TasksServer::new(Handler::new()))
        .add(SpawnedServer::new(Handler::new()))
        .add(InlineServer::new(Handler::new()));
    let address = serve(server).await;
    let client = TasksClient::connect(address.as_str()).await.unwrap();
    let spawned = SpawnedClient::from(client.as_ref().clone());
    let inline = InlineClient::from(client.as_ref().clone());
    let connection = client.inline(false).await.unwrap();
    for _ in 0..100 {
        assert_ne!(spawned.service_says().await.unwrap(), connection);
        assert_eq!(spawned.method_says().await.unwrap(), connection);
        assert_eq!(inline.service_says().await.unwrap(), connection);
        assert_ne!(inline.method_says().await.unwrap(), connection);
    }
}

#[tokio::test]
async fn it_holds_for_one_way_calls() {
    let client = connect().await;
    let connection = client.inline(false).await.unwrap();
    client.note_inline().await.unwrap();
    client.note_spawned().await.unwrap();
    let noted = client.noted().await.unwrap();
    assert_eq!(noted.iter().filter(|task| **task == connection).count(), 1, "{noted:?}");
}

#[tokio::test]
async fn a_handler_that_has_waited_is_on_a_task_of_its_own() {
    let client = connect().await;
    let connection = client.inline(false).await.unwrap();
    let (before, after) = client.later().await.unwrap();
    assert_eq!(before, connection);
    assert_ne!(after, connection);
}

#[tokio::test]
async fn handlers_that_wait_hold_up_nobody() {
    let handler = Arc::new(Handler::new());
    let client = connect_to(handler.clone()).await;
    let waiting: Vec<_> = (0..100).map(|_| tokio::spawn(client.wait().into_future())).collect();
    for _ in 0..100 {
        client.inline(false).await.unwrap();
    }
    assert!(waiting.iter().all(|call| !call.is_finished()));
    handler.gate.add_permits(1);
    for call in waiting {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn large_arguments_are_never_unmarshalled_on_the_connections_task() {
    let client = connect().await;
    let connection = client.inline(false).await.unwrap();
    let (task, length) = client.length(&[7; 1000]).await.unwrap();
    assert_eq!((task == connection, length), (true, 1000));
    let (task, length) = client.length(&vec![7; 1 << 20]).await.unwrap();
    assert_eq!((task == connection, length), (false, 1 << 20));
}

#[tokio::test]
async fn a_quick_method_moves_to_the_connections_task_and_leaves_it_when_it_blocks() {
    let client = connect().await;
    let connection = client.inline(false).await.unwrap();
    assert_ne!(client.measured(false).await.unwrap(), connection, "it has not been measured");
    calls_until(&client, true, false).await;
    // One sample makes it doubtful, so that the next three are taken at once.
    let held_up = calls_until(&client, false, true).await;
    assert!(held_up <= FARTHEST + 3, "{held_up} calls held up their connection");
    calls_until(&client, true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handlers_of_one_connection_run_on_several_threads() {
    let client = connect().await;
    // Nothing is known of the method yet: neither call may hold up the other.
    let (one, other) = tokio::join!(client.meet(), client.meet());
    one.and(other).unwrap();
    for _ in 0..100 {
        let (one, other) = tokio::join!(client.meet_spawned(), client.meet_spawned());
        one.and(other).unwrap();
    }
}
