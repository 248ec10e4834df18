//! How frames travel: TCP, Unix sockets, memory, and anything else that reads and writes bytes.
//!
//! Each transport is in its own file and implements the traits of `rpc-core`; a URL finds the one it names:
//!
//! | URL | connector | listener |
//! |---|---|---|
//! | `tcp://host:port` | [`TcpConnector`] | [`TcpListener`] |
//! | `unix:/path`, `unix:@name` | `UnixConnector` | `UnixListener` |
//! | `mem://name` | [`MemoryConnector`] | [`MemoryListener`] |
//! | none: a stream that is already open | [`Once`] over an [`IoTransport`] | the same |
//!
//! This crate knows nothing of frames, calls or time: it opens connections and hands over their two halves.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod io;
mod memory;
mod tcp;
#[cfg(unix)]
mod unix;
mod url;

pub use io::{IoTransport, Once};
pub use memory::{MemoryConnector, MemoryListener};
pub use tcp::{TcpConnector, TcpListener};
#[cfg(unix)]
pub use unix::{UnixConnector, UnixListener};
pub use url::Url;
