//! Protected requests on their way out.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_oscore::{Asked, ContextId, ProtectError, Protecting, To};

use super::Endpoint;
use super::protect::{Outgoing, plain};
use crate::collection::{BareQuestion, Security};
use crate::exchange::Unprotected;
use crate::failure::Failure;
use crate::security::{NotProtected, Protection, at};
use crate::time::Instant;

/// A request that is not protected yet.
pub(super) enum Question {
    /// A request to one peer.
    ToPeer(Box<Unprotected>),
    /// A question to a group.
    ToGroup(Box<BareQuestion>),
}

impl Question {
    pub(super) fn peer(&self) -> SocketAddr {
        match self {
            Self::ToPeer(request) => request.peer,
            Self::ToGroup(question) => question.destination,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::ToPeer(request) => request.message.len(),
            Self::ToGroup(question) => question.message.len(),
        }
    }
}

impl Endpoint {
    /// Protects every request that may leave now.
    pub(super) fn protect_requests(&mut self, now: Instant) {
        while let Some(bare) = self.client.exchanges.poll_bare() {
            self.protect(now, Outgoing::Question(Question::ToPeer(Box::new(bare))));
        }
        while let Some(bare) = self.client.collections.poll_bare(now) {
            self.protect(now, Outgoing::Question(Question::ToGroup(Box::new(bare))));
        }
    }

    pub(super) fn protect_question(
        &mut self,
        now: Instant,
        question: &Question,
    ) -> Result<Protecting, ProtectError> {
        match question {
            Question::ToPeer(request) => self.protect_to_peer(now, request),
            Question::ToGroup(question) => self.protect_to_group(now, question),
        }
    }

    fn protect_to_peer(
        &mut self,
        now: Instant,
        request: &Unprotected,
    ) -> Result<Protecting, ProtectError> {
        let message = plain(&request.message)?;
        let contexts = &mut self.guard.contexts;
        let (context, to) = match &request.protection {
            Protection::None => return Err(ProtectError::NoContext),
            Protection::Pair(pair) => (ContextId::Pair(*pair), To::Peer),
            Protection::Group(group) => (ContextId::Group(*group), To::Group),
            Protection::Member { group, credential } => {
                let known = contexts.group(*group).ok_or(ProtectError::NoContext)?;
                let kid = known.holder_of(credential);
                let kid = kid.ok_or(ProtectError::UnknownMember)?;
                (ContextId::Group(*group), To::Member(kid))
            }
        };
        contexts.protect_request(at(now), context, &message, to)
    }

    fn protect_to_group(
        &mut self,
        now: Instant,
        question: &BareQuestion,
    ) -> Result<Protecting, ProtectError> {
        let message = plain(&question.message)?;
        let Security::Group(group) = question.security else {
            return Err(ProtectError::NoContext);
        };
        let contexts = &mut self.guard.contexts;
        contexts.protect_request(at(now), group.into(), &message, To::Group)
    }

    /// A request is protected: it may leave.
    pub(super) fn question_protected(
        &mut self,
        now: Instant,
        question: &Question,
        bytes: Vec<u8>,
        asked: Option<Box<Asked>>,
    ) {
        let client = &mut self.client;
        match question {
            Question::ToPeer(request) => match request.instead_of {
                Some(mid) => self.begun_again(now, request, mid, bytes, asked),
                None => client.exchanges.sealed(request.exchange, bytes, asked),
            },
            Question::ToGroup(question) => {
                let id = question.collection;
                // What opens the answers to a round stays with its observation.
                let asked = asked.and_then(|asked| client.observations.sealed(id, asked));
                client.collections.sealed(now, id, bytes, asked);
            }
        }
    }

    pub(super) fn question_not_protected(
        &mut self,
        now: Instant,
        question: &Question,
        why: NotProtected,
    ) {
        match question {
            Question::ToPeer(request) if let Some(mid) = request.instead_of => {
                self.repeat_as_before(request.exchange, mid);
            }
            Question::ToPeer(request) => {
                self.fail(now, request.exchange, Failure::NotProtected(why));
            }
            Question::ToGroup(question) => {
                let collections = &mut self.client.collections;
                collections.not_protected(now, question.collection, why);
            }
        }
    }
}
