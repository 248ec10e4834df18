//! The way back: how the other side of a connection is called by those who serve its calls.

use std::sync::{Arc, Weak};

use super::blocking::Home;
use super::link::Link;
use crate::Address;
use crate::context::{Peer, WayBack};
use crate::marshal::Guard;

/// A link that is not kept: its memory and its socket go when the connection ends, whoever still has this.
pub(crate) struct PeerLink {
    link: Weak<Link>,
    pub(crate) home: Home,
    /// What unmarshalling a reply may cost.
    pub(crate) guard: Guard,
}

impl PeerLink {
    /// The other side of a connection that lives here.
    pub(crate) fn peer(address: Address, link: &Arc<Link>, home: Home) -> Peer {
        let guard = Guard::from(&*link.limits);
        Peer::new(address, link.memory.clone(), PeerLink { link: Arc::downgrade(link), home, guard })
    }

    /// None once the connection is over.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.link.upgrade()
    }
}

impl WayBack for PeerLink {
    fn note_growth(&self) {
        if let Some(link) = self.link() {
            link.growth.note();
        }
    }
}
