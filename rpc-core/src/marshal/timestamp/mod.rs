//! An instant, in MessagePack's own form for instants.
//!
//! Source: the timestamp extension, <https://github.com/msgpack/msgpack/blob/master/spec.md#timestamp-extension-type>.

mod calendar;
mod convert;
mod wire;

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use self::calendar::Civil;

const NANOS: u32 = 1_000_000_000;

/// An instant: seconds since the Unix epoch, before it too, and nanoseconds.
///
/// It travels as MessagePack's timestamp extension, which other languages read as their own type of instant, and
/// in formats for people as text in the form of RFC 3339. It converts from and to [`SystemTime`], and behind the
/// features of their names the instants of `chrono`, `jiff` and `time`.
///
/// # Example
/// ```
/// use std::time::{Duration, SystemTime};
/// use rpc_core::Timestamp;
///
/// let billion = Timestamp::new(1_000_000_000, 500_000_000).expect("half a second is less than one");
/// assert_eq!(billion.to_string(), "2001-09-09T01:46:40.5Z");
/// assert_eq!(SystemTime::try_from(billion)?, SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000_500));
/// # Ok::<(), rpc_core::TimestampRangeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    /// Always below a second; counts forwards also before the epoch.
    nanoseconds: u32,
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Timestamp = Timestamp { seconds: 0, nanoseconds: 0 };

    /// The earliest instant that can be told.
    pub const MIN: Timestamp = Timestamp { seconds: i64::MIN, nanoseconds: 0 };

    /// The latest instant that can be told.
    pub const MAX: Timestamp = Timestamp { seconds: i64::MAX, nanoseconds: NANOS - 1 };

    /// The instant so many seconds after the epoch (before it, if negative) and so many nanoseconds after that;
    /// `None` if those are a second or more.
    pub const fn new(seconds: i64, nanoseconds: u32) -> Option<Self> {
        if nanoseconds < NANOS { Some(Timestamp { seconds, nanoseconds }) } else { None }
    }

    /// The present instant, by the system's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after [`seconds`](Self::seconds), 0 to 999,999,999.
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }
}

/// An instant that the type it was to be converted to has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimestampRangeError;

impl fmt::Display for TimestampRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the instant is out of range")
    }
}

impl std::error::Error for TimestampRangeError {}

impl From<SystemTime> for Timestamp {
    /// Every instant that today's systems can tell fits; any other would become [`Timestamp::MIN`] or
    /// [`Timestamp::MAX`].
    fn from(instant: SystemTime) -> Self {
        match instant.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs())
                .map_or(Self::MAX, |seconds| Timestamp { seconds, nanoseconds: since.subsec_nanos() }),
            Err(before) => {
                let before = before.duration();
                // Seconds are rounded down, so that nanoseconds count forwards.
                let (seconds, nanoseconds) = match before.subsec_nanos() {
                    0 => (before.as_secs(), 0),
                    nanoseconds => (before.as_secs().saturating_add(1), NANOS - nanoseconds),
                };
                0i64.checked_sub_unsigned(seconds)
                    .map_or(Self::MIN, |seconds| Timestamp { seconds, nanoseconds })
            }
        }
    }
}

impl TryFrom<Timestamp> for SystemTime {
    type Error = TimestampRangeError;

    fn try_from(instant: Timestamp) -> Result<Self, TimestampRangeError> {
        let whole = Duration::from_secs(instant.seconds.unsigned_abs());
        let second = if instant.seconds >= 0 {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        };
        second
            .and_then(|second| second.checked_add(Duration::from_nanos(instant.nanoseconds.into())))
            .ok_or(TimestampRangeError)
    }
}

/// As RFC 3339 in UTC, with as many digits after the seconds as there are; a year beyond four digits has a sign.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second } = Civil::from_seconds(self.seconds);
        match year {
            0..=9999 => write!(f, "{year:04}")?,
            _ => write!(f, "{year:+05}")?,
        }
        write!(f, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanoseconds != 0 {
            let digits = format!("{:09}", self.nanoseconds);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no instant in the form of RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseTimestampError;

impl fmt::Display for ParseTimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an instant such as 2001-09-09T01:46:40.5Z")
    }
}

impl std::error::Error for ParseTimestampError {}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    /// Takes RFC 3339 with any offset, and everything that [`Display`](fmt::Display) gives.
    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        calendar::parse(text).ok_or(ParseTimestampError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp::new(seconds, nanoseconds).unwrap()
    }

    #[test]
    fn system_time_and_back_before_the_epoch_too() {
        for instant in [at(0, 0), at(0, 1), at(-1, 999_999_999), at(-1, 0), at(-86_400, 5), at(1 << 40, 7)] {
            assert_eq!(Timestamp::from(SystemTime::try_from(instant).unwrap()), instant);
        }
        let earlier = SystemTime::UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!(Timestamp::from(earlier), at(-1, 999_999_999));
        for extreme in [Timestamp::MIN, Timestamp::MAX] {
            if let Ok(instant) = SystemTime::try_from(extreme) {
                assert_eq!(Timestamp::from(instant), extreme);
            }
        }
        // Miri lets nobody know the time of day.
        assert!(cfg!(miri) || Timestamp::now() > at(1_700_000_000, 0));
    }

    #[test]
    fn a_second_of_nanoseconds_is_refused() {
        assert_eq!(Timestamp::new(0, 1_000_000_000), None);
        assert_eq!(Timestamp::new(i64::MAX, 999_999_999), Some(Timestamp::MAX));
    }

    #[test]
    fn instants_read_as_rfc_3339() {
        for (instant, text) in [
            (at(0, 0), "1970-01-01T00:00:00Z"),
            (at(-1, 999_999_999), "1969-12-31T23:59:59.999999999Z"),
            (at(951_782_400, 120_000_000), "2000-02-29T00:00:00.12Z"),
            (at(4_107_542_400, 0), "2100-03-01T00:00:00Z"),
            (at(253_402_300_799, 0), "9999-12-31T23:59:59Z"),
            (at(253_402_300_800, 0), "+10000-01-01T00:00:00Z"),
            (at(-62_167_219_200, 0), "0000-01-01T00:00:00Z"),
            (at(-62_167_219_201, 0), "-0001-12-31T23:59:59Z"),
            (Timestamp::MAX, "+292277026596-12-04T15:30:07.999999999Z"),
            (Timestamp::MIN, "-292277022657-01-27T08:29:52Z"),
        ] {
            assert_eq!(instant.to_string(), text);
            assert_eq!(text.parse(), Ok(instant), "{text}");
        }
    }

    #[test]
    fn an_offset_is_taken_into_account_and_nonsense_refused() {
        assert_eq!("1970-01-01T01:30:00.5+01:30".parse(), Ok(at(0, 500_000_000)));
        assert_eq!("1969-12-31t22:00:00-02:00".parse(), Ok(at(0, 0)));
        for nonsense in [
            "",
            "Z",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-13-01T00:00:00Z",
            "1970-02-29T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:60:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.1234567890Z",
            "1970-01-01T00:00:00+24:00",
            "1970-01-01T00:00:00ZZ",
            "1970-01-01T00:00:+1Z",
            "+292277026596-12-04T15:30:08Z",
            "+99999999999999999999-12-04T15:30:08Z",
            "1970-01-01T00:00:00\u{e9}Z",
        ] {
            assert_eq!(nonsense.parse::<Timestamp>(), Err(ParseTimestampError), "{nonsense}");
        }
    }
}
