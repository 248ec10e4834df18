//! A client against a server that does as it likes.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::time::Duration;

use hostile::TargetClient;
use hostile::raw::{Liar, Raw};
use hostile::wire::{self, DRAIN, NO, PROTOCOL, UNIMPLEMENTED, framed};
use rpc::{Code, Error, Executed, Limits};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);

/// A client that is connected to a liar.
async fn connected(liar: &mut Liar) -> (TargetClient, Raw) {
    connected_with(liar, Limits::default()).await
}

async fn connected_with(liar: &mut Liar, limits: Limits) -> (TargetClient, Raw) {
    let connecting = tokio::spawn(TargetClient::connect(&liar.url).limits(limits).into_future());
    let raw = liar.welcome().await;
    (connecting.await.expect("joined").expect("connected"), raw)
}

/// Makes a call, and gives it and its id.
async fn call(client: &TargetClient, raw: &mut Raw) -> (JoinHandle<Result<i64, Error>>, u64) {
    let call = tokio::spawn(client.add(1, 2).into_future());
    let request = raw.recv().await.expect("a request");
    (call, request.id())
}

/// The call ends at once, and says that nobody knows whether it ran.
async fn may_have_run(call: JoinHandle<Result<i64, Error>>) {
    let error = timeout(SECOND, call).await.expect("at once").expect("joined").expect_err("no reply");
    assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
}

#[test]
fn case_28_a_reply_to_an_id_never_issued_sends_the_server_away() {
    Liar::attacks(async |liar| {
        for never in [|_| 0, |_| u64::MAX, |id| id + 1, |id| id + (1 << 20), |id: u64| id ^ (1 << 20)] {
            let (client, mut raw) = connected(liar).await;
            let (call, id) = call(&client, &mut raw).await;
            raw.say(&wire::reply(never(id), &[3])).await;
            let goaway = raw.is_sent_away().await;
            assert_eq!(goaway.reason, PROTOCOL, "{} for {id}", never(id));
            may_have_run(call).await;
        }
    });
}

#[test]
fn case_28_a_late_reply_after_a_cancel_is_ignored() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar).await;
        let (cancelled, first) = call(&client, &mut raw).await;
        cancelled.abort();
        let cancel = raw.recv().await.expect("a cancel");
        assert_eq!((cancel.kind(), cancel.id()), (6, first));
        raw.say(&wire::reply(first, &[9])).await;
        // Its slot is taken by the next call, which must not get that reply either.
        let (next, second) = call(&client, &mut raw).await;
        raw.say(&wire::reply(first, &[9])).await;
        raw.say(&wire::reply(second, &[3])).await;
        assert_eq!(next.await.expect("joined").expect("a sum"), 3);
    });
}

#[test]
fn case_29_a_second_reply_is_ignored_and_the_first_kept() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar).await;
        let (first, id) = call(&client, &mut raw).await;
        raw.send(&[framed(&wire::reply(id, &[3])), framed(&wire::reply(id, &[4]))].concat()).await;
        assert_eq!(first.await.expect("joined").expect("a sum"), 3);
        raw.say(&wire::reply(id, &[5])).await;
        let (second, id) = call(&client, &mut raw).await;
        raw.say(&wire::reply(id, &[6])).await;
        assert_eq!(second.await.expect("joined").expect("a sum"), 6);
    });
}

#[test]
fn a_goaway_of_any_reason_leaves_each_call_one_outcome() {
    Liar::attacks(async |liar| {
        for reason in [1, 2, 3, 4, 5, 6, 77, u64::MAX] {
            let (client, mut raw) = connected(liar).await;
            let (taken, id) = call(&client, &mut raw).await;
            let (not_taken, _) = call(&client, &mut raw).await;
            raw.say(&wire::goaway(id, reason, "because")).await;
            may_have_run(taken).await;
            // The server says that it never took this one, so it goes to the next connection by itself.
            drop(raw);
            let mut raw = liar.welcome().await;
            let request = raw.recv().await.expect("the same request again");
            raw.say(&wire::reply(request.id(), &[3])).await;
            assert_eq!(not_taken.await.expect("joined").expect("a sum"), 3, "reason {reason}");
        }
    });
}

#[test]
fn a_goaway_of_many_words_is_not_repeated_to_every_caller() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar).await;
        let calls = [call(&client, &mut raw).await, call(&client, &mut raw).await];
        let words = format!("\u{1b}[2J{}", "x".repeat(4 << 20 >> 1));
        raw.say(&wire::goaway(u64::MAX, PROTOCOL, &words)).await;
        for (call, _) in calls {
            let error = call.await.expect("joined").expect_err("no reply");
            assert!(error.message().len() < 512, "{} bytes", error.message().len());
            assert!(!error.message().contains('\u{1b}') && error.message().contains("xxx"), "{error}");
        }
    });
}

#[test]
fn a_server_that_drains_and_dies_resolves_its_callers_at_once() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar).await;
        let (call, _) = call(&client, &mut raw).await;
        raw.say(&wire::goaway(u64::MAX, DRAIN, "")).await;
        let goaway = raw.recv().await.expect("the client says that it goes, too");
        assert_eq!(goaway.kind(), 9);
        drop(raw);
        may_have_run(call).await;
    });
}

#[test]
fn a_server_that_drains_at_once_each_time_is_not_besieged() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar).await;
        let call = tokio::spawn(client.add(1, 2).timeout(60 * SECOND).into_future());
        let mut connections = 1;
        let error = loop {
            raw.say(&wire::goaway(0, DRAIN, "")).await;
            drop(raw);
            tokio::select! {
                next = liar.welcome() => raw = next,
                () = async { while !call.is_finished() { tokio::time::sleep(SECOND / 10).await } } => break call.await,
            }
            connections += 1;
        };
        let error = error.expect("joined").expect_err("nobody ever took it");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::No));
        assert!(connections <= 80, "{connections} connections in a minute");
    });
}

#[test]
fn calls_to_a_client_without_services_are_refused_and_harmless() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar).await;
        let refused = raw.call(1, "Target.add", &wire::array(&[&[1], &[2]])).await;
        assert_eq!((refused.error().1, refused.error().2), (UNIMPLEMENTED, NO));
        let (call, id) = call(&client, &mut raw).await;
        raw.say(&wire::reply(id, &[3])).await;
        assert_eq!(call.await.expect("joined").expect("a sum"), 3);
    });
}

#[test]
fn a_server_that_asks_and_does_not_read_is_not_answered_without_end() {
    // So many pings would end the connection long before.
    let limits = Limits::default().with_send_queue_bytes(64 * 1024).with_pings_per_second(u32::MAX);
    for question in [wire::ping(7), wire::request(7, "x", &[0x90]), wire::goaway(u64::MAX, DRAIN, "")] {
        Liar::attacks(async |liar| {
            let (client, mut raw) = connected_with(liar, limits.clone()).await;
            let (pending, _) = call(&client, &mut raw).await;
            let questions = framed(&question).repeat(4_096);
            let mut sent = 0;
            // A client that does not read any more is one that does not queue any more.
            while sent < 64 << 20
                && timeout(60 * SECOND, tokio::io::AsyncWriteExt::write_all(&mut raw.send, &questions))
                    .await
                    .is_ok_and(|written| written.is_ok())
            {
                sent += questions.len();
            }
            if question[1] == 9 {
                // One of them was enough, and it needs one answer.
                assert!(sent >= 64 << 20);
                drop(raw);
            } else {
                assert!(sent < 2 << 20, "{sent} bytes were taken while nothing was read");
            }
            may_have_run(pending).await;
        });
    }
}
