//! tonic 0.14: gRPC over HTTP/2 with protobuf messages, described in Rust so that no `protoc` is needed.
//!
//! Nagle's algorithm is off, and the flow-control windows hold everything that is in flight, as its authors advise
//! for throughput. The one service is served without a router in front.

use super::{Client, Contender, LARGEST_MESSAGE, Result};
use bytes::Bytes;
use generated::{
    arithmetic_client::ArithmeticClient, arithmetic_server::Arithmetic, arithmetic_server::ArithmeticServer,
};
use std::net::{Ipv4Addr, SocketAddr};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

/// tonic.
#[derive(Debug)]
pub struct Tonic;

#[allow(missing_docs, unused_qualifications, missing_debug_implementations, clippy::all)]
mod generated {
    use super::{AddReply, AddRequest, EchoReply, EchoRequest};
    include!(concat!(env!("OUT_DIR"), "/bench.Arithmetic.rs"));
}

/// The arguments of `Add`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AddRequest {
    /// One term.
    #[prost(int64, tag = "1")]
    pub a: i64,
    /// The other term.
    #[prost(int64, tag = "2")]
    pub b: i64,
}

/// The result of `Add`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AddReply {
    /// The sum.
    #[prost(int64, tag = "1")]
    pub sum: i64,
}

/// The argument of `Echo`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EchoRequest {
    /// Any bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub payload: Bytes,
}

/// The result of `Echo`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EchoReply {
    /// The same bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub payload: Bytes,
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

impl Client for TonicClient {
    async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        Ok(self.0.add(AddRequest { a, b }).await?.into_inner().sum)
    }

    async fn echo(&mut self, payload: Bytes) -> Result<Bytes> {
        Ok(self.0.echo(EchoRequest { payload }).await?.into_inner().payload)
    }
}

struct Wrapping;

#[tonic::async_trait]
impl Arithmetic for Wrapping {
    async fn add(&self, request: Request<AddRequest>) -> Result<Response<AddReply>, Status> {
        let AddRequest { a, b } = request.into_inner();
        Ok(Response::new(AddReply { sum: a.wrapping_add(b) }))
    }

    async fn echo(&self, request: Request<EchoRequest>) -> Result<Response<EchoReply>, Status> {
        Ok(Response::new(EchoReply { payload: request.into_inner().payload }))
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
