//! Calls that are cancelled as soon as they have begun: a flood is sent away, and whoever drops thousands of calls in
//! good faith is not.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::future::IntoFuture;
use std::time::Duration;

use hostile::raw::{Liar, Raw};
use hostile::wire::{self, CALM, Value};
use hostile::{TargetClient, Victim};
use rpc::{Code, Executed, Limits};
use tokio::task::JoinSet;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn sum() -> Vec<u8> {
    wire::array(&[&[1], &[2]])
}

/// Lets a call begin and cancels it.
async fn open_and_cancel(raw: &mut Raw, victim: &Victim, id: u64) {
    raw.say(&wire::request(id, "Target.hold", &[0x90])).await;
    victim.ledger.running(1).await;
    raw.say(&wire::cancel(id)).await;
    victim.ledger.running(0).await;
}

#[test]
fn case_85_a_flood_of_cancels_is_sent_away() {
    let few = Limits::default().with_cancels(20).with_cancels_per_second(4);
    for limits in [Limits::default(), few] {
        let (at_once, per_second) = (u64::from(limits.cancels()), limits.cancels_per_second());
        Victim::attacked_with(limits, async |victim| {
            let mut raw = Raw::open(&victim.url).await;
            for id in 1..=at_once {
                open_and_cancel(&mut raw, victim, id).await;
            }
            // For as long as it likes at the rate that follows.
            for id in at_once + 1..=2 * at_once {
                tokio::time::sleep(SECOND / per_second).await;
                open_and_cancel(&mut raw, victim, id).await;
            }
            // What has run for a while may be cancelled besides.
            for id in 2 * at_once + 1..=3 * at_once {
                raw.say(&wire::request(id, "Target.hold", &[0x90])).await;
            }
            victim.ledger.running(at_once as usize).await;
            tokio::time::sleep(SECOND / 10).await;
            for id in 2 * at_once + 1..=3 * at_once {
                raw.say(&wire::cancel(id)).await;
            }
            victim.ledger.running(0).await;
            assert_eq!(
                raw.call(3 * at_once + 1, "Target.add", &sum()).await.value(),
                (3 * at_once + 1, &Value::Uint(3))
            );
            // Once more as many at once, and not one more.
            tokio::time::sleep(SECOND * at_once as u32 / per_second).await;
            for id in 4 * at_once..=5 * at_once {
                open_and_cancel(&mut raw, victim, id).await;
            }
            let goaway = raw.is_sent_away().await;
            assert!(goaway.before.is_empty(), "{:?}", goaway.before);
            assert_eq!(goaway.reason, CALM, "{}", goaway.message);
        });
    }
}

#[tokio::test]
async fn case_85_a_flood_over_tcp_is_sent_away_and_its_neighbours_are_served() {
    let limits = Limits::default().with_cancels(50).with_cancels_per_second(1).with_calls(8);
    let victim = Victim::serve_with("tcp://127.0.0.1:0", limits).await;
    let mut raw = Raw::open(&victim.url).await;
    let flood = async {
        for id in 1.. {
            raw.say(&wire::request(id, "Target.hold", &[0x90])).await;
            raw.say(&wire::cancel(id)).await;
            if id % 10 == 0 {
                victim.serves_neighbours().await;
                assert!(victim.ledger.counts().running <= 8);
                // What it is sent back is read, or it would wait for that.
                let sum = raw.call_or_end(1 << 40 | id, "Target.add", &sum()).await;
                if let Err(reason) = sum {
                    return reason;
                }
            }
        }
        unreachable!("ids do not end")
    };
    assert_eq!(flood.await, CALM);
    drop(raw);
    victim.is_at_rest().await;
}

/// Calls that run or wait for their places, until what this returns is dropped.
fn begin(client: &TargetClient, count: usize) -> JoinSet<()> {
    let call = async |client: TargetClient| {
        // One that comes before those that were cancelled have ended may be refused.
        while let Err(refused) = client.hold().await {
            assert_eq!((refused.code(), refused.executed()), (Code::ResourceExhausted, Executed::No));
        }
    };
    (0..count).map(|_| call(client.clone())).collect()
}

/// Opens 5,000 calls, drops them all, and begins anew at once; nobody is sent away.
async fn drops_thousands(victim: Victim, rounds: usize) {
    let places = Limits::default().calls();
    let client = victim.client().await;
    // It would end with the connection.
    let witness = tokio::spawn(client.hold().into_future());
    victim.ledger.running(1).await;
    for _ in 0..rounds {
        let calls = begin(&client, 5_000);
        victim.ledger.running(places).await;
        drop(calls);
    }
    victim.ledger.running(1).await;
    victim.gate.add_permits(1);
    assert_eq!(witness.await.expect("joined").expect("the connection was never lost"), 7);
    drop(client);
    victim.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn case_85_a_client_that_drops_5000_calls_again_and_again_is_served_as_ever() {
    let since = Instant::now();
    drops_thousands(Victim::serve("cancels-85-client").await, 20).await;
    // What is held back is held for little more than a tenth of a second.
    assert!(since.elapsed() < 5 * SECOND, "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_85_over_tcp_a_client_that_drops_5000_calls_again_and_again_is_served_as_ever() {
    drops_thousands(Victim::serve_with("tcp://127.0.0.1:0", Limits::default()).await, 4).await;
}

#[tokio::test(start_paused = true)]
async fn case_85_a_server_that_calls_back_is_held_to_the_same() {
    let mut liar = Liar::listen("cancels-85-liar");
    let connecting = tokio::spawn({
        let served = Victim::serve("cancels-85-served").await;
        let limits = Limits::default().with_cancels(5).with_cancels_per_second(1);
        let connecting = TargetClient::connect(&liar.url).limits(limits);
        async move { (connecting.serve(hostile::TargetServer::new(served.handler.clone())).await, served) }
    });
    let mut raw = liar.welcome().await;
    let (client, served) = connecting.await.expect("joined");
    let _client = client.expect("connected");
    for id in 1..=6 {
        open_and_cancel(&mut raw, &served, id).await;
    }
    assert_eq!(raw.is_sent_away().await.reason, CALM);
}

#[tokio::test(start_paused = true)]
async fn a_client_keeps_to_what_a_server_says_it_takes() {
    let limits = Limits::default().with_cancels(3).with_cancels_per_second(1).with_calls(8);
    let victim = Victim::serve_with("mem://cancels-told", limits).await;
    let client = victim.client().await;
    let witness = tokio::spawn(client.hold().into_future());
    victim.ledger.running(1).await;
    for _ in 0..50 {
        let calls = begin(&client, 20);
        victim.ledger.running(8).await;
        drop(calls);
    }
    victim.ledger.running(1).await;
    victim.gate.add_permits(1);
    assert_eq!(witness.await.expect("joined").expect("the connection was never lost"), 7);
}
