//! The task of a connection: reads, runs what was asked for, writes, keeps time.

mod ending;
mod holding;
mod reading;
mod running;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::{Handle, RuntimeFlavor};

use self::ending::Closing;
pub(crate) use self::running::Incoming;
use super::buffers::with_scratch;
use super::clock::now;
use super::dispatch::Dispatcher;
use super::link::{Link, LinkEffects, Writer};
use super::parked::Parked;
use super::poll_time::Sampler;
use super::timer::Timer;
use super::turns::Reader;
use crate::context::Peer;
use crate::frame::{self, Assembler};
use crate::memory::Place;
use crate::message::{Hello, Reason};
use crate::protocol::{Reassembly, Violation};
use crate::transport::{RecvHalf, SendHalf};
use crate::{Code, Error};

/// How often a connection reads before it lets others have the thread.
const READS_A_TURN: usize = 2;

/// Moves the bytes of one open connection until it is over, and then says why.
pub(crate) struct Driver {
    link: Arc<Link>,
    recv: RecvHalf,
    peer: Peer,
    side: Side,
    assembler: Assembler,
    reassembly: Reassembly,
    /// Where it stands among those that hold much which has not come whole.
    unfinished: Option<Box<Place>>,
    dispatchers: Vec<Option<Box<dyn Dispatcher>>>,
    parked: Parked,
    timer: Timer,
    /// It was woken to write and has let others go first.
    gave_way: bool,
    /// The transport did not take all that was to be written.
    blocked: bool,
    ended: bool,
    manner: Manner,
    /// It is among those of which reading takes long.
    reader: Option<Box<Reader>>,
    closing: Option<Box<Closing>>,
    sampler: Sampler,
}

/// Which side of a connection this is. It matters where both sides would wait for each other if they did the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Opened,
    Accepted,
}

/// How much the other side says at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It has said nothing yet.
    Unknown,
    Usual,
    /// So much that others must have their turn in between.
    Talkative,
}

impl Driver {
    pub(crate) fn new(
        link: Arc<Link>,
        hello: &Hello,
        recv: RecvHalf,
        send: SendHalf,
        peer: Peer,
        side: Side,
    ) -> Self {
        let mut effects = LinkEffects::default();
        let mut shared = link.lock();
        shared.writer = Some(Writer::new(send));
        shared.one_thread =
            Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::CurrentThread);
        shared.connection.open(hello, now(), &mut effects);
        drop(shared);
        effects.run();
        Driver {
            recv,
            peer,
            side,
            assembler: Assembler::new(link.limits.frame_bytes()),
            reassembly: Reassembly::new(&link.limits, hello),
            unfinished: None,
            dispatchers: Vec::new(),
            parked: Parked::default(),
            timer: Timer::default(),
            gave_way: false,
            blocked: false,
            ended: false,
            manner: Manner::Unknown,
            reader: None,
            closing: None,
            sampler: Sampler::default(),
            link,
        }
    }

    /// The other side.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    // ---- writing ----

    /// Writes what waits. Woken to do so, it first goes to the back of the queue once, so that others can add to it.
    fn poll_writes(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut effects = LinkEffects::default();
        // Twice, for what was added meanwhile, or one fragment; then the others on this thread go first.
        for _ in 0..2 {
            let mut shared = self.link.lock();
            if let Some(error) = shared.write_error.take() {
                return Err(error);
            }
            if shared.kicked && !self.gave_way && self.closing.is_none() && shared.connection.has_output() {
                self.gave_way = true;
                cx.waker().wake_by_ref();
                return Ok(());
            }
            shared.kicked = false;
            self.gave_way = false;
            let has_output = shared.connection.has_output();
            let Some(mut writer) = shared.writer.take_if(|writer| has_output || !writer.is_idle()) else {
                return Ok(());
            };
            if writer.is_idle() {
                shared.load(&mut writer, &mut effects);
            }
            drop(shared);
            effects.run();
            let written = writer.poll_write(cx);
            let mut shared = self.link.lock();
            let progress = writer.took_progress();
            self.blocked = written.is_pending();
            match &written {
                Poll::Ready(Ok(())) => {
                    shared.connection.sent(now);
                    shared.leave_buffers(&mut writer);
                }
                // What was not written goes with the connection.
                Poll::Ready(Err(_)) => {}
                Poll::Pending => shared.connection.blocked(now(), progress),
            }
            shared.writer = Some(writer);
            let more = shared.connection.has_output();
            let large = shared.connection.large_bytes() > 0;
            drop(shared);
            match written {
                Poll::Ready(result) => result?,
                Poll::Pending => return Ok(()),
            }
            if !more {
                return Ok(());
            }
            if large {
                break;
            }
        }
        // There is more already; the others on this thread go first.
        cx.waker().wake_by_ref();
        Ok(())
    }

    // ---- time ----

    /// Does what is due, and says whether that left something to write.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        self.timer.poll(&self.link, cx)?;
        let mut shared = self.link.lock();
        let connection = &mut shared.connection;
        if connection.is_ending() && connection.is_finished(now()) {
            let error = Error::not_executed(Code::Unavailable, "the connection was closed in good order");
            let mut effects = LinkEffects::default();
            // Under the lock that has found it so: a call that is entered behind it learns that it has to go elsewhere.
            connection.close(error.clone(), &mut effects);
            drop(shared);
            effects.run();
            self.close_with(error);
            return Ok(true);
        }
        // What callers have queued is written when their kick is answered, and large messages have their turns.
        Ok(connection.output_bytes() > 0 && !shared.kicked && shared.writer.is_some() && !self.blocked)
    }

    /// Reads, runs and writes; what time asks for comes last, since no call waits for it.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.closing.is_none() {
            self.look_at_memory()?;
            if self.parked.len() > 0 {
                with_scratch(|scratch| self.run_parked(scratch));
            }
            self.poll_reads(cx)?;
        }
        self.poll_writes(cx)?;
        if self.closing.is_none() && self.poll_time(cx)? {
            self.poll_writes(cx)?;
        }
        // What had to go out before more could be read may be out: nothing else would wake the task for that.
        let mut shared = self.link.lock();
        let reading_waits = shared.reading_waits;
        let made_room = self.link.count_unsent(&mut shared);
        self.link.let_in(shared);
        if made_room {
            self.link.let_others_in();
        }
        if reading_waits && !self.is_backed_up() {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// The connection is lost: those who wait on it learn why.
    fn end(&mut self, error: Error) -> Poll<Error> {
        self.link.close(error.clone());
        Poll::Ready(error)
    }
}

impl Future for Driver {
    type Output = Error;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Error> {
        let this = self.get_mut();
        this.link.lock().register(cx.waker());
        loop {
            match this.poll_turn(cx) {
                Ok(()) => break,
                // Now it is closing, and the next turn only writes.
                Err(End::Violation(violation)) => this.start_closing(&violation),
                Err(End::Lost(error)) => return this.end(error),
            }
        }
        this.poll_close(cx)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.let_go();
        // Whatever ended it, nobody is left waiting.
        let error = match &self.closing {
            Some(closing) => closing.error.clone(),
            None => Error::new(Code::Unavailable, "the connection was lost"),
        };
        let ignored = self.link.lock().connection.ignored();
        if ignored > 0 {
            tracing::debug!(peer = ?self.peer, ignored, "replies and cancels came for calls that were not there");
        }
        self.link.close(error);
    }
}

/// Why a connection cannot go on.
enum End {
    Violation(Violation),
    Lost(Error),
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        End::Violation(violation)
    }
}

impl From<frame::BadLength> for End {
    fn from(bad: frame::BadLength) -> Self {
        End::Violation(Violation::new(Reason::Frame, bad))
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Lost(lost(error))
    }
}

fn lost(error: io::Error) -> Error {
    Error::new(Code::Unavailable, "the connection was lost").with_source(error)
}
