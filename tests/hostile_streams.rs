//! Streams of peers that do as they like, against a server. Time is paused; each peer wastes its own connection at most.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::time::Duration;

use hostile::raw::Raw;
use hostile::wire::{
    self, CALM, CANCELLED, INTERNAL, INVALID_ARGUMENT, NO, PROTOCOL, RESOURCE_EXHAUSTED, UNIMPLEMENTED,
    Value, framed,
};
use hostile::{TargetClient, Victim};
use rpc::Limits;
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);
const WINDOW: u64 = 64 * 1024;

fn numbers(numbers: impl IntoIterator<Item = u64>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(wire::uint).collect()
}

/// The arguments of a method with one stream, and of one with two.
fn one() -> Vec<u8> {
    wire::array(&[&wire::stream(1)])
}

fn two() -> Vec<u8> {
    wire::array(&[&wire::stream(1), &wire::stream(2)])
}

fn to(count: u64) -> Vec<u8> {
    wire::array(&[&wire::uint(count)])
}

async fn attack(victim: &Victim) -> Raw {
    Raw::open_streams(&victim.url, WINDOW).await
}

/// The next message that is no ping.
async fn next(raw: &mut Raw) -> Value {
    timeout(60 * SECOND, raw.recv()).await.expect("it says something").expect("it is open")
}

/// The connection is as good as ever.
async fn is_served(raw: &mut Raw, id: u64) {
    let sum = raw.call(id, "Target.add", &wire::array(&[&[1], &[2]])).await;
    assert_eq!(sum.value(), (id, &Value::Uint(3)));
}

/// Items of a stream's message, as numbers.
fn items_of(message: &Value) -> Vec<u64> {
    match message.elements() {
        [Value::Uint(11), _, _, items] => items.elements().iter().map(Value::uint).collect(),
        other => panic!("expected items, got {other:?}"),
    }
}

/// The code and message with which a stream ends, if it is not a good end.
fn end_of(message: &Value) -> Option<(u64, String)> {
    match message.elements() {
        [Value::Uint(12), _, _, Value::Nil] => None,
        [Value::Uint(12), _, _, error] => {
            let [Value::Uint(code), _, Value::Text(text), _] = error.elements() else {
                panic!("expected the error of a stream, got {error:?}")
            };
            Some((*code, text.clone()))
        }
        other => panic!("expected an end, got {other:?}"),
    }
}

// ---- what ends the connection ----

/// Call 7 reads, 8 does not, 9 streams and 5 is over: what must not come after that, with the reason that it gets.
fn violations() -> Vec<(&'static str, u64, Vec<Vec<u8>>)> {
    let full = || wire::items(8, 1, &numbers(std::iter::repeat_n(200, 8_000)));
    vec![
        ("items beyond credit", CALM, vec![full(), wire::items(8, 1, &numbers([1]))]),
        (
            "one item beyond credit, and another",
            CALM,
            vec![
                wire::items(8, 2, &[wire::binary(&vec![0; 100_000])]),
                wire::items(8, 2, &[wire::binary(&vec![0; 100_000])]),
            ],
        ),
        ("credit beyond all measure", PROTOCOL, vec![wire::credit(9, 0, u64::MAX)]),
        ("credit that adds up beyond all measure", PROTOCOL, vec![wire::credit(9, 0, 1 << 61); 3]),
        ("items for a call never made", PROTOCOL, vec![wire::items(10, 1, &numbers([1]))]),
        ("an end for a call never made", PROTOCOL, vec![wire::end(1 << 40, 1)]),
        ("credit for a call never made", PROTOCOL, vec![wire::credit(10, 0, 1)]),
        ("a stop for a call never made", PROTOCOL, vec![wire::stop(u64::MAX, 0)]),
        ("items of an argument beyond those declared", PROTOCOL, vec![wire::items(7, 2, &numbers([1]))]),
        ("an end of an argument beyond those declared", PROTOCOL, vec![wire::end(8, 3)]),
        ("items of the reply, from the wrong side", PROTOCOL, vec![wire::items(9, 0, &numbers([1]))]),
        ("an end of the reply, from the wrong side", PROTOCOL, vec![wire::end(9, 0)]),
        ("credit for a reply that was not given", PROTOCOL, vec![wire::credit(8, 0, 1)]),
        ("credit for an argument, from the wrong side", PROTOCOL, vec![wire::credit(8, 1, 1)]),
        ("stream 17", PROTOCOL, vec![wire::items(8, 17, &numbers([1]))]),
        ("stream 255", PROTOCOL, vec![wire::end(8, 255)]),
        ("stream 2^64 - 1", PROTOCOL, vec![wire::credit(8, u64::MAX, 1)]),
        ("a stream of that number in an optional message", PROTOCOL, vec![wire::blocked(8, 17)]),
        ("an open with 17 streams", PROTOCOL, vec![wire::open(10, "Target.total", 17, &one())]),
        ("an open with an id in use", PROTOCOL, vec![wire::open(8, "Target.total", 1, &one())]),
        ("a request with the id of an open call", PROTOCOL, vec![wire::request(8, "Target.hold", &[0x90])]),
        ("an end twice", PROTOCOL, vec![wire::end(8, 1), wire::end(8, 1)]),
        ("items after the end", PROTOCOL, vec![wire::end(8, 1), wire::items(8, 1, &numbers([1]))]),
        ("no items, and bytes behind them", PROTOCOL, vec![wire::counted(8, 1, 0, &[1])]),
        ("items that are no array", PROTOCOL, vec![wire::array(&[&[11], &[8], &[1], &[0xc0]])]),
        ("an item message of three elements", PROTOCOL, vec![wire::array(&[&[11], &[8], &[1]])]),
        ("bytes behind an end", PROTOCOL, vec![[wire::end(8, 1), vec![1]].concat()]),
        ("bytes behind a credit", PROTOCOL, vec![[wire::credit(9, 0, 1), vec![1]].concat()]),
        ("negative credit", PROTOCOL, vec![wire::array(&[&[13], &[9], &[0], &[0xff]])]),
        ("101 messages without an item", CALM, vec![wire::items(8, 1, &[]); 101]),
        ("101 messages of items that take no bytes", CALM, vec![wire::counted(8, 1, 7, &[]); 101]),
        ("a reply that is a stream to nobody", PROTOCOL, vec![wire::stream_reply(1 << 20)]),
    ]
}

/// Opens the calls of which [`violations`] are said.
async fn opened(victim: &Victim) -> Raw {
    let others = victim.ledger.counts().running;
    let mut raw = attack(victim).await;
    let calls = [
        wire::open(5, "Target.total", 1, &one()),
        wire::end(5, 1),
        wire::open(7, "Target.distrust", 1, &one()),
        wire::open(8, "Target.neglect", 2, &two()),
        wire::open(9, "Target.count", 0, &to(1_000_000)),
    ];
    for call in &calls {
        raw.say(call).await;
    }
    // The handlers run, and the stream flows until its credit is used up.
    let (mut total, mut blocked) = (false, false);
    while !(total && blocked) {
        let message = next(&mut raw).await;
        total |= message.kind() == 1 && message.id() == 5;
        blocked |= message.kind() == 64;
    }
    victim.ledger.running(others + 3).await;
    raw
}

#[test]
fn what_must_not_come_ends_its_connection_and_no_other() {
    Victim::attacked(async |victim| {
        for (what, reason, messages) in violations() {
            for sliced in [false, true] {
                let mut raw = opened(victim).await;
                let bytes: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
                if sliced && bytes.len() < 2_000 {
                    for byte in bytes {
                        raw.send(&[byte]).await;
                    }
                } else {
                    raw.send(&bytes).await;
                }
                let goaway = raw.is_sent_away().await;
                assert_eq!(goaway.reason, reason, "{what}: {}", goaway.message);
                let took = victim.ledger.running(0).await;
                assert!(took < SECOND / 10, "{what}: {took:?}");
            }
            victim.is_at_rest().await;
        }
    });
}

#[test]
fn case_25_a_hundred_messages_without_an_item_are_borne() {
    Victim::attacked(async |victim| {
        let mut raw = opened(victim).await;
        for _ in 0..3 {
            raw.send(&framed(&wire::items(8, 1, &[])).repeat(100)).await;
            raw.say(&wire::items(8, 2, &numbers([1]))).await;
        }
        is_served(&mut raw, 20).await;
        raw.send(&framed(&wire::items(8, 1, &[])).repeat(101)).await;
        assert_eq!(raw.is_sent_away().await.reason, CALM);
    });
}

// ---- what is late, or odd, and no more than that ----

#[test]
fn what_may_have_been_on_its_way_is_ignored() {
    Victim::attacked(async |victim| {
        let mut raw = opened(victim).await;
        let late = [
            // Of a call that is over, of ids that were left out, of calls that never had streams.
            wire::items(5, 1, &numbers([1])),
            wire::items(5, 16, &numbers([1])),
            wire::end(5, 1),
            wire::credit(5, 0, u64::MAX),
            wire::stop(5, 0),
            wire::items(6, 1, &numbers([1])),
            wire::end(1, 16),
            wire::credit(3, 0, 1),
            // Optional, so that nobody has to know of what it speaks.
            wire::blocked(5, 1),
            wire::blocked(1 << 50, 0),
            wire::array(&[&[64]]),
            wire::array(&[&[64], &[8]]),
            wire::cancel(5),
            wire::cancel(1 << 50),
        ];
        for message in late.iter().chain(late.iter().rev()) {
            raw.say(message).await;
        }
        raw.send(&late.iter().flat_map(|message| framed(message)).collect::<Vec<_>>().repeat(50)).await;
        is_served(&mut raw, 20).await;
        assert_eq!(victim.ledger.counts().running, 3);
        // A stream that was stopped twice, and is given credit, ends once.
        for message in
            [wire::stop(9, 0), wire::stop(9, 0), wire::credit(9, 0, u64::MAX), wire::credit(9, 0, 1)]
        {
            raw.say(&message).await;
        }
        assert_eq!(end_of(&next(&mut raw).await), None);
        raw.say(&wire::credit(9, 0, u64::MAX)).await;
        is_served(&mut raw, 21).await;
        drop(raw);
    });
}

#[test]
fn a_cancelled_call_is_answered_and_what_follows_is_ignored() {
    Victim::attacked(async |victim| {
        let mut raw = opened(victim).await;
        for id in [8, 9] {
            raw.say(&wire::cancel(id)).await;
            raw.say(&wire::items(id, 1, &[])).await;
            raw.say(&wire::cancel(id)).await;
            let last = next(&mut raw).await;
            let code = if id == 8 { last.error().1 } else { end_of(&last).expect("no good end").0 };
            assert_eq!((last.id(), code), (id, CANCELLED));
            for late in [wire::items(id, 1, &numbers([1])), wire::end(id, 1), wire::credit(id, 0, 1)] {
                raw.say(&late).await;
            }
        }
        is_served(&mut raw, 20).await;
        victim.ledger.running(1).await;
        drop(raw);
    });
}

// ---- what ends one call, or one stream ----

#[test]
fn calls_of_the_wrong_kind_are_refused_or_answered() {
    Victim::attacked(async |victim| {
        let mut raw = attack(victim).await;
        let started = victim.ledger.started();
        // A method with streams, called as if it had none.
        for (id, method, params) in
            [(1, "Target.count", to(5)), (2, "Target.total", one()), (3, "Target.neglect", two())]
        {
            let refused = raw.call(id, method, &params).await;
            let (_, code, executed, message) = refused.error();
            assert_eq!((code, executed), (UNIMPLEMENTED, NO), "{message}");
        }
        // What stands at the place of a stream is none of the call's, or none at all.
        for (id, declared, params) in [
            (4, 0, one()),
            (5, 1, wire::array(&[&wire::stream(2)])),
            (6, 1, wire::array(&[&wire::stream(0)])),
            (7, 1, wire::array(&[&wire::stream(255)])),
            (8, 1, wire::array(&[&[7]])),
            (9, 1, wire::array(&[&[0xd5, 1, 0, 1]])),
            (10, 1, wire::array(&[&[0xd4, 2, 1]])),
            (11, 1, wire::array(&[&[0xc0]])),
            (12, 1, vec![0x90]),
            (13, 16, vec![0xdd, 255, 255, 255, 255]),
        ] {
            raw.say(&wire::open(id, "Target.total", declared, &params)).await;
            if declared > 0 {
                raw.say(&wire::items(id, declared, &numbers([1]))).await;
            }
            let refused = next(&mut raw).await;
            let (of, code, executed, message) = refused.error();
            assert_eq!((of, code, executed), (id, INVALID_ARGUMENT, NO), "{message}");
        }
        let twice = wire::array(&[&wire::stream(1), &wire::stream(1)]);
        raw.say(&wire::open(14, "Target.neglect", 2, &twice)).await;
        assert_eq!(next(&mut raw).await.kind(), 13, "what was taken already is let go");
        let refused = next(&mut raw).await;
        assert_eq!((refused.error().1, refused.error().2), (INVALID_ARGUMENT, NO));
        raw.say(&wire::open(15, "Target.nothing", 1, &one())).await;
        raw.say(&wire::items(15, 1, &numbers([1]))).await;
        raw.say(&wire::end(15, 1)).await;
        let refused = next(&mut raw).await;
        assert_eq!((refused.error().1, refused.error().2), (UNIMPLEMENTED, NO));
        assert_eq!(victim.ledger.started(), started, "nothing of this was executed");

        // A method without streams, called as if it had some, answers as ever; surplus streams are not looked at.
        for (id, declared) in [(20, 0), (21, 1), (22, 16)] {
            raw.say(&wire::open(id, "Target.add", declared, &wire::array(&[&[1], &[2]]))).await;
            if declared > 0 {
                raw.say(&wire::items(id, declared, &numbers([1]))).await;
            }
            assert_eq!(next(&mut raw).await.value(), (id, &Value::Uint(3)));
        }
        raw.say(&wire::open(23, "Target.total", 16, &one())).await;
        raw.say(&wire::items(23, 16, &numbers([5]))).await;
        raw.say(&wire::items(23, 1, &numbers([7]))).await;
        raw.say(&wire::end(23, 1)).await;
        assert_eq!(next(&mut raw).await.value(), (23, &Value::Uint(7)));
        drop(raw);
    });
}

#[test]
fn items_that_cannot_be_understood_end_their_stream_alone() {
    Victim::attacked(async |victim| {
        let mut raw = attack(victim).await;
        let bad: Vec<(&str, Vec<u8>)> = vec![
            ("of another type", wire::items(1, 1, &[wire::text("x")])),
            ("one of them of another type", wire::items(1, 1, &[vec![1], vec![0xc3], vec![2]])),
            ("a stream in a stream", wire::items(1, 1, &[wire::stream(1)])),
            ("out of range", wire::items(1, 1, &[vec![0xff]])),
            ("the byte that means nothing", wire::items(1, 1, &[vec![0xc1]])),
            ("cut", wire::items(1, 1, &[vec![0xcf, 0, 0]])),
            ("nested", wire::items(1, 1, &[vec![0x91; 60_000]])),
            ("fewer than declared", wire::counted(1, 1, 3, &[1, 2])),
            ("fewer than declared by far", wire::counted(1, 1, u32::MAX, &[1, 2])),
            ("declared, and nothing there", wire::counted(1, 1, u32::MAX, &[])),
            ("more than declared", wire::counted(1, 1, 2, &[1, 2, 3])),
            ("an array that declares much", wire::items(1, 1, &[vec![0xdd, 255, 255, 255, 255]])),
        ];
        for (index, (what, message)) in bad.iter().enumerate() {
            let id = 2 * index as u64 + 1;
            let of = |id: u64| {
                let mut message = message.clone();
                assert_eq!(message[2], 1, "the id");
                message[2] = id as u8;
                message
            };
            // The handler learns of it, and nobody else.
            raw.say(&wire::open(id, "Target.total", 1, &one())).await;
            raw.say(&of(id)).await;
            let stop = next(&mut raw).await;
            assert_eq!((stop.kind(), stop.id()), (13, id), "{what}: {stop:?}");
            let failed = next(&mut raw).await;
            let (of_call, code, ..) = failed.error();
            assert_eq!((of_call, code), (id, INTERNAL), "{what}");
            // A handler that goes on has lost that stream, whose producer is stopped.
            raw.say(&wire::open(id + 1, "Target.distrust", 1, &one())).await;
            raw.say(&of(id + 1)).await;
            let stop = next(&mut raw).await;
            assert_eq!(stop.elements()[0], Value::Uint(13), "{what}: {stop:?}");
            assert_eq!(stop.elements()[3], Value::Nil, "{what}: {stop:?}");
            raw.say(&wire::items(id + 1, 1, &numbers([1]))).await;
            raw.say(&wire::end(id + 1, 1)).await;
            victim.gate.add_permits(1);
            assert_eq!(next(&mut raw).await.id(), id + 1, "{what}");
        }
        is_served(&mut raw, 100).await;
        drop(raw);
    });
}

#[test]
fn ends_of_every_kind_reach_the_handler_as_errors() {
    Victim::attacked(async |victim| {
        let mut raw = attack(victim).await;
        for (id, (error, code)) in [
            (wire::array(&[&[15], &[2], &wire::text("gone"), &[0xc0]]), 15),
            (wire::array(&[&wire::uint(u64::MAX), &[9], &wire::text("?"), &[0xc0]]), 2),
            // The producer's own error, which this method does not have.
            (wire::array(&[&[0], &[7]]), INTERNAL),
            // None of both shapes.
            (vec![7], INTERNAL),
            (vec![0x90], INTERNAL),
            (vec![0xc1], INTERNAL),
            (wire::array(&[&[15], &[2], &[7], &[0xc0]]), INTERNAL),
        ]
        .into_iter()
        .enumerate()
        {
            let id = id as u64 + 1;
            raw.say(&wire::open(id, "Target.total", 1, &one())).await;
            raw.say(&wire::items(id, 1, &numbers([1]))).await;
            raw.say(&wire::end_with(id, 1, &error)).await;
            assert_eq!(next(&mut raw).await.error().1, code, "{error:02x?}");
        }
        drop(raw);
    });
}

// ---- floods ----

#[test]
fn case_85_a_flood_of_opens_and_cancels_never_runs_more_than_the_limit() {
    const LIMIT: usize = 8;
    Victim::attacked_with(Limits::default().with_streams(LIMIT), async |victim| {
        let mut raw = attack(victim).await;
        let rounds = 5_000;
        let flood = async |from: u64, send: &mut rpc::SendHalf| {
            for id in from..from + rounds {
                let messages = [
                    wire::open(id, "Target.neglect", 2, &two()),
                    wire::items(id, 1, &numbers([1])),
                    wire::cancel(id),
                    wire::items(id, 2, &numbers([1])),
                    wire::end(id, 1),
                ];
                let bytes: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
                tokio::io::AsyncWriteExt::write_all(send, &bytes).await.expect("it is read");
            }
            tokio::io::AsyncWriteExt::flush(send).await.expect("it is read");
        };
        let Raw { recv, mut send } = raw;
        let mut reader = Raw { recv, send: Box::new(tokio::io::sink()) };
        let (started, ()) = tokio::join!(
            async {
                let mut answered = std::collections::HashSet::new();
                while answered.len() < rounds as usize {
                    let last = next(&mut reader).await;
                    let (id, code, ..) = last.error();
                    assert!(answered.insert(id), "call {id} is answered twice");
                    assert!([CANCELLED, RESOURCE_EXHAUSTED].contains(&code), "{last:?}");
                    assert!(victim.ledger.counts().running <= LIMIT);
                }
                victim.ledger.started()
            },
            flood(1, &mut send)
        );
        assert!(started <= rounds as usize + 1);
        raw = Raw { recv: reader.recv, send };
        is_served(&mut raw, 1_000_000).await;
        // Every place is free again.
        for id in 0..LIMIT as u64 {
            raw.say(&wire::open(1_000_001 + id, "Target.neglect", 2, &two())).await;
        }
        victim.ledger.running(LIMIT).await;
        drop(raw);
    });
}

#[test]
fn a_flood_of_blocked_is_answered_as_often_as_a_window_grows() {
    Victim::attacked(async |victim| {
        let mut raw = attack(victim).await;
        raw.say(&wire::open(1, "Target.total", 1, &one())).await;
        victim.ledger.running(1).await;
        raw.send(&framed(&wire::blocked(1, 1)).repeat(100_000)).await;
        let mut window = WINDOW;
        raw.say(&wire::ping(77)).await;
        loop {
            let message = next(&mut raw).await;
            match message.elements() {
                [Value::Uint(13), _, _, Value::Uint(bytes)] => window += bytes,
                [Value::Uint(8), Value::Uint(77)] => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(window, 4 << 20);
        drop(raw);
    });
}

#[test]
fn a_stream_above_the_limit_is_refused_and_places_come_back() {
    for limit in [Limits::default().streams(), 3] {
        Victim::attacked_with(Limits::default().with_streams(limit), async |victim| {
            let mut raw = attack(victim).await;
            for id in 1..=limit as u64 {
                raw.say(&wire::open(id, "Target.total", 1, &one())).await;
            }
            victim.ledger.running(limit).await;
            for id in 2_010..2_020 {
                raw.say(&wire::open(id, "Target.total", 1, &one())).await;
                raw.say(&wire::items(id, 1, &numbers([1]))).await;
                raw.say(&wire::end(id, 1)).await;
                let refused = next(&mut raw).await;
                let (_, code, executed, message) = refused.error();
                assert_eq!((code, executed), (RESOURCE_EXHAUSTED, NO));
                assert!(message.contains(&limit.to_string()), "{message}");
            }
            // Calls without streams have places of their own.
            is_served(&mut raw, 2_030).await;
            raw.say(&wire::end(2, 1)).await;
            assert_eq!(next(&mut raw).await.value(), (2, &Value::Uint(0)));
            raw.say(&wire::open(2_040, "Target.total", 1, &one())).await;
            victim.ledger.running(limit).await;
            drop(raw);
        });
    }
}

#[test]
fn case_89_a_peer_that_vanishes_with_256_streams_leaves_nothing_behind() {
    Victim::attacked(async |victim| {
        for orderly in [false, true] {
            let mut raw = Raw::open_streams(&victim.url, 1).await;
            for id in 0..64 {
                raw.say(&wire::open(4 * id + 1, "Target.count", 0, &to(1_000_000))).await;
                raw.say(&wire::open(4 * id + 2, "Target.total", 1, &one())).await;
                raw.say(&wire::items(4 * id + 2, 1, &numbers([1]))).await;
                raw.say(&wire::open(4 * id + 3, "Target.neglect", 2, &two())).await;
                raw.say(&wire::items(4 * id + 3, 2, &numbers([1]))).await;
                raw.say(&wire::open(4 * id + 4, "Target.echo", 1, &one())).await;
            }
            victim.ledger.running(256).await;
            if orderly {
                raw.finish().await;
            }
            drop(raw);
            let took = victim.ledger.running(0).await;
            assert!(took < SECOND / 10, "{took:?}");
            victim.is_at_rest().await;
        }
    });
}

// ---- credit ----

#[test]
fn case_64_a_peer_that_gives_no_credit_is_sent_its_window_and_one_message() {
    for window in [1, 100, WINDOW] {
        Victim::attacked(async |victim| {
            let mut raw = Raw::open_streams(&victim.url, window).await;
            raw.say(&wire::open(1, "Target.count", 0, &to(10_000_000))).await;
            assert_eq!(next(&mut raw).await.value(), (1, &Value::Stream(0)));
            let mut count = 0;
            loop {
                let message = next(&mut raw).await;
                if message.kind() == 64 {
                    break;
                }
                for number in items_of(&message) {
                    assert_eq!(number, count);
                    count += 1;
                }
            }
            // A batch is about 16 KiB, and a number takes five bytes at most here.
            assert!(count * 5 >= window && count <= window + 20_000, "{count} numbers for {window} bytes");
            is_served(&mut raw, 2).await;
            victim.serves_neighbours().await;
            assert_eq!(victim.ledger.counts().running, 1, "it waits");
            drop(raw);
            let took = victim.ledger.running(0).await;
            assert!(took < SECOND / 10, "{took:?}");
        });
    }
}

#[test]
fn case_65_ten_thousand_streams_opened_and_abandoned_leave_all_places_and_credit() {
    const PLACES: usize = 64;
    Victim::attacked_with(Limits::default().with_streams(PLACES), async |victim| {
        let client = victim.client().await;
        for number in 0..10_000_u64 {
            // Some have more to give than there is credit for, and some are not looked at.
            let count = if number % 50 == 0 { 1_000_000 } else { 5 };
            let mut stream = client.count(count).await.expect("a place");
            if number % 3 > 0 {
                assert_eq!(stream.next().await.expect("an item").expect("a number"), 0);
            }
        }
        victim.ledger.running(0).await;
        let mut streams = Vec::new();
        for _ in 0..PLACES {
            streams.push(client.count(40_000).await.expect("a place"));
        }
        victim.ledger.running(PLACES).await;
        // More than a window: its credit comes again as it is used.
        for mut stream in streams.into_iter().step_by(16) {
            for number in 0..40_000 {
                assert_eq!(stream.next().await.expect("an item").expect("a number"), number);
            }
            assert!(stream.next().await.is_none());
        }
    });
}

#[test]
fn a_peer_that_gives_a_byte_at_a_time_is_served_as_slowly_as_it_likes() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open_streams(&victim.url, 1).await;
        // Items come from this side, and so one by one.
        raw.say(&wire::open(1, "Target.echo", 1, &one())).await;
        assert_eq!(next(&mut raw).await.value(), (1, &Value::Stream(0)));
        for number in 0..200 {
            raw.say(&wire::items(1, 1, &numbers([number]))).await;
            assert_eq!(items_of(&next(&mut raw).await), [number]);
            // A number of two bytes leaves a byte to be made up for.
            let owed = if number < 128 { 1 } else { 2 };
            for _ in 0..owed {
                is_served(&mut raw, 1_000 + number).await;
                raw.say(&wire::credit(1, 0, 1)).await;
            }
        }
        raw.say(&wire::end(1, 1)).await;
        assert_eq!(end_of(&next(&mut raw).await), None);
        drop(raw);
    });
}

#[test]
fn a_stream_that_nobody_takes_ends_at_the_drain_limit() {
    Victim::that_goes(async |victim| {
        let mut raw = attack(victim).await;
        raw.say(&wire::open(1, "Target.count", 0, &to(10_000_000))).await;
        raw.say(&wire::open(2, "Target.total", 1, &one())).await;
        victim.ledger.running(2).await;
        let since = Instant::now();
        victim.shutdown.shutdown().await;
        let took = since.elapsed();
        assert!((30 * SECOND..32 * SECOND).contains(&took), "{took:?}");
        assert_eq!(victim.ledger.counts().running, 0);
    });
}

#[test]
fn a_handler_that_outlives_its_caller_does_not_outlive_it_for_ever() {
    Victim::attacked(async |victim| {
        let mut raw = attack(victim).await;
        for (id, replied) in [(1, false), (2, true)] {
            raw.say(&wire::open(id, "Target.outlive", 1, &one())).await;
            raw.say(&wire::items(id, 1, &numbers([5]))).await;
            if replied {
                raw.say(&wire::end(id, 1)).await;
                assert_eq!(next(&mut raw).await.value(), (id, &Value::Stream(0)));
                while next(&mut raw).await.kind() != 64 {}
            }
            victim.ledger.running(1).await;
            raw.say(&wire::cancel(id)).await;
            let last = next(&mut raw).await;
            let code = if replied { end_of(&last).expect("no good end").0 } else { last.error().1 };
            assert_eq!((last.id(), code), (id, CANCELLED));
            let took = victim.ledger.running(0).await;
            assert!(took < SECOND / 10, "{took:?}");
        }
        is_served(&mut raw, 3).await;
        drop(raw);
    });
}

// ---- bytes ----

/// A session with streams in every direction, whose answers come in one order.
fn session() -> Vec<u8> {
    let messages = [
        wire::open(1, "Target.echo", 1, &one()),
        wire::items(1, 1, &numbers(0..200)),
        wire::items(1, 1, &numbers([1 << 40])),
        wire::end(1, 1),
        wire::blocked(1, 1),
    ];
    messages.iter().flat_map(|message| framed(message)).collect()
}

/// All numbers that come before the end.
async fn echoed(raw: &mut Raw) -> Vec<u64> {
    assert_eq!(next(raw).await.value(), (1, &Value::Stream(0)));
    let mut all = Vec::new();
    loop {
        let message = next(raw).await;
        if message.kind() == 12 {
            assert_eq!(end_of(&message), None);
            return all;
        }
        all.extend(items_of(&message));
    }
}

#[test]
fn case_05_and_06_one_byte_slices_and_one_write_give_the_same_items() {
    Victim::attacked(async |victim| {
        let expected: Vec<u64> = (0..200).chain([1 << 40]).collect();
        for piece in [1, 2, 7, usize::MAX] {
            let mut raw = attack(victim).await;
            for piece in session().chunks(piece.min(session().len())) {
                raw.send(piece).await;
            }
            assert_eq!(echoed(&mut raw).await, expected);
            is_served(&mut raw, 2).await;
        }
    });
}

#[test]
fn case_04_an_end_at_every_byte_of_a_session_with_streams_drops_its_handlers() {
    Victim::attacked(async |victim| {
        let session = session();
        for end in 0..=session.len() {
            let mut raw = attack(victim).await;
            raw.send(&session[..end]).await;
            raw.finish().await;
            while let Some(message) = timeout(SECOND, raw.recv()).await.expect("closed within a second") {
                assert_ne!(message.kind(), 9, "an end is no violation, after {end} bytes: {message:?}");
            }
            drop(raw);
            let took = victim.ledger.running(0).await;
            assert!(took <= SECOND / 10, "{took:?} after {end} bytes");
        }
    });
}

#[test]
fn case_08_a_half_closed_peer_gets_its_stream_or_learns_that_it_is_not_whole() {
    Victim::attacked(async |victim| {
        for (count, whole) in [(1_000, true), (10_000_000, false)] {
            let mut raw = attack(victim).await;
            raw.say(&wire::open(1, "Target.count", 0, &to(count))).await;
            raw.say(&wire::goaway(u64::MAX, wire::DRAIN, "")).await;
            raw.finish().await;
            let mut came = 0;
            let end = loop {
                let message = next(&mut raw).await;
                match message.kind() {
                    11 => came += items_of(&message).len() as u64,
                    12 => break end_of(&message),
                    _ => {}
                }
            };
            assert_eq!((end.is_none(), came == count), (whole, whole), "{came} of {count}, {end:?}");
            drop(raw);
            victim.is_at_rest().await;
        }
    });
}

#[test]
fn honest_clients_beside_all_this_stream_as_ever() {
    Victim::attacked(async |victim| {
        let client: TargetClient = victim.client().await;
        let mut count = client.count(1_000_000).await.expect("a stream");
        let mut expected = 0;
        for (_, _, messages) in violations() {
            let mut raw = opened(victim).await;
            for message in &messages {
                raw.say(message).await;
            }
            raw.is_sent_away().await;
            for _ in 0..1_000 {
                let number = count.next().await.expect("there are more").expect("a number");
                assert_eq!(number, expected);
                expected += 1;
            }
            assert_eq!(client.total(rpc::iter(0..100)).await.expect("a sum"), 4_950);
        }
        drop(count);
        victim.ledger.running(0).await;
    });
}
