//! What `#[service]` refuses, and what the compiler says of types that only it can judge: message and place.
//!
//! The expected texts are those of one compiler, as others draw and word their part of them otherwise; with
//! any other compiler there is nothing to compare, and the test says so. That the mistakes are found at all is
//! tested for every compiler, in rpc-macros. `TRYBUILD=overwrite cargo test --test ui` writes the texts anew.

use std::process::Command;

/// The compiler that the `.stderr` files were written by.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn refused() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("a compiler that just compiled this");
    let version = String::from_utf8_lossy(&output.stdout);
    if !version.starts_with(COMPILER) {
        eprintln!("skipped: the expected texts are those of {COMPILER}x, and this is {version}");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/refused/*.rs");
    cases.compile_fail("tests/ui/types/*.rs");
    cases.compile_fail("tests/ui/many_mistakes.rs");
}
