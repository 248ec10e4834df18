//! A client with streams against a server that does as it likes.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hostile::TargetClient;
use hostile::raw::{Liar, Raw};
use hostile::wire::{self, CALM, PROTOCOL, Value, framed};
use rpc::{Code, Error, Executed, Stream, Streaming};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);
const WINDOW: u64 = 64 * 1024;

fn numbers(numbers: impl IntoIterator<Item = u64>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(wire::uint).collect()
}

async fn connected(liar: &mut Liar, window: u64) -> (TargetClient, Raw) {
    let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
    let raw = liar.welcome_with(&wire::hello_streams(window)).await;
    (connecting.await.expect("joined").expect("connected"), raw)
}

/// The next message that is no ping.
async fn next(raw: &mut Raw) -> Value {
    timeout(60 * SECOND, raw.recv()).await.expect("it says something").expect("it is open")
}

/// A call that streams, whose reply has come, and its id.
async fn streaming(client: &TargetClient, raw: &mut Raw) -> (Streaming<u64>, u64) {
    let call = tokio::spawn(client.count(7).into_future());
    let open = next(raw).await;
    assert_eq!((open.kind(), &open.elements()[5]), (15, &Value::Uint(0)));
    raw.say(&wire::stream_reply(open.id())).await;
    (call.await.expect("joined").expect("a stream"), open.id())
}

/// A plain call is answered as ever.
async fn is_served(client: &TargetClient, raw: &mut Raw) {
    let call = tokio::spawn(client.add(1, 2).into_future());
    let request = next(raw).await;
    assert_eq!(request.kind(), 0, "{request:?}");
    raw.say(&wire::reply(request.id(), &[3])).await;
    assert_eq!(call.await.expect("joined").expect("a sum"), 3);
}

fn may_have_run(error: &Error) {
    assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe), "{error}");
}

/// A stream that counts how many of its items were asked for, and how many of its like there are.
struct Watched {
    next: u64,
    asked: Arc<AtomicUsize>,
    alive: Arc<AtomicUsize>,
}

impl Watched {
    fn new() -> (Self, Arc<AtomicUsize>, Arc<AtomicUsize>) {
        let (asked, alive) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(1)));
        (Watched { next: 0, asked: asked.clone(), alive: alive.clone() }, asked, alive)
    }
}

impl Stream for Watched {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u64>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.next += 1;
        Poll::Ready(Some(self.next - 1))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn is_gone(alive: &AtomicUsize) {
    let since = Instant::now();
    while alive.load(Ordering::Relaxed) > 0 {
        assert!(since.elapsed() < 2 * SECOND, "a producer lives on");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

// ---- what ends the connection ----

type Make = fn(u64) -> Vec<Vec<u8>>;

#[test]
fn what_must_not_come_ends_the_connection_and_each_call_once() {
    let wrong: &[(&str, u64, Make)] = &[
        ("items beyond credit", CALM, |id| {
            vec![
                wire::items(id, 0, &numbers(std::iter::repeat_n(200, 8_000))),
                wire::items(id, 0, &numbers([1])),
            ]
        }),
        ("credit beyond all measure", PROTOCOL, |id| vec![wire::credit(id, 1, u64::MAX)]),
        ("items for a call never made", PROTOCOL, |id| vec![wire::items(id + (1 << 20), 0, &numbers([1]))]),
        ("items for call 0", PROTOCOL, |_| vec![wire::items(0, 0, &numbers([1]))]),
        ("an end for a call never made", PROTOCOL, |_| vec![wire::end(u64::MAX, 0)]),
        ("credit for a call never made", PROTOCOL, |_| vec![wire::credit(1, 1, 1)]),
        ("credit for an argument beyond those declared", PROTOCOL, |id| vec![wire::credit(id, 2, 1)]),
        ("a stop of an argument beyond those declared", PROTOCOL, |id| vec![wire::stop(id, 16)]),
        ("items of an argument, from the wrong side", PROTOCOL, |id| vec![wire::items(id, 1, &numbers([1]))]),
        ("credit for the reply, from the wrong side", PROTOCOL, |id| vec![wire::credit(id, 0, 1)]),
        ("stream 17", PROTOCOL, |id| vec![wire::items(id, 17, &numbers([1]))]),
        ("an end twice", PROTOCOL, |id| vec![wire::end(id, 0), wire::end(id, 0)]),
        ("items after the end", PROTOCOL, |id| vec![wire::end(id, 0), wire::items(id, 0, &numbers([1]))]),
        ("credit after the end", PROTOCOL, |id| vec![wire::end(id, 0), wire::credit(id, 1, 1)]),
        ("101 messages without an item", CALM, |id| vec![wire::items(id, 0, &[]); 101]),
        ("101 messages of items that take no bytes", CALM, |id| vec![wire::counted(id, 0, 9, &[]); 101]),
        ("no items, and bytes behind them", PROTOCOL, |id| vec![wire::counted(id, 0, 0, &[1])]),
    ];
    Liar::attacks(async |liar| {
        for (what, reason, make) in wrong {
            let (client, mut raw) = connected(liar, 1).await;
            let (watched, _, alive) = Watched::new();
            let call = tokio::spawn(client.echo(watched).into_future());
            let id = next(&mut raw).await.id();
            raw.say(&wire::stream_reply(id)).await;
            let mut echo = call.await.expect("joined").expect("a stream");
            let pending = tokio::spawn(client.total(rpc::iter(0..)).into_future());
            let bytes: Vec<u8> = make(id).iter().flat_map(|message| framed(message)).collect();
            raw.send(&bytes).await;
            let goaway = raw.is_sent_away().await;
            assert_eq!(goaway.reason, *reason, "{what}: {}", goaway.message);
            let error =
                timeout(SECOND, pending).await.expect("at once").expect("joined").expect_err("no reply");
            may_have_run(&error);
            // What had come may still be taken; then it ends, well only if it had ended.
            let ended = make(id)[0] == wire::end(id, 0);
            loop {
                match timeout(SECOND, echo.next()).await.expect("at once") {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        assert!(error.code() == Code::Internal || !ended, "{what}: {error}");
                        break;
                    }
                    None => {
                        assert!(ended, "{what}");
                        break;
                    }
                }
            }
            assert!(echo.next().await.is_none(), "{what}");
            is_gone(&alive).await;
        }
    });
}

#[test]
fn items_before_the_reply_end_the_connection() {
    Liar::attacks(async |liar| {
        let early: [Make; 3] = [
            |id| vec![wire::items(id, 0, &numbers([1]))],
            |id| vec![wire::end(id, 0)],
            |id| vec![wire::reply(id, &[7]), wire::end(id, 0)],
        ];
        for make in early {
            let (client, mut raw) = connected(liar, WINDOW).await;
            let call = tokio::spawn(client.count(7).into_future());
            let id = next(&mut raw).await.id();
            for message in make(id) {
                raw.say(&message).await;
            }
            assert_eq!(raw.is_sent_away().await.reason, PROTOCOL);
            let error = call.await.expect("joined").expect_err("no stream");
            assert!([Code::Unavailable, Code::Internal].contains(&error.code()), "{error}");
        }
    });
}

// ---- what is odd, and no more than that ----

#[test]
fn case_29_a_second_reply_changes_nothing() {
    let second: [fn(u64) -> Vec<u8>; 4] = [
        wire::stream_reply,
        |id| wire::reply(id, &[7]),
        |id| wire::array(&[&[1], &wire::uint(id), &wire::array(&[&[0], &[7]]), &[0xc0]]),
        |id| {
            wire::array(&[
                &[1],
                &wire::uint(id),
                &wire::array(&[&[13], &[2], &wire::text("x"), &[0xc0]]),
                &[0xc0],
            ])
        },
    ];
    Liar::attacks(async |liar| {
        for make in second {
            let (client, mut raw) = connected(liar, WINDOW).await;
            let (mut count, id) = streaming(&client, &mut raw).await;
            let messages = [
                make(id),
                wire::items(id, 0, &numbers([1])),
                make(id),
                wire::items(id, 0, &numbers([2])),
                wire::end(id, 0),
                make(id),
                make(id),
            ];
            raw.send(&messages.iter().flat_map(|message| framed(message)).collect::<Vec<_>>()).await;
            is_served(&client, &mut raw).await;
            assert_eq!(count.next().await.expect("an item").expect("a number"), 1);
            raw.say(&make(id)).await;
            assert_eq!(count.next().await.expect("an item").expect("a number"), 2);
            assert!(count.next().await.is_none());
            raw.say(&make(id)).await;
            is_served(&client, &mut raw).await;
            // No place was given back twice, and none too few: the next stream has one.
            let (next_count, _) = streaming(&client, &mut raw).await;
            drop(next_count);
        }
    });
}

#[test]
fn late_messages_of_a_call_that_was_dropped_are_ignored() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar, WINDOW).await;
        for replied in [false, true] {
            let id = if replied {
                let (count, id) = streaming(&client, &mut raw).await;
                drop(count);
                id
            } else {
                let call = tokio::spawn(client.count(7).into_future());
                let id = next(&mut raw).await.id();
                call.abort();
                id
            };
            let cancel = next(&mut raw).await;
            assert_eq!((cancel.kind(), cancel.id()), (6, id));
            if !replied {
                raw.say(&wire::stream_reply(id)).await;
            }
            for _ in 0..200 {
                raw.say(&wire::items(id, 0, &numbers(std::iter::repeat_n(200, 1_000)))).await;
                raw.say(&wire::blocked(id, 0)).await;
            }
            is_served(&client, &mut raw).await;
            raw.say(&wire::end(id, 0)).await;
            is_served(&client, &mut raw).await;
        }
    });
}

#[test]
fn replies_of_the_wrong_kind_fail_their_call_and_stop_what_comes_with_them() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar, WINDOW).await;

        // A stream to a call that has none.
        let call = tokio::spawn(client.add(1, 2).into_future());
        let id = next(&mut raw).await.id();
        raw.say(&wire::stream_reply(id)).await;
        let error = call.await.expect("joined").expect_err("no sum");
        assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes));

        // A stream to a call that has some, and whose reply is a value: its producer is stopped.
        let (watched, _, alive) = Watched::new();
        let call = tokio::spawn(client.total(watched).into_future());
        let id = next(&mut raw).await.id();
        raw.say(&wire::stream_reply(id)).await;
        let error = call.await.expect("joined").expect_err("no sum");
        assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes));
        is_gone(&alive).await;
        while next(&mut raw).await.kind() != 6 {}
        raw.say(&wire::items(id, 0, &numbers([1]))).await;
        raw.say(&wire::end(id, 0)).await;

        // A value to a call whose reply is a stream; another extension; an error of its own, which it does not have.
        for (value, error) in [
            (&[7][..], &[0xc0][..]),
            (&[0xd4, 1, 1], &[0xc0]),
            (&[0xd4, 2, 0], &[0xc0]),
            (&[0xc0], &[0x92, 0, 7]),
        ] {
            let call = tokio::spawn(client.count(7).into_future());
            let id = next(&mut raw).await.id();
            raw.say(&wire::array(&[&[1], &wire::uint(id), error, value])).await;
            let error = call.await.expect("joined").expect_err("no stream");
            assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes), "{value:02x?}");
        }
        is_served(&client, &mut raw).await;
    });
}

#[test]
fn a_stream_reply_with_too_much_metadata_is_cancelled() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar, WINDOW).await;
        let call = tokio::spawn(client.count(7).into_future());
        let id = next(&mut raw).await.id();
        let metadata = [&[0x81][..], &wire::text("name"), &wire::text(&"v".repeat(9_000))].concat();
        raw.say(&wire::array(&[&[4], &wire::uint(id), &metadata, &[0xc0], &wire::stream(0)])).await;
        let error = call.await.expect("joined").expect_err("too much");
        assert_eq!((error.code(), error.executed()), (Code::ResourceExhausted, Executed::Yes));
        let cancel = next(&mut raw).await;
        assert_eq!((cancel.kind(), cancel.id()), (6, id));
        raw.say(&wire::end(id, 0)).await;
        is_served(&client, &mut raw).await;
    });
}

#[test]
fn items_that_cannot_be_understood_end_their_stream_and_its_call() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar, WINDOW).await;
        let bad: [fn(u64) -> Vec<u8>; 7] = [
            |id| wire::items(id, 0, &[wire::text("x")]),
            |id| wire::items(id, 0, &[vec![0xc1]]),
            |id| wire::items(id, 0, &[vec![0x91; 60_000]]),
            |id| wire::counted(id, 0, 2, &[1]),
            |id| wire::counted(id, 0, u32::MAX, &[1]),
            |id| wire::counted(id, 0, u32::MAX, &[]),
            |id| wire::counted(id, 0, 1, &[1, 2]),
        ];
        for make in bad {
            let (mut count, id) = streaming(&client, &mut raw).await;
            raw.say(&make(id)).await;
            let error = loop {
                match count.next().await.expect("an error") {
                    Ok(number) => assert_eq!(number, 1),
                    Err(error) => break error,
                }
            };
            assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes));
            assert!(count.next().await.is_none());
            let cancel = next(&mut raw).await;
            assert_eq!((cancel.kind(), cancel.id()), (6, id));
            raw.say(&wire::end(id, 0)).await;
        }
        is_served(&client, &mut raw).await;
    });
}

#[test]
fn a_goaway_that_disowns_a_stream_that_flows_does_not_end_it() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar, WINDOW).await;
        let (mut flows, id) = streaming(&client, &mut raw).await;
        let (mut ended, other) = streaming(&client, &mut raw).await;
        raw.say(&wire::items(other, 0, &numbers([5]))).await;
        raw.say(&wire::end(other, 0)).await;
        for _ in 0..3 {
            raw.say(&wire::goaway(0, wire::DRAIN, "")).await;
        }
        raw.say(&wire::items(id, 0, &numbers([6]))).await;
        raw.say(&wire::end(id, 0)).await;
        for (count, number) in [(&mut ended, 5), (&mut flows, 6)] {
            assert_eq!(count.next().await.expect("an item").expect("a number"), number);
            assert!(count.next().await.is_none());
        }
    });
}

// ---- credit ----

#[test]
fn a_server_that_gives_no_credit_holds_up_one_producer_and_nobody_else() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar, 1_000).await;
        let tasks = Handle::current().metrics().num_alive_tasks();
        let (watched, asked, alive) = Watched::new();
        let call: JoinHandle<Result<u64, Error>> = tokio::spawn(client.total(watched).into_future());
        let open = next(&mut raw).await;
        assert_eq!(open.elements()[5], Value::Uint(1));
        let mut count = 0;
        loop {
            let message = next(&mut raw).await;
            match message.kind() {
                11 => count += message.elements()[3].elements().len(),
                64 => break,
                other => panic!("a message of kind {other}"),
            }
        }
        // One message beyond the window, which is a batch.
        assert!((1_000 / 3..20_000).contains(&count), "{count} items");
        is_served(&client, &mut raw).await;
        tokio::time::sleep(SECOND).await;
        let ahead = asked.load(Ordering::Relaxed) - count;
        assert!(ahead < 20_000, "{ahead} items were asked for in vain");
        // The server has had enough of it, or its caller has.
        raw.say(&wire::stop(open.id(), 1)).await;
        is_gone(&alive).await;
        let end = next(&mut raw).await;
        assert_eq!((end.kind(), end.id()), (12, open.id()));
        raw.say(&wire::stop(open.id(), 1)).await;
        raw.say(&wire::credit(open.id(), 1, u64::MAX)).await;
        raw.say(&wire::reply(open.id(), &[3])).await;
        assert_eq!(call.await.expect("joined").expect("a sum"), 3);

        let (watched, _, alive) = Watched::new();
        let call = tokio::spawn(client.total(watched).into_future());
        while next(&mut raw).await.kind() != 64 {}
        call.abort();
        is_gone(&alive).await;
        assert_eq!(next(&mut raw).await.kind(), 6);
        is_served(&client, &mut raw).await;
        let since = Instant::now();
        while Handle::current().metrics().num_alive_tasks() > tasks {
            assert!(since.elapsed() < 2 * SECOND, "tasks are left");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn case_89_a_server_that_vanishes_leaves_no_producer_and_no_consumer() {
    Liar::attacks(async |liar| {
        let (client, mut raw) = connected(liar, 1_000).await;
        let tasks = Handle::current().metrics().num_alive_tasks();
        let mut producers = Vec::new();
        let mut calls = Vec::new();
        for _ in 0..256 {
            let (watched, _, alive) = Watched::new();
            producers.push(alive);
            calls.push(tokio::spawn(client.total(watched).into_future()));
        }
        let call = tokio::spawn(client.count(7).into_future());
        let id = loop {
            let message = next(&mut raw).await;
            if message.kind() == 15 && message.elements()[5] == Value::Uint(0) {
                break message.id();
            }
        };
        raw.say(&wire::stream_reply(id)).await;
        let mut count = call.await.expect("joined").expect("a stream");
        raw.say(&wire::items(id, 0, &numbers([1]))).await;
        is_quiet(&mut raw).await;
        drop(raw);
        for call in calls {
            let error = timeout(SECOND, call).await.expect("at once").expect("joined").expect_err("no reply");
            assert_eq!(error.code(), Code::Unavailable);
        }
        assert_eq!(count.next().await.expect("an item").expect("it had come"), 1);
        may_have_run(&count.next().await.expect("an end").expect_err("the connection is lost"));
        for alive in producers {
            is_gone(&alive).await;
        }
        drop((client, liar));
        let since = Instant::now();
        while Handle::current().metrics().num_alive_tasks() > tasks {
            assert!(since.elapsed() < 2 * SECOND, "tasks are left");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Reads until nothing comes any more.
async fn is_quiet(raw: &mut Raw) {
    while timeout(SECOND, raw.recv()).await.is_ok_and(|message| message.is_some()) {}
}

#[test]
fn a_server_without_streams_is_sent_none() {
    Liar::attacks(async |liar| {
        let connecting = tokio::spawn(TargetClient::connect(&liar.url).into_future());
        let mut raw = liar.welcome().await;
        let client = connecting.await.expect("joined").expect("connected");
        let error = client.count(7).await.expect_err("no streams");
        assert_eq!((error.code(), error.executed()), (Code::Unimplemented, Executed::No));
        let (watched, asked, alive) = Watched::new();
        let error = client.total(watched).await.expect_err("no streams");
        assert_eq!((error.code(), error.executed()), (Code::Unimplemented, Executed::No));
        is_gone(&alive).await;
        assert_eq!(asked.load(Ordering::Relaxed), 0, "a producer is not asked before its call is sent");
        is_served(&client, &mut raw).await;
    });
}
