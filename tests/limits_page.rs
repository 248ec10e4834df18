//! `docs/limits.md` is true: the tests that it names exist where it says, and it names every setting.

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
                let padded = format!("{:0>2}", number);
                assert!(test.contains(&padded) || test.contains("_to_"), "{test} is not about case {number}");
                named += 1;
            }
        }
    }
    assert!(named > 100, "only {named} tests are named");
}

#[test]
fn every_setting_is_on_it() {
    let page = read("docs/limits.md");
    let settings = read("rpc-core/src/limits.rs");
    let list = settings.split_once("limits! {").expect("the list of all limits").1;
    let setters: Vec<_> = list
        .split(|character: char| !character.is_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("with_"))
        .collect();
    assert!(setters.len() > 10, "{setters:?}");
    for setter in setters {
        assert!(quoted(&page).any(|name| name == setter), "{setter} is not on the page");
    }
}
