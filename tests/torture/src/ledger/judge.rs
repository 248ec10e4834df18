//! What must be true of a call, given all that was written of it.

use std::fmt;

use super::record::{Attempt, Ending, Event, Record};

/// How much is known of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// More may be written of it.
    SoFar,
    /// All that will ever be; its caller lived to see its end.
    All,
    /// The same, but its caller was killed: of how it ended, and whether it was retried, nothing can be asked.
    CallerKilled,
}

/// What is not as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    ExecutedTwice,
    AttemptExecutedTwice,
    ExecutedThoughNot,
    TwoOutcomes,
    NoOutcome,
    NotExecutedThoughEnded,
    Unintended,
    IntendedTwice,
    OtherArguments,
    OtherReply,
    Disordered,
    /// An error that nothing in this world causes.
    Unexplained,
    /// Written when nothing more could come.
    Late,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mismatch::ExecutedTwice => "a call was executed twice, and its method is not idempotent",
            Mismatch::AttemptExecutedTwice => "one attempt was executed twice",
            Mismatch::ExecutedThoughNot => "an attempt was executed, and its caller told that it was not",
            Mismatch::TwoOutcomes => "an attempt has two outcomes",
            Mismatch::NoOutcome => "an attempt has no outcome, though its caller lives",
            Mismatch::NotExecutedThoughEnded => "an attempt ended as if it had been executed, and was not",
            Mismatch::Unintended => "something is known of an attempt that nobody made",
            Mismatch::IntendedTwice => "one attempt was made twice",
            Mismatch::OtherArguments => "a handler was given other arguments than were sent",
            Mismatch::OtherReply => "a caller was given another reply than was sent",
            Mismatch::Disordered => "a stream was out of order, altered, or incomplete without an error",
            Mismatch::Unexplained => "an attempt ended with an error that nothing here can have caused",
            Mismatch::Late => "something was written of a call when nothing more could come of it",
        })
    }
}

/// Looks for something that is wrong with a call.
pub(super) fn judge<'a>(
    records: impl Iterator<Item = &'a Record> + Clone,
    known: Known,
) -> Result<(), Mismatch> {
    let executions = records.clone().filter(|record| matches!(record.event, Event::Executed { .. })).count();
    if executions > 1 && records.clone().any(|record| !record.method.is_idempotent()) {
        return Err(Mismatch::ExecutedTwice);
    }
    for record in records.clone() {
        // An attempt is judged at the first record of it.
        let attempt = record.attempt;
        let of_attempt = records.clone().filter(move |record| record.attempt == attempt);
        if of_attempt.clone().next().is_some_and(|first| std::ptr::eq(first, record)) {
            judge_attempt(of_attempt, known)?;
        }
    }
    Ok(())
}

fn judge_attempt<'a>(records: impl Iterator<Item = &'a Record>, known: Known) -> Result<(), Mismatch> {
    let mut story = Story::default();
    for record in records {
        story.add(record)?;
    }
    story.check(known)
}

/// What was written of an attempt.
#[derive(Default)]
struct Story {
    oneway: bool,
    intended: Option<(u64, u64)>,
    executed: Option<u64>,
    ended: Option<Ending>,
}

impl Story {
    fn add(&mut self, record: &Record) -> Result<(), Mismatch> {
        self.oneway = record.method.is_oneway();
        match record.event {
            Event::Intended { arguments, reply } => {
                once(&mut self.intended, (arguments, reply), Mismatch::IntendedTwice)
            }
            Event::Executed { arguments } => {
                once(&mut self.executed, arguments, Mismatch::AttemptExecutedTwice)
            }
            Event::Ended(ending) => once(&mut self.ended, ending, Mismatch::TwoOutcomes),
            Event::Disordered => Err(Mismatch::Disordered),
        }
    }

    fn check(&self, known: Known) -> Result<(), Mismatch> {
        if self.ended == Some(Ending::Disordered) {
            return Err(Mismatch::Disordered);
        }
        if self.ended.is_some_and(|ending| !ending.is_explained()) {
            return Err(Mismatch::Unexplained);
        }
        if self.executed.is_some() && self.ended.is_some_and(Ending::says_not_executed) {
            return Err(Mismatch::ExecutedThoughNot);
        }
        if let Some((arguments, reply)) = self.intended {
            if self.executed.is_some_and(|given| given != 0 && given != arguments) {
                return Err(Mismatch::OtherArguments);
            }
            if matches!(self.ended, Some(Ending::Ok(given)) if given != reply) {
                return Err(Mismatch::OtherReply);
            }
        }
        if known == Known::SoFar {
            return Ok(());
        }
        if self.intended.is_none() {
            return Err(Mismatch::Unintended);
        }
        match self.ended {
            None if known == Known::All => Err(Mismatch::NoOutcome),
            // A one-way call ends well when it is handed to its connection.
            Some(ending) if ending.says_executed() && self.executed.is_none() && !self.oneway => {
                Err(Mismatch::NotExecutedThoughEnded)
            }
            _ => Ok(()),
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T, otherwise: Mismatch) -> Result<(), Mismatch> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(otherwise),
    }
}

/// What is said of an attempt that is not in the books any more.
pub(super) fn late(attempt: Attempt) -> String {
    format!("{attempt}: {}", Mismatch::Late)
}

#[cfg(test)]
mod tests {
    use rpc::{Code, Executed};

    use super::super::record::Method;
    use super::*;

    const INTENDED: Event = Event::Intended { arguments: 5, reply: 6 };
    const EXECUTED: Event = Event::Executed { arguments: 5 };
    const OK: Event = Event::Ended(Ending::Ok(6));

    fn error(executed: Executed) -> Event {
        Event::Ended(Ending::Error(Code::Unavailable.number(), executed as u8))
    }

    fn verdict(method: Method, known: Known, events: &[(u32, Event)]) -> Result<(), Mismatch> {
        let record = |&(number, event)| {
            let attempt = Attempt { number, ..Attempt::first(1, 1) };
            Record { attempt, method, event, at: 0 }
        };
        judge(events.iter().map(record).collect::<Vec<_>>().iter(), known)
    }

    fn first(method: Method, known: Known, events: &[Event]) -> Result<(), Mismatch> {
        verdict(method, known, &events.iter().map(|event| (1, *event)).collect::<Vec<_>>())
    }

    #[test]
    fn what_may_happen_is_no_mismatch() {
        for executed in [Executed::Maybe, Executed::Yes] {
            assert_eq!(first(Method::Plain, Known::All, &[INTENDED, EXECUTED, error(executed)]), Ok(()));
        }
        for executed in [Executed::Maybe, Executed::No] {
            assert_eq!(first(Method::Plain, Known::All, &[INTENDED, error(executed)]), Ok(()));
        }
        for events in [
            &[INTENDED, EXECUTED, OK][..],
            // Files are read one after the other.
            &[OK, EXECUTED, INTENDED],
            &[INTENDED, EXECUTED, Event::Ended(Ending::App)],
            &[INTENDED, EXECUTED, Event::Ended(Ending::Dropped)],
            &[INTENDED, Event::Ended(Ending::Dropped)],
        ] {
            assert_eq!(first(Method::Plain, Known::All, events), Ok(()), "{events:?}");
        }
        assert_eq!(first(Method::Note, Known::All, &[INTENDED, OK]), Ok(()));
        assert_eq!(first(Method::Plain, Known::CallerKilled, &[INTENDED]), Ok(()));
        assert_eq!(first(Method::Plain, Known::CallerKilled, &[INTENDED, EXECUTED]), Ok(()));
        let streamed = Event::Executed { arguments: 0 };
        assert_eq!(first(Method::Upload, Known::All, &[INTENDED, streamed, OK]), Ok(()));
        let repeated = [
            (1, INTENDED),
            (1, EXECUTED),
            (1, error(Executed::Maybe)),
            (2, INTENDED),
            (2, EXECUTED),
            (2, OK),
        ];
        assert_eq!(verdict(Method::Repeatable, Known::All, &repeated), Ok(()));
        let refused = [(1, INTENDED), (1, error(Executed::No)), (2, INTENDED), (2, EXECUTED), (2, OK)];
        assert_eq!(verdict(Method::Plain, Known::All, &refused), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_found_before_all_is_known() {
        for (method, events, mismatch) in [
            (Method::Plain, &[EXECUTED, EXECUTED][..], Mismatch::ExecutedTwice),
            (Method::Note, &[EXECUTED, EXECUTED], Mismatch::ExecutedTwice),
            (Method::Repeatable, &[EXECUTED, EXECUTED], Mismatch::AttemptExecutedTwice),
            (Method::Plain, &[EXECUTED, error(Executed::No)], Mismatch::ExecutedThoughNot),
            (Method::Plain, &[OK, OK], Mismatch::TwoOutcomes),
            (Method::Plain, &[OK, Event::Ended(Ending::Dropped)], Mismatch::TwoOutcomes),
            (Method::Plain, &[INTENDED, INTENDED], Mismatch::IntendedTwice),
            (Method::Plain, &[INTENDED, Event::Executed { arguments: 4 }], Mismatch::OtherArguments),
            (Method::Plain, &[INTENDED, Event::Ended(Ending::Ok(7))], Mismatch::OtherReply),
            (Method::Download, &[Event::Ended(Ending::Disordered)], Mismatch::Disordered),
            (Method::Upload, &[Event::Disordered], Mismatch::Disordered),
            (
                Method::Plain,
                &[Event::Ended(Ending::Error(Code::Internal.number(), Executed::Yes as u8))],
                Mismatch::Unexplained,
            ),
        ] {
            assert_eq!(first(method, Known::SoFar, events), Err(mismatch), "{events:?}");
        }
        let retried = [(1, EXECUTED), (2, EXECUTED)];
        assert_eq!(verdict(Method::Plain, Known::SoFar, &retried), Err(Mismatch::ExecutedTwice));
        assert_eq!(verdict(Method::Repeatable, Known::SoFar, &retried), Ok(()));
    }

    #[test]
    fn what_is_missing_is_found_when_all_is_known() {
        for (method, known, events, mismatch) in [
            (Method::Plain, Known::All, &[INTENDED, EXECUTED][..], Mismatch::NoOutcome),
            (Method::Plain, Known::All, &[INTENDED, OK], Mismatch::NotExecutedThoughEnded),
            (
                Method::Plain,
                Known::All,
                &[INTENDED, Event::Ended(Ending::App)],
                Mismatch::NotExecutedThoughEnded,
            ),
            (
                Method::Plain,
                Known::CallerKilled,
                &[INTENDED, error(Executed::Yes)],
                Mismatch::NotExecutedThoughEnded,
            ),
            (Method::Plain, Known::All, &[EXECUTED], Mismatch::Unintended),
            (Method::Plain, Known::CallerKilled, &[EXECUTED], Mismatch::Unintended),
        ] {
            assert_eq!(first(method, known, events), Err(mismatch), "{events:?}");
            assert_eq!(first(method, Known::SoFar, events), Ok(()), "{events:?}");
        }
    }
}
