//! Notifications: to whom they belong, whether they are news, and what is said to their sender.

use alloc::boxed::Box;
use alloc::vec::Vec;

use antiphon_wire::{Code, Message, OptionNumber, Type};

use super::event::{
    MemberEnd, News, Notification, ObservationEnd, ObservationEvent, ObservedIndex, ObservedState,
};
use super::freshness::{Bound, Latest};
use super::watch::{Phase, Slot, Watch};
use super::{MARGIN, ObservationId, Observations, Purpose};
use crate::collection::{Rejection, Reply, unrecognised_critical};
use crate::expect::responder_address;
use crate::identity::Sender;
use crate::message::Response;
use crate::path::{Path, Route};
use crate::rng::Rng;
use crate::security::Asked;
use crate::time::Instant;

/// A message that came under the token of an observation.
pub(crate) struct Arrived<'a> {
    pub(crate) path: &'a Path,
    pub(crate) sender: &'a Sender,
    /// Which request it is bound to, if it is protected.
    pub(crate) bound: Option<Bound>,
    /// It answers a request to this member alone.
    pub(crate) in_person: Option<InPerson>,
}

/// The answer to a request to one member.
pub(crate) struct InPerson {
    pub(crate) member: ObservedIndex,
    /// What opens further responses to it.
    pub(crate) asked: Option<Box<Asked>>,
    /// When it was sent.
    pub(crate) sent: Option<Instant>,
}

/// RFC 7252 section 5.10.5.
const DEFAULT_MAX_AGE: u32 = 60;
/// So often a member that goes on to notify is asked to forget an observation; then it is reset.
const GOODBYES: u8 = 3;
/// Success (RFC 7252 section 12.1.2).
const SUCCESS: u8 = 2;

impl Observations {
    /// A message came under the token of an observation. Says what its sender is told on the message layer.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        id: ObservationId,
        mut arrived: Arrived<'_>,
        message: &Message<'_>,
    ) -> Reply {
        let Some(watch) = self.watches.get_mut(&id) else {
            return Reply::Reset;
        };
        let heard = match message.kind() {
            Type::Con => Reply::Acknowledge,
            _ => Reply::Nothing,
        };
        let in_person = arrived.in_person.take();
        let member = match &in_person {
            Some(in_person) => Some(in_person.member),
            None => watch.place_of(arrived.path, arrived.sender, message),
        };
        let Some(member) = member.filter(|member| watch.slot_ref(*member).is_some()) else {
            watch.dropped.no_room = watch.dropped.no_room.saturating_add(1);
            return Reply::Reset; // nobody is interested
        };
        let asked = in_person.as_ref().and_then(|in_person| in_person.sent);
        let mut purpose = None;
        if let Some(in_person) = in_person {
            purpose = self.answered(id, member, in_person);
        } else if let Some(echo) = echo_of(message) {
            watch.speaks(member, &arrived);
            self.challenged(now, id, member, echo);
            return heard;
        }
        let Some(watch) = self.watches.get_mut(&id) else {
            return heard;
        };
        watch.speaks(member, &arrived);
        if let Some(rejection) = watch.unacceptable(message) {
            watch.dropped.rejected = watch.dropped.rejected.saturating_add(1);
            watch.reject(now, member, rejection);
            self.step(now, id);
            return Reply::Reset;
        }
        let end = end_of(message);
        if watch.is_done_with(member) || purpose == Some(Purpose::Deregister) {
            let reply = self.unwanted(id, member, purpose, end, heard);
            self.stop_early(id);
            self.step(now, id);
            return reply;
        }
        let latest = Latest {
            at: now,
            number: message.uint(OptionNumber::OBSERVE),
            bound: arrived.bound,
        };
        let Some(slot) = watch.slot(member) else {
            return Reply::Reset;
        };
        if slot.is_outdated_by(&latest, asked, message.kind()) {
            slot.latest = Some(latest);
            self.take(now, rng, id, member, &arrived, message, end);
            self.stop_early(id);
        } else {
            self.stale(now, id, member, latest.number, purpose);
        }
        self.step(now, id);
        heard
    }

    /// The request to a member has its answer. Says what it was for.
    fn answered(
        &mut self,
        id: ObservationId,
        member: ObservedIndex,
        in_person: InPerson,
    ) -> Option<Purpose> {
        let watch = self.watches.get_mut(&id)?;
        let before = watch.registrations;
        let purpose = watch.answered_in_person(member, in_person);
        let registration = watch.registrations;
        if registration > before {
            self.tell(ObservationEvent::Registered {
                observation: id,
                registration,
            });
        }
        purpose
    }

    /// A member that is to forget the observation says that it has, or notifies all the same.
    fn unwanted(
        &mut self,
        id: ObservationId,
        member: ObservedIndex,
        purpose: Option<Purpose>,
        end: Option<MemberEnd>,
        heard: Reply,
    ) -> Reply {
        match end {
            Some(_) => {
                if let Some(watch) = self.watches.get_mut(&id) {
                    watch.deregistered(member);
                }
                heard
            }
            // It did not understand. It is told again when it notifies again.
            None if purpose.is_some() => heard,
            None => self.part(id, member, heard),
        }
    }

    /// A notification is older than the one before.
    fn stale(
        &mut self,
        now: Instant,
        id: ObservationId,
        member: ObservedIndex,
        number: Option<u32>,
        purpose: Option<Purpose>,
    ) {
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.dropped.stale = watch.dropped.stale.saturating_add(1);
            if let Some(slot) = watch.slot(member) {
                slot.stale = slot.stale.saturating_add(1);
            }
            if purpose.is_some() {
                watch.ask_later(now, member); // this told nothing
            }
        }
        self.tell(ObservationEvent::Stale {
            observation: id,
            member,
            number,
        });
    }

    /// Takes a fresh notification.
    #[allow(clippy::too_many_arguments)]
    fn take(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        id: ObservationId,
        member: ObservedIndex,
        arrived: &Arrived<'_>,
        message: &Message<'_>,
        end: Option<MemberEnd>,
    ) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        let margin = match watch.margin {
            Some(margin) => margin,
            None => {
                let (least, random) = MARGIN;
                watch.leisure + least + rng.duration_up_to(random)
            }
        };
        let max_age = message
            .uint(OptionNumber::MAX_AGE)
            .unwrap_or(DEFAULT_MAX_AGE);
        let fresh_for = core::time::Duration::from_secs(max_age.into()).saturating_add(margin);
        let (newest, registrations) = (watch.newest, watch.registrations);
        let heard = arrived.bound.map_or(newest, |bound| bound.registration);
        let after = watch.first_sent.map_or(now.since(now), |at| now.since(at));
        self.overtake(id, member);
        let Some(slot) = self.watches.get_mut(&id).and_then(|w| w.slot(member)) else {
            return;
        };
        let news = match slot.state {
            ObservedState::Awaited | ObservedState::Rejected(_) if slot.count > 0 => News::Returned,
            ObservedState::Awaited | ObservedState::Rejected(_) if registrations > 1 => {
                News::Joined
            }
            ObservedState::Awaited | ObservedState::Rejected(_) => News::First,
            ObservedState::Silent | ObservedState::Ended(_) => News::Returned,
            ObservedState::Fresh => News::Update,
        };
        slot.state = match end {
            None => ObservedState::Fresh,
            Some(why) => ObservedState::Ended(why),
        };
        slot.heard = slot.heard.max(heard);
        slot.failures = 0;
        slot.failure = None;
        slot.goodbyes = 0;
        slot.count = slot.count.saturating_add(1);
        if let Some(bound) = arrived.bound
            && let Some((own, _)) = &slot.own
            && *own < bound.registration
        {
            slot.own = None; // the server has heard a newer one
        }
        let notification = Notification {
            observation: id,
            member,
            news,
            from: *arrived.path,
            sender: arrived.sender.clone(),
            response: Response::from(message),
            number: message.uint(OptionNumber::OBSERVE),
            count: slot.count,
            after,
        };
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.silent_at(member, end.is_none().then_some(now + fresh_for));
        }
        // The rest of one in blocks is fetched first.
        if let Some((notification, end)) = self.begin_body(now, id, member, notification, end) {
            self.told(now, id, member, notification, end);
        }
    }

    /// A member has told its state, or its last word.
    pub(super) fn told(
        &mut self,
        now: Instant,
        id: ObservationId,
        member: ObservedIndex,
        notification: Notification,
        end: Option<MemberEnd>,
    ) {
        self.keep(id, &notification);
        self.deliver(id, member, notification);
        self.ended(now, id, member, end);
    }

    /// What a member has told was its last word, if it says so.
    pub(super) fn ended(
        &mut self,
        now: Instant,
        id: ObservationId,
        member: ObservedIndex,
        end: Option<MemberEnd>,
    ) {
        if let Some(why) = end {
            self.tell(ObservationEvent::MemberEnded {
                observation: id,
                member,
                why,
            });
            if self.watches.get(&id).is_some_and(Watch::is_one) {
                self.conclude(now, id, ObservationEnd::ByServer(why));
            }
        }
    }

    /// A member notifies although it was to forget the observation: it is told again, in person, and finally reset.
    fn part(&mut self, id: ObservationId, member: ObservedIndex, heard: Reply) -> Reply {
        let Some(watch) = self.watches.get_mut(&id) else {
            return Reply::Reset;
        };
        // While a request to all is on its way it need not be told in person.
        if watch.phase == Phase::Ending && watch.round.is_some() {
            return heard;
        }
        let full = watch.asking >= watch.at_once.max(1);
        let Some(slot) = watch.slot(member) else {
            return Reply::Reset;
        };
        if slot.ask.is_some() || full {
            return heard;
        }
        if slot.goodbyes >= GOODBYES {
            return Reply::Reset;
        }
        slot.goodbyes += 1;
        self.ask(id, member, Purpose::Deregister, None);
        heard
    }

    /// A registration that all expected members have heard, with nobody else known, need not be waited for; nor need a
    /// deregistration that all have confirmed.
    fn stop_early(&mut self, id: ObservationId) {
        let Some(watch) = self.watches.get(&id) else {
            return;
        };
        let Some(round) = watch.round else {
            return;
        };
        let awaited = |slot: &Slot| slot.state == ObservedState::Awaited;
        let known = match watch.phase {
            Phase::Open => watch.members.len() > 0 && watch.slots.len() == watch.members.len(),
            // Whoever never answered may be notifying all the same.
            _ => !watch.slots.is_empty() && !watch.slots.iter().any(awaited),
        };
        if round.sent && known && watch.indices().all(|member| watch.is_served(member)) {
            self.acts.push_back(super::Act::Stop(round.id));
        }
    }

    /// A member wants to see its Echo value come back first: it is asked in person, once for each registration.
    fn challenged(&mut self, now: Instant, id: ObservationId, member: ObservedIndex, echo: &[u8]) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        let purpose = match watch.phase {
            Phase::Open => Purpose::Register,
            Phase::Ending => Purpose::Deregister,
            Phase::Lingering(_) => return,
        };
        let newest = watch.newest.max(1);
        let Some(slot) = watch.slot(member) else {
            return;
        };
        if slot.ask.is_some() || slot.challenged >= newest {
            return;
        }
        slot.challenged = newest;
        self.ask(id, member, purpose, Some(Vec::from(echo)));
        self.step(now, id);
    }
}

impl Watch {
    /// Notes who a member is and where it speaks from.
    fn speaks(&mut self, member: ObservedIndex, arrived: &Arrived<'_>) {
        let one = self.is_one();
        let Some(slot) = self.slot(member) else {
            return;
        };
        slot.address = Some(responder_address(arrived.path));
        if arrived.sender.is_proven() {
            slot.sender = arrived.sender.clone();
        }
        if !one {
            slot.route = Some(Route {
                socket: arrived.path.socket,
                source: None,
                interface: arrived.path.interface,
                destination: arrived.path.peer,
            });
        }
    }

    /// What is wrong with a message, if anything.
    fn unacceptable(&self, message: &Message<'_>) -> Option<Rejection> {
        let bytes = message.options_and_payload().len();
        match unrecognised_critical(message) {
            Some(option) => Some(Rejection::CriticalOption(option)),
            None if bytes > self.limits.response_bytes => Some(Rejection::TooLarge(bytes)),
            None => None,
        }
    }

    /// Is this member to notify no more?
    fn is_done_with(&self, member: ObservedIndex) -> bool {
        let deregistered = ObservedState::Ended(MemberEnd::Deregistered);
        self.phase != Phase::Open
            || (self.slot_ref(member)).is_some_and(|slot| slot.state == deregistered)
    }

    /// Takes down that a member was heard by the answer to its request, and says what that was for.
    fn answered_in_person(
        &mut self,
        member: ObservedIndex,
        in_person: InPerson,
    ) -> Option<Purpose> {
        self.first_sent = self.first_sent.or(in_person.sent);
        self.last_sent = self.last_sent.max(in_person.sent);
        let newest = self.newest;
        let one = self.is_one();
        let slot = self.slot(member)?;
        let ask = slot.ask.take()?;
        slot.asked_at = slot.asked_at.max(in_person.sent);
        if let Some(asked) = in_person.asked {
            slot.own = Some((ask.registration, asked));
        }
        slot.heard = slot.heard.max(newest).max(ask.registration);
        self.asking = self.asking.saturating_sub(1);
        if one && ask.purpose == Purpose::Register {
            self.registrations = self.registrations.saturating_add(1);
        }
        Some(ask.purpose)
    }
}

impl Slot {
    /// Is `latest` newer than what the member said last?
    fn is_outdated_by(&self, latest: &Latest, asked: Option<Instant>, kind: Type) -> bool {
        // A response that acknowledges a request is newer than whatever came before that left. So is the answer of a member
        // that had been silent, unless it is the same again: perhaps the member has started anew, with other numbers.
        let acknowledges = kind == Type::Ack;
        let silent = self.state == ObservedState::Silent;
        let caused = |last: &Latest| {
            last.bound.is_none()
                && asked.is_some_and(|asked| last.at < asked)
                && (acknowledges || (silent && last.number != latest.number))
        };
        self.latest
            .is_none_or(|last| last.precedes(latest) || caused(&last))
    }
}

/// Why a member that says this notifies no more, if that is what it says.
fn end_of(message: &Message<'_>) -> Option<MemberEnd> {
    let success = message.code().class() == SUCCESS;
    match (success, message.uint(OptionNumber::OBSERVE)) {
        (true, Some(_)) => None,
        (true, None) => Some(MemberEnd::NotObserved),
        (false, _) => Some(MemberEnd::Error(message.code())),
    }
}

/// Is it the challenge of RFC 9175 section 2.3?
fn echo_of<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    (message.code() == Code::UNAUTHORIZED)
        .then(|| message.option(OptionNumber::ECHO))
        .flatten()
}
