//! Addresses as URLs: which transport a URL names, and in what words it is refused.
//!
//! This module knows the schemes. What follows the scheme is read by the transport it names.

use std::fmt;
use std::io;
use std::sync::Arc;

use rpc_core::{Address, Code, Connect, Connector, Error, Executed, Listen, Listener};
use tokio::runtime::Handle;

use crate::memory::{MemoryConnector, MemoryListener};
use crate::tcp::{Endpoint, TcpConnector, TcpListener};
#[cfg(unix)]
use crate::unix::{SocketPath, UnixConnector, UnixListener};

/// The `Via` of addresses that are written as URLs: text and [`Address`], borrowed or owned.
///
/// It is never named by a user; it stands here because it is what lets the trait of one crate be implemented for
/// text in another.
///
/// | URL | meaning |
/// |---|---|
/// | `tcp://host:port` | TCP; a host name, an IPv4 address, or an IPv6 address in brackets; port 0 listens on a free one |
/// | `unix:/path`, `unix:relative/path`, `unix:///path` | a Unix socket and its file; the path is taken as it stands, without `%` escapes |
/// | `unix:@name` | a Unix socket without a file (Linux) |
/// | `mem://name` | within this process |
///
/// # Example
/// ```
/// use rpc_core::{Code, Connect, Connector};
/// use rpc_transport::Url;
///
/// // `Via` is inferred; it is written out here only to call the trait by hand.
/// let connector = Connect::<Url>::into_connector("tcp://localhost:9000").unwrap();
/// assert_eq!(connector.address().as_str(), "tcp://localhost:9000");
///
/// let Err(error) = Connect::<Url>::into_connector("localhost:9000") else { panic!() };
/// assert_eq!(error.code(), Code::InvalidArgument);
/// assert_eq!(
///     error.message(),
///     r#"the address "localhost:9000" has no scheme, did you mean "tcp://localhost:9000"?"#
/// );
/// ```
#[derive(Debug)]
pub struct Url;

macro_rules! written_as_url {
    ($($text:ty),*) => {$(
        impl Connect<Url> for $text {
            fn into_connector(self) -> Result<Arc<dyn Connector>, Error> {
                connector(&self.to_string())
            }
        }

        impl Listen<Url> for $text {
            async fn into_listener(self) -> Result<Box<dyn Listener>, Error> {
                listener(&self.to_string()).await
            }
        }
    )*};
}

written_as_url!(&str, String, &String, Address, &Address);

fn connector(url: &str) -> Result<Arc<dyn Connector>, Error> {
    Ok(match Place::parse(url)? {
        Place::Tcp(endpoint) if endpoint.port == 0 => {
            return Err(invalid(url, "has the port 0, which only a listener can ask for"));
        }
        Place::Tcp(endpoint) => Arc::new(TcpConnector::from(endpoint)),
        #[cfg(unix)]
        Place::Unix(path) => Arc::new(UnixConnector::from(path)),
        Place::Memory(name) => Arc::new(MemoryConnector::new(name)),
    })
}

async fn listener(url: &str) -> Result<Box<dyn Listener>, Error> {
    let place = Place::parse(url)?;
    // Without a runtime tokio's sockets panic; whoever calls from outside one is to read what to do instead.
    Handle::try_current().map_err(|error| {
        let message =
            "listening needs a tokio runtime: call it from an async task, or within `Runtime::block_on`";
        Error::new(Code::FailedPrecondition, message).with_executed(Executed::No).with_source(error)
    })?;
    let refused = |error| refused(url, error);
    Ok(match place {
        Place::Tcp(Endpoint { host, port }) => {
            Box::new(TcpListener::bind(&host, port).await.map_err(refused)?)
        }
        #[cfg(unix)]
        Place::Unix(path) => Box::new(UnixListener::bind_to(path).await.map_err(refused)?),
        Place::Memory(name) => Box::new(MemoryListener::bind(name).map_err(refused)?),
    })
}

/// Where a URL leads, read but not opened.
enum Place {
    Tcp(Endpoint),
    #[cfg(unix)]
    Unix(SocketPath),
    Memory(String),
}

impl Place {
    fn parse(url: &str) -> Result<Place, Error> {
        let (scheme, rest) = split(url).map_err(|reason| invalid(url, reason))?;
        match scheme {
            Scheme::Tcp => Endpoint::parse(rest).map(Place::Tcp),
            #[cfg(unix)]
            Scheme::Unix => SocketPath::parse(rest).map(Place::Unix),
            #[cfg(not(unix))]
            Scheme::Unix => Err("names a Unix socket, which this system does not have".to_owned()),
            Scheme::Memory if rest.is_empty() => Err("has no name, expected mem://name".to_owned()),
            Scheme::Memory => Ok(Place::Memory(rest.to_owned())),
        }
        .map_err(|reason| invalid(url, reason))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scheme {
    Tcp,
    Unix,
    Memory,
}

/// Each scheme with its name and the form of its URLs.
const SCHEMES: [(Scheme, &str, &str); 3] = [
    (Scheme::Tcp, "tcp", "tcp://host:port"),
    (Scheme::Unix, "unix", "unix:/path"),
    (Scheme::Memory, "mem", "mem://name"),
];

/// The scheme, and what the transport of that scheme is to read; an error completes the sentence "the address ...".
fn split(url: &str) -> Result<(Scheme, &str), String> {
    if url.trim().is_empty() {
        return Err(format!("is empty, expected {}", known_forms()));
    }
    let Some((name, after)) = url.split_once(':') else { return Err(without_scheme(url)) };
    // Schemes are compared without case (RFC 3986, 3.1).
    let scheme = SCHEMES.iter().find(|(_, known, _)| name.eq_ignore_ascii_case(known));
    match (scheme, after.strip_prefix("//")) {
        (Some((Scheme::Unix, ..)), _) => Ok((Scheme::Unix, after)),
        (Some((scheme, ..)), Some(rest)) => Ok((*scheme, rest)),
        (Some((_, known, _)), None) => Err(format!(
            "has no // after its scheme, did you mean \"{known}://{}\"?",
            after.trim_start_matches('/')
        )),
        (None, Some(_)) => Err(format!("has the unknown scheme {name:?}, expected {}", known_forms())),
        (None, None) => Err(without_scheme(url)),
    }
}

fn without_scheme(url: &str) -> String {
    if url.starts_with(['/', '.', '@']) {
        format!("has no scheme, did you mean \"unix:{url}\"?")
    } else if Endpoint::parse(url).is_ok() {
        format!("has no scheme, did you mean \"tcp://{url}\"?")
    } else {
        format!("has no scheme, expected {}", known_forms())
    }
}

/// The forms of all URLs that are understood.
fn known_forms() -> String {
    format!("one of {}", SCHEMES.map(|(_, _, form)| form).join(", "))
}

/// The error for an address that nobody can use; the reason completes the sentence.
fn invalid(url: &str, reason: impl fmt::Display) -> Error {
    Error::new(Code::InvalidArgument, format!("the address {url:?} {reason}")).with_executed(Executed::No)
}

/// The error for an address that the system does not let us listen on; why stands in its source.
fn refused(url: &str, error: io::Error) -> Error {
    Error::new(Code::Unavailable, format!("cannot listen on {url}"))
        .with_executed(Executed::No)
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn refusal(url: &str) -> String {
        let error = connector(url).err().unwrap_or_else(|| panic!("{url:?} was understood"));
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(error.executed(), Executed::No);
        error.message().to_owned()
    }

    #[test]
    fn each_scheme_finds_its_transport() {
        for (url, address) in [
            ("tcp://127.0.0.1:9000", "tcp://127.0.0.1:9000"),
            ("TCP://[::1]:9000", "tcp://[::1]:9000"),
            #[cfg(unix)]
            ("unix:///run/calc.sock", "unix:/run/calc.sock"),
            #[cfg(unix)]
            ("unix:calc.sock", "unix:calc.sock"),
            ("mem://calc", "mem://calc"),
        ] {
            assert_eq!(connector(url).unwrap().address().as_str(), address);
        }
    }

    #[test]
    fn a_mistake_is_answered_with_what_to_write() {
        for (url, expected) in [
            ("", "is empty, expected one of tcp://host:port, unix:/path, mem://name"),
            (" ", "is empty, expected one of tcp://host:port, unix:/path, mem://name"),
            ("127.0.0.1:9000", "has no scheme, did you mean \"tcp://127.0.0.1:9000\"?"),
            ("localhost:9000", "has no scheme, did you mean \"tcp://localhost:9000\"?"),
            ("[::1]:9000", "has no scheme, did you mean \"tcp://[::1]:9000\"?"),
            ("/run/calc.sock", "has no scheme, did you mean \"unix:/run/calc.sock\"?"),
            ("./calc.sock", "has no scheme, did you mean \"unix:./calc.sock\"?"),
            ("@calc", "has no scheme, did you mean \"unix:@calc\"?"),
            ("calc", "has no scheme, expected one of tcp://host:port, unix:/path, mem://name"),
            ("localhost:http", "has no scheme, expected one of tcp://host:port, unix:/path, mem://name"),
            (
                "http://localhost:9000",
                "has the unknown scheme \"http\", expected one of tcp://host:port, unix:/path, mem://name",
            ),
            ("tcp:localhost:9000", "has no // after its scheme, did you mean \"tcp://localhost:9000\"?"),
            ("mem:/calc", "has no // after its scheme, did you mean \"mem://calc\"?"),
            ("tcp://localhost", "has no port, expected one such as tcp://localhost:9000"),
            ("tcp://localhost:0", "has the port 0, which only a listener can ask for"),
            ("tcp://localhost:99999", "has the port \"99999\", expected a number from 0 to 65535"),
            (
                "tcp://localhost:9000/calc",
                "has \"/calc\" after the port, expected tcp://localhost:9000 and nothing more",
            ),
            ("mem://", "has no name, expected mem://name"),
            #[cfg(unix)]
            ("unix:", "has no path, expected unix:/path"),
            #[cfg(not(unix))]
            ("unix:/calc", "names a Unix socket, which this system does not have"),
        ] {
            assert_eq!(refusal(url), format!("the address {url:?} {expected}"));
        }
    }

    #[tokio::test]
    async fn a_bad_address_to_listen_on_is_the_callers_mistake() {
        let error = listener("localhost:9000").await.err().unwrap();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(error.executed(), Executed::No);
    }

    #[tokio::test]
    async fn what_the_system_refuses_is_unavailable_and_says_why() {
        let first = listener("tcp://127.0.0.1:0").await.unwrap();
        let url = first.local_addr();
        let error = listener(url.as_str()).await.err().unwrap();
        assert_eq!(error.code(), Code::Unavailable);
        assert_eq!(error.executed(), Executed::No);
        assert_eq!(error.message(), format!("cannot listen on {url}"));
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).unwrap();
        assert_eq!(cause.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn listening_outside_a_runtime_says_what_to_do() {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut listening = Box::pin(listener("tcp://127.0.0.1:0"));
        let std::task::Poll::Ready(Err(error)) = listening.as_mut().poll(&mut cx) else {
            panic!("it needs no runtime")
        };
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert!(error.message().contains("Runtime::block_on"), "{error}");
    }
}
