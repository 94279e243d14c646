//! Answers that are kept to answer with them again (RFC 7252 section 5.6, groupcomm-bis section 3.2).
//!
//! An answer is kept under what was asked, the security context, and who answered; so the answers of the members of a
//! group stand side by side, one of each, and nobody can replace that of another. It is used only for requests that ask
//! for it.
//!
//! # Who gives way to whom
//!
//! Each responder has a share. Beyond that, its own oldest answer makes room for its next. When the whole cache is full,
//! the oldest answer of whoever keeps most gives way, if that is more than the newcomer would have; else the newcomer's
//! own oldest one; for a newcomer that has none, one that is not fresh any more. If there is none of these, the new
//! answer is not kept. So nobody can push out the fresh answers of those who keep no more than they do.
//!
//! # What was changed meanwhile
//!
//! Answers to a group come late: a server makes them at once and holds them back for its leisure. So it counts when the
//! request left. An answer to a request that left before a request of our own changed the resource is kept as not fresh, and
//! one to an older request never takes the place of one to a newer.
//!
//! A notification answers no request of its own, and nothing says whether it was made before or after a change that is reported
//! about the same time: neither the order of notifications (RFC 7641 section 3.4) nor the Partial IVs of its sender under Group
//! OSCORE count the requests of others, and the response to a command is in no order with them. So one that arrives within round trip and
//! leisure, as the observation states them, after the last change of its resource is kept as not fresh: by then whatever was made
//! before has been sent and has arrived, in the network for which the observation was configured. MAX_LATENCY in their place would be
//! the worst case of any network, and with 105 s more than most answers are fresh: a client that gives commands now and then would
//! not get a fresh notification at all. The next one, or a request, brings what is fresh again.
//!
//! Such a notification takes the place also of an answer that came since the change and is fresh: it may as well have been made after
//! that, and then what it says holds, while no other would come. Which of them is newer is for the server to say, so neither is given
//! until it has been asked. Changes are noted by resource, whichever server they were made at: for so long no notification about this
//! path is fresh, of whatever server. Answers that were there are outdated of the server that was concerned only.

mod changes;
mod entry;
mod key;
mod overtaken;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{Code, OptionNumber};

use crate::expect::responder_address;
use crate::identity::Sender;
use crate::message::Response;
use crate::path::Path;
use crate::time::Instant;

use changes::Changes;
use entry::Entry;
pub(crate) use entry::{Stored, entity_tag};
use key::Shareholder;
pub(crate) use key::{Context, Key, RequestKey, ResourcePath, Responder};
use overtaken::Overtaken;

/// What the cache of a client may take. As long as no request asks for it, it takes no more than the paths of the last 64 resources
/// that requests of this client have changed, and for as many as 1,024 resources of servers whose answers were not kept, the path and
/// who that was; these count against none of the limits here, and stay when everything is forgotten. When they become more, the
/// oldest of whoever has most gives way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Answers that are kept; default 1024.
    pub entries: usize,
    /// Of these, answers of one responder: whoever is proven, else an address, in IPv6 a /64 prefix; default 16.
    pub entries_per_responder: usize,
    /// Bytes that all of them take in memory, roughly; default 1 MiB.
    pub bytes: usize,
    /// Bytes that those of one responder take; default 64 KiB. A larger answer is not kept.
    pub bytes_per_responder: usize,
    /// For how long an answer is kept, fresh or not, unless it is confirmed; default 24 h. A longer Max-Age is cut to this.
    pub keep_for: Duration,
    /// ETag or Multi-ETag options in one group request; default 4. What is left goes into the next requests.
    pub tags: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            entries: 1_024,
            entries_per_responder: 16,
            bytes: 1 << 20,
            bytes_per_responder: 64 << 10,
            keep_for: Duration::from_secs(24 * 60 * 60),
            tags: 4,
        }
    }
}

/// What the cache has been good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Answers given from the cache.
    pub hits: u64,
    /// Requests and members for which it had an answer that was not fresh any more.
    pub stale: u64,
    /// Answers that their server has confirmed (2.03).
    pub validated: u64,
    /// Answers that gave way before their time.
    pub evicted: u64,
    /// Answers for which there was no room.
    pub refused: u64,
    /// Answers that were marked as not fresh, because something was changed.
    pub invalidated: u64,
    /// Answers whose entity tag is not used in group requests any more, because another server uses the same.
    pub duplicated: u64,
}

/// How many answers of one responder there are, and what they take.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    entries: usize,
    bytes: usize,
}

/// An answer that came in, and through what.
#[derive(Clone, Copy)]
pub(crate) struct Heard<'a> {
    pub(crate) response: &'a Response,
    pub(crate) path: &'a Path,
    pub(crate) sender: &'a Sender,
    /// The groups of the request that it answers, and the authority of its URI; none for a unicast request.
    pub(crate) through: Option<(&'a [SocketAddr], &'a [u8])>,
    /// When the request left that it answers: a [moment](Cache::moment).
    pub(crate) asked: u64,
    /// A notification may have been made as early as this; none for an answer, which was made after it was asked for.
    pub(crate) made_since: Option<Instant>,
}

/// What there is for a request.
pub(crate) enum Found {
    /// An answer to give.
    Fresh(Stored),
    /// One that is not fresh any more, with its entity tag.
    Stale(Vec<u8>),
    /// Nothing of use.
    Nothing,
}

/// The answers that are kept.
#[derive(Debug)]
pub(crate) struct Cache {
    config: CacheConfig,
    entries: BTreeMap<Key, Entry>,
    usage: BTreeMap<Shareholder, Usage>,
    total: Usage,
    /// Counts what happens, to know what came first.
    serial: u64,
    changes: Changes,
    overtaken: Overtaken,
    /// When the members of security groups may last have become others.
    reviewed: u64,
    pub(crate) counters: CacheCounters,
}

impl Cache {
    pub(crate) fn new(config: CacheConfig) -> Self {
        Self {
            config,
            entries: BTreeMap::new(),
            usage: BTreeMap::new(),
            total: Usage::default(),
            serial: 0,
            changes: Changes::default(),
            overtaken: Overtaken::default(),
            reviewed: 0,
            counters: CacheCounters::default(),
        }
    }

    /// How many answers are kept.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is there something under this key, fresh or not?
    pub(crate) fn keeps(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// This moment: after everything that was, before everything that will be.
    pub(crate) fn moment(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    // What comes in

    /// Takes note of a response that is not 2.03. Whatever was kept before is replaced (RFC 7252 section 5.6.1), unless it
    /// answers a newer request.
    pub(crate) fn hear(&mut self, now: Instant, key: Key, heard: &Heard<'_>) {
        // A proxy that does not say which server it speaks for would fill in its own address.
        if heard
            .response
            .options
            .get(OptionNumber::REPLY_FROM)
            .is_some()
        {
            return;
        }
        let is_newer = |entry: &Entry| entry.asked > heard.asked;
        let is_member = matches!(key.responder, Responder::Proven(_));
        let before_review = is_member && heard.asked < self.reviewed;
        if before_review || self.entries.get(&key).is_some_and(is_newer) {
            return;
        }
        if !self.replace(now, &key, heard) {
            // What answers an older request does not come in its place.
            self.overtaken.note(&key, heard.asked);
        }
    }

    /// Says whether the new answer is kept.
    fn replace(&mut self, now: Instant, key: &Key, heard: &Heard<'_>) -> bool {
        let old = self.remove(key);
        let response = heard.response;
        if response.code != Code::CONTENT || !entry::is_whole(response) {
            return false;
        }
        self.serial += 1;
        let mut entry = Entry::new(now, self.config.keep_for, self.serial, key, heard);
        self.outdate_if_changed(key, &mut entry);
        if entry.is_useless() {
            return false;
        }
        self.outdate_if_late(key, &mut entry, heard.made_since);
        // Also without an entity tag it keeps the place that there is, which the next notification refreshes; it takes no new one.
        if entry.is_useless() && old.is_none() {
            return false;
        }
        if let Some(old) = old {
            entry.replaces(old, heard.through.is_none());
        }
        self.find_duplicates(key, &mut entry);
        let has_room = self.make_room(now, key, entry.bytes);
        match has_room {
            true => self.insert(key.clone(), entry),
            false => self.counters.refused += 1,
        }
        has_room
    }

    fn outdate_if_changed(&mut self, key: &Key, entry: &mut Entry) {
        let changed = self.changes.since(&key.request.path, entry.asked)
            || self.overtaken.since(key, entry.asked);
        if changed && entry.outdate() {
            self.counters.invalidated += 1;
        }
    }

    /// A notification may tell how it was before a change.
    fn outdate_if_late(&mut self, key: &Key, entry: &mut Entry, made_since: Option<Instant>) {
        let path = &key.request.path;
        let late = made_since.is_some_and(|then| self.changes.since_instant(path, then));
        if late && entry.outdate() {
            self.counters.invalidated += 1;
        }
    }

    /// A server confirms what is kept of it (RFC 7252 section 5.9.1.3), as it was `asked` to at this moment: the answer as it
    /// is now. `None`: nothing with this entity tag is.
    pub(crate) fn validated(
        &mut self,
        now: Instant,
        key: &Key,
        response: &Response,
        asked: u64,
    ) -> Option<Stored> {
        if !self.is_confirmed(key, response) {
            return None;
        }
        self.counters.validated += 1;
        let newer = self.entries.get(key).filter(|entry| entry.asked > asked);
        if let Some(newer) = newer {
            return Some(newer.stored(now));
        }
        let mut entry = self.remove(key)?;
        entry.update(now, self.config.keep_for, key, response);
        entry.asked = asked;
        self.outdate_if_changed(key, &mut entry);
        let stored = entry.stored(now);
        if self.make_room(now, key, entry.bytes) {
            self.insert(key.clone(), entry);
        } else {
            self.counters.evicted += 1;
        }
        Some(stored)
    }

    /// Is this the entity tag of what is kept?
    pub(crate) fn is_confirmed(&self, key: &Key, response: &Response) -> bool {
        entity_tag(response).is_some_and(|tag| self.tag(key) == Some(tag))
    }

    /// A server has used a tag that belongs to other servers. It is not to be used for validation by group requests again
    /// (groupcomm-bis section 3.2.2.1).
    pub(crate) fn collided(&mut self, request: &RequestKey, context: Context, tag: &[u8]) {
        let duplicated = &mut self.counters.duplicated;
        for (_, entry) in of_request(&mut self.entries, request, context) {
            if entry.tag() == Some(tag) {
                entry.mark_duplicated(duplicated);
            }
        }
    }

    /// A resource was changed by this server, or is about to be: nothing that is kept of it is fresh any more.
    pub(crate) fn changed(
        &mut self,
        now: Instant,
        path: &ResourcePath,
        by: &Path,
        sender: &Sender,
    ) {
        self.note_change(now, path);
        let address = responder_address(by);
        self.outdate(path, |key, entry| {
            let same_sender = sender.is_proven() && entry.sender == *sender;
            let same_address = responder_address(&entry.path) == address;
            same_sender || same_address || key.responder == Responder::Address(address)
        });
    }

    /// A resource is about to be changed by a group request: whoever has answered in this context may be a member, and so may
    /// who has answered through these groups, in whatever context.
    pub(crate) fn changed_by_group(
        &mut self,
        now: Instant,
        path: &ResourcePath,
        context: Context,
        groups: &[SocketAddr],
    ) {
        self.note_change(now, path);
        self.outdate(path, |key, entry| {
            key.context == context || entry.came_through(groups)
        });
    }

    /// A resource may have been changed by whoever was asked at this address, in this context: by that one, if it is known
    /// who it is. Nobody has said so.
    pub(crate) fn perhaps_changed(
        &mut self,
        now: Instant,
        path: &ResourcePath,
        address: SocketAddr,
        (context, asked): (Context, Option<Responder>),
    ) {
        self.note_change(now, path);
        self.outdate(path, |key, entry| {
            let was_asked = || asked.as_ref().is_none_or(|one| key.responder == *one);
            responder_address(&entry.path) == address || key.context == context && was_asked()
        });
    }

    fn note_change(&mut self, now: Instant, path: &ResourcePath) {
        let moment = self.moment();
        self.changes.note(path, moment, now);
    }

    fn outdate(&mut self, path: &ResourcePath, concerned: impl Fn(&Key, &Entry) -> bool) {
        let first = Key::first_at(path);
        for (key, entry) in self.entries.range_mut(first..) {
            if key.request.path != *path {
                return;
            }
            if concerned(key, entry) && entry.outdate() {
                self.counters.invalidated += 1;
            }
        }
    }

    /// The endpoint has left a security group.
    #[cfg(feature = "oscore")]
    pub(crate) fn forget_group(&mut self, group: crate::security::GroupId) {
        self.forget(|key| key.context == Context::Group(group));
    }

    /// The members of security groups may be others now: nothing is kept of those who are none, nor of what anybody answers
    /// that was asked before, as it may be one of them.
    #[cfg(feature = "oscore")]
    pub(crate) fn review(&mut self, is_member: impl Fn(crate::security::GroupId, &[u8]) -> bool) {
        self.reviewed = self.moment();
        self.forget(|key| match (key.context, &key.responder) {
            (Context::Group(group), Responder::Proven(identity)) => {
                let credential = identity.credential();
                !credential.is_some_and(|credential| is_member(group, credential))
            }
            _ => false,
        });
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.forget(|_| true);
    }

    fn forget(&mut self, gone: impl Fn(&Key) -> bool) {
        let gone: Vec<Key> = self
            .entries
            .keys()
            .filter(|key| gone(key))
            .cloned()
            .collect();
        for key in gone {
            self.remove(&key);
        }
    }

    // What goes out

    /// What there is for a request to this responder. While it is being validated (`Found::Stale`) it does not give way,
    /// until [`release`](Self::release).
    pub(crate) fn look_up(&mut self, now: Instant, key: &Key) -> Found {
        if let Some(stored) = self.take_fresh(now, key) {
            return Found::Fresh(stored);
        }
        let keep_for = self.config.keep_for;
        let Some(entry) = self.entries.get_mut(key) else {
            return Found::Nothing;
        };
        self.counters.stale += 1;
        match entry.tag().map(<[u8]>::to_vec) {
            Some(tag) if !entry.is_expired(now, keep_for) => {
                entry.in_use += 1;
                Found::Stale(tag)
            }
            _ => Found::Nothing,
        }
    }

    /// A validation has come to its end.
    pub(crate) fn release(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.in_use = entry.in_use.saturating_sub(1);
        }
    }

    /// The answer of this key, if it is fresh.
    pub(crate) fn take_fresh(&mut self, now: Instant, key: &Key) -> Option<Stored> {
        let entry = self
            .entries
            .get_mut(key)
            .filter(|entry| entry.is_fresh(now))?;
        self.counters.hits += 1;
        self.serial += 1;
        entry.used = self.serial;
        Some(entry.stored(now))
    }

    /// The entity tag of what is kept.
    pub(crate) fn tag(&self, key: &Key) -> Option<&[u8]> {
        self.entries.get(key)?.tag()
    }

    /// From where, and from whom, what is kept has come.
    pub(crate) fn origin(&self, key: &Key) -> Option<(&Path, &Sender)> {
        let entry = self.entries.get(key)?;
        Some((&entry.path, &entry.sender))
    }

    /// Everything that is kept of answers to this request.
    pub(crate) fn of_request(
        &self,
        request: &RequestKey,
        context: Context,
    ) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries
            .range(Key::first_for(request, context)..)
            .take_while(move |(key, _)| key.request == *request && key.context == context)
    }

    /// The entity tags that a request to these groups can validate, those first that were offered longest ago: of answers
    /// that came through them and are not fresh. Tags that several servers use are left out if `unique` says so.
    pub(crate) fn tags_to_offer(
        &mut self,
        now: Instant,
        request: &RequestKey,
        context: Context,
        (groups, authority): (&[SocketAddr], &[u8]),
        unique: bool,
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        let keep_for = self.config.keep_for;
        let mut found: Vec<_> = of_request(&mut self.entries, request, context)
            .filter(|(_, entry)| entry.came_through(groups) && entry.authority == authority)
            .filter(|(_, entry)| !(entry.is_fresh(now) || entry.is_expired(now, keep_for)))
            .filter(|(_, entry)| !(unique && entry.is_duplicated()))
            .filter(|(_, entry)| entry.tag().is_some())
            .map(|(_, entry)| entry)
            .collect();
        found.sort_by_key(|entry| entry.offered);
        let mut tags: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
        for entry in found {
            let address = responder_address(&entry.path);
            // One option for each server.
            if tags.len() >= self.config.tags || tags.iter().any(|(known, _)| *known == address) {
                continue;
            }
            self.serial += 1;
            entry.offered = self.serial;
            tags.extend(entry.tag().map(|tag| (address, tag.to_vec())));
        }
        tags
    }

    // The table

    fn insert(&mut self, key: Key, entry: Entry) {
        let usage = self.usage.entry(key.shareholder()).or_default();
        for usage in [usage, &mut self.total] {
            usage.entries += 1;
            usage.bytes += entry.bytes;
        }
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        let holder = key.shareholder();
        if let Some(usage) = self.usage.get_mut(&holder) {
            usage.entries = usage.entries.saturating_sub(1);
            usage.bytes = usage.bytes.saturating_sub(entry.bytes);
            if usage.entries == 0 {
                self.usage.remove(&holder);
            }
        }
        self.total.entries = self.total.entries.saturating_sub(1);
        self.total.bytes = self.total.bytes.saturating_sub(entry.bytes);
        Some(entry)
    }

    /// Makes room for one more answer; says whether there is.
    fn make_room(&mut self, now: Instant, key: &Key, bytes: usize) -> bool {
        if bytes > self.config.bytes_per_responder.min(self.config.bytes)
            || self.config.entries_per_responder.min(self.config.entries) == 0
        {
            return false;
        }
        let holder = key.shareholder();
        loop {
            let own = self.usage.get(&holder).copied().unwrap_or_default();
            let victim = if own.entries >= self.config.entries_per_responder
                || own.bytes + bytes > self.config.bytes_per_responder
            {
                self.oldest(|other, _| *other == holder)
            } else if self.total.entries >= self.config.entries {
                self.victim(now, &holder, |usage| usage.entries, 1)
            } else if self.total.bytes + bytes > self.config.bytes {
                self.victim(now, &holder, |usage| usage.bytes, bytes)
            } else {
                return true;
            };
            let Some(victim) = victim else {
                return false;
            };
            self.remove(&victim);
            self.counters.evicted += 1;
        }
    }

    /// Who gives way to an answer of `holder` that takes `more`: see the head of this module.
    fn victim(
        &self,
        now: Instant,
        holder: &Shareholder,
        amount: impl Fn(&Usage) -> usize,
        more: usize,
    ) -> Option<Key> {
        let keep_for = self.config.keep_for;
        if let Some(expired) = self.oldest(|_, entry| entry.is_expired(now, keep_for)) {
            return Some(expired);
        }
        let own = self.usage.get(holder).map_or(0, &amount);
        let largest = self.usage.iter().max_by_key(|(_, usage)| amount(usage));
        if let Some((largest, usage)) = largest
            && amount(usage) > own + more
        {
            return self.oldest(|other, _| other == largest);
        }
        match own {
            0 => self.oldest(|_, entry| !entry.is_fresh(now)),
            _ => self.oldest(|other, _| other == holder),
        }
    }

    /// The one of these that was used longest ago, and is not being validated.
    fn oldest(&self, which: impl Fn(&Shareholder, &Entry) -> bool) -> Option<Key> {
        self.entries
            .iter()
            .filter(|(key, entry)| entry.in_use == 0 && which(&key.shareholder(), entry))
            .min_by_key(|(_, entry)| entry.used)
            .map(|(key, _)| key.clone())
    }

    /// Marks the tag of a new answer, and those of others that are the same.
    fn find_duplicates(&mut self, key: &Key, entry: &mut Entry) {
        let Some(tag) = entry.tag().map(<[u8]>::to_vec) else {
            return;
        };
        let duplicated = &mut self.counters.duplicated;
        for (_, other) in of_request(&mut self.entries, &key.request, key.context) {
            if other.tag() == Some(&tag) {
                other.mark_duplicated(duplicated);
                entry.mark_duplicated(duplicated);
            }
        }
    }
}

/// As [`Cache::of_request`], to change them.
fn of_request<'a>(
    entries: &'a mut BTreeMap<Key, Entry>,
    request: &'a RequestKey,
    context: Context,
) -> impl Iterator<Item = (&'a Key, &'a mut Entry)> {
    entries
        .range_mut(Key::first_for(request, context)..)
        .take_while(move |(key, _)| key.request == *request && key.context == context)
}

#[cfg(test)]
mod tests;
