//! Counts what panics on the thread of a case and those of its runtime, be it caught by that or not.

use std::cell::{Cell, RefCell};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// On threads of the runtime of a case, of which there is one at a time.
static OF_WORKERS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static IS_TOLD: Cell<bool> = const { Cell::new(true) };
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// How many panics there were while this ran. If they are not told, only one that ends it is: the text of many would
/// be taken for memory that the case has left.
pub(super) fn during(is_told: bool, run: impl FnOnce()) -> usize {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IS_WORKER.get() {
                OF_WORKERS.fetch_add(1, Ordering::SeqCst);
            }
            COUNT.set(COUNT.get() + 1);
            if IS_TOLD.get() {
                tell(info);
            } else {
                LAST.replace(info.to_string());
            }
        }));
    });
    let count = || COUNT.get() + OF_WORKERS.load(Ordering::SeqCst);
    let before = count();
    IS_TOLD.set(is_told);
    let told = Told;
    run();
    drop(told);
    count() - before
}

/// This thread works for the runtime of a case.
pub(super) fn count_as_worker() {
    IS_WORKER.set(true);
}

/// From here on panics are told again, also the one that is under way.
struct Told;

impl Drop for Told {
    fn drop(&mut self) {
        let last = LAST.take();
        if std::thread::panicking() && !IS_TOLD.get() {
            eprintln!("{last}");
        }
        IS_TOLD.set(true);
    }
}
