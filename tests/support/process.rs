//! Another process: this test program again, told by its environment to play a part.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::ffi::OsStr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::patiently;

/// The part to play, for the test `plays_its_part_in_another_test`.
pub(crate) const PART: &str = "RPC_TEST_PART";

/// Another process, killed at the latest when this is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(part: &str, variables: &[(&str, &OsStr)]) -> Process {
        Process::run(Command::new(std::env::current_exe().expect("this program")), part, variables)
    }

    /// The same, and it may have no more than so many descriptors.
    pub(crate) fn start_with_descriptors(part: &str, descriptors: usize) -> Process {
        let mut shell = Command::new("sh");
        let program = std::env::current_exe().expect("this program");
        shell.args(["-c", "ulimit -n \"$1\" && shift && exec \"$@\"", "sh"]);
        shell.arg(descriptors.to_string()).arg(program);
        Process::run(shell, part, &[])
    }

    fn run(mut command: Command, part: &str, variables: &[(&str, &OsStr)]) -> Process {
        let mut child = command
            .args(["--exact", "plays_its_part_in_another_test", "--nocapture"])
            .env(PART, part)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it runs already, so it can run once more");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Process { child, lines }
    }

    /// Waits until it says this, and gives what follows up to the full stop.
    pub(crate) async fn says(&mut self, words: &str) -> String {
        let said = async {
            loop {
                let line = self.lines.next_line().await.expect("a pipe");
                let line = line.unwrap_or_else(|| panic!("it ended before it said {words:?}"));
                // Its test harness writes to the same line.
                if let Some((_, rest)) = line.split_once(words) {
                    break rest.trim_end_matches('.').to_owned();
                }
            }
        };
        patiently(words, said).await
    }

    /// As `kill -9` does.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it was there");
    }
}
