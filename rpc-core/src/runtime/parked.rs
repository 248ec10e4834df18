//! One-way calls that came when as many as may ran already.
//!
//! Nobody could be told that they are refused, so they wait. In most cases that is done by not reading: what has not
//! been read waits at its sender. But a side that waits for a reply itself must read on, since one of the handlers
//! that run may be what waits for it.

use super::dispatch::TargetId;
use crate::marshal::Payload;
use crate::protocol::{Admitted, RareQueue};

/// What a call takes beside its arguments, about.
const CALL_BYTES: usize = 256;

/// They wait in the order in which they came.
#[derive(Default)]
pub(crate) struct Parked {
    calls: RareQueue<(Admitted, TargetId, Payload)>,
    bytes: usize,
}

impl Parked {
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// How much memory they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, admitted: Admitted, target: TargetId, params: Payload) {
        self.bytes += CALL_BYTES + params.len();
        self.calls.push_back((admitted, target, params));
    }

    pub(crate) fn pop(&mut self) -> Option<(Admitted, TargetId, Payload)> {
        let call = self.calls.pop_front()?;
        self.bytes -= CALL_BYTES + call.2.len();
        Some(call)
    }
}
