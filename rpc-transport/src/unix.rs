//! Unix sockets: `unix:/path`, `unix:relative/path`, and on Linux `unix:@name` without a file.
//!
//! This module owns the socket's file from bind to drop. Who may connect is decided by the permissions of that
//! file (the process's umask when it listens) and of its directory, not here.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use rpc_core::{Address, ConnectFuture, Connector, Listener, RecvHalf, SendHalf, Transport};
use tokio::net::UnixStream;

/// Connects to a Unix socket; `unix:/path` as a URL.
#[derive(Clone, Debug)]
pub struct UnixConnector {
    path: SocketPath,
}

impl UnixConnector {
    /// Connects to the socket at a path, relative to the working directory at each attempt if it is relative.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the path is empty, has a NUL byte or is too long: on Linux it may have
    /// 107 bytes, elsewhere about as many.
    pub fn new(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(SocketPath::file(path.as_ref())?.into())
    }
}

impl From<SocketPath> for UnixConnector {
    fn from(path: SocketPath) -> Self {
        UnixConnector { path }
    }
}

impl Connector for UnixConnector {
    fn address(&self) -> Address {
        self.path.address()
    }

    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async {
            let stream = UnixStream::connect(&self.path.0).await?;
            Ok(Box::new(UnixTransport { peer: self.address(), stream }) as Box<dyn Transport>)
        })
    }
}

/// Listens on a Unix socket; `unix:/path` as a URL.
///
/// Dropping it removes the socket's file. A process that is killed leaves its file behind; the next listener on
/// that path replaces it.
#[derive(Debug)]
pub struct UnixListener {
    // Before the listener, so that nobody finds a file behind which there is no socket any more.
    _file: Option<SocketFile>,
    listener: tokio::net::UnixListener,
    address: Address,
}

impl UnixListener {
    /// Creates the socket's file and listens on it. As many connections wait to be accepted as the system allows.
    ///
    /// A socket file that is there already is tried: if nobody answers it is replaced. Two processes that find
    /// the same stale file at the same instant may both replace it; the later one then has the path.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] if somebody listens there, [`io::ErrorKind::AlreadyExists`] if the file is
    /// something else than a socket, [`io::ErrorKind::InvalidInput`] as for [`UnixConnector::new`], and what the
    /// system says.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::bind_to(SocketPath::file(path.as_ref())?).await
    }

    pub(crate) async fn bind_to(path: SocketPath) -> io::Result<Self> {
        let listener = match tokio::net::UnixListener::bind(&path.0) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && !path.is_abstract() => {
                remove_stale(&path.0).await?;
                tokio::net::UnixListener::bind(&path.0)?
            }
            bound => bound?,
        };
        let file = if path.is_abstract() { None } else { Some(SocketFile::at(&path.0)?) };
        Ok(UnixListener { _file: file, listener, address: path.address() })
    }
}

impl Listener for UnixListener {
    fn local_addr(&self) -> Address {
        self.address.clone()
    }

    /// The client's socket has no name of its own as a rule, so the peer of each connection is the path by which
    /// it came.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        let (stream, _unnamed) = ready!(self.listener.poll_accept(cx))?;
        Poll::Ready(Ok(Box::new(UnixTransport { peer: self.address.clone(), stream })))
    }
}

/// Removes a socket's file behind which nobody listens.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let Some(found) = find(path)? else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{path:?} exists and is not a socket"),
        ));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        // Whether it answers or has no time to (its queue is full, say): somebody is there.
        Ok(_) | Err(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("another listener has the socket {path:?}"),
            ));
        }
    }
    remove_if(path, identity(&found))
}

/// Removes a file unless another has taken its place.
fn remove_if(path: &Path, expected: (u64, u64)) -> io::Result<()> {
    match find(path)? {
        Some(file) if identity(&file) == expected => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// The file of a socket, removed when this is dropped.
#[derive(Debug)]
struct SocketFile {
    /// Absolute, because the working directory may have changed by then.
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(SocketFile { path: std::path::absolute(path)?, identity: identity(&fs::symlink_metadata(path)?) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A file that is gone already or cannot be removed is stale, which the next listener knows how to treat.
        let _ = remove_if(&self.path, self.identity);
    }
}

/// What is at a path, without following a link; `None` if nothing is.
fn find(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Device and inode: what a file is, whatever its name.
fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[derive(Debug)]
struct UnixTransport {
    peer: Address,
    stream: UnixStream,
}

impl Transport for UnixTransport {
    fn peer(&self) -> Address {
        self.peer.clone()
    }

    fn split(self: Box<Self>) -> (RecvHalf, SendHalf) {
        let (recv, send) = self.stream.into_split();
        (Box::new(recv), Box::new(send))
    }
}

/// Where a socket is: a path that the system accepts, or an abstract name, which begins with a NUL byte as it
/// does for the system.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SocketPath(PathBuf);

impl SocketPath {
    /// Reads what follows `unix:`; an error completes the sentence "the address ...".
    pub(crate) fn parse(rest: &str) -> Result<Self, String> {
        if let Some(name) = rest.strip_prefix('@') {
            return Self::abstract_name(name);
        }
        let path = match rest.strip_prefix("//") {
            None => rest,
            Some(absolute) if absolute.is_empty() || absolute.starts_with('/') => absolute,
            Some(path) => {
                return Err(format!(
                    "has {path:?} where a URL has a host, expected unix:/{path}, or unix:{path} for a path \
                     relative to the working directory"
                ));
            }
        };
        if path.is_empty() {
            return Err("has no path, expected unix:/path".to_owned());
        }
        Self::file(Path::new(path)).map_err(|error| format!("has a path that no socket can have: {error}"))
    }

    fn file(path: &Path) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is empty"));
        }
        SocketAddr::from_pathname(path)?;
        Ok(SocketPath(path.to_owned()))
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn abstract_name(name: &str) -> Result<Self, String> {
        #[cfg(target_os = "android")]
        use std::os::android::net::SocketAddrExt;
        #[cfg(target_os = "linux")]
        use std::os::linux::net::SocketAddrExt;

        if name.is_empty() {
            return Err("has no name after the \"@\"".to_owned());
        }
        SocketAddr::from_abstract_name(name)
            .map_err(|error| format!("has a name that is too long: {error}"))?;
        Ok(SocketPath(PathBuf::from(format!("\0{name}"))))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn abstract_name(name: &str) -> Result<Self, String> {
        Err(format!("has a name without a file, which only Linux knows; for a file write unix:./@{name}"))
    }

    fn is_abstract(&self) -> bool {
        self.0.as_os_str().as_bytes().starts_with(b"\0")
    }

    fn address(&self) -> Address {
        let path = self.0.to_string_lossy();
        match path.strip_prefix('\0') {
            Some(name) => Address::new(format!("unix:@{name}")),
            None if path.starts_with('@') => Address::new(format!("unix:./{path}")),
            None => Address::new(format!("unix:{path}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::os::unix::net::UnixListener as StdListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A directory of the test's own, removed with all that is in it.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let name = format!("rpc-unix-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Directory(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("socket")
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// One byte from a client to what the listener gives: this listener is the one that is reached.
    async fn assert_reached(listener: &mut UnixListener, path: &SocketPath) {
        let connector = UnixConnector::from(path.clone());
        let (_client_recv, mut send) = connector.connect().await.unwrap().split();
        let (mut recv, _server_send) = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().split();
        send.write_all(&[42]).await.unwrap();
        assert_eq!(recv.read_u8().await.unwrap(), 42);
    }

    #[tokio::test]
    async fn a_file_that_a_dead_process_left_is_replaced() {
        let directory = Directory::new();
        let path = SocketPath(directory.socket());
        drop(StdListener::bind(&path.0).unwrap());
        assert!(path.0.exists(), "the standard library leaves the file, as a killed process does");

        let mut listener = UnixListener::bind(&path.0).await.unwrap();
        assert_reached(&mut listener, &path).await;
    }

    #[tokio::test]
    async fn a_live_socket_is_left_alone() {
        let directory = Directory::new();
        let path = SocketPath(directory.socket());
        let mut first = UnixListener::bind(&path.0).await.unwrap();
        let error = UnixListener::bind(&path.0).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("another listener has the socket"), "{error}");

        // The attempt knocked at the door to find out; that visitor comes before the real one.
        poll_fn(|cx| first.poll_accept(cx)).await.unwrap();
        assert_reached(&mut first, &path).await;
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = Directory::new();
        fs::write(directory.socket(), "letters").unwrap();
        let error = UnixListener::bind(directory.socket()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("is not a socket"), "{error}");
        assert_eq!(fs::read(directory.socket()).unwrap(), b"letters");
    }

    #[tokio::test]
    async fn a_link_to_a_socket_is_left_alone() {
        let directory = Directory::new();
        drop(StdListener::bind(directory.socket()).unwrap());
        let link = directory.0.join("link");
        std::os::unix::fs::symlink(directory.socket(), &link).unwrap();
        let error = UnixListener::bind(&link).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(directory.socket().exists());
    }

    #[tokio::test]
    async fn the_file_goes_with_its_listener() {
        let directory = Directory::new();
        let listener = UnixListener::bind(directory.socket()).await.unwrap();
        assert!(directory.socket().exists());
        drop(listener);
        assert!(!directory.socket().exists());
    }

    #[tokio::test]
    async fn the_file_of_a_successor_stays() {
        let directory = Directory::new();
        let path = SocketPath(directory.socket());
        let first = UnixListener::bind(&path.0).await.unwrap();
        fs::rename(&path.0, directory.0.join("moved")).unwrap();
        let mut second = UnixListener::bind(&path.0).await.unwrap();
        drop(first);
        assert_reached(&mut second, &path).await;
    }

    #[tokio::test]
    async fn nobody_there_is_the_systems_error() {
        let directory = Directory::new();
        let connector = UnixConnector::new(directory.socket()).unwrap();
        assert_eq!(connector.connect().await.err().unwrap().kind(), io::ErrorKind::NotFound);
        drop(StdListener::bind(directory.socket()).unwrap());
        assert_eq!(connector.connect().await.err().unwrap().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn both_sides_know_the_path_between_them() {
        let directory = Directory::new();
        let mut listener = UnixListener::bind(directory.socket()).await.unwrap();
        let connector = UnixConnector::new(directory.socket()).unwrap();
        let client = connector.connect().await.unwrap();
        let server = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
        let expected = Address::new(format!("unix:{}", directory.socket().display()));
        assert_eq!(listener.local_addr(), expected);
        assert_eq!(connector.address(), expected);
        assert_eq!(client.peer(), expected);
        assert_eq!(server.peer(), expected);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_abstract_name_needs_no_file() {
        let url = format!("@rpc-unix-{}", std::process::id());
        let path = SocketPath::parse(&url).unwrap();
        let mut listener = UnixListener::bind_to(path.clone()).await.unwrap();
        assert_eq!(listener.local_addr().as_str(), format!("unix:{url}"));
        assert_reached(&mut listener, &path).await;
        assert!(!Path::new(&url).exists());

        let error = UnixListener::bind_to(path.clone()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        UnixListener::bind_to(path).await.unwrap();
    }

    #[test]
    fn paths_are_read_as_they_are_written() {
        for (rest, path, address) in [
            ("/run/calc.sock", "/run/calc.sock", "unix:/run/calc.sock"),
            ("///run/calc.sock", "/run/calc.sock", "unix:/run/calc.sock"),
            ("calc.sock", "calc.sock", "unix:calc.sock"),
            ("./@calc", "./@calc", "unix:./@calc"),
            ("/a b%20c", "/a b%20c", "unix:/a b%20c"),
        ] {
            let parsed = SocketPath::parse(rest).unwrap();
            assert_eq!(parsed.0, Path::new(path), "for {rest:?}");
            assert_eq!(parsed.address().as_str(), address);
        }
        assert_eq!(UnixConnector::new("@calc").unwrap().address().as_str(), "unix:./@calc");
    }

    #[test]
    fn a_mistake_is_answered_with_what_to_write() {
        for (rest, expected) in [
            ("", "has no path, expected unix:/path"),
            ("//", "has no path, expected unix:/path"),
            (
                "//tmp/calc.sock",
                "has \"tmp/calc.sock\" where a URL has a host, expected unix:/tmp/calc.sock, or \
                 unix:tmp/calc.sock for a path relative to the working directory",
            ),
        ] {
            assert_eq!(SocketPath::parse(rest).unwrap_err(), expected, "for {rest:?}");
        }
        for rest in ["/a\0b", "\0a", &format!("/{}", "x".repeat(200))] {
            let error = SocketPath::parse(rest).unwrap_err();
            assert!(error.starts_with("has a path that no socket can have: "), "{error}");
        }
        assert_eq!(UnixConnector::new("").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(SocketPath::parse("@").is_err());
        assert!(SocketPath::parse(&format!("@{}", "x".repeat(200))).is_err());
    }
}
