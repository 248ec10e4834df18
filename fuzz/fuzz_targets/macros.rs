//! Nothing can depend on what a crate of macros is made of, so this is made of the same sources.
#![no_main]

#[path = "../../rpc-macros/src/check.rs"]
mod check;
#[path = "../../rpc-macros/src/expand/mod.rs"]
mod expand;
#[path = "../../rpc-macros/src/fuzzing.rs"]
mod fuzzing;
#[path = "../../rpc-macros/src/keys.rs"]
mod keys;
#[path = "../../rpc-macros/src/model/mod.rs"]
mod model;
#[path = "../../rpc-macros/src/parse.rs"]
mod parse;
#[path = "../../rpc-macros/src/pipeline.rs"]
mod pipeline;
#[path = "../../rpc-macros/src/report.rs"]
mod report;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::macros(data));
