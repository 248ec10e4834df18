//! Marshalling as a whole: hostile bytes, serde's data model, and rmp-serde as a second opinion.

mod apart;
mod hostile;
mod memory;
mod model;
mod second_opinion;

use super::{Payload, Shape};

/// Miri is some thousand times slower, so what is done many times, or to large values, is done less often there.
const fn fewer<const MANY: usize, const UNDER_MIRI: usize>() -> usize {
    if cfg!(miri) { UNDER_MIRI } else { MANY }
}

fn named<T: serde::Serialize + ?Sized>(value: &T) -> Payload {
    Payload::marshal(value, Shape::Named).unwrap()
}

fn positional<T: serde::Serialize + ?Sized>(value: &T) -> Payload {
    Payload::marshal(value, Shape::Positional).unwrap()
}
