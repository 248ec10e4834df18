//! Each limit that can be set is in force on the wire, and with the value that was set. Those of the hello, of
//! frames, calls, connections and stalls are in the files beside this one.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::time::Duration;

use hostile::always::Always;
use hostile::raw::{Liar, Raw};
use hostile::wire::{
    self, CALM, DEADLINE_EXCEEDED, FRAME, INVALID_ARGUMENT, NO, RESOURCE_EXHAUSTED, STALL, Value, framed,
};
use hostile::{TargetClient, Victim};
use rpc::{Channel, Code, Executed, Limits};
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

#[test]
fn the_hello_may_take_as_long_as_was_set() {
    for timeout in [Limits::default().hello_timeout(), SECOND] {
        Victim::attacked_with(Limits::default().with_hello_timeout(timeout), async |victim| {
            let took = Raw::connect(&victim.url).await.is_closed_silently().await;
            assert!((timeout..timeout + SECOND / 10).contains(&took), "{took:?} of {timeout:?}");
        });
    }
}

/// A message of so many bytes in all.
fn of_size(size: usize) -> Vec<u8> {
    let request = |data: usize| {
        let params = wire::array(&[&wire::text(""), &wire::binary(&vec![7; data])]);
        wire::request(1, "Target.length", &params)
    };
    let message = request(size - request(0).len());
    assert_eq!(message.len(), size);
    message
}

#[test]
fn messages_in_fragments_may_be_as_long_as_was_set() {
    for limit in [Limits::default().message_bytes(), 100_000] {
        Victim::attacked_with(Limits::default().with_message_bytes(limit), async |victim| {
            let open = async || {
                let mut raw = Raw::connect(&victim.url).await;
                raw.greet(&wire::hello_with(1, 1, &["fragments"], &[])).await;
                raw
            };
            // What is said to follow is too much by one byte: nothing of it need come.
            let mut raw = open().await;
            raw.say(&wire::fragment(1, Some(limit as u64), b"x")).await;
            assert_eq!(raw.is_sent_away().await.reason, FRAME, "{limit}");
            let mut raw = open().await;
            raw.say(&wire::fragment(1, Some(limit as u64 - 1), b"x")).await;
            assert_eq!(raw.call(2, "Target.add", &sum()).await.value(), (2, &Value::Uint(3)));
            if limit < 1 << 20 {
                let mut raw = open().await;
                for fragment in wire::in_fragments(1, &of_size(limit), 10_000) {
                    raw.say(&fragment).await;
                }
                assert_eq!(raw.recv().await.expect("a reply").value().0, 1);
            }
        });
    }
}

#[test]
fn of_a_stream_as_much_may_wait_as_was_set() {
    for window in [Limits::default().stream_bytes(), 1_000] {
        Victim::attacked_with(Limits::default().with_stream_bytes(window), async |victim| {
            let streams = wire::array(&[&wire::stream(1), &wire::stream(2)]);
            // Of a byte each: the window exactly, a message beyond it, and one more.
            for (sizes, is_borne) in
                [(vec![window], true), (vec![window - 1, 500], true), (vec![window, 1], false)]
            {
                let mut raw = Raw::open_streams(&victim.url, 1).await;
                raw.say(&wire::open(1, "Target.neglect", 2, &streams)).await;
                for size in sizes {
                    raw.say(&wire::items(1, 1, &vec![vec![7]; size])).await;
                }
                if is_borne {
                    let reply = raw.call(2, "Target.add", &sum()).await;
                    assert_eq!(reply.value(), (2, &Value::Uint(3)), "{window}");
                } else {
                    assert_eq!(raw.is_sent_away().await.reason, CALM, "{window}");
                }
                drop(raw);
                victim.ledger.running(0).await;
            }
        });
    }
}

#[test]
fn a_window_grows_as_far_as_was_set() {
    for most in [Limits::default().max_stream_bytes(), 200_000] {
        let limits = Limits::default().with_max_stream_bytes(most);
        let first = limits.stream_bytes() as u64;
        Victim::attacked_with(limits, async |victim| {
            let mut raw = Raw::open_streams(&victim.url, 1).await;
            let argument = wire::array(&[&wire::stream(1)]);
            raw.say(&wire::open(1, "Target.total", 1, &argument)).await;
            victim.ledger.running(1).await;
            // A producer that could send more each time, to a consumer that has taken everything.
            raw.send(&framed(&wire::blocked(1, 1)).repeat(1_000)).await;
            raw.say(&wire::ping(77)).await;
            let mut window = first;
            loop {
                match raw.recv().await.expect("it is open").elements() {
                    [Value::Uint(13), _, _, Value::Uint(bytes)] => window += bytes,
                    [Value::Uint(8), Value::Uint(77)] => break,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(window, most as u64);
        });
    }
}

#[test]
fn values_may_nest_as_deep_as_was_set() {
    let default = Limits::default().unmarshal_depth();
    for depth in [default, 8, 200] {
        Victim::attacked_with(Limits::default().with_unmarshal_depth(depth), async |victim| {
            let mut raw = Raw::open(&victim.url).await;
            // Each variant with something in it is a level.
            let variant = [&[0x81, 0xa2][..], b"In"].concat();
            for (levels, fits) in [(depth, true), (depth + 1, false)] {
                let nest = [&variant.repeat(levels as usize)[..], &[0xa4], b"Leaf"].concat();
                let reply = raw.call(1, "Target.nest", &wire::array(&[&nest])).await;
                if fits {
                    assert_eq!(reply.value(), (1, &Value::Uint(u64::from(levels))), "{depth}");
                } else {
                    assert_eq!((reply.error().1, reply.error().2), (INVALID_ARGUMENT, NO), "{depth}");
                }
            }
        });
    }
}

#[test]
fn values_may_take_as_much_memory_as_was_set() {
    for budget in [Limits::default().unmarshal_budget(), 7_000] {
        Victim::attacked_with(Limits::default().with_unmarshal_budget(budget), async |victim| {
            let mut raw = Raw::open(&victim.url).await;
            // A number of one byte takes eight, so that seven of them are beyond the message's size.
            let numbers = |count: usize| {
                let list = [&[0xdd][..], &(count as u32).to_be_bytes(), &vec![1; count]].concat();
                wire::array(&[&list])
            };
            let most = budget / 7;
            for (count, fits) in [(most - 10, true), (most + 20, false)] {
                let reply = raw.call(1, "Target.many", &numbers(count)).await;
                if fits {
                    assert_eq!(reply.value(), (1, &Value::Uint(count as u64)), "{budget}");
                } else {
                    assert_eq!((reply.error().1, reply.error().2), (INVALID_ARGUMENT, NO), "{budget}");
                }
            }
        });
    }
}

#[test]
fn a_drain_takes_as_long_as_was_set() {
    for timeout in [Limits::default().drain_timeout(), 3 * SECOND] {
        Victim::that_goes_with(Limits::default().with_drain_timeout(timeout), async |victim| {
            let mut raw = Raw::open(&victim.url).await;
            raw.say(&wire::request(1, "Target.hold", &[0x90])).await;
            victim.ledger.running(1).await;
            let since = Instant::now();
            let drained = victim.shutdown.shutdown();
            while raw.recv().await.is_some() {}
            let took = since.elapsed();
            assert!((timeout..timeout + SECOND / 10).contains(&took), "{took:?} of {timeout:?}");
            drained.await;
        });
    }
}

#[test]
fn pauses_between_attempts_to_connect_are_those_that_were_set() {
    let default = Limits::default();
    let set = default.clone().with_backoff(SECOND / 10).with_max_backoff(SECOND / 3);
    for limits in [default, set] {
        Liar::attacks(async |liar| {
            let channel = Channel::connect(&liar.url).limits(limits.clone()).lazy().expect("a runtime");
            drop(liar.accept().await);
            let mut last = Instant::now();
            for attempt in 0..15 {
                drop(liar.accept().await);
                let middle = limits.backoff().as_secs_f64() * 1.6_f64.powi(attempt);
                let middle = middle.min(limits.max_backoff().as_secs_f64());
                let pause = last.elapsed().as_secs_f64();
                // The clock's steps are of a millisecond.
                let chance = middle * 0.79..=middle * 1.21 + 0.002;
                assert!(chance.contains(&pause), "pause {attempt} of {pause} s, around {middle} s");
                last = Instant::now();
            }
            drop(channel);
        });
    }
}

/// Whoever else is there is refused as well: neighbours are those of another server.
#[test]
fn calls_of_all_connections_may_be_as_many_as_was_set() {
    for limits in [Limits::default(), Limits::default().with_server_calls(3)] {
        let most = limits.server_calls();
        let always = Always::in_memory().with_tasks(2 * most);
        // Two connections are enough, whatever one of them may have by default.
        Victim::that_goes_but(always, limits.with_calls(most), async |victim| {
            let mut peers = [Raw::open(&victim.url).await, Raw::open(&victim.url).await];
            for number in 1..=most {
                peers[number % 2].say(&wire::request(number as u64, "Target.hold", &[0x90])).await;
            }
            victim.ledger.running(most).await;
            let started = victim.ledger.started();
            let next = most as u64 + 1;
            for raw in &mut peers {
                let refused = raw.call(next, "Target.add", &sum()).await;
                assert_eq!((refused.error().1, refused.error().2), (RESOURCE_EXHAUSTED, NO));
            }
            assert_eq!(victim.ledger.started(), started);
            peers[0].say(&wire::cancel(2)).await;
            victim.ledger.running(most - 1).await;
            let sum = peers[1].call(next + 1, "Target.add", &sum()).await;
            assert_eq!(sum.value(), (next + 1, &Value::Uint(3)));
            drop(peers);
            victim.ledger.running(0).await;
            victim.dies().await;
        });
    }
}
