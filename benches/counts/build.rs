//! Tells the program which compiler it was built with, since figures belong to one.

use std::{env, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().map(|output| output.stdout);
    let version = String::from_utf8_lossy(&version.unwrap_or_default()).trim().to_owned();
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=COMPILER={version}, {target}");
}
