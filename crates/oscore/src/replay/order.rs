//! The order of the responses of one server within a long exchange (draft sections 5.1, 5.3.1 and 7.4).

use core::cmp::Ordering;

use alloc::vec::Vec;

use super::{ReplayWindow, WindowSize};
use crate::identity::Kid;
use crate::nonce::PartialIv;

/// What a client does with responses of one server that come out of order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderPolicy {
    /// Responses older than the newest one.
    pub older: OlderResponses,
    /// Responses of the same server under another kid.
    pub kid_change: KidChange,
}

/// Responses with a smaller Partial IV than the Response Number (draft section 5.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OlderResponses {
    /// Only ever newer ones are taken; one number for each server is all that is stored.
    #[default]
    Refused,
    /// Older ones are taken once each, as far back as the window reaches.
    Within(WindowSize),
}

/// Responses of the same server (the same credential) under another kid than its first (draft section 7.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KidChange {
    /// They are not taken.
    #[default]
    Refused,
    /// They are taken: a Response Number is kept for each kid, at most [`ResponseOrder::NUMBERS`] in all.
    Followed,
}

/// Why a response is not taken although it was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseRefused {
    /// Its Partial IV was received before, or is older than the window reaches.
    Replayed,
    /// It is older than the newest one, and the policy wants newer ones only.
    Older,
    /// A second response without Partial IV.
    SecondWithoutPartialIv,
    /// Another kid than in the server's first response.
    KidChanged,
    /// The Security Context that opened it is no longer in use in this exchange.
    ContextRetired,
}

/// Where a response stands among those of its server in this exchange: the greater, the fresher.
///
/// Between two contexts the later installed one counts as fresher; the text orders only within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Without Partial IV: the oldest of the exchange, whenever it arrives.
    Oldest,
    /// With Partial IV.
    Numbered {
        /// The serial number of the Security Context.
        context: u64,
        /// 0 for the server's first kid under this context, 1 for the next.
        change: u8,
        /// The Partial IV.
        number: PartialIv,
    },
}

/// What a client learns about the order of a response that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its place among those of its server.
    pub rank: Rank,
    /// Whether it is the freshest so far.
    pub freshest: bool,
}

/// What a client keeps of one server in one long exchange.
///
/// A "server" is a credential, not a kid. Contexts are told apart by a serial number that grows with every
/// installation; a new one has no Response Number yet, as draft section 2.6.3.2 wants it.
#[derive(Clone, Debug)]
pub struct ResponseOrder {
    policy: OrderPolicy,
    kid1: Option<Kid>,
    /// One for each context and kid, in the order in which they came up.
    numbers: Vec<Numbers>,
    /// Contexts with a smaller serial number are retired.
    oldest_context: u64,
    without_partial_iv: bool,
}

#[derive(Clone, Debug)]
struct Numbers {
    context: u64,
    kid: Kid,
    change: u8,
    /// The Response Number.
    number: PartialIv,
    /// Only if older responses are taken.
    window: Option<ReplayWindow>,
}

impl ResponseOrder {
    /// How many Response Numbers are kept at most for one server: contexts times kids.
    pub const NUMBERS: usize = 4;

    /// Nothing received yet.
    pub const fn new(policy: OrderPolicy) -> Self {
        Self {
            policy,
            kid1: None,
            numbers: Vec::new(),
            oldest_context: 0,
            without_partial_iv: false,
        }
    }

    /// The kid of the server's first response ("kid1"), once there was one.
    pub fn kid(&self) -> Option<&[u8]> {
        self.kid1.as_ref().map(Kid::as_bytes)
    }

    /// The Response Number under the context with this serial number, for the server's current kid there.
    pub fn response_number(&self, context: u64) -> Option<PartialIv> {
        self.numbers
            .iter()
            .rev()
            .find(|numbers| numbers.context == context)
            .map(|numbers| numbers.number)
    }

    /// Whether a response would be taken: `context` is the serial number of the context that opens it, `kid` the
    /// received one or, if it has none, that of the member whom the request was for. Changes nothing. More than seven
    /// bytes are nobody's.
    pub fn check(
        &self,
        context: u64,
        kid: &[u8],
        number: Option<PartialIv>,
    ) -> Result<(), ResponseRefused> {
        let kid = Kid::new(kid).ok_or(ResponseRefused::KidChanged)?;
        self.check_of(context, kid, number)
    }

    /// As [`Self::check`].
    pub(crate) fn check_of(
        &self,
        context: u64,
        kid: Kid,
        number: Option<PartialIv>,
    ) -> Result<(), ResponseRefused> {
        if context < self.oldest_context {
            return Err(ResponseRefused::ContextRetired);
        }
        let changed = self.kid1.is_some_and(|kid1| kid1 != kid);
        if changed && self.policy.kid_change == KidChange::Refused {
            return Err(ResponseRefused::KidChanged);
        }
        let Some(number) = number else {
            return self.check_without_partial_iv();
        };
        match self.find(context, kid) {
            Some(numbers) => numbers.check(number),
            None if self.numbers.len() >= Self::NUMBERS => Err(ResponseRefused::KidChanged),
            None if self.policy.older == OlderResponses::Refused && self.newer_than(context) => {
                Err(ResponseRefused::Older)
            }
            None => Ok(()),
        }
    }

    /// Takes a response that was verified, with the arguments of [`Self::check`], which is repeated.
    pub fn commit(
        &mut self,
        context: u64,
        kid: &[u8],
        number: Option<PartialIv>,
    ) -> Result<Order, ResponseRefused> {
        let kid = Kid::new(kid).ok_or(ResponseRefused::KidChanged)?;
        self.commit_of(context, kid, number)
    }

    /// As [`Self::commit`].
    pub(crate) fn commit_of(
        &mut self,
        context: u64,
        kid: Kid,
        number: Option<PartialIv>,
    ) -> Result<Order, ResponseRefused> {
        self.check_of(context, kid, number)?;
        let newest = self.newest();
        let rank = match number {
            None => {
                self.without_partial_iv = true;
                Rank::Oldest
            }
            Some(number) => self.take(context, kid, number)?,
        };
        if self.kid1.is_none() {
            self.kid1 = Some(kid);
        }
        Ok(Order {
            rank,
            freshest: newest.max(Some(rank)) != newest,
        })
    }

    /// The contexts with a smaller serial number are no longer used to open responses, and what was kept for them is
    /// forgotten. To be called at an installation, or later when the old context is retained for a while.
    pub fn retire_before(&mut self, context: u64) {
        self.oldest_context = self.oldest_context.max(context);
        let oldest = self.oldest_context;
        self.numbers.retain(|numbers| numbers.context >= oldest);
    }

    fn check_without_partial_iv(&self) -> Result<(), ResponseRefused> {
        if self.without_partial_iv {
            return Err(ResponseRefused::SecondWithoutPartialIv);
        }
        if self.policy.older == OlderResponses::Refused && self.kid1.is_some() {
            // it is the oldest by definition, and others came before it
            return Err(ResponseRefused::Older);
        }
        Ok(())
    }

    fn take(&mut self, context: u64, kid: Kid, number: PartialIv) -> Result<Rank, ResponseRefused> {
        let older = self.policy.older;
        let changes = self
            .numbers
            .iter()
            .filter(|numbers| numbers.context == context)
            .count();
        let change = u8::try_from(changes).unwrap_or(u8::MAX);
        let known = self
            .numbers
            .iter_mut()
            .find(|numbers| numbers.is(context, kid));
        let change = match known {
            Some(numbers) => numbers.commit(number)?,
            None => {
                let first = Numbers::first(context, kid, change, number, older)?;
                self.numbers.reserve_exact(1); // mostly there is no second
                self.numbers.push(first);
                change
            }
        };
        Ok(Rank::Numbered {
            context,
            change,
            number,
        })
    }

    fn find(&self, context: u64, kid: Kid) -> Option<&Numbers> {
        self.numbers.iter().find(|numbers| numbers.is(context, kid))
    }

    fn newer_than(&self, context: u64) -> bool {
        self.numbers.iter().any(|numbers| numbers.context > context)
    }

    /// The freshest so far, of those contexts that are not retired.
    fn newest(&self) -> Option<Rank> {
        let numbered = self.numbers.iter().map(Numbers::rank).max();
        numbered.or(self.without_partial_iv.then_some(Rank::Oldest))
    }
}

impl Numbers {
    fn first(
        context: u64,
        kid: Kid,
        change: u8,
        number: PartialIv,
        older: OlderResponses,
    ) -> Result<Self, ResponseRefused> {
        let window = match older {
            OlderResponses::Refused => None,
            OlderResponses::Within(size) => {
                let mut window = ReplayWindow::valid(size);
                window
                    .commit(number)
                    .map_err(|_| ResponseRefused::Replayed)?;
                Some(window)
            }
        };
        Ok(Self {
            context,
            kid,
            change,
            number,
            window,
        })
    }

    fn is(&self, context: u64, kid: Kid) -> bool {
        self.context == context && self.kid == kid
    }

    fn rank(&self) -> Rank {
        Rank::Numbered {
            context: self.context,
            change: self.change,
            number: self.number,
        }
    }

    fn check(&self, number: PartialIv) -> Result<(), ResponseRefused> {
        match &self.window {
            Some(window) => window.check(number).map_err(|_| ResponseRefused::Replayed),
            None => match number.cmp(&self.number) {
                Ordering::Less => Err(ResponseRefused::Older),
                Ordering::Equal => Err(ResponseRefused::Replayed),
                Ordering::Greater => Ok(()),
            },
        }
    }

    fn commit(&mut self, number: PartialIv) -> Result<u8, ResponseRefused> {
        self.check(number)?;
        if let Some(window) = &mut self.window {
            window
                .commit(number)
                .map_err(|_| ResponseRefused::Replayed)?;
        }
        self.number = self.number.max(number);
        Ok(self.change)
    }
}
