//! Measures the framework beside hand-written frames on tokio, tarpc, tonic and bare TCP: calls, streams, neighbours,
//! what a call costs in instructions and allocations, and marshalling alone.
//!
//! Client and server are two processes, both of them this program started again with a subcommand. Contenders take
//! turns within each round, so that whatever else the machine does meets all of them alike; medians are over rounds.

mod child;
mod compare;
mod contender;
mod counts;
mod marshal;
mod measure;
mod options;
mod page;
mod peer;
mod report;
mod workload;

use contender::Result;
use options::{Command, Options};
use std::process::ExitCode;
use workload::Section;

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
        Command::Compare(options) => compare_all(&options)?,
        Command::Serve(contender, flavour) => contender.server()(&flavour.runtime()?)?,
        Command::Call(kind, contender, flavour, server) => {
            kind.client(contender)?(&flavour.runtime()?, server)?;
        }
        Command::InProcess(duration) => child::call_in_process(duration)?,
        Command::Marshal(duration) => marshal::measure(duration)?,
    }
    Ok(())
}

/// Each table is printed, and written, as soon as there is all that it is made of.
fn compare_all(options: &Options) -> Result<()> {
    let sections = |with_workloads| {
        options.sections.iter().copied().filter(move |section| section.has_workloads() == with_workloads)
    };
    for section in sections(false) {
        let report = match section {
            Section::Marshal => report::marshal(&marshal::compare(options)?, options),
            _ => match counts::count(options)? {
                Some(counts) => report::counts(&counts, options),
                None => {
                    eprintln!("left out: {section}, since there is no valgrind");
                    continue;
                }
            },
        };
        report::publish(section.as_str(), &report, options)?;
    }
    for &flavour in options.flavours.iter().filter(|_| sections(true).next().is_some()) {
        let findings = compare::compare(options, flavour)?;
        for section in sections(true) {
            let report = report::markdown(section, &findings, options);
            report::publish(&report::place(section, flavour), &report, options)?;
        }
        report::publish_plot(&findings, options)?;
    }
    Ok(())
}
