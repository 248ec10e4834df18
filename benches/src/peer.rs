//! A measured process as the one that orchestrates sees it.

use crate::{
    contender::{Name, Result},
    options::Flavour,
    workload::Kind,
};
use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

/// A process of this program in another role; it ends when this is dropped.
#[derive(Debug)]
pub struct Peer {
    role: String,
    process: Child,
    /// Gone once it has been told to end.
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts this program with the words of a subcommand.
    pub fn start(words: &[&str], flavour: Flavour) -> Result<Self> {
        Self::start_as(Command::new(env::current_exe()?), words, flavour)
    }

    /// Starts this program as `command` does, with the words of a subcommand.
    pub fn start_as(mut command: Command, words: &[&str], flavour: Flavour) -> Result<Self> {
        command.args(words).arg(flavour.option()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let questions = Some(process.stdin.take().ok_or("a process without standard input")?);
        let answers = BufReader::new(process.stdout.take().ok_or("a process without standard output")?);
        Ok(Self { role: words.join(" "), process, questions, answers })
    }

    /// Sends a line and waits for the line that answers it.
    pub fn ask(&mut self, question: &str) -> Result<String> {
        let questions = self.questions.as_mut().ok_or("a process that was told to end")?;
        writeln!(questions, "{question}")?;
        self.listen()
    }

    /// Waits for a line.
    pub fn listen(&mut self) -> Result<String> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.trim_end() {
            "" => Err(format!("`{}` ended without an answer", self.role).into()),
            answer => Ok(answer.to_owned()),
        }
    }

    /// Lets it end by itself, and waits until it has.
    pub fn finish(mut self) -> Result<()> {
        self.questions = None;
        match self.process.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("`{}` ended with {status}", self.role).into()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Either fails only if the process has ended by itself, and then there is nothing left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The two processes of one contender.
#[derive(Debug)]
pub struct Pair {
    server: Peer,
    client: Peer,
}

impl Pair {
    /// Starts a server, and a client of a kind that knows its address.
    pub fn start(kind: Kind, contender: Name, flavour: Flavour) -> Result<Self> {
        let mut server = Peer::start(&["serve", contender.as_str()], flavour)?;
        let address = server.listen()?;
        let client = Peer::start(&["call", kind.as_str(), contender.as_str(), &address], flavour)?;
        Ok(Self { server, client })
    }

    /// Has the client do something.
    pub fn ask_client(&mut self, question: &str) -> Result<String> {
        self.client.ask(question)
    }

    /// The server's CPU time so far.
    pub fn server_cpu(&mut self) -> Result<Duration> {
        Ok(Duration::from_nanos(self.server.ask("cpu")?.parse()?))
    }

    /// The resident memory of server and client, in bytes.
    pub fn memory(&mut self) -> Result<[u64; 2]> {
        Ok([self.server.ask("memory")?.parse()?, self.client.ask("memory")?.parse()?])
    }
}
