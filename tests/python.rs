//! The client in Python: it calls the quickstart's server, and agrees with the golden vectors.
//!
//! Where there is no Python with `msgpack`, this is left out, and said to be; with `RPC_REQUIRE_PYTHON=1` in the
//! environment that is a failure.

#[path = "support/example.rs"]
mod example;

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs a program, and ends it with a traceback if it hangs.
const WATCHED: &str = "
import faulthandler, os, runpy, sys
faulthandler.dump_traceback_later(120, exit=True)
del sys.argv[0]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name='__main__')
";

/// The client uses what Python has since 3.10.
const IS_FIT: &str = "import msgpack, sys; sys.exit(sys.version_info < (3, 10))";

#[test]
fn the_python_client_agrees_with_the_golden_vectors() {
    let Some(python) = python("the golden vectors") else { return };
    let output = run(&python, "check_vectors.py", &[]);
    assert!(output.starts_with("as in the vectors: "), "{output}");
}

#[test]
fn the_python_client_calls_the_quickstart() {
    let Some(python) = python("the quickstart") else { return };
    let mut server = Server::start();
    let output = run(&python, "quickstart.py", &[&server.address]);
    let expected = [
        "2 + 3 = 5",
        "7 / 2 = 3",
        "1 / 0: DivisionByZero",
        "the letter s occurs 6 times in a sentence",
        "an hour after noon it is 2026-01-01T13:00:00.250000+00:00",
        "primes: 2 3 5 7 11 13 17 19 23 29 ...",
        "primes up to 200000: 17984",
        "the sum of 100000 numbers: 4999950000",
        "the sum of the primes up to 1000: 76127",
        "running means: 2.0 3.0 5.0",
        "the first mean above 10000: 10000.5",
        "10240000 bytes went, and came back",
        "DEADLINE_EXCEEDED, executed: MAYBE",
        "UNIMPLEMENTED, executed: NO",
        "INVALID_ARGUMENT, executed: NO",
        "and still 1 + 1 = 2",
    ];
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
    // The client has waited for the server to finish its calls, so the line has been written.
    let said = server.stop();
    assert!(said.contains("acme says \"hello from Python\""), "{said}");
}

/// A Python that can run the client.
fn python(what: &str) -> Option<PathBuf> {
    let candidates = [root().join("target/python/bin/python"), "python3".into(), "python".into()];
    let fit = |python: &PathBuf| {
        let run = Command::new(python).args(["-c", IS_FIT]).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    let python = candidates.into_iter().find(fit);
    if python.is_none() {
        let message = format!(
            "left out: the Python client and {what}, for want of Python 3.10 with `msgpack`; \
             `.ci/python-setup` or `pip install msgpack` brings it"
        );
        assert!(env::var_os("RPC_REQUIRE_PYTHON").is_none_or(|value| value != "1"), "{message}");
        // Not by a macro: what those print is not shown of a test that passes.
        let _ = writeln!(std::io::stderr(), "{message}");
    }
    python
}

/// Runs a program of examples/python to its end and gives what it printed.
fn run(python: &Path, program: &str, arguments: &[&str]) -> String {
    let program = root().join("examples/python").join(program);
    let mut command = Command::new(python);
    // With -B nothing is left behind in the sources.
    command.args(["-B", "-c", WATCHED]).arg(&program).args(arguments);
    let output = command.output().expect("Python was started");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}: {shown}{}",
        program.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    shown
}

/// The quickstart's server in a process of its own.
struct Server {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Server {
    fn start() -> Server {
        let mut process = Command::new(example::program("quickstart"))
            .arg("serve-anywhere")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the quickstart was started");
        let mut output = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        let mut first = String::new();
        output.read_line(&mut first).expect("its output is text");
        let address =
            first.trim_end().strip_prefix("serving at ").expect("it says where it listens").to_owned();
        Server { process, output, address }
    }

    /// Ends it, and gives what it has said.
    fn stop(&mut self) -> String {
        self.process.kill().expect("it was running");
        let mut said = String::new();
        self.output.read_to_string(&mut said).expect("its output is text");
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
