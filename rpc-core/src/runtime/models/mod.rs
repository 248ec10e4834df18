//! Models of what threads do to each other here: each runs in every order that its locks can be taken in, with a bounded
//! number of preemptions, under loom. They drive the functions of production, on links whose transport is memory.
//!
//! A thread that waits for what will never come is a deadlock, and fails its model: so each of them shows that no
//! wake-up is lost, beside what it is named after. No time passes in them, so no timer can make up for one.
//!
//! ```text
//! RUSTFLAGS="--cfg rpc_loom" cargo test -p rpc-core --lib --target-dir target/loom models
//! ```

mod calls;
mod clients;
mod drains;
mod local_streams;
mod memory;
mod pending;
mod places;
mod streams;
mod world;
mod writers;
