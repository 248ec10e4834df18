//! What this process takes of memory, and how a test has a process to itself so that this is what it has caused.

use std::process::Command;

const ALONE: &str = "RPC_TEST_ALONE";

/// Resident memory of this process. Source: proc_pid_statm(5).
pub(crate) fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).expect("its second field").parse::<u64>().expect("a number") * 4_096
}

/// Runs a test in a process of its own, by its name, unless this is that process. True if that has been done.
pub(crate) fn ran_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let mut alone = Command::new(std::env::current_exe().expect("this program"));
    let status = alone.args(["--exact", test, "--nocapture"]).env(ALONE, "1").status();
    assert!(status.expect("it runs already, so it can run once more").success());
    true
}
