//! The pause of a peer that did not respond (PROBING_RATE), and what ends it early.

use core::net::SocketAddr;

use super::{Exchanges, peer_key};
use crate::time::Instant;

impl<C: Clone> Exchanges<C> {
    /// A peer has shown that it is there: it is asked at once, as one that responded. If it stays silent then, the pause
    /// begins anew.
    pub(crate) fn heard_from(&mut self, now: Instant, peer: SocketAddr) {
        let key = peer_key(peer);
        if let Some(paused) = self.peers.get_mut(&key)
            && paused.held_until > now
        {
            paused.held_until = Instant::ZERO;
            self.release(now, key);
        }
    }
}
