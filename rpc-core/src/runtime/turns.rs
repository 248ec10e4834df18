//! Turns at work that keeps a thread for long, taken by all connections on which the same is served.
//!
//! A thread that always has a next task seldom asks the system what has come for the others: after dozens of tasks,
//! each of which may be as long. So those who make it work long stand in one line, one thread is left to everybody else
//! where there are several, and whoever's turn it is first lets the thread look who else is there.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

use crate::memory::SMALL_BYTES;

/// So many connections at a time make nobody wait for long, and need no line to be read in.
const FEW: usize = 8;

/// The line; there is none until somebody stands in it.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    line: OnceLock<Arc<Semaphore>>,
    readers: AtomicUsize,
}

/// A connection of which reading takes long, for as long as it does.
pub(crate) struct Reader {
    turns: Arc<Turns>,
    /// Where it stands in line, if it does.
    waiting: Option<Waiting>,
}

impl Reader {
    /// Waits for a turn to be read, if it must.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if self.waiting.is_none() && !self.turns.has_many_readers() {
            return Poll::Ready(None);
        }
        let turn = ready!(self.waiting.get_or_insert_with(|| self.turns.wait()).as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(turn)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.turns.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A turn, until it is dropped; none where turns are not taken any more.
pub(crate) type Turn = Option<OwnedSemaphorePermit>;

/// A place in the line.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Turn> + Send>>;

impl Turns {
    /// Counts a connection of which reading takes long.
    pub(crate) fn reader(self: &Arc<Self>) -> Reader {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Reader { turns: self.clone(), waiting: None }
    }

    /// Whether there are so many of them that they have to be read in turns.
    fn has_many_readers(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > FEW
    }

    fn line(&self) -> Arc<Semaphore> {
        self.line.get_or_init(|| Arc::new(Semaphore::new(at_once()))).clone()
    }

    /// Stands in the line, behind whoever stands there. A place that is dropped is free for the next one, as is a turn.
    pub(crate) fn wait(&self) -> Waiting {
        let line = self.line();
        Box::pin(async move {
            let turn = line.acquire_owned().await.ok();
            // A task that yields is only woken when the thread has looked.
            yield_now().await;
            turn
        })
    }
}

/// Whether calls of a connection take turns whatever their size, since of some of them a little became much.
#[derive(Debug)]
pub(crate) struct Growth {
    /// So many do, unless there is another one that grows.
    left: AtomicU8,
}

/// Of a new connection nothing is known: until one call has had its turn, all that are not small take one.
const UNKNOWN: u8 = 1;

/// So many calls take turns after one that grew.
const WARY: u8 = 64;

impl Growth {
    pub(crate) fn new() -> Self {
        Growth { left: AtomicU8::new(UNKNOWN) }
    }

    /// A call has grown.
    pub(crate) fn note(&self) {
        self.left.store(WARY, Ordering::Relaxed);
    }

    /// A call has had its turn.
    pub(crate) fn had_turn(&self) {
        // Where two have theirs at the same time one may be forgotten.
        self.left.store(self.left.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    /// Whether one has, of late.
    #[inline]
    pub(crate) fn is_known(&self) -> bool {
        self.left.load(Ordering::Relaxed) > UNKNOWN
    }

    /// Whether it may be that a call grows whose arguments are so many bytes.
    #[inline]
    pub(crate) fn is_likely(&self, bytes: usize) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        left > UNKNOWN || left == UNKNOWN && bytes > SMALL_BYTES
    }
}

/// How many have their turn at the same time: all threads but one.
fn at_once() -> usize {
    let threads = Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
    threads.saturating_sub(1).max(1)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::task::Waker;

    use tokio::io::AsyncReadExt;
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn one_has_its_turn_and_whoever_leaves_the_line_keeps_nobody_waiting() {
        let turns = Turns::default();
        let mut line: Vec<_> = (0..4).map(|_| turns.wait()).collect();
        let turn = line.remove(0).await;
        let mut cx = Context::from_waker(Waker::noop());
        line.iter_mut().for_each(|place| assert!(place.as_mut().poll(&mut cx).is_pending()));
        drop(line.remove(0));
        drop(turn);
        let mut last = line.pop().expect("there are two");
        assert!(last.as_mut().poll(&mut cx).is_pending(), "another is before it");
        // This one has been given its turn, and never takes it.
        drop(line);
        assert!(last.await.is_some());
    }

    #[test]
    fn few_readers_need_no_line_and_one_that_stands_in_it_stays() {
        let turns = Arc::new(Turns::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut readers: Vec<_> = (0..FEW).map(|_| turns.reader()).collect();
        readers.iter_mut().for_each(|reader| assert!(reader.poll_turn(&mut cx).is_ready()));
        let _turn = turns.line().try_acquire_owned().expect("nobody has it");
        readers.push(turns.reader());
        readers.iter_mut().for_each(|reader| assert!(reader.poll_turn(&mut cx).is_pending()));
        readers.pop();
        readers.iter_mut().for_each(|reader| assert!(reader.poll_turn(&mut cx).is_pending()));
        assert!(turns.reader().poll_turn(&mut cx).is_pending(), "it would be one more");
        readers.pop();
        assert!(turns.reader().poll_turn(&mut cx).is_ready());
    }

    #[test]
    fn calls_take_turns_until_it_is_known_that_they_do_not_grow_and_for_some_time_after_one_that_did() {
        let growth = Growth::new();
        let (small, other) = (SMALL_BYTES, SMALL_BYTES + 1);
        assert!(growth.is_likely(other) && !growth.is_likely(small), "of what is small nobody expects it");
        growth.had_turn();
        assert!(!growth.is_likely(other));
        growth.note();
        for _ in 1..WARY {
            assert!(growth.is_known() && growth.is_likely(small));
            growth.had_turn();
        }
        assert!(!growth.is_known() && !growth.is_likely(small) && growth.is_likely(other));
        growth.had_turn();
        growth.had_turn();
        assert!(!growth.is_likely(other));
    }

    /// A thread with tasks at hand looks for what has come after dozens of them.
    #[tokio::test]
    async fn a_thread_looks_for_what_has_come_before_each_turn() {
        let turns = Arc::new(Turns::default());
        let (mut near, far) = UnixStream::pair().expect("a pair of sockets");
        far.set_nonblocking(true).expect("it can be told");
        let mut far = tokio::net::UnixStream::from_std(far).expect("there is a runtime");
        let taken = Arc::new(AtomicUsize::new(0));
        let reader = tokio::spawn({
            let taken = taken.clone();
            async move {
                far.read_u8().await.expect("a byte comes");
                taken.load(Ordering::Relaxed)
            }
        });
        // Now it waits for the byte, which nothing but a look at the socket gives it.
        yield_now().await;
        near.write_all(&[1]).expect("there is room for a byte");
        let mut line = JoinSet::new();
        for _ in 0..1_000 {
            let (turns, taken) = (turns.clone(), taken.clone());
            line.spawn(async move {
                let turn = turns.wait().await;
                taken.fetch_add(1, Ordering::Relaxed);
                drop(turn);
            });
        }
        line.join_all().await;
        assert_eq!(taken.load(Ordering::Relaxed), 1_000);
        let before = reader.await.expect("it reads a byte");
        assert!(before <= 2, "{before} turns were taken first");
    }
}
