//! Bytes that are cut, late, too many or too few, once a connection is open. Time is paused.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::time::Duration;

use hostile::always::unused_name;
use hostile::raw::{Liar, Raw};
use hostile::wire::{self, CALM, DRAIN, FRAME, PROTOCOL, STALL, Value, framed};
use hostile::{TargetClient, Victim};
use rpc::{Code, Executed, Limits};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);
const HUNDREDTH: Duration = Duration::from_millis(100);

fn sum() -> Vec<u8> {
    wire::array(&[&[1], &[2]])
}

/// A session of a client: calls that end, one that stays, one that is cancelled, one with a deadline, a ping.
fn session() -> Vec<u8> {
    let messages = [
        wire::request(1, "Target.add", &sum()),
        wire::request(2, "Target.hold", &[0x90]),
        wire::request(3, "Target.hold", &[0x90]),
        wire::timed(4, "Target.hold", 60_000_000, &[0x90]),
        wire::ping(5),
        wire::cancel(3),
        wire::request(6, "Target.length", &wire::array(&[&wire::text("text"), &wire::binary(&[9; 40])])),
    ];
    messages.iter().flat_map(|message| framed(message)).collect()
}

#[test]
fn case_04_an_end_at_every_byte_of_a_session_drops_its_handlers() {
    Victim::attacked(async |victim| {
        let session = session();
        for end in 0..=session.len() {
            let mut raw = Raw::open(&victim.url).await;
            raw.send(&session[..end]).await;
            raw.finish().await;
            // It is seen that nothing more comes; whatever was answered before, there is no goodbye to read.
            while let Some(message) = timeout(SECOND, raw.recv()).await.expect("closed within a second") {
                assert_ne!(message.kind(), 9, "an end is no violation, after {end} bytes: {message:?}");
            }
            drop(raw);
            let took = victim.ledger.running(0).await;
            assert!(took <= HUNDREDTH, "{took:?} after {end} bytes");
        }
    });
}

#[test]
fn case_04_an_end_at_every_byte_of_a_servers_replies_resolves_its_callers() {
    Liar::attacks(async |liar| {
        let length = framed(&wire::reply(1 << 20, &[3])).len() + framed(&wire::reply(1 << 20, &[4])).len();
        for end in 0..=length {
            let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
            let mut raw = liar.welcome().await;
            let client = connecting.await.expect("joined").expect("connected");
            let calls = [client.add(1, 2), client.add(2, 2)].map(|call| tokio::spawn(call.into_future()));
            let mut replies = Vec::new();
            for value in [3, 4] {
                let id = raw.recv().await.expect("a request").id();
                replies.extend(framed(&wire::reply(id, &[value])));
            }
            assert_eq!(replies.len(), length);
            raw.send(&replies[..end]).await;
            drop(raw);
            for (index, call) in calls.into_iter().enumerate() {
                let result = timeout(SECOND, call).await.expect("resolved at once").expect("joined");
                match result {
                    Ok(sum) => assert!(sum == 3 + index as i64 && end >= (index + 1) * length / 2),
                    Err(error) => {
                        assert!(end < (index + 1) * length / 2, "the reply was whole after {end} bytes");
                        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
                    }
                }
            }
        }
    });
}

/// What a session's replies are, in the order of their ids.
async fn answers(raw: &mut Raw, count: usize) -> Vec<Value> {
    let mut answers = Vec::new();
    while answers.len() < count {
        answers.push(timeout(SECOND, raw.recv()).await.expect("in time").expect("a message"));
    }
    answers.sort_by_key(|message| (message.kind(), message.id()));
    answers
}

#[test]
fn case_05_and_06_one_byte_slices_and_one_write_give_the_same_results() {
    Victim::attacked(async |victim| {
        let bytes = [wire::hello(), session()].concat();
        let mut all = Vec::new();
        for size in [1, 2, 3, 7, 64, bytes.len()] {
            let started = victim.ledger.started();
            let mut raw = Raw::connect(&victim.url).await;
            for slice in bytes.chunks(size) {
                raw.send(slice).await;
                // So that each slice is a read of its own.
                tokio::task::yield_now().await;
            }
            raw.recv_hello().await;
            let answers = answers(&mut raw, 3).await;
            let running = victim.ledger.running(2).await;
            assert!(running <= HUNDREDTH);
            // The cancelled one may have been taken back before it began.
            assert!((4..=5).contains(&(victim.ledger.started() - started)));
            drop(raw);
            victim.ledger.running(0).await;
            all.push(answers);
        }
        assert_eq!(all[0][0].value(), (1, &Value::Uint(3)));
        assert_eq!(all[0][1].value(), (6, &Value::Uint(44)));
        assert_eq!(all[0][2], Value::Array(vec![Value::Uint(8), Value::Uint(5)]));
        assert!(all.iter().all(|answers| answers == &all[0]), "{all:?}");
    });
}

#[test]
fn case_05_and_06_large_frames_in_slices_of_any_size() {
    Victim::attacked(async |victim| {
        // From sizes that are read in one piece to such as have memory of their own, and small frames between them.
        let mut bytes = Vec::new();
        let sizes = [70_000, 130_000, 131_072, 300_000, 1_000_000, 10];
        for (id, size) in (0..).step_by(2).zip(sizes) {
            let data = wire::binary(&vec![id as u8; size]);
            bytes.extend(framed(&wire::request(
                id,
                "Target.length",
                &wire::array(&[&wire::text(""), &data]),
            )));
            bytes.extend(framed(&wire::request(id + 1, "Target.add", &sum())));
        }
        for slice in [997, 4_096, 65_536, 65_541, 131_071, 400_000, bytes.len()] {
            let mut raw = Raw::open(&victim.url).await;
            for slice in bytes.chunks(slice) {
                raw.send(slice).await;
                tokio::task::yield_now().await;
            }
            for (index, reply) in answers(&mut raw, 2 * sizes.len()).await.into_iter().enumerate() {
                let expected = if index % 2 == 0 { sizes[index / 2] as u64 } else { 3 };
                assert_eq!(reply.value(), (index as u64, &Value::Uint(expected)), "in slices of {slice}");
            }
        }
    });
}

#[test]
fn case_06_what_stands_before_a_violation_in_one_write_is_answered() {
    Victim::attacked(async |victim| {
        let add = framed(&wire::request(1, "Target.add", &sum()));
        // A method that has not been measured runs on its own, and would be dropped with the connection.
        let mut warm = Raw::open(&victim.url).await;
        for _ in 0..50 {
            warm.send(&add).await;
            answers(&mut warm, 1).await;
        }
        drop(warm);
        let bytes = [&add[..], &framed(&[0x92, 63, 0])].concat();
        let mut answered = 0;
        for _ in 0..50 {
            let mut raw = Raw::open(&victim.url).await;
            raw.send(&bytes).await;
            let goaway = raw.is_sent_away().await;
            assert_eq!((goaway.reason, goaway.last_id), (PROTOCOL, 1));
            assert!(goaway.before.iter().all(|message| message.value() == (1, &Value::Uint(3))));
            answered += goaway.before.len();
        }
        // A handler that a busy machine made look heavy runs on its own, and is dropped with its connection.
        assert!(answered > 0, "not one was answered");
    });
}

/// Carries bytes both ways between clients and a server, one at a time; gives the URL for the clients too.
fn slicing_proxy(server: String) -> (JoinHandle<()>, String) {
    let mut proxy = Liar::listen(&unused_name());
    let url = proxy.url.clone();
    let carrying = tokio::spawn(async move {
        loop {
            let Raw { recv: from_client, send: to_client } = proxy.accept().await;
            let Raw { recv: from_server, send: to_server } = Raw::connect(&server).await;
            tokio::spawn(slice(from_client, to_server));
            tokio::spawn(slice(from_server, to_client));
        }
    });
    (carrying, url)
}

async fn slice(mut from: rpc::RecvHalf, mut to: rpc::SendHalf) {
    let mut buffer = [0];
    while let Ok(count @ 1..) = tokio::io::AsyncReadExt::read(&mut from, &mut buffer).await {
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

#[test]
fn case_05_a_client_and_a_server_understand_each_other_byte_by_byte() {
    Victim::attacked(async |victim| {
        let (carrying, url) = slicing_proxy(victim.url.clone());
        let client = TargetClient::connect(&url).await.expect("connected");
        let data = vec![7; 20_000];
        for client in [client, victim.client().await] {
            let sums: Vec<_> = (0..50).map(|n| tokio::spawn(client.add(n, n).into_future())).collect();
            for (n, sum) in sums.into_iter().enumerate() {
                assert_eq!(sum.await.expect("joined").expect("a sum"), 2 * n as i64);
            }
            assert_eq!(client.length("four", &data).await.expect("a length"), 20_004);
            assert_eq!(client.sevens(20_000).await.expect("sevens"), vec![7; 20_000]);
            let error = client.hold().timeout(HUNDREDTH).await.expect_err("the gate is shut");
            assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe));
        }
        victim.ledger.running(0).await;
        carrying.abort();
    });
}

#[test]
fn case_08_replies_still_arrive_after_goaway_and_half_close() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        raw.say(&wire::request(1, "Target.hold", &[0x90])).await;
        raw.say(&wire::request(2, "Target.hold", &[0x90])).await;
        victim.ledger.running(2).await;
        raw.say(&wire::goaway(u64::MAX, DRAIN, "")).await;
        raw.finish().await;
        // Far longer than any sign of life takes: the other side has none to give. No time passes but the clock's.
        tokio::time::sleep(600 * SECOND).await;
        victim.serves_neighbours().await;
        assert_eq!(victim.ledger.counts().running, 2);
        victim.gate.add_permits(2);
        let mut ids = Vec::new();
        while let Some(message) = timeout(SECOND, raw.recv()).await.expect("closed within a second") {
            match message.kind() {
                1 => ids.push(message.value().0),
                7 | 9 => {}
                other => panic!("kind {other} after a goaway"),
            }
        }
        ids.sort();
        assert_eq!(ids, [1, 2]);
        drop(raw);
    });
}

#[test]
fn case_08_a_half_closed_peer_that_is_gone_is_noticed_within_a_sign_of_life() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        raw.say(&wire::request(1, "Target.hold", &[0x90])).await;
        victim.ledger.running(1).await;
        raw.say(&wire::goaway(u64::MAX, DRAIN, "")).await;
        raw.finish().await;
        drop(raw);
        // Its bytes had ended before, so nothing tells that it has gone but an attempt to write.
        let took = victim.ledger.running(0).await;
        assert!(took <= 31 * SECOND, "{took:?}");
    });
}

#[test]
fn case_17_19_20_lengths_that_are_not_allowed_are_sent_away_before_the_body() {
    for limit in [4 << 20, 5_000] {
        Victim::attacked_with(Limits::default().with_frame_bytes(limit as usize), async |victim| {
            for length in [0, limit + 1, u32::MAX] {
                let mut raw = Raw::open(&victim.url).await;
                raw.say(&wire::request(1, "Target.hold", &[0x90])).await;
                victim.ledger.running(1).await;
                raw.send(&length.to_be_bytes()).await;
                let goaway = raw.is_sent_away().await;
                assert_eq!((goaway.reason, goaway.last_id), (FRAME, 1), "{length}: {}", goaway.message);
                assert!(goaway.message.contains(&length.to_string()), "{}", goaway.message);
                assert!(victim.ledger.running(0).await <= HUNDREDTH);
                // The same when the length comes byte by byte.
                let mut raw = Raw::open(&victim.url).await;
                for byte in length.to_be_bytes() {
                    raw.send(&[byte]).await;
                    tokio::task::yield_now().await;
                }
                assert_eq!(raw.is_sent_away().await.reason, FRAME);
            }
        });
    }
}

#[test]
fn case_17_19_20_a_client_sends_a_server_away_as_well() {
    Liar::attacks(async |liar| {
        for length in [0, (4 << 20) + 1, u32::MAX] {
            let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
            let mut raw = liar.welcome().await;
            let client = connecting.await.expect("joined").expect("connected");
            let call = tokio::spawn(client.add(1, 2).into_future());
            raw.recv().await.expect("a request");
            raw.send(&length.to_be_bytes()).await;
            assert_eq!(raw.is_sent_away().await.reason, FRAME);
            let error =
                timeout(SECOND, call).await.expect("at once").expect("joined").expect_err("a bad server");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
        }
    });
}

#[test]
fn case_18_a_frame_of_exactly_the_limit_is_taken() {
    for limit in [4 << 20, 5_000] {
        Victim::attacked_with(Limits::default().with_frame_bytes(limit), async |victim| {
            let request = |size| {
                wire::request(
                    1,
                    "Target.length",
                    &wire::array(&[&wire::text(""), &wire::binary(&vec![1; size])]),
                )
            };
            let size = limit - request(0).len();
            assert_eq!(request(size).len(), limit);
            let mut raw = Raw::open(&victim.url).await;
            raw.say(&request(size)).await;
            let reply = raw.recv().await.expect("a reply");
            assert_eq!(reply.value(), (1, &Value::Uint(size as u64)));
            // One byte more is one too many.
            raw.say(&request(size + 1)).await;
            assert_eq!(raw.is_sent_away().await.reason, FRAME);
        });
    }
}

#[test]
fn case_22_unknown_kinds_are_skipped_if_optional_and_sent_away_if_not() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        // 64 is known: a stream has more than its credit allows.
        for kind in 65..=127 {
            raw.say(&[0x91, kind]).await;
            raw.say(&[0x93, kind, 0xc1, 0xff]).await;
        }
        assert_eq!(raw.call(1, "Target.add", &sum()).await.value(), (1, &Value::Uint(3)));
        drop(raw);
        for kind in [16, 17, 63, 128, u64::MAX] {
            let mut raw = Raw::open(&victim.url).await;
            raw.say(&wire::array(&[&wire::uint(kind), &[0]])).await;
            let goaway = raw.is_sent_away().await;
            assert_eq!(goaway.reason, PROTOCOL, "kind {kind}");
            assert!(goaway.message.contains(&kind.to_string()), "{}", goaway.message);
        }
    });
}

/// How many of these messages are pongs.
fn pongs(messages: &[Value]) -> usize {
    messages.iter().filter(|message| message.kind() == 8).count()
}

#[test]
fn case_24_pings_above_their_rate_are_sent_away() {
    for rate in [10, 3] {
        Victim::attacked_with(Limits::default().with_pings_per_second(rate), async |victim| {
            let mut raw = Raw::open(&victim.url).await;
            raw.say(&wire::request(1, "Target.hold", &[0x90])).await;
            victim.ledger.running(1).await;
            // For as long as it likes at that rate.
            for token in 0..100 {
                raw.say(&wire::ping(token)).await;
                let pong = raw.recv().await.expect("a pong");
                assert_eq!((pong.kind(), pong.id()), (8, token));
                tokio::time::sleep(SECOND / rate).await;
            }
            // And not in one write that has one more than a second's.
            tokio::time::sleep(SECOND).await;
            let flood: Vec<_> = (0..=u64::from(rate)).flat_map(|token| framed(&wire::ping(token))).collect();
            raw.send(&flood).await;
            let goaway = raw.is_sent_away().await;
            assert_eq!((goaway.reason, goaway.last_id), (CALM, 1), "{}", goaway.message);
            assert_eq!(pongs(&goaway.before), rate as usize);
            assert!(victim.ledger.running(0).await <= HUNDREDTH);
        });
    }
}

#[test]
fn case_24_a_client_sends_a_server_away_that_pings_too_often() {
    Liar::attacks(async |liar| {
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
        let mut raw = liar.welcome().await;
        let client = connecting.await.expect("joined").expect("connected");
        let call = tokio::spawn(client.add(1, 2).into_future());
        raw.recv().await.expect("a request");
        raw.send(&framed(&wire::ping(7)).repeat(1_000)).await;
        let goaway = raw.is_sent_away().await;
        assert_eq!((goaway.reason, pongs(&goaway.before)), (CALM, 10));
        let error = timeout(SECOND, call).await.expect("at once").expect("joined").expect_err("a bad server");
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
    });
}

#[test]
fn case_27_a_frame_that_is_not_finished_is_sent_away_after_thirty_seconds() {
    Victim::attacked(async |victim| {
        let frame = framed(&wire::request(2, "Target.add", &sum()));
        for end in [1, 4, 5, frame.len() - 1] {
            let mut raw = Raw::open(&victim.url).await;
            raw.say(&wire::request(1, "Target.hold", &[0x90])).await;
            raw.send(&frame[..end]).await;
            let since = Instant::now();
            let goaway = raw.is_sent_away().await;
            assert_eq!((goaway.reason, goaway.last_id), (STALL, 1), "after {end} bytes");
            let took = since.elapsed();
            assert!((30 * SECOND..31 * SECOND).contains(&took), "{took:?}");
            assert!(victim.ledger.running(0).await <= HUNDREDTH);
        }
    });
}

#[test]
fn case_27_the_stall_timeout_is_the_one_that_was_set() {
    let limits = Limits::default().with_stall_timeout(SECOND);
    Victim::attacked_with(limits, async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        raw.send(&[0]).await;
        let since = Instant::now();
        assert_eq!(raw.is_sent_away().await.reason, STALL);
        assert!((SECOND..2 * SECOND).contains(&since.elapsed()), "{:?}", since.elapsed());
    });
}

#[test]
fn a_peer_that_does_not_read_is_given_up_after_the_stall_timeout() {
    let limits = Limits::default().with_stall_timeout(SECOND);
    Victim::attacked_with(limits, async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        raw.say(&wire::request(1, "Target.hold", &[0x90])).await;
        victim.ledger.running(1).await;
        // More than a pipe holds and less than a queue: nothing else happens on this connection.
        raw.say(&wire::request(2, "Target.sevens", &wire::array(&[&wire::uint(200_000)]))).await;
        let took = victim.ledger.running(0).await;
        assert!((SECOND..2 * SECOND).contains(&took), "{took:?}");
        // There is no room to tell it why, so that the end takes a second more.
        tokio::time::advance(SECOND).await;
    });
}
