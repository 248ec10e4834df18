//! What is built weighs no more than a message of its size may: values that know their weight, which is counted while
//! they live.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::Limits;
use crate::marshal::{Guard, Payload, unmarshal_payload};

thread_local! {
    /// What lives on this thread, and the most that ever did.
    static WEIGHT: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

pub(super) fn check(bytes: &[u8], limits: &Limits) {
    weigh::<Vec<Weighed<Wide>>>(bytes, limits);
    weigh::<Vec<Box<Weighed<Wide>>>>(bytes, limits);
    weigh::<Vec<Option<Box<Weighed<Wide>>>>>(bytes, limits);
    weigh::<BTreeMap<u64, Vec<Weighed<u64>>>>(bytes, limits);
    weigh::<Vec<(Weighed<u64>, Vec<Box<Weighed<[u32; 9]>>>)>>(bytes, limits);
    weigh::<Weighed<Heavy>>(bytes, limits);
}

fn weigh<T: DeserializeOwned>(bytes: &[u8], limits: &Limits) {
    WEIGHT.set((0, 0));
    let value = unmarshal_payload::<T>(&Payload::from_slice(bytes), Guard::from(limits));
    drop(value);
    let (left, most) = WEIGHT.get();
    assert_eq!(left, 0, "what was dropped weighs nothing");
    // The value itself lies with whoever asked for it.
    let allowed = limits.unmarshal_budget() + bytes.len() + size_of::<T>();
    assert!(most <= allowed, "{most} bytes were built, {allowed} were allowed");
}

/// A value whose size counts from when it is there until it is dropped.
struct Weighed<T>(#[allow(dead_code, reason = "its size is what counts")] T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Weighed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = T::deserialize(deserializer)?;
        let (now, most) = WEIGHT.get();
        let now = now + size_of::<T>();
        WEIGHT.set((now, most.max(now)));
        Ok(Weighed(value))
    }
}

impl<T> Drop for Weighed<T> {
    fn drop(&mut self) {
        let (now, most) = WEIGHT.get();
        WEIGHT.set((now - size_of::<T>(), most));
    }
}

/// Large in memory, and one byte on the wire.
#[derive(Deserialize)]
#[serde(default)]
struct Wide {
    #[allow(dead_code)]
    numbers: [[u64; 26]; 2],
}

impl Default for Wide {
    fn default() -> Self {
        Wide { numbers: [[1; 26]; 2] }
    }
}

/// Large, and has more of its kind in every way.
#[derive(Default, Deserialize)]
#[serde(default)]
#[allow(dead_code)]
struct Heavy {
    a: [u64; 16],
    b: Vec<Weighed<Heavy>>,
    c: Option<Box<Weighed<Heavy>>>,
    d: BTreeMap<u8, Weighed<Heavy>>,
    #[expect(clippy::vec_box, reason = "what is boxed is charged apart")]
    e: Vec<Box<Weighed<Heavy>>>,
}
