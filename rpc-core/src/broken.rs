//! Faults that can be put into the engine, each a likely one: a proof that what looks for faults would find them.
//!
//! There are none unless the compiler is told `--cfg rpc_broken`, and then only the one that is
//! chosen. `tests/simulation` chooses one after the other.

#[cfg(rpc_broken)]
use std::sync::atomic::{AtomicU32, Ordering};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[cfg_attr(not(rpc_broken), expect(unreachable_pub, reason = "it is public where there is one to choose"))]
pub enum Flaw {
    /// When a connection is lost, the last of its callers is not told.
    ForgetsCaller = 1,
    /// When a connection is lost, who consumes a stream is not woken.
    ForgetsConsumer,
    /// A call that may have run when its connection was lost is made again.
    RepeatsCall,
    /// A call whose deadline passes on its way is said not to have run.
    DeniesCall,
    /// A reply goes to whichever call has the place of the one that it is for.
    MistakesCaller,
    /// A fragment is sent in the name of another message of which as much is left.
    MistakesFragment,
    /// One call more is let in than the limit says, as a caller may send whose cancelled one still runs.
    AdmitsOneMore,
    /// The timer of a connection is not armed anew for an earlier deadline.
    KeepsTimer,
    /// A stream goes on after its deadline.
    ForgetsStreamDeadline,
    /// A caller that goes takes its place with it.
    KeepsPlace,
    /// A call whose stream is abandoned keeps its place when it has ended.
    KeepsStreamPlace,
    /// Half of what is consumed of a stream gives no credit.
    KeepsCredit,
    /// Handlers of a connection that has ended are not stopped.
    LeavesHandlers,
    /// A connection that is silent is never given up.
    ToleratesSilence,
    /// Calls are cancelled more often than the other side takes.
    CancelsAtWill,
    /// A drain does not wait for handlers.
    DrainsWithoutHandlers,
    /// A connection that has been drained is closed before its last replies are written.
    ClosesUnwritten,
}

#[cfg(rpc_broken)]
static CHOSEN: AtomicU32 = AtomicU32::new(0);

/// Puts a fault into the engine, for the whole process, or none.
#[cfg(rpc_broken)]
pub fn choose(flaw: Option<Flaw>) {
    CHOSEN.store(flaw.map_or(0, |flaw| flaw as u32), Ordering::Relaxed);
}

/// Whether the engine has this fault.
#[cfg(rpc_broken)]
pub(crate) fn has(flaw: Flaw) -> bool {
    CHOSEN.load(Ordering::Relaxed) == flaw as u32
}

/// Whether the engine has this fault: it has none.
#[cfg(not(rpc_broken))]
#[inline(always)]
pub(crate) const fn has(_: Flaw) -> bool {
    false
}
