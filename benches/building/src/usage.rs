//! What a child process used, with all of its own children.

use crate::Result;
use std::fs;
use std::time::{Duration, Instant};

/// Time used.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// CPU time of all processes, user and kernel mode.
    pub cpu: Duration,
    /// Time that passed.
    pub wall: Duration,
}

impl Usage {
    /// Runs `child`, which waits for a process, and gives what that used.
    pub fn of<T>(child: impl FnOnce() -> T) -> Result<(T, Self)> {
        let (began, before) = (Instant::now(), of_children()?);
        let result = child();
        Ok((result, Self { cpu: of_children()? - before, wall: began.elapsed() }))
    }
}

/// The CPU time of all children that were waited for, and of theirs.
fn of_children() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is a name in brackets, which may hold anything.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
    // The 16th and 17th fields, of which the third is the first here.
    let ticks =
        fields.split_whitespace().skip(13).take(2).map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [user, system] = ticks[..] else { return Err("too few fields in stat".into()) };
    // The unit is part of the kernel's interface: a hundred ticks a second on all that Linux runs on.
    Ok(Duration::from_millis(10) * u32::try_from(user + system)?)
}
