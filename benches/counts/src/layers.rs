//! Where the instructions are spent, by layer of the framework: a table for `docs/performance.md`.

use std::{env, error::Error, fs, path::PathBuf};

use crate::{callgrind, figures::COMPILER, profile, subject::Mode};

/// What belongs to a layer: by the file that code was written in, and for the standard library's code, which is inlined
/// everywhere, by the function that it was inlined into. The first that fits counts.
const LAYERS: [(&str, &[&str]); 9] = [
    ("stub, dispatcher and handler, as generated and written", &["counts/src/subject.rs", "rpc_counts::"]),
    (
        "call: the future, its route, its reply",
        &[
            "rpc-core/src/call.rs",
            "rpc-core/src/channel.rs",
            "rpc-core/src/returned.rs",
            "rpc-core/src/failure.rs",
        ],
    ),
    ("marshalling and unmarshalling", &["rpc-core/src/marshal/", "serde", "rmp"]),
    ("messages and frames", &["rpc-core/src/message/", "rpc-core/src/frame.rs"]),
    ("protocol: slots, places, queue of bytes", &["rpc-core/src/protocol/"]),
    (
        "link, and where calls are pending",
        &[
            "rpc-core/src/runtime/link.rs",
            "rpc-core/src/runtime/pending.rs",
            "rpc-core/src/runtime/client.rs",
        ],
    ),
    (
        "connection's task: reads, batches",
        &["rpc-core/src/runtime/driver/", "rpc-core/src/runtime/buffers.rs", "rpc-core/src/runtime/timer.rs"],
    ),
    (
        "dispatch and context",
        &[
            "rpc-core/src/runtime/",
            "rpc-core/src/service.rs",
            "rpc-core/src/context.rs",
            "rpc-core/src/limits.rs",
        ],
    ),
    ("tokio: tasks, wakers, time", &["tokio"]),
];

/// The same by paths of functions.
const PATHS: [(&str, usize); 10] = [
    ("rpc_counts::", 0),
    ("rpc_core::call::", 1),
    ("rpc_core::marshal::", 2),
    ("rpc_core::message::", 3),
    ("rpc_core::protocol::", 4),
    ("rpc_core::runtime::link::", 5),
    ("rpc_core::runtime::pending::", 5),
    ("rpc_core::runtime::driver::", 6),
    ("rpc_core::", 7),
    ("tokio::", 8),
];

const REST: &str = "standard library and libc, where they stand alone";

/// Prints the table, or puts it into the page.
pub fn table(modes: &[&Mode], write: bool) -> Result<(), Box<dyn Error>> {
    let mut columns = Vec::new();
    for mode in modes {
        let out = env::temp_dir().join(format!("callgrind.{}.out", mode.name));
        let calls = callgrind::profile(mode, &out)? as f64;
        let mut costs = [0.0; LAYERS.len() + 1];
        for (place, cost) in profile::places(&profile::annotated(&out, false)?) {
            costs[layer(place)] += cost / calls;
        }
        columns.push(costs);
    }
    let mut text = format!("Built with {COMPILER}.\n\n| layer |");
    modes.iter().for_each(|mode| text.push_str(&format!(" {} |", mode.what)));
    text.push_str("\n|---|");
    modes.iter().for_each(|_| text.push_str("--:|"));
    for row in 0..=LAYERS.len() {
        let name = LAYERS.get(row).map_or(REST, |(name, _)| name);
        text.push_str(&format!("\n| {name} |"));
        columns.iter().for_each(|costs| text.push_str(&format!(" {:.0} |", costs[row])));
    }
    text.push_str("\n| all |");
    columns.iter().for_each(|costs| text.push_str(&format!(" {:.0} |", costs.iter().sum::<f64>())));
    text.push('\n');
    if write {
        put_into_page(&text)?
    } else {
        print!("{text}")
    }
    Ok(())
}

/// Which layer a place such as `src/call.rs:rpc_core::call::Raw::poll` belongs to.
fn layer(place: &str) -> usize {
    let (file, function) = place.split_once(':').unwrap_or(("", place));
    let by_file = LAYERS.iter().position(|(_, files)| files.iter().any(|part| file.contains(part)));
    let of_trait = function.trim_start_matches('<');
    let by_path = || PATHS.iter().find(|(path, _)| of_trait.starts_with(path)).map(|(_, layer)| *layer);
    by_file.or_else(by_path).unwrap_or(LAYERS.len())
}

fn put_into_page(table: &str) -> Result<(), Box<dyn Error>> {
    const MARKS: [&str; 2] = ["<!-- layers: begin -->\n", "<!-- layers: end -->"];
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/performance.md");
    let page = fs::read_to_string(&path)?;
    let missing = || format!("{} lacks the marks of this table", path.display());
    let (before, rest) = page.split_once(MARKS[0]).ok_or_else(missing)?;
    let (_, after) = rest.split_once(MARKS[1]).ok_or_else(missing)?;
    Ok(fs::write(&path, format!("{before}{}{table}{}{after}", MARKS[0], MARKS[1]))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_belongs_to_the_layer_that_wrote_it_or_that_it_was_inlined_into() {
        let name = |place| LAYERS.get(layer(place)).map_or(REST, |(name, _)| name);
        assert!(
            name("rpc-core/src/message/wire.rs:rpc_core::runtime::driver::running::take")
                .starts_with("messages")
        );
        assert!(
            name("core/src/num/mod.rs:rpc_core::protocol::calls::Calls<C>::start").starts_with("protocol")
        );
        assert!(name("core/src/mem/mod.rs:<rpc_core::call::Call<T> as Future>::poll").starts_with("call"));
        assert!(name("tokio-1.47/src/runtime/task/core.rs:tokio::runtime::poll").starts_with("tokio"));
        assert_eq!(name("???:__memcpy_avx_unaligned_erms"), REST);
    }
}
