//! The findings as Markdown: a table of figures, a table of ratios, and what to think of the run.

use crate::{
    compare::{Cell, Findings},
    contender::{Name, Result},
    measure::Machine,
    options::{Flavour, Options},
    workload::Workload,
};
use std::{fmt::Write as _, fs, time::Duration};

/// The report, without a heading.
pub fn markdown(findings: &Findings, options: &Options) -> String {
    let mut sections = vec![preamble(findings, options)];
    if !findings.rounds.is_empty() {
        sections.push(figures(findings, options));
        sections.extend(ratios(findings, options));
    }
    sections.extend(extras(findings));
    sections.join("\n")
}

/// Puts the report where docs/performance.md marks the place for this kind of runtime.
pub fn write(report: &str, flavour: Flavour) -> Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");
    let page = fs::read_to_string(path)?;
    fs::write(path, replace_between_marks(&page, report, flavour)?)?;
    Ok(())
}

fn replace_between_marks(page: &str, report: &str, flavour: Flavour) -> Result<String> {
    let (begin, end) = (format!("<!-- {flavour}: begin -->\n"), format!("<!-- {flavour}: end -->\n"));
    let missing = || format!("docs/performance.md has no place for the {flavour} tables");
    let (before, rest) = page.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}{report}{end}{after}"))
}

fn preamble(findings: &Findings, options: &Options) -> String {
    let runtime = match options.flavour {
        Flavour::MultiThread => "two worker threads in each process",
        Flavour::CurrentThread => "one thread in each process",
    };
    let mut text = format!(
        "{}; {}; {runtime}; medians of {} rounds of {} ms.\n",
        Machine::date(),
        Machine::description(),
        options.rounds,
        options.measured.as_millis()
    );
    if options.smoke {
        text += "This was a trial run: its figures mean nothing.\n";
    } else {
        text += &disturbance(&findings.rounds.concat());
    }
    text
}

/// Says so if the machine was not ours alone.
fn disturbance(cells: &[Cell]) -> String {
    let disturbed = cells.iter().filter(|cell| cell.disturbance.is_serious()).count();
    if disturbed == 0 {
        return String::new();
    }
    let shares = |share: fn(&Cell) -> f64| {
        let percents = || cells.iter().map(|cell| 100.0 * share(cell));
        format!(
            "{:.0} % of the machine (at most {:.0} %)",
            median(percents()),
            percents().fold(0.0, f64::max)
        )
    };
    format!(
        "**Disturbed:** in {disturbed} of {} measurements others were at work too. In the median, other processes took \
         {}, other guests of the host {}.\n",
        cells.len(),
        shares(|cell| cell.disturbance.others),
        shares(|cell| cell.disturbance.stolen),
    )
}

fn figures(findings: &Findings, options: &Options) -> String {
    let mut table = String::from(
        "| workload | | calls/s | p50 us | p99 us | client CPU us/call | server CPU us/call |\n\
         |---|---|--:|--:|--:|--:|--:|\n",
    );
    for workload in &options.workloads {
        for (position, &contender) in options.contenders.iter().enumerate() {
            let title = if position == 0 { workload.title } else { "" };
            let over_rounds = |figure: fn(&Cell) -> f64| {
                median(
                    findings
                        .rounds
                        .iter()
                        .filter_map(|round| Some(figure(find(round, workload, contender)?))),
                )
            };
            writeln!(
                table,
                "| {title} | {contender} | {} | {:.1} | {:.1} | {:.2} | {:.2} |",
                rounded(over_rounds(Cell::throughput)),
                over_rounds(|cell| micros(cell.outcome.p50)),
                over_rounds(|cell| micros(cell.outcome.p99)),
                over_rounds(|cell| micros(cell.outcome.cpu) / cell.outcome.calls as f64),
                over_rounds(|cell| micros(cell.server_cpu) / cell.outcome.calls as f64),
            )
            .ok();
        }
    }
    table
}

/// How we compare with each of the others; `None` when there is nobody to compare.
fn ratios(findings: &Findings, options: &Options) -> Option<String> {
    let ours = *options.contenders.iter().find(|&&name| name == Name::Rpc)?;
    let others: Vec<Name> = options.contenders.iter().copied().filter(|&name| name != ours).collect();
    if others.is_empty() {
        return None;
    }
    let mut table = String::from("| ratio |");
    for other in &others {
        write!(table, " {ours}/{other} |").ok();
    }
    write!(table, "\n|---|{}\n", "--:|".repeat(others.len())).ok();
    for workload in &options.workloads {
        let mut row = |what: &str, figure: fn(&Cell) -> f64| {
            write!(table, "| {}, {what} |", workload.title).ok();
            for &other in &others {
                // Within a round, so that a slow spell of the machine falls on both sides of the ratio.
                let ratio = median(findings.rounds.iter().filter_map(|round| {
                    Some(figure(find(round, workload, ours)?) / figure(find(round, workload, other)?))
                }));
                write!(table, " {ratio:.2} |").ok();
            }
            table.push('\n');
        };
        row("calls/s", Cell::throughput);
        if workload.connections * workload.in_flight == 1 {
            row("p50", |cell| micros(cell.outcome.p50));
        }
    }
    Some(table)
}

fn extras(findings: &Findings) -> Option<String> {
    let mut text = String::new();
    if !findings.in_process.is_empty() {
        let nanoseconds = median(findings.in_process.iter().copied());
        writeln!(text, "A call in process, marshalling included: {nanoseconds:.0} ns.\n").ok();
    }
    if !findings.idle.is_empty() {
        writeln!(
            text,
            "Resident memory of the server for each of {} connections, idle after one call each, in kB:\n",
            findings.idle_connections
        )
        .ok();
        let (names, sizes): (Vec<_>, Vec<_>) =
            findings.idle.iter().map(|(name, size)| (name.as_str(), format!("{:.1}", size / 1000.0))).unzip();
        writeln!(
            text,
            "| {} |\n|{}\n| {} |",
            names.join(" | "),
            "--:|".repeat(names.len()),
            sizes.join(" | ")
        )
        .ok();
    }
    (!text.is_empty()).then_some(text)
}

impl Cell {
    /// Calls a second.
    fn throughput(&self) -> f64 {
        self.outcome.calls as f64 / self.outcome.elapsed.as_secs_f64()
    }
}

fn find<'a>(round: &'a [Cell], workload: &Workload, contender: Name) -> Option<&'a Cell> {
    round.iter().find(|cell| cell.workload == workload.name && cell.contender == contender)
}

/// The middle value, or the mean of the two in the middle; not a number if there is none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Three digits that mean something: `1.23 M`, `45.6 k`.
fn rounded(value: f64) -> String {
    let (scaled, unit) = match value {
        1e6.. => (value / 1e6, " M"),
        1e3.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match scaled {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{scaled:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(median([].into_iter()).is_nan());
    }

    #[test]
    fn three_digits_are_kept() {
        let figures = [1_234_567.0, 45_678.0, 999.4, 12.34, 1.234].map(rounded);
        assert_eq!(figures, ["1.23 M", "45.7 k", "999", "12.3", "1.23"]);
    }

    #[test]
    fn only_the_marked_place_changes() {
        let page = "a\n<!-- multi-thread: begin -->\nold\n<!-- multi-thread: end -->\nb\n";
        let page = replace_between_marks(page, "new\n", Flavour::MultiThread).expect("the marks are there");
        assert_eq!(page, "a\n<!-- multi-thread: begin -->\nnew\n<!-- multi-thread: end -->\nb\n");
        assert!(replace_between_marks(&page, "new\n", Flavour::CurrentThread).is_err());
    }
}
