//! Handlers that are late, that panic and that are given much to do: their calls' trouble, and nobody else's.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::time::Duration;

use hostile::always::Always;
use hostile::raw::Raw;
use hostile::wire::{self, DEADLINE_EXCEEDED, INTERNAL, Value, YES};
use hostile::{Explosion, SECRET, Victim};
use rpc::{Code, Executed, Limits};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const HUNDREDTH: Duration = Duration::from_millis(10);

fn sum() -> Vec<u8> {
    wire::array(&[&[1], &[2]])
}

#[test]
fn case_45_a_hundred_thousand_adversarial_keys_are_a_map_like_any_other() {
    const KEYS: u64 = 100_000;
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        // Keys that a hash which is known in advance would put into one place.
        let entries = (0..KEYS).flat_map(|key| [wire::uint(key << 44), vec![7]].concat());
        let map: Vec<u8> = [0xdf].into_iter().chain((KEYS as u32).to_be_bytes()).chain(entries).collect();
        let reply = raw.call(1, "Target.keys", &wire::array(&[&map])).await;
        assert_eq!(reply.value(), (1, &Value::Uint(KEYS)));
    });
}

#[test]
fn case_55_a_deadline_that_passes_drops_the_handler_and_the_client_is_told() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        raw.say(&wire::timed(1, "Target.hold", 3_000_000, &[0x90])).await;
        raw.say(&wire::timed(2, "Target.hold", 5_000_000, &[0x90])).await;
        victim.ledger.running(2).await;
        let since = Instant::now();
        for (id, running, seconds) in [(1, 1, 3), (2, 0, 5)] {
            let expired = raw.recv().await.expect("an error");
            assert_eq!((expired.error().0, expired.error().1), (id, DEADLINE_EXCEEDED));
            victim.ledger.running(running).await;
            let late = since.elapsed() - seconds * SECOND;
            assert!(late <= HUNDREDTH, "{late:?} late");
        }
        assert_eq!(raw.call(3, "Target.add", &sum()).await.value(), (3, &Value::Uint(3)));

        // The caller keeps it as well, and says whether its call may have run.
        let client = victim.client().await;
        let error = client.hold().timeout(SECOND).await.expect_err("the gate is shut");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe));
        assert!(victim.ledger.running(0).await <= HUNDREDTH);
    });
}

#[test]
fn case_60_a_panic_is_its_calls_trouble_and_its_text_stays_here() {
    const ROUNDS: usize = 40;
    let explosions = [Explosion::AtOnce, Explosion::InSerialize, Explosion::Later, Explosion::InDrop];
    let panics = ROUNDS * explosions.len();
    Victim::attacked_but(Always::in_memory().but_panics(panics), Limits::default(), async |victim| {
        let client = victim.client().await;
        let mut raw = Raw::open(&victim.url).await;
        let mut id = 0;
        // Often enough that a method is known to be quick, and is run on the connection's own task.
        for _ in 0..ROUNDS / 2 {
            for how in explosions {
                let waits = [Explosion::Later, Explosion::InDrop].contains(&how);
                victim.gate.add_permits(if waits { 2 } else { 0 });
                let error = client.explode(how).await.expect_err("it panics");
                assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes), "{how:?}");
                assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
                id += 2;
                let name = wire::text(&format!("{how:?}"));
                let reply = raw.call(id, "Target.explode", &wire::array(&[&name])).await;
                let (_, code, executed, message) = reply.error();
                assert_eq!((code, executed), (INTERNAL, YES), "{how:?}");
                assert!(!message.contains(SECRET), "{message}");
                // The next one succeeds.
                assert_eq!(raw.call(id + 1, "Target.add", &sum()).await.value().1, &Value::Uint(3));
            }
        }
    });
}

#[test]
fn case_60_a_panic_while_a_cancelled_handler_is_dropped_reaches_nobody() {
    Victim::attacked_but(Always::in_memory().but_panics(3), Limits::default(), async |victim| {
        let name = wire::array(&[&wire::text("InDrop")]);
        let mut raw = Raw::open(&victim.url).await;
        // Cancelled, expired, and left by its peer.
        raw.say(&wire::request(1, "Target.explode", &name)).await;
        victim.ledger.running(1).await;
        raw.say(&wire::cancel(1)).await;
        victim.ledger.running(0).await;
        raw.say(&wire::timed(2, "Target.explode", 1_000_000, &name)).await;
        assert_eq!(raw.recv().await.expect("an error").error().1, DEADLINE_EXCEEDED);
        assert_eq!(raw.call(3, "Target.add", &sum()).await.value(), (3, &Value::Uint(3)));
        raw.say(&wire::request(4, "Target.explode", &name)).await;
        victim.ledger.running(1).await;
        drop(raw);
        victim.ledger.running(0).await;
        sleep(HUNDREDTH).await;
    });
}
