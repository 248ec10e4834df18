//! A peer that asks and does not read the answers: what waits for it is bounded, and it is sent away.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::collections::HashMap;
use std::time::Duration;

use hostile::raw::{Liar, Raw};
use hostile::wire::{self, DEADLINE_EXCEEDED, STALL, Value, framed};
use hostile::{Handler, TargetClient, TargetServer, Victim};
use rpc::Limits;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// A call whose reply has so many bytes.
fn large(id: u64, bytes: u64) -> Vec<u8> {
    wire::request(id, "Target.sevens", &wire::array(&[&wire::uint(bytes)]))
}

fn sum() -> Vec<u8> {
    wire::array(&[&[1], &[2]])
}

/// A peer that takes replies whole, or in fragments.
async fn open(victim: &Victim, in_fragments: bool) -> Raw {
    let features: &[&str] = if in_fragments { &["fragments"] } else { &[] };
    let mut raw = Raw::connect(&victim.url).await;
    raw.greet(&wire::hello_with(1, 1, features, &[("frame_bytes", 8 << 20), ("calls", 1_024)])).await;
    raw
}

/// Messages as they come, put together again.
#[derive(Default)]
struct Whole(HashMap<u64, Vec<u8>>);

impl Whole {
    async fn next(&mut self, raw: &mut Raw) -> Value {
        loop {
            let message = raw.recv().await.expect("a message");
            let [Value::Uint(14), number, rest, Value::Binary(data)] = message.elements() else {
                return message;
            };
            let come = self.0.entry(number.uint()).or_default();
            come.extend_from_slice(data);
            if rest.uint() == 0 {
                return Value::decode(&self.0.remove(&number.uint()).expect("it is there"));
            }
        }
    }
}

#[test]
fn case_84_of_large_replies_that_nobody_reads_only_the_first_are_made() {
    for in_fragments in [false, true] {
        Victim::attacked(async |victim| {
            let before = victim.ledger.started();
            let mut raw = open(victim, in_fragments).await;
            let since = Instant::now();
            let calls: Vec<u8> = (1..=300).flat_map(|id| framed(&large(id, 4 << 20))).collect();
            raw.send(&calls).await;
            // A method whose replies are small runs as ever, whatever waits beside it.
            raw.say(&wire::request(301, "Target.add", &sum())).await;
            sleep(29 * SECOND).await;
            let started = victim.ledger.started() - before;
            assert!((1..=4).contains(&started), "{started} handlers were started");
            victim.serves_neighbours().await;

            sleep(SECOND + Duration::from_millis(1)).await;
            assert_eq!(raw.is_sent_away().await.reason, STALL);
            assert!(since.elapsed() < 31 * SECOND, "{:?}", since.elapsed());
            assert!(victim.ledger.started() - before <= started + 1, "the neighbour's call apart");
            drop(raw);
        });
    }
}

#[test]
fn case_84_who_reads_gets_all_large_replies_in_order() {
    for in_fragments in [false, true] {
        Victim::attacked(async |victim| {
            let mut raw = open(victim, in_fragments).await;
            let calls: Vec<u8> = (1..=8).flat_map(|id| framed(&large(id, 1_500_000))).collect();
            raw.send(&calls).await;
            let mut whole = Whole::default();
            for id in 1..=8 {
                let reply = whole.next(&mut raw).await;
                let (came, value) = reply.value();
                assert_eq!((came, value.elements().len()), (id, 1_500_000));
            }
            drop(raw);
        });
    }
}

#[test]
fn case_84_what_waits_to_start_can_be_cancelled_and_keeps_its_deadline() {
    Victim::attacked(async |victim| {
        let before = victim.ledger.started();
        let mut raw = open(victim, true).await;
        raw.say(&large(1, 3 << 20)).await;
        victim.ledger.running(0).await;
        while victim.ledger.started() == before {
            tokio::task::yield_now().await;
        }
        raw.say(&large(2, 9)).await;
        let timed = wire::timed(3, "Target.sevens", 1_000_000, &wire::array(&[&wire::uint(9)]));
        raw.say(&timed).await;
        raw.say(&large(4, 9)).await;
        raw.say(&wire::cancel(2)).await;
        sleep(2 * SECOND).await;
        assert_eq!(victim.ledger.started() - before, 1, "the others wait for the first one to be read");

        // What is small goes between the fragments of what is large.
        let mut whole = Whole::default();
        let expired = whole.next(&mut raw).await;
        let (id, code, _, _) = expired.error();
        assert_eq!((id, code), (3, DEADLINE_EXCEEDED));
        for (id, sevens) in [(4, 9), (1, 3 << 20)] {
            let reply = whole.next(&mut raw).await;
            let (came, value) = reply.value();
            assert_eq!((came, value.elements().len()), (id, sevens));
        }
        assert_eq!(victim.ledger.started() - before, 2, "neither 2 nor 3 was started");
        drop(raw);
    });
}

/// What is read of it, in bytes of messages, after a flood that nobody answered for.
async fn flood(raw: &mut Raw) -> usize {
    let since = Instant::now();
    let burst: Vec<u8> = (0..100).flat_map(|_| framed(&wire::request(1, "Target.nothing", &sum()))).collect();
    let mut said = 0;
    // Sooner or later nothing is read any more.
    while timeout(10 * SECOND, raw.send(&burst)).await.is_ok() {
        said += 1;
        assert!(said < 10_000, "it reads on and on");
    }
    sleep((30 * SECOND).saturating_sub(since.elapsed()) + Duration::from_millis(1)).await;
    let goaway = raw.is_sent_away().await;
    assert_eq!(goaway.reason, STALL);
    assert!(goaway.before.iter().all(|refusal| refusal.error().0 == 1));
    goaway.before.len() * format!("{:?}", goaway.before[0].error().3).len()
}

#[test]
fn case_86_refusals_that_nobody_reads_stop_the_reading_and_end_in_a_stall() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        let unread = flood(&mut raw).await;
        assert!((500_000..4 << 20).contains(&unread), "{unread} bytes of refusals");
        drop(raw);
    });
}

#[test]
fn case_86_a_client_that_serves_does_the_same() {
    Liar::attacks(async |liar| {
        let service = TargetServer::new(Handler::default());
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).serve(service).into_future());
        let mut raw = liar.welcome().await;
        let _client = connecting.await.expect("joined").expect("connected");
        let unread = flood(&mut raw).await;
        assert!((500_000..4 << 20).contains(&unread), "{unread} bytes of refusals");
    });
}

#[test]
fn case_84_large_calls_that_wait_to_start_stop_the_reading() {
    let limits = Limits::default().with_message_bytes(1 << 20).with_frame_bytes(1 << 20);
    Victim::attacked_with(limits, async |victim| {
        let before = victim.ledger.started();
        let mut raw = open(victim, true).await;
        raw.say(&large(1, 3 << 20)).await;
        let text = "t".repeat(500_000);
        let mut taken = 0;
        // The method has not been measured, so its calls wait to start.
        while taken < 100 {
            let params = wire::array(&[&wire::text(&text), &wire::binary(&[])]);
            let call = wire::request(2 + taken, "Target.length", &params);
            if timeout(SECOND, raw.say(&call)).await.is_err() {
                break;
            }
            taken += 1;
        }
        assert!((2..6).contains(&taken), "{taken} calls of 500 kB were taken");
        assert_eq!(victim.ledger.started() - before, 1);
        drop(raw);
    });
}
