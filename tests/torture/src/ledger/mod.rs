//! What every process writes down of each call, and what must be true of all of it together.
//!
//! A caller writes that it intends a call before it makes it, and how it ended after that. A handler writes that it was
//! executed before it answers. Each record is one `write` to the end of a file: it is in the kernel's memory then, where
//! it survives the process that is killed the moment after.

mod books;
mod judge;
mod record;
mod tail;
mod writer;

pub(crate) use books::{Books, Counts, Writer};
pub(crate) use record::{Attempt, Ending, Event, Method};
pub(crate) use writer::Ledger;
