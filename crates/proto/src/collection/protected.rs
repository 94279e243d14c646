//! Questions under protection: when they are protected, and members that challenge them.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_wire::OptionNumber;

use super::conduct::{Arrived, body_len, respond_for};
use super::outcome::{CollectionEvent, EndedBy, How, Rejection};
use super::question::{Phase, Progress};
use super::request::Security;
use super::{Asking, CollectionId, Collections};
use crate::exchange::Failure;
use crate::expect::{MemberIndex, responder_address};
use crate::identity::{Identity, Sender};
use crate::message::{Request, Response};
use crate::path::{Path, Route};
use crate::security::{Asked, NotProtected, Protection};
use crate::time::Instant;

/// Who has challenged a question with an Echo value. Each is asked again once.
#[derive(Debug, Default)]
pub(crate) struct Challenged {
    pub(crate) any: bool,
    /// Everyone that was asked again.
    known: BTreeSet<Identity>,
    /// Those among them that were not expected and have not answered yet.
    pub(crate) strangers: Vec<u32>,
    next: u32,
}

impl Challenged {
    /// A server that was not expected is asked in person: its number.
    pub(crate) fn stranger(&mut self) -> u32 {
        let n = self.next;
        self.next += 1;
        self.strangers.push(n);
        n
    }
}

/// A question that may be sent as soon as it is protected.
pub(crate) struct BareQuestion {
    pub(crate) collection: CollectionId,
    pub(crate) security: Security,
    /// The plain message, with Message ID 0.
    pub(crate) message: Vec<u8>,
    pub(crate) destination: SocketAddr,
}

/// A request that answers a challenge: to be made as a Confirmable exchange.
#[derive(Debug)]
pub(crate) struct ChallengeRequest {
    pub(crate) asking: Asking,
    pub(crate) route: Route,
    pub(crate) request: Request,
    pub(crate) protection: Protection,
}

impl Collections {
    /// The next question that may be sent and is to be protected first.
    pub(crate) fn poll_bare(&mut self, now: Instant) -> Option<BareQuestion> {
        if self.unprotected == 0 {
            return None; // asked for every datagram
        }
        self.handle_timeout(now);
        let Self {
            ready,
            bare,
            questions,
            ..
        } = self;
        ready.retain(|id| match questions.get_mut(id) {
            Some(question) if question.protected == Progress::Due => {
                question.is_ready = false;
                question.protected = Progress::UnderWay;
                bare.push_back(*id);
                false
            }
            _ => true,
        });
        while let Some(collection) = self.bare.pop_front() {
            let Some(question) = self.questions.get(&collection) else {
                continue;
            };
            let Some(target) = question.targets.first() else {
                continue;
            };
            return Some(BareQuestion {
                collection,
                security: question.security,
                message: question.datagram.clone(),
                destination: target.route.destination,
            });
        }
        None
    }

    /// A question is protected and may be sent. All its rounds send these bytes.
    pub(crate) fn sealed(
        &mut self,
        now: Instant,
        id: CollectionId,
        bytes: Vec<u8>,
        asked: Option<Box<Asked>>,
    ) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        if question.protected == Progress::Done {
            return;
        }
        question.datagram = bytes;
        question.asked = asked;
        question.protected = Progress::Done;
        let length = question.datagram.len();
        self.unprotected = self.unprotected.saturating_sub(1);
        match self.over_frame_budget(length) {
            Ok(None) => {}
            Ok(Some(over)) => self.tell(CollectionEvent::Warning(id, over)),
            Err(_) => return self.not_protected(now, id, NotProtected::TooLarge),
        }
        self.step(now, id);
    }

    /// A question cannot be protected: it is over.
    pub(crate) fn not_protected(&mut self, now: Instant, id: CollectionId, why: NotProtected) {
        self.finish(now, id, EndedBy::NotProtected(why));
    }

    /// This security group is left: all questions in it are over.
    #[cfg(feature = "oscore")]
    pub(crate) fn leave(&mut self, now: Instant, group: crate::security::GroupId) {
        let of_group = |question: &super::question::Question| matches!(question.security, Security::Group(id) if id == group);
        let questions = self.questions.iter();
        let over: Vec<_> = questions
            .filter(|(_, question)| of_group(question))
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.not_protected(now, id, NotProtected::Left);
        }
        self.cache.forget_group(group);
    }

    /// What opens the answers to a protected question.
    pub(crate) fn asked_mut(&mut self, id: CollectionId) -> Option<&mut Asked> {
        self.questions.get_mut(&id)?.asked.as_deref_mut()
    }

    /// A question as it was sent, protected; `None` if it is not, or is over.
    #[cfg(feature = "oscore")]
    pub(crate) fn sealed_question(&self, id: CollectionId) -> Option<&[u8]> {
        let question = self.questions.get(&id)?;
        (question.protected == Progress::Done && question.asked.is_some())
            .then_some(&*question.datagram)
    }

    /// May a member process the question twice?
    #[cfg(feature = "oscore")]
    pub(crate) fn may_be_processed_twice(&self, id: CollectionId) -> bool {
        self.questions.get(&id).is_some_and(|it| it.idempotent)
    }

    /// The protected question that a response with this token, arriving at this socket, would belong to.
    pub(crate) fn protected_for(
        &self,
        path: &Path,
        message: &antiphon_wire::Message<'_>,
    ) -> Option<CollectionId> {
        let id = *self.by_token.get(&message.token())?;
        let question = self.questions.get(&id)?;
        let from_here =
            |target: &super::Target| target.route.socket == path.socket && target.sent > 0;
        (question.asked.is_some() && !question.silent && question.targets.iter().any(from_here))
            .then_some(id)
    }

    /// How a member is asked in person.
    pub(super) fn protection_for(&self, id: CollectionId, member: MemberIndex) -> Protection {
        let question = self.questions.get(&id);
        let _ = member; // counts under protection only
        match question.map(|question| question.security) {
            None | Some(Security::Unsecured(_)) => Protection::None,
            #[cfg(feature = "oscore")]
            Some(Security::Group(group)) => {
                let identity = question.and_then(|q| q.responders.members.identity(member));
                member_of(group, identity.as_ref())
            }
        }
    }

    /// A verified member has not processed the question and wants to see its Echo value come back first. It is asked
    /// again by unicast, once; what it says then is its answer.
    pub(crate) fn challenged(
        &mut self,
        path: &Path,
        id: CollectionId,
        identity: &Identity,
        echo: &[u8],
    ) -> Option<ChallengeRequest> {
        let question = self.questions.get_mut(&id)?;
        // Who challenges a question for a further block has not answered it, and is asked by unicast.
        if question.phase != Phase::Open || question.follows.is_some() {
            return None;
        }
        respond_for(question, &mut self.pacing, path); // a sign of life of the group
        let mut request = question.request.clone()?;
        request.options.set(OptionNumber::ECHO, echo);
        let expected = question.responders.members.find_proven(identity);
        let room = question.responders.expected() + question.responders.room_for_others();
        let challenged = &mut question.challenged;
        if challenged.known.len() >= room || !challenged.known.insert(identity.clone()) {
            return None;
        }
        challenged.any = true;
        let asking = match expected {
            Some(member) if question.in_person.asked.contains(&member) => return None,
            Some(member) => {
                question.in_person.asked.push(member);
                Asking::Member(member)
            }
            None => Asking::Stranger(challenged.stranger()),
        };
        let route = Route {
            socket: path.socket,
            source: None,
            interface: path.interface,
            destination: path.peer,
        };
        let protection = match question.security {
            Security::Unsecured(_) => Protection::None,
            #[cfg(feature = "oscore")]
            Security::Group(group) => member_of(group, Some(identity)),
        };
        Some(ChallengeRequest {
            asking,
            route,
            request,
            protection,
        })
    }

    /// The unicast exchange with a server that was not expected and had challenged the question has ended.
    pub(crate) fn stranger_done(
        &mut self,
        now: Instant,
        id: CollectionId,
        stranger: u32,
        sender: &Sender,
        result: Result<(&Path, Response), Failure>,
    ) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        let strangers = &mut question.challenged.strangers;
        let Some(place) = strangers.iter().position(|n| *n == stranger) else {
            return;
        };
        strangers.swap_remove(place);
        if let Ok((path, response)) = result {
            let bytes = body_len(&response);
            if bytes > question.response_bytes {
                let (peer, rejection) = (responder_address(path), Rejection::TooLarge(bytes));
                question.responders.reject(None, peer, sender, rejection);
            } else {
                let arrived = Arrived {
                    member: None,
                    path,
                    sender,
                    kind: None,
                    how: How::Unicast,
                };
                self.deliver(now, id, &arrived, || response);
            }
        }
        self.step(now, id);
    }
}

/// In pairwise mode for whoever is known; else in group mode, as the question itself was.
#[cfg(feature = "oscore")]
pub(crate) fn member_of(
    group: crate::security::GroupId,
    identity: Option<&Identity>,
) -> Protection {
    match identity.and_then(Identity::credential) {
        Some(credential) => Protection::Member {
            group,
            credential: credential.to_vec(),
        },
        None => Protection::Group(group),
    }
}
