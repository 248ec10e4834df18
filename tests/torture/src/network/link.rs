//! The way to a server: a listener of its own, and a connection behind it for each that is accepted.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::carry::{Broken, carry};
use super::weather::{Counts, Weather};
use crate::options::Failure;
use crate::random::Random;

/// A proxy in front of a server. Its connections end when it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

/// What all connections of a link look at.
#[derive(Debug)]
pub(super) struct Shared {
    weather: Mutex<Weather>,
    /// Where the server is, once it is anywhere.
    server: Mutex<Option<SocketAddr>>,
    /// While nothing passes.
    partitioned: watch::Sender<bool>,
    /// Grows when all connections are to be reset.
    resets: watch::Sender<u64>,
    pub(super) counts: Arc<Counts>,
}

impl Shared {
    pub(super) fn weather(&self) -> Weather {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something passes.
    pub(super) async fn passable(&self) {
        // The sender is here, so it cannot be gone.
        let _ = self.partitioned.subscribe().wait_for(|partitioned| !partitioned).await;
    }
}

impl Link {
    /// Listens. Nothing is behind it yet.
    ///
    /// # Errors
    /// The system gives no port.
    pub(crate) async fn open(seed: u64, counts: Arc<Counts>) -> Result<Link, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            weather: Mutex::default(),
            server: Mutex::default(),
            partitioned: watch::Sender::new(false),
            resets: watch::Sender::new(0),
            counts,
        });
        let accepting = tokio::spawn(accept(listener, shared.clone(), Random::new(seed))).abort_handle();
        Ok(Link { address, shared, accepting })
    }

    /// Says where the server is.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        *self.shared.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// Changes how bad it is.
    pub(crate) fn set_weather(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// Lets nothing pass, neither bytes nor the end of a connection, or everything again.
    pub(crate) fn partition(&self, partitioned: bool) {
        self.shared.partitioned.send_replace(partitioned);
    }

    /// Resets all connections.
    pub(crate) fn reset(&self) {
        self.shared.resets.send_modify(|resets| *resets += 1);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// How long to leave a listener alone that failed to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut random: Random) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                let (shared, random) = (shared.clone(), Random::new(random.next()));
                connections.spawn(async move {
                    shared.counts.connection();
                    connection(client, &shared, random).await;
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Connects to an address where there may be nobody any more.
///
/// # Errors
/// There is nobody. On loopback the system may then give the connection that port as its own, so that it is one with
/// itself (RFC 9293, 3.5: simultaneous open); that counts as nobody, too.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    if stream.local_addr()? == address { Err(ErrorKind::ConnectionRefused.into()) } else { Ok(stream) }
}

/// Carries a connection to its end.
async fn connection(client: TcpStream, shared: &Shared, random: Random) {
    // Whatever fails, both sides see the end of their connection when it is dropped.
    let _ = carry_both_ways(client, shared, random).await;
}

async fn carry_both_ways(mut client: TcpStream, shared: &Shared, mut random: Random) -> Result<(), Broken> {
    let mut resets = shared.resets.subscribe();
    shared.passable().await;
    let server = *shared.server.lock().unwrap_or_else(PoisonError::into_inner);
    let mut server = connect(server.ok_or(Broken::Closed)?).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let carried = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there = carry(from_client, to_server, false, shared, Random::new(random.next()));
        let back = carry(from_server, to_client, true, shared, Random::new(random.next()));
        tokio::select! {
            carried = async { tokio::try_join!(there, back) } => carried.map(drop),
            _ = resets.changed() => {
                shared.counts.reset();
                Err(Broken::Reset)
            }
        }
    };
    if carried == Err(Broken::Reset) {
        // So that closing them, which is next, resets them.
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    carried
}
