//! Many peers that ask and do not read the answers: what waits for all of them together is bounded, and whoever else is
//! there is served.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::cell::Cell;
use std::time::Duration;

use hostile::always::Always;
use hostile::raw::Raw;
use hostile::wire::{self, EXHAUSTED, STALL, framed};
use hostile::{TargetClient, Victim};
use rpc::{Code, Executed, Limits};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const MEBIBYTE: usize = 1 << 20;
/// In fragments, and quickly made.
const LARGE: usize = 300_000;

/// A peer that will ask for large replies, and reads none but the hello.
async fn open(victim: &Victim) -> Raw {
    let mut raw = Raw::connect(&victim.url).await;
    raw.greet(&wire::hello_with(1, 1, &["fragments"], &[("calls", 1_024)])).await;
    raw
}

/// A call whose reply has so many bytes.
fn large(id: u64, bytes: usize) -> Vec<u8> {
    framed(&wire::request(id, "Target.sevens", &wire::array(&[&wire::uint(bytes as u64)])))
}

async fn many(victim: &Victim, count: usize, calls: &[u8]) -> Vec<Raw> {
    let mut peers = Vec::new();
    for _ in 0..count {
        let mut raw = open(victim).await;
        raw.send(calls).await;
        peers.push(raw);
    }
    peers
}

async fn after<T>(pause: Duration, event: impl Future<Output = T>) -> T {
    sleep(pause).await;
    event.await
}

/// Why a peer was sent away; what came before it is not of interest, nor whether its last fragment is whole.
async fn reason(mut raw: Raw) -> u64 {
    raw.is_sent_away().await.reason
}

#[test]
fn case_84_replies_that_wait_on_many_connections_are_bounded_together() {
    let limits = Limits::default().with_unsent_bytes(8 * MEBIBYTE);
    Victim::attacked_with(limits, async |victim| {
        let before = victim.ledger.started();
        let calls: Vec<u8> = (1..=4).flat_map(|id| large(id, 3 * MEBIBYTE)).collect();
        let mut peers = many(victim, 12, &calls).await;
        sleep(2 * SECOND).await;
        let started = victim.ledger.started() - before;
        assert!((3..=4).contains(&started), "{started} replies of 3 MiB were made, where 8 MiB may wait");
        // What is small is answered as ever, and what is large when it is its turn.
        victim.serves_neighbours().await;
        let since = Instant::now();
        // The first ones listen again when they have been in the way for three seconds, in time for the reason.
        let reasons: Vec<_> =
            peers.drain(..3).map(|raw| tokio::spawn(after(3 * SECOND / 2, reason(raw)))).collect();
        let good = victim.client().await;
        let reply = timeout(40 * SECOND, good.sevens(2 * MEBIBYTE)).await.expect("its turn comes");
        assert_eq!(reply.expect("a reply").len(), 2 * MEBIBYTE);
        // Three of those before it were let in at a time, and were in the way for three seconds. For their own sake they would
        // have been sent away after thirty.
        assert!(since.elapsed() < 15 * SECOND, "{:?}", since.elapsed());
        for reason in reasons {
            assert_eq!(reason.await.expect("it was sent away"), EXHAUSTED);
        }
        drop(peers);
        victim.ledger.running(0).await;
        let reply = timeout(SECOND, good.sevens(2 * MEBIBYTE)).await.expect("nothing is in its way");
        assert_eq!(reply.expect("a reply").len(), 2 * MEBIBYTE);
        drop(good);
    });
}

#[test]
fn case_84_by_default_a_quarter_of_a_gibibyte_waits_on_many_connections() {
    Victim::attacked(async |victim| {
        let before = victim.ledger.started();
        let reply = wire::array(&[&wire::uint(60 * MEBIBYTE as u64)]);
        let peers = many(victim, 8, &framed(&wire::request(1, "Target.zeros", &reply))).await;
        sleep(2 * SECOND).await;
        let started = victim.ledger.started() - before;
        assert!((5..=6).contains(&started), "{started} replies of 60 MiB were made, where 256 MiB may wait");
        victim.serves_neighbours().await;
        drop(peers);
        victim.ledger.running(0).await;
    });
}

#[test]
fn case_84_without_anybody_who_waits_nobody_is_in_the_way() {
    let limits = Limits::default().with_unsent_bytes(MEBIBYTE);
    Victim::attacked_with(limits, async |victim| {
        let mut peers = many(victim, 1, &large(1, 3 * MEBIBYTE)).await;
        sleep(29 * SECOND).await;
        victim.serves_neighbours().await;
        assert_eq!(reason(peers.remove(0)).await, STALL, "for its own sake");
    });
}

#[test]
fn case_86_who_says_very_much_and_reads_nothing_keeps_nobody_from_their_turn() {
    // From a quarter of that on no more is read of who has a part in it: also of who stands in line to be read.
    let limits = Limits::default().with_unsent_bytes(8 * MEBIBYTE);
    Victim::attacked_with(limits, async |victim| {
        // They begin together, so that they are in line when it becomes too much.
        let mut peers = tokio::task::JoinSet::new();
        for mut raw in many(victim, 24, &[]).await {
            peers.spawn(async move {
                let calls = (1..=500).map(|id| framed(&wire::request(id, "Target.nothing", &[0x90])));
                let calls = calls.collect::<Vec<_>>().concat();
                loop {
                    raw.send(&calls).await;
                }
            });
        }
        let good = victim.client().await;
        for _ in 0..20 {
            // What is large is unmarshalled in turns, in which those are read as well until they have had enough.
            let reply = timeout(SECOND, good.length("", &[7; MEBIBYTE])).await.expect("its turn comes");
            assert_eq!(reply.expect("a reply"), MEBIBYTE);
            sleep(SECOND / 20).await;
        }
        assert!(peers.try_join_next().is_none(), "they go on");
        peers.shutdown().await;
        drop(good);
    });
}

#[test]
fn who_reads_gets_every_large_reply_however_little_may_wait() {
    // As soon as anything is counted there is no room for more.
    let limits = Limits::default().with_unsent_bytes(1);
    Victim::attacked_over_tcp_but(Always::on_threads(), limits, async |victim| {
        let mut clients = Vec::new();
        for _ in 0..6 {
            clients.push(victim.client().await);
        }
        for _ in 0..2 {
            let ask = |client: &TargetClient, size| tokio::spawn(client.sevens(size));
            let calls: Vec<_> = (0..24).map(|call| ask(&clients[call % 6], LARGE + call)).collect();
            for (call, reply) in calls.into_iter().enumerate() {
                let reply = timeout(60 * SECOND, reply).await.expect("its turn comes").expect("no panic");
                assert_eq!(reply.expect("a reply").len(), LARGE + call);
            }
        }
        // Also if those before it give up while they wait, or as they are let in.
        for round in 0..20_u32 {
            let calls: Vec<_> = (0..12).map(|call| tokio::spawn(clients[call % 6].sevens(LARGE))).collect();
            sleep(Duration::from_millis(1) * (round)).await;
            calls.iter().step_by(2).for_each(|call| call.abort());
            for call in calls.into_iter().skip(1).step_by(2) {
                let reply = timeout(60 * SECOND, call).await.expect("its turn comes").expect("no panic");
                assert_eq!(reply.expect("a reply").len(), LARGE);
            }
        }
        let reply = timeout(60 * SECOND, clients[0].sevens(LARGE)).await.expect("nothing was left in line");
        assert_eq!(reply.expect("a reply").len(), LARGE);
    });
}

#[test]
fn what_waits_for_others_can_be_cancelled_and_keeps_its_deadline() {
    let limits = Limits::default().with_unsent_bytes(MEBIBYTE);
    Victim::attacked_with(limits, async |victim| {
        let mut peers = many(victim, 1, &large(1, 3 * MEBIBYTE)).await;
        sleep(SECOND / 10).await;
        let before = victim.ledger.started();
        let [first, second, third] = [victim.client().await, victim.client().await, victim.client().await];
        let dropped = tokio::spawn(first.sevens(3 * MEBIBYTE));
        let expired = tokio::spawn(second.sevens(3 * MEBIBYTE).timeout(SECOND));
        let waits = tokio::spawn(third.sevens(2 * MEBIBYTE));
        sleep(SECOND / 10).await;
        dropped.abort();
        let error = expired.await.expect("no panic").expect_err("its time is over");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe));
        assert_eq!(victim.ledger.started(), before, "nothing was started");
        // The one in the way goes.
        drop(peers.remove(0));
        let reply = timeout(SECOND, waits).await.expect("there is room").expect("no panic");
        assert_eq!(reply.expect("a reply").len(), 2 * MEBIBYTE);
        assert_eq!(victim.ledger.started(), before + 1);
        drop([first, second, third]);
    });
}

/// What one was answered before it was sent away.
async fn end_of_flood(mut raw: Raw) -> usize {
    let goaway = raw.is_sent_away().await;
    assert_eq!(goaway.reason, STALL);
    goaway.before.len() * goaway.before[0].error().3.len()
}

/// What so many peers have been answered that flood and do not read, in bytes, where so much may wait.
fn flooded(unsent_bytes: usize) -> usize {
    let limits = Limits::default().with_unsent_bytes(unsent_bytes);
    let answered = Cell::new(0);
    Victim::attacked_with(limits, async |victim| {
        let burst: Vec<u8> =
            (0..400).flat_map(|_| framed(&wire::request(1, "Target.nothing", &[0x90]))).collect();
        let mut peers = Vec::new();
        for _ in 0..8 {
            peers.push(open(victim).await);
        }
        // In turns, until nothing more is read of any.
        let mut reads = vec![true; peers.len()];
        while reads.contains(&true) {
            for (raw, reads) in peers.iter_mut().zip(&mut reads) {
                *reads = *reads && timeout(SECOND, raw.send(&burst)).await.is_ok();
            }
        }
        victim.serves_neighbours().await;
        let mut bytes = 0;
        // All at once, for they are sent away at one moment.
        let ends: Vec<_> = peers.into_iter().map(|raw| tokio::spawn(end_of_flood(raw))).collect();
        for end in ends {
            bytes += end.await.expect("it was sent away");
        }
        answered.set(bytes);
    });
    answered.get()
}

#[test]
fn case_86_refusals_on_many_connections_are_bounded_together() {
    let alone = flooded(usize::MAX);
    let together = flooded(MEBIBYTE);
    assert!(alone > 3 * MEBIBYTE, "each of them alone takes about a mebibyte: {alone}");
    assert!(together < 2 * MEBIBYTE, "{together}");
}
