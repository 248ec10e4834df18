//! The calls a second as bars, drawn as SVG by hand.
//!
//! A panel a workload and a bar a contender, as long as its calls a second are beside raw2's, whose length is marked
//! through the panel. The workloads are orders of magnitude apart, so that one scale for all would show little.

use super::{
    numbers::{NOTHING, ratio, rounded},
    table::Table,
};
use crate::{
    compare::{Cell, Findings},
    contender::Name,
    measure::Machine,
    options::Options,
    workload::{Kind, Section, Workload},
};
use std::fmt::Write as _;

/// The plot of the section of calls; `None` if that or raw2 was not measured.
pub(super) fn calls(findings: &Findings, options: &Options) -> Option<String> {
    let calls = |workload: &&Workload| workload.section == Section::Calls;
    let workloads: Vec<&'static Workload> = options.workloads.iter().copied().filter(calls).collect();
    let contenders = options.contenders.iter().copied().filter(|&name| Kind::Calls.suits(name));
    let contenders: Vec<Name> = contenders.collect();
    if workloads.is_empty() || !contenders.contains(&Name::Raw2) {
        return None;
    }
    let table = Table { findings, workloads, contenders: &contenders };
    let panel = |&workload: &&'static Workload| Panel {
        title: workload.title,
        bars: contenders
            .iter()
            .map(|&name| Bar {
                name,
                throughput: table.over_rounds(workload, name, Cell::throughput),
                ratio: table.beside(workload, name, Name::Raw2, Cell::throughput),
            })
            .collect(),
    };
    let mut notes = vec![
        "Bars are as long as the calls a second are beside those of raw2, where the line is. Longer is better."
            .to_owned(),
        format!("{}; {}; medians of {} rounds", Machine::date(), Machine::description(), options.rounds),
    ];
    // The table says more, in a line that has more room.
    let disturbance = table.disturbance().and_then(|text| Some(text.split_once(". ")?.0.to_owned()));
    notes.extend(disturbance.map(|text| format!("Disturbed: {text}.")));
    let title = format!("Calls a second, {}", findings.flavour.description());
    Some(draw(&title, &notes, &table.workloads.iter().map(panel).collect::<Vec<_>>()))
}

/// One workload.
struct Panel {
    title: &'static str,
    bars: Vec<Bar>,
}

/// One contender.
#[derive(Clone, Copy)]
struct Bar {
    name: Name,
    /// Calls a second.
    throughput: f64,
    /// The same beside those of raw2.
    ratio: f64,
}

fn draw(title: &str, notes: &[String], panels: &[Panel]) -> String {
    let bars = panels.iter().map(|panel| panel.bars.len()).max().unwrap_or_default();
    let panel_height = PANEL_HEAD + bars as f64 * BAR_STEP + PANEL_GAP;
    let top = HEAD + notes.len() as f64 * NOTE_STEP;
    let height = top + panels.len().div_ceil(COLUMNS) as f64 * panel_height;
    // One scale for all panels, so that lengths may be compared between them.
    let longest = panels.iter().flat_map(|panel| &panel.bars).map(|bar| bar.ratio).fold(1.0, f64::max);
    let scale = (COLUMN - NAMES - FIGURES) / longest;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"title\">\n<title id=\"title\">{title}</title>\n\
         <style>{STYLE}</style>\n<rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"head\" x=\"{MARGIN}\" y=\"30\">{title}</text>\n",
        title = escaped(title),
    );
    for (note, y) in notes.iter().zip(1..) {
        let y = 34.0 + f64::from(y) * NOTE_STEP;
        writeln!(svg, "<text class=\"note\" x=\"{MARGIN}\" y=\"{y}\">{}</text>", escaped(note)).ok();
    }
    for (index, panel) in panels.iter().enumerate() {
        let x = MARGIN + (index % COLUMNS) as f64 * (COLUMN + MARGIN);
        let y = top + (index / COLUMNS) as f64 * panel_height;
        writeln!(svg, "<g transform=\"translate({x} {y})\">").ok();
        draw_panel(&mut svg, panel, scale);
        svg += "</g>\n";
    }
    svg += "</svg>\n";
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel, scale: f64) {
    writeln!(svg, "<text class=\"title\" x=\"0\" y=\"14\">{}</text>", escaped(panel.title)).ok();
    for (index, &Bar { name, throughput, ratio: of_raw2 }) in panel.bars.iter().enumerate() {
        let y = PANEL_HEAD + index as f64 * BAR_STEP;
        let base = y + BAR - 4.0;
        // A contender without figures still has its row.
        let length = if of_raw2.is_finite() { of_raw2 * scale } else { 0.0 };
        let calls = if throughput.is_finite() { rounded(throughput) } else { NOTHING.to_owned() };
        let class = if name == Name::Rpc { "ours" } else { "other" };
        let [names, figures] = [NAMES - 8.0, COLUMN - RATIOS];
        writeln!(
            svg,
            "<text class=\"end\" x=\"{names}\" y=\"{base}\">{name}</text>\
             <rect class=\"{class}\" x=\"{NAMES}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\"/>\
             <text class=\"end\" x=\"{figures}\" y=\"{base}\">{calls}</text>\
             <text class=\"end\" x=\"{COLUMN}\" y=\"{base}\">{}</text>",
            ratio(of_raw2)
        )
        .ok();
    }
    let (x, end) = (NAMES + scale, PANEL_HEAD - 3.0 + panel.bars.len() as f64 * BAR_STEP);
    writeln!(svg, "<path class=\"unit\" d=\"M{x:.1} {}V{end}\"/>", PANEL_HEAD - 3.0).ok();
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Colours for pages in the light and in the dark; viewers that do not know which draw the former, on its own ground.
const STYLE: &str = "
text { font: 12px system-ui, sans-serif; fill: #24292f }
.head { font-size: 17px; font-weight: 600 }
.title { font-size: 13px; font-weight: 600 }
.note { font-size: 11px; fill: #57606a }
.end { text-anchor: end }
.page { fill: #ffffff }
.ours { fill: #0969da }
.other { fill: #afb8c1 }
.unit { fill: none; stroke: #57606a; stroke-dasharray: 3 2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.note { fill: #9198a1 }
.page { fill: #0d1117 }
.ours { fill: #4493f8 }
.other { fill: #484f58 }
.unit { stroke: #9198a1 }
}
";

/// The measures of the plot, in pixels.
const WIDTH: f64 = 900.0;
const MARGIN: f64 = 24.0;
const COLUMNS: usize = 2;
const COLUMN: f64 = (WIDTH - 3.0 * MARGIN) / 2.0;
const HEAD: f64 = 48.0;
const NOTE_STEP: f64 = 16.0;
const PANEL_HEAD: f64 = 24.0;
const PANEL_GAP: f64 = 18.0;
const BAR: f64 = 15.0;
const BAR_STEP: f64 = 19.0;
/// The room for the names, left of the bars.
const NAMES: f64 = 84.0;
/// The room for calls a second and ratio, right of the longest bar.
const FIGURES: f64 = 100.0;
/// That of the ratio within it.
const RATIOS: f64 = 42.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(ratios: &[(Name, f64)]) -> String {
        let bars = ratios.iter().map(|&(name, ratio)| Bar { name, throughput: 1e6 * ratio, ratio });
        let panel = || Panel { title: "64 < in flight", bars: bars.clone().collect() };
        draw("calls & more", &["a note".to_owned()], &[panel(), panel(), panel()])
    }

    /// The lengths of the bars that stand beside text.
    fn lengths(svg: &str) -> Vec<f64> {
        let bars = svg.split("<rect class=\"o").skip(1);
        let length = |bar: &str| bar.split_once("width=\"")?.1.split_once('"')?.0.parse().ok();
        bars.map(|bar| length(bar).expect("a bar has a length")).collect()
    }

    #[test]
    fn bars_are_in_proportion_and_leave_room_for_their_figures() {
        let svg = plot(&[(Name::Raw2, 1.0), (Name::Rpc, 1.5), (Name::Tonic, 0.1)]);
        let lengths = lengths(&svg);
        assert_eq!(lengths.len(), 3 * 3);
        assert!((lengths[1] / lengths[0] - 1.5).abs() < 0.01 && (lengths[2] / lengths[0] - 0.1).abs() < 0.01);
        assert!(lengths.iter().all(|length| NAMES + length + FIGURES <= COLUMN + 0.1));
        assert!(svg.contains(">1.50 M</text>") && svg.contains(">1.50</text>"));
    }

    #[test]
    fn it_is_well_formed_whatever_stands_in_it() {
        for svg in [plot(&[(Name::Raw2, 1.0), (Name::Rpc, f64::NAN)]), plot(&[(Name::Raw2, f64::NAN)])] {
            assert!(svg.contains("calls &amp; more") && svg.contains("64 &lt; in flight"));
            let balance = ["svg", "g", "text", "title", "style"].map(|tag| {
                let opened =
                    svg.matches(&format!("<{tag} ")).count() + svg.matches(&format!("<{tag}>")).count();
                (opened, svg.matches(&format!("</{tag}>")).count())
            });
            assert!(balance.iter().all(|(opened, closed)| opened == closed), "{balance:?}");
            assert!(!svg.contains("NaN"), "{svg}");
        }
    }
}
