//! tarpc 0.38 over TCP with bincode, the fastest of its codecs.
//!
//! Its documentation spawns a task for each request. With `INLINE` the requests of a connection run on the task of
//! that connection instead, which suits handlers as light as these. Both turn Nagle's algorithm off and raise the
//! limits above what is in flight.

use super::{Calls, Contender, Handlers, LARGEST_MESSAGE, Result, handler};
use bytes::Bytes;
use futures_util::StreamExt;
use std::net::{Ipv4Addr, SocketAddr};
use tarpc::{
    client, context,
    serde_transport::tcp,
    server::{self, BaseChannel, Channel},
    tokio_serde::formats::Bincode,
};

/// tarpc; `INLINE` keeps requests on the task of their connection.
#[derive(Debug)]
pub struct Tarpc<const INLINE: bool>;

/// The measured service.
#[tarpc::service]
trait Arithmetic {
    /// The sum of two integers.
    async fn add(a: i64, b: i64) -> i64;
    /// The payload as it came.
    async fn echo(payload: Bytes) -> Bytes;
    /// The sum of two integers, after some sleep.
    async fn add_after(a: i64, b: i64, micros: u64) -> i64;
    /// Keeps a core busy.
    async fn spin(micros: u64) -> u64;
}

impl<const INLINE: bool> Contender for Tarpc<INLINE> {
    type Client = TarpcClient;

    async fn serve(announce: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        let mut listener = tcp::listen((Ipv4Addr::LOCALHOST, 0), Bincode::default).await?;
        listener.config_mut().max_frame_length(LARGEST_MESSAGE);
        announce(listener.local_addr());
        while let Some(transport) = listener.next().await {
            let transport = transport?;
            transport.get_ref().set_nodelay(true)?;
            let channel = BaseChannel::new(server::Config { pending_response_buffer: QUEUE }, transport);
            let requests = channel.execute(Wrapping.serve());
            if INLINE {
                tokio::spawn(requests.for_each_concurrent(None, |request| request));
            } else {
                tokio::spawn(requests.for_each(|request| async {
                    tokio::spawn(request);
                }));
            }
        }
        Ok(())
    }

    async fn connect(to: SocketAddr) -> Result<TarpcClient> {
        let mut connecting = tcp::connect(to, Bincode::default);
        connecting.config_mut().max_frame_length(LARGEST_MESSAGE);
        let transport = connecting.await?;
        transport.get_ref().set_nodelay(true)?;
        let mut config = client::Config::default();
        config.max_in_flight_requests = usize::MAX;
        config.pending_request_buffer = QUEUE;
        Ok(TarpcClient(ArithmeticClient::new(config, transport).spawn()))
    }
}

/// The calling side of one tarpc connection.
#[derive(Clone, Debug)]
pub struct TarpcClient(ArithmeticClient);

impl Calls for TarpcClient {
    async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        Ok(self.0.add(context::current(), a, b).await?)
    }

    async fn echo(&mut self, payload: Bytes) -> Result<Bytes> {
        Ok(self.0.echo(context::current(), payload).await?)
    }
}

impl Handlers for TarpcClient {
    async fn add_after(&mut self, a: i64, b: i64, micros: u64) -> Result<i64> {
        Ok(self.0.add_after(context::current(), a, b, micros).await?)
    }

    async fn spin(&mut self, micros: u64) -> Result<u64> {
        Ok(self.0.spin(context::current(), micros).await?)
    }
}

#[derive(Clone)]
struct Wrapping;

impl Arithmetic for Wrapping {
    async fn add(self, _: context::Context, a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    async fn echo(self, _: context::Context, payload: Bytes) -> Bytes {
        payload
    }

    async fn add_after(self, _: context::Context, a: i64, b: i64, micros: u64) -> i64 {
        handler::add_after(a, b, micros).await
    }

    async fn spin(self, _: context::Context, micros: u64) -> u64 {
        handler::spin(micros)
    }
}

/// Places in tarpc's internal queues: more than are ever in flight on one connection.
const QUEUE: usize = 1024;
