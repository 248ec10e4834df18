//! Fuzz targets: each takes bytes that somebody made up, and panics if a promise does not hold.
//!
//! `fuzz/` runs them with libFuzzer; the inputs that it has kept run here, as ordinary tests. How the bytes are read
//! is each target's own business: most of them describe what happens, an [`Input`] piece by piece.

mod client;
mod frames;
mod hello;
mod input;
mod metadata;
mod peer;
mod round_trip;
mod server;
mod unmarshal;

pub use self::client::client;
pub use self::frames::frames;
pub use self::hello::hello;
pub use self::metadata::metadata;
pub use self::round_trip::round_trip;
pub use self::server::server;
pub use self::unmarshal::unmarshal;

use self::input::Input;

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    /// One test a target: all inputs that its fuzzing has kept.
    macro_rules! replay {
        ($($target:ident)+) => {
            $(
                #[test]
                fn $target() {
                    replay(stringify!($target), super::$target);
                }
            )+
        };
    }

    replay!(client frames hello metadata round_trip server unmarshal);

    fn replay(target: &str, body: fn(&[u8])) {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let corpus = inputs(&fuzz.join("corpus").join(target));
        assert!(!corpus.is_empty(), "there is no corpus of {target}");
        for path in corpus.into_iter().chain(inputs(&fuzz.join("regressions").join(target))) {
            let input = std::fs::read(&path).expect("an input");
            // Which of them it was is what a panic does not say.
            if let Err(panic) = std::panic::catch_unwind(|| body(&input)) {
                eprintln!("the input is {}", path.display());
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// The files of a folder in an order that is the same everywhere; none if there is no folder.
    fn inputs(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    }
}
