//! What an observation asks: rounds to the groups, and requests to single members.

use alloc::boxed::Box;
use alloc::vec::Vec;

use antiphon_wire::{OptionNumber, Token};

use super::event::{ObservationEnd, ObservationEvent, ObservedIndex};
use super::request;
use super::watch::{BINDINGS, Of, Phase, Round};
use super::{Act, ObservationId, Observations, Observer, Purpose};
use crate::collection::{CollectionId, EndedBy, GroupRequest, Repeat, RoundNews, RoundOver};
use crate::exchange::{ExchangeId, Reliability, UnicastRequest};
use crate::security::Asked;
use crate::time::Instant;

impl Observations {
    // ---- what goes out --------------------------------------------------------------------------------

    pub(crate) fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// What the groups are asked, under which token. `None`: the observation is of one server, or no more.
    pub(crate) fn round(
        &mut self,
        id: ObservationId,
        purpose: Purpose,
    ) -> Option<(GroupRequest, Token)> {
        let watch = self.watches.get(&id)?;
        let Of::Group {
            targets, security, ..
        } = &watch.of
        else {
            return None;
        };
        let repeat = match purpose {
            Purpose::Register => watch.repeat,
            // The same message would not tell those that have answered again.
            Purpose::Deregister => Repeat::NewMessageId(watch.repeat.count()),
        };
        let request = request::round(
            watch.request_to(purpose),
            targets.clone(),
            *security,
            repeat,
            watch.rtt,
            watch.leisure,
        )?;
        Some((request, watch.token))
    }

    /// The groups are being asked.
    pub(crate) fn round_began(
        &mut self,
        now: Instant,
        id: ObservationId,
        purpose: Purpose,
        round: CollectionId,
    ) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        let registration = watch.next_serial();
        watch.newest = registration;
        watch.round = Some(Round {
            id: round,
            registration,
            purpose,
            sent: false,
        });
        for slot in &mut watch.slots {
            slot.goodbyes = 0;
        }
        watch.next = match (purpose, watch.every) {
            (Purpose::Register, Some(every)) => Some(now + every),
            _ => None,
        };
        self.by_round.insert(round, id);
        self.step(now, id);
    }

    /// The groups cannot be asked now.
    pub(crate) fn round_refused(&mut self, now: Instant, id: ObservationId, purpose: Purpose) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        match purpose {
            Purpose::Register => {
                watch.register_later(now);
                self.tell(ObservationEvent::NotRegistered {
                    observation: id,
                    why: EndedBy::Closed,
                });
                self.step(now, id);
            }
            Purpose::Deregister => {
                self.ask_the_rest(id);
                self.step(now, id);
            }
        }
    }

    /// The request to one member, and the token for it.
    pub(crate) fn unicast(
        &mut self,
        observer: Observer,
        echo: Option<&[u8]>,
    ) -> Option<(UnicastRequest, Token)> {
        let watch = self.watches.get(&observer.observation)?;
        let ask = watch.slot_ref(observer.member)?.ask?;
        let route = watch.way_to(observer.member)?;
        let mut request = watch.request_to(ask.purpose);
        if let Some(echo) = echo {
            request.options.set(OptionNumber::ECHO, echo);
        }
        let unicast = UnicastRequest {
            request,
            route,
            reliability: Reliability::Confirmable,
            response_timeout: None,
            protection: watch.protection_for(observer.member),
        };
        Some((unicast, watch.token))
    }

    /// A member is being asked.
    pub(crate) fn asked(&mut self, observer: Observer, exchange: ExchangeId) {
        let slot = self
            .watches
            .get_mut(&observer.observation)
            .and_then(|watch| watch.slot(observer.member));
        if let Some(slot) = slot
            && let Some(ask) = &mut slot.ask
        {
            ask.exchange = Some(exchange);
        }
    }

    /// The first registration of an observation of one server is due: takes it.
    pub(crate) fn first(&mut self, now: Instant, id: ObservationId) {
        self.step(now, id);
    }

    // ---- what comes back -------------------------------------------------------------------------------

    /// Something happened to a round. True: it was one.
    pub(crate) fn round_news(&mut self, now: Instant, news: RoundNews) {
        let of = |round: &CollectionId| self.by_round.get(round).copied();
        match news {
            RoundNews::Sent(round) => {
                if let Some(id) = of(&round) {
                    self.round_sent(now, id, round);
                }
            }
            RoundNews::Warning(round, over) => {
                if let Some(id) = of(&round) {
                    self.tell(ObservationEvent::Warning(id, over));
                }
            }
            RoundNews::Held(round, held) => {
                if let Some(id) = of(&round) {
                    self.tell(ObservationEvent::Held(id, held));
                }
            }
            RoundNews::SendFailed(round, group, error) => {
                if let Some(observation) = of(&round) {
                    self.tell(ObservationEvent::SendFailed {
                        observation,
                        group,
                        error,
                    });
                }
            }
            RoundNews::Over(over) => self.round_over(now, over),
        }
    }

    fn round_sent(&mut self, now: Instant, id: ObservationId, round: CollectionId) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        watch.first_sent.get_or_insert(now);
        watch.last_sent = Some(now);
        let Some(of) = watch.round.as_mut().filter(|of| of.id == round) else {
            return;
        };
        of.sent = true;
        if of.purpose == Purpose::Register {
            watch.refusals = 0;
            watch.registrations += 1;
            let registration = watch.registrations;
            self.tell(ObservationEvent::Registered {
                observation: id,
                registration,
            });
        }
    }

    fn round_over(&mut self, now: Instant, over: RoundOver) {
        let Some(id) = self.by_round.remove(&over.round) else {
            return;
        };
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        watch.transmissions = watch.transmissions.saturating_add(over.transmissions);
        watch.bytes = watch.bytes.saturating_add(over.bytes);
        watch.last_sent = watch.last_sent.max(over.last_sent);
        let Some(round) = watch.round.filter(|round| round.id == over.round) else {
            return;
        };
        watch.round = None;
        let failed = matches!(over.ended_by, EndedBy::Failed(_) | EndedBy::NotProtected(_));
        match (round.purpose, watch.phase) {
            (Purpose::Register, Phase::Open) if failed && watch.registrations == 0 => {
                return self.conclude(now, id, ObservationEnd::NotRegistered(over.ended_by));
            }
            (Purpose::Register, Phase::Open) => {
                if failed {
                    watch.register_later(now);
                    self.tell(ObservationEvent::NotRegistered {
                        observation: id,
                        why: over.ended_by,
                    });
                }
                self.ask_the_rest(id);
            }
            (Purpose::Deregister, _) => self.ask_the_rest(id),
            _ => {}
        }
        self.step(now, id);
    }

    /// Those that have not answered a round are asked in person.
    fn ask_the_rest(&mut self, id: ObservationId) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        if watch.at_once == 0 {
            return;
        }
        let rest: Vec<_> = watch
            .indices()
            .filter(|member| !watch.is_served(*member) && watch.way_to(*member).is_some())
            .map(|ObservedIndex(index)| index)
            .filter(|index| !watch.queue.contains(index))
            .collect();
        watch.queue.extend(rest);
    }

    /// What opens the responses to a round is there.
    pub(crate) fn sealed(&mut self, round: CollectionId, asked: Box<Asked>) -> Option<Box<Asked>> {
        let Some(watch) = self
            .by_round
            .get(&round)
            .and_then(|id| self.watches.get_mut(id))
        else {
            return Some(asked);
        };
        let round = watch.round?;
        if watch.bindings.len() >= BINDINGS {
            watch.bindings.remove(0);
        }
        watch.bindings.push((round.registration, asked));
        None
    }
}
