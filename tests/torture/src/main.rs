//! What the framework promises under attack and failure, put to the test by processes: `-- help` says how.
//!
//! These are this program again, started with words that the help does not list.

mod heap;
mod ledger;
mod load;
mod network;
mod options;
mod proc;
mod processes;
mod random;
mod report;
mod service;
mod soak;
mod world;

use std::process::ExitCode;

use options::{Failure, Options};

const HELP: &str = "\
Puts to the test what takes processes to prove.

  load [PARTS] [--smoke]   what a server stands: overload, idle, in-flight, attacks; without a name all of them
  processes [--seconds 60] [--seed N] [--sabotage NAME]
                           servers and clients that are killed, stopped, drained, cut off and flooded, and the ledger of
                           every call
  bites [--seconds 4] [--seed N]
                           `processes` with each kind of sabotage, which must be found
  soak [--minutes 60] [--faults 1%] [--rate 2000] [--largest 524288] [--seed N]
                           a steady load through a network with faults, the same ledger, and the slope of memory";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let run: fn(Options) -> Result<(), Failure> = match words[..] {
        ["load", ref rest @ ..] => return load::main(rest),
        ["processes", ..] => processes::run,
        ["bites", ..] => processes::bites,
        ["soak", ..] => soak::run,
        // The parts that their children play.
        ["serve", ..] => service::serve,
        ["call", ..] => service::call,
        ["flood", ..] => processes::flood,
        ["help" | "--help"] => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{HELP}");
            return ExitCode::FAILURE;
        }
    };
    match Options::parse(&words[1..]).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("failed: {failure}");
            ExitCode::FAILURE
        }
    }
}
