//! Measures the framework beside hand-written frames on tokio, tarpc and tonic.
//!
//! Client and server are two processes, both of them this program started again with a subcommand. Contenders take
//! turns within each round, so that whatever else the machine does meets all of them alike; medians are over rounds.

mod child;
mod compare;
mod contender;
mod measure;
mod options;
mod peer;
mod report;
mod workload;

use contender::{Result, with_contender};
use options::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    match options::parse()? {
        Command::Help => println!("{}", options::HELP),
        Command::Compare(options) => {
            let findings = compare::compare(&options)?;
            let report = report::markdown(&findings, &options);
            println!("{report}");
            if options.write {
                report::write(&report, options.flavour)?;
            }
        }
        Command::Serve(contender, flavour) => {
            let runtime = flavour.runtime()?;
            with_contender!(contender, C => child::serve::<C>(&runtime))?;
        }
        Command::Call(contender, flavour, server) => {
            let runtime = flavour.runtime()?;
            with_contender!(contender, C => child::call::<C>(&runtime, server))?;
        }
        Command::InProcess(duration) => child::call_in_process(duration)?,
    }
    Ok(())
}
