//! How observations run: what is due, who is silent, when one is over.

use alloc::vec::Vec;

use super::event::{ObservationEnd, ObservationEvent, ObservedIndex, ObservedState};
use super::watch::{Ask, Phase};
use super::{ASK_AGAIN, ASKED_WITHIN, Act, ObservationId, Observations, Observer, Purpose};
use crate::time::Instant;

impl Observations {
    // ---- time -------------------------------------------------------------------------------------------

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.timers.first().copied() {
            if at > now {
                return;
            }
            self.timers.pop_first();
            if let Some(watch) = self.watches.get_mut(&id) {
                watch.wake = None;
            }
            self.step(now, id);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Looks at one observation: what is due is done.
    pub(super) fn step(&mut self, now: Instant, id: ObservationId) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        match watch.phase {
            Phase::Lingering(until) if until <= now => return self.remove(now, id),
            Phase::Lingering(_) => {}
            Phase::Open => {
                self.register_if_due(now, id);
                self.notice_silence(now, id);
                self.ask_next(id);
            }
            Phase::Ending => {
                self.ask_next(id);
                let pending = |act: &Act| matches!(act, Act::Round(of, _) if *of == id);
                let done = self.watches.get(&id).is_some_and(|watch| {
                    watch.round.is_none() && watch.asking == 0 && watch.queue.is_empty()
                });
                if done && !self.acts.iter().any(pending) {
                    return self.conclude(now, id, ObservationEnd::Deregistered);
                }
            }
        }
        if let Some(watch) = self.watches.get_mut(&id) {
            let wake = watch.next_change();
            if watch.wake != wake {
                if let Some(old) = core::mem::replace(&mut watch.wake, wake) {
                    self.timers.remove(&(old, id));
                }
                self.timers.extend(wake.map(|at| (at, id)));
            }
        }
    }

    fn register_if_due(&mut self, now: Instant, id: ObservationId) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        if watch.round.is_some() || watch.next.is_none_or(|at| at > now) {
            return;
        }
        watch.next = watch.every.map(|every| now + every);
        if watch.is_one() {
            self.ask(id, ObservedIndex(0), Purpose::Register, None);
        } else {
            self.acts.push_back(Act::Round(id, Purpose::Register));
        }
    }

    fn notice_silence(&mut self, now: Instant, id: ObservationId) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        let mut silent = Vec::new();
        while let Some((at, index)) = watch.silences.first().copied() {
            if at > now {
                break;
            }
            watch.silences.pop_first();
            let asks = watch.at_once > 0 || watch.is_one();
            let patience = watch.patience();
            let Some(slot) = watch.slot(ObservedIndex(index)) else {
                continue;
            };
            slot.silent_at = None;
            if slot.state == ObservedState::Fresh {
                slot.state = ObservedState::Silent;
                slot.silences = slot.silences.saturating_add(1);
                silent.push(ObservedIndex(index));
            }
            // Each is asked with patience, however soon it falls silent.
            let earliest = slot.asked_at.map(|at| at + patience);
            if let Some(earliest) = earliest.filter(|earliest| *earliest > now) {
                watch.silent_at(ObservedIndex(index), Some(earliest));
            } else if asks && slot.ask.is_none() && !watch.queue.contains(&index) {
                watch.queue.push_back(index);
            }
        }
        for member in silent {
            self.tell(ObservationEvent::Silent {
                observation: id,
                member,
            });
        }
    }

    /// Asks as many silent members as may be asked at once.
    fn ask_next(&mut self, id: ObservationId) {
        while let Some(watch) = self.watches.get_mut(&id) {
            if watch.asking >= watch.at_once.max(usize::from(watch.is_one())) {
                return;
            }
            let Some(index) = watch.queue.pop_front() else {
                return;
            };
            let member = ObservedIndex(index);
            if watch.is_served(member) {
                continue;
            }
            let purpose = match watch.phase {
                Phase::Open => Purpose::Register,
                _ => Purpose::Deregister,
            };
            self.ask(id, member, purpose, None);
        }
    }

    /// Asks one member, unless it is being asked.
    pub(super) fn ask(
        &mut self,
        id: ObservationId,
        member: ObservedIndex,
        purpose: Purpose,
        echo: Option<Vec<u8>>,
    ) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        if watch.way_to(member).is_none() {
            return;
        }
        let registration = watch.next_serial();
        let Some(slot) = watch.slot(member) else {
            return;
        };
        if slot.ask.is_some() {
            return;
        }
        slot.ask = Some(Ask {
            exchange: None,
            registration,
            purpose,
        });
        watch.asking += 1;
        let observation = id;
        self.acts.push_back(Act::Ask(
            Observer {
                observation,
                member,
            },
            echo,
        ));
    }

    /// Breaks off what is under way.
    pub(super) fn break_off(&mut self, id: ObservationId) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        if let Some(round) = watch.round.take() {
            self.acts.push_back(Act::Stop(round.id));
        }
        watch.asking = 0;
        watch.queue.clear();
        for slot in &mut watch.slots {
            if let Some(exchange) = slot.ask.take().and_then(|ask| ask.exchange) {
                self.acts.push_back(Act::Break(exchange));
            }
            if let Some(exchange) = slot.body.take().and_then(|body| body.exchange()) {
                self.fetching = self.fetching.saturating_sub(1);
                self.acts.push_back(Act::Break(exchange));
            }
        }
        self.bodies.retain(|of| of.observation != id);
        self.acts.retain(|act| match act {
            Act::Round(of, _) => *of != id,
            Act::Ask(observer, _) => observer.observation != id,
            _ => true,
        });
    }

    /// Tells the outcome. What was deregistered is remembered for a while.
    pub(super) fn conclude(&mut self, now: Instant, id: ObservationId, ended_by: ObservationEnd) {
        self.break_off(id);
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        watch.silences.clear();
        let outcome = watch.outcome(now, id, ended_by);
        let lingers = matches!(
            ended_by,
            ObservationEnd::Deregistered | ObservationEnd::ByServer(_)
        );
        self.outcomes += 1;
        self.events.push_back(ObservationEvent::Ended(outcome));
        if !lingers {
            return self.remove(now, id);
        }
        let linger = watch.patience().saturating_add(ASK_AGAIN * 5);
        watch.phase = Phase::Lingering(now + linger);
        self.lingering.push_back(id);
        if self.lingering.len() > self.config.observations
            && let Some(oldest) = self.lingering.front().copied()
        {
            self.remove(now, oldest);
        }
        self.step(now, id);
    }

    /// Forgets an observation. Its token stays taken until no server can be using it.
    pub(super) fn remove(&mut self, now: Instant, id: ObservationId) {
        self.break_off(id);
        let Some(watch) = self.watches.remove(&id) else {
            return;
        };
        self.by_token.remove(&watch.token);
        self.lingering.retain(|of| *of != id);
        if let Some(at) = watch.wake {
            self.timers.remove(&(at, id));
        }
        let used = watch.first_sent.is_some() || watch.last_sent.is_some();
        let free_at = match (used, watch.may_be_registered()) {
            (false, _) => Instant::ZERO,
            (true, true) => now + ASKED_WITHIN,
            (true, false) => now,
        };
        self.acts.push_back(Act::Free(watch.token, free_at));
    }
}
