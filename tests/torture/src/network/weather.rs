//! How bad the network is, and what it has done.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::random::Random;

/// What happens to a piece of what passes, which is what one read gives: 16 KiB at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It waits for up to 20 ms.
    Delay,
    /// It goes on in slices, some of them of one byte.
    Slice,
    /// It waits for up to 1.5 s.
    Stall,
    /// A part of it goes on, then both ways are closed.
    Cut,
    /// A part of it goes on, then this way is closed, and the other is not.
    HalfCut,
    /// A part of it goes on, then the connection is reset.
    Reset,
    /// A byte of it is altered. Networks do not do this to TCP; it is for sabotage.
    Alter,
}

impl Fault {
    const ALL: [Fault; 7] =
        [Fault::Delay, Fault::Slice, Fault::Stall, Fault::Cut, Fault::HalfCut, Fault::Reset, Fault::Alter];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Delay => "delays",
            Fault::Slice => "sliced",
            Fault::Stall => "stalls",
            Fault::Cut => "cuts",
            Fault::HalfCut => "half cuts",
            Fault::Reset => "resets",
            Fault::Alter => "altered",
        })
    }
}

/// Of a million pieces, to how many something happens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) faults: u64,
    pub(crate) altered: u64,
}

/// Of a hundred faults, about how many are what.
const MIXTURE: [(u64, Fault); 6] = [
    (40, Fault::Delay),
    (30, Fault::Slice),
    (8, Fault::Stall),
    (8, Fault::Cut),
    (4, Fault::HalfCut),
    (10, Fault::Reset),
];

impl Weather {
    /// What happens to the next piece, if anything.
    pub(super) fn draw(self, random: &mut Random) -> Option<Fault> {
        if self.altered > 0 && random.in_a_million(self.altered) {
            return Some(Fault::Alter);
        }
        random.in_a_million(self.faults).then(|| random.weighted(&MIXTURE))
    }
}

/// How often something has happened, on all links together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    connections: AtomicU64,
    pieces: AtomicU64,
    faults: [AtomicU64; Fault::ALL.len()],
}

impl Counts {
    pub(super) fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn piece(&self, fault: Option<Fault>) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
        if let Some(fault) = fault {
            self.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection was reset on purpose.
    pub(super) fn reset(&self) {
        self.faults[Fault::Reset as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// All of them by name.
    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut all: BTreeMap<_, _> = Fault::ALL
            .into_iter()
            .zip(&self.faults)
            .map(|(fault, counter)| (fault.to_string(), count(counter)))
            .filter(|(_, count)| *count > 0)
            .collect();
        all.insert("connections".into(), count(&self.connections));
        all.insert("pieces".into(), count(&self.pieces));
        all
    }
}
