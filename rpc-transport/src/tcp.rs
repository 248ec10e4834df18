//! TCP: `tcp://host:port`.
//!
//! This module owns the socket options and what a host and a port look like in a URL. It sets no time limit:
//! how long an attempt may take is decided above it.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use rpc_core::{Address, ConnectFuture, Connector, Listener, RecvHalf, SendHalf, Transport};
#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

/// Connects over TCP, with Nagle's algorithm off; `tcp://host:port` as a URL.
///
/// A name is resolved at each attempt, so that a service can move; its addresses are tried in the resolver's
/// order until one answers.
#[derive(Clone, Debug)]
pub struct TcpConnector {
    endpoint: Endpoint,
}

impl TcpConnector {
    /// Connects to a host, given by name or by its IPv4 or IPv6 address (without brackets), and a port.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        TcpConnector { endpoint: Endpoint { host: host.into(), port } }
    }

    async fn open(&self) -> io::Result<TcpTransport> {
        let stream = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await?;
        if is_connected_to_itself(&stream)? {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let peer = stream.peer_addr()?;
        TcpTransport::new(stream, peer)
    }
}

impl From<Endpoint> for TcpConnector {
    fn from(endpoint: Endpoint) -> Self {
        TcpConnector { endpoint }
    }
}

impl Connector for TcpConnector {
    fn address(&self) -> Address {
        Address::new(self.endpoint.to_string())
    }

    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async { Ok(Box::new(self.open().await?) as Box<dyn Transport>) })
    }
}

/// Within one machine, the system may give the connecting socket the very port that it looks for, if nobody
/// listens there. TCP then connects it to itself (RFC 9293, 3.5, "simultaneous open"), and the port is taken for
/// the server that wants to come back.
fn is_connected_to_itself(stream: &TcpStream) -> io::Result<bool> {
    Ok(stream.local_addr()? == stream.peer_addr()?)
}

/// Listens on TCP; `tcp://host:port` as a URL.
#[derive(Debug)]
pub struct TcpListener {
    local: SocketAddr,
    listener: tokio::net::TcpListener,
}

impl TcpListener {
    /// Listens on a host's address and a port. Port 0 takes a free one, which
    /// [`local_addr`](Listener::local_addr) then names; the hosts `0.0.0.0` and `::` are all addresses of the
    /// machine. Of a name's addresses it is the first that this machine has, in the resolver's order. Up to 1,024
    /// connections wait to be accepted, or fewer if the system says so.
    ///
    /// # Errors
    /// What the system says: the port is taken, is not allowed, or the address is not of this machine.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn bind(host: &str, port: u16) -> io::Result<Self> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in tokio::net::lookup_host((host, port)).await? {
            match listen(address) {
                Ok(listener) => return Self::new(listener),
                // Somebody has the name already. To listen on another of its addresses would split its clients.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Takes over a socket that listens already: one with options of its own, or one that was inherited.
    ///
    /// # Errors
    /// If the system does not say which address it listens on.
    pub fn new(listener: tokio::net::TcpListener) -> io::Result<Self> {
        Ok(TcpListener { local: listener.local_addr()?, listener })
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpTransport>> {
        loop {
            let (stream, peer) = ready!(self.listener.poll_accept(cx))?;
            // Options cannot be set on a connection that its peer has reset in the meantime.
            if let Ok(transport) = TcpTransport::new(stream, peer) {
                return Poll::Ready(Ok(transport));
            }
        }
    }
}

impl Listener for TcpListener {
    fn local_addr(&self) -> Address {
        address(self.local)
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        self.poll_open(cx).map_ok(|transport| Box::new(transport) as Box<dyn Transport>)
    }
}

fn listen(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // On Unix it lets a server come back while connections of its former life linger. On Windows it would let
    // two servers have one port.
    if cfg!(unix) {
        socket.set_reuseaddr(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How many connections may wait to be accepted: enough for all clients that a restarted server finds at its
/// door.
const BACKLOG: u32 = 1024;

#[derive(Debug)]
struct TcpTransport {
    peer: SocketAddr,
    stream: TcpStream,
}

impl TcpTransport {
    fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        limit_unsent(&stream);
        if is_near(stream.local_addr()?, peer) {
            limit_unread(&stream);
        }
        Ok(TcpTransport { peer, stream })
    }
}

impl Transport for TcpTransport {
    fn peer(&self) -> Address {
        address(self.peer)
    }

    fn split(self: Box<Self>) -> (RecvHalf, SendHalf) {
        let (recv, send) = self.stream.into_split();
        (Box::new(recv), Box::new(send))
    }
}

/// Keeps the queue inside the system short, so that a small message does not wait there behind megabytes of a
/// large one: order is decided where messages are known.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn limit_unsent(stream: &TcpStream) {
    // Without it large messages only make others wait longer, so a system that refuses is no reason to fail.
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn limit_unsent(_: &TcpStream) {}

/// As much as one piece of a large message.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES: u32 = 64 * 1024;

/// Whether both ends are on one machine.
fn is_near(local: SocketAddr, peer: SocketAddr) -> bool {
    let (local, peer) = (local.ip().to_canonical(), peer.ip().to_canonical());
    peer.is_loopback() || local == peer
}

/// Keeps what has come and was not read short as well, where there is no distance that a long queue would bridge: the
/// system would let it grow to megabytes, and a small message would wait behind them.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn limit_unread(stream: &TcpStream) {
    // A system that grants less would make large messages wait for their readers all the time.
    static IS_GRANTED: LazyLock<bool> = LazyLock::new(|| {
        let tried = Socket::new(Domain::IPV4, Type::STREAM, None).and_then(|socket| {
            socket.set_recv_buffer_size(UNREAD_BYTES)?;
            socket.recv_buffer_size()
        });
        tried.is_ok_and(|granted| granted >= 2 * UNREAD_BYTES)
    });
    if *IS_GRANTED {
        let _ = SockRef::from(stream).set_recv_buffer_size(UNREAD_BYTES);
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn limit_unread(_: &TcpStream) {}

/// The least that costs large messages nothing. Linux grants twice what it is asked for, because it counts its own
/// overhead (socket(7)).
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNREAD_BYTES: usize = 384 * 1024;

fn address(socket: SocketAddr) -> Address {
    Address::new(format!("tcp://{socket}"))
}

/// A host and a port, as a `tcp://` URL has them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Endpoint {
    /// A name or an IP address, IPv6 without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Endpoint {
    /// Reads what follows `tcp://`; an error completes the sentence "the address ...".
    pub(crate) fn parse(authority: &str) -> Result<Self, String> {
        if let Some(end) = authority.find(['/', '?', '#']) {
            let (endpoint, rest) = authority.split_at(end);
            return Err(format!("has {rest:?} after the port, expected tcp://{endpoint} and nothing more"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => split_ipv6(bracketed)?,
            None => split_name(authority)?,
        };
        Ok(Endpoint { host: host.to_owned(), port: parse_port(port)? })
    }
}

fn split_ipv6(bracketed: &str) -> Result<(&str, &str), String> {
    let (host, after) = bracketed.split_once(']').ok_or("has a \"[\" without its \"]\"")?;
    // What follows the percent sign is the network interface of a link-local address.
    let ip = host.split_once('%').map_or(host, |(ip, _interface)| ip);
    if ip.parse::<Ipv6Addr>().is_err() {
        return Err(format!("has {ip:?} in brackets, expected an IPv6 address such as [::1]"));
    }
    let port = after.strip_prefix(':').ok_or_else(|| no_port(&format!("[{host}]")))?;
    Ok((host, port))
}

fn split_name(authority: &str) -> Result<(&str, &str), String> {
    let (host, port) = authority.rsplit_once(':').ok_or_else(|| no_port(authority))?;
    if host.is_empty() {
        return Err(format!("has no host, expected one such as tcp://127.0.0.1:{port}"));
    }
    if host.contains(':') {
        return Err(format!("has an IPv6 address without brackets, expected tcp://[{host}]:{port}"));
    }
    if host.contains('@') {
        return Err("has a user name, expected tcp://host:port".to_owned());
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("has a blank in its host {host:?}"));
    }
    Ok((host, port))
}

fn no_port(host: &str) -> String {
    match host {
        "" => "has no host and no port, expected tcp://host:port".to_owned(),
        _ => format!("has no port, expected one such as tcp://{host}:9000"),
    }
}

fn parse_port(port: &str) -> Result<u16, String> {
    // Digits are asked for on their own because `u16::from_str` takes a sign too.
    Some(port)
        .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|port| port.parse().ok())
        .ok_or_else(|| format!("has the port {port:?}, expected a number from 0 to 65535"))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "tcp://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "tcp://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    async fn connected() -> (TcpTransport, TcpTransport) {
        let mut listener = TcpListener::bind("127.0.0.1", 0).await.unwrap();
        let connector = TcpConnector::new("127.0.0.1", listener.local.port());
        let client = connector.open().await.unwrap();
        (client, poll_fn(|cx| listener.poll_open(cx)).await.unwrap())
    }

    #[tokio::test]
    async fn nagle_is_off_on_both_sides() {
        let (client, server) = connected().await;
        assert!(client.stream.nodelay().unwrap());
        assert!(server.stream.nodelay().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_systems_queue_is_short_on_both_sides() {
        let (client, server) = connected().await;
        for stream in [&client.stream, &server.stream] {
            assert_eq!(SockRef::from(stream).tcp_notsent_lowat().unwrap(), UNSENT_BYTES);
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_waits_to_be_read_is_bounded_on_one_machine() {
        let (client, server) = connected().await;
        let most: usize =
            std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
        for stream in [&client.stream, &server.stream] {
            let granted = SockRef::from(stream).recv_buffer_size().unwrap();
            assert_eq!(granted == 2 * UNREAD_BYTES, most >= UNREAD_BYTES, "{granted} of {most}");
        }
    }

    #[test]
    fn both_ends_are_on_one_machine_if_their_addresses_say_so() {
        let near = |local: &str, peer: &str| is_near(local.parse().unwrap(), peer.parse().unwrap());
        assert!(near("127.0.0.1:1", "127.0.0.1:2"));
        assert!(near("127.0.0.1:1", "127.0.0.2:1"));
        assert!(near("[::1]:1", "[::1]:2"));
        assert!(near("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:2"));
        assert!(near("192.0.2.7:1", "192.0.2.7:2"));
        assert!(!near("192.0.2.7:1", "192.0.2.8:1"));
        assert!(!near("127.0.0.1:1", "192.0.2.8:1"));
        assert!(!near("[2001:db8::1]:1", "[2001:db8::2]:1"));
    }

    #[tokio::test]
    async fn each_side_knows_where_the_other_is() {
        let (client, server) = connected().await;
        assert_eq!(client.peer(), address(server.stream.local_addr().unwrap()));
        assert_eq!(server.peer(), address(client.stream.local_addr().unwrap()));
        assert_eq!(client.peer().port(), Some(server.stream.local_addr().unwrap().port()));
    }

    #[tokio::test]
    async fn the_sending_half_closes_its_direction_when_it_is_dropped() {
        let (client, server) = connected().await;
        let (_client_recv, client_send) = Box::new(client).split();
        let (mut server_recv, _server_send) = Box::new(server).split();
        drop(client_send);
        assert_eq!(server_recv.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_port_in_use_is_the_systems_error() {
        for host in ["127.0.0.1", "localhost"] {
            let listener = TcpListener::bind(host, 0).await.unwrap();
            let error = TcpListener::bind(host, listener.local.port()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[tokio::test]
    async fn a_socket_that_listens_already_is_taken_over() {
        let inherited = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = inherited.local_addr().unwrap().port();
        let mut listener = TcpListener::new(inherited).unwrap();
        assert_eq!(listener.local_addr().port(), Some(port));
        let connector = TcpConnector::new("localhost", port);
        let client = connector.open().await.unwrap();
        let server = poll_fn(|cx| listener.poll_open(cx)).await.unwrap();
        assert_eq!(client.stream.local_addr().unwrap(), server.peer);
    }

    /// A connection that was reset before it was accepted is passed over, and the next one is given.
    #[tokio::test]
    async fn a_connection_that_is_gone_already_stops_nobody() {
        let mut listener = TcpListener::bind("127.0.0.1", 0).await.unwrap();
        let gone = TcpStream::connect(listener.local).await.unwrap();
        gone.set_zero_linger().unwrap();
        drop(gone);
        let connector = TcpConnector::new("127.0.0.1", listener.local.port());
        let client = connector.open().await.unwrap().stream.local_addr().unwrap();
        // The system may still hand the first one out: then it is a connection that ends at its first read.
        while poll_fn(|cx| listener.poll_open(cx)).await.unwrap().peer != client {}
    }

    /// TCP really does connect a socket to itself; the connector must not take that for a server.
    #[tokio::test]
    async fn a_socket_connected_to_itself_is_nobody_who_listens() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        let stream = socket.connect(own).await.unwrap();
        assert!(is_connected_to_itself(&stream).unwrap());

        let (client, _server) = connected().await;
        assert!(!is_connected_to_itself(&client.stream).unwrap());
    }

    #[test]
    fn hosts_and_ports_are_read_as_they_are_written() {
        for (authority, host, port) in [
            ("127.0.0.1:9000", "127.0.0.1", 9000),
            ("localhost:0", "localhost", 0),
            ("calculator.example:65535", "calculator.example", 65535),
            ("[::1]:80", "::1", 80),
            ("[fe80::1%2]:80", "fe80::1%2", 80),
        ] {
            let endpoint = Endpoint::parse(authority).unwrap();
            assert_eq!(endpoint, Endpoint { host: host.to_owned(), port });
            assert_eq!(endpoint.to_string(), format!("tcp://{authority}"));
        }
    }

    #[test]
    fn a_mistake_is_answered_with_what_to_write() {
        for (authority, expected) in [
            ("", "has no host and no port, expected tcp://host:port"),
            ("host", "has no port, expected one such as tcp://host:9000"),
            ("[::1]", "has no port, expected one such as tcp://[::1]:9000"),
            ("[::1]9000", "has no port, expected one such as tcp://[::1]:9000"),
            (":9000", "has no host, expected one such as tcp://127.0.0.1:9000"),
            ("host:", "has the port \"\", expected a number from 0 to 65535"),
            ("host:http", "has the port \"http\", expected a number from 0 to 65535"),
            ("host:+80", "has the port \"+80\", expected a number from 0 to 65535"),
            ("host:65536", "has the port \"65536\", expected a number from 0 to 65535"),
            ("host:80/", "has \"/\" after the port, expected tcp://host:80 and nothing more"),
            ("host:80/calc", "has \"/calc\" after the port, expected tcp://host:80 and nothing more"),
            ("host:80?x=1", "has \"?x=1\" after the port, expected tcp://host:80 and nothing more"),
            ("::1:80", "has an IPv6 address without brackets, expected tcp://[::1]:80"),
            ("[::1:80", "has a \"[\" without its \"]\""),
            ("[host]:80", "has \"host\" in brackets, expected an IPv6 address such as [::1]"),
            ("me@host:80", "has a user name, expected tcp://host:port"),
            ("my host:80", "has a blank in its host \"my host\""),
        ] {
            assert_eq!(Endpoint::parse(authority).unwrap_err(), expected, "for {authority:?}");
        }
    }
}
