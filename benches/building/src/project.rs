//! A crate like that of a user, in a directory of its own, and what cargo makes of it.

use crate::Result;
use crate::usage::Usage;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Which framework a crate uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framework {
    /// This one.
    Rpc,
    /// tarpc.
    Tarpc,
}

/// A crate of one file.
#[derive(Debug)]
pub struct Project {
    directory: PathBuf,
    name: &'static str,
}

impl Project {
    /// Makes the crate, with the versions of dependencies that the benchmarks are locked to.
    pub fn create(within: &Path, name: &'static str, dependencies: &str, program: &str) -> Result<Self> {
        let project = Self { directory: within.join(name), name };
        fs::create_dir_all(project.directory.join("src"))?;
        let manifest = format!(
            "[workspace]\n\n[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n\
             [dependencies]\n{dependencies}"
        );
        fs::write(project.directory.join("Cargo.toml"), manifest)?;
        fs::copy(
            concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"),
            project.directory.join("Cargo.lock"),
        )?;
        project.write(program)?;
        // What is downloaded is no part of a build.
        project.cargo(&["fetch"])?;
        Ok(project)
    }

    /// Replaces the program.
    pub fn write(&self, program: &str) -> Result<()> {
        Ok(fs::write(self.directory.join("src/main.rs"), program)?)
    }

    /// Runs cargo and gives what it used.
    pub fn cargo(&self, arguments: &[&str]) -> Result<Usage> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).args(["--quiet", "--manifest-path"]).arg(self.directory.join("Cargo.toml"));
        // As a user has it who has set nothing.
        for variable in ["CARGO_INCREMENTAL", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"] {
            command.env_remove(variable);
        }
        command.env("CARGO_TARGET_DIR", self.target());
        let (status, usage) = Usage::of(|| command.status())?;
        let done = || arguments.join(" ");
        if status?.success() {
            Ok(usage)
        } else {
            Err(format!("cargo {} failed: {}", done(), self.name).into())
        }
    }

    /// Forgets all that was built.
    pub fn forget(&self) -> Result<()> {
        absent_is_fine(fs::remove_dir_all(self.target()))
    }

    /// Forgets what the compiler keeps of this crate for the next debug build. Its dependencies stay built.
    pub fn forget_increments(&self) -> Result<()> {
        absent_is_fine(fs::remove_dir_all(self.target().join("debug/incremental")))
    }

    /// What the program, built already, prints.
    pub fn run(&self, profile: &str) -> Result<String> {
        let output = Command::new(self.binary(profile)).output()?;
        if !output.status.success() {
            return Err(format!("{} failed: {}", self.name, String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// The bytes of machine code in the program, its libraries included.
    pub fn code(&self, profile: &str) -> Result<u64> {
        let output =
            Command::new("size").args([OsStr::new("-A"), self.binary(profile).as_os_str()]).output()?;
        let sections = String::from_utf8(output.stdout)?;
        let text = sections.lines().find_map(|line| line.strip_prefix(".text ")?.split_whitespace().next());
        Ok(text.ok_or("`size` says nothing of .text")?.parse()?)
    }

    fn binary(&self, profile: &str) -> PathBuf {
        self.target().join(profile).join(self.name)
    }

    fn target(&self) -> PathBuf {
        self.directory.join("target")
    }
}

fn absent_is_fine(removed: io::Result<()>) -> Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
