//! What must hold for every transport alike, checked through the traits and by URL, as the layers above use them.

#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use rpc_core::{Address, Connect, Connector, Direct, Listen, Listener, RecvHalf, SendHalf, Transport};
use rpc_transport::{IoTransport, Once, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Halves = (RecvHalf, SendHalf);

/// The URLs to listen on in one test; `test` keeps those of different tests apart.
fn urls(test: &str) -> Vec<String> {
    let unique = format!("{test}-{}", std::process::id());
    let mut urls =
        vec!["tcp://127.0.0.1:0".to_owned(), "tcp://localhost:0".to_owned(), format!("mem://{unique}")];
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        urls.push("tcp://[::1]:0".to_owned());
    }
    if cfg!(unix) {
        urls.push(format!("unix:{}", std::env::temp_dir().join(&unique).display()));
    }
    if cfg!(target_os = "linux") {
        urls.push(format!("unix:@{unique}"));
    }
    urls
}

async fn listen(url: &str) -> Box<dyn Listener> {
    url.into_listener().await.unwrap()
}

fn connector(to: Address) -> Arc<dyn Connector> {
    to.into_connector().unwrap()
}

async fn connect(listener: &mut dyn Listener) -> (Halves, Halves) {
    let client = connector(listener.local_addr()).connect().await.unwrap();
    let server = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
    (client.split(), server.split())
}

#[tokio::test]
async fn large_payloads_go_both_ways_at_once_and_end() {
    for url in urls("both-ways") {
        let (client, server) = connect(&mut *listen(&url).await).await;
        let there: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
        let back: Vec<u8> = there.iter().map(|byte| !byte).collect();
        let (received_there, received_back) =
            tokio::join!(exchange(server, back.clone()), exchange(client, there.clone()));
        assert!(received_there == there && received_back == back, "over {url}");
    }
}

/// Sends everything and says that it was all, while it receives until the other side says so.
async fn exchange((mut recv, mut send): Halves, payload: Vec<u8>) -> Vec<u8> {
    let sending = async {
        send.write_all(&payload).await.unwrap();
        send.flush().await.unwrap();
        send.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = tokio::join!(sending, recv.read_to_end(&mut received));
    read.unwrap();
    received
}

#[tokio::test]
async fn pieces_are_gathered_in_order() {
    for url in urls("gathered") {
        let ((_client_recv, mut send), (mut recv, _server_send)) = connect(&mut *listen(&url).await).await;
        assert!(send.is_write_vectored(), "over {url}");
        let written =
            send.write_vectored(&[io::IoSlice::new(b"head"), io::IoSlice::new(b"body")]).await.unwrap();
        assert_eq!(written, 8, "over {url}");
        let mut received = [0; 8];
        recv.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"headbody", "over {url}");
    }
}

#[tokio::test]
async fn a_side_that_drops_its_halves_is_gone_for_the_other() {
    for url in urls("dropped") {
        let (client, (mut recv, mut send)) = connect(&mut *listen(&url).await).await;
        drop(client);
        assert_eq!(recv.read(&mut [0; 1]).await.unwrap(), 0, "over {url}");
        // A first write may still be taken by the system; it cannot take them for ever.
        while send.write_all(&[0; 4096]).await.is_ok() {}
    }
}

#[tokio::test]
async fn two_listeners_of_one_address_are_refused() {
    for url in urls("twice") {
        let first = listen(&url).await;
        let address = first.local_addr();
        let error =
            Listen::<Url>::into_listener(&address).await.err().unwrap_or_else(|| panic!("{url} twice"));
        assert_eq!(error.code(), rpc_core::Code::Unavailable, "over {url}");
    }
}

#[tokio::test]
async fn a_listener_gives_each_client_a_connection_of_its_own() {
    for url in urls("many") {
        let mut listener = listen(&url).await;
        let connector = connector(listener.local_addr());
        let mut clients = Vec::new();
        for id in 0..10 {
            let mut client = connector.connect().await.unwrap().split();
            client.1.write_u8(id).await.unwrap();
            clients.push(client);
        }
        for id in 0..10 {
            let (mut recv, _) = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().split();
            assert_eq!(recv.read_u8().await.unwrap(), id, "over {url}");
        }
    }
}

/// `Via` is inferred for text in all its forms, for addresses, and for transports of one's own.
#[tokio::test]
async fn every_form_of_an_address_is_understood() {
    fn address<Via>(to: impl Connect<Via>) -> Address {
        to.into_connector().unwrap().address()
    }
    async fn local<Via>(on: impl Listen<Via>) -> Address {
        on.into_listener().await.unwrap().local_addr()
    }
    let text = "mem://every-form";
    let string = text.to_owned();
    let expected = Address::new(text);
    assert_eq!(address(text), expected);
    assert_eq!(address(string.clone()), expected);
    assert_eq!(address(&string), expected);
    assert_eq!(address(expected.clone()), expected);
    assert_eq!(address(&expected), expected);
    assert_eq!(local(text).await, expected);
    assert_eq!(local(string.clone()).await, expected);
    assert_eq!(local(&string).await, expected);
    assert_eq!(local(expected.clone()).await, expected);
    assert_eq!(local(&expected).await, expected);

    let once = || Once::new(IoTransport::new(tokio::io::duplex(16).0));
    assert_eq!(address(once()).as_str(), "io:");
    assert_eq!(local(once()).await.as_str(), "io:");
    assert!(Connect::<Direct>::into_connector(once()).is_ok());
}

/// What the layers above hand to other tasks must be `Send`, the futures included.
#[test]
fn futures_can_be_spawned() {
    fn assert_send<T: Send>(_: &T) {}
    let address = Address::new("tcp://127.0.0.1:9");
    let connector = connector(address.clone());
    assert_send(&connector.connect());
    assert_send(&Listen::<Url>::into_listener(&address));
    let transport: Box<dyn Transport> = Box::new(IoTransport::new(tokio::io::duplex(16).0));
    assert_send(&transport);
}
