//! The import directions of ARCHITECTURE.md, read off the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of rpc-core each of them may import. What is not listed is forbidden.
const CORE: &[(&str, &[&str])] = &[
    ("broken", &[]),
    ("chance", &[]),
    ("error", &["marshal"]),
    ("sync", &[]),
    ("limits", &[]),
    ("metadata", &[]),
    ("pool", &[]),
    ("memory", &["sync"]),
    ("transport", &["error"]),
    ("marshal", &["error", "limits", "memory", "pool"]),
    ("message", &["error", "limits", "metadata"]),
    ("frame", &[]),
    ("failure", &["error", "marshal"]),
    ("stream", &["error", "failure", "limits", "marshal"]),
    ("service", &["context", "error", "failure", "marshal", "memory", "stream"]),
    ("context", &["memory", "metadata", "transport"]),
    (
        "protocol",
        &[
            "broken", "chance", "error", "failure", "frame", "limits", "marshal", "message", "metadata",
            "pool",
        ],
    ),
    (
        "runtime",
        &[
            "broken",
            "chance",
            "context",
            "error",
            "failure",
            "frame",
            "limits",
            "marshal",
            "memory",
            "message",
            "metadata",
            "pool",
            "protocol",
            "service",
            "stream",
            "sync",
            "transport",
        ],
    ),
    ("returned", &["error", "failure", "marshal", "runtime", "stream"]),
    (
        "call",
        &[
            "channel", "context", "error", "failure", "marshal", "metadata", "protocol", "returned",
            "runtime", "stream",
        ],
    ),
    (
        "channel",
        &[
            "call",
            "context",
            "error",
            "failure",
            "limits",
            "marshal",
            "memory",
            "returned",
            "runtime",
            "service",
            "transport",
        ],
    ),
];

/// Modules without I/O, clock or task.
const PURE: &[&str] = &[
    "broken", "chance", "error", "failure", "limits", "metadata", "marshal", "memory", "message", "frame",
    "pool", "stream", "service", "protocol",
];

/// In which module a name that stands at the crate's root lives.
const ROOT: &[(&str, &str)] = &[
    ("Code", "error"),
    ("Error", "error"),
    ("Executed", "error"),
    ("CallError", "error"),
    ("VersionMismatch", "error"),
    ("Limits", "limits"),
    ("Metadata", "metadata"),
    ("Address", "transport"),
    ("Context", "context"),
    ("Peer", "context"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All sources of a folder or file, unit tests and models cut off.
fn sources(path: &Path) -> Vec<(PathBuf, String)> {
    if path.is_dir() {
        if path.ends_with("tests") || path.ends_with("models") {
            return Vec::new();
        }
        let entries = fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path());
        return entries.flat_map(|path| sources(&path)).collect();
    }
    if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("tests.rs") {
        return Vec::new();
    }
    let text = fs::read_to_string(path).expect("a source");
    let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
    let code =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    vec![(path.to_owned(), code)]
}

fn module(name: &str) -> Vec<(PathBuf, String)> {
    let src = root().join("rpc-core/src");
    let folder = src.join(name);
    if folder.is_dir() { sources(&folder) } else { sources(&src.join(format!("{name}.rs"))) }
}

/// What follows each `crate::`, braces opened: `crate::{Code, marshal::Payload}` gives `Code` and `marshal`.
fn imports(code: &str) -> BTreeSet<String> {
    let first = |path: &str| -> String {
        path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let end = list.find("};").unwrap_or(list.len());
                let mut depth = 0;
                let mut start = 0;
                for (index, c) in list[..end].char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            found.insert(first(&list[start..index]));
                            start = index + 1;
                        }
                        _ => {}
                    }
                }
                found.insert(first(&list[start..end]));
            }
            None => {
                found.insert(first(rest));
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn modules_of_the_core_import_only_what_lies_below() {
    let listed: BTreeSet<_> = CORE.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in CORE {
        let files = module(name);
        assert!(!files.is_empty(), "there is no module {name}");
        for (path, code) in files {
            for import in imports(&code) {
                let target = ROOT.iter().find_map(|(item, home)| (*item == import).then_some(*home));
                let target = target.unwrap_or(&import);
                assert!(listed.contains(target), "{}: where does `crate::{import}` live?", path.display());
                assert!(
                    target == *name || allowed.contains(&target),
                    "{}: `{name}` must not import `{target}`",
                    path.display()
                );
            }
        }
    }
    let modules = fs::read_to_string(root().join("rpc-core/src/lib.rs")).expect("lib.rs");
    for line in modules.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')) {
        assert!(listed.contains(line), "the module {line} has no place in the architecture");
    }
}

#[test]
fn the_protocol_has_no_io_clock_or_task() {
    for (path, code) in PURE.iter().flat_map(|name| module(name)) {
        for forbidden in
            ["tokio", "std::net", "std::io::Read", "std::thread", "Instant::now", "SystemTime::now"]
        {
            // A timestamp's `now` is asked for by users, not by the protocol.
            if path.ends_with("marshal/timestamp/mod.rs") && forbidden == "SystemTime::now" {
                continue;
            }
            assert!(!code.contains(forbidden), "{}: {forbidden}", path.display());
        }
    }
}

#[test]
fn only_marshalling_names_rmp_serde() {
    for folder in ["rpc-core/src", "rpc-transport/src", "rpc-macros/src", "src"] {
        for (path, code) in sources(&root().join(folder)) {
            let here = path.components().any(|part| part.as_os_str() == "marshal");
            assert!(here || !code.contains("rmp_serde"), "{}", path.display());
        }
    }
}

#[test]
fn one_small_module_has_unsafe_code() {
    let home = root().join("rpc-core/src/marshal/is_bytes.rs");
    for folder in ["rpc-core/src", "rpc-transport/src", "rpc-macros/src", "src"] {
        for (path, code) in sources(&root().join(folder)) {
            let allows = code.contains("unsafe_code") && !code.contains("forbid(unsafe_code)");
            let blocks = code.matches("unsafe {").count();
            if path == home {
                assert!(allows && (1..=4).contains(&blocks), "{blocks} blocks");
                assert!(code.lines().count() <= 120, "it is no longer small");
            } else {
                assert!(!allows && blocks == 0, "{}", path.display());
            }
        }
    }
    // Elsewhere the compiler forbids it.
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    assert!(manifest.contains("unsafe_code = \"forbid\""));
}

#[test]
fn the_core_opens_no_sockets() {
    for (path, code) in sources(&root().join("rpc-core/src")) {
        for forbidden in ["TcpStream", "TcpListener", "UnixStream", "std::net", "tokio::net"] {
            assert!(!code.contains(forbidden), "{}: {forbidden}", path.display());
        }
    }
}

#[test]
fn crates_depend_only_downwards() {
    for (name, forbidden) in [
        ("rpc-core", &["rpc-transport", "rpc-macros"][..]),
        ("rpc-transport", &["rpc-macros"][..]),
        ("rpc-macros", &["rpc-core", "rpc-transport"][..]),
    ] {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a manifest");
        let dependencies = manifest
            .split("[dependencies]")
            .nth(1)
            .and_then(|rest| rest.split("\n[").next())
            .expect("each crate has dependencies");
        for other in forbidden {
            assert!(!dependencies.contains(other), "{name} must not depend on {other}");
        }
    }
}

#[test]
fn imports_are_found() {
    let found =
        imports("use crate::{Code, marshal::{Payload, Shape},\n limits};\nfn f() { crate::frame::cut() }");
    let expected = ["Code", "frame", "limits", "marshal"].map(str::to_owned);
    assert_eq!(found, expected.into());
}
