//! Marshalled values that are not in one piece: large [`Bytes`] in them stay where they are.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::pool;

/// From this size on bytes are handed on where they lie; below, copying costs less.
pub(crate) const APART_BYTES: usize = 4 * 1024;

/// Takes marshalled bytes in their order.
pub(crate) trait Gather {
    /// Bytes that are to be copied.
    fn copy(&mut self, bytes: &[u8]);

    /// Bytes that are large enough to be handed on as they are.
    fn keep(&mut self, bytes: Bytes);
}

/// A marshalled value, some of which stands apart.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Everything else, side by side.
    body: Bytes,
    /// What stands apart, each with the place in `body` before which it belongs: no two at the same, for each is the
    /// contents of a binary, whose head is in `body`.
    apart: Vec<(usize, Bytes)>,
    len: usize,
    /// All of it in one piece, if somebody wanted that.
    whole: OnceLock<Bytes>,
}

impl Gathered {
    pub(super) fn new(body: Bytes, apart: Vec<(usize, Bytes)>) -> Self {
        let len = body.len() + apart.iter().map(|(_, piece)| piece.len()).sum::<usize>();
        Gathered { body, apart, len, whole: OnceLock::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    /// What belongs before a place in the body.
    pub(super) fn at(&self, place: usize) -> Option<&Bytes> {
        let index = self.apart.binary_search_by_key(&place, |(at, _)| *at).ok()?;
        Some(&self.apart[index].1)
    }

    /// The piece that bytes in it are all of, if they are.
    pub(super) fn piece(&self, bytes: &[u8]) -> Option<&Bytes> {
        let mut pieces = self.apart.iter().map(|(_, piece)| piece);
        pieces.find(|piece| piece.as_ptr_range() == bytes.as_ptr_range())
    }

    /// All of it in one piece: copied when that is asked for first.
    pub(super) fn whole(&self) -> &Bytes {
        self.whole.get_or_init(|| {
            let mut whole = pool::take_whole(self.len);
            self.hand_over(&mut whole);
            pool::share(whole)
        })
    }

    pub(super) fn hand_over(&self, to: &mut impl Gather) {
        let mut from = 0;
        for (at, piece) in &self.apart {
            self.hand_over_body(from, *at, to);
            to.keep(piece.clone());
            from = *at;
        }
        self.hand_over_body(from, self.body.len(), to);
    }

    fn hand_over_body(&self, from: usize, to: usize, gather: &mut impl Gather) {
        if to - from < APART_BYTES {
            gather.copy(&self.body[from..to]);
        } else {
            gather.keep(self.body.slice(from..to));
        }
    }
}

impl Gather for Vec<u8> {
    fn copy(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn keep(&mut self, bytes: Bytes) {
        self.extend_from_slice(&bytes);
    }
}
