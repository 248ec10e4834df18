//! This framework over TCP with its defaults, all of its semantics switched on.

use super::{Calls, Contender, LARGEST_MESSAGE, Result};
use bytes::Bytes;
use rpc::{Limits, Server, service};
use std::net::{Ipv4Addr, SocketAddr};

/// This framework.
#[derive(Debug)]
pub struct Rpc;

/// The measured service.
#[service]
pub trait Arithmetic {
    /// The sum of two integers, wrapping around.
    async fn add(&self, a: i64, b: i64) -> i64;
    /// The payload as it came.
    async fn echo(&self, payload: Bytes) -> Bytes;
}

impl Contender for Rpc {
    type Client = ArithmeticClient;

    async fn serve(announce: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        let server = Server::new().limits(limits()).add(ArithmeticServer::new(Wrapping));
        let bound = server.bind("tcp://127.0.0.1:0").await?;
        let port = bound.local_addr().port().ok_or("a TCP address has a port")?;
        announce((Ipv4Addr::LOCALHOST, port).into());
        bound.serve().await?;
        Ok(())
    }

    async fn connect(to: SocketAddr) -> Result<ArithmeticClient> {
        Ok(ArithmeticClient::connect(format!("tcp://{to}")).limits(limits()).await?)
    }
}

/// The defaults, but for frames that hold the largest echo.
fn limits() -> Limits {
    Limits::default().with_frame_bytes(LARGEST_MESSAGE)
}

/// A client whose calls are marshalled but cross no socket.
pub fn in_process() -> ArithmeticClient {
    ArithmeticClient::in_process(ArithmeticServer::new(Wrapping))
}

impl Calls for ArithmeticClient {
    async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        Ok(ArithmeticClient::add(self, a, b).await?)
    }

    async fn echo(&mut self, payload: Bytes) -> Result<Bytes> {
        Ok(ArithmeticClient::echo(self, payload).await?)
    }
}

struct Wrapping;

impl Arithmetic for Wrapping {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    async fn echo(&self, payload: Bytes) -> Bytes {
        payload
    }
}
