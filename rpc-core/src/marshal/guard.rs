//! What unmarshalling may cost: the limits, not their enforcement, which is the reader's.

use crate::Limits;
use crate::memory::SMALL_BYTES;

/// Bounds what a peer's bytes may make this process do: how deep they nest, how much memory they fill.
///
/// A check of lengths is not enough. A megabyte of empty maps is well-formed, and becomes hundreds of megabytes
/// when each of them is a large struct made of defaults; ten kilobytes of nested enums overflow a stack.
///
/// A collection that grows may have reserved up to twice what it was charged, without using it; and what an
/// allocator adds to small pieces is not seen: a `Vec` of one-letter strings takes twice what it is charged, and so does a
/// `BTreeMap` of few entries. Out of proportion are boxed scalars and a `LinkedList` of them (32 bytes each, charged as
/// 8 and as 1). And where serde
/// keeps values for later (in untagged and internally tagged enums and flattened structs), they are charged and
/// counted as they are kept, at 32 bytes each; what serde then builds from them is out of sight here. An untagged
/// enum with a variant that is just itself (`Option<Box<Self>>`) recurses there for ever, in every format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    depth: u32,
    budget: usize,
}

/// Whether it is kept to. Only `benches/counts` builds code that does not, to see what that costs.
pub(super) const GUARDED: bool = !cfg!(rpc_unguarded);

impl Default for Guard {
    /// That of the default limits: 64 levels, and 16 MiB above the message's own size.
    fn default() -> Self {
        Guard::from(&Limits::default())
    }
}

impl From<&Limits> for Guard {
    #[inline]
    fn from(limits: &Limits) -> Self {
        Guard { depth: limits.unmarshal_depth(), budget: limits.unmarshal_budget() }
    }
}

impl Guard {
    /// How deep values may nest; every array, map, enum, option and newtype is a level.
    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// How many bytes the elements of collections and what is boxed may take beyond the message's own size.
    ///
    /// Charged by the size of the Rust types that are built, for all elements that a collection declares, before
    /// the first of them is. The contents of strings and binaries are not charged: they are part of the message.
    pub(crate) fn budget(&self) -> usize {
        self.budget
    }

    /// How much of that is to be taken from the memory that all connections have together: all but a little.
    #[inline]
    pub(crate) fn reserve(&self) -> usize {
        self.budget.saturating_sub(SMALL_BYTES)
    }

    /// The same guard with another [`depth`](Self::depth).
    #[cfg(test)]
    #[must_use]
    pub(super) fn with_depth(mut self, depth: u32) -> Self {
        self.depth = depth;
        self
    }

    /// The same guard with another [`budget`](Self::budget).
    #[cfg(test)]
    #[must_use]
    pub(super) fn with_budget(mut self, budget: usize) -> Self {
        self.budget = budget;
        self
    }
}
