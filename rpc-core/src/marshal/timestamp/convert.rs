//! From and to the instants of other crates, each behind the feature of its name.

#[cfg(feature = "chrono")]
mod chrono {
    use chrono::{DateTime, Utc};

    use crate::marshal::timestamp::{NANOS, Timestamp, TimestampRangeError};

    impl From<DateTime<Utc>> for Timestamp {
        fn from(instant: DateTime<Utc>) -> Self {
            // Within a leap second chrono counts nanoseconds on; on the wire it is the second after.
            let nanoseconds = instant.timestamp_subsec_nanos();
            let seconds = instant.timestamp() + i64::from(nanoseconds / NANOS);
            Timestamp { seconds, nanoseconds: nanoseconds % NANOS }
        }
    }

    impl TryFrom<Timestamp> for DateTime<Utc> {
        type Error = TimestampRangeError;

        fn try_from(instant: Timestamp) -> Result<Self, TimestampRangeError> {
            DateTime::from_timestamp(instant.seconds, instant.nanoseconds).ok_or(TimestampRangeError)
        }
    }
}

#[cfg(feature = "jiff")]
mod jiff {
    use crate::marshal::timestamp::{Timestamp, TimestampRangeError};

    impl From<jiff::Timestamp> for Timestamp {
        fn from(instant: jiff::Timestamp) -> Self {
            super::from_nanoseconds(instant.as_nanosecond())
        }
    }

    impl TryFrom<Timestamp> for jiff::Timestamp {
        type Error = TimestampRangeError;

        fn try_from(instant: Timestamp) -> Result<Self, TimestampRangeError> {
            jiff::Timestamp::from_nanosecond(super::to_nanoseconds(instant)).map_err(|_| TimestampRangeError)
        }
    }
}

#[cfg(feature = "time")]
mod time {
    use time::OffsetDateTime;

    use crate::marshal::timestamp::{Timestamp, TimestampRangeError};

    impl From<OffsetDateTime> for Timestamp {
        /// The instant alone; the offset is lost.
        fn from(instant: OffsetDateTime) -> Self {
            super::from_nanoseconds(instant.unix_timestamp_nanos())
        }
    }

    impl TryFrom<Timestamp> for OffsetDateTime {
        type Error = TimestampRangeError;

        fn try_from(instant: Timestamp) -> Result<Self, TimestampRangeError> {
            OffsetDateTime::from_unix_timestamp_nanos(super::to_nanoseconds(instant))
                .map_err(|_| TimestampRangeError)
        }
    }
}

#[cfg(any(feature = "jiff", feature = "time"))]
fn from_nanoseconds(nanoseconds: i128) -> super::Timestamp {
    let second = i128::from(super::NANOS);
    // Both crates end some ten thousand years from now, far within 64 bits of seconds.
    let seconds = i64::try_from(nanoseconds.div_euclid(second)).unwrap_or(i64::MAX);
    super::Timestamp { seconds, nanoseconds: nanoseconds.rem_euclid(second) as u32 }
}

#[cfg(any(feature = "jiff", feature = "time"))]
fn to_nanoseconds(instant: super::Timestamp) -> i128 {
    i128::from(instant.seconds) * i128::from(super::NANOS) + i128::from(instant.nanoseconds)
}

#[cfg(test)]
#[cfg(any(feature = "chrono", feature = "jiff", feature = "time"))]
mod tests {
    use super::super::Timestamp;

    fn round_trip<Instant>()
    where
        Instant: TryFrom<Timestamp> + Into<Timestamp>,
    {
        for (seconds, nanoseconds) in
            [(0, 0), (0, 1), (-1, 999_999_999), (-1, 1), (1_700_000_000, 500), (-86_401, 0)]
        {
            let instant = Timestamp::new(seconds, nanoseconds).unwrap();
            let there = Instant::try_from(instant).ok().expect("an instant near the epoch");
            assert_eq!(there.into(), instant);
        }
        for extreme in [Timestamp::MIN, Timestamp::MAX] {
            assert!(Instant::try_from(extreme).is_err());
        }
    }

    #[cfg(feature = "chrono")]
    #[test]
    fn chrono_and_back() {
        round_trip::<chrono::DateTime<chrono::Utc>>();
        let leap = chrono::DateTime::from_timestamp(1_483_228_799, 1_500_000_000).expect("a leap second");
        assert_eq!(Timestamp::from(leap), Timestamp::new(1_483_228_800, 500_000_000).unwrap());
    }

    #[cfg(feature = "jiff")]
    #[test]
    fn jiff_and_back() {
        round_trip::<jiff::Timestamp>();
    }

    #[cfg(feature = "time")]
    #[test]
    fn time_and_back() {
        round_trip::<time::OffsetDateTime>();
    }
}
