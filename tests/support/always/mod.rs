//! What holds in every case, whatever its outcome: nothing panics, neighbours are served as ever, and within two
//! seconds tasks, descriptors and memory are what they were before.
//!
//! A case gets a world of its own, which is made anew for each run. It runs on one thread, together with a neighbour
//! who calls all the time; on one thread, too, every byte that it takes from the heap can be counted. Cases of one
//! program run one after the other, since descriptors and the memory of large messages are the process's.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

mod neighbour;
mod panics;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{Instant, sleep};

use self::neighbour::Took;
#[allow(unused_imports, reason = "not every test that shares this has worlds of each kind")]
pub(crate) use self::neighbour::{Neighbour, bystander, resident, worked};

/// How soon everything is as it was.
const REST: Duration = Duration::from_secs(2);

/// How long a test waits for that where the clock is the machine's: one under load takes longer for the same work.
const PATIENCE: Duration = Duration::from_secs(20);

/// So long a neighbour may wait where the machine has its say in it: less than any time for which the server itself waits
/// for somebody by default.
const NOISE: Duration = Duration::from_secs(4);

/// So long the thread of a case may work for others while a neighbour waits. Without optimisation the longest is about a
/// third of that.
const WORK: Duration = Duration::from_secs(1);

/// How much more may be on the heap after a case than before, in bytes: most cases leave nothing at all, some the link
/// of the last connection that has ended, or a queue that has grown. What the process keeps of large messages for the next
/// ones is no part of it.
const HEAP: i64 = 4 * 1024;

/// So many tasks are ready at once in most cases at most.
const TASKS: usize = 2_000;

/// What a thread keeps for the next connections and handlers is taken once. What leaks is taken by each run.
const RUNS: usize = 3;

static ALONE: Mutex<()> = Mutex::new(());

/// What a case happens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    /// One thread, and a clock that moves when nobody has anything left to do.
    Memory,
    /// One thread, sockets and the machine's clock.
    Sockets,
    /// Several threads and the machine's clock.
    Threads,
}

/// What holds in a case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Always {
    ground: Ground,
    panics: usize,
    /// How much the heap may grow within the case, in bytes.
    heap: u64,
    /// How many tasks there may be at a time.
    tasks: usize,
    patience: Duration,
}

impl Always {
    /// In memory, where the clock is paused.
    pub(crate) fn in_memory() -> Always {
        Always { ground: Ground::Memory, panics: 0, heap: u64::MAX, tasks: TASKS, patience: REST }
    }

    /// On sockets. All tests of the program must be cases, or descriptors of others are taken for theirs.
    pub(crate) fn on_sockets() -> Always {
        Always { ground: Ground::Sockets, panics: 0, heap: u64::MAX, tasks: TASKS, patience: PATIENCE }
    }

    /// Where one thread is not enough. What a case takes from the heap is not counted there, nor are descriptors.
    pub(crate) fn on_threads() -> Always {
        Always { ground: Ground::Threads, panics: 0, heap: u64::MAX, tasks: TASKS, patience: PATIENCE }
    }

    /// So many handlers panic, because they are told to.
    pub(crate) fn but_panics(self, panics: usize) -> Always {
        Always { panics, ..self }
    }

    /// Meanwhile no more is taken from the heap than so many bytes, what the case takes for itself included.
    pub(crate) fn with_heap(self, bytes: u64) -> Always {
        Always { heap: bytes, ..self }
    }

    /// In the case so many tasks are ready at once.
    pub(crate) fn with_tasks(self, tasks: usize) -> Always {
        Always { tasks: tasks.max(TASKS), ..self }
    }

    /// Waits less long for rest, where it will not come.
    pub(crate) fn within(self, patience: Duration) -> Always {
        Always { patience, ..self }
    }

    /// Makes a world with somebody in it who has nothing to do with the case, and runs the case there.
    ///
    /// # Panics
    /// If anything does not hold.
    pub(crate) fn holds<W>(self, begin: impl AsyncFn() -> (W, Neighbour), case: impl AsyncFn(&mut W)) {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = Left::default();
        for _ in 0..RUNS {
            left = self.run(&begin, &case);
            if left.is_nothing() {
                return;
            }
        }
        panic!("after the case there are {left:?} more than before");
    }

    fn run<W>(self, begin: &impl AsyncFn() -> (W, Neighbour), case: &impl AsyncFn(&mut W)) -> Left {
        let runtime = self.runtime();
        let (mut world, mut neighbour) = runtime.block_on(async {
            let (world, mut neighbour) = begin().await;
            neighbour.settles_in().await;
            crowd(self.tasks).await;
            (world, neighbour)
        });
        let mut left = Left::default();
        let mut most = 0;
        let panicked = panics::during(self.panics == 0, || {
            let kept = rpc_core::kept_bytes() as i64;
            let heap = allocation_counter::measure(|| {
                left = runtime.block_on(async {
                    let before = Left::now(self.ground);
                    neighbour.beside(case(&mut world)).await;
                    self.rests(before, &mut neighbour).await
                });
            });
            most = heap.bytes_max;
            if self.ground != Ground::Threads {
                left.heap = heap.bytes_current - (rpc_core::kept_bytes() as i64 - kept);
            }
        });
        assert_eq!(panicked, self.panics, "so many have panicked");
        assert!(most <= self.heap, "{most} bytes were taken from the heap, {} may be", self.heap);
        neighbour.was_served_as_ever(self.noise());
        runtime.block_on(async { drop((world, neighbour)) });
        left
    }

    fn runtime(self) -> Runtime {
        let mut builder = match self.ground {
            Ground::Threads => Builder::new_multi_thread(),
            Ground::Memory | Ground::Sockets => Builder::new_current_thread(),
        };
        if self.ground == Ground::Memory {
            builder.start_paused(true);
        }
        builder
            .worker_threads(4)
            .on_thread_start(panics::count_as_worker)
            .enable_all()
            .build()
            .expect("a runtime")
    }

    /// How long a neighbour may wait beyond what is usual. In virtual time nothing holds up a call, so that is nothing.
    fn noise(self) -> Took {
        let time = if self.ground == Ground::Memory { Duration::from_millis(1) } else { NOISE };
        Took { time, work: WORK }
    }

    /// Waits until all is as it was, as long as that may take; says what is not.
    async fn rests(self, before: Left, neighbour: &mut Neighbour) -> Left {
        let since = Instant::now();
        if self.ground == Ground::Memory {
            // It costs nothing to let all of them pass, in case something is still to happen.
            neighbour.beside(sleep(self.patience)).await;
            return Left::now(self.ground).beyond(before);
        }
        loop {
            let left = Left::now(self.ground).beyond(before);
            if left.is_nothing() || since.elapsed() > self.patience {
                return left;
            }
            // Nothing tells when a task has ended or a descriptor is closed: this is how often they are counted.
            neighbour.beside(sleep(Duration::from_millis(1))).await;
        }
    }
}

/// Tasks that are all ready at once: the queue of a runtime grows with them, and never shrinks.
async fn crowd(tasks: usize) {
    let tasks: Vec<_> = (0..tasks).map(|_| tokio::spawn(async {})).collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}

/// What there is, or what is left of it.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    tasks: usize,
    descriptors: usize,
    /// Bytes; counted apart, since the start of a count is not known.
    heap: i64,
}

impl Left {
    fn now(ground: Ground) -> Left {
        let tasks = Handle::current().metrics().num_alive_tasks();
        let descriptors = if ground == Ground::Sockets { descriptors() } else { 0 };
        Left { tasks, descriptors, heap: 0 }
    }

    fn beyond(self, before: Left) -> Left {
        Left {
            tasks: self.tasks.saturating_sub(before.tasks),
            descriptors: self.descriptors.saturating_sub(before.descriptors),
            heap: self.heap - before.heap,
        }
    }

    fn is_nothing(self) -> bool {
        self.tasks == 0 && self.descriptors == 0 && self.heap <= HEAP
    }
}

/// A name in memory that nobody else in this process listens on.
pub(crate) fn unused_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("always-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// How many descriptors this process has. Source: proc_pid_fd(5).
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
