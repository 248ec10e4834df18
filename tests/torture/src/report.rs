//! What a run says: a line now and then, and a table in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ledger::Counts;

/// One line of how it goes.
pub(crate) fn progress(elapsed: Duration, counts: &Counts, more: &str) {
    let share = 100.0 * counts.well() as f64 / counts.attempts.max(1) as f64;
    println!(
        "{:5} s   {} calls, {} attempts, {share:.1} % well, {} executions, {} mismatches{more}",
        elapsed.as_secs(),
        counts.calls,
        counts.attempts,
        counts.executions,
        counts.mismatches,
    );
}

/// The table of all that happened.
pub(crate) fn table(counts: &Counts, sections: &[(&str, &BTreeMap<String, u64>)]) {
    let row = |name: &str, count: u64| println!("  {name:<44} {count:>12}");
    println!("\nthe ledger");
    row("calls", counts.calls);
    row("attempts", counts.attempts);
    row("executions", counts.executions);
    row("without an outcome, since the caller was killed", counts.cut_short);
    row("MISMATCHES", counts.mismatches);
    println!("\nhow attempts ended");
    for (name, count) in &counts.endings {
        row(name, *count);
    }
    for (title, rows) in sections {
        println!("\n{title}");
        for (name, count) in *rows {
            row(name, *count);
        }
    }
    println!();
}
