//! Calls that are cancelled as soon as they have begun: a flood is sent away, and whoever drops thousands of calls in
//! good faith is not.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use hostile::always::Always;
use hostile::raw::{Liar, Raw};
use hostile::wire::{self, CALM, Value};
use hostile::{Handler, Ledger, TargetClient, TargetServer, Victim};
use rpc::{Code, Executed, Limits};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn sum() -> Vec<u8> {
    wire::array(&[&[1], &[2]])
}

/// Lets a call begin and cancels it.
async fn open_and_cancel(raw: &mut Raw, ledger: &Ledger, id: u64) {
    raw.say(&wire::request(id, "Target.hold", &[0x90])).await;
    ledger.running(1).await;
    raw.say(&wire::cancel(id)).await;
    ledger.running(0).await;
}

#[test]
fn case_85_a_flood_of_cancels_is_sent_away() {
    let few = Limits::default().with_cancels(20).with_cancels_per_second(4);
    for limits in [Limits::default(), few] {
        let (at_once, per_second) = (u64::from(limits.cancels()), limits.cancels_per_second());
        Victim::attacked_with(limits, async |victim| {
            let mut raw = Raw::open(&victim.url).await;
            for id in 1..=at_once {
                open_and_cancel(&mut raw, &victim.ledger, id).await;
            }
            // For as long as it likes at the rate that follows.
            for id in at_once + 1..=2 * at_once {
                tokio::time::sleep(SECOND / per_second).await;
                open_and_cancel(&mut raw, &victim.ledger, id).await;
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
                open_and_cancel(&mut raw, &victim.ledger, id).await;
            }
            let goaway = raw.is_sent_away().await;
            assert!(goaway.before.is_empty(), "{:?}", goaway.before);
            assert_eq!(goaway.reason, CALM, "{}", goaway.message);
        });
    }
}

#[test]
fn case_85_a_flood_over_tcp_is_sent_away_and_its_neighbours_are_served() {
    let limits = Limits::default().with_cancels(50).with_cancels_per_second(1).with_calls(8);
    Victim::attacked_over_tcp(limits, async |victim| {
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
    });
}

/// Calls that run or wait for their places, until what this returns is dropped. All of them have been made by then.
async fn begin(client: &TargetClient, count: usize) -> JoinSet<()> {
    let made = Arc::new(Semaphore::new(0));
    let call = async |client: TargetClient, made: Arc<Semaphore>| {
        // The first is made in the same breath.
        made.add_permits(1);
        // One that comes before those that were cancelled have ended may be refused.
        while let Err(refused) = client.hold().await {
            assert_eq!((refused.code(), refused.executed()), (Code::ResourceExhausted, Executed::No));
        }
    };
    let calls = (0..count).map(|_| call(client.clone(), made.clone())).collect();
    let all = made.acquire_many(count as u32).await;
    all.expect("it is never closed").forget();
    calls
}

/// Opens 5,000 calls, drops them all, and begins anew at once; nobody is sent away.
async fn drops_thousands(victim: &Victim, rounds: usize) {
    let places = Limits::default().calls();
    let client = victim.client().await;
    // It would end with the connection.
    let witness = tokio::spawn(client.hold().into_future());
    victim.ledger.running(1).await;
    for _ in 0..rounds {
        let calls = begin(&client, 5_000).await;
        victim.ledger.running(places).await;
        drop(calls);
    }
    victim.ledger.running(1).await;
    victim.gate.add_permits(1);
    assert_eq!(witness.await.expect("joined").expect("the connection was never lost"), 7);
}

#[test]
fn case_85_a_client_that_drops_5000_calls_again_and_again_is_served_as_ever() {
    let always = Always::in_memory().with_tasks(20_000);
    Victim::attacked_but(always, Limits::default(), async |victim| {
        let since = Instant::now();
        drops_thousands(victim, 20).await;
        // What is held back is held for little more than a tenth of a second.
        assert!(since.elapsed() < 5 * SECOND, "{:?}", since.elapsed());
    });
}

#[test]
fn case_85_over_tcp_a_client_that_drops_5000_calls_again_and_again_is_served_as_ever() {
    Victim::attacked_over_tcp_but(Always::on_threads(), Limits::default(), async |victim| {
        drops_thousands(victim, 4).await;
    });
}

#[test]
fn case_85_a_server_that_calls_back_is_held_to_the_same() {
    Liar::attacks(async |liar| {
        let handler = Handler::default();
        let limits = Limits::default().with_cancels(5).with_cancels_per_second(1);
        let connecting = TargetClient::connect(&liar.url).limits(limits);
        let connecting = tokio::spawn(connecting.serve(TargetServer::new(handler.clone())).into_future());
        let mut raw = liar.welcome().await;
        let _client = connecting.await.expect("joined").expect("connected");
        for id in 1..=6 {
            open_and_cancel(&mut raw, &handler.ledger, id).await;
        }
        assert_eq!(raw.is_sent_away().await.reason, CALM);
    });
}

#[test]
fn a_client_keeps_to_what_a_server_says_it_takes() {
    let limits = Limits::default().with_cancels(3).with_cancels_per_second(1).with_calls(8);
    Victim::attacked_with(limits, async |victim| {
        let client = victim.client().await;
        let witness = tokio::spawn(client.hold().into_future());
        victim.ledger.running(1).await;
        for _ in 0..50 {
            let calls = begin(&client, 20).await;
            victim.ledger.running(8).await;
            drop(calls);
        }
        victim.ledger.running(1).await;
        victim.gate.add_permits(1);
        assert_eq!(witness.await.expect("joined").expect("the connection was never lost"), 7);
    });
}
