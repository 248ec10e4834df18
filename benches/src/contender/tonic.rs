//! tonic 0.14: gRPC over HTTP/2 with protobuf messages, described in Rust so that no `protoc` is needed.
//!
//! Nagle's algorithm is off, and the flow-control windows hold everything that is in flight, as its authors advise
//! for throughput. The one service is served without a router in front.

mod messages;

use super::{Calls, Contender, Downloads, Exchange, Handlers, LARGEST_MESSAGE, Result, Streams, handler};
use crate::workload::PATTERN;
use bytes::Bytes;
use futures_util::{
    Stream, StreamExt, TryStreamExt, future,
    stream::{self, Chain, Iter, MapOk, Pending},
};
use generated::{
    arithmetic_client::ArithmeticClient, arithmetic_server::Arithmetic, arithmetic_server::ArithmeticServer,
};
use messages::{Nothing, Number, Payload, Repetition, Sum, Terms, TermsLater};
use std::{
    iter::{self, Map, RepeatN},
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

/// tonic.
#[derive(Debug)]
pub struct Tonic;

#[allow(missing_docs, unused_qualifications, missing_debug_implementations, clippy::all)]
mod generated {
    use super::{Nothing, Number, Payload, Repetition, Sum, Terms, TermsLater};
    include!(concat!(env!("OUT_DIR"), "/bench.Arithmetic.rs"));
}

impl Contender for Tonic {
    type Client = TonicClient;

    async fn serve(announce: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?.with_nodelay(Some(true));
        announce(incoming.local_addr()?);
        let service = ArithmeticServer::new(Wrapping)
            .max_decoding_message_size(LARGEST_MESSAGE)
            .max_encoding_message_size(LARGEST_MESSAGE);
        Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(CONCURRENT_STREAMS)
            .max_frame_size(FRAME)
            .serve_with_incoming(service, incoming)
            .await?;
        Ok(())
    }

    async fn connect(to: SocketAddr) -> Result<TonicClient> {
        let channel = Endpoint::from_shared(format!("http://{to}"))?
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .connect()
            .await?;
        let client = ArithmeticClient::new(channel)
            .max_decoding_message_size(LARGEST_MESSAGE)
            .max_encoding_message_size(LARGEST_MESSAGE);
        Ok(TonicClient(client))
    }
}

/// The calling side of one HTTP/2 connection.
#[derive(Clone, Debug)]
pub struct TonicClient(ArithmeticClient<Channel>);

impl Calls for TonicClient {
    async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        Ok(self.0.add(Terms { a, b }).await?.into_inner().sum)
    }

    async fn echo(&mut self, payload: Bytes) -> Result<Bytes> {
        Ok(self.0.echo(Payload { payload }).await?.into_inner().payload)
    }
}

impl Handlers for TonicClient {
    async fn add_after(&mut self, a: i64, b: i64, micros: u64) -> Result<i64> {
        Ok(self.0.add_after(TermsLater { a, b, micros }).await?.into_inner().sum)
    }

    async fn spin(&mut self, micros: u64) -> Result<u64> {
        Ok(self.0.spin(Number { value: micros }).await?.into_inner().value)
    }
}

impl Streams for TonicClient {
    type Numbers = Numbers;
    type Exchange = TonicExchange;

    async fn count(&mut self, below: u64) -> Result<Numbers> {
        Ok(Numbers(self.0.count(Number { value: below }).await?.into_inner()))
    }

    async fn watch(&mut self) -> Result<Numbers> {
        Ok(Numbers(self.0.watch(Nothing {}).await?.into_inner()))
    }

    async fn sum(&mut self, below: u64) -> Result<u64> {
        let numbers = stream::iter((0..below).map(|value| Number { value }));
        Ok(self.0.sum(numbers).await?.into_inner().value)
    }

    async fn exchange(&mut self) -> Result<TonicExchange> {
        let (numbers, outgoing) = mpsc::channel(1);
        let answers = self.0.bounce(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(TonicExchange { numbers, answers })
    }
}

impl Downloads for TonicClient {
    async fn download(
        &mut self,
        count: u64,
        length: usize,
        mut look: impl FnMut(&[u8]) + Send,
    ) -> Result<()> {
        let mut items = self.0.repeat(Repetition { count, length: length as u64 }).await?.into_inner();
        while let Some(item) = items.message().await? {
            look(&item.payload);
        }
        Ok(())
    }
}

/// Numbers from the server, out of their messages.
#[derive(Debug)]
pub struct Numbers(Streaming<Number>);

impl Stream for Numbers {
    type Item = Result<u64>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<u64>>> {
        let number = self.0.poll_next_unpin(context);
        number.map(|number| number.map(|number| Ok(number?.value)))
    }
}

/// A stream each way.
#[derive(Debug)]
pub struct TonicExchange {
    numbers: mpsc::Sender<Number>,
    answers: Streaming<Number>,
}

impl Exchange for TonicExchange {
    async fn pass(&mut self, value: u64) -> Result<u64> {
        self.numbers.send(Number { value }).await?;
        Ok(self.answers.message().await?.ok_or("no answer came")?.value)
    }

    async fn finish(mut self) -> Result<()> {
        drop(self.numbers);
        match self.answers.message().await? {
            None => Ok(()),
            Some(Number { value }) => Err(format!("{value} came in place of the end").into()),
        }
    }
}

struct Wrapping;

#[tonic::async_trait]
impl Arithmetic for Wrapping {
    type CountStream = Iter<Map<Range<u64>, fn(u64) -> Result<Number, Status>>>;
    type WatchStream =
        Chain<stream::Once<future::Ready<Result<Number, Status>>>, Pending<Result<Number, Status>>>;
    type BounceStream = MapOk<Streaming<Number>, fn(Number) -> Number>;
    type RepeatStream = Iter<Map<RepeatN<Bytes>, fn(Bytes) -> Result<Payload, Status>>>;

    async fn add(&self, request: Request<Terms>) -> Result<Response<Sum>, Status> {
        let Terms { a, b } = request.into_inner();
        Ok(Response::new(Sum { sum: a.wrapping_add(b) }))
    }

    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn add_after(&self, request: Request<TermsLater>) -> Result<Response<Sum>, Status> {
        let TermsLater { a, b, micros } = request.into_inner();
        Ok(Response::new(Sum { sum: handler::add_after(a, b, micros).await }))
    }

    async fn spin(&self, request: Request<Number>) -> Result<Response<Number>, Status> {
        Ok(Response::new(Number { value: handler::spin(request.into_inner().value) }))
    }

    async fn count(&self, request: Request<Number>) -> Result<Response<Self::CountStream>, Status> {
        let below = request.into_inner().value;
        let item: fn(u64) -> _ = |value| Ok(Number { value });
        Ok(Response::new(stream::iter((0..below).map(item))))
    }

    async fn watch(&self, _: Request<Nothing>) -> Result<Response<Self::WatchStream>, Status> {
        let first = stream::once(future::ready(Ok(Number { value: 0 })));
        Ok(Response::new(first.chain(stream::pending())))
    }

    async fn sum(&self, request: Request<Streaming<Number>>) -> Result<Response<Number>, Status> {
        let mut numbers = request.into_inner();
        let mut sum = 0_u64;
        while let Some(Number { value }) = numbers.message().await? {
            sum = sum.wrapping_add(value);
        }
        Ok(Response::new(Number { value: sum }))
    }

    async fn bounce(
        &self,
        request: Request<Streaming<Number>>,
    ) -> Result<Response<Self::BounceStream>, Status> {
        let next: fn(Number) -> Number = |Number { value }| Number { value: value.wrapping_add(1) };
        Ok(Response::new(request.into_inner().map_ok(next)))
    }

    async fn repeat(&self, request: Request<Repetition>) -> Result<Response<Self::RepeatStream>, Status> {
        let Repetition { count, length } = request.into_inner();
        let payloads = iter::repeat_n(PATTERN.slice(..length as usize), count as usize);
        let item: fn(Bytes) -> _ = |payload| Ok(Payload { payload });
        Ok(Response::new(stream::iter(payloads.map(item))))
    }
}

/// One stream's window, in bytes: the largest echo fits.
const STREAM_WINDOW: u32 = 2 << 20;

/// A connection's window, in bytes: all that is in flight fits.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// HTTP/2's largest data frame, in bytes: fewer headers for the large echoes.
const FRAME: u32 = 1 << 20;

/// More than are ever in flight on one connection.
const CONCURRENT_STREAMS: u32 = 1024;
