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

/// The plot of the section of calls; `None` if nothing of that was measured.
pub(super) fn calls(findings: &Findings, options: &Options) -> Option<String> {
    let workloads: Vec<&'static Workload> =
        options.workloads.iter().copied().filter(|workload| workload.section == Section::Calls).collect();
    let contenders = options.contenders.iter().copied().filter(|&name| Kind::Calls.suits(name));
    let contenders: Vec<Name> = contenders.collect();
    if workloads.is_empty() || contenders.is_empty() {
        return None;
    }
    let table = Table { findings, workloads, contenders: &contenders };
    let panels = table.workloads.iter().map(|workload| Panel {
        title: workload.title,
        bars: contenders
            .iter()
            .map(|&name| (name, table.over_rounds(workload, name, Cell::throughput)))
            .collect(),
    });
    let title = format!("Calls a second, {}", findings.flavour.description());
    let notes = [
        "Bars are as long as the calls a second are beside those of raw2, where the line is; longer is better. \
         Each panel has its own raw2."
            .to_owned(),
        format!("{}; {}; medians of {} rounds", Machine::date(), Machine::description(), options.rounds),
    ];
    Some(draw(&title, &notes, &panels.collect::<Vec<_>>()))
}

/// One workload.
struct Panel {
    title: &'static str,
    /// Who made how many calls a second.
    bars: Vec<(Name, f64)>,
}

impl Panel {
    /// What the bars are measured by: raw2, or the best if that took no part.
    fn unit(&self) -> f64 {
        let raw2 = self.bars.iter().find(|(name, _)| *name == Name::Raw2);
        raw2.map_or_else(
            || self.bars.iter().fold(0.0, |most, &(_, value)| value.max(most)),
            |&(_, value)| value,
        )
    }

    /// The longest bar, in units.
    fn longest(&self) -> f64 {
        self.bars.iter().map(|(_, value)| value / self.unit()).fold(1.0, f64::max)
    }
}

fn draw(title: &str, notes: &[String], panels: &[Panel]) -> String {
    let bars = panels.iter().map(|panel| panel.bars.len()).max().unwrap_or_default();
    let panel_height = PANEL_HEAD + bars as f64 * BAR_STEP + PANEL_GAP;
    let top = HEAD + notes.len() as f64 * NOTE_STEP;
    let height = top + panels.len().div_ceil(COLUMNS) as f64 * panel_height;
    // One scale for all panels, so that lengths may be compared between them.
    let longest = panels.iter().map(Panel::longest).fold(1.0, f64::max);
    let scale = (COLUMN - NAMES - LABELS) / longest;

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
    for (index, &(name, value)) in panel.bars.iter().enumerate() {
        let y = PANEL_HEAD + index as f64 * BAR_STEP;
        let (text, units) = (y + BAR - 4.0, value / panel.unit());
        // A contender without figures still has its row.
        let (length, label) = if units.is_finite() {
            (units * scale, format!("{} ({})", rounded(value), ratio(units)))
        } else {
            (0.0, NOTHING.to_owned())
        };
        let class = if name == Name::Rpc { "ours" } else { "other" };
        let (names_end, label_begin) = (NAMES - 8.0, NAMES + length + 6.0);
        writeln!(
            svg,
            "<text class=\"name\" x=\"{names_end}\" y=\"{text}\">{name}</text>\
             <rect class=\"{class}\" x=\"{NAMES}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\"/>\
             <text x=\"{label_begin:.1}\" y=\"{text}\">{label}</text>",
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
.name { text-anchor: end }
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
/// The room for the figures, right of the longest bar.
const LABELS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(bars: &[(Name, f64)]) -> String {
        let panel = || Panel { title: "64 < in flight", bars: bars.to_vec() };
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
        let svg = plot(&[(Name::Raw2, 100.0), (Name::Rpc, 150.0), (Name::Tonic, 10.0)]);
        let lengths = lengths(&svg);
        assert_eq!(lengths.len(), 3 * 3);
        assert!((lengths[1] / lengths[0] - 1.5).abs() < 0.01 && (lengths[2] / lengths[0] - 0.1).abs() < 0.01);
        assert!(lengths.iter().all(|length| NAMES + length + LABELS <= COLUMN + 0.1));
        assert!(svg.contains("150 (1.50)"));
    }

    #[test]
    fn it_is_well_formed_whatever_stands_in_it() {
        for svg in [plot(&[(Name::Raw2, f64::NAN), (Name::Rpc, 1.0)]), plot(&[(Name::Tonic, 3.0)])] {
            assert!(svg.contains("calls &amp; more") && svg.contains("64 &lt; in flight"));
            let opened = ["svg", "g", "text", "title", "style"].map(|tag| {
                let opened =
                    svg.matches(&format!("<{tag} ")).count() + svg.matches(&format!("<{tag}>")).count();
                (opened, svg.matches(&format!("</{tag}>")).count())
            });
            assert!(opened.iter().all(|(opened, closed)| opened == closed), "{opened:?}");
            assert!(!svg.contains("NaN"), "{svg}");
        }
    }
}
