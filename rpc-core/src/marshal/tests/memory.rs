//! What hostile bytes may cost in memory.
//!
//! Each test runs itself again in a process of its own, where the system's account of it (`VmPeak`, what was
//! reserved; `VmHWM`, what was in use) tells of nothing else. Under Miri there is neither.
#![cfg(all(target_os = "linux", not(miri)))]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::marshal::unmarshal;

const MIB: usize = 1024 * 1024;

/// What the first run of some code takes, so that memory in use tells nothing below it.
const CODE: usize = 4 * MIB;

/// Set in the process in which a test measures.
const MEASURING: &str = "RPC_CORE_MEASURING";

/// Runs `measured` in a process of its own and checks that it reserved at most `bound` bytes.
#[track_caller]
fn at_most(bound: usize, test: &str, measured: impl FnOnce()) {
    if std::env::var_os(MEASURING).is_some() {
        // The allocator's own beginnings are not what is measured.
        drop(vec![1u8; 64]);
        let before = peaks();
        measured();
        let after = peaks();
        let (reserved, used) = (after.0 - before.0, after.1 - before.1);
        assert!(reserved <= bound && used <= bound + CODE, "reserved {reserved}, used {used}, may {bound}");
        return;
    }
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--test-threads=1"])
        .env(MEASURING, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The most memory that this process ever reserved and ever used, in bytes.
fn peaks() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    };
    (peak("VmPeak:"), peak("VmHWM:"))
}

#[track_caller]
fn refused<T: DeserializeOwned + Debug>(bytes: &[u8], why: &str) {
    let said = unmarshal::<T>(bytes).unwrap_err().to_string();
    assert!(said.contains(why), "{said}");
}

const TOO_MUCH: &str = "more memory than a message of its size may";

/// 416 bytes, and one byte on the wire.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Defaults {
    numbers: [[u64; 26]; 2],
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults { numbers: [[1; 26]; 2] }
    }
}

fn empty_maps(count: usize) -> Vec<u8> {
    let mut bytes = vec![0xdd];
    bytes.extend((count as u32).to_be_bytes());
    bytes.resize(5 + count, 0x80);
    bytes
}

#[test]
fn case_30_declared_elements_reserve_nothing() {
    at_most(64 * 1024, "case_30_declared_elements_reserve_nothing", || {
        refused::<Vec<Defaults>>(&[0xdd, 255, 255, 255, 255, 0x80], "expected 4294967295 elements");
        refused::<HashMap<u64, u64>>(&[0xdf, 255, 255, 255, 255, 1, 1], "expected 4294967295 map entries");
    });
}

#[test]
fn case_31_declared_bytes_reserve_nothing() {
    at_most(64 * 1024, "case_31_declared_bytes_reserve_nothing", || {
        refused::<Vec<u8>>(&[0xc6, 255, 255, 255, 255, 1], "expected 4294967295 bytes");
        refused::<String>(&[0xdb, 255, 255, 255, 255, 1], "expected 4294967295 bytes");
    });
}

#[test]
fn case_37_four_mebibytes_of_empty_maps() {
    assert_eq!(size_of::<Defaults>(), 416);
    let bytes = empty_maps(4 * MIB);
    at_most(20 * MIB, "case_37_four_mebibytes_of_empty_maps", || {
        refused::<Vec<Defaults>>(&bytes, TOO_MUCH);
        // What a box takes is seen only when it is filled.
        refused::<Vec<Box<Defaults>>>(&bytes, TOO_MUCH);
        refused::<Vec<Option<Box<Defaults>>>>(&bytes, TOO_MUCH);
        refused::<BTreeMap<u8, Vec<Defaults>>>(&[&[0x81, 1], &bytes[..]].concat(), TOO_MUCH);
    });
}

#[test]
fn case_37_boxes_are_charged_as_they_are_filled() {
    // Few enough that their pointers alone are within the budget.
    let bytes = empty_maps(MIB);
    at_most(40 * MIB, "case_37_boxes_are_charged_as_they_are_filled", || {
        refused::<Vec<Box<Defaults>>>(&bytes, TOO_MUCH);
        refused::<Vec<Option<Box<Vec<Box<Defaults>>>>>>(&[&[0x91], &bytes[..]].concat(), TOO_MUCH);
    });
}

/// A binary is read as elements, of which a struct of defaults needs none.
#[test]
fn case_37_boxes_filled_out_of_empty_binaries() {
    let mut bytes = empty_maps(MIB);
    bytes.truncate(5);
    bytes.extend([0xc4, 0].repeat(MIB));
    at_most(40 * MIB, "case_37_boxes_filled_out_of_empty_binaries", || {
        // What was wrong with them as binaries is what is said.
        refused::<Vec<Box<Defaults>>>(&bytes, "expected struct Defaults, got 0 bytes");
    });
}

#[test]
fn case_38_nested_arrays_that_all_declare_much() {
    #[derive(Debug, Deserialize)]
    struct Tree(#[allow(dead_code)] Vec<Tree>);

    let mut small = Vec::new();
    let mut large = Vec::new();
    for level in 1..=600u32 {
        small.extend([0xdd]);
        small.extend((3_000 - 5 * level).to_be_bytes());
        large.extend([0xdd]);
        large.extend((4 * MIB as u32 - 5 * level).to_be_bytes());
    }
    large.resize(4 * MIB, 0x90);
    at_most(20 * MIB, "case_38_nested_arrays_that_all_declare_much", || {
        assert!(unmarshal::<Tree>(&small).is_err());
        assert!(unmarshal::<Tree>(&large).is_err());
        assert!(unmarshal::<serde::de::IgnoredAny>(&large).is_err());
    });
}
