//! The limits and time spans of a connection, each a named setting with a default and a reason.

use std::time::Duration;

/// What a connection may cost, and how long things may take.
///
/// Both sides have limits of their own: a server's are its defence, a client's keep it from waiting for ever.
/// Those that the other side must know to keep are told to it when the connection begins.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use rpc_core::Limits;
///
/// let limits = Limits::default().with_calls(64).with_drain_timeout(Duration::from_secs(5));
/// assert_eq!(limits.calls(), 64);
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    frame_bytes: usize,
    message_bytes: usize,
    calls: usize,
    server_calls: usize,
    streams: usize,
    stream_bytes: usize,
    max_stream_bytes: usize,
    connections: usize,
    half_open: usize,
    hello_timeout: Duration,
    stall_timeout: Duration,
    send_queue_bytes: usize,
    unsent_bytes: usize,
    metadata_bytes: usize,
    unmarshal_depth: u32,
    unmarshal_budget: usize,
    memory_bytes: usize,
    max_deadline: Duration,
    drain_timeout: Duration,
    keepalive_interval: Duration,
    keepalive_timeout: Duration,
    pings_per_second: u32,
    cancels: u32,
    cancels_per_second: u32,
    backoff: Duration,
    max_backoff: Duration,
}

/// A hello is small, so whoever sends a large one is not one of ours.
pub(crate) const HELLO_BYTES: usize = 4 * 1024;

/// The floor for what either side says of itself: below it that side could not be called at all.
pub(crate) const MIN_FRAME_BYTES: usize = 1024;

/// About how much a stream sends at a time, in bytes of items.
pub(crate) const BATCH_BYTES: usize = 16 * 1024;

/// As good as no end, and still a moment that a clock can name.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Signs of life asked for more often would be a flood: ten a second are what the other side takes by default.
const MIN_KEEPALIVE_INTERVAL: Duration = Duration::from_millis(100);

/// How long the other side has to learn of a drain, in which its calls are still taken.
pub(crate) const DRAIN_NOTICE: Duration = Duration::from_secs(1);

/// How long a connection that ends with an error has to tell the other side why.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How fast the wait between attempts to connect grows, and how much of it is left to chance.
pub(crate) const BACKOFF_FACTOR: f64 = 1.6;
pub(crate) const BACKOFF_JITTER: f64 = 0.2;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            frame_bytes: 4 * 1024 * 1024,
            message_bytes: 64 * 1024 * 1024,
            calls: 1_024,
            server_calls: 100_000,
            streams: 1_024,
            stream_bytes: 64 * 1024,
            max_stream_bytes: 4 * 1024 * 1024,
            connections: 10_000,
            half_open: 1_024,
            hello_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
            send_queue_bytes: 1024 * 1024,
            unsent_bytes: 256 * 1024 * 1024,
            metadata_bytes: 8 * 1024,
            unmarshal_depth: 64,
            unmarshal_budget: 16 * 1024 * 1024,
            memory_bytes: 256 * 1024 * 1024,
            max_deadline: Duration::from_secs(24 * 60 * 60),
            drain_timeout: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            pings_per_second: 10,
            cancels: 1_000,
            cancels_per_second: 200,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(120),
        }
    }
}

/// One getter and one `with_` setter a limit, so that both read as the documentation says.
macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident, $with:ident: $type:ty, $range:expr;)*) => {
        impl Limits {
            $(
                $(#[$doc])*
                pub fn $name(&self) -> $type {
                    self.$name
                }

                #[doc = concat!("The same limits with another [`", stringify!($name), "`](Self::", stringify!($name), ").")]
                ///
                /// What is outside of the range that makes sense counts as its end.
                #[must_use]
                pub fn $with(mut self, $name: $type) -> Self {
                    self.$name = $name.clamp(*$range.start(), *$range.end());
                    self
                }
            )*
        }
    };
}

limits! {
    /// The largest frame that is taken, in bytes without its length; 4 MiB.
    ///
    /// Told to the other side. At least 1 KiB. A larger frame ends the connection before its body is read; a
    /// larger message comes in fragments, each a frame.
    frame_bytes, with_frame_bytes: usize, MIN_FRAME_BYTES..=u32::MAX as usize;
    /// The largest message that is taken, in bytes, whether in one frame or in fragments; 64 MiB.
    ///
    /// Told to the other side. At least 1 KiB. A sender refuses the call instead of sending a larger one, naming
    /// both sizes. All messages together that have begun to come in fragments and are not complete take no more
    /// either, on a connection.
    message_bytes, with_message_bytes: usize, MIN_FRAME_BYTES..=u32::MAX as usize;
    /// How many calls of the other side may run at once on a connection; 1,024.
    ///
    /// Told to the other side, which waits for a place. A cancelled handler that still runs counts. One call
    /// more is refused with [`Code::ResourceExhausted`](crate::Code::ResourceExhausted), not executed. One-way
    /// calls, which nobody could tell so, count apart: while as many of them run, no more is read, or more of them
    /// wait for their turn.
    ///
    /// Where a client serves too, each direction has its own count: a server's limit is for what its client calls,
    /// a client's for what its server calls back. Calls that wait for calls back, which wait for further calls, take
    /// a place at each level, and may wait for each other if together they need more places than there are; so give
    /// such calls a deadline.
    calls, with_calls: usize, 1..=usize::MAX;
    /// How many calls may run at once on a server, over all its connections; 100,000.
    ///
    /// One call more is refused with [`Code::ResourceExhausted`](crate::Code::ResourceExhausted), not executed,
    /// whichever method it is for. So a server that gets more than it can do is set a limit by this: a few times as
    /// many calls as it works on at once, so that what it does is never waited for by somebody who has given up.
    /// [`calls`](Self::calls) is no such limit, since there each client waits for its turn.
    ///
    /// Counted are calls that go on after their handler's first poll. Those with streams and one-way calls are not,
    /// nor are those in process. Threads that look at the same moment let one call more in each.
    ///
    /// Where a client serves too, this is for all that its servers call back.
    server_calls, with_server_calls: usize, 1..=usize::MAX;
    /// How many calls of the other side with streams may be open at once on a connection; 1,024.
    ///
    /// Told to the other side, which waits for a place. They count until their last stream has ended, and not
    /// among [`calls`](Self::calls).
    streams, with_streams: usize, 1..=u32::MAX as usize;
    /// How much of a stream may have come without being consumed, in bytes of marshalled items; 64 KiB.
    ///
    /// Told to the other side: its credit for each stream. One message of items may lie beyond it, so that an item
    /// of any size can be sent. It grows for a stream whose consumer keeps up and whose producer could send more,
    /// up to [`max_stream_bytes`](Self::max_stream_bytes).
    stream_bytes, with_stream_bytes: usize, 1..=u32::MAX as usize;
    /// How far [`stream_bytes`](Self::stream_bytes) may grow for one stream; 4 MiB.
    ///
    /// All streams of a connection together grow by 16 MiB at most.
    max_stream_bytes, with_max_stream_bytes: usize, 1..=u32::MAX as usize;
    /// How many connections a server holds at once; 10,000. One more is closed at once.
    connections, with_connections: usize, 1..=usize::MAX;
    /// How many connections of a server may be without their hello; 1,024.
    ///
    /// Beyond it the next ones wait to be accepted, for [`hello_timeout`](Self::hello_timeout) at most.
    half_open, with_half_open: usize, 1..=usize::MAX;
    /// How long the other side's hello may take, all in all; 5 s.
    hello_timeout, with_hello_timeout: Duration, Duration::ZERO..=FOREVER;
    /// How long a frame may stay unfinished, or a write without progress; 30 s.
    stall_timeout, with_stall_timeout: Duration, Duration::ZERO..=FOREVER;
    /// How much may wait to be written on a connection, in bytes; 1 MiB.
    ///
    /// Beyond it new calls wait for their turn, and a server stops reading until the other side has read. A client
    /// reads on, lest both wait for each other: calls that it has answered then count among its
    /// [`calls`](Self::calls) until their answers have left.
    send_queue_bytes, with_send_queue_bytes: usize, 1..=usize::MAX;
    /// How much may wait to be written on all connections of a server together, in bytes; 256 MiB.
    ///
    /// Counted are those on which 64 KiB wait or more. Beyond it handlers whose replies are large (16 KiB on average), or
    /// not known yet, wait their turn, connection by connection. From a quarter of it on no more is read of who has 64 KiB to
    /// read. Who has
    /// then read nothing for a tenth of the [`stall_timeout`](Self::stall_timeout), while others wait, is sent away.
    unsent_bytes, with_unsent_bytes: usize, 1..=usize::MAX;
    /// How large a call's or reply's metadata may be, names and values together, in bytes; 8 KiB.
    metadata_bytes, with_metadata_bytes: usize, 0..=usize::MAX;
    /// How deep the values of a message may nest; 64.
    ///
    /// Every array, map, enum, option and newtype is a level. A deeper argument is refused with
    /// [`Code::InvalidArgument`](crate::Code::InvalidArgument), not executed, and a deeper reply fails its call
    /// with [`Code::Internal`](crate::Code::Internal). Each level takes stack from whatever thread unmarshals, and
    /// a stack that overflows ends the process; so 1,024 is the most, which simple types take on 2 MiB of stack.
    unmarshal_depth, with_unmarshal_depth: u32, 1..=1_024;
    /// How much memory the values of a message may take beyond the message's own size, in bytes; 16 MiB.
    ///
    /// Counted by the size of what is built. What would take more is refused as what is too deep is.
    unmarshal_budget, with_unmarshal_budget: usize, 0..=usize::MAX;
    /// How much memory all connections of a server together, or of a channel, may hold, in bytes; 256 MiB.
    ///
    /// Counted are messages that have not come whole, beyond 64 KiB a connection; requests above 4 KiB while their
    /// handlers run; and what their arguments take beyond the size of their message and 4 KiB. Where there is no room the
    /// connection with the oldest message that has not come whole is ended, and that memory is there for the others at
    /// once. A request for which there is none even so, or none for its arguments, is refused with
    /// [`Code::ResourceExhausted`](crate::Code::ResourceExhausted), not executed. What a handler or a caller has been given
    /// is theirs: a handler's arguments count until it ends, whatever it keeps.
    ///
    /// Set it above [`message_bytes`](Self::message_bytes): a message that is larger never comes whole.
    memory_bytes, with_memory_bytes: usize, MIN_FRAME_BYTES..=usize::MAX;
    /// The longest deadline that is taken from the other side; 24 h. A longer one counts as this.
    max_deadline, with_max_deadline: Duration, Duration::ZERO..=FOREVER;
    /// How long a server that shuts down waits for running calls; 30 s. Then they are dropped. A client that is
    /// dropped while its server calls it waits as long.
    drain_timeout, with_drain_timeout: Duration, Duration::ZERO..=FOREVER;
    /// After how long without a byte the other side is asked for a sign of life; 30 s.
    ///
    /// At least 100 ms, so that it is not asked more often than it takes by default.
    keepalive_interval, with_keepalive_interval: Duration, MIN_KEEPALIVE_INTERVAL..=FOREVER;
    /// How long that sign of life may take; 20 s. Then the connection is taken for dead.
    ///
    /// It counts from when the transport has taken what asks for it: on a slow way that waits behind what was sent
    /// before, for which there is [`stall_timeout`](Self::stall_timeout).
    keepalive_timeout, with_keepalive_timeout: Duration, Duration::ZERO..=FOREVER;
    /// How many pings of the other side are answered in a second, and how many at once; 10.
    ///
    /// One more ends the connection: each costs an answer, and none carries anything. Told to the other side.
    pings_per_second, with_pings_per_second: u32, 1..=u32::MAX;
    /// How many calls the other side may cancel at once that have hardly begun; 1,000.
    ///
    /// Those count whose request came less than 100 ms ago, and whose handler has neither ended nor begun to give a
    /// stream: to start it was for nothing, and what it has begun elsewhere may go on. One more than these, and than [`cancels_per_second`](Self::cancels_per_second)
    /// make up for, ends the connection. Told to the other side, whose cancels wait for some tenths of a second then:
    /// clients of this library are never sent away, however many calls they drop.
    cancels, with_cancels: u32, 1..=u32::MAX;
    /// How many such calls the other side may go on to cancel in a second; 200. Told to it.
    cancels_per_second, with_cancels_per_second: u32, 1..=u32::MAX;
    /// How long a client waits before it connects again after a failed attempt; 1 s.
    ///
    /// Each further failure multiplies it by 1.6, up to [`max_backoff`](Self::max_backoff), and a fifth of it
    /// either way is left to chance, so that clients of a restarted server do not come all at once.
    backoff, with_backoff: Duration, Duration::ZERO..=FOREVER;
    /// The longest wait between two attempts to connect; 120 s.
    max_backoff, with_max_backoff: Duration, Duration::ZERO..=FOREVER;
}
