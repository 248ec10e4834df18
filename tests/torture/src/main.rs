//! What the framework promises under attack and failure, put to the test by processes: `-- help` says how.

mod heap;
mod load;

use std::process::ExitCode;

const HELP: &str = "\
Puts to the test what takes processes to prove.

  load [PARTS] [--smoke]   what a server stands: overload, idle, in-flight, attacks; without a name all of them";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["load", ref rest @ ..] => load::main(rest),
        ["help" | "--help"] => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{HELP}");
            ExitCode::FAILURE
        }
    }
}
