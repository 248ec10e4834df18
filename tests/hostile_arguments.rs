//! Arguments that are not what they should be: outcome E, that call alone. The call fails as an invalid argument
//! that was not executed, and the next one on the same connection succeeds.

#[path = "support/hostile/mod.rs"]
mod hostile;

use hostile::raw::{Liar, Raw};
use hostile::wire::{self, INVALID_ARGUMENT, NO, PROTOCOL, Value};
use hostile::{Point, TargetClient, Victim};
use rpc::{Code, Executed, Limits};

/// Bad arguments for a method, and what the error must say.
struct Bad {
    method: &'static str,
    params: Vec<u8>,
    says: &'static [&'static str],
}

/// One array of one argument.
fn only(argument: &[u8]) -> Vec<u8> {
    wire::array(&[argument])
}

/// Sends each on one connection and a good call after each; no handler sees any of the bad ones.
fn each_fails_alone(calls: Vec<Bad>) {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        let mut id = 0;
        for Bad { method, params, says } in &calls {
            let started = victim.ledger.started();
            id += 1;
            let reply = raw.call(id, method, params).await;
            let (_, code, executed, message) = reply.error();
            assert_eq!((code, executed), (INVALID_ARGUMENT, NO), "{method}: {message}");
            for word in *says {
                assert!(message.contains(word), "{word:?} is not in {message:?}");
            }
            assert!(message.len() <= 512, "a message of {} bytes", message.len());
            assert_eq!(victim.ledger.started(), started, "{method} was executed: {message}");
            id += 1;
            let sum = raw.call(id, "Target.add", &wire::array(&[&[1], &[2]])).await;
            assert_eq!(sum.value(), (id, &Value::Uint(3)), "after {message}");
        }
        victim.serves_neighbours().await;
        drop(raw);
    });
}

#[test]
fn case_30_and_31_lengths_that_cannot_be() {
    let huge = [0xff, 0xff, 0xff, 0xff];
    let declared = |marker: u8| only(&[&[marker][..], &huge].concat());
    let bad = |method, params| Bad { method, params, says: &["(1 of ", "4294967295"] };
    each_fails_alone(vec![
        bad("Target.many", declared(0xdd)),
        bad("Target.locate", declared(0xdf)),
        bad("Target.length", wire::array(&[&[&[0xdb][..], &huge].concat(), &[0xc4, 0]])),
        Bad {
            method: "Target.length",
            params: wire::array(&[&[0xa0], &[&[0xc6][..], &huge].concat()]),
            says: &["argument `data` (2 of 2)", "4294967295"],
        },
        // The list of arguments itself.
        Bad { method: "Target.add", params: [&[0xdd][..], &huge].concat(), says: &["the arguments"] },
    ]);
}

#[test]
fn case_32_to_36_values_nested_too_deeply() {
    const LEVELS: usize = 100_000;
    let nested = |open: &[u8], core: &[u8]| only(&[&open.repeat(LEVELS)[..], core].concat());
    let entry = [&[0x81][..], &wire::text("k")].concat();
    let variant = [&[0x81, 0xa2][..], b"In"].concat();
    let unknown = [&[0x82, 0xa1][..], b"z", &[0x91].repeat(LEVELS), &[0xc0, 0xa1], b"x", &[1]].concat();
    let deep = |method, params| Bad { method, params, says: &["too deep"] };
    each_fails_alone(vec![
        // Where numbers are expected the first array is refused for what it is; a surplus argument is only skipped.
        deep("Target.small", [&[0x92, 1][..], &[0x91].repeat(LEVELS), &[0xc0]].concat()),
        deep("Target.small", [&[0x92, 1][..], &entry.repeat(LEVELS), &[0xc0]].concat()),
        deep("Target.nest", nested(&variant, &[&[0xa4][..], b"Leaf"].concat())),
        deep("Target.wrap", nested(&[0x91], &[0xc0])),
        deep("Target.locate", only(&unknown)),
    ]);
}

#[test]
fn case_37_and_38_values_larger_than_their_bytes() {
    let maps = 4_000_000u32;
    let many = [&[0xdd][..], &maps.to_be_bytes(), &vec![0x80; maps as usize]].concat();
    let headers = [0xdd, 0x00, 0xff, 0xff, 0xff].repeat(600);
    each_fails_alone(vec![
        Bad { method: "Target.heavy", params: only(&many), says: &["items", "more memory"] },
        Bad { method: "Target.many", params: only(&headers), says: &["numbers"] },
    ]);
}

#[test]
fn case_39_to_44_and_47_values_of_the_wrong_form() {
    let big = wire::uint(u64::MAX);
    let point = |fields: &[(&str, &[u8])]| {
        let entries: Vec<_> =
            fields.iter().map(|(name, value)| [wire::text(name), value.to_vec()].concat()).collect();
        only(&[&[0x80 | fields.len() as u8][..], &entries.concat()].concat())
    };
    let bad = |method, params, says| Bad { method, params, says };
    each_fails_alone(vec![
        // 39: a trailing byte
        bad("Target.add", [wire::array(&[&[1], &[2]]), vec![0]].concat(), &["the arguments", "end"]),
        // 40: the byte that is none
        bad("Target.add", wire::array(&[&[1], &[0xc1]]), &["argument `b` (2 of 2)", "0xc1"]),
        bad("Target.small", wire::array(&[&[1], &[0xc1]]), &["surplus", "0xc1"]),
        // 41: bad UTF-8
        bad("Target.length", wire::array(&[&[0xa2, 0xc3, 0x28], &[0xc4, 0]]), &["`text` (1 of 2)", "UTF-8"]),
        // 42: out of range
        bad("Target.small", only(&[0xcd, 1, 0]), &["argument `number` (1 of 1)", "u8", "256"]),
        bad("Target.small", only(&[0xff]), &["u8", "-1"]),
        bad("Target.add", wire::array(&[&[1], &big]), &["i64", "18446744073709551615"]),
        // 43: a field twice
        bad(
            "Target.locate",
            point(&[("x", &[1]), ("x", &[2])]),
            &["`point` (1 of 1)", "duplicate field `x`"],
        ),
        // 44: too few
        bad("Target.add", only(&[1]), &["argument `b` (2 of 2)", "missing"]),
        bad("Target.add", vec![0x90], &["argument `a` (1 of 2)", "missing"]),
        // 47: of another type, or no arguments at all
        bad("Target.add", wire::array(&[&[0xa1, b'x'], &[2]]), &["`a` (1 of 2)", "i64", "\"x\""]),
        bad("Target.add", wire::array(&[&[0xc0], &[2]]), &["i64", "nil"]),
        bad("Target.locate", point(&[("y", &[1])]), &["missing field `x`"]),
        bad("Target.add", vec![0xc0], &["the arguments"]),
        bad("Target.add", vec![0x80], &["the arguments"]),
        bad("Target.add", vec![0xc1], &["the arguments"]),
        bad("Target.add", vec![0x92, 1], &["the arguments", "2 elements"]),
    ]);
}

#[test]
fn case_44_surplus_arguments_are_ignored() {
    Victim::attacked(async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        let surplus = wire::array(&[&[1], &[2], &[0x81, 0xa1, b'k', 0x92, 0xc0, 0xc3], &[0xc7, 1, 9, 9]]);
        assert_eq!(raw.call(1, "Target.add", &surplus).await.value().1, &Value::Uint(3));
    });
}

#[test]
fn case_46_extremes_make_the_round_trip() {
    Victim::attacked(async |victim| {
        let client = victim.client().await;
        for (low, high) in [(i64::MIN, u64::MAX), (-1, 0), (0, 1), (i64::MAX, 1 << 63)] {
            let reply = client.extremes(low, high, String::new(), Vec::new()).await.expect("a reply");
            assert_eq!(reply, (low, high, String::new(), Vec::new()));
        }
        let numbers =
            [f64::NAN, -0.0, f64::INFINITY, f64::MIN_POSITIVE / 2.0, f64::from_bits(0x7ff0_0000_0000_0001)];
        let reply = client.floats(numbers.to_vec()).await.expect("a reply");
        let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&reply), bits(&numbers), "to the bit");
        assert_eq!(client.floats(Vec::new()).await.expect("a reply"), Vec::<f64>::new());
        assert_eq!(client.length("", &[]).await.expect("a reply"), 0);
        assert_eq!(client.locate(Point { x: i32::MIN, y: 0 }).await.expect("a reply"), i32::MIN);
    });
}

#[test]
fn case_47_an_envelope_that_is_not_sound_is_sent_away() {
    Victim::attacked(async |victim| {
        let name = wire::text("Target.add");
        let unsound = [
            vec![0xc0],
            vec![0x90],
            vec![0xc1],
            wire::array(&[&[0xa3, b'a', b'd', b'd']]),
            wire::array(&[&[0], &[1], &name]),
            wire::array(&[&[0], &[0xff], &name, &[0x90]]),
            wire::array(&[&[0], &[1], &[0xa1, 0xff], &[0x90]]),
            wire::array(&[&[0], &[1], &[0x01], &[0x90]]),
            wire::array(&[&[0], &[1], &name, &[0x90], &[0x90]]),
            wire::array(&[&[3], &[1], &name, &[0xa0], &[0x80], &[0x90]]),
            wire::array(&[&[3], &[1], &name, &[0xc0], &[0xdf, 0xff, 0xff, 0xff, 0xff], &[0x90]]),
            wire::array(&[&[6], &[0xc0]]),
            vec![0xdd, 0xff, 0xff, 0xff, 0xff, 0x00],
        ];
        for message in unsound {
            let mut raw = Raw::open(&victim.url).await;
            raw.say(&wire::request(1, "Target.hold", &[0x90])).await;
            victim.ledger.running(1).await;
            raw.say(&message).await;
            let goaway = raw.is_sent_away().await;
            assert_eq!((goaway.reason, goaway.last_id), (PROTOCOL, 1), "{message:02x?}: {}", goaway.message);
            victim.ledger.running(0).await;
        }
    });
}

#[test]
fn case_48_a_bad_response_is_its_callers_trouble_alone() {
    Liar::attacks(async |liar| {
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
        let mut raw = liar.welcome().await;
        let client = connecting.await.expect("joined").expect("connected");
        let waiting = tokio::spawn(client.add(1, 2).into_future());
        let waiting_id = raw.recv().await.expect("a request").id();

        let bad: [(&[u8], &[u8]); 12] = [
            // A value of the wrong type, cut short, too long, of bytes that are none, too large to be true.
            (&[0xc0], &[0xa1, b'x']),
            (&[0xc0], &[0xcf, 1]),
            (&[0xc0], &[1, 1]),
            (&[0xc0], &[0xc1]),
            (&[0xc0], &[]),
            (&[0xc0], &[0xdd, 0xff, 0xff, 0xff, 0xff]),
            // Errors that are none.
            (&[0x01], &[0xc0]),
            (&[0x90], &[0xc0]),
            (&[0x92, 0x05, 0x00], &[0xc0]),
            (&[0x94, 0x05, 0x00, 0x01, 0xc0], &[0xc0]),
            // An error of the procedure, which this one does not have.
            (&[0x92, 0x00, 0xa1, b'x'], &[0xc0]),
            (&[0x92, 0x00], &[0xc0]),
        ];
        for (error, value) in bad {
            let call = tokio::spawn(client.add(3, 4).into_future());
            let id = raw.recv().await.expect("a request").id();
            raw.say(&wire::array(&[&[1], &wire::uint(id), error, value])).await;
            let failed = call.await.expect("joined").expect_err("no sum");
            assert_eq!((failed.code(), failed.executed()), (Code::Internal, Executed::Yes), "{failed}");
        }
        // What the server says of a code or of what ran is taken as it is, or as unknown.
        let call = tokio::spawn(client.add(3, 4).into_future());
        let id = raw.recv().await.expect("a request").id();
        let odd = [&[0x94][..], &wire::uint(u64::MAX), &wire::uint(u64::MAX), &[0xa0, 0xc0]].concat();
        raw.say(&wire::array(&[&[1], &wire::uint(id), &odd, &[0xc0]])).await;
        let failed = call.await.expect("joined").expect_err("no sum");
        assert_eq!((failed.code(), failed.executed()), (Code::Unknown, Executed::Maybe));

        raw.say(&wire::reply(waiting_id, &[3])).await;
        assert_eq!(waiting.await.expect("joined").expect("a sum"), 3);
    });
}

#[test]
fn case_49_a_reply_too_large_names_size_and_limit() {
    Victim::attacked(async |victim| {
        let client = TargetClient::connect(&victim.url)
            .limits(Limits::default().with_message_bytes(10_000))
            .await
            .expect("connected");
        let error = client.sevens(20_000).await.expect_err("too large");
        assert_eq!((error.code(), error.executed()), (Code::ResourceExhausted, Executed::Yes));
        let message = error.message();
        assert!(message.contains("10000") && message.contains("200"), "{message}");
        assert_eq!(client.sevens(9_000).await.expect("it fits"), vec![7; 9_000]);
    });
}

#[test]
fn case_49_a_request_too_large_is_not_sent_at_all() {
    Victim::attacked_with(Limits::default().with_message_bytes(10_000), async |small| {
        let started = small.ledger.started();
        let error = small.neighbour.length("", &[7; 20_000]).await.expect_err("too large");
        assert_eq!((error.code(), error.executed()), (Code::ResourceExhausted, Executed::No));
        assert!(error.message().contains("10000") && error.message().contains("200"), "{error}");
        assert_eq!(small.ledger.started(), started);
        small.serves_neighbours().await;
    });
}
