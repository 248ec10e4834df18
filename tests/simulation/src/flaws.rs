//! The proof that a simulation bites: an engine with one fault after the other, until that is found.

#[cfg(rpc_broken)]
pub(crate) use self::broken::run;

/// How to build an engine that can be broken.
#[cfg(not(rpc_broken))]
pub(crate) fn run(_: &crate::options::Options) -> bool {
    eprintln!(
        "this engine cannot be broken: RUSTFLAGS=\"--cfg rpc_broken\" cargo run --release \
         --manifest-path tests/simulation/Cargo.toml -- flaws"
    );
    false
}

#[cfg(rpc_broken)]
mod broken {
    use rpc_core::broken::{Flaw, choose};

    use crate::invariants::Invariant;
    use crate::options::Options;
    use crate::seeds::{Kind, apart, quiet};

    /// Each fault, and the invariant that it breaks.
    const FLAWS: &[(Flaw, Invariant)] = &[
        (Flaw::ForgetsCaller, Invariant::I1),
        (Flaw::ForgetsConsumer, Invariant::I1),
        (Flaw::RepeatsCall, Invariant::I2),
        (Flaw::DeniesCall, Invariant::I2),
        (Flaw::MistakesCaller, Invariant::I3),
        (Flaw::MistakesFragment, Invariant::I3),
        (Flaw::AdmitsOneMore, Invariant::I4),
        (Flaw::KeepsTimer, Invariant::I5),
        (Flaw::ForgetsStreamDeadline, Invariant::I5),
        (Flaw::KeepsPlace, Invariant::I6),
        (Flaw::KeepsStreamPlace, Invariant::I6),
        (Flaw::KeepsCredit, Invariant::I1),
        (Flaw::LeavesHandlers, Invariant::I7),
        (Flaw::ToleratesSilence, Invariant::I8),
        (Flaw::CancelsAtWill, Invariant::Always),
        (Flaw::DrainsWithoutHandlers, Invariant::I9),
        (Flaw::ClosesUnwritten, Invariant::I9),
    ];

    /// Beyond so many seeds a fault counts as not found.
    const ENOUGH: u64 = 1_000;

    /// Runs seeds with each fault until what it breaks is found broken; says whether all of them are found.
    pub(crate) fn run(options: &Options) -> bool {
        quiet();
        println!("{:<24} {:<10} {:>8} {:>8}  also", "fault", "invariant", "memory", "network");
        let mut found = true;
        for (flaw, invariant) in FLAWS {
            choose(Some(*flaw));
            let mut also = Vec::new();
            let seeds = [Kind::Memory, Kind::Network].map(|kind| {
                let most = options.seeds.unwrap_or(ENOUGH);
                let seeds = until_found(kind, *invariant, options.from..options.from + most, &mut also);
                seeds.map_or("none".to_owned(), |seeds| seeds.to_string())
            });
            also.sort_unstable();
            also.dedup();
            let [memory, network] = &seeds;
            let also: Vec<_> = also.iter().map(|other| format!("{other:?}")).collect();
            println!(
                "{:<24} {:<10} {memory:>8} {network:>8}  {}",
                format!("{flaw:?}"),
                format!("{invariant:?}"),
                also.join(" ")
            );
            found &= seeds.iter().all(|seeds| seeds != "none");
        }
        choose(None);
        found
    }

    /// How many seeds it takes until an invariant is found broken, and which others are until then.
    fn until_found(
        kind: Kind,
        invariant: Invariant,
        seeds: std::ops::Range<u64>,
        also: &mut Vec<Invariant>,
    ) -> Option<u64> {
        let first = seeds.start;
        for seed in seeds {
            let broken: Vec<_> =
                apart(kind, seed, false).violations.iter().map(|violation| violation.invariant).collect();
            also.extend(broken.iter().filter(|other| **other != invariant));
            if broken.contains(&invariant) {
                return Some(seed - first + 1);
            }
        }
        None
    }
}
