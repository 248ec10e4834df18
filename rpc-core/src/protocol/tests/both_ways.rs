//! Random histories in which both sides call, and either of them goes. What must hold: one outcome a call, none that
//! is said not to have started did start, and a call that runs can have the calls back that it needs, whoever goes.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::super::{CallFailure, CallId, CallKey, Entry, Outcome};
use super::pair::{Next, Pair, Plain, Side, plain};
use super::seeds::{Random, for_each_seed};
use crate::limits::{DRAIN_NOTICE, Limits};
use crate::{Code, Executed};

const STEPS: u32 = 80;
const CALLS: usize = 3;

#[test]
fn random_histories_of_calls_both_ways_keep_every_promise() {
    for_each_seed(|seed| History::new(seed).run());
}

/// Which side; the other one is `1 - who`.
type Who = usize;
const CLIENT: Who = 0;
const SERVER: Who = 1;

/// A call whose outcome has not been taken.
#[derive(Clone, Copy)]
struct Open {
    id: CallId,
    back: bool,
    /// A call that runs here and cannot end without this one.
    needed_by: Option<CallKey>,
}

#[derive(Default)]
struct End {
    open: HashMap<u32, Open>,
    /// Ids of the other side's calls that were started here, and of those what runs.
    started: HashSet<u64>,
    running: HashSet<CallKey>,
    seen: usize,
    /// Bytes on their way to this side.
    bytes: Vec<u8>,
}

struct History {
    pair: Pair,
    random: Random,
    ends: [End; 2],
    next: u32,
    /// Who goes, once somebody does.
    goes: Option<Who>,
}

impl History {
    fn new(seed: u64) -> Self {
        let limits = || Limits::default().with_calls(CALLS).with_send_queue_bytes(200);
        History {
            pair: Pair::with_limits(limits(), limits()),
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            ends: Default::default(),
            next: 0,
            goes: None,
        }
    }

    fn side(&mut self, who: Who) -> &mut Side {
        if who == CLIENT { &mut self.pair.client } else { &mut self.pair.server }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
            self.look();
        }
        if self.random.one_in(3) { self.lose() } else { self.heal() }
    }

    fn step(&mut self) {
        let who = self.random.below(2) as Who;
        match self.random.below(20) {
            0..5 => self.enter(who),
            5 => self.drop_one(who),
            6..10 => {
                let bytes = self.side(who).output();
                self.ends[1 - who].bytes.extend(bytes);
            }
            10..14 => {
                let count = self.random.below(self.ends[who].bytes.len() as u64 + 1) as usize;
                self.carry(who, count);
            }
            14..18 => self.end_one(who),
            18 => {
                let time = Duration::from_millis(self.random.below(400));
                self.pair.wait(time);
            }
            _ if self.goes.is_none() && self.random.one_in(3) => self.go(who),
            _ => {}
        }
    }

    fn go(&mut self, who: Who) {
        self.goes = Some(who);
        let now = self.pair.now;
        match who {
            SERVER => self.side(who).connection.start_drain(now),
            // A client goes when nobody holds a call of its own any more.
            _ => {
                let own: Vec<_> =
                    self.ends[who].open.iter().filter(|(_, open)| !open.back).map(|(w, _)| *w).collect();
                for waiter in own {
                    self.drop_call(who, waiter);
                }
                self.side(who).connection.retire(now, true);
            }
        }
    }

    fn enter(&mut self, who: Who) {
        let candidates: Vec<_> = {
            let stopped = self.side(who).stopped.clone();
            self.ends[who].running.iter().copied().filter(|key| !stopped.contains(key)).collect()
        };
        let needed_by = self.random.pick(candidates.into_iter());
        // Servers have no calls of their own; those of handlers that have ended are made with what these kept.
        let back = who == SERVER || needed_by.is_some();
        if !back && self.goes == Some(CLIENT) {
            return;
        }
        let waiter = self.next;
        self.next += 1;
        let now = self.pair.now;
        let entry = self.side(who).enter(waiter, now, |call| Plain { back, ..call });
        match entry {
            Entry::Entered(id) | Entry::Waiting(id) => {
                self.ends[who].open.insert(waiter, Open { id, back, needed_by });
            }
            Entry::Ended(CallFailure::Moved) => {
                assert!(self.goes.is_some(), "nobody goes");
                assert!(needed_by.is_none(), "a call runs here that needs this one");
            }
            other => panic!("a call was not taken: {other:?}"),
        }
    }

    fn drop_one(&mut self, who: Who) {
        if let Some(waiter) = self.random.pick(self.ends[who].open.keys().copied()) {
            self.drop_call(who, waiter);
        }
    }

    fn drop_call(&mut self, who: Who, waiter: u32) {
        let open = self.ends[who].open.remove(&waiter).expect("it was picked from there");
        self.side(who).drop_call(open.id);
    }

    fn carry(&mut self, who: Who, count: usize) {
        let bytes: Vec<u8> = self.ends[who].bytes.drain(..count).collect();
        let now = self.pair.now;
        self.side(who).receive(&bytes, now).expect("the other side is honest");
    }

    /// Ends a call that runs, if none of the open ones is needed for that.
    fn end_one(&mut self, who: Who) {
        let needing: HashSet<_> = self.ends[who].open.values().filter_map(|open| open.needed_by).collect();
        let stopped = self.side(who).stopped.clone();
        let able = |key: &CallKey| stopped.contains(key) || !needing.contains(key);
        let candidates: Vec<_> = self.ends[who].running.iter().copied().filter(able).collect();
        let Some(key) = self.random.pick(candidates.into_iter()) else { return };
        self.ends[who].running.remove(&key);
        if stopped.contains(&key) {
            // Its calls are dropped with it.
            let open = &self.ends[who].open;
            let below: Vec<_> =
                open.iter().filter(|(_, open)| open.needed_by == Some(key)).map(|(w, _)| *w).collect();
            for waiter in below {
                self.drop_call(who, waiter);
            }
            self.side(who).stop(key);
        } else {
            self.side(who).reply(key, checksum(key));
        }
    }

    /// What holds at every moment.
    fn look(&mut self) {
        for who in [CLIENT, SERVER] {
            let from = self.ends[who].seen;
            let arrived: Vec<_> = self.side(who).arrived[from..].iter().map(|arrived| arrived.key).collect();
            let end = &mut self.ends[who];
            end.seen += arrived.len();
            for key in arrived {
                let id = key.reply_id().expect("no call here is one-way");
                assert!(end.started.insert(id), "call {id} was started twice");
                end.running.insert(key);
            }
            assert!(end.running.len() <= CALLS, "more calls run than the limit");
            for waiter in self.side(who).woken.split_off(0) {
                if let Some(open) = self.ends[who].open.get(&waiter).copied() {
                    self.look_after(who, waiter, open);
                }
            }
        }
    }

    fn look_after(&mut self, who: Who, waiter: u32, open: Open) {
        match self.side(who).poll(open.id) {
            Next::Granted => {
                let now = self.pair.now;
                let call = Plain { back: open.back, ..plain() };
                match self.side(who).resume_as(open.id, waiter, now, |_| call) {
                    Entry::Entered(id) => drop(self.ends[who].open.insert(waiter, Open { id, ..open })),
                    Entry::Ended(CallFailure::Moved) => self.moved(who, waiter, open),
                    other => panic!("a granted call was not taken: {other:?}"),
                }
            }
            Next::Done(Outcome { result: Err(CallFailure::Moved), .. }) => {
                assert!(!self.ends[1 - who].started.contains(&open.id.number()), "it was started");
                self.moved(who, waiter, open);
            }
            Next::Done(outcome) => {
                self.ends[who].open.remove(&waiter);
                self.judge(who, open, outcome);
            }
            Next::Pending => panic!("a call was woken for nothing"),
        }
    }

    /// This connection does not take a call any more that has not left: one back is entered once more, to learn
    /// whether it is the exception.
    fn moved(&mut self, who: Who, waiter: u32, open: Open) {
        self.ends[who].open.remove(&waiter);
        if !open.back {
            return;
        }
        let now = self.pair.now;
        match self.side(who).enter(waiter, now, |call| Plain { back: true, ..call }) {
            Entry::Entered(id) | Entry::Waiting(id) => {
                self.ends[who].open.insert(waiter, Open { id, ..open });
            }
            Entry::Ended(CallFailure::Moved) => self.is_rightly_refused(who, open),
            other => panic!("a call was not taken: {other:?}"),
        }
    }

    /// What an outcome claims is true.
    fn judge(&mut self, who: Who, open: Open, outcome: Outcome) {
        let started = self.ends[1 - who].started.contains(&open.id.number());
        match outcome.result {
            Ok(value) => assert_eq!(value.as_slice(), [checksum(CallKey::Call(open.id.number()))]),
            Err(CallFailure::Rpc(error)) => {
                assert!(error.executed() != Executed::No || !started, "{error}: it was started");
                match error.code() {
                    Code::Unavailable if error.executed() == Executed::No => {
                        self.is_rightly_refused(who, open);
                    }
                    // A cancelled call that still runs has a place.
                    Code::ResourceExhausted | Code::Unavailable => {}
                    _ => panic!("{error}"),
                }
            }
            other => panic!("no such outcome: {other:?}"),
        }
    }

    /// A call was refused because somebody goes: then nothing that is still wanted needs it.
    fn is_rightly_refused(&mut self, who: Who, open: Open) {
        assert!(self.goes.is_some(), "nobody goes");
        if let Some(key) = open.needed_by {
            let wanted = self.ends[who].running.contains(&key) && !self.side(who).stopped.contains(&key);
            assert!(!wanted, "a call that runs was refused what it needs");
        }
    }

    /// Everything arrives and every handler ends: every call has its outcome, and who wanted to go can.
    fn heal(&mut self) {
        for _ in 0..1_000 {
            for who in [CLIENT, SERVER] {
                let bytes = self.side(who).output();
                self.ends[1 - who].bytes.extend(bytes);
            }
            for who in [CLIENT, SERVER] {
                let count = self.ends[who].bytes.len();
                self.carry(who, count);
            }
            self.look();
            for who in [CLIENT, SERVER] {
                self.end_one(who);
            }
            self.look();
            if self.ends.iter().all(|end| end.open.is_empty() && end.running.is_empty()) {
                break;
            }
            self.untangle();
        }
        for who in [CLIENT, SERVER] {
            assert!(self.ends[who].open.is_empty(), "{} calls without an outcome", self.ends[who].open.len());
            assert_eq!(self.side(who).connection.calls(), 0);
            assert_eq!(self.side(who).connection.running(), 0);
        }
        for who in [CLIENT, SERVER] {
            let later = self.pair.now + DRAIN_NOTICE;
            assert_eq!(self.side(who).connection.is_finished(later), self.goes.is_some());
        }
    }

    /// With so few places, calls that need calls wait for each other sooner or later: a deadline would end them.
    fn untangle(&mut self) {
        if self.random.one_in(4) {
            let who = self.random.below(2) as Who;
            self.drop_one(who);
        }
    }

    /// The connection is lost with bytes under way: every call has its outcome, and everything is stopped.
    fn lose(&mut self) {
        self.goes = Some(CLIENT);
        for who in [CLIENT, SERVER] {
            self.side(who).lose();
            let stopped = self.side(who).stopped.clone();
            assert!(self.ends[who].running.iter().all(|key| stopped.contains(key)));
        }
        self.look();
        assert!(self.ends.iter().all(|end| end.open.is_empty()), "calls without an outcome");
    }
}

fn checksum(key: CallKey) -> u8 {
    let id = key.reply_id().unwrap_or_default();
    (id ^ (id >> 20)) as u8 & 0x7f
}
