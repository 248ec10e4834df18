//! Streams over a link: a producer that waits for credit, a consumer that gives it back, and either of them that goes.

use std::future::Future;
use std::sync::Arc;
use std::task::Waker;

use super::super::flows::Served;
use super::super::link::Link;
use super::world::{Bell, Open, Wire, begin, block_on, flush, join, model, receive, spawn};
use crate::failure::Ending;
use crate::limits::Limits;
use crate::marshal::{STREAM_REPLY, Shape};
use crate::message::{
    Credit, Message, REPLY_STREAM, StreamName, encode_cancel, encode_credit, encode_end, encode_items,
    encode_value,
};
use crate::stream::{CallStreams, Plain, Pump, Streaming, iter};
use crate::{Call, Code, Error};

fn limits(window: usize) -> Limits {
    Limits::default().with_stream_bytes(window).with_max_stream_bytes(window)
}

/// An item that goes alone.
const ITEM_BYTES: usize = 16 * 1024;

const CALL: u64 = 1;

/// What sends the reply of a call, so many items, to a side that gives credit for one at first.
fn producer(items: usize) -> (Open, impl Future<Output = Option<Ending>> + Send) {
    let open = Open::serving(Limits::default(), &limits(1));
    open.admit(CALL, Some(0));
    let outlet = Served::new(open.link.clone(), CALL, 0).reply().expect("it is wanted");
    let items = iter(std::iter::repeat_n("x".repeat(ITEM_BYTES), items));
    (open, Pump::new(Box::pin(Plain::new(items)), outlet, Shape::Named))
}

fn sizes(open: &Open) -> Vec<usize> {
    open.wire.sent(|message| match message {
        Message::Items(items) => Some(items.bytes.len()),
        _ => None,
    })
}

#[test]
fn a_producer_sends_all_that_it_has_credit_for_and_no_more() {
    model(4, || {
        let (open, pump) = producer(3);
        let produces = spawn(move || block_on(pump));
        for given in 0..2 {
            flush(&open.link);
            assert!(sizes(&open).len() <= 1 + given, "it waits for credit");
            let name = StreamName { call: CALL, stream: REPLY_STREAM };
            let mut credit = Vec::new();
            encode_credit(&mut credit, Credit { name, bytes: Some(ITEM_BYTES as u64 + 3) });
            receive(&open.link, &credit);
        }
        assert!(matches!(join(produces), Some(Ok(()))));
        flush(&open.link);
        assert_eq!(sizes(&open), [ITEM_BYTES + 3; 3]);
    });
}

#[test]
fn a_producer_that_waits_learns_that_its_call_is_cancelled() {
    model(4, || {
        let (open, pump) = producer(2);
        let produces = spawn(move || block_on(pump));
        let mut cancel = Vec::new();
        encode_cancel(&mut cancel, CALL);
        receive(&open.link, &cancel);
        assert!(join(produces).is_none(), "nobody wants it");
    });
}

/// The other side of a call whose reply is a stream.
struct Producing {
    link: Arc<Link>,
    wire: Arc<Wire>,
    call: u64,
    task: Arc<Bell>,
}

impl Producing {
    fn name(&self) -> StreamName {
        StreamName { call: self.call, stream: REPLY_STREAM }
    }

    /// Sends one item, of one byte.
    fn item(&self, value: u8) {
        let mut message = Vec::new();
        encode_items(&mut message, self.name(), 1);
        message.push(value);
        receive(&self.link, &message);
    }

    fn end(&self) {
        let mut message = Vec::new();
        encode_end(&mut message, self.name(), None);
        receive(&self.link, &message);
    }

    /// How much credit has been given, the first window apart.
    fn credit(&self) -> usize {
        // As the connection's task does.
        self.link.lock().kicked = false;
        flush(&self.link);
        let credits = self.wire.sent(|message| match message {
            Message::Credit(credit) => credit.bytes,
            _ => None,
        });
        credits.into_iter().sum::<u64>() as usize
    }
}

/// A stream that is consumed here, with a window of one byte, and who produces it there.
fn consumer() -> (Open, Streaming<u8>, Producing) {
    let open = Open::with_limits(limits(1), &Limits::default());
    let task = Bell::new();
    open.link.lock().register(&Waker::from(task.clone()));
    let mut call: Call<Streaming<u8>> = open.channel.call("m", ());
    begin(&mut call);
    let id = open.wire.calls()[0];
    let mut opens = Vec::new();
    encode_value(&mut opens, id, None);
    opens.extend_from_slice(&STREAM_REPLY);
    receive(&open.link, &opens);
    let stream = block_on(call).expect("a stream");
    let producing = Producing { link: open.link.clone(), wire: open.wire.clone(), call: id, task };
    (open, stream, producing)
}

#[test]
fn credit_comes_back_for_all_that_is_consumed() {
    const ITEMS: usize = 3;
    model(4, || {
        let (open, mut stream, producing) = consumer();
        let produces = spawn(move || {
            for sent in 0..ITEMS {
                while producing.credit() < sent {
                    producing.task.wait();
                }
                producing.item(sent as u8);
            }
            producing.end();
            producing.credit()
        });
        let mut items = Vec::new();
        while let Some(item) = block_on(stream.next()) {
            items.push(usize::from(item.expect("an item")));
        }
        assert_eq!(items, [0, 1, 2]);
        assert!((ITEMS - 1..=ITEMS).contains(&join(produces)), "a byte for each that was consumed");
        assert_eq!(open.link.lock().connection.rest(), Default::default());
    });
}

#[test]
fn nothing_is_left_of_a_stream_that_is_dropped() {
    model(4, || {
        let (open, stream, producing) = consumer();
        let produces = spawn(move || {
            producing.item(1);
            producing.end();
        });
        drop(stream);
        join(produces);
        assert_eq!(open.link.lock().connection.rest(), Default::default());
    });
}

#[test]
fn a_stream_ends_when_its_connection_is_lost() {
    model(4, || {
        let (open, mut stream, producing) = consumer();
        let link = open.link.clone();
        let produces = spawn(move || {
            producing.item(1);
            link.close(Error::new(Code::Unavailable, "the connection was lost"));
        });
        let mut ends = 0;
        while let Some(item) = block_on(stream.next()) {
            ends += usize::from(item.is_err());
        }
        assert_eq!(ends, 1, "one error, and nothing behind it");
        join(produces);
    });
}
