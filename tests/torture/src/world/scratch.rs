//! A directory of a run's own, for ledgers and what processes write to their errors.

use std::fs;
use std::path::{Path, PathBuf};

use crate::options::Failure;
use crate::random::Random;

/// The directory. It stays when something went wrong, so that one can look.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Self, Failure> {
        let name = format!("torture-{}-{:08x}", std::process::id(), Random::seed_of_now() as u32);
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Scratch(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What processes said when they panicked.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn panics(&self) -> Result<Vec<String>, Failure> {
        let mut panics = Vec::new();
        for file in fs::read_dir(&self.0)? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "stderr") {
                continue;
            }
            let words = fs::read_to_string(&path)?;
            if words.contains("panicked at") {
                let words: Vec<_> = words.lines().take(12).collect();
                panics.push(format!("{} panicked:\n    {}", path.display(), words.join("\n    ")));
            }
        }
        Ok(panics)
    }

    pub(super) fn remove(&self) -> Result<(), Failure> {
        Ok(fs::remove_dir_all(&self.0)?)
    }
}
