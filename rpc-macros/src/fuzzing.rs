//! A fuzz target: whatever stands under `#[service]` becomes Rust, or an error in words.
//!
//! `fuzz/` runs it with libFuzzer, from these same sources, since nothing can depend on what a crate of macros is made
//! of; the inputs that it has kept run here, as an ordinary test.

use crate::pipeline;
use proc_macro2::{TokenStream, TokenTree};

/// The parser takes stack for each level of its input, of which the compiler has more than a test. Nobody is attacked
/// here: this is a user's own code.
const DEPTH: usize = 32;
const BYTES: usize = 4 * 1024;

/// Reads the options of the attribute from the first line, and from the others what it stands on.
pub(crate) fn macros(data: &[u8]) {
    let Some(text) = std::str::from_utf8(data).ok().filter(|text| text.len() <= BYTES) else { return };
    let (options, item) = text.split_once('\n').unwrap_or(("", text));
    let (Ok(options), Ok(item)) = (options.parse::<TokenStream>(), item.parse::<TokenStream>()) else {
        return;
    };
    if !is_within(&options, DEPTH) || !is_within(&item, DEPTH) {
        return;
    }
    let expanded = pipeline::run(options, item).unwrap_or_else(|errors| {
        assert!(
            errors.clone().into_iter().all(|error| !error.to_string().is_empty()),
            "an error without words"
        );
        errors.into_compile_error()
    });
    if let Err(error) = syn::parse2::<syn::File>(expanded.clone()) {
        panic!("the expansion is not Rust: {error}\n{expanded}");
    }
}

fn is_within(tokens: &TokenStream, depth: usize) -> bool {
    tokens.clone().into_iter().all(|token| match token {
        TokenTree::Group(group) => depth > 0 && is_within(&group.stream(), depth - 1),
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    #[test]
    fn macros() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let corpus = inputs(&fuzz.join("corpus/macros"));
        assert!(!corpus.is_empty(), "there is no corpus of macros");
        for path in corpus.into_iter().chain(inputs(&fuzz.join("regressions/macros"))) {
            let input = std::fs::read(&path).unwrap();
            // Which of them it was is what a panic does not say.
            if let Err(panic) = std::panic::catch_unwind(|| super::macros(&input)) {
                eprintln!("the input is {}", path.display());
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// The files of a folder in an order that is the same everywhere; none if there is no folder.
    fn inputs(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}
