//! One line of a ledger: 64 bytes, whatever it says.

use std::fmt;

use rpc::{Code, Executed};

/// How long a record is. A divisor of a page: the kernel copies page by page, and may stop between two of them when the
/// process is killed, so a record that lies in one page is there as a whole or not at all.
pub(crate) const RECORD_BYTES: usize = 64;

/// The methods that are called under torture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Method {
    /// Answers at once.
    Plain = 1,
    /// The same, and may be repeated.
    Repeatable,
    /// Fails as its own type.
    Refuse,
    /// Waits before it answers.
    Slow,
    /// The same, and runs to its end even if its caller is gone.
    Finish,
    /// Is not answered.
    Note,
    /// Answers with a stream.
    Download,
    /// Takes a stream.
    Upload,
    /// Both.
    Converse,
    /// Calls its caller back before it answers.
    Consult,
    /// What is called back.
    Answer,
}

impl Method {
    pub(crate) const ALL: [Method; 11] = [
        Method::Plain,
        Method::Repeatable,
        Method::Refuse,
        Method::Slow,
        Method::Finish,
        Method::Note,
        Method::Download,
        Method::Upload,
        Method::Converse,
        Method::Consult,
        Method::Answer,
    ];

    /// Whether it may be executed more than once for a call, if that is tried again.
    pub(crate) fn is_idempotent(self) -> bool {
        self == Method::Repeatable
    }

    /// Whether nobody hears what became of it.
    pub(crate) fn is_oneway(self) -> bool {
        self == Method::Note
    }
}

/// A try at a call: the call's number, which belongs to it alone in all processes, and which try it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Attempt {
    pub(crate) call: u64,
    pub(crate) number: u32,
}

/// Calls that a process can number: more than it ever makes.
const SEQUENCE_BITS: u32 = 40;

impl Attempt {
    /// The first attempt at a process's call with this number in sequence.
    pub(crate) fn first(caller: u32, sequence: u64) -> Self {
        Attempt { call: (u64::from(caller) << SEQUENCE_BITS) | sequence, number: 1 }
    }

    /// The process whose call it is.
    pub(crate) fn caller(self) -> u32 {
        (self.call >> SEQUENCE_BITS) as u32
    }

    /// The how-manieth call of its process.
    pub(crate) fn sequence(self) -> u64 {
        self.call & ((1 << SEQUENCE_BITS) - 1)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}.{}, attempt {}", self.caller(), self.sequence(), self.number)
    }
}

/// How an attempt ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// With a value, or a whole stream, of this hash.
    Ok(u64),
    /// With the method's own error.
    App,
    /// As a call: the numbers of its code and of [`Executed`].
    Error(u8, u8),
    /// Its caller dropped it.
    Dropped,
    /// With something that it cannot have ended with: items out of order, twice, altered or missing without an error.
    Disordered,
}

impl Ending {
    /// Whether this says that the procedure was executed.
    pub(crate) fn says_executed(self) -> bool {
        match self {
            Ending::Ok(_) | Ending::App => true,
            Ending::Error(_, executed) => executed == Executed::Yes as u8,
            Ending::Dropped | Ending::Disordered => false,
        }
    }

    /// Whether this can happen where processes die, connections break and places are few: no handler panics, and all data
    /// can be understood.
    pub(crate) fn is_explained(self) -> bool {
        let Ending::Error(code, _) = self else { return true };
        matches!(
            Code::from_number(code.into()),
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled
        )
    }

    /// Whether this says that it was not.
    pub(crate) fn says_not_executed(self) -> bool {
        matches!(self, Ending::Error(_, executed) if executed == Executed::No as u8)
    }
}

impl From<&rpc::Error> for Ending {
    fn from(error: &rpc::Error) -> Self {
        Ending::Error(error.code().number(), error.executed() as u8)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Ending::Ok(_) => f.write_str("ok"),
            Ending::App => f.write_str("its own error"),
            Ending::Dropped => f.write_str("dropped by its caller"),
            Ending::Disordered => f.write_str("DISORDERED"),
            Ending::Error(code, executed) => {
                let executed = match executed {
                    0 => "No",
                    1 => "Maybe",
                    _ => "Yes",
                };
                write!(f, "{}, executed: {executed}", Code::from_number(code.into()))
            }
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its caller is about to make the attempt, with arguments of one hash, and a reply of the other in mind.
    Intended { arguments: u64, reply: u64 },
    /// A handler runs, with arguments of this hash; 0 where they are a stream that is yet to come.
    Executed { arguments: u64 },
    /// Its caller knows how it ended.
    Ended(Ending),
    /// A handler was given items that nobody sent in this order.
    Disordered,
}

/// An event, and the attempt and moment that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) attempt: Attempt,
    pub(crate) method: Method,
    pub(crate) event: Event,
    /// By the system's clock, in microseconds: for people, nothing is concluded from it.
    pub(crate) at: u64,
}

impl Record {
    pub(crate) fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let (kind, small, words) = match self.event {
            Event::Intended { arguments, reply } => (1, [0, 0], [arguments, reply]),
            Event::Executed { arguments } => (2, [0, 0], [arguments, 0]),
            Event::Ended(Ending::Ok(reply)) => (3, [0, 0], [reply, 0]),
            Event::Ended(Ending::App) => (4, [0, 0], [0, 0]),
            Event::Ended(Ending::Error(code, executed)) => (5, [code, executed], [0, 0]),
            Event::Ended(Ending::Dropped) => (6, [0, 0], [0, 0]),
            Event::Ended(Ending::Disordered) => (7, [0, 0], [0, 0]),
            Event::Disordered => (8, [0, 0], [0, 0]),
        };
        let mut bytes = [0; RECORD_BYTES];
        bytes[..4].copy_from_slice(&[kind, self.method as u8, small[0], small[1]]);
        bytes[4..8].copy_from_slice(&self.attempt.number.to_le_bytes());
        let words = [self.attempt.call, self.at, words[0], words[1]];
        for (place, word) in bytes[8..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Nothing if these bytes are no record.
    pub(crate) fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Record> {
        let word = |index: usize| {
            let start = 8 + index * 8;
            bytes[start..start + 8].iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte))
        };
        let [kind, method, code, executed, number @ ..] = bytes.first_chunk::<8>()?;
        let event = match kind {
            1 => Event::Intended { arguments: word(2), reply: word(3) },
            2 => Event::Executed { arguments: word(2) },
            3 => Event::Ended(Ending::Ok(word(2))),
            4 => Event::Ended(Ending::App),
            5 => Event::Ended(Ending::Error(*code, *executed)),
            6 => Event::Ended(Ending::Dropped),
            7 => Event::Ended(Ending::Disordered),
            8 => Event::Disordered,
            _ => return None,
        };
        let method = Method::ALL.into_iter().find(|known| *known as u8 == *method)?;
        let attempt = Attempt { call: word(0), number: u32::from_le_bytes(*number) };
        Some(Record { attempt, method, event, at: word(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_went() {
        let events = [
            Event::Intended { arguments: 1, reply: u64::MAX },
            Event::Executed { arguments: 0x0102_0304_0506_0708 },
            Event::Ended(Ending::Ok(7)),
            Event::Ended(Ending::App),
            Event::Ended(Ending::Error(14, 1)),
            Event::Ended(Ending::Dropped),
            Event::Ended(Ending::Disordered),
            Event::Disordered,
        ];
        for (event, method) in events.into_iter().zip(Method::ALL) {
            let attempt = Attempt { number: 3, ..Attempt::first(70_000, 1 << 39) };
            let record = Record { attempt, method, event, at: 1_234_567_890_123_456 };
            assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record));
            assert_eq!((attempt.caller(), attempt.sequence()), (70_000, 1 << 39));
        }
        assert_eq!(Record::from_bytes(&[0; RECORD_BYTES]), None);
    }
}
