//! Counts what panics on this thread, be it caught by a runtime or not.

use std::cell::{Cell, RefCell};
use std::panic;
use std::sync::Once;

thread_local! {
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
            COUNT.set(COUNT.get() + 1);
            if IS_TOLD.get() {
                tell(info);
            } else {
                LAST.replace(info.to_string());
            }
        }));
    });
    let before = COUNT.get();
    IS_TOLD.set(is_told);
    let told = Told;
    run();
    drop(told);
    COUNT.get() - before
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
