//! The pause of a peer that did not respond (PROBING_RATE, RFC 7252 section 4.7), and what ends it early.

use core::net::SocketAddr;
use core::time::Duration;

use super::{Exchanges, peer_key};
use crate::time::Instant;

/// Nothing more goes to a peer that did not respond; unless it is heard meanwhile, which counts once until it responds.
#[derive(Default)]
pub(super) struct Pause {
    until: Instant,
    lifted: Lifted,
}

/// Was the peer heard since it stopped to respond?
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Lifted {
    #[default]
    Never,
    /// It was, and what goes to it has not failed since.
    Now,
    /// It was, and still it did not respond.
    Before,
}

impl Pause {
    /// The peer has responded.
    pub(super) fn responded(&mut self) {
        *self = Self::default();
    }

    /// The peer has not responded.
    pub(super) fn silent(&mut self, until: Instant) {
        self.until = self.until.max(until);
        if self.lifted == Lifted::Now {
            self.lifted = Lifted::Before;
        }
    }

    /// How much longer nothing goes to the peer.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let holds = self.until > now && self.lifted != Lifted::Now;
        holds.then(|| self.until.since(now))
    }

    fn may_lift(&self, now: Instant) -> bool {
        self.until > now && self.lifted == Lifted::Never
    }

    /// Until when there is something to remember, also of a pause that was lifted.
    pub(super) fn remembered(&self, now: Instant) -> Option<Instant> {
        (self.until > now).then_some(self.until)
    }
}

impl<C: Clone> Exchanges<C> {
    /// A peer has shown that it is there: it is asked at once, as one that responded. If it stays silent then, the pause
    /// begins anew, and only a response ends it early: to be heard is not to respond.
    ///
    /// What nobody has `proven` to be of the peer lifts nothing for which a protected request waits.
    pub(crate) fn heard_from(&mut self, now: Instant, peer: SocketAddr, proven: bool) {
        let key = peer_key(peer);
        let Some(paused) = self.peers.get(&key).filter(|it| it.pause.may_lift(now)) else {
            return;
        };
        if !proven && paused.queue.iter().any(|id| self.is_protected(*id)) {
            return;
        }
        if let Some(paused) = self.peers.get_mut(&key) {
            paused.pause.lifted = Lifted::Now;
            self.release(now, key);
        }
    }
}
