//! A bad network: TCP proxies of our own on loopback that delay, slice, stall, cut and reset what passes, and leave its
//! bytes as they are.

mod carry;
mod link;
mod weather;

pub(crate) use link::{Link, connect};
pub(crate) use weather::{Counts, Weather};
