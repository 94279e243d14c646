//! One answer that is kept.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{OptionNumber, decode_uint, encode_uint};

use super::{Heard, Key};
use crate::identity::{Identity, Sender};
use crate::message::{Options, Response};
use crate::path::Path;
use crate::time::Instant;

/// Max-Age of a response that states none, in seconds (RFC 7252 section 5.10.5).
const DEFAULT_MAX_AGE: u32 = 60;
/// So many groups of a question are remembered with its answers.
const GROUPS: usize = 4;

#[derive(Debug)]
pub(crate) struct Entry {
    response: Response,
    pub(crate) path: Path,
    pub(crate) sender: Sender,
    /// The groups through which it was asked for, and the authority of the URI. None: only by unicast.
    through: Vec<SocketAddr>,
    pub(crate) authority: Vec<u8>,
    /// When it came or was confirmed.
    at: Instant,
    /// When the request left that it answers, or that it was confirmed to, in the order of things.
    pub(super) asked: u64,
    /// It is fresh up to and with this age; `None`: it is not.
    fresh_for: Option<Duration>,
    /// Another server uses the same entity tag.
    duplicated: bool,
    /// How many requests validate it.
    pub(super) in_use: u32,
    /// When it was last used, and when its tag was last offered to a group; in the order of things.
    pub(super) used: u64,
    pub(super) offered: u64,
    pub(super) bytes: usize,
}

/// An answer to give.
#[derive(Debug)]
pub(crate) struct Stored {
    /// Max-Age says for how long it is still fresh.
    pub(crate) response: Response,
    pub(crate) path: Path,
    pub(crate) sender: Sender,
    pub(crate) age: Duration,
}

impl Entry {
    pub(super) fn new(
        now: Instant,
        keep_for: Duration,
        serial: u64,
        key: &Key,
        heard: &Heard<'_>,
    ) -> Self {
        let (groups, authority) = heard.through.unwrap_or_default();
        let mut entry = Self {
            response: heard.response.clone(),
            path: *heard.path,
            sender: heard.sender.clone(),
            through: groups.iter().take(GROUPS).copied().collect(),
            authority: authority.to_vec(),
            at: now,
            asked: heard.asked,
            fresh_for: None,
            duplicated: false,
            in_use: 0,
            used: serial,
            offered: serial,
            bytes: 0,
        };
        entry.refresh(now, keep_for, key);
        entry
    }

    /// Takes over what stays true of the answer that this one replaces.
    pub(super) fn replaces(&mut self, old: Self, by_unicast: bool) {
        self.in_use = old.in_use;
        self.duplicated = old.duplicated && old.tag() == self.tag();
        if by_unicast {
            let more = old.through.len() * size_of::<SocketAddr>() + old.authority.len();
            self.through = old.through;
            self.authority = old.authority;
            self.bytes += more;
        }
    }

    /// It is, or is confirmed to be, the current one.
    fn refresh(&mut self, now: Instant, keep_for: Duration, key: &Key) {
        self.at = now;
        let max_age = max_age(&self.response.options);
        self.fresh_for = (!max_age.is_zero()).then_some(max_age.min(keep_for));
        self.bytes = self.footprint(key);
    }

    /// Updates it by a 2.03: all options of each Safe-to-Forward type in the response are replaced, and Max-Age in any case
    /// (RFC 7252 section 5.9.1.3).
    pub(super) fn update(
        &mut self,
        now: Instant,
        keep_for: Duration,
        key: &Key,
        response: &Response,
    ) {
        let by = &response.options;
        let replaced = |number: OptionNumber| {
            number == OptionNumber::MAX_AGE || !number.is_unsafe() && by.get(number).is_some()
        };
        let mut options = Options::new();
        let kept = self.response.options.iter().filter(|(n, _)| !replaced(*n));
        for (number, value) in kept.chain(by.iter().filter(|(n, _)| replaced(*n))) {
            options.push(number, value);
        }
        self.response.options = options;
        self.refresh(now, keep_for, key);
    }

    /// "Not fresh after its age is greater than the specified number of seconds" (RFC 7252 section 5.6.1).
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        self.fresh_for
            .is_some_and(|fresh_for| self.age(now) <= fresh_for)
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.since(self.at)
    }

    pub(super) fn is_expired(&self, now: Instant, keep_for: Duration) -> bool {
        self.age(now) > keep_for
    }

    /// It can neither be given as an answer nor be validated.
    pub(super) fn is_useless(&self) -> bool {
        self.fresh_for.is_none() && self.tag().is_none()
    }

    /// It is not fresh any more; was it?
    pub(super) fn outdate(&mut self) -> bool {
        self.fresh_for.take().is_some()
    }

    pub(crate) fn tag(&self) -> Option<&[u8]> {
        entity_tag(&self.response)
    }

    pub(super) fn is_duplicated(&self) -> bool {
        self.duplicated
    }

    pub(super) fn mark_duplicated(&mut self, count: &mut u64) {
        if !core::mem::replace(&mut self.duplicated, true) {
            *count += 1;
        }
    }

    /// Has it answered a request to one of these groups?
    pub(crate) fn came_through(&self, groups: &[SocketAddr]) -> bool {
        self.through.iter().any(|group| groups.contains(group))
    }

    /// The answer itself, without what depends on the time.
    pub(crate) fn response(&self) -> &Response {
        &self.response
    }

    /// The answer with its age taken into account: of Max-Age what remains, in whole seconds.
    pub(crate) fn stored(&self, now: Instant) -> Stored {
        let age = self.age(now);
        let remaining = self.fresh_for.unwrap_or_default().saturating_sub(age);
        let mut response = self.response.clone();
        let remaining = u32::try_from(remaining.as_secs()).unwrap_or(u32::MAX);
        response
            .options
            .set(OptionNumber::MAX_AGE, encode_uint(remaining).as_bytes());
        Stored {
            response,
            path: self.path,
            sender: self.sender.clone(),
            age,
        }
    }

    fn footprint(&self, key: &Key) -> usize {
        let options = self.response.options.iter();
        let options: usize = options.map(|(_, value)| value.len() + 12).sum();
        let identity = match &self.sender {
            Sender::Proven(Identity(identity)) => identity.len(),
            Sender::Unauthenticated => 0,
        };
        size_of::<(Key, Self)>()
            + key.footprint()
            + self.response.payload.len()
            + options
            + identity
            + self.through.len() * size_of::<SocketAddr>()
            + self.authority.len()
    }
}

/// The entity tag of a response: one option of 1 to 8 bytes (RFC 7252 section 5.10.6).
pub(crate) fn entity_tag(response: &Response) -> Option<&[u8]> {
    let mut tags = response.options.all(OptionNumber::ETAG);
    match (tags.next(), tags.next()) {
        (Some(tag), None) if (1..=8).contains(&tag.len()) => Some(tag),
        _ => None,
    }
}

/// Is it a whole representation, and not one block of several, nor a notification?
pub(super) fn is_whole(response: &Response) -> bool {
    let options = &response.options;
    let first_and_last = |value: &[u8]| match value {
        [] => true,
        [value] => value & 0xf8 == 0,
        _ => false,
    };
    options.get(OptionNumber::OBSERVE).is_none()
        && options.get(OptionNumber::BLOCK2).is_none_or(first_and_last)
        && options.get(OptionNumber::Q_BLOCK2).is_none()
}

fn max_age(options: &Options) -> Duration {
    let stated = options.get(OptionNumber::MAX_AGE).and_then(decode_uint);
    Duration::from_secs(stated.unwrap_or(DEFAULT_MAX_AGE).into())
}
