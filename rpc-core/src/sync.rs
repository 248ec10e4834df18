//! The locks and atomics by which threads of this crate wait for each other: the standard library's, or those of loom
//! where the models run (`--cfg rpc_loom`), which try every order that two threads can take them in.
//!
//! What stays the standard library's everywhere, since no order hangs on it: `Arc`, which only counts here, and what
//! belongs to a thread. The pool of large messages is a static, which loom cannot have, and its lock is held for a few
//! lines only.

#[cfg(all(test, rpc_loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(all(test, rpc_loom)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};
