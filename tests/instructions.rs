//! A small call costs the instructions of `benches/counts/figures.txt`, within 3 %.
//!
//! `benches/counts` counts them under valgrind, with one compiler and on one kind of machine, since figures of others say
//! nothing. Where one of these is missing, this is left out, and said to be; with `RPC_REQUIRE_VALGRIND=1` in the
//! environment the want of valgrind is a failure.

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const FIGURES: &str = include_str!("../benches/counts/figures.txt");

#[test]
fn a_small_call_costs_the_committed_instructions() {
    let mut cargo = match cargo() {
        Ok(cargo) => cargo,
        Err(missing) => {
            // Not by a macro: what those print is not shown of a test that passes.
            let _ = writeln!(
                std::io::stderr(),
                "left out: the instructions of a small call, for want of {missing}"
            );
            return;
        }
    };
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/counts/Cargo.toml");
    cargo.args(["run", "--release", "--quiet", "--locked", "--manifest-path"]).arg(manifest);
    // Flags of one's own make other code.
    let output = cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").output();
    let output = output.expect("cargo runs this test, so it can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
}

/// A cargo with the compiler that the figures belong to, where they can be counted; else what is missing.
fn cargo() -> Result<Command, String> {
    let figures =
        FIGURES.lines().find(|line| !line.starts_with('#')).expect("the compiler is the first line");
    let (compiler, target) = figures.split_once(", ").expect("the target is behind the compiler");
    if !is_such_a_machine() {
        return Err(format!("a machine as the figures belong to: {target} with AVX2"));
    }
    if said(Command::new("valgrind").arg("--version")).is_none() {
        let missing = "valgrind; `.ci/valgrind-setup` or the system's package of that name brings it";
        assert!(
            env::var_os("RPC_REQUIRE_VALGRIND").is_none_or(|value| value != "1"),
            "there is no {missing}"
        );
        return Err(missing.to_owned());
    }
    if said(Command::new("rustc").arg("--version")).is_some_and(|version| version == compiler) {
        return Ok(Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())));
    }
    let number = compiler.split(' ').nth(1).expect("the number is behind the name");
    if said(Command::new("rustup").args(["run", number, "rustc", "--version"])).is_some_and(|v| v == compiler)
    {
        let mut cargo = Command::new("rustup");
        cargo.args(["run", number, "cargo"]);
        return Ok(cargo);
    }
    Err(format!("the compiler that the figures belong to; `rustup toolchain install {number}` brings it"))
}

/// With AVX2 valgrind makes all processors look the same, so that the C library chooses the same functions.
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
fn is_such_a_machine() -> bool {
    std::is_x86_feature_detected!("avx2")
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")))]
fn is_such_a_machine() -> bool {
    false
}

/// What a program says that succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
