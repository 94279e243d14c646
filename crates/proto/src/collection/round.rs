//! Rounds of observations: questions under a token that stays with the observation, whose answers go there.

use antiphon_wire::Token;

use super::conduct::respond_for;
use super::outcome::{CollectionEvent, EndedBy, Held};
use super::question::Question;
use super::request::{CollectError, GroupRequest, OverFrameBudget};
use super::{CollectionId, Collections};
use crate::exchange::SendError;
use crate::path::Path;
use crate::rng::Rng;
use crate::time::Instant;

/// What becomes of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoundNews {
    /// Its first datagram is leaving.
    Sent(CollectionId),
    /// It is sent, but too large for the link.
    Warning(CollectionId, OverFrameBudget),
    /// It has to wait.
    Held(CollectionId, Held),
    /// A datagram did not leave.
    SendFailed(CollectionId, core::net::SocketAddr, SendError),
    /// It is over.
    Over(RoundOver),
}

/// A round that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoundOver {
    pub(crate) round: CollectionId,
    pub(crate) ended_by: EndedBy,
    /// When the last datagram left; `None`: none has.
    pub(crate) last_sent: Option<Instant>,
    pub(crate) transmissions: u32,
    pub(crate) bytes: u64,
}

impl Collections {
    /// Asks groups on behalf of an observation, under its token. It keeps to their pace, is protected and repeated as any
    /// other question; the token is neither taken nor given back.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn start_round(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        request: GroupRequest,
        token: Token,
    ) -> Result<CollectionId, CollectError> {
        self.begin(now, rng, request, super::For::Observation(token))
    }

    /// A member has answered in a round: the groups are not silent.
    pub(crate) fn round_answered(&mut self, now: Instant, id: CollectionId, path: &Path) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        if respond_for(question, &mut self.pacing, path) {
            self.look_again(now);
        }
    }

    /// The next news of a round.
    pub(crate) fn poll_round(&mut self) -> Option<RoundNews> {
        self.rounds.pop_front()
    }

    /// Takes an event of a round for its observation; others come back.
    pub(super) fn tell_of_round(&mut self, event: CollectionEvent) -> Option<CollectionEvent> {
        let (id, news) = match &event {
            CollectionEvent::Warning(id, over) => (*id, RoundNews::Warning(*id, *over)),
            CollectionEvent::Held(id, held) => (*id, RoundNews::Held(*id, *held)),
            CollectionEvent::SendFailed {
                collection,
                group,
                error,
            } => (
                *collection,
                RoundNews::SendFailed(*collection, *group, *error),
            ),
            _ => return Some(event),
        };
        if !self.questions.get(&id).is_some_and(|q| q.is_round) {
            return Some(event);
        }
        if self.rounds.len() < self.config.events {
            self.rounds.push_back(news);
        }
        None
    }

    pub(super) fn round_over(
        &mut self,
        now: Instant,
        id: CollectionId,
        question: &Question,
        ended_by: EndedBy,
    ) {
        self.rounds.push_back(RoundNews::Over(RoundOver {
            round: id,
            ended_by,
            last_sent: question.last_sent,
            transmissions: question.transmissions,
            bytes: question.bytes,
        }));
        self.admit(now);
    }

    pub(super) fn round_sent(&mut self, id: CollectionId) {
        self.rounds.push_back(RoundNews::Sent(id));
    }
}
