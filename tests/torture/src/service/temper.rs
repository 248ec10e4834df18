//! How long clients and servers wait, and how much they take.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rpc::Limits;

/// The limits of clients and servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// As they come.
    Default,
    /// Everything that is waited for is waited for briefly, and places are few: much happens in a minute.
    Short,
}

impl Temper {
    pub(crate) fn limits(self) -> Limits {
        let limits = Limits::default();
        match self {
            Temper::Default => limits,
            Temper::Short => limits
                .with_calls(48)
                .with_streams(12)
                .with_frame_bytes(96 * 1024)
                .with_hello_timeout(Duration::from_secs(2))
                .with_stall_timeout(Duration::from_secs(3))
                .with_drain_timeout(Duration::from_secs(3))
                .with_keepalive_interval(Duration::from_secs(1))
                .with_keepalive_timeout(Duration::from_secs(2))
                .with_backoff(Duration::from_millis(50))
                .with_max_backoff(Duration::from_millis(500)),
        }
    }
}

impl FromStr for Temper {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Temper::Default),
            "short" => Ok(Temper::Short),
            _ => Err("limits are default or short"),
        }
    }
}

impl fmt::Display for Temper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Temper::Default => "default",
            Temper::Short => "short",
        })
    }
}
