//! Whose turn it is: changes, leisure, pace, and Confirmable notifications in between.

use super::*;

/// So many observers are looked at in one round, so that other messages do not wait for all of them.
const AT_ONCE: usize = 128;
/// A round is followed by the next one after this long.
const ROUND: Duration = Duration::from_millis(1);
/// So many places are looked at in one step.
const LOOK_AT: u32 = 32;
/// An answer that has been on its way for this long has been lost.
const LOST: Duration = Duration::from_secs(3_600);

impl Observers {
    /// A resource has changed: all its observers are to be told.
    pub(in crate::server) fn changed(&mut self, resource: ResourceId) -> usize {
        let Some(watched) = self.watched.get_mut(&resource) else {
            return 0;
        };
        watched.version = watched.version.wrapping_add(1);
        watched.untold = watched.observers.len();
        if !self.walks.contains(&resource) {
            self.walks.push_back(resource);
        }
        watched.untold
    }

    /// The next sequence number of an observer: time in steps of 16 µs, so that it takes longer than 256 s to come round,
    /// and greater than the last one in any case (RFC 7641 section 4.4).
    pub(super) fn number(&mut self, now: Instant, id: ObserverId) -> u32 {
        let Some(observer) = self.table.get_mut(id) else {
            return 0;
        };
        let clock = now.as_micros() >> 4;
        observer.number = clock.max(observer.number + 1);
        (observer.number & 0x00ff_ffff) as u32 // cut to 24 bits
    }

    /// The first answer of an observer leaves: in its leisure, if it was asked through a group.
    pub(super) fn established(&mut self, now: Instant, id: ObserverId) {
        let Some(observer) = self.table.get(id) else {
            return;
        };
        let way = self.ways.get(usize::from(observer.way));
        if let Some(group) = way.map(|way| way.local)
            && crate::path::is_group_address(group.ip())
        {
            let end = now + leisure_of(observer);
            let (_, until) = self.leisures.entry(group).or_insert((now, end));
            *until = (*until).max(end);
        }
        // A protected answer is not made yet: what protects it comes back when it is.
        if observer.who == 0 {
            self.rest(now, id);
        }
    }

    /// What was made for an observer is made.
    pub(crate) fn rest(&mut self, now: Instant, id: ObserverId) {
        let Some(observer) = self.table.get_mut(id) else {
            return;
        };
        if observer.state != State::Underway {
            return;
        }
        observer.state = State::Quiet;
        if observer.changed {
            self.schedule(now, id);
        }
    }

    /// The CoAP group that an observer came through, also if it has asked once more in person since.
    fn group_of(&self, observer: &Observer) -> Option<SocketAddr> {
        let way = self.ways.get(usize::from(observer.group))?;
        Some(way.local)
    }

    /// A quiet observer has something to be told.
    fn schedule(&mut self, now: Instant, id: ObserverId) {
        let Some(observer) = self.table.get(id) else {
            return;
        };
        if observer.outstanding {
            return self.set(id, State::Waiting);
        }
        let due = match self.group_of(observer) {
            Some(group) => {
                let (resource, leisure) = (observer.resource, leisure_of(observer));
                self.due_in_group(now, group, resource, leisure)
            }
            None => now,
        };
        match due > now {
            true => self.wait(id, due),
            false => self.make_ready(id),
        }
    }

    /// When an observer that came through a group is notified of the last change: somewhere in the leisure period of that
    /// change, which begins when that of the last other change of the group is over (groupcomm-bis-18 section 3.7). All
    /// changes until then share it, so that nobody waits for more than two periods.
    fn due_in_group(
        &mut self,
        now: Instant,
        group: SocketAddr,
        resource: ResourceId,
        leisure: Duration,
    ) -> Instant {
        let Some(watched) = self.watched.get_mut(&resource) else {
            return now;
        };
        let version = watched.version;
        let of_change =
            |p: &&Period| p.group == group && p.version == version && now <= p.start + leisure;
        let start = match watched.periods.iter().find(of_change) {
            Some(period) => period.start,
            None => {
                self.leisures.retain(|_, (_, until)| *until > now);
                let start = match self.leisures.get(&group) {
                    Some((start, _)) if *start > now => *start,
                    Some((_, until)) => *until,
                    None => now,
                };
                watched.periods.retain(|period| period.group != group);
                watched.periods.push(Period {
                    group,
                    version,
                    start,
                });
                start
            }
        };
        let end = start + leisure;
        let (last, until) = self.leisures.entry(group).or_insert((start, end));
        (*last, *until) = ((*last).max(start), (*until).max(end));
        let from = start.max(now);
        from + self.draw(end.since(from))
    }

    /// Uniform in `0..=limit`, to the microsecond.
    pub(super) fn draw(&mut self, limit: Duration) -> Duration {
        let (hash, drawn) = &mut self.delays;
        *drawn = drawn.wrapping_add(1);
        let random = u128::from(hash.bytes(&drawn.to_be_bytes()));
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let micros = (random * (u128::from(limit) + 1)) >> 64;
        Duration::from_micros(micros as u64) // at most the limit
    }

    fn set(&mut self, id: ObserverId, state: State) {
        if let Some(observer) = self.table.get_mut(id) {
            observer.state = state;
        }
    }

    pub(super) fn wait(&mut self, id: ObserverId, due: Instant) {
        if let Some(observer) = self.table.get_mut(id) {
            observer.state = State::Due;
            observer.due = due;
            self.timers.insert((due, id.index));
        }
    }

    fn make_ready(&mut self, id: ObserverId) {
        self.set(id, State::Ready);
        self.ready.push_back(id);
    }

    /// Is there anything that [`poll`](Self::poll) could look at now?
    pub(crate) fn has_turns(&self, now: Instant) -> bool {
        self.next_timeout().is_some_and(|due| due <= now)
    }

    /// When [`poll`](Self::poll) has something to look at.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        if self.table.len() == 0 {
            return None;
        }
        // When the round is full, everything waits for the next one.
        let earliest = match self.in_round < AT_ONCE {
            true => Instant::ZERO,
            false => self.round_ends,
        };
        let busy = !self.ready.is_empty() || !self.walks.is_empty() || self.looking.is_some();
        let at_once = busy.then_some(earliest);
        let timer = self.timers.first().map(|(due, _)| (*due).max(earliest));
        let look = Some(self.look_at.max(earliest));
        [at_once, timer, look, self.gives_way_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next observer to be notified. `nstart`: so many Confirmable notifications to one endpoint at a time.
    pub(crate) fn poll(&mut self, now: Instant, nstart: usize) -> Option<Turn> {
        if now >= self.round_ends {
            self.in_round = 0;
        }
        if self.table.len() > 0 && now >= self.look_at {
            self.looking = Some(0);
            self.look_at = now + self.look_again();
        }
        while self.in_round < AT_ONCE {
            let candidate = self.next_candidate(now);
            if candidate.is_none() && !self.tell_next(now) && !self.look(now) {
                return None;
            }
            if self.in_round == 0 {
                self.round_ends = now + ROUND;
            }
            self.in_round += 1;
            if let Some(id) = candidate {
                if let Some(turn) = self.begin(now, id, nstart) {
                    return Some(turn);
                }
                // Whom a place was given may have had no use for it.
                if !self.is_crowded(false) {
                    self.fill_place();
                }
            }
        }
        None
    }

    /// The next observer that may be notified, as far as change and leisure go.
    fn next_candidate(&mut self, now: Instant) -> Option<ObserverId> {
        if let Some(id) = self.ready.pop_front() {
            return Some(id);
        }
        let (due, index) = self.timers.first().copied()?;
        if due > now {
            return None;
        }
        self.timers.pop_first();
        self.table.key(index)
    }

    /// Tells one more observer that its resource has changed; false if all know.
    fn tell_next(&mut self, now: Instant) -> bool {
        loop {
            let Some(resource) = self.walks.front().copied() else {
                return false;
            };
            let next = self.watched.get_mut(&resource).and_then(|watched| {
                watched.untold = watched.untold.checked_sub(1)?;
                let index = *watched.observers.get(watched.untold)?;
                Some((index, watched.version))
            });
            let Some((index, version)) = next else {
                self.walks.pop_front();
                continue;
            };
            if let Some(id) = self.table.key(index)
                && let Some(observer) = self.table.get_mut(id)
                && observer.version != version
            {
                observer.version = version;
                observer.changed = true;
                if observer.state == State::Quiet {
                    self.schedule(now, id);
                }
            }
            return true;
        }
    }

    /// Begins the turn of an observer, unless it has to wait for something.
    fn begin(&mut self, now: Instant, id: ObserverId, nstart: usize) -> Option<Turn> {
        let within = self.config.confirm_within.min(ObserveConfig::DAY);
        let look_every = self.config.look_every();
        let stranger = self.table.get(id)?.is_stranger();
        let crowded = self.is_crowded(stranger);
        let observer = self.table.get_mut(id)?;
        if !observer.changed {
            observer.state = State::Quiet; // it has registered anew meanwhile
            return None;
        }
        let many = observer.unconfirmed.saturating_add(1) >= self.config.confirm_every;
        let long = now + look_every >= observer.acknowledged + within;
        let peer = self.peers.get_mut(observer.peer)?;
        let confirm = many || long || stranger;
        let busy = usize::from(*peer.outstanding(stranger)) >= nstart;
        if observer.outstanding || (confirm && busy) {
            observer.state = State::Waiting;
            return None;
        }
        if confirm {
            if crowded {
                observer.state = State::Crowded;
                let line = match (stranger, observer.withdrawn) {
                    (true, _) => &mut self.crowded_strangers,
                    (false, 0) => &mut self.crowded,
                    (false, _) => &mut self.crowded_again,
                };
                line.push_back(id);
                return None;
            }
            *peer.outstanding(stranger) += 1;
            self.unacknowledged += 1;
            self.unacknowledged_by_strangers += usize::from(stranger);
        } else {
            let held_until = peer.held_until;
            if held_until > now {
                self.wait(id, held_until);
                return None;
            }
            peer.held_until = now + peer.pause(self.config.pause);
        }
        observer.state = State::Underway;
        observer.due = now;
        observer.changed = false;
        Some(Turn {
            observer: id,
            peer: observer.peer,
            confirm,
            stranger,
        })
    }

    /// Are there so many Confirmable notifications on their way that another one to somebody, or to a stranger, waits?
    fn is_crowded(&self, stranger: bool) -> bool {
        let places = self.config.unacknowledged.max(1);
        self.unacknowledged >= places
            || (stranger && self.unacknowledged_by_strangers >= places.div_ceil(4))
    }

    /// The last notification of an observer is Confirmable if that is possible: there is no next one. Such a one gives way to
    /// nobody, so they leave half of the places to those that go on.
    pub(crate) fn confirm_last(&mut self, turn: &mut Turn, address: SocketAddr, nstart: usize) {
        // The endpoint went with its last observation.
        let Some(id) = self.enter_peer(address) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let busy = usize::from(*peer.outstanding(turn.stranger)) >= nstart;
        let half = self.config.unacknowledged.max(1).div_ceil(2);
        let crowded = self.unacknowledged >= half || self.is_crowded(turn.stranger);
        if !turn.confirm && !busy && !crowded {
            self.unacknowledged += 1;
            self.unacknowledged_by_strangers += usize::from(turn.stranger);
            if let Some(peer) = self.peers.get_mut(id) {
                *peer.outstanding(turn.stranger) += 1;
            }
            turn.peer = id;
            turn.confirm = true;
        }
        self.leave(id);
    }

    /// A notification was sent.
    pub(crate) fn sent(&mut self, now: Instant, turn: &Turn, mid: MessageId) {
        self.counters.notifications += 1;
        self.counters.confirmable += u64::from(turn.confirm);
        let Some(observer) = self.table.get_mut(turn.observer) else {
            return;
        };
        observer.mid = mid.0;
        observer.notified = true;
        observer.due = now;
        match turn.confirm {
            true => observer.outstanding = true,
            false => observer.unconfirmed = observer.unconfirmed.saturating_add(1),
        }
        if turn.confirm && !turn.stranger {
            self.take_place(now, turn);
        }
        self.rest(now, turn.observer);
    }

    /// Nothing was sent this time: there was nothing to say, or it is tried again after `delay`.
    pub(crate) fn unsent(&mut self, now: Instant, turn: &Turn, delay: Option<Duration>) {
        self.release(now, turn);
        match (self.table.get_mut(turn.observer), delay) {
            (Some(observer), Some(delay)) => {
                observer.changed = true;
                self.counters.put_off += 1;
                self.wait(turn.observer, now + delay.max(ROUND));
            }
            (Some(_), None) => self.rest(now, turn.observer),
            (None, _) => {}
        }
    }

    /// A Confirmable notification is on its way no more: others may go.
    pub(crate) fn release(&mut self, now: Instant, turn: &Turn) {
        if !turn.confirm {
            return;
        }
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        self.unacknowledged_by_strangers -= usize::from(turn.stranger);
        if let Some(peer) = self.peers.get_mut(turn.peer) {
            let outstanding = peer.outstanding(turn.stranger);
            *outstanding = outstanding.saturating_sub(1);
        }
        if let Some(observer) = self.table.get_mut(turn.observer) {
            observer.outstanding = false;
            self.places.leave(turn.observer.index);
        }
        self.fill_place();
        let waiting: Vec<ObserverId> = self
            .of_peer(turn.peer)
            .filter(|(_, observer)| observer.state == State::Waiting)
            .map(|(id, _)| id)
            .collect();
        for id in waiting {
            match id == turn.observer {
                true => self.schedule(now, id),
                false => self.make_ready(id),
            }
        }
        self.leave(turn.peer);
    }

    /// Whoever waits for a place is the next to begin.
    fn fill_place(&mut self) {
        if let Some(id) = self.next_crowded() {
            self.set(id, State::Ready);
            self.ready.push_front(id);
        }
    }

    /// Whoever is to have the place that came free: strangers when nobody else waits for it.
    fn next_crowded(&mut self) -> Option<ObserverId> {
        while let Some(id) = self
            .crowded
            .pop_front()
            .or_else(|| self.crowded_again.pop_front())
        {
            if self.contains(id) {
                return Some(id);
            }
        }
        while !self.is_crowded(true) {
            let id = self.crowded_strangers.pop_front()?;
            if self.contains(id) {
                return Some(id);
            }
        }
        None
    }

    /// A Confirmable notification was acknowledged.
    pub(crate) fn acknowledged(&mut self, now: Instant, turn: &Turn, ack_timeout: Duration) {
        self.counters.acknowledged += 1;
        if let Some(observer) = self.table.get_mut(turn.observer) {
            observer.unconfirmed = 0;
            observer.withdrawn = 0;
            observer.acknowledged = now;
            // Whoever acknowledges a message that went there has received it, or has guessed its Message ID: that of one to
            // a stranger cannot be foreseen.
            if observer.is_stranger() {
                self.strangers -= 1;
                if let Some(watched) = self.watched.get_mut(&observer.resource) {
                    watched.strangers -= 1;
                }
            }
            observer.reachable = true;
            // One that may have been sent twice measures nothing (RFC 6298 section 3).
            let taken = now.since(observer.due);
            if taken < ack_timeout
                && let Some(peer) = self.peers.get_mut(turn.peer)
            {
                peer.measured(taken);
            }
        }
        self.release(now, turn);
    }

    /// How soon it is looked again whether anybody has not been heard of for long: sooner for strangers.
    fn look_again(&self) -> Duration {
        let every = self.config.look_every();
        match self.strangers {
            0 => every,
            _ => every.min(ObserveConfig::STRANGE),
        }
    }

    /// Looks at some more places for observers that have not been heard of for long; false if all were looked at.
    fn look(&mut self, now: Instant) -> bool {
        let Some(from) = self.looking else {
            return false;
        };
        let to = from.saturating_add(LOOK_AT);
        self.looking = ((to as usize) < self.table.places()).then_some(to);
        let every = self.config.look_every();
        let within = self.config.confirm_within.min(ObserveConfig::DAY);
        for index in from..to {
            let Some(id) = self.table.key(index) else {
                continue;
            };
            let Some(observer) = self.table.get_mut(id) else {
                continue;
            };
            let long = now + every >= observer.acknowledged + within
                || (observer.is_stranger()
                    && now >= observer.acknowledged + ObserveConfig::STRANGE);
            match observer.state {
                State::Quiet if long && !observer.outstanding => {
                    observer.changed = true;
                    self.schedule(now, id);
                }
                State::Underway if observer.due + LOST <= now => {
                    self.end(id);
                }
                _ => {}
            }
        }
        true
    }
}

impl Peer {
    /// How many Confirmable notifications to a stranger at this address, or to others there, are on their way.
    pub(super) fn outstanding(&mut self, stranger: bool) -> &mut u16 {
        match stranger {
            true => &mut self.outstanding_to_strangers,
            false => &mut self.outstanding,
        }
    }

    /// The shortest time between two Non-confirmable notifications.
    pub(super) fn pause(&self, unknown: Duration) -> Duration {
        match self.round_trip {
            0 => unknown,
            micros => Duration::from_micros(micros.into()),
        }
    }

    /// A round trip took this long; the mean goes there by an eighth (RFC 6298 section 2).
    pub(super) fn measured(&mut self, taken: Duration) {
        let taken = u32::try_from(taken.as_micros()).unwrap_or(u32::MAX).max(1);
        self.round_trip = match self.round_trip {
            0 => taken,
            known => known - known / 8 + taken / 8,
        }
        .max(1);
    }
}

/// The leisure of the group that an observer came through.
fn leisure_of(observer: &Observer) -> Duration {
    Duration::from_millis(observer.leisure.into())
}
