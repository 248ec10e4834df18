//! A connector outlives its connections: it finds the server again that came back to its address.
//!
//! In a process of its own, so that no other test can be given the port while nobody listens on it.
#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::io;

use rpc_core::{Connect, Connector, Listen, Listener};
// For what it makes of URLs: nothing is named, but without this the crate is not linked.
use rpc_transport as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn over_tcp() {
    check("tcp://127.0.0.1:0", io::ErrorKind::ConnectionRefused).await;
}

#[tokio::test]
async fn in_memory() {
    check("mem://reconnect", io::ErrorKind::ConnectionRefused).await;
}

#[cfg(unix)]
#[tokio::test]
async fn over_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("rpc-reconnect-{}", std::process::id()));
    check(&format!("unix:{}", path.display()), io::ErrorKind::NotFound).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn over_a_unix_socket_without_a_file() {
    check(&format!("unix:@rpc-reconnect-{}", std::process::id()), io::ErrorKind::ConnectionRefused).await;
}

async fn check(url: &str, while_nobody_listens: io::ErrorKind) {
    let mut listener = listen(url).await;
    let address = listener.local_addr();
    let connector = address.clone().into_connector().unwrap();
    // While the first connection is open, the server goes and comes back: what is left of it must not keep the
    // address.
    let first = call(&*connector, &mut *listener).await;
    drop(listener);
    let error = connector.connect().await.err().unwrap();
    assert_eq!(error.kind(), while_nobody_listens, "{error}");

    let mut listener = listen(address.as_str()).await;
    assert_eq!(listener.local_addr(), address);
    let second = call(&*connector, &mut *listener).await;
    drop((first, second));
}

async fn listen(url: &str) -> Box<dyn Listener> {
    url.into_listener().await.unwrap()
}

/// Opens a connection, moves a byte over it, and gives it back open.
async fn call(connector: &dyn Connector, listener: &mut dyn Listener) -> impl Send + use<> {
    let mut client = connector.connect().await.unwrap().split();
    let mut server = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().split();
    client.1.write_u8(42).await.unwrap();
    assert_eq!(server.0.read_u8().await.unwrap(), 42);
    (client, server)
}
