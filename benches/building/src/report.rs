//! The findings as Markdown.

use crate::Result;
use crate::measure::{Builds, FEWER_METHODS, Findings, METHODS, Part, RPC};
use crate::page;
use crate::usage::Usage;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

/// The tables, without a heading.
pub fn markdown(findings: &Findings, rounds: usize) -> String {
    let mut text = format!(
        "{}; {}; {}; medians of {} rounds.\n\n",
        output("date", &["-u", "+%F"]),
        processor(),
        output("rustc", &["--version"]),
        rounds
    );
    text += "| build | | CPU s | wall s | CPU, rpc to it |\n|---|---|--:|--:|--:|\n";
    let mut title = "";
    for builds in &findings.builds {
        let shown = if builds.what == title { "" } else { builds.what };
        title = builds.what;
        let ours = findings.builds.iter().find(|ours| ours.what == builds.what && ours.who == RPC);
        let ratio = match ours {
            Some(ours) if builds.who != RPC => format!("{:.2}", ratio(ours, builds)),
            _ => String::new(),
        };
        let cpu = median(seconds(builds, |usage| usage.cpu));
        let wall = median(seconds(builds, |usage| usage.wall));
        writeln!(text, "| {shown} | {} | {cpu:.2} | {wall:.2} | {ratio} |", builds.who).ok();
    }
    if !findings.code.is_empty() {
        text += "\n| machine code, release | a method more | ";
        writeln!(text, "{FEWER_METHODS} methods | {METHODS} methods |\n|---|--:|--:|--:|").ok();
        for (who, [fewer, more]) in &findings.code {
            let each = (*more as f64 - *fewer as f64) / (METHODS - FEWER_METHODS) as f64;
            writeln!(
                text,
                "| {who} | {each:.0} B | {:.0} kB | {:.0} kB |",
                *fewer as f64 / 1e3,
                *more as f64 / 1e3
            )
            .ok();
        }
    }
    text
}

/// Puts the report where docs/performance.md marks the place for it.
pub fn write(part: Part, report: &str) -> Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md");
    Ok(page::put(path, report, place(part))?)
}

fn place(part: Part) -> &'static str {
    match part {
        Part::Quickstart => "building, quickstart",
        Part::Wide => "building, wide",
    }
}

/// The median of the ratios of CPU time within each round.
fn ratio(ours: &Builds, theirs: &Builds) -> f64 {
    let pairs = seconds(ours, |usage| usage.cpu).zip(seconds(theirs, |usage| usage.cpu));
    median(pairs.map(|(ours, theirs)| ours / theirs))
}

fn seconds(builds: &Builds, of: impl Fn(&Usage) -> Duration) -> impl Iterator<Item = f64> {
    builds.usages.iter().map(move |usage| of(usage).as_secs_f64())
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() % 2 {
        0 if middle == 0 => f64::NAN,
        0 => (figures[middle - 1] + figures[middle]) / 2.0,
        _ => figures[middle],
    }
}

/// The model and number of processors; nothing that says whose machine it is.
fn processor() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cores} cores", model.map_or("unknown processor", |(_, model)| model.trim()))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output
        .map_or_else(|_| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_place_for_the_tables() {
        let text = include_str!("../../../docs/performance.md");
        for part in [Part::Quickstart, Part::Wide] {
            assert!(page::between_marks(text, "", place(part)).is_some());
        }
    }

    #[test]
    fn medians_of_even_and_odd_numbers() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }
}
