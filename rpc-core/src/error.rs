//! How a call fails: [`Error`] when the remote call itself failed, [`CallError`] when it may also have been the
//! procedure that said no.
//!
//! This module owns what a failure *means*: whose fault it was ([`Code`]), whether the procedure ran
//! ([`Executed`]), whether another try is safe. How an error looks on the wire is the business of
//! [`crate::message`].

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::marshal::{self, Payload, Shape};

/// What went wrong, in the sixteen words that gRPC made common.
///
/// The numbers are gRPC's, and they are what travels on the wire.
/// Source: <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Code {
    /// The call was cancelled, usually by its caller.
    Cancelled = 1,
    /// An error of a kind that this version does not know.
    Unknown = 2,
    /// The caller sent something that cannot be right, whatever the state of the server.
    InvalidArgument = 3,
    /// The deadline passed before the call ended.
    DeadlineExceeded = 4,
    /// Something that was asked for does not exist.
    NotFound = 5,
    /// Something that was to be created exists.
    AlreadyExists = 6,
    /// The caller is known and may not do this.
    PermissionDenied = 7,
    /// A limit was reached: of calls, of bytes, of memory.
    ResourceExhausted = 8,
    /// The system is not in the state that the call needs; trying again changes nothing until that is mended.
    FailedPrecondition = 9,
    /// The call lost against a concurrent one; start over at a higher level.
    Aborted = 10,
    /// Past the end of something valid.
    OutOfRange = 11,
    /// The server does not know the service or the method.
    Unimplemented = 12,
    /// Something that must hold did not; a panic in a handler is one.
    Internal = 13,
    /// The server cannot be reached now; another try later may succeed.
    Unavailable = 14,
    /// Data was lost or damaged beyond repair.
    DataLoss = 15,
    /// The caller did not say, or could not prove, who it is.
    Unauthenticated = 16,
}

impl Code {
    const ALL: [Code; 16] = [
        Code::Cancelled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];

    /// The number on the wire, 1 to 16.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The code of a number on the wire; one that this version does not know is [`Code::Unknown`].
    pub fn from_number(number: u64) -> Code {
        usize::try_from(number)
            .ok()
            .and_then(|number| number.checked_sub(1))
            .and_then(|index| Self::ALL.get(index).copied())
            .unwrap_or(Code::Unknown)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Code::Cancelled => "cancelled",
            Code::Unknown => "unknown",
            Code::InvalidArgument => "invalid argument",
            Code::DeadlineExceeded => "deadline exceeded",
            Code::NotFound => "not found",
            Code::AlreadyExists => "already exists",
            Code::PermissionDenied => "permission denied",
            Code::ResourceExhausted => "resource exhausted",
            Code::FailedPrecondition => "failed precondition",
            Code::Aborted => "aborted",
            Code::OutOfRange => "out of range",
            Code::Unimplemented => "unimplemented",
            Code::Internal => "internal",
            Code::Unavailable => "unavailable",
            Code::DataLoss => "data loss",
            Code::Unauthenticated => "unauthenticated",
        })
    }
}

/// Whether the procedure ran: what a caller must know before it tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Executed {
    /// It did not start: the call never left this process, or the server proves that it refused it.
    No = 0,
    /// It may have: the connection was lost, or the deadline passed, after the call may have been sent.
    Maybe = 1,
    /// It started: the server answered with an error.
    Yes = 2,
}

impl Executed {
    pub(crate) fn from_number(number: u64) -> Executed {
        match number {
            0 => Executed::No,
            2 => Executed::Yes,
            _ => Executed::Maybe,
        }
    }
}

/// A remote call that failed as a call: what went wrong, and whether the procedure ran.
///
/// A handler returns one to fail with a code of its choice (`Result<T, rpc::Error>` in the trait); the runtime
/// makes them for everything that distribution adds: lost connections, deadlines, limits, unknown methods.
///
/// # Example
/// ```
/// use rpc_core::{Code, Error, Executed};
///
/// let error = Error::new(Code::NotFound, "no account 7").with_executed(Executed::Yes);
/// assert_eq!(error.code(), Code::NotFound);
/// assert!(!error.is_retryable());
/// assert_eq!(error.to_string(), "not found: no account 7");
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    executed: Executed,
    /// Whether the method was declared `#[rpc(idempotent)]`: then "may have run" is no reason not to try again.
    idempotent: bool,
    /// It tells how a call ended that was made here: what it says of that is not true of a call that is served here.
    reported: bool,
    message: String,
    details: Option<Bytes>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with a code and a message; [`executed`](Self::executed) is [`Executed::Yes`], as it is for an
    /// error that a handler returns.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            code,
            executed: Executed::Yes,
            idempotent: false,
            reported: false,
            message: message.into(),
            details: None,
            source: None,
        }))
    }

    /// The same error with another answer to "did it run".
    ///
    /// A handler that has done nothing may say so by [`Executed::No`], and its caller may try again. It must say so of
    /// itself: the error of a call that it has made, handed on as it is, means [`Executed::Yes`] to its own caller,
    /// since the handler ran.
    #[must_use]
    pub fn with_executed(mut self, executed: Executed) -> Self {
        self.0.executed = executed;
        self.0.reported = false;
        self
    }

    /// The same error with details that the caller can unmarshal with [`details`](Self::details).
    ///
    /// Details that cannot be marshalled are left out.
    #[must_use]
    pub fn with_details<T: serde::Serialize>(mut self, details: &T) -> Self {
        self.0.details = Payload::marshal(details, Shape::Named).ok().map(|details| details.into_bytes());
        self
    }

    /// The same error with its cause, which stays in this process.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// What went wrong.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Whether the procedure ran.
    pub fn executed(&self) -> Executed {
        self.0.executed
    }

    /// What went wrong, in words for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The details that the other side attached, unmarshalled; `None` if there are none or they are not a `T`.
    pub fn details<T: DeserializeOwned>(&self) -> Option<T> {
        marshal::unmarshal(self.0.details.as_deref()?).ok()
    }

    /// Whether another try of the same call is safe and may end differently.
    ///
    /// True for [`Code::Unavailable`] and [`Code::ResourceExhausted`] if the procedure did not run
    /// ([`Executed::No`]), or may have ([`Executed::Maybe`]) and its method is `#[rpc(idempotent)]`.
    pub fn is_retryable(&self) -> bool {
        let may_differ = matches!(self.code(), Code::Unavailable | Code::ResourceExhausted);
        may_differ
            && match self.executed() {
                Executed::No => true,
                Executed::Maybe => self.0.idempotent,
                Executed::Yes => false,
            }
    }

    pub(crate) fn not_executed(code: Code, message: impl Into<String>) -> Self {
        Error::new(code, message).with_executed(Executed::No)
    }

    pub(crate) fn with_raw_details(mut self, details: Option<Bytes>) -> Self {
        self.0.details = details;
        self
    }

    pub(crate) fn raw_details(&self) -> Option<&Bytes> {
        self.0.details.as_ref()
    }

    /// The same error as the caller gets it.
    pub(crate) fn reported(mut self) -> Self {
        self.0.reported = true;
        self
    }

    /// The same error as that of the call in whose handler it was returned.
    pub(crate) fn returned(self) -> Self {
        if self.0.reported { self.with_executed(Executed::Yes) } else { self }
    }

    pub(crate) fn with_idempotent(mut self, idempotent: bool) -> Self {
        self.0.idempotent = idempotent;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message().is_empty() {
            write!(f, "{}", self.code())
        } else {
            write!(f, "{}: {}", self.code(), self.message())
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug
            .field("code", &self.0.code)
            .field("executed", &self.0.executed)
            .field("message", &self.0.message);
        if let Some(details) = &self.0.details {
            debug.field("details", &format_args!("{} bytes", details.len()));
        }
        if let Some(source) = &self.0.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// How a call of a method that returns `Result<T, E>` fails: the procedure said no, or the call itself failed.
#[derive(Clone, Debug)]
pub enum CallError<E> {
    /// The procedure ran and returned this.
    App(E),
    /// The call failed as a call.
    Rpc(Error),
}

impl<E> CallError<E> {
    /// The procedure's own error, if it was that.
    pub fn app(&self) -> Option<&E> {
        match self {
            CallError::App(error) => Some(error),
            CallError::Rpc(_) => None,
        }
    }

    /// The failure of the call, if it was that.
    pub fn rpc(&self) -> Option<&Error> {
        match self {
            CallError::App(_) => None,
            CallError::Rpc(error) => Some(error),
        }
    }
}

impl<E> From<Error> for CallError<E> {
    fn from(error: Error) -> Self {
        CallError::Rpc(error)
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::App(error) => error.fmt(f),
            CallError::Rpc(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> StdError for CallError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.rpc().and_then(StdError::source)
    }
}

/// No protocol version is spoken by both sides: the cause of the error that `connect` gives then.
///
/// # Example
/// ```
/// # fn look(error: rpc_core::Error) {
/// use std::error::Error as _;
///
/// if let Some(mismatch) = error.source().and_then(|cause| cause.downcast_ref::<rpc_core::VersionMismatch>()) {
///     eprintln!("the server speaks {:?}", mismatch.theirs);
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VersionMismatch {
    /// The versions that this side speaks.
    pub ours: std::ops::RangeInclusive<u64>,
    /// The versions that the other side speaks.
    pub theirs: std::ops::RangeInclusive<u64>,
}

impl fmt::Display for VersionMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no protocol version in common: this side speaks {} to {}, the other {} to {}",
            self.ours.start(),
            self.ours.end(),
            self.theirs.start(),
            self.theirs.end()
        )
    }
}

impl StdError for VersionMismatch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_numbers_agree() {
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(code.number()), index + 1);
            assert_eq!(Code::from_number(index as u64 + 1), code);
        }
        assert_eq!(Code::from_number(0), Code::Unknown);
        assert_eq!(Code::from_number(17), Code::Unknown);
        assert_eq!(Code::from_number(u64::MAX), Code::Unknown);
    }

    #[test]
    fn a_retry_is_safe_only_where_it_can_differ_and_cannot_run_twice() {
        let error = |code, executed| Error::new(code, "").with_executed(executed);
        assert!(error(Code::Unavailable, Executed::No).is_retryable());
        assert!(!error(Code::Unavailable, Executed::Maybe).is_retryable());
        assert!(error(Code::Unavailable, Executed::Maybe).with_idempotent(true).is_retryable());
        assert!(!error(Code::Unavailable, Executed::Yes).with_idempotent(true).is_retryable());
        assert!(!error(Code::InvalidArgument, Executed::No).is_retryable());
        assert!(!error(Code::Unimplemented, Executed::No).is_retryable());
    }

    #[test]
    fn an_error_is_one_pointer() {
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    }
}
