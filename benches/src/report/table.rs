//! The tables of one section: the figures of everyone, and our ratios to each of the others.

use super::numbers::{NOTHING, median, micros, precise, ratio, rounded};
use crate::{
    compare::{Cell, Findings},
    contender::Name,
    measure::Machine,
    options::{Flavour, Options},
    workload::{Section, Unit, Workload},
};
use std::fmt::Write as _;

/// One section of the findings.
pub(super) struct Table<'a> {
    pub(super) findings: &'a Findings,
    pub(super) workloads: Vec<&'static Workload>,
    pub(super) contenders: &'a [Name],
}

impl Table<'_> {
    pub(super) fn preamble(&self, options: &Options) -> String {
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
            text += &disturbance(&self.cells());
        }
        text
    }

    /// What was measured for this section.
    fn cells(&self) -> Vec<Cell> {
        let ours = |cell: &Cell| self.workloads.iter().any(|workload| workload.name == cell.workload);
        self.findings.rounds.iter().flatten().copied().filter(ours).collect()
    }

    pub(super) fn figures(&self) -> String {
        let mut table = String::from(
            "| workload | | throughput | p50 us | p99 us | client CPU us each | server CPU us each |\n\
         |---|---|--:|--:|--:|--:|--:|\n",
        );
        for (title, workload, contender) in self.rows() {
            let (unit, scale) = workload.unit.a_second();
            let figure = |of: Figure| self.over_rounds(workload, contender, of);
            let latency = |of: Figure| {
                if workload.unit.has_latency() { format!("{:.1}", figure(of)) } else { NOTHING.to_owned() }
            };
            writeln!(
                table,
                "| {title} | {contender} | {} {unit} | {} | {} | {} | {} |",
                rounded(figure(Cell::throughput) / scale),
                latency(Cell::p50),
                latency(Cell::p99),
                precise(figure(|cell| micros(cell.outcome.cpu) / cell.outcome.count as f64) * scale),
                precise(figure(|cell| micros(cell.server_cpu) / cell.outcome.count as f64) * scale),
            )
            .ok();
        }
        table
    }

    pub(super) fn neighbours(&self) -> String {
        let mut table = String::from(
            "| workload | | small calls/s | p50 us | p99 us | transfers MB/s | of those alone |\n\
         |---|---|--:|--:|--:|--:|--:|\n",
        );
        let alone = self.workloads.iter().find(|workload| workload.unit == Unit::Megabytes);
        for (title, workload, contender) in self.rows() {
            let figure = |of: Figure| self.over_rounds(workload, contender, of);
            if workload.unit == Unit::Megabytes {
                let megabytes = figure(Cell::throughput) / 1e6;
                writeln!(
                    table,
                    "| {title} | {contender} | {NOTHING} | {NOTHING} | {NOTHING} | {megabytes:.0} | |"
                )
                .ok();
                continue;
            }
            let share = median(self.findings.rounds.iter().filter_map(|round| {
                let beside = find(round, workload, contender)?.beside();
                Some(beside / find(round, alone?, contender)?.throughput())
            }));
            writeln!(
                table,
                "| {title} | {contender} | {} | {:.1} | {:.1} | {:.0} | {} |",
                rounded(figure(Cell::throughput)),
                figure(Cell::p50),
                figure(Cell::p99),
                figure(Cell::beside) / 1e6,
                ratio(share),
            )
            .ok();
        }
        table
    }

    /// How we compare with each of the others; `None` when there is nobody to compare.
    pub(super) fn ratios(&self) -> Option<String> {
        let ours = Name::Rpc;
        let (we, others): (Vec<_>, Vec<_>) = self.participants().into_iter().partition(|&name| name == ours);
        if we.is_empty() || others.is_empty() {
            return None;
        }
        let mut table = String::from("| ratio |");
        for other in &others {
            write!(table, " {ours}/{other} |").ok();
        }
        write!(table, "\n|---|{}\n", "--:|".repeat(others.len())).ok();
        for &workload in &self.workloads {
            for (what, figure) in compared(workload) {
                write!(table, "| {}, {what} |", workload.title).ok();
                for &other in &others {
                    // Within a round, so that a slow spell of the machine falls on both sides of the ratio.
                    let within_rounds = median(self.findings.rounds.iter().filter_map(|round| {
                        Some(figure(find(round, workload, ours)?) / figure(find(round, workload, other)?))
                    }));
                    write!(table, " {} |", ratio(within_rounds)).ok();
                }
                table.push('\n');
            }
        }
        Some(table)
    }

    /// Title, workload and contender of each row; a title stands only in the first row of its workload.
    fn rows(&self) -> impl Iterator<Item = (&'static str, &'static Workload, Name)> {
        self.workloads.iter().flat_map(|&workload| {
            let suited = self.contenders.iter().filter(|&&name| workload.kind().suits(name));
            suited.enumerate().map(move |(position, &name)| {
                (if position == 0 { workload.title } else { "" }, workload, name)
            })
        })
    }

    /// Who appears in any row.
    fn participants(&self) -> Vec<Name> {
        let appears = |&name: &Name| self.workloads.iter().any(|workload| workload.kind().suits(name));
        self.contenders.iter().copied().filter(appears).collect()
    }

    fn over_rounds(&self, workload: &Workload, contender: Name, figure: Figure) -> f64 {
        median(
            self.findings.rounds.iter().filter_map(|round| Some(figure(find(round, workload, contender)?))),
        )
    }
}

/// A figure of a cell.
type Figure = fn(&Cell) -> f64;

/// The figures of a workload whose ratios are worth a row, and what they are called.
fn compared(workload: &Workload) -> Vec<(&'static str, Figure)> {
    let throughput = (workload.unit.a_second().0, Cell::throughput as Figure);
    match workload.section {
        Section::Neighbours if workload.unit.has_latency() => {
            vec![("p50", Cell::p50), ("p99", Cell::p99), ("MB/s of transfers", Cell::beside)]
        }
        _ if workload.is_alone() && workload.unit.has_latency() => vec![throughput, ("p50", Cell::p50)],
        _ => vec![throughput],
    }
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

fn find<'a>(round: &'a [Cell], workload: &Workload, contender: Name) -> Option<&'a Cell> {
    round.iter().find(|cell| cell.workload == workload.name && cell.contender == contender)
}

impl Cell {
    /// How many a second.
    fn throughput(&self) -> f64 {
        self.outcome.per_second()
    }

    /// In microseconds.
    fn p50(&self) -> f64 {
        micros(self.outcome.p50)
    }

    /// In microseconds.
    fn p99(&self) -> f64 {
        micros(self.outcome.p99)
    }

    /// Bytes a second of what went on beside.
    fn beside(&self) -> f64 {
        self.outcome.beside as f64
    }
}
