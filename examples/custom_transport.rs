//! A transport of one's own: the server is a child process, and calls travel over its standard input and output.
//!
//! ```console
//! $ cargo run --example custom_transport
//! ```
//!
//! The transport is the module `child`, and it is written with `rpc_core` alone. Everything else here is as with
//! any other transport: frames, deadlines, cancellation and reconnecting come from above it. So when the worker
//! dies, the client starts another one without being asked.

use std::error::Error;

use rpc::{Server, service};

/// Work that is better done in a process of its own, because it might take that process down.
#[service]
pub trait Worker {
    /// The worker's process id.
    async fn process(&self) -> u32;
    /// How many words a text has.
    async fn words(&self, text: &str) -> usize;
    /// Takes the whole process down.
    async fn crash(&self);
}

struct Words;

impl Worker for Words {
    async fn process(&self) -> u32 {
        std::process::id()
    }

    async fn words(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    async fn crash(&self) {
        std::process::abort();
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("worker") => work().await,
        _ => ask().await,
    }
}

/// The child: serves its parent, and ends when the parent closes the pipe.
async fn work() -> Result<(), Box<dyn Error>> {
    let (parent, parent_is_gone) = child::Parent::new();
    let bound = Server::new().add(WorkerServer::new(Words)).bind(parent).await?;
    let shutdown = bound.shutdown_handle();
    tokio::spawn(async move {
        // The channel carries nothing: that it closes is the message.
        let _ = parent_is_gone.await;
        shutdown.shutdown().await;
    });
    // Standard output belongs to the calls: a worker that has something to tell people does so on standard error.
    Ok(bound.serve().await?)
}

/// The parent: calls the child, whichever that is at the time.
async fn ask() -> Result<(), Box<dyn Error>> {
    let worker = WorkerClient::connect(child::Program::this_one("worker")?).await?;
    let first = worker.process().await?;
    println!("I am process {}, and I started worker {first}.", std::process::id());
    println!("It counted {} words for me.", worker.words("calls over pipes").await?);

    println!("Now I make it crash.");
    match worker.crash().await {
        Ok(()) => println!("It survived?"),
        Err(error) => println!("The call failed: {error} (did it run? {:?})", error.executed()),
    }

    // Without `wait_for_ready` a call fails at once while there is no connection.
    let second = worker.process().wait_for_ready().await?;
    println!("The transport was asked for another connection and started worker {second}.");
    println!("It counted {} words for me.", worker.words("and life goes on").await?);
    Ok(())
}

/// The transport: nothing here knows what a call is.
mod child {
    use std::io;
    use std::path::PathBuf;
    use std::pin::Pin;
    use std::process::Stdio;
    use std::task::{Context, Poll};

    use rpc_core::{Address, ConnectFuture, Connector, Listener, RecvHalf, SendHalf, Transport};
    use tokio::io::{AsyncRead, ReadBuf, Stdin};
    use tokio::process::Command;
    use tokio::sync::oneshot;

    /// The client's end. To connect is to start the program; to connect again is to start it again.
    pub(super) struct Program {
        path: PathBuf,
        argument: &'static str,
    }

    impl Program {
        /// The running program, started again with an argument that tells it to be the server.
        pub(super) fn this_one(argument: &'static str) -> io::Result<Self> {
            Ok(Program { path: std::env::current_exe()?, argument })
        }
    }

    impl Connector for Program {
        fn address(&self) -> Address {
            Address::new(format!("child:{}", self.path.display()))
        }

        fn connect(&self) -> ConnectFuture<'_> {
            Box::pin(async {
                let mut child = Command::new(&self.path)
                    .arg(self.argument)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()?;
                let pipes = child.stdout.take().zip(child.stdin.take());
                let (recv, send) = pipes.ok_or_else(|| io::Error::other("the child has no pipes"))?;
                // The child itself need not be kept: it ends by itself when its input does.
                let peer = Address::new(format!("child:{}", child.id().unwrap_or_default()));
                Ok(Box::new(Pipes { peer, recv: Box::new(recv), send: Box::new(send) }) as Box<dyn Transport>)
            })
        }
    }

    /// The server's end: one connection, which is there from the beginning.
    pub(super) struct Parent(Option<Pipes>);

    impl Parent {
        /// The process's standard input and output, and a receiver that fails when that connection has ended.
        pub(super) fn new() -> (Self, oneshot::Receiver<()>) {
            let (ended, parent_is_gone) = oneshot::channel();
            let recv = Input { stdin: tokio::io::stdin(), _ended: ended };
            let pipes = Pipes {
                peer: Address::new("parent:"),
                recv: Box::new(recv),
                send: Box::new(tokio::io::stdout()),
            };
            (Parent(Some(pipes)), parent_is_gone)
        }
    }

    impl Listener for Parent {
        fn local_addr(&self) -> Address {
            Address::new("child:")
        }

        fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
            // There is no second connection to wait for, hence nobody to wake.
            self.0.take().map_or(Poll::Pending, |pipes| Poll::Ready(Ok(Box::new(pipes))))
        }
    }

    /// One connection: a pipe each way.
    struct Pipes {
        peer: Address,
        recv: RecvHalf,
        send: SendHalf,
    }

    impl Transport for Pipes {
        fn peer(&self) -> Address {
            self.peer.clone()
        }

        fn split(self: Box<Self>) -> (RecvHalf, SendHalf) {
            (self.recv, self.send)
        }
    }

    /// Standard input, which tells when the connection is done with it: the sender is dropped with it.
    struct Input {
        stdin: Stdin,
        _ended: oneshot::Sender<()>,
    }

    impl AsyncRead for Input {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stdin).poll_read(cx, buf)
        }
    }
}
