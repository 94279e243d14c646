//! Who has answered one question: the expected members, and a bounded number of others.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use antiphon_wire::{Message, OptionNumber};
use hashbrown::HashMap;

use super::outcome::{Dropped, MemberReport, MemberState, MissingReason, Rejection, Unexpected};
use super::request::AnswerLimits;
use crate::exchange::Failure;
use crate::expect::{MemberIndex, Members};
use crate::identity::{Identity, Sender};
use crate::rng::KeyedHash;

/// The state of everyone who answers or should.
#[derive(Debug)]
pub(crate) struct Responders {
    pub(crate) members: Members,
    reports: Vec<MemberReport>,
    /// Expected members that have answered.
    answered: usize,
    others: Vec<Unexpected>,
    other_at: HashMap<SocketAddr, usize, KeyedHash>,
    /// The same for those whose identity is proven.
    proven_at: HashMap<Identity, usize, KeyedHash>,
    others_on: HashMap<IpAddr, usize, KeyedHash>,
    /// Others that have answered.
    others_answered: usize,
    limits: AnswerLimits,
    pub(crate) answers: u32,
    pub(crate) dropped: Dropped,
}

/// What becomes of an answer.
pub(crate) enum Admission {
    /// It is the n-th of its responder.
    Sequence(u32),
    /// There is no room for it.
    Dropped,
}

impl Responders {
    pub(crate) fn new(members: Members, limits: AnswerLimits, hash: [KeyedHash; 2]) -> Self {
        let [by_address, by_ip] = hash;
        let silent = MemberReport {
            answers: 0,
            state: MemberState::Missing(MissingReason::Silent),
            cached: false,
        };
        Self {
            reports: alloc::vec![silent; members.len()],
            members,
            answered: 0,
            others: Vec::new(),
            other_at: HashMap::with_hasher(by_address.clone()),
            proven_at: HashMap::with_hasher(by_address),
            others_on: HashMap::with_hasher(by_ip),
            others_answered: 0,
            limits,
            answers: 0,
            dropped: Dropped::default(),
        }
    }

    /// Takes note of an acceptable answer. Without room for it the responder has answered all the same.
    pub(crate) fn admit(
        &mut self,
        member: Option<MemberIndex>,
        peer: SocketAddr,
        sender: &Sender,
        late: bool,
        room: bool,
    ) -> Admission {
        let answers = match member {
            Some(member) => {
                let Some(report) = self.reports.get_mut(member.0 as usize) else {
                    return Admission::Dropped;
                };
                match report.state {
                    MemberState::Missing(_) | MemberState::Rejected(_) if late => {
                        report.state = MemberState::Late;
                    }
                    MemberState::Missing(_) | MemberState::Rejected(_) => {
                        report.state = MemberState::Answered;
                        self.answered += 1;
                    }
                    MemberState::Answered | MemberState::Late => {}
                }
                &mut report.answers
            }
            None => match self
                .other(peer, sender)
                .and_then(|index| self.others.get_mut(index))
            {
                Some(other) => &mut other.answers,
                None => {
                    self.dropped.no_room += 1;
                    return Admission::Dropped;
                }
            },
        };
        if !room {
            self.dropped.not_fetched += 1;
            return Admission::Dropped;
        }
        if *answers >= self.limits.per_responder.max(1) {
            self.dropped.over_share += 1;
            return Admission::Dropped;
        }
        *answers += 1;
        let sequence = *answers;
        if member.is_none() && sequence == 1 {
            self.others_answered += 1;
        }
        self.answers += 1;
        Admission::Sequence(sequence)
    }

    /// Takes note of an unacceptable answer.
    pub(crate) fn reject(
        &mut self,
        member: Option<MemberIndex>,
        peer: SocketAddr,
        sender: &Sender,
        rejection: Rejection,
    ) {
        self.dropped.rejected = self.dropped.rejected.saturating_add(1);
        match member {
            Some(member) => {
                if let Some(report) = self.reports.get_mut(member.0 as usize)
                    && let MemberState::Missing(_) | MemberState::Rejected(_) = report.state
                {
                    report.state = MemberState::Rejected(rejection);
                }
            }
            None => match self
                .other(peer, sender)
                .and_then(|index| self.others.get_mut(index))
            {
                Some(other) => other.rejection = Some(rejection),
                None => self.dropped.no_room += 1,
            },
        }
    }

    /// A unicast request to a silent member failed, or cannot be made.
    pub(crate) fn unicast_failed(&mut self, member: MemberIndex, failure: Option<Failure>) {
        if let Some(report) = self.reports.get_mut(member.0 as usize)
            && let MemberState::Missing(_) = report.state
        {
            report.state = MemberState::Missing(match failure {
                Some(failure) => MissingReason::Unicast(failure),
                None => MissingReason::NoAddress,
            });
        }
    }

    /// Has nothing at all come from this member?
    pub(crate) fn is_silent(&self, member: MemberIndex) -> bool {
        self.reports
            .get(member.0 as usize)
            .is_some_and(|report| matches!(report.state, MemberState::Missing(_)))
    }

    /// Has anything come from this responder, which was not expected?
    pub(crate) fn has_heard(&self, peer: SocketAddr, sender: &Sender) -> bool {
        self.known_other(peer, sender).is_some()
    }

    /// The answer of this responder that was just admitted was taken from the cache.
    pub(crate) fn taken_from_cache(
        &mut self,
        member: Option<MemberIndex>,
        peer: SocketAddr,
        sender: &Sender,
    ) {
        match member {
            Some(member) => {
                if let Some(report) = self.reports.get_mut(member.0 as usize) {
                    report.cached = true;
                }
            }
            None => {
                if let Some(index) = self.known_other(peer, sender)
                    && let Some(other) = self.others.get_mut(index)
                {
                    other.cached = true;
                }
            }
        }
    }

    fn known_other(&self, peer: SocketAddr, sender: &Sender) -> Option<usize> {
        match sender {
            Sender::Proven(identity) => self.proven_at.get(identity),
            Sender::Unauthenticated => self.other_at.get(&peer),
        }
        .copied()
    }

    /// How many responders may come that are not expected.
    pub(crate) fn room_for_others(&self) -> usize {
        self.limits.unexpected
    }

    /// How many members are expected.
    pub(crate) fn expected(&self) -> usize {
        self.reports.len()
    }

    /// How many expected members have answered in time.
    pub(crate) fn expected_answered(&self) -> usize {
        self.answered
    }

    /// How many distinct servers have answered in time, expected or not.
    pub(crate) fn distinct(&self) -> usize {
        self.answered + self.others_answered
    }

    /// Have all expected members answered, if any are expected?
    pub(crate) fn all_expected(&self) -> bool {
        !self.reports.is_empty() && self.answered == self.reports.len()
    }

    /// What is known of each expected member.
    pub(crate) fn reports(&self) -> &[MemberReport] {
        &self.reports
    }

    /// The responders that were not expected.
    pub(crate) fn others(&self) -> &[Unexpected] {
        &self.others
    }

    /// Gives names, reports and unexpected responders away.
    pub(crate) fn into_parts(self) -> (Members, Vec<MemberReport>, Vec<Unexpected>) {
        (self.members, self.reports, self.others)
    }

    /// The place of an unexpected responder, made if there is room.
    fn other(&mut self, peer: SocketAddr, sender: &Sender) -> Option<usize> {
        if let Some(index) = self.known_other(peer, sender) {
            return Some(index);
        }
        let index = self.others.len();
        let on_ip = self.others_on.get(&peer.ip()).copied().unwrap_or(0);
        if index >= self.limits.unexpected || on_ip >= self.limits.unexpected_per_address {
            return None;
        }
        self.others_on.insert(peer.ip(), on_ip + 1);
        match sender {
            Sender::Proven(identity) => self.proven_at.insert(identity.clone(), index),
            Sender::Unauthenticated => self.other_at.insert(peer, index),
        };
        self.others.push(Unexpected {
            address: peer,
            sender: sender.clone(),
            answers: 0,
            rejection: None,
            cached: false,
        });
        Some(index)
    }
}

/// The first critical option that must not be ignored in a response: unknown, not meant for responses,
/// repeated or malformed (RFC 7252 sections 5.4.1, 5.4.3, 5.4.5).
pub(crate) fn unrecognised_critical(message: &Message<'_>) -> Option<OptionNumber> {
    let mut previous = None;
    let mut occurrence = 0;
    for option in message.options() {
        occurrence = match previous {
            Some(number) if number == option.number => occurrence + 1,
            _ => 0,
        };
        previous = Some(option.number);
        let understood = [OptionNumber::BLOCK1, OptionNumber::BLOCK2].contains(&option.number)
            && option.number.check(option.value, occurrence).is_ok();
        if option.number.is_critical() && !understood {
            return Some(option.number);
        }
    }
    None
}
