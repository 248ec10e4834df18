//! Where the instructions are spent, by layer of the framework: a table for `docs/performance.md`.

use std::{env, error::Error};

use crate::{callgrind, figures::COMPILER, page, profile, subject::Mode};

/// What belongs to a layer: by the file that code was written in; and for the standard library's code, which is inlined
/// everywhere, by the path of the function that it was inlined into. The first that fits counts.
struct Layer {
    name: &'static str,
    files: &'static [&'static str],
    paths: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer {
        name: "stub, dispatcher and handler, as generated and written",
        files: &["counts/src/subject.rs", "rpc_counts::"],
        paths: &["rpc_counts::"],
    },
    Layer {
        name: "call: the future, its route, its reply",
        files: &[
            "rpc-core/src/call.rs",
            "rpc-core/src/channel.rs",
            "rpc-core/src/returned.rs",
            "rpc-core/src/failure.rs",
        ],
        paths: &["rpc_core::call::"],
    },
    Layer {
        name: "marshalling and unmarshalling",
        files: &["rpc-core/src/marshal/", "serde", "rmp"],
        paths: &["rpc_core::marshal::"],
    },
    Layer {
        name: "messages and frames",
        files: &["rpc-core/src/message/", "rpc-core/src/frame.rs"],
        paths: &["rpc_core::message::"],
    },
    Layer {
        name: "protocol: slots, places, queue of bytes",
        files: &["rpc-core/src/protocol/"],
        paths: &["rpc_core::protocol::"],
    },
    Layer {
        name: "link, and where calls are pending",
        files: &[
            "rpc-core/src/runtime/link.rs",
            "rpc-core/src/runtime/pending.rs",
            "rpc-core/src/runtime/client.rs",
        ],
        paths: &["rpc_core::runtime::link::", "rpc_core::runtime::pending::"],
    },
    Layer {
        name: "connection's task: reads, batches",
        files: &[
            "rpc-core/src/runtime/driver/",
            "rpc-core/src/runtime/buffers.rs",
            "rpc-core/src/runtime/timer.rs",
        ],
        paths: &["rpc_core::runtime::driver::"],
    },
    Layer {
        name: "dispatch and context",
        files: &[
            "rpc-core/src/runtime/",
            "rpc-core/src/service.rs",
            "rpc-core/src/context.rs",
            "rpc-core/src/limits.rs",
        ],
        paths: &["rpc_core::"],
    },
    Layer { name: "tokio: tasks, wakers, time", files: &["tokio"], paths: &["tokio::"] },
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
        let name = LAYERS.get(row).map_or(REST, |layer| layer.name);
        text.push_str(&format!("\n| {name} |"));
        columns.iter().for_each(|costs| text.push_str(&format!(" {:.0} |", costs[row])));
    }
    text.push_str("\n| all |");
    columns.iter().for_each(|costs| text.push_str(&format!(" {:.0} |", costs.iter().sum::<f64>())));
    text.push('\n');
    if write {
        page::put(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md"), &text, "layers")?
    } else {
        print!("{text}")
    }
    Ok(())
}

/// Which layer a place such as `src/call.rs:rpc_core::call::Raw::poll` belongs to.
fn layer(place: &str) -> usize {
    let (file, function) = place.split_once(':').unwrap_or(("", place));
    let by_file = LAYERS.iter().position(|layer| layer.files.iter().any(|part| file.contains(part)));
    let of_trait = function.trim_start_matches('<');
    let by_path =
        || LAYERS.iter().position(|layer| layer.paths.iter().any(|path| of_trait.starts_with(path)));
    by_file.or_else(by_path).unwrap_or(LAYERS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_belongs_to_the_layer_that_wrote_it_or_that_it_was_inlined_into() {
        let name = |place| LAYERS.get(layer(place)).map_or(REST, |layer| layer.name);
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
