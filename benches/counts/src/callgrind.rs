//! Runs this program under callgrind.

use std::{env, error::Error, path::Path, process::Command};

use crate::subject::{Mode, WARM_UP};

/// So many calls are made, and three times as many: start-up and warm-up are the same in both.
const CALLS: u64 = 6_400;

/// So many that what comes before them does not show.
const PROFILED_CALLS: u64 = 128_000;

/// Functions in which nothing is counted: the other side of the connection.
const OUTSIDE: [&str; 2] = ["*canned::outside_read*", "*canned::outside_write*"];

/// How many instructions a call costs.
pub fn instructions(mode: &Mode) -> Result<f64, Box<dyn Error>> {
    let nowhere = Path::new("/dev/null");
    let (few, many) = (run(mode, CALLS, nowhere)?, run(mode, 3 * CALLS, nowhere)?);
    Ok(many.saturating_sub(few) as f64 / (2 * CALLS) as f64)
}

/// Writes callgrind's account of where the instructions go to a file, and gives how many calls it is of.
pub fn profile(mode: &Mode, out: &Path) -> Result<u64, Box<dyn Error>> {
    run(mode, PROFILED_CALLS, out)?;
    Ok(PROFILED_CALLS + WARM_UP)
}

/// All instructions of a run that makes so many calls.
fn run(mode: &Mode, calls: u64, out: &Path) -> Result<u64, Box<dyn Error>> {
    run_program(&env::current_exe()?, &["run", mode.name, &calls.to_string()], out)
}

/// All instructions of a run of a program like this one.
pub fn run_program(program: &Path, arguments: &[&str], out: &Path) -> Result<u64, Box<dyn Error>> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", &format!("--callgrind-out-file={}", out.display())]);
    valgrind.args(OUTSIDE.map(|name| format!("--toggle-collect={name}")));
    // Behind the toggles, which would have it begin without counting.
    valgrind.arg("--collect-atstart=yes").arg(program).args(arguments);
    let output =
        valgrind.output().map_err(|error| format!("valgrind cannot be run, is it installed? {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{arguments:?} failed under callgrind:\n{said}").into());
    }
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    Ok(collected.ok_or("callgrind did not say what it counted")?.1.trim().parse()?)
}
