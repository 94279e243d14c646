//! Answers that are the first of several blocks: the others are fetched by unicast, from each member on its own
//! (groupcomm-bis-18 section 3.8). The body of a member is one answer.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use antiphon_wire::{Code, Message, OptionNumber, Type};

use super::conduct::{Arrived, body_len};
use super::line::Rank;
use super::outcome::{AnswerProgress, CollectionEvent, How, Rejection, Verdict};
use super::question::{Phase, Question};
use super::request::Security;
use super::{Asking, CollectionId, Collections};
use crate::block::{BodyProgress, Bounds, Step, Transfer, is_first_of_more};
use crate::exchange::Failure;
use crate::expect::{MemberIndex, responder_address};
use crate::identity::Sender;
use crate::message::{Options, Request, Response};
use crate::path::{Path, Route};
use crate::security::Protection;
use crate::time::Instant;

/// An answer of several blocks.
#[derive(Debug)]
pub(crate) struct Body {
    n: u32,
    pub(crate) member: Option<MemberIndex>,
    path: Path,
    sender: Sender,
    kind: Option<Type>,
    how: How,
    etag: Option<Vec<u8>>,
    /// Its blocks are not all there.
    open: bool,
    /// What is there of it while its blocks are asked for by group requests.
    pub(super) held: Option<Box<Transfer>>,
}

impl Body {
    /// Is this whoever has sent the first block, from where that came?
    pub(super) fn came_from(&self, path: &Path, sender: &Sender) -> bool {
        self.sender == *sender
            && (sender.is_proven() || responder_address(&self.path) == responder_address(path))
    }

    pub(super) fn number(&self) -> u32 {
        self.n
    }

    pub(super) fn way(&self) -> &Path {
        &self.path
    }

    pub(super) fn sender(&self) -> &Sender {
        &self.sender
    }

    fn rank(&self) -> Rank {
        rank(self.member, &self.sender, &self.path)
    }

    /// Is this the same responder?
    fn is_of(&self, arrived: &Arrived<'_>) -> bool {
        match (self.member, &self.sender) {
            (Some(member), _) => arrived.member == Some(member),
            (None, Sender::Proven(_)) => self.sender == *arrived.sender,
            (None, Sender::Unauthenticated) => {
                arrived.member.is_none()
                    && responder_address(&self.path) == responder_address(arrived.path)
            }
        }
    }
}

/// A member of whose answer the other blocks are to be fetched. The end is told by [`Collections::body_done`].
#[derive(Debug)]
pub(crate) struct BodyWanted {
    pub(crate) collection: CollectionId,
    pub(crate) n: u32,
    pub(crate) path: Path,
    pub(crate) sender: Sender,
    pub(crate) route: Route,
    pub(crate) protection: Protection,
    /// What is there of it.
    pub(crate) transfer: Box<Transfer>,
    /// What is to be asked next.
    pub(crate) request: Request,
    pub(crate) rank: Rank,
    /// It gives way to others that wait when it has not come further within this time.
    pub(crate) within: Duration,
    /// When it is given up, if it was begun before.
    pub(crate) deadline: Option<Instant>,
}

fn rank(member: Option<MemberIndex>, sender: &Sender, path: &Path) -> Rank {
    match member.is_some() || sender.is_proven() {
        true => Rank::Known,
        false => Rank::Stranger(path.peer.ip().to_canonical()),
    }
}

impl Question {
    /// The answers of which blocks are missing.
    pub(crate) fn open_bodies(&self) -> impl Iterator<Item = u32> + use<'_> {
        self.bodies
            .iter()
            .filter(|body| body.open)
            .map(|body| body.n)
    }
}

impl Collections {
    /// Takes note of an answer that is the first of several blocks. `None`: it is not.
    pub(super) fn begin_body(
        &mut self,
        id: CollectionId,
        arrived: &Arrived<'_>,
        message: &Message<'_>,
    ) -> Option<Verdict> {
        let question = self.questions.get_mut(&id)?;
        let request = question.request.as_ref()?;
        let safe = matches!(request.method, Code::GET | Code::FETCH);
        if !safe || !is_first_of_more(&Options::from(message)) {
            return None;
        }
        let etag = message.option(OptionNumber::ETAG).map(<[u8]>::to_vec);
        let known = question.bodies.iter().any(|body| {
            body.is_of(arrived) && (body.open || (etag.is_some() && body.etag == etag))
        });
        if known {
            question.responders.dropped.same_body += 1;
            return Some(Verdict::Dropped);
        }
        let room = question.responders.expected() + question.responders.room_for_others();
        let rank = rank(arrived.member, arrived.sender, arrived.path);
        if question.bodies.len() >= room || !self.line.has_room(rank) {
            question.responders.dropped.no_room += 1;
            return Some(Verdict::Dropped);
        }
        // What concerns the first answers only is left out.
        let mut request = request.clone();
        request.options.remove(OptionNumber::NO_RESPONSE);
        let bounds = Bounds {
            body: question.response_bytes.min(self.bounds.body),
            ..self.bounds
        };
        let mut transfer = Box::new(Transfer::asked(request, bounds));
        let next = match transfer.on_response(Response::from(message)) {
            Step::Send(next) => next,
            Step::Done(_) => return None,
            Step::Failed(failure) => {
                let rejection = Rejection::Incomplete(Failure::Body(failure));
                let peer = responder_address(arrived.path);
                let responders = &mut question.responders;
                responders.reject(arrived.member, peer, arrived.sender, rejection);
                return Some(Verdict::Rejected(rejection));
            }
        };
        let holds = question.gathers() && self.held.0 + transfer.footprint() <= self.held.1;
        let progress = transfer.progress();
        let n = u32::try_from(question.bodies.len()).unwrap_or(u32::MAX);
        question.bodies.push(Body {
            n,
            member: arrived.member,
            path: *arrived.path,
            sender: arrived.sender.clone(),
            kind: arrived.kind,
            how: arrived.how,
            etag,
            open: true,
            held: None,
        });
        match holds {
            true => {
                self.hold(id, n, transfer);
                self.body_progress(id, Asking::Body(n), arrived.path, progress);
            }
            false => self.fetch(id, n, transfer, next),
        }
        Some(Verdict::Begun)
    }

    /// The blocks that are missing of an answer are asked for by unicast.
    pub(super) fn fetch(
        &mut self,
        id: CollectionId,
        n: u32,
        transfer: Box<Transfer>,
        request: Request,
    ) {
        let Some(question) = self.questions.get(&id) else {
            return;
        };
        let Some(body) = question.bodies.get(n as usize) else {
            return;
        };
        let protection = match question.security {
            Security::Unsecured(_) => Protection::None,
            #[cfg(feature = "oscore")]
            Security::Group(group) => {
                let identity = match &body.sender {
                    Sender::Proven(identity) => Some(identity),
                    Sender::Unauthenticated => None,
                };
                super::protected::member_of(group, identity)
            }
        };
        self.line.push(BodyWanted {
            collection: id,
            n,
            path: body.path,
            sender: body.sender.clone(),
            route: Route {
                socket: body.path.socket,
                source: None,
                interface: body.path.interface,
                destination: body.path.peer,
            },
            protection,
            transfer,
            request,
            rank: body.rank(),
            within: question
                .rtt
                .saturating_add(self.config.transmission.ack_timeout()),
            deadline: None,
        });
    }

    /// Is there an answer whose other blocks are to be fetched?
    pub(crate) fn wants_bodies(&self) -> bool {
        self.line.len() > 0
    }

    /// What is kept of answers that were begun and wait again.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.line.bytes()
    }

    /// The next answer whose other blocks are to be fetched, `at_once` with those that are under way.
    pub(crate) fn poll_body(&mut self, under_way: &[Rank], at_once: usize) -> Option<BodyWanted> {
        self.line.next(under_way, at_once)
    }

    /// An answer that has not come further waits for its next turn.
    pub(crate) fn wait_again(&mut self, wanted: BodyWanted) {
        self.line.push(wanted);
    }

    /// From where the first block of this answer came; `None` if nobody waits for it any more.
    pub(crate) fn body_from(&self, id: CollectionId, n: u32) -> Option<Path> {
        let body = self.questions.get(&id)?.bodies.get(n as usize)?;
        body.open.then_some(body.path)
    }

    /// An answer has come further.
    pub(crate) fn body_progress(
        &mut self,
        id: CollectionId,
        asking: Asking,
        path: &Path,
        progress: BodyProgress,
    ) {
        let question = self.questions.get(&id);
        let member = match (asking, question) {
            (Asking::Member(member), _) => Some(member),
            (Asking::Body(n), Some(question)) => {
                let body = question.bodies.get(n as usize);
                body.and_then(|body| body.member)
            }
            (Asking::Body(_), None) | (Asking::Stranger(_), _) => None,
        };
        self.tell(CollectionEvent::Progress(AnswerProgress {
            collection: id,
            member,
            from: path.peer,
            progress,
        }));
    }

    /// All blocks of an answer are there, or cannot be had.
    pub(crate) fn body_done(
        &mut self,
        now: Instant,
        id: CollectionId,
        n: u32,
        sender: &Sender,
        result: Result<Response, Failure>,
    ) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        let Some(body) = question.bodies.get_mut(n as usize).filter(|body| body.open) else {
            return;
        };
        body.open = false;
        let (member, path, kind) = (body.member, body.path, body.kind);
        let same_sender = body.sender == *sender;
        let (sender, how) = (body.sender.clone(), body.how);
        let rejection = match &result {
            Ok(_) if !same_sender => {
                let failure = crate::block::BodyFailure::Inconsistent;
                Some(Rejection::Incomplete(Failure::Body(failure)))
            }
            Ok(response) => {
                let bytes = body_len(response);
                (bytes > question.response_bytes).then_some(Rejection::TooLarge(bytes))
            }
            Err(failure) => Some(Rejection::Incomplete(*failure)),
        };
        let how = match question.phase {
            Phase::Late(_) => How::Late,
            _ => how,
        };
        match (rejection, result) {
            (None, Ok(response)) => {
                let arrived = Arrived {
                    member,
                    path: &path,
                    sender: &sender,
                    kind,
                    how,
                };
                self.deliver(now, id, &arrived, || response);
            }
            (rejection, _) => {
                body.etag = None; // another attempt may succeed
                if let Some(rejection) = rejection {
                    let peer = responder_address(&path);
                    question.responders.reject(member, peer, &sender, rejection);
                }
            }
        }
        self.step(now, id);
    }
}
