//! A link of the tests' own: it can be slow, and it can be cut.
