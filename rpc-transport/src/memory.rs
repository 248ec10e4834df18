//! Memory: `mem://name`, between two parts of one process.
//!
//! This module owns the names that are listened on in this process. Bytes are copied through a bounded pipe: it
//! behaves like a socket, back pressure and end of stream included, without the system's help.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rpc_core::{Address, ConnectFuture, Connector, Listener, Transport};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::io::IoTransport;

/// Connects to a [`MemoryListener`] of the same process by its name; `mem://name` as a URL.
#[derive(Clone, Debug)]
pub struct MemoryConnector {
    name: String,
}

impl MemoryConnector {
    /// Connects to what listens on `name` at the time of each attempt.
    pub fn new(name: impl Into<String>) -> Self {
        MemoryConnector { name: name.into() }
    }

    fn open(&self) -> io::Result<IoTransport> {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        let listening = names().get(&self.name).cloned();
        let refused = match listening.map(|listener| listener.try_send(server)) {
            Some(Ok(())) => return Ok(transport(client, &self.name)),
            Some(Err(mpsc::error::TrySendError::Full(_))) => {
                format!("{BACKLOG} connections wait to be accepted on mem://{}", self.name)
            }
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => {
                format!("nobody in this process listens on mem://{}", self.name)
            }
        };
        Err(io::Error::new(io::ErrorKind::ConnectionRefused, refused))
    }
}

impl Connector for MemoryConnector {
    fn address(&self) -> Address {
        address(&self.name)
    }

    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async { Ok(Box::new(self.open()?) as Box<dyn Transport>) })
    }
}

/// Listens on a name within this process; `mem://name` as a URL.
///
/// Dropping it frees the name; connections that it did not accept yet are closed.
#[derive(Debug)]
pub struct MemoryListener {
    name: String,
    accepted: mpsc::Receiver<DuplexStream>,
}

impl MemoryListener {
    /// Takes the name. At most 1,024 connections wait to be accepted, further ones are refused.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] if another listener of this process has the name.
    pub fn bind(name: impl Into<String>) -> io::Result<Self> {
        let name = name.into();
        let mut names = names();
        if names.contains_key(&name) {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("another listener of this process has the name mem://{name}"),
            ));
        }
        let (queue, accepted) = mpsc::channel(BACKLOG);
        names.insert(name.clone(), queue);
        Ok(MemoryListener { name, accepted })
    }
}

impl Listener for MemoryListener {
    fn local_addr(&self) -> Address {
        address(&self.name)
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        match ready!(self.accepted.poll_recv(cx)) {
            Some(stream) => Poll::Ready(Ok(Box::new(transport(stream, &self.name)))),
            // The registry holds a sender for as long as this listener lives, so the queue does not end.
            None => Poll::Pending,
        }
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        names().remove(&self.name);
    }
}

/// Who listens where in this process, and the queue of what it has not accepted yet.
static NAMES: Mutex<BTreeMap<String, mpsc::Sender<DuplexStream>>> = Mutex::new(BTreeMap::new());

fn names() -> MutexGuard<'static, BTreeMap<String, mpsc::Sender<DuplexStream>>> {
    // Each use of the map is one operation of it, so a panic elsewhere leaves no half-made state behind.
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn transport(stream: DuplexStream, name: &str) -> IoTransport {
    IoTransport::new(stream).with_peer(address(name))
}

fn address(name: &str) -> Address {
    Address::new(format!("mem://{name}"))
}

/// What one side can write, each way, before the other has read: as much as one large read takes.
const PIPE_BYTES: usize = 64 * 1024;

/// How many connections may wait to be accepted, as for TCP.
const BACKLOG: usize = 1024;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn the_second_listener_of_a_name_is_refused_until_the_first_is_gone() {
        let first = MemoryListener::bind("memory-twice").unwrap();
        let error = MemoryListener::bind("memory-twice").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("mem://memory-twice"), "{error}");
        drop(first);
        MemoryListener::bind("memory-twice").unwrap();
    }

    #[test]
    fn a_name_that_nobody_listens_on_refuses_connections() {
        let error = MemoryConnector::new("memory-nobody").open().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains("mem://memory-nobody"), "{error}");
    }

    #[tokio::test]
    async fn connections_that_wait_are_closed_with_their_listener() {
        let listener = MemoryListener::bind("memory-pending").unwrap();
        let (mut recv, _send) = Box::new(MemoryConnector::new("memory-pending").open().unwrap()).split();
        drop(listener);
        assert_eq!(recv.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn connections_that_were_accepted_outlive_their_listener() {
        let mut listener = MemoryListener::bind("memory-outlive").unwrap();
        let client = MemoryConnector::new("memory-outlive").open().unwrap();
        let server = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
        drop(listener);
        let (mut recv, _send) = Box::new(client).split();
        server.split().1.write_all(b"still here").await.unwrap();
        let mut received = [0; 10];
        recv.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"still here");
    }

    #[tokio::test]
    async fn more_connections_than_may_wait_are_refused() {
        let mut listener = MemoryListener::bind("memory-full").unwrap();
        let connector = MemoryConnector::new("memory-full");
        let waiting: Vec<_> = (0..BACKLOG).map(|_| connector.open().unwrap()).collect();
        let error = connector.open().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains("wait to be accepted"), "{error}");

        poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
        connector.open().unwrap();
        drop(waiting);
    }

    #[tokio::test]
    async fn a_writer_waits_for_its_reader() {
        let mut listener = MemoryListener::bind("memory-pressure").unwrap();
        let client = MemoryConnector::new("memory-pressure").open().unwrap();
        let server = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
        let (_client_recv, mut send) = Box::new(client).split();
        let (mut recv, _server_send) = server.split();

        send.write_all(&vec![0; PIPE_BYTES]).await.unwrap();
        let mut further = Box::pin(send.write_all(&[1]));
        let waiting = poll_fn(|cx| Poll::Ready(further.as_mut().poll(cx).is_pending())).await;
        assert!(waiting, "the pipe holds more than {PIPE_BYTES} bytes");
        let mut received = vec![0; PIPE_BYTES];
        recv.read_exact(&mut received).await.unwrap();
        further.await.unwrap();
    }
}
