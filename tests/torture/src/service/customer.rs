//! What clients serve: the calls back.

use std::sync::Arc;

use bytes::Bytes;

use super::payload::{Hash, Part, payload};
use super::{Customer, Ticket};
use crate::ledger::{Event, Ledger, Method};

/// Serves [`Customer`].
#[derive(Debug)]
pub(super) struct Respondent {
    pub(super) ledger: Arc<Ledger>,
}

impl Customer for Respondent {
    async fn answer(&self, ticket: Ticket, data: Bytes) -> Bytes {
        let arguments = Hash::of(&data);
        self.ledger.append(ticket.attempt(), Method::Answer, Event::Executed { arguments });
        if ticket.pause > 0 {
            tokio::time::sleep(ticket.pause()).await;
        }
        payload(ticket.attempt(), Part::Reply, ticket.reply_bytes)
    }
}
