//! A client's and a server's connection against each other in virtual time, and against bytes that no honest side
//! sends. Cases by number are those of the table in `docs/limits.md`.

mod back;
mod both_ways;
mod cancels;
mod ends;
mod flow;
mod hostile;
mod large;
mod seeds;
mod stream_ends;
mod stream_hostile;
mod stream_seeds;
mod streams;
mod time;

use super::pair;
