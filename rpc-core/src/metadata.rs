//! Metadata: named texts that travel beside a call or its reply, for what is about the call and not of it.

/// Named texts beside a call or a reply: a tenant, a trace, a token. A name occurs once.
///
/// Limit: [`Limits::metadata_bytes`](crate::Limits::metadata_bytes), 8 KiB by default: names and values together,
/// and 32 bytes for each entry, as HTTP/2 counts (RFC 9113, section 10.5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    entries: Vec<(Box<str>, Box<str>)>,
    bytes: usize,
}

const ENTRY_BYTES: usize = 32;

impl Metadata {
    /// The text of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(entry, value)| (entry == name).then_some(value))
    }

    /// Sets the text of a name; what stood there is replaced.
    pub fn insert(&mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) {
        let (name, value) = (name.into(), value.into());
        match self.entries.iter_mut().find(|(entry, _)| *entry == name) {
            Some((_, text)) => {
                self.bytes = self.bytes - text.len() + value.len();
                *text = value;
            }
            None => {
                self.bytes += name.len() + value.len() + ENTRY_BYTES;
                self.entries.push((name, value));
            }
        }
    }

    /// All names and texts, in the order in which the names were first set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Its size as the limit counts it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes an entry from the wire: counted always, kept only within the limit, so that an excess can be refused
    /// by its size and has cost nothing.
    pub(crate) fn receive(&mut self, name: &str, value: &str, limit: usize) {
        self.bytes = self.bytes.saturating_add(name.len() + value.len() + ENTRY_BYTES);
        if self.bytes <= limit {
            self.entries.push((name.into(), value.into()));
        }
    }
}

impl<N: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(N, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let mut metadata = Metadata::default();
        entries.into_iter().for_each(|(name, value)| metadata.insert(name, value));
        metadata
    }
}
