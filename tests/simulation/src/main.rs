//! Clients and servers in worlds that follow from a seed: who there is, what they do, what befalls them. What must hold
//! whatever happens is checked in each (`invariants`), and what has happened once can be made to happen again.

mod asks;
mod course;
mod flaws;
mod handlers;
mod invariants;
mod items;
mod ledger;
mod memory;
mod network;
mod options;
mod probes;
mod processes;
mod random;
mod scenario;
mod seeds;
mod services;
mod signal;
mod together;
mod trace;
mod world;

use std::process::ExitCode;

use self::options::{Command, Options};

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    let passed = match options.command {
        Command::Help => {
            println!("{}", options::HELP);
            true
        }
        Command::Flaws => flaws::run(&options),
        Command::Seeds => options.worlds().iter().all(|world| seeds::run(*world, &options)),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
