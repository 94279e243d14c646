//! Echo values that wait for their answer (draft section 9, RFC 9175).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use subtle::ConstantTimeEq;

/// The Echo values of the current Security Context of one group, by the kid of the client: with the Gid of that context
/// this is the pair (gid, kid) of the text. There is one store for each context, and it ends with it.
///
/// A client has one entry, whatever it sends, with its last [`EchoSettings::values`]: two requests that cross their
/// challenges must not cancel each other for ever, nor must old requests that somebody sends again meanwhile. When the store is full of values that are still good, nobody new is
/// challenged until one is answered or expires; so nobody can push out another's value.
#[derive(Debug)]
pub struct EchoStore {
    waiting: BTreeMap<Box<[u8]>, Entry>,
    settings: EchoSettings,
}

/// The bounds of an [`EchoStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoSettings {
    /// How long a value is good, by default 60 seconds.
    pub lifetime: Duration,
    /// For how many clients values are kept, by default 1024.
    pub clients: usize,
    /// How many values are kept for each of them, by default 16, at least 1; 24 bytes each while they wait.
    pub values: usize,
}

impl Default for EchoSettings {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(60),
            clients: 1024,
            values: 16,
        }
    }
}

/// Random bytes, fresh for each challenge.
pub type EchoValue = [u8; 8];

/// The values of one client, the latest at the end.
#[derive(Clone, Default)]
struct Entry(Vec<Waiting>);

impl Entry {
    fn is_good(&self, now: Duration) -> bool {
        self.0.last().is_some_and(|latest| latest.is_good(now))
    }
}

#[derive(Clone, Copy)]
struct Waiting {
    value: EchoValue,
    /// The first moment at which the value is no longer good.
    end: Duration,
}

impl core::fmt::Debug for Entry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Entry(..)")
    }
}

impl EchoStore {
    /// Nobody challenged yet.
    pub const fn new(settings: EchoSettings) -> Self {
        Self {
            waiting: BTreeMap::new(),
            settings,
        }
    }

    /// Keeps `value` as challenge for the client `kid`. False if the store is full: then the challenge is not to be sent.
    pub fn challenge(&mut self, kid: &[u8], now: Duration, value: EchoValue) -> bool {
        let latest = Waiting {
            value,
            end: now.saturating_add(self.settings.lifetime),
        };
        if !self.waiting.contains_key(kid) && self.waiting.len() >= self.settings.clients {
            self.waiting.retain(|_, entry| entry.is_good(now));
            if self.waiting.len() >= self.settings.clients {
                return false;
            }
        }
        let Entry(values) = self.waiting.entry(kid.into()).or_default();
        values.retain(|value| value.is_good(now));
        if values.len() >= self.settings.values.max(1) {
            values.remove(0);
        }
        values.push(latest);
        true
    }

    /// Whether a value for the client `kid` waits.
    pub fn is_waiting(&self, kid: &[u8], now: Duration) -> bool {
        self.waiting
            .get(kid)
            .is_some_and(|entry| entry.is_good(now))
    }

    /// Whether `value` is a challenge that `kid` was given and that is still good. Compares in constant time. What
    /// was right is used up, together with all else that waited for this client; a wrong value changes nothing.
    pub fn verify(&mut self, kid: &[u8], value: &[u8], now: Duration) -> bool {
        let Some(entry) = self.waiting.get(kid) else {
            return false;
        };
        let values = entry.0.iter();
        let right = values.fold(false, |right, one| right | one.matches(value, now));
        if right || !entry.is_good(now) {
            self.waiting.remove(kid);
        }
        right
    }

    /// How many clients are waited for, at most [`EchoSettings::clients`].
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody is waited for.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Waiting {
    fn is_good(&self, now: Duration) -> bool {
        now < self.end
    }

    fn matches(&self, value: &[u8], now: Duration) -> bool {
        bool::from(self.value.as_slice().ct_eq(value)) & self.is_good(now)
    }
}

#[cfg(test)]
mod tests;
