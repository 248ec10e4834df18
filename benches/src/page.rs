//! Reports where a page marks the place for them. Each of the benchmarks' crates has this file as a module.

use std::{fs, io};

/// Puts a report between the marks of its place on the page at `path`.
///
/// # Errors
/// The page cannot be read or written, or has no such marks.
pub fn put(path: &str, report: &str, place: &str) -> io::Result<()> {
    let missing = || io::Error::other(format!("{path} has no place for {place}"));
    fs::write(path, between_marks(&fs::read_to_string(path)?, report, place).ok_or_else(missing)?)
}

/// The page with the report in its place, if it has one.
pub fn between_marks(page: &str, report: &str, place: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {place}: begin -->\n"), format!("<!-- {place}: end -->\n"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{report}{end}{after}"))
}
