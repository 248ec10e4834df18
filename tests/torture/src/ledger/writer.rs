//! Where a process writes its records.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::record::{Attempt, Event, Method, RECORD_BYTES, Record};

/// A file is as long as that, 1 MiB; then comes the next, so that those that have been checked can be removed.
const RECORDS_PER_FILE: u64 = 1024 * 1024 / RECORD_BYTES as u64;

/// The ledger of one process.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    files: u64,
    records: u64,
}

impl Ledger {
    /// Begins one, in files that are called `path` and a number.
    ///
    /// # Errors
    /// The first of them exists, or cannot be made.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        let open = Open { file: create(&path, 0)?, files: 1, records: 0 };
        Ok(Ledger { path, open: Mutex::new(open) })
    }

    /// Writes a record: when this returns, it survives this process.
    ///
    /// # Panics
    /// It cannot be written. A ledger with a gap proves nothing, so there is no going on.
    pub(crate) fn append(&self, attempt: Attempt, method: Method, event: Event) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record { attempt, method, event, at: since.as_micros() as u64 };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = open.append(&self.path, record) {
            panic!("{}: a record cannot be written: {error}", self.path.display());
        }
    }
}

impl Open {
    fn append(&mut self, path: &Path, record: Record) -> io::Result<()> {
        if self.records == RECORDS_PER_FILE {
            self.file = create(path, self.files)?;
            self.files += 1;
            self.records = 0;
        }
        self.records += 1;
        // One system call; a short one would leave half a record, which the reader would find.
        let written = self.file.write(&record.to_bytes())?;
        if written == RECORD_BYTES { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

/// The name of a ledger's file.
pub(super) fn file_name(path: &Path, number: u64) -> PathBuf {
    path.with_extension(number.to_string())
}

fn create(path: &Path, number: u64) -> io::Result<File> {
    File::options().append(true).create_new(true).open(file_name(path, number))
}
