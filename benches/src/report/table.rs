//! The tables of one section: the figures of everyone, and our ratios to each of the others.

use super::{
    numbers::{NOTHING, median, micros, precise, ratio, rounded},
    preamble,
};
use crate::{
    compare::{Cell, Findings},
    contender::Name,
    options::Options,
    workload::{BUSY, Section, Unit, Workload},
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
        let how = format!(
            "{}; medians of {} rounds of {} ms",
            self.findings.flavour.description(),
            options.rounds,
            options.measured.as_millis()
        );
        let mut text = preamble(options, &how);
        if let Some(disturbance) = self.disturbance().filter(|_| !options.smoke) {
            writeln!(text, "**Disturbed:** {disturbance}").ok();
        }
        text
    }

    /// Says so if the machine was not ours alone.
    pub(super) fn disturbance(&self) -> Option<String> {
        disturbance(&self.cells())
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

    pub(super) fn handlers(&self) -> String {
        let mut table = String::from(
            "| workload | | light calls/s | p50 us | p99 us | of the p99 without sleepers | busy calls/s | of one core |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n",
        );
        let awake = |round: &[Cell], contender| {
            let workload = self.workloads.iter().find(|workload| workload.name == "awake")?;
            find(round, workload, contender).map(Cell::p99)
        };
        for (title, workload, contender) in self.rows() {
            let figure = |of: Figure| self.over_rounds(workload, contender, of);
            let light = workload.unit == Unit::Calls;
            let busy = if light { figure(Cell::beside) } else { figure(Cell::throughput) };
            let (light_calls, busy_calls, cores) = (
                if light { rounded(figure(Cell::throughput)) } else { NOTHING.to_owned() },
                if busy > 0.0 { rounded(busy) } else { NOTHING.to_owned() },
                if busy > 0.0 { ratio(busy * BUSY.as_secs_f64()) } else { NOTHING.to_owned() },
            );
            let without_sleepers = median(self.findings.rounds.iter().filter_map(|round| {
                let p99 = find(round, workload, contender).filter(|_| workload.name == "sleepers")?.p99();
                Some(p99 / awake(round, contender)?)
            }));
            writeln!(
                table,
                "| {title} | {contender} | {light_calls} | {:.1} | {:.1} | {} | {busy_calls} | {cores} |",
                figure(Cell::p50),
                figure(Cell::p99),
                ratio(without_sleepers),
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
                    write!(table, " {} |", ratio(self.beside(workload, ours, other, figure))).ok();
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

    /// One contender's figure divided by another's.
    pub(super) fn beside(&self, workload: &Workload, one: Name, other: Name, figure: Figure) -> f64 {
        // Within a round, so that a slow spell of the machine falls on both sides of the ratio.
        median(self.findings.rounds.iter().filter_map(|round| {
            Some(figure(find(round, workload, one)?) / figure(find(round, workload, other)?))
        }))
    }

    pub(super) fn over_rounds(&self, workload: &Workload, contender: Name, figure: Figure) -> f64 {
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
        Section::Handlers if workload.unit == Unit::Calls => {
            vec![throughput, ("p50", Cell::p50), ("p99", Cell::p99)]
        }
        _ if workload.is_alone() && workload.unit.has_latency() => vec![throughput, ("p50", Cell::p50)],
        _ => vec![throughput],
    }
}

fn disturbance(cells: &[Cell]) -> Option<String> {
    let disturbed = cells.iter().filter(|cell| cell.disturbance.is_serious()).count();
    if disturbed == 0 {
        return None;
    }
    let shares = |share: fn(&Cell) -> f64| {
        let percents = || cells.iter().map(|cell| 100.0 * share(cell));
        format!(
            "{:.0} % of the machine (at most {:.0} %)",
            median(percents()),
            percents().fold(0.0, f64::max)
        )
    };
    Some(format!(
        "in {disturbed} of {} measurements others were at work too. In the median, other processes took {}, other \
         guests of the host {}.",
        cells.len(),
        shares(|cell| cell.disturbance.others),
        shares(|cell| cell.disturbance.stolen),
    ))
}

fn find<'a>(round: &'a [Cell], workload: &Workload, contender: Name) -> Option<&'a Cell> {
    round.iter().find(|cell| cell.workload == workload.name && cell.contender == contender)
}

impl Cell {
    /// How many a second.
    pub(super) fn throughput(&self) -> f64 {
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
