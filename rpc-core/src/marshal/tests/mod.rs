//! Marshalling as a whole: hostile bytes, serde's data model, and rmp-serde as a second opinion.

mod apart;
mod hostile;
mod memory;
mod model;
mod second_opinion;

use super::{Payload, Shape};

fn named<T: serde::Serialize + ?Sized>(value: &T) -> Payload {
    Payload::marshal(value, Shape::Named).unwrap()
}

fn positional<T: serde::Serialize + ?Sized>(value: &T) -> Payload {
    Payload::marshal(value, Shape::Positional).unwrap()
}
