//! Streams: what flows in is kept until it is consumed, what flows out goes as far as its credit.

use std::time::Instant;

use super::super::calls::Place;
use super::super::streams::{Caller, Leave, Received, StreamKey, Taken};
use super::super::transfers::{Owner, Transfer};
use super::{Connection, Effects, HEAD_BYTES, Violation};
use crate::broken::{self, Flaw};
use crate::failure::{Ending, Failure};
use crate::limits::BATCH_BYTES;
use crate::marshal::{Payload, STREAM_REPLY};
use crate::message::{
    self, Credit, ITEM_HEAD_BYTES, Items, Reason, StreamName, Verdict, encode_app_end, encode_blocked,
    encode_credit, encode_end, encode_items, encode_value,
};
use crate::{Code, Error, Executed, Metadata};

/// While more than this waits to be written, streams wait too: they are to fill the connection, not its memory.
const CROWD_BYTES: usize = 256 * 1024;

/// How many item messages without an item may come in a row.
const MOST_EMPTY: u32 = 100;

/// Items on their way out, marshalled one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) count: u32,
    pub(crate) bytes: BatchBytes<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum BatchBytes<'a> {
    /// Copied, side by side with what else goes out.
    Small(&'a [u8]),
    /// Sent from where they lie.
    Large(&'a Payload),
}

impl BatchBytes<'_> {
    fn len(&self) -> usize {
        match self {
            BatchBytes::Small(bytes) => bytes.len(),
            BatchBytes::Large(bytes) => bytes.len(),
        }
    }
}

impl<C: Clone, W, H> Connection<C, W, H> {
    // ---- what flows out ----

    /// Sends items, or stores who waits until that is possible.
    pub(crate) fn send_items(
        &mut self,
        key: StreamKey,
        batch: Batch<'_>,
        waiter: impl FnOnce(&mut Option<W>),
    ) -> Leave {
        let crowd = self.outbox.len() >= CROWD_BYTES;
        let leave = self.streams.ask(key, batch.bytes.len(), crowd, waiter);
        match leave {
            Leave::Given => {
                let head = |out: &mut Vec<u8>| encode_items(out, key.name, batch.count);
                let size = batch.bytes.len() + ITEM_HEAD_BYTES;
                if self.peer.sizes.is_large(size) {
                    let owner = Owner::Items(key);
                    let transfer = match batch.bytes {
                        BatchBytes::Small(bytes) => {
                            Transfer::new(owner, head, &Payload::from_slice(bytes), &[])
                        }
                        BatchBytes::Large(payload) => Transfer::new(owner, head, payload, &[]),
                    };
                    self.push_of_stream(key, transfer);
                    return leave;
                }
                let before = self.outbox.len();
                match batch.bytes {
                    BatchBytes::Small(bytes) => self.outbox.push_copied(bytes, head),
                    BatchBytes::Large(payload) => self.outbox.push(payload, head),
                }
                self.queued += (self.outbox.len() - before) as u64;
            }
            Leave::Blocked => self.push_message(|out| encode_blocked(out, key.name)),
            Leave::Wait | Leave::Over => {}
        }
        leave
    }

    /// How large a batch of items may be for the other side.
    pub(crate) fn largest_batch(&self) -> usize {
        self.peer.sizes.largest().saturating_sub(ITEM_HEAD_BYTES)
    }

    /// Whether nobody wants a stream any more; stores who is to learn of it otherwise.
    pub(crate) fn is_stream_over(&mut self, key: StreamKey, waiter: impl FnOnce(&mut Option<W>)) -> bool {
        self.streams.is_over(key, waiter)
    }

    /// Ends a stream among the arguments of a call.
    pub(crate) fn end_argument(&mut self, key: StreamKey, ending: &Ending) {
        if self.streams.finish(key) && self.is_open() {
            self.push_end(key, ending);
        }
    }

    /// Gives the reply to a call, which is a stream. False if nobody wants it any more.
    pub(crate) fn open_reply(&mut self, call: u64, metadata: Option<&Metadata>) -> bool {
        let size = HEAD_BYTES + metadata.map_or(0, |metadata| 2 * metadata.bytes());
        let limit = self.peer.sizes.largest();
        if size > limit {
            let message =
                format!("a reply of {size} bytes, the caller takes messages of {limit} bytes at most");
            if let Some(streams) = self.streams.get(Caller::There, call) {
                let error = Error::new(Code::ResourceExhausted, message).with_executed(Executed::Yes);
                streams.stopped.get_or_insert(error.into());
            }
            return false;
        }
        let wanted = self.is_open() && self.streams.reply_flows_out(call, self.peer.stream_bytes);
        if wanted {
            let marker = Payload::from_slice(&STREAM_REPLY);
            let head = |out: &mut Vec<u8>| encode_value(out, call, metadata);
            if self.peer.sizes.is_large(size) {
                let key = StreamKey::reply(Caller::There, call);
                self.push_of_stream(key, Transfer::new(Owner::Opening(key), head, &marker, &[]));
            } else {
                let before = self.outbox.len();
                self.outbox.push(&marker, head);
                self.queued += (self.outbox.len() - before) as u64;
            }
        }
        wanted
    }

    /// Ends a stream, behind what is still on its way of it.
    pub(super) fn push_end(&mut self, key: StreamKey, ending: &Ending) {
        let name = key.name;
        let (size, limit) =
            (HEAD_BYTES + ending.as_ref().err().map_or(0, Failure::bytes), self.peer.sizes.largest());
        let excess = (size > limit).then(|| {
            let message =
                format!("an error of {size} bytes, the other side takes messages of {limit} bytes at most");
            Error::new(Code::ResourceExhausted, message).with_executed(Executed::Yes)
        });
        let error = match (&excess, ending) {
            (Some(error), _) | (None, Err(Failure::Rpc(error))) => Some(Err(error)),
            (None, Err(Failure::App(value))) => Some(Ok(value.as_slice())),
            (None, Ok(())) => None,
        };
        let size = if excess.is_some() { HEAD_BYTES } else { size };
        let before = [Owner::Opening(key), Owner::Items(key), Owner::Call(name.call)];
        let before = before.into_iter().find(|owner| match owner {
            // Ids of either side are the same numbers.
            Owner::Call(_) => key.caller == Caller::Here && self.transfers.has(*owner),
            _ => self.transfers.has(*owner),
        });
        if before.is_none() && !self.peer.sizes.is_large(size) {
            return self.push_message(|out| encode_end(out, name, error));
        }
        let nothing = Payload::from_slice(&[]);
        let transfer = match ending {
            Err(Failure::App(value)) if excess.is_none() => {
                Transfer::new(Owner::Final, |out| encode_app_end(out, name), value, &[])
            }
            _ => Transfer::new(Owner::Final, |out| encode_end(out, name, error), &nothing, &[]),
        };
        match before {
            Some(owner) => self.transfers.push_behind(owner, transfer),
            None => self.transfers.push(transfer),
        }
    }

    // ---- what flows in ----

    /// Takes the next items of a stream, when so many bytes of the ones before have been consumed.
    pub(crate) fn take_items(
        &mut self,
        key: StreamKey,
        consumed: usize,
        waiter: impl FnOnce(&mut Option<W>),
    ) -> Taken {
        let (taken, credit) = self.streams.take(key, consumed, waiter);
        self.push_credit(key.name, credit);
        taken
    }

    /// Nobody here consumes a stream any more: its producer is stopped.
    pub(crate) fn leave_stream(&mut self, key: StreamKey, now: Instant, effects: &mut Effects<C, W, H>) {
        if !self.streams.leave(key) || !self.is_open() {
            return;
        }
        match key.caller {
            Caller::Here => self.cancel_streams(key.name.call, now, effects),
            Caller::There => {
                self.push_message(|out| encode_credit(out, Credit { name: key.name, bytes: None }));
            }
        }
    }

    fn push_credit(&mut self, name: StreamName, credit: Option<u64>) {
        if let (Some(_), true) = (credit, self.is_open()) {
            self.push_message(|out| encode_credit(out, Credit { name, bytes: credit }));
        }
    }

    // ---- calls made here ----

    /// The caller of a call with streams has gone. It keeps its place until the other side says that it is over.
    pub(super) fn cancel_streams(&mut self, call: u64, now: Instant, effects: &mut Effects<C, W, H>) {
        if self.give_up_call(call, effects) {
            return;
        }
        self.give_up_arguments(call);
        if self.streams.cancel(call, |waiter| effects.wake.push(waiter)) && self.is_open() {
            self.cancel(call, Place::Stream, now);
        }
    }

    /// The final message of a call with streams has come, and was not the end of its reply.
    pub(super) fn close_streams(&mut self, call: u64, effects: &mut Effects<C, W, H>) {
        if self.streams.close(Caller::Here, call, |waiter| effects.wake.push(waiter)).is_some() {
            self.forget_cancel(call);
            self.give_up_arguments(call);
            self.calls.streams_ended();
            self.grant(effects);
        }
    }

    /// Nothing more of a call's arguments is wanted.
    fn give_up_arguments(&mut self, call: u64) {
        self.give_up(
            |owner| matches!(owner, Owner::Items(key) if key.caller == Caller::Here && key.name.call == call),
        );
    }

    /// The calls with streams above an id were never taken by the other side.
    pub(super) fn forget_untaken_streams(&mut self, last_id: u64, effects: &mut Effects<C, W, H>) {
        for call in self.streams.untaken(last_id) {
            self.close_streams(call, effects);
        }
    }

    // ---- calls made there ----

    /// A call with streams was stopped here; its final message says why, once its handler has ended.
    pub(super) fn stop_streams(&mut self, call: u64, failure: Failure, effects: &mut Effects<C, W, H>) {
        self.streams.stop(call, failure, |waiter| effects.wake.push(waiter));
    }

    /// The handler of a call with streams has ended: sends its final message.
    pub(super) fn finish_streams(
        &mut self,
        call: u64,
        reply: Option<(&Result<Payload, Failure>, Option<&Metadata>)>,
        effects: &mut Effects<C, W, H>,
    ) {
        let Some(streams) = self.streams.close(Caller::There, call, |waiter| effects.wake.push(waiter))
        else {
            return;
        };
        if !self.is_open() {
            return;
        }
        let reply_key = StreamKey::reply(Caller::There, call);
        if streams.stopped.is_some() {
            // Nobody wants what is still on its way.
            self.give_up(|owner| owner == Owner::Items(reply_key));
        }
        let failure = |failure: &Failure| Err(failure.clone());
        let ended: Result<Payload, Failure> = match (&streams.stopped, reply) {
            (Some(stopped), _) => failure(stopped),
            (None, Some((reply, _))) => reply.clone(),
            (None, None) => Err(Failure::Rpc(
                Error::new(Code::Unavailable, "the handler was dropped").with_executed(Executed::Maybe),
            )),
        };
        if streams.has_replied() {
            self.push_end(reply_key, &ended.map(drop));
        } else {
            self.push_reply(Owner::Final, call, &ended, reply.and_then(|(_, metadata)| metadata));
        }
    }

    // ---- messages ----

    pub(super) fn handle_items(
        &mut self,
        items: Items<'_>,
        keep: impl FnOnce(&[u8]) -> Payload,
        effects: &mut Effects<C, W, H>,
    ) -> Result<(), Violation> {
        let key = StreamKey::incoming(items.name);
        self.check_seen(key)?;
        // What takes no bytes costs no credit, whatever number of items it is said to be.
        if items.bytes.is_empty() {
            self.empty_items += 1;
            if self.empty_items > MOST_EMPTY {
                let message = format!("{MOST_EMPTY} messages of items without an item");
                return Err(Violation::new(Reason::Calm, message));
            }
        } else {
            self.empty_items = 0;
        }
        match (items.count, items.bytes.len()) {
            (0, 0) => return Ok(()),
            (0, bytes) => {
                let message = format!("{bytes} bytes behind a message of no items");
                return Err(Violation::new(Reason::Protocol, message));
            }
            _ => {}
        }
        let received = self.streams.receive(key, &items, keep)?;
        self.took(received, effects);
        Ok(())
    }

    pub(super) fn handle_end(
        &mut self,
        end: message::End<'_>,
        keep: impl FnOnce(&[u8]) -> Payload,
        effects: &mut Effects<C, W, H>,
    ) -> Result<(), Violation> {
        let key = StreamKey::incoming(end.name);
        self.check_seen(key)?;
        let ending = match end.error {
            None => Ok(()),
            Some(Verdict::Rpc(error)) => Err(Failure::Rpc(error)),
            Some(Verdict::App(value) | Verdict::Value(value)) => Err(Failure::App(keep(value))),
        };
        let received = self.streams.receive_end(key, ending, |waiter| effects.wake.push(waiter))?;
        let keeps = matches!(received, Received::Ignored) && broken::has(Flaw::KeepsStreamPlace);
        self.took(received, effects);
        if key.caller == Caller::Here && !keeps {
            self.forget_cancel(key.name.call);
            self.give_up_arguments(key.name.call);
            self.calls.streams_ended();
            self.grant(effects);
        }
        Ok(())
    }

    pub(super) fn handle_credit(
        &mut self,
        credit: Credit,
        effects: &mut Effects<C, W, H>,
    ) -> Result<(), Violation> {
        let key = StreamKey::outgoing(credit.name);
        self.check_seen(key)?;
        let received = self.streams.receive_credit(key, credit.bytes)?;
        if credit.bytes.is_none() {
            self.give_up(|owner| owner == Owner::Items(key));
        }
        self.took(received, effects);
        Ok(())
    }

    pub(super) fn handle_blocked(&mut self, name: StreamName) {
        let credit = self.streams.receive_blocked(StreamKey::incoming(name));
        self.push_credit(name, credit);
    }

    fn took(&mut self, received: Received<W>, effects: &mut Effects<C, W, H>) {
        match received {
            Received::Taken(waiter) => effects.wake.extend(waiter),
            Received::Ignored => self.ignored += 1,
        }
    }

    /// What is said of a call of the other side that it has not made yet is no lateness.
    fn check_seen(&self, key: StreamKey) -> Result<(), Violation> {
        let StreamName { call, stream } = key.name;
        if key.caller == Caller::There && call > self.highest_seen {
            let message = format!("stream {stream} of call {call}, which was never made");
            return Err(Violation::new(Reason::Protocol, message));
        }
        Ok(())
    }

    /// Streams that wait for room may have found some.
    pub(super) fn make_room(&mut self, effects: &mut Effects<C, W, H>) {
        self.streams.make_room(CROWD_BYTES, BATCH_BYTES, |waiter| effects.wake.push(waiter));
    }
}
