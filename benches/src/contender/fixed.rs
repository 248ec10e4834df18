//! This framework with the place fixed where handlers start, beside which it must stand what it chooses by itself.

use super::{Calls, Contender, Handlers, Result, handler};
use bytes::Bytes;
use rpc::{Server, service};
use std::net::{Ipv4Addr, SocketAddr};

/// A contender whose service says where its handlers start; all else is as it is without.
macro_rules! fixed {
    ($(#[$doc:meta])* $contender:ident, $place:ident, $service:ident, $server:ident, $client:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $contender;

        /// The measured service. (Lints take what a macro of ours generates for ours, and miss a use of all of it.)
        #[service($place)]
        #[allow(dead_code)]
        pub trait $service {
            /// The sum of two integers, wrapping around.
            async fn add(&self, a: i64, b: i64) -> i64;
            /// The payload as it came.
            async fn echo(&self, payload: Bytes) -> Bytes;
            /// The sum of two integers, after some sleep.
            async fn add_after(&self, a: i64, b: i64, micros: u64) -> i64;
            /// Keeps a core busy.
            async fn spin(&self, micros: u64) -> u64;
        }

        impl Contender for $contender {
            type Client = $client;

            async fn serve(announce: impl FnOnce(SocketAddr) + Send) -> Result<()> {
                let bound = Server::new().add($server::new(Wrapping)).bind("tcp://127.0.0.1:0").await?;
                let port = bound.local_addr().port().ok_or("a TCP address has a port")?;
                announce((Ipv4Addr::LOCALHOST, port).into());
                bound.serve().await?;
                Ok(())
            }

            async fn connect(to: SocketAddr) -> Result<$client> {
                Ok($client::connect(format!("tcp://{to}")).await?)
            }
        }

        impl Calls for $client {
            async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
                Ok($client::add(self, a, b).await?)
            }

            async fn echo(&mut self, payload: Bytes) -> Result<Bytes> {
                Ok($client::echo(self, payload).await?)
            }
        }

        impl Handlers for $client {
            async fn add_after(&mut self, a: i64, b: i64, micros: u64) -> Result<i64> {
                Ok($client::add_after(self, a, b, micros).await?)
            }

            async fn spin(&mut self, micros: u64) -> Result<u64> {
                Ok($client::spin(self, micros).await?)
            }
        }

        impl $service for Wrapping {
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
        }
    };
}

fixed! {
    /// All handlers start on the connection's task.
    RpcInline, inline, Inline, InlineServer, InlineClient
}

fixed! {
    /// All handlers have tasks of their own.
    RpcSpawn, spawn, Spawned, SpawnedServer, SpawnedClient
}

struct Wrapping;
