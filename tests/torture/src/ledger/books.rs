//! All ledgers of a run together, read as they are written, and what they add up to.
//!
//! What has been judged is forgotten, so that a run may last for hours: a call is kept for a time in which all that will
//! ever be written of it is written.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::judge::{Known, judge, late};
use super::record::{Attempt, Ending, Event, Record};
use super::tail::Tail;

/// How long after its first record a call is judged for good. Far more than any call takes, any bytes lie on the way and
/// any process is stopped, also on a busy machine.
const SETTLED_AFTER: Duration = Duration::from_secs(180);

/// So many things that are wrong are told of.
const TOLD: usize = 5;

/// What became of a process that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs, or has ended by itself.
    Lived,
    /// It was killed, so its calls may lack their outcomes.
    Killed,
}

/// A process that writes: its number in the calls that it makes, and its name.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) number: u32,
    pub(crate) name: String,
    /// What its files are called, without their numbers.
    pub(crate) ledger: PathBuf,
}

/// The ledgers, and what is not settled yet.
#[derive(Debug, Default)]
pub(crate) struct Books {
    writers: BTreeMap<u32, Followed>,
    calls: HashMap<u64, Call>,
    /// The calls by the moment of their first record.
    order: VecDeque<(Instant, u64)>,
    counts: Counts,
    /// The first things that are wrong, with the histories of their calls.
    wrong: Vec<String>,
}

#[derive(Debug)]
struct Followed {
    writer: Writer,
    /// None once its process is gone, and all of it read.
    tail: Option<Tail>,
    fate: Fate,
    /// Its calls up to here, in sequence, are settled and forgotten.
    forgotten: u64,
}

/// Its records, and who wrote each.
type Call = Vec<(u32, Record)>;

/// What happened, in numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) attempts: u64,
    pub(crate) executions: u64,
    /// By their words, each ending of an attempt.
    pub(crate) endings: BTreeMap<String, u64>,
    /// Attempts without an outcome since their caller was killed.
    pub(crate) cut_short: u64,
    pub(crate) mismatches: u64,
}

impl Books {
    /// Reads the ledger of this process, too.
    pub(crate) fn follow(&mut self, writer: Writer) {
        let tail = Some(Tail::new(writer.ledger.clone()));
        self.writers.insert(writer.number, Followed { writer, tail, fate: Fate::Lived, forgotten: 0 });
    }

    /// Says that a process is about to be killed.
    pub(crate) fn killed(&mut self, writer: u32) {
        if let Some(followed) = self.writers.get_mut(&writer) {
            followed.fate = Fate::Killed;
        }
    }

    /// Reads to the end what a process has written that is gone, and removes its files.
    pub(crate) fn gone(&mut self, writer: u32) {
        self.read_all();
        let Some(followed) = self.writers.get_mut(&writer) else { return };
        if let Some(tail) = followed.tail.take()
            && let Err(error) = tail.finish()
        {
            let wrong = format!("the ledger of {}: {error}", followed.writer.name);
            self.note(wrong);
        }
    }

    /// Reads what was written since, and judges what is old enough.
    pub(crate) fn read(&mut self) {
        self.read_all();
        let now = Instant::now();
        while let Some(&(since, call)) = self.order.front()
            && now.duration_since(since) > SETTLED_AFTER
        {
            self.order.pop_front();
            self.settle(call);
        }
    }

    /// Reads and judges all there is, once every writer has ended.
    pub(crate) fn close(&mut self) {
        for writer in self.writers.keys().copied().collect::<Vec<_>>() {
            self.gone(writer);
        }
        self.settle_all();
    }

    /// What it adds up to.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The first things that are wrong, if anything is.
    pub(crate) fn wrong(&self) -> &[String] {
        &self.wrong
    }

    fn read_all(&mut self) {
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for (&number, followed) in &mut self.writers {
            let Some(tail) = &mut followed.tail else { continue };
            if let Err(error) = tail.read(|record| records.push((number, record))) {
                unreadable.push(format!("the ledger of {}: {error}", followed.writer.name));
            }
        }
        unreadable.into_iter().for_each(|wrong| self.note(wrong));
        let now = Instant::now();
        for (writer, record) in records {
            self.add(writer, record, now);
        }
    }

    fn add(&mut self, writer: u32, record: Record, now: Instant) {
        self.counts.add(&record);
        let attempt = record.attempt;
        let call = self.calls.entry(attempt.call).or_default();
        if call.is_empty() {
            let caller = self.writers.get(&attempt.caller());
            if caller.is_some_and(|caller| attempt.sequence() <= caller.forgotten) {
                self.calls.remove(&attempt.call);
                self.complain(late(attempt), &[(writer, record)]);
                return;
            }
            self.order.push_back((now, attempt.call));
        }
        call.push((writer, record));
        if let Err(mismatch) = judge(call.iter().map(|(_, record)| record), Known::SoFar) {
            let call = call.clone();
            self.complain(format!("{attempt}: {mismatch}"), &call);
        }
    }

    fn settle_all(&mut self) {
        for (_, call) in std::mem::take(&mut self.order) {
            self.settle(call);
        }
    }

    fn settle(&mut self, number: u64) {
        let Some(call) = self.calls.remove(&number) else { return };
        let attempt = Attempt { call: number, number: 1 };
        let mut known = Known::All;
        if let Some(caller) = self.writers.get_mut(&attempt.caller()) {
            caller.forgotten = caller.forgotten.max(attempt.sequence());
            if caller.fate == Fate::Killed {
                known = Known::CallerKilled;
            }
        }
        let of = |event: fn(&Event) -> bool| call.iter().filter(|(_, record)| event(&record.event)).count();
        let intended = of(|event| matches!(event, Event::Intended { .. }));
        let ended = of(|event| matches!(event, Event::Ended(_)));
        self.counts.cut_short += intended.saturating_sub(ended) as u64;
        let records = call.iter().map(|(_, record)| record);
        // What was wrong before all was known has been told.
        if judge(records.clone(), Known::SoFar).is_ok()
            && let Err(mismatch) = judge(records, known)
        {
            self.complain(format!("call {}.{}: {mismatch}", attempt.caller(), attempt.sequence()), &call);
        }
    }

    fn complain(&mut self, what: String, call: &[(u32, Record)]) {
        let mut history = what;
        let mut call = call.to_vec();
        call.sort_by_key(|(_, record)| record.at);
        let first = call.first().map_or(0, |(_, record)| record.at);
        for (writer, record) in call {
            let name = self.writers.get(&writer).map_or("nobody", |followed| &followed.writer.name);
            let after = (record.at - first) as f64 / 1e3;
            // Writing to a string cannot fail.
            let _ = write!(
                history,
                "\n    {after:10.3} ms  attempt {}  {:?}  {name}: {:?}",
                record.attempt.number, record.method, record.event
            );
        }
        self.note(history);
    }

    fn note(&mut self, wrong: String) {
        self.counts.mismatches += 1;
        if self.wrong.len() < TOLD {
            self.wrong.push(wrong);
        }
    }
}

impl Counts {
    fn add(&mut self, record: &Record) {
        match record.event {
            Event::Intended { .. } => {
                self.attempts += 1;
                self.calls += u64::from(record.attempt.number == 1);
            }
            Event::Executed { .. } => self.executions += 1,
            Event::Ended(ending) => *self.endings.entry(ending.to_string()).or_default() += 1,
            Event::Disordered => {}
        }
    }

    /// How many attempts ended well.
    pub(crate) fn well(&self) -> u64 {
        self.endings.get(&Ending::Ok(0).to_string()).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Method;
    use super::super::writer::Ledger;
    use super::*;

    fn directory(test: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("torture-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        directory
    }

    #[test]
    fn calls_are_read_from_all_files_which_are_removed_on_the_way() {
        let directory = directory("books");
        let mut books = Books::default();
        let mut ledgers = Vec::new();
        for number in [1, 2] {
            let ledger = directory.join(number.to_string());
            books.follow(Writer { number, name: format!("process {number}"), ledger: ledger.clone() });
            ledgers.push(Ledger::create(ledger).expect("a file"));
        }
        // So many that each process needs several files.
        for sequence in 1..=40_000 {
            let attempt = Attempt::first(1, sequence);
            ledgers[0].append(attempt, Method::Plain, Event::Intended { arguments: 1, reply: 2 });
            ledgers[1].append(attempt, Method::Plain, Event::Executed { arguments: 1 });
            if sequence < 40_000 {
                ledgers[0].append(attempt, Method::Plain, Event::Ended(Ending::Ok(2)));
            }
        }
        books.read();
        assert_eq!(books.wrong(), [""; 0]);
        let left = std::fs::read_dir(&directory).expect("a directory").count();
        assert_eq!(left, 2, "the last file of each");
        books.gone(1);
        books.settle_all();
        let counts = books.counts();
        assert_eq!((counts.calls, counts.executions, counts.well()), (40_000, 40_000, 39_999));
        assert_eq!(counts.mismatches, 1);
        let [wrong] = books.wrong() else { panic!("{:?}", books.wrong()) };
        assert!(wrong.starts_with("call 1.40000: an attempt has no outcome"), "{wrong}");
        assert!(wrong.contains("process 2: Executed"), "{wrong}");
        // What comes for a call that was forgotten is found, too.
        ledgers[1].append(Attempt::first(1, 7), Method::Plain, Event::Executed { arguments: 1 });
        books.read();
        assert_eq!(books.counts().mismatches, 2);
        books.close();
        assert_eq!(std::fs::read_dir(&directory).expect("a directory").count(), 0);
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_caller_that_was_killed_owes_no_outcome() {
        let directory = directory("killed");
        let mut books = Books::default();
        let path = directory.join("1");
        books.follow(Writer { number: 1, name: "it".into(), ledger: path.clone() });
        let ledger = Ledger::create(path).expect("a file");
        ledger.append(Attempt::first(1, 1), Method::Plain, Event::Intended { arguments: 1, reply: 2 });
        books.killed(1);
        books.close();
        assert_eq!((books.wrong().len(), books.counts().cut_short), (0, 1));
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
