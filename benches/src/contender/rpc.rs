//! This framework over TCP with its defaults, all of its semantics switched on.

use super::{Calls, Contender, Downloads, Error, Exchange, Handlers, Result, Streams, handler};
use crate::workload::PATTERN;
use bytes::Bytes;
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, MapErr},
};
use rpc::{Server, Stream, Streaming, service};
use std::{
    iter,
    net::{Ipv4Addr, SocketAddr},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

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
    /// The sum of two integers, after some sleep.
    async fn add_after(&self, a: i64, b: i64, micros: u64) -> i64;
    /// Keeps a core busy.
    async fn spin(&self, micros: u64) -> u64;
    /// The numbers below `below`, from 0 on.
    async fn count(&self, below: u64) -> impl Stream<Item = u64>;
    /// One number, 0, and then nothing, although the stream goes on.
    async fn watch(&self) -> impl Stream<Item = u64>;
    /// The sum of the numbers.
    async fn sum(&self, numbers: Streaming<u64>) -> Result<u64, rpc::Error>;
    /// For each number the next greater one.
    async fn bounce(&self, numbers: Streaming<u64>) -> impl Stream<Item = Result<u64, rpc::Error>>;
    /// So many large items of so many bytes.
    async fn repeat(&self, count: u64, length: u64) -> impl Stream<Item = Bytes>;
}

impl Contender for Rpc {
    type Client = ArithmeticClient;

    async fn serve(announce: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        let server = Server::new().add(ArithmeticServer::new(Wrapping));
        let bound = server.bind("tcp://127.0.0.1:0").await?;
        let port = bound.local_addr().port().ok_or("a TCP address has a port")?;
        announce((Ipv4Addr::LOCALHOST, port).into());
        bound.serve().await?;
        Ok(())
    }

    async fn connect(to: SocketAddr) -> Result<ArithmeticClient> {
        Ok(ArithmeticClient::connect(format!("tcp://{to}")).await?)
    }
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

impl Handlers for ArithmeticClient {
    async fn add_after(&mut self, a: i64, b: i64, micros: u64) -> Result<i64> {
        Ok(ArithmeticClient::add_after(self, a, b, micros).await?)
    }

    async fn spin(&mut self, micros: u64) -> Result<u64> {
        Ok(ArithmeticClient::spin(self, micros).await?)
    }
}

impl Streams for ArithmeticClient {
    type Numbers = MapErr<Streaming<u64>, fn(rpc::Error) -> Error>;
    type Exchange = RpcExchange;

    async fn count(&mut self, below: u64) -> Result<Self::Numbers> {
        let boxed: fn(_) -> _ = Error::from;
        Ok(ArithmeticClient::count(self, below).await?.map_err(boxed))
    }

    async fn watch(&mut self) -> Result<Self::Numbers> {
        let boxed: fn(_) -> _ = Error::from;
        Ok(ArithmeticClient::watch(self).await?.map_err(boxed))
    }

    async fn sum(&mut self, below: u64) -> Result<u64> {
        Ok(ArithmeticClient::sum(self, rpc::iter(0..below)).await?)
    }

    async fn exchange(&mut self) -> Result<RpcExchange> {
        let (numbers, outgoing) = mpsc::channel(1);
        let answers = self.bounce(ReceiverStream::new(outgoing)).await?;
        Ok(RpcExchange { numbers, answers })
    }
}

impl Downloads for ArithmeticClient {
    async fn download(
        &mut self,
        count: u64,
        length: usize,
        mut look: impl FnMut(&[u8]) + Send,
    ) -> Result<()> {
        let mut items = self.repeat(count, length as u64).await?;
        while let Some(item) = items.next().await {
            look(&item?);
        }
        Ok(())
    }
}

/// A stream each way.
#[derive(Debug)]
pub struct RpcExchange {
    numbers: mpsc::Sender<u64>,
    answers: Streaming<u64>,
}

impl Exchange for RpcExchange {
    async fn pass(&mut self, number: u64) -> Result<u64> {
        self.numbers.send(number).await?;
        Ok(self.answers.next().await.ok_or("no answer came")??)
    }

    async fn finish(mut self) -> Result<()> {
        drop(self.numbers);
        match self.answers.next().await.transpose()? {
            None => Ok(()),
            Some(number) => Err(format!("{number} came in place of the end").into()),
        }
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

    async fn add_after(&self, a: i64, b: i64, micros: u64) -> i64 {
        handler::add_after(a, b, micros).await
    }

    async fn spin(&self, micros: u64) -> u64 {
        handler::spin(micros)
    }

    async fn count(&self, below: u64) -> impl Stream<Item = u64> {
        rpc::iter(0..below)
    }

    async fn watch(&self) -> impl Stream<Item = u64> {
        rpc::iter([0]).chain(stream::pending())
    }

    async fn sum(&self, mut numbers: Streaming<u64>) -> Result<u64, rpc::Error> {
        let mut sum = 0_u64;
        while let Some(number) = numbers.next().await {
            sum = sum.wrapping_add(number?);
        }
        Ok(sum)
    }

    async fn bounce(&self, numbers: Streaming<u64>) -> impl Stream<Item = Result<u64, rpc::Error>> {
        numbers.map_ok(|number| number.wrapping_add(1))
    }

    async fn repeat(&self, count: u64, length: u64) -> impl Stream<Item = Bytes> {
        rpc::iter(iter::repeat_n(PATTERN.slice(..length as usize), count as usize))
    }
}
