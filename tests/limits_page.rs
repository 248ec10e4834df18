//! `docs/limits.md` is true: the tests that it names exist where it says, and it names every setting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between back quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_that_it_names_exists_in_the_file_that_it_names() {
    let page = read("docs/limits.md");
    let mut named = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        // A cell may name several files: [name](../path): `test`, `test`; [name](../path): ...
        for part in row.split("](../").skip(1) {
            let (file, tests) = part.split_once("): ").expect("tests follow the file that they are in");
            let source = read(file);
            for test in quoted(tests) {
                assert!(source.contains(&format!("fn {test}()")), "there is no {test} in {file}");
                let number: &str = row[2..].split(' ').next().expect("a row begins with its case");
                let is_case = number.bytes().all(|byte| byte.is_ascii_digit());
                let padded = format!("{:0>2}", number);
                let is_its = test.contains(&padded) || test.contains("_to_");
                assert!(!is_case || is_its, "{test} is not about case {number}");
                named += 1;
            }
        }
    }
    assert!(named > 100, "only {named} tests are named");
}

/// The tests of a source in which is checked what must hold in every case, be it by way of a function beside them.
fn always(source: &str) -> BTreeSet<&str> {
    const CHECKED: [&str; 4] = [".holds(", "Victim::attacked", "Victim::that_goes", "Liar::attacks"];
    let functions: BTreeMap<&str, &str> = source
        .split("\nfn ")
        .skip(1)
        .filter_map(|rest| {
            rest.split_once('(').map(|(name, _)| (name, rest.split("\n}\n").next().unwrap_or(rest)))
        })
        .collect();
    let mut checked: BTreeSet<&str> = BTreeSet::new();
    loop {
        let calls = |body: &str| checked.iter().any(|name| body.contains(&format!(" {name}(")));
        let more: Vec<_> = functions
            .iter()
            .filter(|(name, body)| {
                !checked.contains(*name) && (CHECKED.iter().any(|word| body.contains(word)) || calls(body))
            })
            .map(|(name, _)| *name)
            .collect();
        if more.is_empty() {
            return checked;
        }
        checked.extend(more);
    }
}

#[test]
fn of_each_case_one_test_at_least_checks_what_must_hold_in_every_case() {
    let page = read("docs/limits.md");
    let cases = page.split_once("## Case by case").expect("they have a chapter").1;
    let (cases, without) = cases.split_once("### Without a test of their own").expect("some have none");
    let mut count = 0;
    for row in cases.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case ")) {
        let is_checked = row.split("](../").skip(1).any(|part| {
            let (file, tests) = part.split_once("): ").expect("tests follow the file that they are in");
            let source = read(file);
            let checked = always(&source);
            quoted(tests).any(|test| checked.contains(test))
        });
        assert!(is_checked, "none of these does: {row}");
        count += 1;
    }
    assert!(count > 70, "only {count} cases");
    let without = without.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case "));
    // TLS, authentication and compression, which are not there yet.
    let left = without.map(|row| row[2..].split(' ').next().expect("a case"));
    assert_eq!(left.collect::<Vec<_>>(), ["74-78", "79-81", "87"]);
}

#[test]
fn every_setting_is_on_it_with_a_test_on_the_wire() {
    let page = read("docs/limits.md");
    let (table, _) = page.split_once("These are fixed").expect("a table of settings");
    let settings = read("rpc-core/src/limits.rs");
    let list = settings.split_once("limits! {").expect("the list of all limits").1;
    let setters: Vec<_> = list
        .split(|character: char| !character.is_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("with_"))
        .collect();
    assert!(setters.len() > 10, "{setters:?}");
    for setter in setters {
        let row = table.lines().find(|row| row.starts_with("| ") && row.contains(&format!("| `{setter}` |")));
        let row = row.unwrap_or_else(|| panic!("{setter} is not on the page"));
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        assert!(last.contains("](../"), "{setter} names no test");
        for part in last.split("](../").skip(1) {
            let (file, tests) = part.split_once("): ").expect("tests follow the file that they are in");
            let source = read(file);
            let checked = always(&source);
            for test in quoted(tests) {
                assert!(checked.contains(test), "{test} of {setter} is no test of an attack in {file}");
            }
        }
    }
}
