//! Large messages: they go out in fragments behind what is small, and what they hold up goes on when they have gone.

use super::super::outbox::Outbox;
use super::super::streams::{Caller, StreamKey};
use super::super::transfers::{Owner, Transfer};
use super::{Connection, Effects};
use crate::message::{Reason, encode_fragment};

impl<C: Clone, W, H> Connection<C, W, H> {
    /// Puts the fragments whose turn it is into an outbox that goes out now.
    pub(super) fn push_fragments(&mut self, output: &mut Outbox, effects: &mut Effects<C, W, H>) {
        if self.transfers.is_empty() {
            return;
        }
        let mut gone = Vec::new();
        self.transfers.take_turns(&self.peer.sizes, output, |turn| {
            self.queued += turn.bytes as u64;
            gone.extend(turn.gone);
        });
        gone.into_iter().for_each(|owner| self.gone(owner, effects));
    }

    /// A large message has been handed over, all of it.
    fn gone(&mut self, owner: Owner, effects: &mut Effects<C, W, H>) {
        match owner {
            Owner::Call(call) => {
                self.calls.sent_whole(call, self.queued);
                for stream in 1..=self.streams.arguments(Caller::Here, call) {
                    let key = StreamKey::argument(Caller::Here, call, stream);
                    effects.wake.extend(self.streams.hold(key, false));
                }
            }
            Owner::Opening(key) | Owner::Items(key) => effects.wake.extend(self.streams.hold(key, false)),
            Owner::OneWay | Owner::Reply(_) | Owner::Final => {}
        }
    }

    /// Lets a message of a stream go out in fragments; the stream's next one waits until it has gone.
    pub(super) fn push_of_stream(&mut self, key: StreamKey, transfer: Transfer) {
        self.transfers.push(transfer);
        self.streams.hold(key, true);
    }

    /// The arguments of a call must not overtake it.
    pub(super) fn hold_arguments(&mut self, call: u64, arguments: u8) {
        for stream in 1..=arguments {
            self.streams.hold(StreamKey::argument(Caller::Here, call, stream), true);
        }
    }

    /// Gives up the large messages of all owners that `is_gone`, and says whether there were any. What has gone of
    /// them the other side forgets.
    pub(super) fn give_up(&mut self, is_gone: impl Fn(Owner) -> bool) -> bool {
        if self.transfers.is_empty() {
            return false;
        }
        let mut known = Vec::new();
        let any = self.transfers.give_up(is_gone, |number| known.push(number));
        for number in known {
            self.push_message(|out| encode_fragment(out, number, None, 0));
        }
        self.part();
        any
    }

    /// Gives up all calls that have not gone whole: the other side will not take them any more.
    pub(super) fn give_up_calls(&mut self, effects: &mut Effects<C, W, H>) {
        for call in self.transfers.calls() {
            self.give_up_call(call, effects);
        }
    }

    /// Gives up a call that has not gone whole. False if it has, or never had to go in fragments.
    pub(super) fn give_up_call(&mut self, call: u64, effects: &mut Effects<C, W, H>) -> bool {
        let given_up = self.give_up(|owner| owner == Owner::Call(call));
        if given_up {
            // The other side does not know of its streams, so that nothing more comes of them.
            self.close_streams(call, effects);
        }
        given_up
    }

    /// Says that nothing more will come from here, once that is true: large one-way calls go first.
    pub(super) fn take_leave(&mut self, message: &'static str) {
        self.parting = Some(message);
        self.part();
    }

    pub(super) fn part(&mut self) {
        if let Some(message) = self.parting.take_if(|_| !self.transfers.has(Owner::OneWay)) {
            self.push_goaway(Reason::Drain, message);
        }
    }
}
