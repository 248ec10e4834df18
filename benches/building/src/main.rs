//! What building with the framework costs, beside tarpc: `cargo run --manifest-path benches/building/Cargo.toml`.
//!
//! Crates like those of users are written into a temporary directory and built there in turns. What counts is CPU time,
//! since wall time depends on what else the machine does.

mod measure;
#[path = "../../src/page.rs"]
mod page;
mod project;
mod report;
mod usage;
mod wide;

use measure::Part;
use std::error::Error;
use std::path::PathBuf;
use std::{env, fs, process};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const USAGE: &str = "\
Builds crates of users in turns, with this framework and with tarpc, and prints what that costs as Markdown.

  --rounds N    how often (5); the figures are medians
  --only WHAT   quickstart, or wide
  --write       puts the tables into docs/performance.md as well
  --smoke       checks once that a small trait compiles with either, and measures nothing";

fn main() -> Result<()> {
    let (mut rounds, mut parts) = (5, vec![Part::Quickstart, Part::Wide]);
    let (mut write, mut smoke) = (false, false);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().ok_or("--rounds needs a number")?.parse()?,
            "--only" => match arguments.next().as_deref() {
                Some("quickstart") => parts = vec![Part::Quickstart],
                Some("wide") => parts = vec![Part::Wide],
                _ => return Err("--only needs `quickstart` or `wide`".into()),
            },
            "--write" => write = true,
            "--smoke" => smoke = true,
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            unknown => return Err(format!("{unknown:?} is no option; see --help").into()),
        }
    }
    if write && smoke {
        return Err("--smoke measures nothing that could be written".into());
    }
    if rounds == 0 {
        return Err("there is no median of no rounds".into());
    }
    let place = Place::new()?;
    if smoke {
        return measure::smoke(&place.0);
    }
    for part in parts {
        let report = report::markdown(&measure::measure(part, &place.0, rounds)?, rounds);
        println!("{report}");
        if write {
            report::write(part, &report)?;
        }
    }
    Ok(())
}

/// Where the crates are; gone in the end, for it may hold gigabytes.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Self> {
        let place = env::temp_dir().join(format!("rpc-building-{}", process::id()));
        fs::create_dir(&place)?;
        Ok(Self(place))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}
