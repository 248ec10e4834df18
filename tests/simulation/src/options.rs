//! The command line.

use lexopt::prelude::*;

use crate::seeds::Kind;

pub(crate) const HELP: &str = "\
Runs clients and servers in worlds that follow from a seed, and checks what must hold whatever happens.

  [memory|network]   which world; both if neither is said
  flaws              breaks the engine in one way after the other, and says how many seeds it takes to notice
  --seeds N          how many seeds: 10000 in memory and 1000 in the network, unless said
  --from K           the first of them; 0
  --seed S           one seed, with all that happens in it
  --threads N        how many at once; 2
  --all              goes on after a seed that failed, and prints a line for each";

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) command: Command,
    world: Option<Kind>,
    pub(crate) seeds: Option<u64>,
    pub(crate) from: u64,
    pub(crate) seed: Option<u64>,
    pub(crate) threads: u64,
    /// Failures do not end it.
    pub(crate) all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Seeds,
    Flaws,
    Help,
}

impl Options {
    pub(crate) fn parse() -> Result<Self, lexopt::Error> {
        let mut options = Options {
            command: Command::Seeds,
            world: None,
            seeds: None,
            from: 0,
            seed: None,
            threads: 2,
            all: false,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Value(name) if name == "memory" => options.world = Some(Kind::Memory),
                Value(name) if name == "network" => options.world = Some(Kind::Network),
                Value(name) if name == "flaws" => options.command = Command::Flaws,
                Long("seeds") => options.seeds = Some(parser.value()?.parse()?),
                Long("from") => options.from = parser.value()?.parse()?,
                Long("seed") => options.seed = Some(parser.value()?.parse()?),
                Long("all") => options.all = true,
                Long("threads") => options.threads = parser.value()?.parse()?,
                Short('h') | Long("help") => options.command = Command::Help,
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(options)
    }

    pub(crate) fn worlds(&self) -> Vec<Kind> {
        self.world.map_or(vec![Kind::Network, Kind::Memory], |world| vec![world])
    }

    pub(crate) fn seeds(&self, world: Kind) -> u64 {
        self.seeds.unwrap_or(match world {
            Kind::Memory => 10_000,
            Kind::Network => 1_000,
        })
    }
}
