//! Measures the framework beside hand-written frames on tokio, tarpc, tonic and bare TCP: calls, streams, and neighbours.
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

use contender::Result;
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
            for &section in &options.sections {
                let report = report::markdown(section, &findings, &options);
                println!("## {section}\n\n{report}");
                if options.write {
                    report::write(section, &report, options.flavour)?;
                }
            }
        }
        Command::Serve(contender, flavour) => contender.server()(&flavour.runtime()?)?,
        Command::Call(kind, contender, flavour, server) => {
            kind.client(contender)?(&flavour.runtime()?, server)?;
        }
        Command::InProcess(duration) => child::call_in_process(duration)?,
    }
    Ok(())
}
