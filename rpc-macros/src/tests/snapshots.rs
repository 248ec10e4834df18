//! Whole expansions, as plain files that are reviewed like code: `tests/snapshots/<name>.expanded.rs`.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test -p rpc-macros` writes them anew.

use super::expand;
use quote::ToTokens;
use std::path::Path;
use syn::{File, Item, Meta};

#[test]
fn small() {
    check("small");
}

#[test]
fn generic() {
    check("generic");
}

#[test]
fn decorated() {
    check("decorated");
}

#[test]
fn streams() {
    check("streams");
}

fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let source = std::fs::read_to_string(folder.join(name).with_extension("rs")).unwrap();
    let (options, item) = split(&source);
    let expanded = expand(&options, &item).unwrap();
    let snapshot = folder.join(name).with_extension("expanded.rs");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&snapshot, &expanded).unwrap();
    }
    let expected = std::fs::read_to_string(&snapshot).unwrap_or_default();
    assert!(
        expected == expanded,
        "the expansion of {name}.rs has changed; if it is meant to, run this with UPDATE_SNAPSHOTS=1\n{}",
        first_difference(&expected, &expanded)
    );
}

/// What the compiler would hand to the attribute: its options, and the trait without it.
fn split(source: &str) -> (String, String) {
    let mut file: File = syn::parse_str(source).unwrap();
    let Some(Item::Trait(item)) = file.items.first_mut() else { panic!("a snapshot begins with its trait") };
    let position = item.attrs.iter().position(|attribute| attribute.path().is_ident("service")).unwrap();
    let options = match item.attrs.remove(position).meta {
        Meta::List(list) => list.tokens.to_string(),
        _ => String::new(),
    };
    (options, item.to_token_stream().to_string())
}

fn first_difference(expected: &str, found: &str) -> String {
    let (mut expected, mut found) = (expected.lines(), found.lines());
    for line in 1.. {
        match (expected.next(), found.next()) {
            (None, None) => break,
            (left, right) if left == right => {}
            (left, right) => {
                let (left, right) = (left.unwrap_or("(end)"), right.unwrap_or("(end)"));
                return format!("line {line}\n  expected: {left}\n  found:    {right}");
            }
        }
    }
    "only the ends of lines differ".to_owned()
}
