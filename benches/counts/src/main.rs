//! Counts the instructions that a small call, `add(i64, i64) -> i64`, costs the framework, and holds them against the
//! figures in `figures.txt`.
//!
//! ```console
//! $ cargo run --release --manifest-path benches/counts/Cargo.toml                      # count and compare
//! $ cargo run --release --manifest-path benches/counts/Cargo.toml -- server-64         # only that
//! $ cargo run --release --manifest-path benches/counts/Cargo.toml -- update            # write the figures anew
//! $ cargo run --release --manifest-path benches/counts/Cargo.toml -- profile server-1  # function by function
//! $ cargo run --release --manifest-path benches/counts/Cargo.toml -- layers --write    # by layer, into docs/performance.md
//! $ cargo run --release --manifest-path benches/counts/Cargo.toml -- guard             # what bounding arguments costs
//! ```
//!
//! Instructions are what a machine that is busy with other things cannot change. They are counted by callgrind, on a
//! current-thread runtime and without a socket: the other side of the connection lies in memory and is left out, and
//! so is the kernel. What a call costs is the difference between a run of some calls and one of three times as many,
//! divided by the calls that it has more.

mod callgrind;
mod canned;
mod figures;
mod guard;
mod layers;
#[path = "../../src/page.rs"]
mod page;
mod profile;
mod subject;

use std::{env, error::Error, process::ExitCode};

use figures::{COMPILER, Figures, Verdict};
use subject::{MODES, Mode};

/// How often a figure that is off is counted again.
const AGAIN: usize = 3;

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["run", name, calls] => subject::run(mode(name)?, calls.parse()?)?,
        ["profile", name] => profile::print(mode(name)?)?,
        ["layers"] => layers::table(&layered()?, false)?,
        ["layers", "--write"] => layers::table(&layered()?, true)?,
        ["update"] => update()?,
        ["guard"] => return guard::check(),
        ["unmarshal", name, times] => guard::unmarshal(name, times.parse()?)?,
        [] => return check(MODES.iter().collect()),
        ref names => return check(names.iter().map(|name| mode(name)).collect::<Result<_, _>>()?),
    }
    Ok(ExitCode::SUCCESS)
}

/// The modes whose layers are worth a page.
fn layered() -> Result<Vec<&'static Mode>, String> {
    ["client-1", "client-64", "server-1", "server-64", "in-process"].into_iter().map(mode).collect()
}

fn mode(name: &str) -> Result<&'static Mode, String> {
    MODES.iter().find(|mode| mode.name == name).ok_or_else(|| {
        let names: Vec<_> = MODES.iter().map(|mode| mode.name).collect();
        format!("{name:?} is not counted; what is: {}", names.join(", "))
    })
}

/// Counts, and fails if a figure is not what it was.
fn check(modes: Vec<&Mode>) -> Result<ExitCode, Box<dyn Error>> {
    let committed = Figures::committed()?;
    let same_compiler = committed.compiler == COMPILER;
    let mut held = true;
    println!("Instructions a call, built with {COMPILER}:");
    for mode in modes {
        let mut figure = callgrind::instructions(mode)?;
        let mut verdict = committed.compare(mode.name, figure);
        for _ in 0..AGAIN {
            if !same_compiler || !matches!(verdict, Verdict::Far(_)) {
                break;
            }
            // Whether a handler gets a task of its own depends on the clock, which a machine under load can stop for
            // long, and when a map is put in order anew on chance. What has really changed is the same each time.
            figure = callgrind::instructions(mode)?;
            verdict = committed.compare(mode.name, figure);
        }
        held &= matches!(verdict, Verdict::Near(_));
        println!("{:<16} {figure:>8.1}  {verdict:<24}  {}", mode.name, mode.what);
    }
    if !same_compiler {
        println!(
            "The committed figures belong to {}: what is said of them here means nothing.",
            committed.compiler
        );
        return Ok(ExitCode::FAILURE);
    }
    if held {
        return Ok(ExitCode::SUCCESS);
    }
    println!("A figure has moved. CONTRIBUTING.md says what to do; an improvement is recorded too.");
    Ok(ExitCode::FAILURE)
}

/// Writes all figures anew.
fn update() -> Result<(), Box<dyn Error>> {
    let old = Figures::committed()?;
    let mut new = Figures::of_this_compiler();
    for mode in &MODES {
        let figure = callgrind::instructions(mode)?;
        new.set(mode.name, figure);
        let was = old.of(mode.name).map_or_else(String::new, |was| format!("was {was:.1}"));
        println!("{:<16} {figure:>8.1}  {was:<14}  {}", mode.name, mode.what);
    }
    Ok(new.write()?)
}
