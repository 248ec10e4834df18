//! A transport that fails when it is told to.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use rpc::{Address, ConnectFuture, Connector, Listener, RecvHalf, SendHalf, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// One thing that a transport is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    Write,
    Flush,
    Shutdown,
}

/// How a transport misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The operation of this number (from 0), and all that follow, fail.
    Fail(Operation, usize),
    /// Writes take one byte, and each second time are not ready at first. Reads give one byte.
    Slow,
    /// The write of this number, and all that follow, take nothing.
    WriteZero(usize),
    /// The write of this number, and all that follow, are never ready.
    WriteStuck(usize),
}

/// What a test knows and decides of the connections made through a [`Faulty`] end.
#[derive(Debug)]
pub(crate) struct Faults {
    fault: Option<Fault>,
    counts: Mutex<[usize; 4]>,
    /// Connections that were opened, ever.
    opened: AtomicUsize,
    /// Halves of connections that are there now.
    halves: watch::Sender<usize>,
}

impl Faults {
    pub(crate) fn new(fault: Option<Fault>) -> Arc<Self> {
        Arc::new(Faults {
            fault,
            counts: Mutex::default(),
            opened: AtomicUsize::new(0),
            halves: watch::Sender::new(0),
        })
    }

    /// How many connections were opened.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// How many halves of connections have not been dropped.
    pub(crate) fn halves(&self) -> usize {
        *self.halves.borrow()
    }

    /// Waits until every connection has been dropped.
    pub(crate) async fn all_closed(&self) {
        let mut halves = self.halves.subscribe();
        // The sender is in `self`, so this ends only with what is waited for.
        let _ = halves.wait_for(|halves| *halves == 0).await;
    }

    /// How often something was asked of a transport.
    pub(crate) fn count(&self, operation: Operation) -> usize {
        self.lock()[operation as usize]
    }

    /// Counts an operation, and says whether it fails.
    fn begin(&self, operation: Operation) -> io::Result<usize> {
        let mut counts = self.lock();
        let number = counts[operation as usize];
        counts[operation as usize] += 1;
        match self.fault {
            Some(Fault::Fail(failing, from)) if failing == operation && number >= from => {
                Err(io::Error::new(io::ErrorKind::ConnectionReset, format!("{operation:?} {number} fails")))
            }
            _ => Ok(number),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [usize; 4]> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connector or a listener whose connections misbehave.
pub(crate) struct Faulty<T>(pub(crate) T, pub(crate) Arc<Faults>);

impl<T: Connector> Connector for Faulty<T> {
    fn address(&self) -> Address {
        self.0.address()
    }

    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async { Ok(wrap(self.0.connect().await?, &self.1)) })
    }
}

impl<T: Listener> Listener for Faulty<T> {
    fn local_addr(&self) -> Address {
        self.0.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        self.0.poll_accept(cx).map_ok(|transport| wrap(transport, &self.1))
    }
}

fn wrap(inner: Box<dyn Transport>, faults: &Arc<Faults>) -> Box<dyn Transport> {
    faults.opened.fetch_add(1, Ordering::SeqCst);
    Box::new(FaultyTransport { inner, faults: faults.clone() })
}

struct FaultyTransport {
    inner: Box<dyn Transport>,
    faults: Arc<Faults>,
}

impl Transport for FaultyTransport {
    fn peer(&self) -> Address {
        self.inner.peer()
    }

    fn split(self: Box<Self>) -> (RecvHalf, SendHalf) {
        let (recv, send) = self.inner.split();
        (
            Box::new(Half { inner: recv, counted: Counted::new(&self.faults), waited: false }),
            Box::new(Half { inner: send, counted: Counted::new(&self.faults), waited: false }),
        )
    }
}

struct Half<T> {
    inner: T,
    counted: Counted,
    /// A slow one has not been ready once.
    waited: bool,
}

/// Keeps count of the halves that are there.
struct Counted(Arc<Faults>);

impl Counted {
    fn new(faults: &Arc<Faults>) -> Self {
        faults.halves.send_modify(|halves| *halves += 1);
        Counted(faults.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.halves.send_modify(|halves| *halves -= 1);
    }
}

impl AsyncRead for Half<RecvHalf> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Err(error) = self.counted.0.begin(Operation::Read) {
            return Poll::Ready(Err(error));
        }
        if self.counted.0.fault != Some(Fault::Slow) {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let mut one = [0];
        let mut byte = ReadBuf::new(&mut one);
        let polled = Pin::new(&mut self.inner).poll_read(cx, &mut byte);
        buffer.put_slice(byte.filled());
        polled
    }
}

impl AsyncWrite for Half<SendHalf> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let number = match self.counted.0.begin(Operation::Write) {
            Ok(number) => number,
            Err(error) => return Poll::Ready(Err(error)),
        };
        match self.counted.0.fault {
            Some(Fault::WriteZero(from)) if number >= from => Poll::Ready(Ok(0)),
            Some(Fault::WriteStuck(from)) if number >= from => Poll::Pending,
            Some(Fault::Slow) => {
                self.waited = !self.waited;
                if self.waited {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Pin::new(&mut self.inner).poll_write(cx, &bytes[..bytes.len().min(1)])
            }
            _ => Pin::new(&mut self.inner).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.counted.0.begin(Operation::Flush) {
            Ok(_) => Pin::new(&mut self.inner).poll_flush(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.counted.0.begin(Operation::Shutdown) {
            Ok(_) => Pin::new(&mut self.inner).poll_shutdown(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// A connector that remembers when it was asked, in the test's time, and can be told to refuse.
pub(crate) struct Refusing<T> {
    pub(crate) inner: T,
    pub(crate) asked: tokio::sync::mpsc::UnboundedSender<tokio::time::Instant>,
    pub(crate) refuse: watch::Receiver<bool>,
}

impl<T: Connector> Connector for Refusing<T> {
    fn address(&self) -> Address {
        self.inner.address()
    }

    fn connect(&self) -> ConnectFuture<'_> {
        // A test that has seen enough does not listen any more.
        let _ = self.asked.send(tokio::time::Instant::now());
        if *self.refuse.borrow() {
            return Box::pin(std::future::ready(Err(io::ErrorKind::ConnectionRefused.into())));
        }
        self.inner.connect()
    }
}
