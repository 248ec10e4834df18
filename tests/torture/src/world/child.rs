//! This program once more, as a process that can be asked, stopped and killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

use crate::options::Failure;
use crate::proc::Usage;

/// Whatever takes longer hangs. It is long, since the machine may be busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A child, killed at the latest when this is dropped. It ends by itself when its standard input does, and so with
/// the process that started it.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) name: String,
    process: tokio::process::Child,
    /// Open for as long as it may run.
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    errors: PathBuf,
}

impl Child {
    /// Starts one that plays a part, with options, and that writes its errors to a file of its name in `directory`.
    ///
    /// # Errors
    /// The system does not let it.
    pub(crate) fn start(
        name: &str,
        part: &str,
        options: &[(&str, String)],
        directory: &Path,
    ) -> Result<Child, Failure> {
        let errors = directory.join(format!("{name}.stderr"));
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(part);
        for (option, value) in options {
            command.arg(format!("--{option}")).arg(value);
        }
        let mut process = command
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors)?)
            .kill_on_drop(true)
            .spawn()?;
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().ok_or("it has no output")?).lines();
        Ok(Child { name: name.to_owned(), process, input, output, errors })
    }

    /// The next line that it says.
    ///
    /// # Errors
    /// It says nothing for long, or has ended.
    pub(crate) async fn hear(&mut self) -> Result<String, Failure> {
        match tokio::time::timeout(PATIENCE, self.output.next_line()).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => Err(format!("{} has ended{}", self.name, self.last_words()).into()),
            Ok(Err(error)) => Err(error.into()),
            Err(_elapsed) => Err(format!("{} says nothing for {PATIENCE:?}", self.name).into()),
        }
    }

    /// Tells it something.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) async fn tell(&mut self, line: &str) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or("it has no input")?;
        let told = input.write_all(format!("{line}\n").as_bytes()).await;
        told.map_err(|error| format!("{} cannot be told to {line}: {error}", self.name).into())
    }

    /// Tells it something that it answers with a line.
    ///
    /// # Errors
    /// It has ended, or does not answer.
    pub(crate) async fn ask(&mut self, line: &str) -> Result<String, Failure> {
        self.tell(line).await?;
        self.hear().await
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    /// The system does not say.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        Ok(self.process.try_wait()?)
    }

    /// Ends its input, and waits until it has ended.
    ///
    /// # Errors
    /// It does not, or says that it failed.
    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        self.input = None;
        self.wait().await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It does not, or says that it failed.
    pub(crate) async fn wait(mut self) -> Result<(), Failure> {
        let status = tokio::time::timeout(PATIENCE, self.process.wait())
            .await
            .map_err(|_elapsed| format!("{} does not end within {PATIENCE:?}", self.name))??;
        if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", self.name).into()) }
    }

    /// As `kill -9` does, and waits until the process is gone with all its descriptors.
    ///
    /// # Errors
    /// The system does not let it.
    pub(crate) async fn kill(mut self) -> Result<(), Failure> {
        Ok(self.process.kill().await?)
    }

    /// Sends it a signal by its name, such as `STOP`.
    ///
    /// # Errors
    /// There is no program `kill`, or it fails.
    pub(crate) async fn signal(&self, name: &str) -> Result<(), Failure> {
        let process = self.id()?.to_string();
        let status = Command::new("kill").args(["-s", name, &process]).status().await?;
        if status.success() { Ok(()) } else { Err(format!("kill -s {name} ended with {status}").into()) }
    }

    /// What it uses.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn usage(&self) -> Result<Usage, Failure> {
        Usage::of(self.id()?)
    }

    fn id(&self) -> Result<u32, Failure> {
        self.process.id().ok_or_else(|| format!("{} has ended", self.name).into())
    }

    /// What is said of one that has ended, though nobody told it to.
    pub(crate) fn obituary(&self, status: ExitStatus) -> String {
        format!("{} ended with {status}{}", self.name, self.last_words())
    }

    fn last_words(&self) -> String {
        let words = std::fs::read_to_string(&self.errors).unwrap_or_default();
        if words.is_empty() { String::new() } else { format!(": {}", words.trim_end()) }
    }
}
