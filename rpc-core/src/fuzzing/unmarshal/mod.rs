//! Unmarshalling: what is taken, what it means and what it may cost.

mod dynamic;
mod recursive;
mod weighed;

use super::Input;
use crate::Limits;
use crate::marshal::Guard;

/// Reads a guard, and then a value, which is unmarshalled as each of the types here.
pub fn unmarshal(data: &[u8]) {
    let mut input = Input::new(data);
    let depth = u32::from(input.byte()) % 80;
    let budget = usize::from(input.u16());
    let limits = Limits::default().with_unmarshal_depth(depth).with_unmarshal_budget(budget);
    let bytes = input.rest();
    dynamic::check(bytes, &limits);
    weighed::check(bytes, &limits);
    recursive::check(bytes, Guard::from(&limits));
}
