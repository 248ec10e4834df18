//! Fragments as no honest peer sends them, against a server and against a client.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::time::Duration;

use hostile::raw::{Liar, Raw};
use hostile::wire::{self, FRAME, PROTOCOL, STALL, Value, fragment, framed, in_fragments};
use hostile::{TargetClient, Victim};
use rpc::{Code, Executed, Limits};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const MIB: u64 = 1 << 20;

/// The hello of a peer that knows fragments.
fn hello() -> Vec<u8> {
    wire::hello_with(1, 1, &["fragments"], &[("frame_bytes", 4 << 20), ("calls", 1_024)])
}

async fn open(url: &str) -> Raw {
    let mut raw = Raw::connect(url).await;
    raw.greet(&hello()).await;
    raw
}

/// A client, and the liar's end of its connection.
async fn connected(liar: &mut Liar) -> (TargetClient, Raw) {
    let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
    let mut raw = liar.accept().await;
    raw.recv_hello().await;
    raw.send(&hello()).await;
    (connecting.await.expect("joined").expect("connected"), raw)
}

fn sum() -> Vec<u8> {
    wire::array(&[&[1], &[2]])
}

/// A call with an argument of so many bytes.
fn large(id: u64, bytes: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..bytes).map(|index| (index % 251) as u8).collect();
    wire::request(id, "Target.length", &wire::array(&[&wire::text(""), &wire::binary(&data)]))
}

fn all(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|message| framed(message)).collect()
}

/// What nobody may send, what it is called and how it ends.
fn violations() -> Vec<(&'static str, Vec<Vec<u8>>, u64)> {
    let begun = || fragment(1, Some(5), b"abc");
    let seventeen = (0..17).map(|number| fragment(number, Some(5), b"abc")).collect();
    let together = vec![fragment(1, Some(40 * MIB), b"a"), fragment(2, Some(30 * MIB), b"b")];
    vec![
        ("more is left than was said", vec![begun(), fragment(1, Some(9), b"d")], PROTOCOL),
        ("less is left than was said", vec![begun(), fragment(1, Some(3), b"d")], PROTOCOL),
        ("it ends too soon", vec![begun(), fragment(1, Some(0), b"d")], PROTOCOL),
        ("it ends too late", vec![begun(), fragment(1, Some(0), b"abcdefgh")], PROTOCOL),
        ("the same piece again", vec![begun(), begun()], PROTOCOL),
        ("the pieces in another order", vec![begun(), fragment(1, Some(0), b"gh")], PROTOCOL),
        ("longer than a message may be", vec![fragment(1, Some(64 * MIB), b"a")], FRAME),
        ("longer than anything may be", vec![fragment(1, Some(u64::MAX), b"a")], FRAME),
        ("longer than any number", vec![fragment(1, Some(u64::MAX - 1), b"abc")], FRAME),
        ("two that are too long together", together, FRAME),
        ("seventeen at once", seventeen, FRAME),
        ("a fragment in fragments", in_fragments(1, &fragment(2, Some(0), &wire::ping(1)), 4), PROTOCOL),
        ("a fragment in a fragment", vec![fragment(1, Some(0), &begun())], PROTOCOL),
        ("a hello in fragments", in_fragments(1, &hello()[8..], 5), PROTOCOL),
        ("nothing that is not the end", vec![begun(), fragment(1, Some(5), b"")], PROTOCOL),
        ("a beginning of nothing", vec![fragment(1, Some(5), b"")], PROTOCOL),
        ("a message of nothing", vec![fragment(1, Some(0), b"")], PROTOCOL),
        ("a message of noise", vec![fragment(1, Some(0), &[0xc1; 40])], PROTOCOL),
        ("given up and never begun", vec![begun(), fragment(2, None, b"")], PROTOCOL),
        ("given up twice", vec![begun(), fragment(1, None, b""), fragment(1, None, b"")], PROTOCOL),
        ("given up with data", vec![begun(), fragment(1, None, b"d")], PROTOCOL),
        (
            "it goes on after it was given up",
            {
                vec![
                    begun(),
                    fragment(1, None, b""),
                    fragment(1, Some(0), b"defgh"),
                    fragment(1, Some(0), b"d"),
                ]
            },
            PROTOCOL,
        ),
        ("no data at all", vec![wire::array(&[&wire::uint(14), &wire::uint(1), &wire::uint(0)])], PROTOCOL),
        (
            "data that is no binary",
            { vec![wire::array(&[&wire::uint(14), &wire::uint(1), &wire::uint(0), &wire::text("text")])] },
            PROTOCOL,
        ),
        (
            "a number that is none",
            {
                vec![wire::array(&[&wire::uint(14), &wire::text("one"), &wire::uint(0), &wire::binary(b"d")])]
            },
            PROTOCOL,
        ),
    ]
}

#[test]
fn what_nobody_may_send_is_sent_away_by_a_server() {
    Victim::attacked(async |victim| {
        let before = victim.ledger.started();
        for (what, messages, reason) in violations() {
            let bytes = all(&messages);
            for slice in [1, 7, bytes.len()] {
                let mut raw = open(&victim.url).await;
                for slice in bytes.chunks(slice) {
                    raw.send(slice).await;
                    // So that each slice is a read of its own.
                    tokio::task::yield_now().await;
                }
                let goaway = raw.is_sent_away().await;
                assert_eq!(goaway.reason, reason, "{what}, in slices of {slice}: {}", goaway.message);
                assert!(goaway.before.is_empty(), "{what}: {:?}", goaway.before);
            }
        }
        assert_eq!(victim.ledger.started(), before, "none of this was a call");
    });
}

#[test]
fn what_nobody_may_send_is_sent_away_by_a_client() {
    Liar::attacks(async |liar| {
        for (what, messages, reason) in violations() {
            let (client, mut raw) = connected(liar).await;
            let call = tokio::spawn(client.add(1, 2).into_future());
            raw.recv().await.expect("a request");
            raw.send(&all(&messages)).await;
            let goaway = raw.is_sent_away().await;
            assert_eq!(goaway.reason, reason, "{what}: {}", goaway.message);
            let error = timeout(SECOND, call).await.expect("at once").expect("joined").expect_err("no reply");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe), "{what}");
        }
    });
}

#[test]
fn a_side_that_has_not_named_them_sends_none() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        raw.send(&all(&in_fragments(1, &large(1, 300), 100))).await;
        assert_eq!(raw.is_sent_away().await.reason, PROTOCOL);
        // And it gets none: what does not fit its frames is not sent.
        let mut raw = Raw::connect(&victim.url).await;
        raw.greet(&wire::hello_with(1, 1, &[], &[("frame_bytes", MIB), ("calls", 8)])).await;
        let fits = wire::array(&[&wire::uint(MIB - 100)]);
        let reply = raw.call(1, "Target.sevens", &fits).await;
        assert_eq!(reply.value().1.elements().len() as u64, MIB - 100);
        let above = wire::array(&[&wire::uint(MIB)]);
        let refused = raw.call(2, "Target.sevens", &above).await;
        assert_eq!(refused.error().1, wire::RESOURCE_EXHAUSTED);
        drop(raw);
    });
}

#[test]
fn a_message_that_is_never_finished_is_sent_away_after_thirty_seconds_whatever_else_comes() {
    Victim::attacked(async |victim| {
        for in_a_fragment in [false, true] {
            let mut raw = open(&victim.url).await;
            let begun = framed(&fragment(1, Some(MIB), &[7; 1_000]));
            // Between two fragments, or within the first one.
            raw.send(&begun[..begun.len() - usize::from(in_a_fragment)]).await;
            let since = Instant::now();
            if !in_a_fragment {
                for id in 1..30 {
                    sleep(SECOND).await;
                    // Neither small calls nor other large ones let it wait longer.
                    raw.send(&all(&in_fragments(2, &large(id, 2_000), 500))).await;
                    assert_eq!(raw.recv().await.expect("a reply").value(), (id, &Value::Uint(2_000)));
                }
            }
            let goaway = raw.is_sent_away().await;
            assert_eq!(goaway.reason, STALL, "{}", goaway.message);
            let took = since.elapsed();
            assert!((30 * SECOND..31 * SECOND).contains(&took), "{took:?}");
        }
    });
}

#[test]
fn a_message_that_goes_on_slowly_is_taken_and_its_stall_is_the_one_that_was_set() {
    let limits = Limits::default().with_stall_timeout(3 * SECOND);
    Victim::attacked_with(limits, async |victim| {
        let mut raw = open(&victim.url).await;
        for piece in in_fragments(1, &large(1, 2_000), 100) {
            sleep(2 * SECOND).await;
            raw.say(&piece).await;
        }
        assert_eq!(raw.recv().await.expect("a reply").value(), (1, &Value::Uint(2_000)));
        raw.say(&fragment(1, Some(9), b"abc")).await;
        let since = Instant::now();
        assert_eq!(raw.is_sent_away().await.reason, STALL);
        assert_eq!(since.elapsed().as_secs(), 3);
    });
}

#[test]
fn any_message_may_come_in_fragments_of_any_size() {
    Victim::attacked(async |victim| {
        for bytes in [1, 2, 3, 13, 1_000] {
            let mut raw = open(&victim.url).await;
            raw.send(&all(&in_fragments(0, &wire::ping(7), bytes))).await;
            assert_eq!(raw.recv().await, Some(Value::Array(vec![Value::Uint(8), Value::Uint(7)])));
            raw.send(&all(&in_fragments(9, &wire::request(1, "Target.hold", &[0x90]), bytes))).await;
            victim.ledger.running(1).await;
            raw.send(&all(&in_fragments(u64::MAX, &wire::cancel(1), bytes))).await;
            victim.ledger.running(0).await;
            raw.send(&all(&in_fragments(9, &wire::request(2, "Target.add", &sum()), bytes))).await;
            assert_eq!(raw.recv().await.expect("a reply").value(), (2, &Value::Uint(3)));
            // One that ends in a piece of one byte.
            let add = wire::request(3, "Target.add", &sum());
            raw.say(&fragment(1, Some(1), &add[..add.len() - 1])).await;
            raw.say(&fragment(1, Some(0), &add[add.len() - 1..])).await;
            assert_eq!(raw.recv().await.expect("a reply").value(), (3, &Value::Uint(3)));
        }
    });
}

/// Three large calls whose fragments take turns, with small ones between, and one that is given up.
fn session() -> Vec<u8> {
    let calls = [(1, 3_000), (2, 5_000), (3, 300_000)];
    let mut pieces: Vec<_> =
        calls.iter().map(|(id, bytes)| in_fragments(*id, &large(*id, *bytes), 900 * *id as usize)).collect();
    pieces.iter_mut().for_each(|pieces| pieces.reverse());
    let mut messages = vec![fragment(7, Some(1_000), b"never")];
    for round in 0.. {
        let before = messages.len();
        messages.extend(pieces.iter_mut().filter_map(Vec::pop));
        if messages.len() == before {
            break;
        }
        if round == 2 {
            messages.push(wire::request(100, "Target.add", &sum()));
            messages.push(fragment(7, None, b""));
        }
    }
    messages.push(wire::ping(5));
    all(&messages)
}

#[test]
fn case_05_and_06_fragments_in_slices_of_any_size() {
    Victim::attacked(async |victim| {
        let session = session();
        for slice in [1, 2, 5, 41, 1_000, 16_384, 65_537, session.len()] {
            let mut raw = open(&victim.url).await;
            for slice in session.chunks(slice) {
                raw.send(slice).await;
                tokio::task::yield_now().await;
            }
            let mut values = Vec::new();
            let mut pongs = 0;
            while values.len() < 4 || pongs == 0 {
                let message = raw.recv().await.expect("an answer");
                match message.kind() {
                    8 => pongs += 1,
                    _ => values.push((message.value().0, message.value().1.uint())),
                }
            }
            values.sort_unstable();
            assert_eq!(values, [(1, 3_000), (2, 5_000), (3, 300_000), (100, 3)], "in slices of {slice}");
        }
    });
}

#[test]
fn case_26_small_calls_pass_between_the_fragments_of_a_large_one() {
    Victim::attacked(async |victim| {
        let mut raw = open(&victim.url).await;
        let fragments = in_fragments(7, &large(1, 2 << 20), 64 << 10);
        let (last, fragments) = fragments.split_last().expect("more than one");
        for (id, fragment) in (2..).zip(fragments) {
            raw.say(fragment).await;
            assert_eq!(raw.call(id, "Target.add", &sum()).await.value(), (id, &Value::Uint(3)));
        }
        raw.say(last).await;
        assert_eq!(raw.recv().await.expect("a reply").value(), (1, &Value::Uint(2 << 20)));
    });
}

#[test]
fn case_26_small_replies_pass_between_the_fragments_of_a_large_one() {
    Victim::attacked(async |victim| {
        let mut raw = open(&victim.url).await;
        let sevens = wire::array(&[&wire::uint(2 << 20)]);
        raw.say(&wire::request(1, "Target.sevens", &sevens)).await;
        let (mut come, mut rest) = (0, u64::MAX);
        for id in 2..20 {
            raw.say(&wire::request(id, "Target.add", &sum())).await;
            let mut between = 0;
            loop {
                let message = raw.recv().await.expect("a fragment or a reply");
                match message.elements() {
                    [Value::Uint(14), _, left, Value::Binary(data)] => {
                        (come, rest) = (come + data.len(), left.uint());
                        between += data.len();
                    }
                    _ => break assert_eq!(message.value(), (id, &Value::Uint(3))),
                }
            }
            // What a pipe holds, and one fragment or two.
            assert!(between <= 256 << 10, "{between} bytes of the large one came before a small reply");
        }
        assert!(rest > 0, "the large one is still on its way after {come} bytes");
        while rest > 0 {
            rest = raw.recv().await.expect("a fragment").elements()[2].uint();
        }
    });
}

#[test]
fn case_04_an_end_within_a_large_call_starts_nothing() {
    Victim::attacked(async |victim| {
        let before = victim.ledger.started();
        let bytes = all(&in_fragments(1, &large(1, 700), 100));
        for end in 0..bytes.len() {
            let mut raw = open(&victim.url).await;
            raw.send(&bytes[..end]).await;
            raw.finish().await;
            while let Some(message) = timeout(SECOND, raw.recv()).await.expect("closed within a second") {
                assert_ne!(message.kind(), 9, "an end is no violation, after {end} bytes: {message:?}");
            }
        }
        assert_eq!(victim.ledger.started(), before);
    });
}

#[test]
fn a_large_message_in_fragments_of_one_byte_costs_as_much_as_so_many_frames() {
    Victim::attacked(async |victim| {
        let mut raw = open(&victim.url).await;
        // Far slower than that if each of them moved what came before it, or looked through it.
        let mut took = Vec::new();
        for (id, bytes) in [(1, 50_000), (2, 400_000)] {
            let bytes_of_fragments = all(&in_fragments(1, &large(id, bytes), 1));
            let since = std::time::Instant::now();
            raw.send(&bytes_of_fragments).await;
            assert_eq!(raw.recv().await.expect("a reply").value(), (id, &Value::Uint(bytes as u64)));
            took.push(since.elapsed());
        }
        assert!(took[1] < 40 * took[0] + SECOND, "eight times as many took {took:?}");
        victim.serves_neighbours().await;
    });
}

#[test]
fn a_flood_of_messages_begun_and_given_up_leaves_nothing() {
    Victim::attacked(async |victim| {
        let mut raw = open(&victim.url).await;
        let round: Vec<_> = (0..16)
            .map(|number| fragment(number, Some(3 * MIB), &[7; 100]))
            .chain((0..16).map(|number| fragment(number, None, b"")))
            .collect();
        let round = all(&round);
        for _ in 0..2_000 {
            raw.send(&round).await;
        }
        victim.serves_neighbours().await;
        assert_eq!(raw.call(1, "Target.add", &sum()).await.value(), (1, &Value::Uint(3)));
        raw.send(&all(&in_fragments(3, &large(2, 1_000_000), 65_536))).await;
        assert_eq!(raw.recv().await.expect("a reply").value(), (2, &Value::Uint(1_000_000)));
        drop(raw);
    });
}

#[test]
fn a_reply_in_fragments_of_any_size_is_a_reply() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar).await;
        for bytes in [1, 7, 100_000] {
            let call = tokio::spawn(client.floats(vec![1.0]).into_future());
            let id = raw.recv().await.expect("a request").id();
            let numbers =
                [&[0xdd][..], &20_000u32.to_be_bytes(), &[0xcb, 0, 0, 0, 0, 0, 0, 0, 0].repeat(20_000)];
            let reply = wire::reply(id, &numbers.concat());
            raw.send(&all(&in_fragments(4, &reply, bytes))).await;
            assert_eq!(call.await.expect("joined").expect("numbers"), vec![0.0; 20_000], "pieces of {bytes}");
        }
        // Whoever has gone does not wait for the rest, and what comes of it is nobody's.
        let call = tokio::spawn(client.floats(vec![1.0]).into_future());
        let id = raw.recv().await.expect("a request").id();
        let pieces = in_fragments(4, &wire::reply(id, &[0x90]), 3);
        raw.say(&pieces[0]).await;
        sleep(Duration::from_millis(1)).await;
        call.abort();
        assert_eq!(raw.recv().await.expect("a cancel").kind(), 6);
        raw.send(&all(&pieces[1..])).await;
        let call = tokio::spawn(client.add(1, 2).into_future());
        let id = raw.recv().await.expect("a request").id();
        raw.say(&wire::reply(id, &[3])).await;
        assert_eq!(call.await.expect("joined").expect("a sum"), 3);
    });
}
