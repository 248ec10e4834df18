//! Why a value could not be unmarshalled, in words: where, what was expected, what came.

use std::fmt::{self, Display, Write};

use serde::de::{Error, Expected, Unexpected};
use serde::ser;

/// How much of what a peer sent is quoted back, in bytes.
const QUOTE: usize = 64;

/// How long a message that is made elsewhere may be, in bytes.
const MESSAGE: usize = 256;

/// Why a value could not be unmarshalled, or marshalled.
///
/// Boxed, because it travels in the result of every step that reads a value.
#[derive(Debug)]
pub(crate) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    /// From the outside inwards, as in `items[3].name`; grows at its front while the fault travels outwards.
    path: String,
    message: String,
    /// Nothing is wrong with the value but its size at this moment.
    no_room: bool,
}

impl Fault {
    #[cold]
    pub(super) fn new(message: impl Into<String>) -> Self {
        Fault(Box::new(Inner { path: String::new(), message: message.into(), no_room: false }))
    }

    /// The bytes end before the value does.
    #[cold]
    pub(super) fn cut_short() -> Self {
        Fault::new("the bytes end before the value does")
    }

    #[cold]
    pub(super) fn too_deep() -> Self {
        Fault::new("the value is nested too deeply")
    }

    #[cold]
    pub(super) fn over_budget() -> Self {
        Fault::new("the value would take more memory than a message of its size may")
    }

    #[cold]
    pub(super) fn no_room() -> Self {
        let mut fault = Fault::new("there is no room for the value beside what other connections hold");
        fault.0.no_room = true;
        fault
    }

    /// Whether there was no room for the value, and might be later.
    pub(super) fn is_no_room(&self) -> bool {
        self.0.no_room
    }

    /// A collection or string declares more than the bytes that are left can hold.
    #[cold]
    pub(super) fn too_long(declared: usize, what: &str, left: usize) -> Self {
        Fault::new(format!(
            "expected {}, but what follows is {}",
            counted(declared, what),
            counted(left, "byte")
        ))
    }

    /// Bytes follow where the value should end.
    #[cold]
    pub(super) fn not_the_end(left: usize) -> Self {
        Fault::new(format!("expected the end, got {} more", counted(left, "byte")))
    }

    /// A visitor took fewer elements than there are.
    #[cold]
    pub(super) fn surplus(taken: usize, came: usize) -> Self {
        Fault::new(format!("expected {}, got {came}", counted(taken, "element")))
    }

    /// The same fault, as seen from the array whose element it is in.
    #[cold]
    pub(super) fn in_element(mut self, index: usize) -> Self {
        self.prepend(&format!("[{index}]"));
        self
    }

    /// The same fault, as seen from the map whose value at this key it is in.
    #[cold]
    pub(super) fn in_field(mut self, key: &[u8]) -> Self {
        let name = match std::str::from_utf8(key) {
            Ok(key) => shorten(key),
            Err(_) => "?".to_owned(),
        };
        self.prepend(&format!(".{name}"));
        self
    }

    fn prepend(&mut self, step: &str) {
        // What lies innermost says most; a path that is long enough stays as it is.
        if self.0.path.len() + step.len() <= MESSAGE {
            self.0.path.insert_str(0, step);
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.path.is_empty() {
            write!(f, "at `{}`: ", self.0.path.trim_start_matches('.'))?;
        }
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        let mut bounded = Bounded { text: String::new(), bound: MESSAGE };
        // Bounded says no once it is full, and what it has by then is what is wanted.
        let _ = write!(bounded, "{message}");
        Fault::new(bounded.text)
    }

    #[cold]
    fn invalid_type(came: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Fault::new(format!("expected {expected}, got {}", describe(came)))
    }

    #[cold]
    fn invalid_value(came: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(came, expected)
    }

    #[cold]
    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Fault::new(format!("expected {expected}, got {}", counted(length, "element")))
    }

    #[cold]
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Fault::new(format!("unknown variant `{}`, expected {}", shorten(variant), one_of(expected)))
    }

    #[cold]
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Fault::new(format!("unknown field `{}`, expected {}", shorten(field), one_of(expected)))
    }

    #[cold]
    fn missing_field(field: &'static str) -> Self {
        Fault::new(format!("missing field `{field}`"))
    }

    #[cold]
    fn duplicate_field(field: &'static str) -> Self {
        Fault::new(format!("duplicate field `{field}`"))
    }
}

impl ser::Error for Fault {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        Error::custom(message)
    }
}

impl From<rmp_serde::encode::Error> for Fault {
    #[cold]
    fn from(error: rmp_serde::encode::Error) -> Self {
        Error::custom(error)
    }
}

impl From<rmp::encode::ValueWriteError> for Fault {
    #[cold]
    fn from(error: rmp::encode::ValueWriteError) -> Self {
        Error::custom(error)
    }
}

fn describe(came: Unexpected<'_>) -> String {
    match came {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => format!("the integer {value}"),
        Unexpected::Signed(value) => format!("the integer {value}"),
        Unexpected::Float(value) => format!("the float {value}"),
        Unexpected::Char(value) => format!("the character {value:?}"),
        Unexpected::Str(value) => format!("the string \"{}\"", shorten(value)),
        Unexpected::Bytes(value) => counted(value.len(), "byte"),
        Unexpected::Unit | Unexpected::Option => "nil".to_owned(),
        Unexpected::NewtypeStruct => "an extension".to_owned(),
        Unexpected::Seq => "an array".to_owned(),
        Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}

fn one_of(names: &[&str]) -> String {
    let mut bounded = Bounded { text: String::new(), bound: MESSAGE };
    for (index, name) in names.iter().enumerate() {
        let before = if index == 0 { "" } else { ", " };
        if write!(bounded, "{before}`{name}`").is_err() {
            break;
        }
    }
    match names {
        [] => "none".to_owned(),
        [_] => bounded.text,
        _ => format!("one of {}", bounded.text),
    }
}

/// A count and the noun for it.
fn counted(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

/// What a peer sent, escaped and cut to [`QUOTE`] bytes.
fn shorten(text: &str) -> String {
    let mut bounded = Bounded { text: String::new(), bound: QUOTE };
    let _ = write!(bounded, "{text}");
    bounded.text
}

/// Escapes control characters and refuses to grow beyond its bound; says by `...` that something is missing.
struct Bounded {
    text: String,
    bound: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let from = self.text.len();
            if character.is_control() || is_reordering(character) {
                self.text.extend(character.escape_unicode());
            } else {
                self.text.push(character);
            }
            if self.text.len() > self.bound {
                self.text.truncate(from);
                self.text.push_str("...");
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

/// Whether a character changes the order in which those around it are shown, and so could make a log lie.
fn is_reordering(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_escaped_and_bounded() {
        let fault = Fault::invalid_type(Unexpected::Str("a\n\u{1b}[2J\u{202e}"), &"i64");
        assert_eq!(fault.to_string(), "expected i64, got the string \"a\\u{a}\\u{1b}[2J\\u{202e}\"");
        let long = "x".repeat(100_000);
        let fault = Fault::invalid_type(Unexpected::Str(&long), &"i64");
        assert_eq!(fault.to_string(), format!("expected i64, got the string \"{}...\"", "x".repeat(QUOTE)));
        let fault: Fault = Error::custom("\n".repeat(100_000));
        assert!(fault.to_string().len() <= MESSAGE + 3);
        let fault = Fault::unknown_variant(&long, &["A", "B"]);
        assert!(fault.to_string().ends_with("...`, expected one of `A`, `B`"), "{fault}");
    }

    #[test]
    fn the_path_reads_from_the_outside_inwards() {
        let fault = Fault::new("wrong").in_field(b"name").in_element(3).in_field(b"items");
        assert_eq!(fault.to_string(), "at `items[3].name`: wrong");
        let mut fault = Fault::new("wrong");
        for index in 0..if cfg!(miri) { 100 } else { 100_000 } {
            fault = fault.in_element(index);
        }
        assert!(fault.to_string().len() < 300);
    }
}
