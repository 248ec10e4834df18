//! Each limit that can be set is in force on the wire, and with the value that was set. Those of the hello, of
//! frames, calls, connections and stalls are in the files beside this one.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::time::Duration;

use hostile::raw::{Liar, Raw};
use hostile::wire::{self, DEADLINE_EXCEEDED, NO, RESOURCE_EXHAUSTED, STALL, Value, framed};
use hostile::{TargetClient, Victim};
use rpc::{Code, Executed, Limits};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn sum() -> Vec<u8> {
    wire::array(&[&[1], &[2]])
}

/// A request with one entry of metadata, whose value has so many bytes.
fn with_metadata(id: u64, bytes: usize) -> Vec<u8> {
    let entry = [&[0x81][..], &wire::text("name"), &wire::text(&"v".repeat(bytes))].concat();
    wire::array(&[&[3], &wire::uint(id), &wire::text("Target.add"), &[0xc0], &entry, &sum()])
}

/// Only the caller's own clock can end the second call. It was armed for the silence before the first one, goes off for
/// nothing since that was answered, and must be armed anew.
#[test]
fn case_55_a_deadline_is_kept_after_the_timer_went_off_for_nothing() {
    Liar::attacks(async |liar| {
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
        let mut raw = liar.welcome().await;
        let client = connecting.await.expect("joined").expect("connected");
        tokio::time::sleep(Limits::default().keepalive_interval() - SECOND).await;
        let first = tokio::spawn(client.add(1, 2).into_future());
        let request = raw.recv().await.expect("a request");
        raw.say(&wire::reply(request.id(), &[3])).await;
        assert_eq!(first.await.expect("joined").expect("a sum"), 3);
        tokio::time::sleep(2 * SECOND).await;
        let since = Instant::now();
        let error = client.add(1, 2).timeout(SECOND).await.expect_err("no answer comes");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe));
        let late = since.elapsed() - SECOND;
        assert!(late <= Duration::from_millis(10), "{late:?} late");
    });
}

#[test]
fn case_67_a_server_that_goes_silent_is_given_up_after_fifty_seconds() {
    Liar::attacks(async |liar| {
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
        let mut raw = liar.welcome().await;
        let client = connecting.await.expect("joined").expect("connected");
        let call = tokio::spawn(client.add(1, 2).into_future());
        raw.recv().await.expect("a request");
        let since = Instant::now();
        assert_eq!(raw.recv().await.expect("it is asked for a sign of life").kind(), 7);
        let error = call.await.expect("joined").expect_err("no sign");
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
        let took = since.elapsed();
        assert!((50 * SECOND..51 * SECOND).contains(&took), "{took:?}");
        assert_eq!(raw.is_sent_away().await.reason, STALL);
    });
}

#[test]
fn case_67_keepalive_is_the_one_that_was_set() {
    let limits = Limits::default().with_keepalive_interval(2 * SECOND).with_keepalive_timeout(SECOND);
    Victim::attacked_with(limits, async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        let since = Instant::now();
        for round in 1..=3 {
            let ping = raw.recv().await.expect("a ping");
            assert_eq!((ping.kind(), since.elapsed().as_secs()), (7, 2 * round));
            raw.say(&wire::array(&[&[8], &wire::uint(ping.id())])).await;
        }
        // Any message is a sign of life.
        raw.recv().await.expect("a ping");
        assert_eq!(raw.call(1, "Target.add", &sum()).await.value(), (1, &Value::Uint(3)));
        let since = Instant::now();
        assert_eq!(raw.is_sent_away().await.reason, STALL);
        assert_eq!(since.elapsed().as_secs(), 3);
    });
}

#[test]
fn case_83_a_good_client_behind_all_half_open_connections_is_served_within_six_seconds() {
    Victim::attacked(async |victim| {
        let mut silent = Vec::new();
        for _ in 0..Limits::default().half_open() {
            silent.push(Raw::connect(&victim.url).await);
            // So that the server accepts as they come, and the queue before it does not overflow.
            tokio::task::yield_now().await;
        }
        victim.serves_neighbours().await;
        let since = Instant::now();
        let limits = Limits::default().with_hello_timeout(6 * SECOND);
        let client = TargetClient::connect(&victim.url).limits(limits).await.expect("in time");
        assert_eq!(client.add(1, 2).await.expect("a sum"), 3);
        let took = since.elapsed();
        assert!((4 * SECOND..6 * SECOND).contains(&took), "{took:?}");
        drop((client, silent));
    });
}

#[test]
fn case_88_metadata_above_the_limit_is_refused_and_not_executed() {
    for limit in [8 * 1024, 100] {
        let limits = Limits::default().with_metadata_bytes(limit);
        Victim::attacked_with(limits, async |victim| {
            let started = victim.ledger.started();
            let mut raw = Raw::open(&victim.url).await;
            // An entry counts 32 bytes beside its name and value.
            let most = limit - 32 - "name".len();
            raw.say(&with_metadata(1, most + 1)).await;
            let refused = raw.recv().await.expect("a refusal");
            let (id, code, executed, message) = refused.error();
            assert_eq!((id, code, executed), (1, RESOURCE_EXHAUSTED, NO));
            assert!(message.contains(&limit.to_string()), "{message}");
            assert_eq!(victim.ledger.started(), started);
            raw.say(&with_metadata(2, most)).await;
            assert_eq!(raw.recv().await.expect("a reply").value(), (2, &Value::Uint(3)));

            // The client's own limit keeps such a call at home.
            let client = TargetClient::connect(&victim.url)
                .limits(Limits::default().with_metadata_bytes(limit))
                .await
                .expect("connected");
            let error = client.add(1, 2).metadata("name", "v".repeat(most + 1)).await.expect_err("too much");
            assert_eq!((error.code(), error.executed()), (Code::ResourceExhausted, Executed::No));
            assert_eq!(client.add(1, 2).metadata("name", "v".repeat(most)).await.expect("a sum"), 3);
        });
    }
}

#[test]
fn case_88_metadata_of_a_reply_above_the_limit_fails_its_call_alone() {
    Liar::attacks(async |liar| {
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
        let mut raw = liar.welcome().await;
        let client = connecting.await.expect("joined").expect("connected");
        for (bytes, fits) in [(8 * 1024, false), (7 * 1024, true)] {
            let call = tokio::spawn(client.add(1, 2).with_metadata().into_future());
            let id = raw.recv().await.expect("a request").id();
            let entry = [&[0x81][..], &wire::text("name"), &wire::text(&"v".repeat(bytes))].concat();
            raw.say(&wire::array(&[&[4], &wire::uint(id), &entry, &[0xc0], &[3]])).await;
            match call.await.expect("joined") {
                Ok((sum, metadata)) => {
                    assert!(fits, "it is not cut short in silence");
                    assert_eq!((sum, metadata.get("name").map(str::len)), (3, Some(bytes)));
                }
                Err(error) => {
                    assert!(!fits, "{error}");
                    assert_eq!((error.code(), error.executed()), (Code::ResourceExhausted, Executed::Yes));
                    assert!(error.message().contains("8192"), "{error}");
                }
            }
        }
    });
}

#[test]
fn the_longest_deadline_is_the_one_that_was_set() {
    let limits = Limits::default().with_max_deadline(3 * SECOND);
    Victim::attacked_with(limits, async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        raw.say(&wire::timed(1, "Target.hold", 3_600_000_000, &[0x90])).await;
        let since = Instant::now();
        assert_eq!(raw.recv().await.expect("an error").error().1, DEADLINE_EXCEEDED);
        assert!((3 * SECOND..4 * SECOND).contains(&since.elapsed()), "{:?}", since.elapsed());
        victim.ledger.running(0).await;
    });
}

#[test]
fn a_server_reads_no_more_than_it_can_answer() {
    let limits = Limits::default().with_send_queue_bytes(10_000);
    Victim::attacked_with(limits, async |victim| {
        let raw = Raw::open(&victim.url).await;
        let (mut recv, mut send) = (raw.recv, raw.send);
        const CALLS: u64 = 50_000;
        let before = victim.ledger.started();
        let writing = tokio::spawn(async move {
            for id in 1..=CALLS {
                send.write_all(&framed(&wire::request(id, "Target.add", &sum()))).await.expect("written");
            }
            send
        });
        // The clock only moves once nobody has anything left to do: the server has stopped, and so has the writer.
        tokio::time::sleep(SECOND).await;
        let started = victim.ledger.started() - before;
        // What the pipe holds, what may be queued, and what one read brings, at some ten bytes a reply.
        assert!(started < 12_000, "{started} calls were run for a peer that reads nothing");
        assert!(!writing.is_finished());
        victim.serves_neighbours().await;

        // Once it reads all goes on where it was.
        let mut replies = 0;
        let mut raw = Raw { recv, send: Box::new(tokio::io::sink()) };
        while replies < CALLS {
            let reply = timeout(SECOND, raw.recv()).await.expect("in time").expect("a reply");
            replies += u64::from(reply.kind() == 1);
        }
        recv = raw.recv;
        drop((recv, writing.await.expect("joined")));
    });
}
