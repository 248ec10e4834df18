//! What a server stands: more calls than it can do, connections that do nothing, calls that take long, attacks.
//!
//! Each part starts this program again, as servers, clients and attackers, and gives rows of one table. A row passes by
//! a bound of memory or a count, or by a ratio to what was measured in the same run; a time alone never fails.

mod attacks;
mod child;
mod idle;
mod in_flight;
mod overload;
mod report;
mod server;
mod service;
#[path = "../../../support/hostile/wire.rs"]
#[allow(dead_code, reason = "the tests of hostile peers use more of it")]
mod wire;

use std::error::Error;
use std::process::ExitCode;

use report::Table;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A part of it: gives its rows to the table, in a short run if only the way is to be tried.
type Part = fn(&mut Table, &Options) -> Result<()>;

/// How it is run.
struct Options {
    /// Only to see whether it works.
    smoke: bool,
    /// Of the attacks only this one.
    case: Option<u64>,
}

const PARTS: [(&str, Part); 4] = [
    ("overload", overload::measure),
    ("idle", idle::measure),
    ("in-flight", in_flight::measure),
    ("attacks", attacks::measure),
];

/// Runs the parts that the words name, or plays the part of one of their processes.
pub(crate) fn main(words: &[&str]) -> ExitCode {
    let run = match words {
        [child::ROLE, role, arguments @ ..] => play(role, arguments).map(|()| true),
        words => run(words),
    };
    match run {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<bool> {
    let mut options = Options { smoke: false, case: None };
    let mut named = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--smoke" => options.smoke = true,
            "--case" => options.case = Some(words.next().ok_or("--case needs a number")?.parse()?),
            name if PARTS.iter().any(|(part, _)| *part == name) => named.push(name),
            unknown => {
                let known = "overload, idle, in-flight, attacks, --case N, --smoke";
                return Err(format!("there is no {unknown:?}: {known}").into());
            }
        }
    }
    let mut table = Table::begin()?;
    for (name, part) in PARTS {
        if named.is_empty() || named.contains(&name) {
            eprintln!("{name} ...");
            part(&mut table, &options)?;
        }
    }
    table.print()
}

fn play(role: &str, arguments: &[&str]) -> Result<()> {
    match role {
        "server" => server::play(arguments),
        "calls" => overload::play(arguments),
        "idle" => idle::play(arguments),
        "in-flight" => in_flight::play(arguments),
        "attacker" => attacks::attack(arguments),
        "visitor" => attacks::visit(arguments),
        "sink" => attacks::sink(arguments),
        unknown => Err(format!("there is no part {unknown:?}").into()),
    }
}
