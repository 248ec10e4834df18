//! Options of the command line, `--name value`, and how a command fails.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// Why a command failed, in words for whoever ran it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What was said beside the command's name.
#[derive(Debug)]
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    /// Takes them from the command line.
    ///
    /// # Errors
    /// Something is no option, lacks its value, or stands twice.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, Failure> {
        let mut arguments = words.iter();
        let mut options = BTreeMap::new();
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").ok_or_else(|| format!("{argument:?} is no option"))?;
            let value = arguments.next().ok_or_else(|| format!("--{name} needs a value"))?;
            if options.insert(name.to_owned(), (*value).to_owned()).is_some() {
                return Err(format!("--{name} stands twice").into());
            }
        }
        Ok(Options(options))
    }

    /// The value of an option, if it was given.
    ///
    /// # Errors
    /// It cannot be read as a `T`.
    pub(crate) fn take<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(format!("--{name} {value}: {error}").into()),
        }
    }

    /// The value of an option that must be given.
    ///
    /// # Errors
    /// It was not given, or cannot be read.
    pub(crate) fn need<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T, Failure> {
        self.take(name)?.ok_or_else(|| format!("--{name} is missing").into())
    }

    /// Checks that all of them were understood.
    ///
    /// # Errors
    /// Some were not.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("there is no option --{name} here").into()),
        }
    }
}
