//! Counts the instructions that a small call, `add(i64, i64) -> i64`, costs the framework.

mod canned;
mod subject;

use std::{env, error::Error, process::Command};

use subject::MODES;

const CALLS: u64 = 6_400;

/// So many that what comes before them does not show.
const PROFILED_CALLS: u64 = 128_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["run", name, calls] => {
            let (_, mode, _) = MODES.iter().find(|(known, ..)| *known == name).ok_or("an unknown mode")?;
            subject::run(*mode, calls.parse()?)
        }
        ["profile", name] => profile(name),
        [] => MODES.iter().try_for_each(|(name, ..)| show(name)),
        ref names => names.iter().try_for_each(|name| show(name)),
    }
}

fn show(name: &str) -> Result<(), Box<dyn Error>> {
    let (few, many) = (count(name, CALLS, "/dev/null")?, count(name, 3 * CALLS, "/dev/null")?);
    println!("{name:<16} {:>8.1}", (many - few) as f64 / (2 * CALLS) as f64);
    Ok(())
}

fn count(name: &str, calls: u64, out: &str) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--callgrind-out-file={out}")])
        // Counting stops where one of these is entered, and goes on where it is left.
        .args(["--toggle-collect=*canned::outside_read*", "--toggle-collect=*canned::outside_write*"])
        // Behind them, since they say otherwise.
        .arg("--collect-atstart=yes")
        .arg(env::current_exe()?)
        .args(["run", name, &calls.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(said.into());
    }
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    Ok(collected.ok_or("callgrind did not say what it counted")?.1.trim().parse()?)
}

/// Which functions the instructions are spent in: with all that they call, then alone.
fn profile(name: &str) -> Result<(), Box<dyn Error>> {
    let out = env::temp_dir().join(format!("callgrind.{name}.out"));
    let out = out.to_string_lossy();
    count(name, PROFILED_CALLS, &out)?;
    for inclusive in ["yes", "no"] {
        let output = Command::new("callgrind_annotate")
            .args([&format!("--inclusive={inclusive}"), "--auto=no", "--threshold=97", &*out])
            .output()?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            // Instructions a call stand where those of all calls stood.
            match line
                .trim_start()
                .split_once(' ')
                .map(|(count, rest)| (count.replace(',', "").parse::<u64>(), rest))
            {
                Some((Ok(count), rest)) => {
                    println!("{:>9.1} {rest}", count as f64 / (PROFILED_CALLS + subject::WARM_UP) as f64)
                }
                _ => println!("{line}"),
            }
        }
    }
    println!("line by line: callgrind_annotate --auto=yes {out}");
    Ok(())
}
