//! Where the instructions are spent, by function.

use std::{collections::HashMap, env, error::Error, path::Path, process::Command};

use crate::{callgrind, subject::Mode};

/// Less than this of a call's instructions is not shown.
const LEAST: f64 = 0.003;

/// Prints what each function costs a call, alone and with all that it calls.
pub fn print(mode: &Mode) -> Result<(), Box<dyn Error>> {
    let out = env::temp_dir().join(format!("callgrind.{}.out", mode.name));
    let calls = callgrind::profile(mode, &out)? as f64;
    // What was inlined stands in lines of its own, by the file it came from: alone it adds up, with all that it
    // calls the function itself is the largest of them.
    let (alone, with_calls) = (annotated(&out, false)?, annotated(&out, true)?);
    let alone = by_function(&alone, |sum, part| *sum += part);
    let with_calls = by_function(&with_calls, |most, part| *most = most.max(part));
    let total: f64 = alone.values().sum();

    println!("{}, {}: {:.0} instructions a call", mode.name, mode.what, total / calls);
    for (title, costs) in [("alone", &alone), ("with what it calls", &with_calls)] {
        println!("\n{title}:");
        let mut costs: Vec<_> = costs.iter().filter(|(_, cost)| **cost >= total * LEAST).collect();
        costs.sort_by(|a, b| b.1.total_cmp(a.1).then(a.0.cmp(b.0)));
        costs.iter().for_each(|(function, cost)| println!("{:>9.1} {function}", *cost / calls));
    }
    println!("\nline by line: callgrind_annotate --auto=yes {}", out.display());
    Ok(())
}

/// What callgrind has to say of a run.
pub fn annotated(out: &Path, inclusive: bool) -> Result<String, Box<dyn Error>> {
    let mut annotate = Command::new("callgrind_annotate");
    let inclusive = if inclusive { "--inclusive=yes" } else { "--inclusive=no" };
    annotate.args(["--auto=no", "--threshold=100", inclusive]).arg(out);
    Ok(String::from_utf8(annotate.output()?.stdout)?)
}

/// Reads lines such as `1,196,800 ( 5.16%)  src/call.rs:rpc_core::call::Raw::poll [target/release/rpc-counts]`: gives
/// each file with its function, and what it costs.
pub fn places(annotated: &str) -> impl Iterator<Item = (&str, f64)> {
    annotated.lines().filter_map(|line| {
        let (count, rest) = line.split_once('(')?;
        let (_, place) = rest.split_once("%)")?;
        let count = count.trim().replace(',', "").parse::<f64>().ok()?;
        let place = place.trim();
        let place = place.rsplit_once(" [").map_or(place, |(place, _)| place);
        place.contains(':').then_some((place, count))
    })
}

fn by_function(annotated: &str, add: impl Fn(&mut f64, f64)) -> HashMap<&str, f64> {
    let mut functions = HashMap::new();
    for (place, count) in places(annotated) {
        // The function stands behind its file, whose name has no colon.
        if let Some((_, function)) = place.split_once(':') {
            add(functions.entry(function).or_default(), count);
        }
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_and_their_parts_added() {
        let annotated = "\
            1,300 (100.0%)  PROGRAM TOTALS\n\
            1,000 (76.9%)  src/call.rs:core::poll<a::B> [target/counts]\n  \
              200 ( 5.0%)  mem/mod.rs:core::poll<a::B>\n\
              100 ( 2.5%)  ???:memcpy [libc.so.6]\n";
        let costs = by_function(annotated, |sum, part| *sum += part);
        assert_eq!(costs, HashMap::from([("core::poll<a::B>", 1_200.0), ("memcpy", 100.0)]));
    }
}
