//! The examples as programs.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// An example's program, built as this test was: of tests that are named, cargo builds nothing else.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test has a file");
    let profile = test.ancestors().nth(2).expect("it lies in PROFILE/deps");
    let target = profile.parent().expect("the profile lies in the target directory");
    let profile_name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", name, "--profile", profile_name, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo was started");
    assert!(status.success(), "{name} does not build");
    profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX))
}
