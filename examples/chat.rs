//! Calls back: a server calls its clients over the connections that they opened. Each is a process of its own, and
//! one of them is killed.
//!
//! ```text
//! cargo run --example chat                                    # all of it: starts itself as a server and three clients
//! cargo run --example chat serve tcp://127.0.0.1:9000         # only the server
//! cargo run --example chat join tcp://127.0.0.1:9000 ann      # a client, which says what you type
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rpc::{Code, Context, service};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What the server serves.
#[service]
pub trait Chat {
    /// The caller is in the room for as long as this call lasts, and its [`Observer`] is told what happens there.
    #[rpc(no_cancel)]
    async fn join(&self, name: String) -> Result<(), rpc::Error>;

    /// Says something to everybody, and returns when they have heard it.
    async fn say(&self, name: &str, text: &str);
}

/// What each client serves.
#[service]
pub trait Observer {
    /// Something happened.
    async fn hears(&self, line: &str);
}

// ---- the server ----

#[derive(Default)]
struct Room {
    members: Mutex<BTreeMap<String, ObserverClient>>,
}

impl Chat for Room {
    async fn join(&self, name: String) -> Result<(), rpc::Error> {
        self.enter(&name, Context::current().peer().client())?;
        self.tell(&format!("{name} has joined")).await;
        // Its caller leaves by dropping the call, or because its process or the network is gone: it is all the same.
        Context::current().cancelled().await;
        self.leave(&name);
        self.tell(&format!("{name} has left")).await;
        Ok(())
    }

    async fn say(&self, name: &str, text: &str) {
        self.tell(&format!("{name}: {text}")).await;
    }
}

impl Room {
    fn enter(&self, name: &str, observer: ObserverClient) -> Result<(), rpc::Error> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if members.contains_key(name) {
            return Err(rpc::Error::new(Code::AlreadyExists, format!("there is somebody called {name}")));
        }
        members.insert(name.to_owned(), observer);
        Ok(())
    }

    fn leave(&self, name: &str) {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Calls everybody at once. Who does not answer in time has missed something, and nobody else has.
    async fn tell(&self, line: &str) {
        let mut calls = JoinSet::new();
        for observer in self.members.lock().unwrap_or_else(PoisonError::into_inner).values() {
            calls.spawn(observer.hears(line).timeout(Duration::from_secs(5)));
        }
        calls.join_all().await;
    }
}

#[tokio::main]
async fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let bound = rpc::Server::new().add(ChatServer::new(Room::default())).bind(address).await?;
    println!("serving at {}", bound.local_addr());
    Ok(bound.serve().await?)
}

// ---- a client ----

struct Screen;

impl Observer for Screen {
    async fn hears(&self, line: &str) {
        println!("{line}");
    }
}

#[tokio::main]
async fn join(address: &str, name: &str) -> Result<(), Box<dyn Error>> {
    let chat = ChatClient::connect(address).serve(ObserverServer::new(Screen)).await?;
    let mut typed = typed_lines();
    let saying = async {
        while let Some(line) = typed.recv().await {
            chat.say(name, &line).await?;
        }
        Ok(())
    };
    tokio::select! {
        // Ends only if the connection does, or if the name is taken.
        joined = chat.join(name.to_owned()) => Ok(joined?),
        said = saying => said,
    }
}

/// What is typed, until the end of the input. Read on a thread of its own, since nothing else ends such a read.
fn typed_lines() -> mpsc::UnboundedReceiver<String> {
    let (typed, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut lines = std::io::stdin().lines().map_while(Result::ok);
        lines.all(|line| typed.send(line).is_ok())
    });
    lines
}

// ---- all of it ----

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address] => serve(address),
        ["join", address, name] => join(address, name),
        _ => play(),
    }
}

fn play() -> Result<(), Box<dyn Error>> {
    let mut server = Process::start("the server", &["serve", "tcp://127.0.0.1:0"])?;
    let address = server.line()?.replace("serving at ", "");
    let enter = |name| Process::start(name, &["join", &address, name]);

    println!("A server and its clients, each in a process of its own. What each client's screen shows:\n");
    let mut ann = enter("ann")?;
    show([&mut ann], "ann has joined")?;
    let mut bob = enter("bob")?;
    show([&mut ann, &mut bob], "bob has joined")?;
    let mut cy = enter("cy")?;
    show([&mut ann, &mut bob, &mut cy], "cy has joined")?;

    ann.types("hello")?;
    show([&mut ann, &mut bob, &mut cy], "ann: hello")?;
    cy.types("hello ann")?;
    show([&mut ann, &mut bob, &mut cy], "cy: hello ann")?;

    println!("\nThe process of cy is killed.\n");
    cy.child.kill()?;
    show([&mut ann, &mut bob], "cy has left")?;
    bob.types("where is cy?")?;
    show([&mut ann, &mut bob], "bob: where is cy?")?;

    println!("\nann comes to the end of her input, and her process to its own.\n");
    ann.child.stdin.take();
    show([&mut bob], "ann has left")?;
    let status = ann.child.wait()?;
    if !status.success() {
        return Err(format!("ann ended with {status}").into());
    }
    bob.types("good night")?;
    show([&mut bob], "bob: good night")?;
    Ok(())
}

/// Waits until the next line on all these screens is this one.
fn show<const N: usize>(clients: [&mut Process; N], expected: &str) -> Result<(), Box<dyn Error>> {
    let mut names = Vec::new();
    for client in clients {
        let line = client.line()?;
        if line != expected {
            return Err(format!("{} shows {line:?}, not {expected:?}", client.name).into());
        }
        names.push(client.name);
    }
    println!("{:12}  {expected}", names.join(" "));
    Ok(())
}

/// This program once more, killed at the latest when this is dropped.
struct Process {
    name: &'static str,
    child: Child,
    screen: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(name: &'static str, arguments: &[&str]) -> Result<Process, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let screen = BufReader::new(child.stdout.take().ok_or("it has no output")?).lines();
        Ok(Process { name, child, screen })
    }

    fn types(&mut self, line: &str) -> Result<(), Box<dyn Error>> {
        let mut input = self.child.stdin.as_ref().ok_or("its input has ended")?;
        Ok(writeln!(input, "{line}")?)
    }

    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let line = self.screen.next().ok_or_else(|| format!("{} has ended", self.name))?;
        Ok(line?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
