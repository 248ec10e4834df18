//! Memory of all connections of a server or client together: counted where it is much, and taken back where it is
//! hoarded.
//!
//! What is counted: messages that have not come whole, requests while their handlers have them, values that are larger
//! than their messages. What is small is not: a call of a few kilobytes touches nothing of this.
//!
//! Nobody ever waits for memory, so nobody can wait for each other. Where there is no room the oldest message that has not
//! come whole makes some, whosever it is: its memory counts as free at once, and its connection's task is woken, to let
//! go of it and to end the connection. What a handler holds is not taken from it: then there may be no room.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::sync::atomic::AtomicUsize;
use crate::sync::{Mutex, MutexGuard};

/// So much of messages that have not come whole each connection may hold uncounted.
const FREE_BYTES: usize = 64 * 1024;

/// What calls and values of up to this size take is not counted: their number is bounded.
pub(crate) const SMALL_BYTES: usize = 4 * 1024;

/// In steps of so many bytes memory is taken for values, or as much as one of them needs at once.
const STEP_BYTES: usize = 64 * 1024;

/// The account of a server or client.
pub(crate) struct Memory {
    limit: usize,
    used: AtomicUsize,
    unfinished: Mutex<Unfinished>,
}

/// Connections that hold messages which have not come whole.
#[derive(Default)]
struct Unfinished {
    by_age: BTreeMap<Age, Holder>,
    numbers: u64,
}

/// When a message began to come; those that began together are told apart by a number.
type Age = (Instant, u64);

/// One of them.
struct Holder {
    /// How much of it is counted.
    bytes: usize,
    task: Waker,
}

/// A connection's place among those: what it holds may be taken back.
#[derive(Debug)]
pub(crate) struct Place(Age);

impl Place {
    /// When the oldest of its messages began.
    pub(crate) fn since(&self) -> Instant {
        self.0.0
    }
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Memory {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Memory { limit, used: AtomicUsize::new(0), unfinished: Mutex::new(Unfinished::default()) })
    }

    /// How much there may be.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// A connection holds so many bytes of messages that have not come whole, the oldest of which began at that time.
    /// Its `task` is to be woken when that is taken back.
    ///
    /// # Errors
    /// It has been taken back, or is now because it is the oldest of all: nothing of it counts any more, and it is to be
    /// let go of at once.
    pub(crate) fn hold(
        &self,
        place: &mut Option<Box<Place>>,
        bytes: usize,
        since: Instant,
        task: impl FnOnce() -> Waker,
    ) -> Result<(), Exhausted> {
        let counted = bytes.saturating_sub(FREE_BYTES);
        if counted == 0 && place.is_none() {
            return Ok(());
        }
        let mut evicted = Vec::new();
        let holder = (counted > 0).then(|| Holder { bytes: 0, task: task() });
        let held = self.count(place, counted, since, holder, &mut evicted);
        // Not under the lock, since a waker may be anybody's code.
        evicted.into_iter().for_each(Waker::wake);
        held
    }

    fn count(
        &self,
        place: &mut Option<Box<Place>>,
        counted: usize,
        since: Instant,
        holder: Option<Holder>,
        evicted: &mut Vec<Waker>,
    ) -> Result<(), Exhausted> {
        let mut unfinished = self.lock();
        let mut before = 0;
        let mut number = None;
        if let Some(place) = place.take() {
            before = unfinished.by_age.remove(&place.0).ok_or(Exhausted)?.bytes;
            number = Some(place.0.1);
        }
        let Some(holder) = holder else {
            self.give_back(before);
            return Ok(());
        };
        unfinished.numbers += 1;
        let age = (since, number.unwrap_or(unfinished.numbers));
        unfinished.by_age.insert(age, Holder { bytes: before, ..holder });
        let grown = counted.saturating_sub(before);
        self.give_back(before.saturating_sub(counted));
        self.make_room(&mut unfinished, grown, Some(age), evicted)?;
        if let Some(holder) = unfinished.by_age.get_mut(&age) {
            holder.bytes = counted;
        }
        *place = Some(Box::new(Place(age)));
        Ok(())
    }

    /// Whether what a connection holds has been taken back.
    pub(crate) fn has_taken_back(&self, place: &Place) -> bool {
        !self.lock().by_age.contains_key(&place.0)
    }

    /// Takes memory for something that stays until it is given back.
    fn take(&self, bytes: usize) -> Result<(), Exhausted> {
        if self.add(bytes) {
            return Ok(());
        }
        let mut evicted = Vec::new();
        let taken = self.make_room(&mut self.lock(), bytes, None, &mut evicted);
        evicted.into_iter().for_each(Waker::wake);
        taken
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes memory, and for that takes back what has not come whole, the oldest first, up to one's own.
    fn make_room(
        &self,
        unfinished: &mut Unfinished,
        bytes: usize,
        own: Option<Age>,
        evicted: &mut Vec<Waker>,
    ) -> Result<(), Exhausted> {
        while !self.add(bytes) {
            // For what can never fit only its own connection goes.
            let next = if bytes <= self.limit {
                unfinished.by_age.pop_first()
            } else {
                own.and_then(|own| unfinished.by_age.remove_entry(&own))
            };
            let (age, holder) = next.ok_or(Exhausted)?;
            self.give_back(holder.bytes);
            if own == Some(age) {
                return Err(Exhausted);
            }
            evicted.push(holder.task);
        }
        Ok(())
    }

    fn add(&self, bytes: usize) -> bool {
        let mut used = self.used.load(Ordering::Relaxed);
        while let Some(more) = used.checked_add(bytes).filter(|more| *more <= self.limit) {
            match self.used.compare_exchange_weak(used, more, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(changed) => used = changed,
            }
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, Unfinished> {
        // What is done under it leaves it sound.
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.used.load(Ordering::Relaxed);
        f.debug_struct("Memory").field("limit", &self.limit).field("used", &used).finish_non_exhaustive()
    }
}

/// What a call takes, until its handler has ended.
#[derive(Debug)]
pub(crate) struct Charge {
    memory: Arc<Memory>,
    bytes: AtomicUsize,
}

impl Charge {
    /// Takes nothing yet.
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Charge { memory, bytes: AtomicUsize::new(0) }
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    /// There is no room for them.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), Exhausted> {
        self.memory.take(bytes)?;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes.load(Ordering::Relaxed));
    }
}

/// What a call holds: nothing if it is small, and then it is small itself, since it goes from hand to hand with each call.
#[derive(Debug, Default)]
pub(crate) struct Held(OnceLock<Box<Account>>);

/// That of a call that is not small.
#[derive(Debug, Default)]
struct Account {
    /// None where there is nobody to share memory with.
    charge: Option<Charge>,
    /// How much its values take beyond the size of their message.
    values: AtomicUsize,
}

/// Why a value cannot have memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It is more than a message of its size may have.
    BeyondReserve,
    /// There is no room.
    Exhausted,
}

impl Held {
    /// Holds what has been taken already.
    pub(crate) fn hold(&mut self, charge: Charge) {
        self.0 = OnceLock::from(Box::new(Account { charge: Some(charge), ..Account::default() }));
    }
}

/// What the values of a call may take beyond the size of their message, which their call then holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserve<'a> {
    held: &'a Held,
    bytes: usize,
    caller: &'static Caller,
}

/// How whoever made a call is found, which seldom is needed.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The memory that it shares with others. If there is none (in process), values are not counted.
    pub(crate) memory: fn() -> Option<Arc<Memory>>,
    /// Lets it be known that its values take [`GROWN_BYTES`] more than their message, and so take long to make.
    pub(crate) note_growth: fn(),
}

#[cfg(test)]
impl Caller {
    /// Nobody shares anything.
    pub(crate) const NOBODY: &Caller = &Caller { memory: || None, note_growth: || {} };
}

/// What values take beyond the size of their message where that is out of proportion.
const GROWN_BYTES: usize = 1024 * 1024;

impl<'a> Reserve<'a> {
    /// So many bytes for a call of this caller.
    #[inline]
    pub(crate) fn new(held: &'a Held, bytes: usize, caller: &'static Caller) -> Self {
        Reserve { held, bytes, caller }
    }

    /// How much it is in all.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much is left of it.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.held.0.get().map_or(self.bytes, |account| self.bytes - account.values.load(Ordering::Relaxed))
    }

    /// Takes what values lack, or somewhat more for those that follow, and says how much.
    ///
    /// # Errors
    /// It is more than they may have, or than there is.
    pub(crate) fn take(&self, lacking: usize) -> Result<usize, NotTaken> {
        let left = self.left();
        let taken = self.bytes - left;
        // Also if it gets none: that takes time as well, and it tries again.
        if taken < GROWN_BYTES && taken.saturating_add(lacking) >= GROWN_BYTES {
            (self.caller.note_growth)();
        }
        if lacking > left {
            return Err(NotTaken::BeyondReserve);
        }
        let step = lacking.max(STEP_BYTES).min(left);
        let account = self.held.0.get_or_init(|| {
            let charge = (self.caller.memory)().map(Charge::new);
            Box::new(Account { charge, ..Account::default() })
        });
        if let Some(charge) = &account.charge {
            charge.take(step).map_err(|Exhausted| NotTaken::Exhausted)?;
        }
        account.values.fetch_add(step, Ordering::Relaxed);
        Ok(step)
    }
}

/// How much memory all connections of a server or channel hold of what [`Limits::memory_bytes`] bounds.
///
/// [`Bound::memory_use`] and [`Channel::memory_use`] give one; it may outlive both.
///
/// [`Limits::memory_bytes`]: crate::Limits::memory_bytes
/// [`Bound::memory_use`]: crate::Bound::memory_use
/// [`Channel::memory_use`]: crate::Channel::memory_use
#[derive(Clone, Debug)]
pub struct MemoryUse(pub(crate) Arc<Memory>);

impl MemoryUse {
    /// So many bytes at this moment; 0 at rest.
    pub fn bytes(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    /// A connection and its task, that is woken.
    struct Connection {
        place: Option<Box<Place>>,
        since: Instant,
        flag: Arc<Flag>,
    }

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Connection {
        fn new(since: Instant) -> Self {
            Connection { place: None, since, flag: Arc::default() }
        }

        /// Holds so many bytes that count.
        fn hold(&mut self, memory: &Memory, bytes: usize) -> Result<(), Exhausted> {
            let task = || Waker::from(self.flag.clone());
            let free = if bytes == 0 { 0 } else { FREE_BYTES };
            memory.hold(&mut self.place, free + bytes, self.since, task)
        }

        fn was_evicted(&self, memory: &Memory) -> bool {
            let woken = self.flag.0.load(Ordering::Relaxed);
            assert_eq!(self.place.as_ref().is_some_and(|place| memory.has_taken_back(place)), woken);
            woken
        }
    }

    fn connections(count: u64) -> Vec<Connection> {
        let start = Instant::now();
        (0..count).map(|number| Connection::new(start + Duration::from_secs(number))).collect()
    }

    fn used(memory: &Arc<Memory>) -> usize {
        MemoryUse(memory.clone()).bytes()
    }

    #[test]
    fn case_90_the_oldest_makes_room_for_the_others() {
        let memory = Memory::new(1_000);
        let mut all = connections(4);
        for connection in &mut all[..3] {
            connection.hold(&memory, 300).expect("there is room");
        }
        assert_eq!(used(&memory), 900);
        all[3].hold(&memory, 400).expect("the oldest makes room");
        assert_eq!(used(&memory), 1_000);
        assert!(all[0].was_evicted(&memory) && all[1..].iter().all(|one| !one.was_evicted(&memory)));
        assert_eq!(all[0].hold(&memory, 301), Err(Exhausted), "it learns of it, and holds nothing any more");
        assert_eq!((used(&memory), all[0].place.is_none()), (1_000, true));
        all[3].hold(&memory, 700).expect("the next one does");
        assert!(all[1].was_evicted(&memory) && !all[2].was_evicted(&memory));
        assert_eq!(used(&memory), 1_000);
    }

    #[test]
    fn case_90_the_oldest_goes_itself_if_it_is_the_one_that_grows() {
        let memory = Memory::new(1_000);
        let mut all = connections(2);
        all[0].hold(&memory, 500).expect("there is room");
        all[1].hold(&memory, 500).expect("there is room");
        assert_eq!(all[0].hold(&memory, 501), Err(Exhausted));
        assert_eq!(used(&memory), 500);
        assert!(!all[1].was_evicted(&memory));
        all[1].hold(&memory, 1_000).expect("all of it");
        assert_eq!(all[1].hold(&memory, 1_001), Err(Exhausted), "nobody else is left");
        assert_eq!(used(&memory), 0);
    }

    #[test]
    fn case_90_what_handlers_hold_is_not_taken_and_takes() {
        let memory = Memory::new(1_000);
        let mut all = connections(2);
        all[0].hold(&memory, 400).expect("there is room");
        all[1].hold(&memory, 400).expect("there is room");
        let charge = Charge::new(memory.clone());
        charge.take(600).expect("the oldest makes room");
        assert!(all[0].was_evicted(&memory) && !all[1].was_evicted(&memory));
        assert_eq!(charge.take(1_001), Err(Exhausted));
        assert!(!all[1].was_evicted(&memory), "for what can never fit nobody goes");
        charge.take(400).expect("the next one makes room");
        assert!(all[1].was_evicted(&memory));
        assert_eq!(charge.take(1), Err(Exhausted), "there is nobody to take from");
        assert_eq!(connections(1)[0].hold(&memory, 1), Err(Exhausted));
        drop(charge);
        assert_eq!(used(&memory), 0);
    }

    #[test]
    fn what_is_let_go_of_is_free_and_small_things_count_for_nothing() {
        let memory = Memory::new(1_000);
        let mut one = Connection::new(Instant::now());
        assert!(memory.hold(&mut one.place, FREE_BYTES, one.since, || Waker::noop().clone()).is_ok());
        assert!(one.place.is_none() && used(&memory) == 0);
        one.hold(&memory, 900).expect("there is room");
        one.hold(&memory, 100).expect("it is less");
        assert_eq!(used(&memory), 100);
        one.hold(&memory, 0).expect("nothing");
        assert!(one.place.is_none() && used(&memory) == 0);
    }

    #[test]
    fn an_older_message_that_has_come_whole_does_not_count_for_age() {
        let memory = Memory::new(1_000);
        let mut all = connections(3);
        all[0].hold(&memory, 300).expect("there is room");
        all[1].hold(&memory, 300).expect("there is room");
        // Its next message began last of all.
        all[0].since += Duration::from_secs(60);
        all[0].hold(&memory, 300).expect("as before");
        all[2].hold(&memory, 500).expect("the oldest makes room");
        assert!(all[1].was_evicted(&memory) && !all[0].was_evicted(&memory));
    }

    #[test]
    fn many_threads_at_once_leave_nothing_and_never_exceed_the_limit() {
        let memory = Memory::new(1_000);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let memory = &memory;
                scope.spawn(move || {
                    let mut one = Connection::new(start + Duration::from_millis(thread));
                    for round in 0..2_000 {
                        let bytes = (round * (thread as usize + 7)) % 600;
                        if one.hold(memory, bytes).is_err() {
                            assert!(one.place.is_none());
                            one.since += Duration::from_millis(7);
                        }
                        let charge = Charge::new(memory.clone());
                        let _ = charge.take(bytes / 2);
                        assert!(used(memory) <= 1_000);
                    }
                    let _ = one.hold(memory, 0);
                });
            }
        });
        assert_eq!(used(&memory), 0);
        assert!(memory.lock().by_age.is_empty());
    }
}
