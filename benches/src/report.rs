//! The findings as Markdown: tables of figures and of ratios, and what to think of the run; and as a plot.

mod costs;
mod numbers;
mod plot;
mod table;

pub use costs::{counts, marshal};

use crate::{
    compare::Findings,
    contender::Result,
    measure::Machine,
    options::{Flavour, Options},
    page,
    workload::{IDLE_STREAMS_A_CONNECTION, Section, Workload},
};
use numbers::median;
use std::{fmt::Write as _, fs};
use table::Table;

/// The report of one section, without a heading.
pub fn markdown(section: Section, findings: &Findings, options: &Options) -> String {
    let workloads = options.workloads.iter().copied().filter(|workload| workload.section == section);
    let workloads: Vec<&Workload> = workloads.collect();
    let table = Table { findings, workloads, contenders: &options.contenders };
    let mut sections = vec![table.preamble(options)];
    if !table.workloads.is_empty() {
        sections.push(match section {
            Section::Neighbours => table.neighbours(),
            Section::Handlers => table.handlers(),
            _ => table.figures(),
        });
        sections.extend(table.ratios());
    }
    sections.extend(match section {
        Section::Calls => in_process_and_idle(findings),
        Section::Streams => idle_streams(findings, options),
        _ => None,
    });
    sections.join("\n")
}

/// The name of the place for a section on one kind of runtime in docs/performance.md.
pub fn place(section: Section, flavour: Flavour) -> String {
    format!("{section}, {flavour}")
}

/// Prints a report, and puts it where docs/performance.md marks its place if that is wanted.
pub fn publish(place: &str, report: &str, options: &Options) -> Result<()> {
    println!("## {place}\n\n{report}");
    if options.write {
        page::put(&docs("performance.md"), report, place)?;
    }
    Ok(())
}

/// Draws the calls a second, if these were measured, beside docs/performance.md if that is wanted.
pub fn publish_plot(findings: &Findings, options: &Options) -> Result<()> {
    if let Some(plot) = plot::calls(findings, options)
        && options.write
    {
        fs::write(docs(&plot_name(findings.flavour)), plot)?;
    }
    Ok(())
}

fn plot_name(flavour: Flavour) -> String {
    format!("performance-{flavour}.svg")
}

fn docs(name: &str) -> String {
    format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// When, where and how it was measured.
fn preamble(options: &Options, how: &str) -> String {
    let mut text = format!("{}; {}; {how}.\n", Machine::date(), Machine::description());
    if options.smoke {
        text += "This was a trial run: its figures mean nothing.\n";
    }
    text
}

fn in_process_and_idle(findings: &Findings) -> Option<String> {
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

fn idle_streams(findings: &Findings, options: &Options) -> Option<String> {
    let streams = options.idle_streams;
    let mut text = format!(
        "Resident memory for each of {streams} open streams that gave one item and then nothing, \
         {IDLE_STREAMS_A_CONNECTION} on a connection, in bytes:\n\n| | server | client |\n|---|--:|--:|\n",
    );
    for (name, [server, client]) in &findings.idle_streams {
        writeln!(text, "| {name} | {server:.0} | {client:.0} |").ok();
    }
    (!findings.idle_streams.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::between_marks;

    #[test]
    fn only_the_marked_place_changes() {
        let page = "a\n<!-- streams, multi-thread: begin -->\nold\n<!-- streams, multi-thread: end -->\nb\n";
        let replace = |section, flavour| between_marks(page, "new\n", &place(section, flavour));
        assert_eq!(
            replace(Section::Streams, Flavour::MultiThread).expect("the marks are there"),
            "a\n<!-- streams, multi-thread: begin -->\nnew\n<!-- streams, multi-thread: end -->\nb\n"
        );
        assert!(replace(Section::Streams, Flavour::CurrentThread).is_none());
        assert!(replace(Section::Calls, Flavour::MultiThread).is_none());
    }

    #[test]
    fn the_page_has_a_place_for_every_table_and_plot() {
        let page = include_str!("../../docs/performance.md");
        let has = |place: &str| between_marks(page, "", place).is_some();
        for &section in Section::ALL {
            if section.has_workloads() {
                for &flavour in Flavour::ALL {
                    assert!(has(&place(section, flavour)), "{section}, {flavour}");
                }
            } else {
                assert!(has(section.as_str()), "{section}");
            }
        }
        for &flavour in Flavour::ALL {
            assert!(page.contains(&format!("({})", plot_name(flavour))), "the plot of {flavour}");
        }
    }
}
