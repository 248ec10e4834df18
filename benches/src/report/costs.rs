//! The tables of what was counted rather than timed, and of marshalling.

use super::{
    numbers::{median, rounded},
    preamble,
};
use crate::{counts::Count, marshal::Finding, options::Options};
use std::fmt::Write as _;

/// Instructions and allocations of a call.
pub fn counts(counts: &[Count], options: &Options) -> String {
    let mut text = preamble(options, "counted by valgrind; one thread in each process");
    text += "\n| a call of | | client instructions | server instructions | client allocations | server allocations |\n\
             |---|---|--:|--:|--:|--:|\n";
    let mut before = "";
    for Count { workload, contender, instructions, allocations } in counts {
        let title = if workload.title == before { "" } else { workload.title };
        before = workload.title;
        let [client, server] = instructions.map(rounded);
        // What happens once in hundreds of calls is what did not cancel out between the two runs.
        let [on_client, on_server] = allocations.map(|count| format!("{:.1}", count.max(0.0)));
        writeln!(text, "| {title} | {contender} | {client} | {server} | {on_client} | {on_server} |").ok();
    }
    text
}

/// Marshalling of a few values, by everyone who does it.
pub fn marshal(rounds: &[Vec<Finding>], options: &Options) -> String {
    let mut text = preamble(options, &format!("one thread; medians of {} rounds", options.rounds));
    text += "\n| value | | bytes | marshal ns | unmarshal ns |\n|---|---|--:|--:|--:|\n";
    let mut before = "";
    for (position, first) in rounds.first().into_iter().flatten().enumerate() {
        let title = if first.value == before { "" } else { &*first.value };
        before = &first.value;
        let over_rounds = |figure: fn(&Finding) -> f64| {
            // Every round measures the same in the same order.
            let figures = rounds.iter().filter_map(|round| round.get(position).map(figure));
            whole(median(figures))
        };
        let marshal = over_rounds(|finding| finding.marshal);
        let unmarshal = over_rounds(|finding| finding.unmarshal);
        let (codec, bytes) = (&first.codec, first.bytes);
        writeln!(text, "| {title} | {codec} | {bytes} | {marshal} | {unmarshal} |").ok();
    }
    text
}

/// A whole number, its thousands apart.
fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0.4, 999.0, 1000.0, 1_234_567.2].map(whole), ["0", "999", "1,000", "1,234,567"]);
    }
}
