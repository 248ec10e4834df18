//! A service that both sides of a connection serve, so that each calls the other.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::sync::{Arc, Mutex, PoisonError};

use rpc::{Code, Context, Error, Executed, Limits, Server, service};

use crate::support::{Event, Events, Recorder, Serving, Way, patiently};

/// What both sides serve: each level of a call is on the other side than the one before.
#[service]
pub(crate) trait Game {
    /// Calls whoever called, and so on; gives what each level saw, the innermost first.
    async fn bounce(&self, levels: u64) -> Result<Vec<Seen>, Error>;
    /// The same, and the innermost waits for the gate.
    async fn hold(&self, levels: u64) -> Result<u64, Error>;
    /// Bounces once the gate is open.
    async fn bounce_later(&self, levels: u64) -> Result<Vec<Seen>, Error>;
    /// Waits until its caller has gone, and calls it all the same.
    #[rpc(no_cancel)]
    async fn insist(&self, number: u64) -> Result<u64, Error>;
    /// Gives the bytes back.
    async fn mirror(&self, bytes: Vec<u8>) -> Vec<u8>;
    /// Makes so many calls to whoever called, all at once.
    async fn flood(&self, calls: usize, size: usize) -> Result<usize, Error>;
    /// Keeps a client of whoever called.
    async fn remember(&self);
    /// Nobody waits for it; it calls back, and waits for that.
    #[rpc(oneway)]
    async fn note(&self, number: u64);
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Seen {
    pub(crate) side: String,
    pub(crate) peer: String,
    pub(crate) millis_left: Option<u64>,
    pub(crate) thread: Option<String>,
}

pub(crate) struct Player {
    pub(crate) side: &'static str,
    pub(crate) recorder: Arc<Recorder>,
    remembered: Mutex<Option<GameClient>>,
}

pub(crate) fn caller() -> GameClient {
    Context::current().peer().client()
}

impl Player {
    pub(crate) fn new(side: &'static str) -> (Arc<Self>, Events) {
        let (recorder, events) = Recorder::new();
        (Arc::new(Player { side, recorder, remembered: Mutex::default() }), events)
    }

    pub(crate) fn remembered(&self) -> Option<GameClient> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Game for Player {
    async fn bounce(&self, levels: u64) -> Result<Vec<Seen>, Error> {
        let mut seen = match levels {
            0 => Vec::new(),
            _ => caller().bounce(levels - 1).await?,
        };
        let context = Context::current();
        let now = tokio::time::Instant::now().into_std();
        seen.push(Seen {
            side: self.side.to_owned(),
            peer: context.peer().address().expect("a handler has a caller").to_string(),
            millis_left: context.deadline().map(|deadline| (deadline - now).as_millis() as u64),
            thread: std::thread::current().name().map(str::to_owned),
        });
        Ok(seen)
    }
    async fn hold(&self, levels: u64) -> Result<u64, Error> {
        let run = self.recorder.run(levels);
        match levels {
            0 => self.recorder.gate().await,
            _ => drop(caller().hold(levels - 1).await?),
        }
        Ok(run.end())
    }
    async fn bounce_later(&self, levels: u64) -> Result<Vec<Seen>, Error> {
        self.recorder.tell(Event::Started(levels));
        self.recorder.gate().await;
        self.bounce(levels).await
    }
    async fn insist(&self, number: u64) -> Result<u64, Error> {
        let run = self.recorder.run(number);
        Context::current().cancelled().await;
        self.recorder.tell(Event::Cancelled(number));
        caller().mirror(vec![1]).await?;
        Ok(run.end())
    }
    async fn mirror(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
    async fn flood(&self, calls: usize, size: usize) -> Result<usize, Error> {
        let caller = caller();
        let calls: Vec<_> =
            (0..calls).map(|number| Context::spawn(caller.mirror(vec![number as u8; size]))).collect();
        let mut bytes = 0;
        for call in calls {
            bytes += call.await.expect("no panic")?.len();
        }
        Ok(bytes)
    }
    async fn remember(&self) {
        *self.remembered.lock().unwrap_or_else(PoisonError::into_inner) = Some(caller());
    }
    async fn note(&self, number: u64) {
        let run = self.recorder.run(number);
        caller().mirror(vec![7]).await.expect("a reply");
        run.end();
    }
}

/// A client and a server that both play.
pub(crate) struct Match {
    pub(crate) client: GameClient,
    pub(crate) at_client: Arc<Player>,
    pub(crate) at_server: Arc<Player>,
    pub(crate) client_events: Events,
    pub(crate) server_events: Events,
    pub(crate) serving: Serving,
}

impl Match {
    pub(crate) async fn begin(way: Way) -> Match {
        Match::with_limits(way, Limits::default(), Limits::default()).await
    }

    pub(crate) async fn with_limits(way: Way, client: Limits, server: Limits) -> Match {
        let (at_server, server_events) = Player::new("server");
        let server = Server::new().limits(server).add(GameServer::new(at_server.clone()));
        let serving = Serving::start(server, &way.address()).await;
        let (at_client, client_events) = Player::new("client");
        let connecting = GameClient::connect(serving.address.as_str()).limits(client);
        let client = connecting.serve(GameServer::new(at_client.clone())).await.expect("connected");
        Match { client, at_client, at_server, client_events, server_events, serving }
    }
}

pub(crate) const WAYS: [Way; 2] = [Way::Tcp, Way::Memory];

/// Plays a scene on both kinds of runtime, over a socket and in memory.
pub(crate) fn everywhere(scene: impl AsyncFn(Way)) {
    let mut builders =
        [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()];
    for builder in &mut builders {
        let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
        for way in WAYS {
            runtime.block_on(patiently("the end", scene(way)));
        }
    }
}

pub(crate) fn assert_unavailable(error: &Error, executed: Executed) {
    assert_eq!((error.code(), error.executed()), (Code::Unavailable, executed), "{error:?}");
}
