//! A peer that speaks bytes: a client without a library, or a server that lies.

use std::future::poll_fn;
use std::time::Duration;

use rpc::{Connect, Connector, Listener, MemoryListener, RecvHalf, SendHalf, TcpListener, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::always::{Always, bystander, unused_name};
use super::wire::{self, MAGIC, Value, framed};

/// A connection as bytes.
pub(crate) struct Raw {
    pub(crate) recv: RecvHalf,
    pub(crate) send: SendHalf,
}

/// How the other side ended a connection.
#[derive(Debug)]
pub(crate) struct GoAway {
    pub(crate) last_id: u64,
    pub(crate) reason: u64,
    pub(crate) message: String,
    /// What it said before.
    pub(crate) before: Vec<Value>,
}

impl Raw {
    /// Connects, and says nothing.
    pub(crate) async fn connect(url: &str) -> Raw {
        let connector: std::sync::Arc<dyn Connector> = url.into_connector().expect("a URL");
        Raw::new(connector.connect().await.expect("somebody listens"))
    }

    pub(crate) fn new(transport: Box<dyn Transport>) -> Raw {
        let (recv, send) = transport.split();
        Raw { recv, send }
    }

    /// Connects and exchanges hellos.
    pub(crate) async fn open(url: &str) -> Raw {
        let mut raw = Raw::connect(url).await;
        raw.greet(&wire::hello()).await;
        raw
    }

    /// The same, as a peer that knows streams, each of which begins with so many bytes of credit.
    pub(crate) async fn open_streams(url: &str, stream_bytes: u64) -> Raw {
        let mut raw = Raw::connect(url).await;
        raw.greet(&wire::hello_streams(stream_bytes)).await;
        raw
    }

    /// Sends this and reads the other side's hello.
    pub(crate) async fn greet(&mut self, hello: &[u8]) -> Value {
        self.send(hello).await;
        self.recv_hello().await
    }

    pub(crate) async fn recv_hello(&mut self) -> Value {
        let mut magic = [0; 4];
        self.recv.read_exact(&mut magic).await.expect("a magic");
        assert_eq!(magic, MAGIC);
        self.recv().await.expect("a hello")
    }

    /// Sends bytes as they are. That the other side may have gone is not this side's trouble.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.send.write_all(bytes).await;
        let _ = self.send.flush().await;
    }

    /// Sends a message.
    pub(crate) async fn say(&mut self, message: &[u8]) {
        self.send(&framed(message)).await;
    }

    /// Says that no more bytes will come.
    pub(crate) async fn finish(&mut self) {
        self.send.shutdown().await.expect("the sending half ends");
    }

    /// The next message; `None` once the other side has closed, in whatever way.
    pub(crate) async fn recv(&mut self) -> Option<Value> {
        let length = self.recv.read_u32().await.ok()?;
        let mut message = vec![0; length as usize];
        self.recv.read_exact(&mut message).await.ok()?;
        Some(Value::decode(&message))
    }

    /// Calls a method and waits for what comes next.
    pub(crate) async fn call(&mut self, id: u64, method: &str, params: &[u8]) -> Value {
        self.say(&wire::request(id, method, params)).await;
        let reply = self.recv().await.expect("a reply");
        assert_eq!(reply.id(), id);
        reply
    }

    /// The same where the other side may send this one away meanwhile: then gives the reason.
    pub(crate) async fn call_or_end(&mut self, id: u64, method: &str, params: &[u8]) -> Result<Value, u64> {
        self.say(&wire::request(id, method, params)).await;
        loop {
            let message = self.recv().await.expect("a reply, or why there is none");
            match message.elements() {
                [Value::Uint(9), _, reason, _] => return Err(reason.uint()),
                _ if message.id() == id => return Ok(message),
                _ => {}
            }
        }
    }

    /// Outcome C: closed, without a byte. Says how long that took.
    pub(crate) async fn is_closed_silently(&mut self) -> Duration {
        let since = Instant::now();
        let mut rest = Vec::new();
        // A reset is as good as an end: bytes may have been left unread.
        let _ = timeout(Duration::from_secs(60), self.recv.read_to_end(&mut rest)).await.expect("it ends");
        assert!(rest.is_empty(), "it was answered with {rest:02x?}");
        since.elapsed()
    }

    /// Outcome K: a goaway, and closed within a second.
    pub(crate) async fn is_sent_away(&mut self) -> GoAway {
        let mut before = Vec::new();
        let goaway = loop {
            let message = timeout(Duration::from_secs(60), self.recv()).await.expect("it ends");
            let message = message.unwrap_or_else(|| panic!("closed without a goaway, after {before:?}"));
            match message.elements() {
                [Value::Uint(9), last_id, reason, text] => {
                    let (last_id, reason, message) = (last_id.uint(), reason.uint(), text.str().to_owned());
                    break GoAway { last_id, reason, message, before };
                }
                _ => before.push(message),
            }
        };
        let closed = timeout(Duration::from_secs(1), self.recv()).await.expect("closed within a second");
        assert_eq!(closed, None, "nothing follows a goaway");
        goaway
    }
}

/// A server that is one in name only.
pub(crate) struct Liar {
    pub(crate) url: String,
    listener: Box<dyn Listener>,
}

impl Liar {
    /// Does this to its clients, in memory, where the clock is paused.
    pub(crate) fn attacks(attack: impl AsyncFn(&mut Liar)) {
        Always::in_memory().holds(async || (Liar::listen(&unused_name()), bystander().await), attack);
    }

    /// The same on sockets; all tests of the program must be such.
    pub(crate) fn attacks_over_tcp(attack: impl AsyncFn(&mut Liar)) {
        Always::on_sockets().holds(async || (Liar::listen_tcp().await, bystander().await), attack);
    }

    /// In memory.
    pub(crate) fn listen(name: &str) -> Liar {
        let listener = MemoryListener::bind(name).expect("a name of its own");
        Liar { url: format!("mem://{name}"), listener: Box::new(listener) }
    }

    pub(crate) async fn listen_tcp() -> Liar {
        let listener = TcpListener::bind("127.0.0.1", 0).await.expect("a port");
        Liar { url: listener.local_addr().to_string(), listener: Box::new(listener) }
    }

    /// The next connection, of which nothing is read yet.
    pub(crate) async fn accept(&mut self) -> Raw {
        Raw::new(poll_fn(|cx| self.listener.poll_accept(cx)).await.expect("a connection"))
    }

    /// The next connection, after an honest hello.
    pub(crate) async fn welcome(&mut self) -> Raw {
        self.welcome_with(&wire::hello()).await
    }

    pub(crate) async fn welcome_with(&mut self, hello: &[u8]) -> Raw {
        let mut raw = self.accept().await;
        raw.recv_hello().await;
        raw.send(hello).await;
        raw
    }
}
