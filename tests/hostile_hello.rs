//! Peers that do not begin a connection as they should, on either side. Time is paused: seconds here take none.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::error::Error as _;
use std::time::Duration;

use hostile::raw::{Liar, Raw};
use hostile::wire::{self, FRAME, PROTOCOL, Value, framed};
use hostile::{TargetClient, Victim};
use rpc::{Channel, Code, Executed, Limits, VersionMismatch};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// About five seconds.
fn is_the_hello_timeout(took: Duration) -> bool {
    (5 * SECOND..5 * SECOND + SECOND / 10).contains(&took)
}

#[test]
fn case_01_a_silent_connection_is_closed_after_five_seconds() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::connect(&victim.url).await;
        let took = raw.is_closed_silently().await;
        assert!(is_the_hello_timeout(took), "{took:?}");
    });
}

#[test]
fn case_02_a_slow_hello_is_closed_after_five_seconds_in_all() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::connect(&victim.url).await;
        let since = Instant::now();
        let (mut recv, mut send) = (raw.recv, raw.send);
        let dripping = tokio::spawn(async move {
            for byte in wire::hello() {
                // The peer's own slowness, not a wait for anything.
                if tokio::io::AsyncWriteExt::write_all(&mut send, &[byte]).await.is_err() {
                    break;
                }
                sleep(SECOND).await;
            }
        });
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut recv, &mut rest).await;
        assert!(rest.is_empty());
        let took = since.elapsed();
        assert!(is_the_hello_timeout(took), "{took:?}");
        dripping.abort();
        drop(recv);
        let _ = dripping.await;
        victim.is_at_rest().await;
        raw = Raw::open(&victim.url).await;
        raw.call(1, "Target.add", &wire::array(&[&[1], &[2]])).await;
    });
}

#[test]
fn case_03_strangers_are_closed_at_once() {
    Victim::attacked(async |victim| {
        let strangers: [&[u8]; 7] = [
            b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01],
            &[0x94, 0x00, 0x01, 0xa1, b'm', 0x90],
            &[0x00; 64],
            &[0xc1, b'R', b'P', b'D'],
            &[0x8f, 0x3a, 0x91, 0x5c, 0x77, 0x02, 0xfe, 0x10],
        ];
        for bytes in strangers {
            let mut raw = Raw::connect(&victim.url).await;
            raw.send(bytes).await;
            let took = raw.is_closed_silently().await;
            assert!(took <= SECOND / 10, "{took:?} for {bytes:02x?}");
        }
        // The first wrong byte is enough.
        let mut raw = Raw::connect(&victim.url).await;
        raw.send(b"G").await;
        assert!(raw.is_closed_silently().await <= SECOND / 10);
    });
}

#[test]
fn case_04_an_end_within_the_hello_is_no_more_than_that() {
    Victim::attacked(async |victim| {
        let hello = wire::hello();
        for end in 0..hello.len() {
            let mut raw = Raw::connect(&victim.url).await;
            raw.send(&hello[..end]).await;
            raw.finish().await;
            assert!(raw.is_closed_silently().await <= SECOND / 10, "after {end} bytes");
        }
    });
}

#[test]
fn case_04_a_server_that_ends_within_its_hello_is_a_connect_error() {
    Liar::attacks(async |liar| {
        let hello = wire::hello();
        for end in 0..hello.len() {
            let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
            let mut raw = liar.accept().await;
            raw.recv_hello().await;
            raw.send(&hello[..end]).await;
            drop(raw);
            let error =
                timeout(SECOND, connecting).await.expect("in time").expect("joined").expect_err("no hello");
            assert_eq!(
                (error.code(), error.executed()),
                (Code::Unavailable, Executed::No),
                "after {end} bytes"
            );
        }
    });
}

#[test]
fn case_09_no_common_version_is_a_typed_error_on_the_client_and_not_tried_again() {
    Liar::attacks(async |liar| {
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
        let mut raw = liar.accept().await;
        raw.recv_hello().await;
        raw.send(&wire::hello_with(7, 9, &[], &[])).await;
        let error = connecting.await.expect("joined").expect_err("no version in common");
        assert_eq!((error.code(), error.executed()), (Code::FailedPrecondition, Executed::No));
        assert!(!error.is_retryable());
        let mismatch = error.source().and_then(|cause| cause.downcast_ref::<VersionMismatch>());
        let mismatch = mismatch.expect("the cause says which versions");
        assert_eq!((&mismatch.ours, &mismatch.theirs), (&(1..=1), &(7..=9)));

        // A channel that goes on trying by itself does not go on here.
        let channel = Channel::connect(&liar.url).lazy().expect("a channel");
        let call =
            tokio::spawn(TargetClient::new(channel.clone()).add(1, 2).timeout(3_600 * SECOND).into_future());
        let mut raw = liar.accept().await;
        raw.recv_hello().await;
        raw.send(&wire::hello_with(7, 9, &[], &[])).await;
        let error = call.await.expect("joined").expect_err("no version in common");
        assert_eq!((error.code(), error.executed()), (Code::FailedPrecondition, Executed::No));
        assert!(timeout(3_600 * SECOND, liar.accept()).await.is_err(), "it tried again");
        let error = TargetClient::new(channel).add(1, 2).await.expect_err("it is known by now");
        assert_eq!(error.code(), Code::FailedPrecondition);
    });
}

#[test]
fn case_09_no_common_version_is_said_by_the_server_before_it_closes() {
    Victim::attacked(async |victim| {
        for (first, last) in [(2, 9), (0, 0), (u64::MAX, u64::MAX)] {
            let mut raw = Raw::connect(&victim.url).await;
            let hello = raw.greet(&wire::hello_with(first, last, &[], &[])).await;
            assert_eq!(hello.elements()[..3], [10, 1, 1].map(Value::Uint), "the client can tell why");
            assert!(raw.is_closed_silently().await <= SECOND / 10);
        }
    });
}

#[test]
fn case_10_unknown_features_and_limits_are_ignored() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::connect(&victim.url).await;
        let limits = [("from the future", 9), ("frame_bytes", 65_536)];
        raw.greet(&wire::hello_with(0, 99, &["teleport", "zstd", ""], &limits)).await;
        let reply = raw.call(1, "Target.add", &wire::array(&[&[1], &[2]])).await;
        assert_eq!(reply.value(), (1, &Value::Uint(3)));
    });
}

#[test]
fn case_11_a_second_hello_is_sent_away() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        raw.send(&wire::hello()[4..]).await;
        assert_eq!(raw.is_sent_away().await.reason, PROTOCOL);
        // With its magic it reads as a length of gigabytes.
        let mut raw = Raw::open(&victim.url).await;
        raw.send(&wire::hello()).await;
        assert_eq!(raw.is_sent_away().await.reason, FRAME);
    });
}

#[test]
fn case_12_a_request_before_the_hello_is_not_executed() {
    Victim::attacked(async |victim| {
        let started = victim.ledger.started();
        let request = framed(&wire::request(1, "Target.add", &wire::array(&[&[1], &[2]])));
        for opening in [request.clone(), [&wire::MAGIC[..], &request].concat()] {
            let mut raw = Raw::connect(&victim.url).await;
            raw.send(&opening).await;
            raw.send(&wire::hello()).await;
            assert!(raw.is_closed_silently().await <= SECOND / 10);
        }
        assert_eq!(victim.ledger.started(), started);
    });
}

#[test]
fn case_13_a_hello_above_its_limit_is_closed_before_its_body() {
    Victim::attacked(async |victim| {
        for length in [0, 4_097, u32::MAX] {
            let mut raw = Raw::connect(&victim.url).await;
            raw.send(&[&wire::MAGIC[..], &length.to_be_bytes()].concat()).await;
            assert!(raw.is_closed_silently().await <= SECOND / 10, "{length} bytes");
        }
        // The largest one that is allowed: 4,096 bytes and the eight before them.
        let short = wire::hello_with(1, 1, &[""], &[]).len();
        let padding = "x".repeat(8 + 4_096 - short);
        let hello = wire::hello_with(1, 1, &[&padding], &[]);
        assert_eq!(hello.len(), 8 + 4_096);
        let mut raw = Raw::connect(&victim.url).await;
        raw.greet(&hello).await;
        raw.call(1, "Target.add", &wire::array(&[&[1], &[2]])).await;
        drop(raw);
    });
}

#[test]
fn case_14_limits_of_zero_are_rejected_by_a_server() {
    Victim::attacked(async |victim| {
        for limits in [[("frame_bytes", 0), ("calls", 9)], [("frame_bytes", 65_536), ("calls", 0)]] {
            let mut raw = Raw::connect(&victim.url).await;
            raw.send(&wire::hello_with(1, 1, &[], &limits)).await;
            assert!(raw.is_closed_silently().await <= SECOND / 10, "{limits:?}");
        }
    });
}

#[test]
fn case_14_limits_of_zero_are_rejected_by_a_client() {
    Liar::attacks(async |liar| {
        for limits in [[("frame_bytes", 0), ("calls", 9)], [("frame_bytes", 65_536), ("calls", 0)]] {
            let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
            let mut raw = liar.accept().await;
            raw.recv_hello().await;
            raw.send(&wire::hello_with(1, 1, &[], &limits)).await;
            let error = connecting.await.expect("joined").expect_err("such a server cannot be called");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));
            assert!(error.message().contains("malformed"), "{error}");
        }
    });
}

const BEYOND_ALL_MEASURE: [(&str, u64); 2] = [("frame_bytes", u64::MAX), ("calls", u64::MAX)];

#[test]
fn case_14_limits_beyond_all_measure_are_clamped() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::connect(&victim.url).await;
        raw.greet(&wire::hello_with(1, 1, &[], &BEYOND_ALL_MEASURE)).await;
        // More than an ordinary peer would take.
        let reply = raw.call(1, "Target.sevens", &wire::array(&[&wire::uint(5 << 20)])).await;
        assert_eq!(reply.value().1.elements().len(), 5 << 20);
    });
}

#[test]
fn case_14_limits_beyond_all_measure_are_clamped_by_a_client() {
    Liar::attacks(async |liar| {
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
        let mut raw = liar.accept().await;
        raw.recv_hello().await;
        raw.send(&wire::hello_with(1, 1, &[], &BEYOND_ALL_MEASURE)).await;
        let client = connecting.await.expect("joined").expect("connected");
        let call = tokio::spawn(client.add(1, 2).into_future());
        let id = raw.recv().await.expect("a request").id();
        raw.say(&wire::reply(id, &[3])).await;
        assert_eq!(call.await.expect("joined").expect("a sum"), 3);
    });
}

#[test]
fn what_a_server_takes_is_what_it_says() {
    let limits = Limits::default()
        .with_frame_bytes(70_000)
        .with_calls(77)
        .with_message_bytes(80_000)
        .with_streams(78)
        .with_stream_bytes(79_000);
    let said = |limits: [(&str, u64); 5]| {
        Value::Map(limits.map(|(name, value)| (Value::Text(name.to_owned()), Value::Uint(value))).into())
    };
    Victim::attacked_with(limits, async |victim| {
        let hello = Raw::connect(&victim.url).await.greet(&wire::hello()).await;
        let set = [
            ("frame_bytes", 70_000),
            ("calls", 77),
            ("message_bytes", 80_000),
            ("streams", 78),
            ("stream_bytes", 79_000),
        ];
        assert_eq!(hello.elements()[4], said(set));
        let features = ["fragments", "streams"].map(|name| Value::Text(name.to_owned()));
        assert_eq!(hello.elements()[3].elements(), features);
    });
    Victim::attacked(async |victim| {
        let hello = Raw::connect(&victim.url).await.greet(&wire::hello()).await;
        let default = [
            ("frame_bytes", 4 << 20),
            ("calls", 1_024),
            ("message_bytes", 64 << 20),
            ("streams", 1_024),
            ("stream_bytes", 64 << 10),
        ];
        assert_eq!(hello.elements()[4], said(default));
    });
}

#[test]
fn case_15_a_silent_server_is_a_connect_error_after_five_seconds() {
    Liar::attacks(async |liar| {
        let since = Instant::now();
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
        let raw = liar.accept().await;
        let error = connecting.await.expect("joined").expect_err("nobody answers");
        let took = since.elapsed();
        assert!(is_the_hello_timeout(took), "{took:?}");
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));
        drop(raw);

        // The limit is the client's own.
        let since = Instant::now();
        let limits = Limits::default().with_hello_timeout(SECOND / 2);
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).limits(limits).into_future());
        let _raw = liar.accept().await;
        connecting.await.expect("joined").expect_err("nobody answers");
        assert!(since.elapsed() < SECOND, "{:?}", since.elapsed());
    });
}

#[test]
fn case_82_a_connection_above_the_limit_is_refused_and_those_below_go_on() {
    let limits = Limits::default().with_connections(3);
    Victim::attacked_with(limits, async |victim| {
        let mut second = Raw::open(&victim.url).await;
        let third = Raw::open(&victim.url).await;
        // The neighbour is the first. The next one is closed, whatever it is.
        let mut above = Raw::connect(&victim.url).await;
        assert!(above.is_closed_silently().await <= SECOND / 10);
        let error = TargetClient::connect(&victim.url).await.expect_err("the server is full");
        assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));
        second.call(1, "Target.add", &wire::array(&[&[1], &[2]])).await;
        victim.serves_neighbours().await;

        // A place that was left is taken.
        drop(third);
        let since = Instant::now();
        let client = loop {
            match TargetClient::connect(&victim.url).await {
                Ok(client) => break client,
                Err(error) => assert!(since.elapsed() < 2 * SECOND, "{error}"),
            }
            sleep(SECOND / 100).await;
        };
        assert_eq!(client.add(1, 2).await.expect("a sum"), 3);
        drop((client, second, above));
    });
}

#[test]
fn case_82_connection_10_001_is_refused() {
    Victim::attacked(async |victim| {
        let most = Limits::default().connections();
        assert_eq!(most, 10_000);
        // The neighbour is the first.
        let mut below = Vec::new();
        for _ in 1..most {
            below.push(Raw::open(&victim.url).await);
        }
        assert!(Raw::connect(&victim.url).await.is_closed_silently().await <= SECOND / 10);
        let last = below.last_mut().expect("there are some");
        last.call(1, "Target.add", &wire::array(&[&[1], &[2]])).await;
        for raw in below {
            drop(raw);
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn case_83_half_open_connections_above_their_limit_wait_for_those_before_them() {
    let limits = Limits::default().with_half_open(2);
    Victim::attacked_with(limits, async |victim| {
        let silent = [Raw::connect(&victim.url).await, Raw::connect(&victim.url).await];
        let since = Instant::now();
        let client = TargetClient::connect(&victim.url)
            .limits(Limits::default().with_hello_timeout(6 * SECOND))
            .await
            .expect("the silent ones are closed after five seconds");
        assert!(is_the_hello_timeout(since.elapsed()), "{:?}", since.elapsed());
        drop((client, silent));
    });
}
