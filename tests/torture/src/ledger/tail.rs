//! Reads a ledger while it is written.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;

use super::record::{RECORD_BYTES, Record};
use super::writer::file_name;

/// A place in the ledger of a process.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
    number: u64,
    /// The beginning of a record whose end has not been read yet.
    rest: Vec<u8>,
}

impl Tail {
    pub(super) fn new(path: PathBuf) -> Self {
        Tail { path, file: None, number: 0, rest: Vec::new() }
    }

    /// Gives all records that have been written since, and removes the files behind them.
    ///
    /// # Errors
    /// A file cannot be read, or holds something else than records.
    pub(super) fn read(&mut self, mut each: impl FnMut(Record)) -> io::Result<()> {
        loop {
            // Looked for first: once there is a next file, nothing is added to this one any more.
            let has_next = file_name(&self.path, self.number + 1).exists();
            self.read_file(&mut each)?;
            if !has_next {
                return Ok(());
            }
            self.check_end()?;
            fs::remove_file(file_name(&self.path, self.number))?;
            self.file = None;
            self.number += 1;
        }
    }

    /// Removes what is left, when its writer is gone and all has been read.
    ///
    /// # Errors
    /// It ends with half a record, or cannot be removed.
    pub(super) fn finish(self) -> io::Result<()> {
        self.check_end()?;
        match fs::remove_file(file_name(&self.path, self.number)) {
            // Its process was killed before it began.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            ended => ended,
        }
    }

    fn check_end(&self) -> io::Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let message = format!("{} ends with {} bytes of a record", self.path.display(), self.rest.len());
        Err(io::Error::new(ErrorKind::UnexpectedEof, message))
    }

    fn read_file(&mut self, each: &mut impl FnMut(Record)) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => match File::open(file_name(&self.path, self.number)) {
                Ok(file) => self.file.insert(file),
                // Its process has not come so far.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            },
        };
        let mut buffer = [0; 256 * RECORD_BYTES];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            self.rest.extend_from_slice(&buffer[..read]);
            let (records, rest) = self.rest.as_chunks::<RECORD_BYTES>();
            for bytes in records {
                each(Record::from_bytes(bytes).ok_or(ErrorKind::InvalidData)?);
            }
            self.rest.drain(..self.rest.len() - rest.len());
        }
    }
}
