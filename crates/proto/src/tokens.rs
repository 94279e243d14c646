//! Tokens (RFC 7252 section 5.3.1, groupcomm-bis section 3.1.5): unguessable, unique within one client
//! endpoint, and not used again before MIN_TOKEN_REUSE_TIME.
//!
//! A token is a counter behind a secret permutation. So no value comes back before every other one has
//! been used: with the default of 8 bytes, never in the life of an endpoint. Shorter tokens come back,
//! and then the time since their last use counts. That is remembered for 256 blocks of the counter, not
//! for each token, so that the memory is bounded (32 bytes for each block that was begun, 8 KiB at most; with tokens
//! of 8 bytes one block is enough for ever) and no flood of requests fills a table.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use antiphon_wire::Token;

use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;

const BLOCKS: usize = 256;
/// Rounds of the permutation; four are the least for which it can be a strong one (Luby and Rackoff).
const ROUNDS: u8 = 8;

/// Whether a response is bound to its request by security.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// Unsecured, or secured with such a binding (Group OSCORE): a token may come back after
    /// MIN_TOKEN_REUSE_TIME.
    #[default]
    Bound,
    /// Secured without such a binding: a token never comes back within one security association
    /// (RFC 9175 section 4.2, GC-3.1-30).
    Unbound,
}

/// No token is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokensExhausted {
    /// After which time the next token becomes free; `None` if that depends on open requests or on a
    /// new security association.
    pub remaining: Option<Duration>,
}

impl fmt::Display for TokensExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.remaining {
            Some(remaining) => write!(f, "no token is free for another {remaining:?}"),
            None => f.write_str("no token is free until a request ends or the keys change"),
        }
    }
}

impl core::error::Error for TokensExhausted {}

/// The token space of one client endpoint.
pub struct Tokens {
    len: usize,
    binding: Binding,
    key: KeyedHash,
    /// Those that were begun. They are begun in their order.
    blocks: Vec<Block>,
    current: usize,
    used_of_current: u64,
}

#[derive(Clone, Copy)]
struct Block {
    /// Tokens that are in use.
    live: u64,
    /// The last instant at which a token of this block is not free; `None`: none was ever used.
    taken_until: Option<Instant>,
    /// Used within this security association.
    touched: bool,
}

impl Block {
    const UNUSED: Self = Self {
        live: 0,
        taken_until: None,
        touched: false,
    };
}

impl Tokens {
    /// Tokens of `len` bytes (1 to 8; others are brought into these limits).
    pub(crate) fn new(len: usize, binding: Binding, rng: &mut Rng) -> Self {
        let len = len.clamp(1, Token::MAX_LEN);
        Self {
            len,
            binding,
            key: rng.keyed_hash(),
            blocks: Vec::new(),
            current: BLOCKS - 1,
            used_of_current: block_len(len),
        }
    }

    /// Takes a token that is not in use, and has not been since longer than its reuse time.
    ///
    /// # Errors
    /// None is free.
    pub fn take(&mut self, now: Instant) -> Result<Token, TokensExhausted> {
        if self.used_of_current == block_len(self.len) {
            self.current = self.free_block(now)?;
            self.used_of_current = 0;
        }
        let counter = (self.current as u64) * block_len(self.len) + self.used_of_current;
        self.used_of_current += 1;
        if self.blocks.len() <= self.current {
            self.blocks.resize(self.current + 1, Block::UNUSED);
        }
        if let Some(block) = self.blocks.get_mut(self.current) {
            block.live += 1;
            block.touched = true;
        }
        let bytes = self.permuted(counter).to_be_bytes();
        let start = Token::MAX_LEN - self.len;
        Ok(bytes
            .get(start..)
            .and_then(Token::new)
            .unwrap_or(Token::EMPTY))
    }

    /// Gives a token back. It may be taken again only *after* `taken_until`.
    ///
    /// A token that was not taken from here is ignored.
    pub fn give_back(&mut self, token: Token, taken_until: Instant) {
        if token.len() != self.len {
            return;
        }
        let value = token
            .as_bytes()
            .iter()
            .fold(0, |value, byte| (value << 8) | u64::from(*byte));
        let index = self.unpermuted(value) / block_len(self.len);
        let block = usize::try_from(index)
            .ok()
            .and_then(|index| self.blocks.get_mut(index));
        if let Some(block) = block
            && block.live > 0
        {
            block.live -= 1;
            block.taken_until = block.taken_until.max(Some(taken_until));
        }
    }

    /// A new security association has begun: in mode [`Binding::Unbound`] tokens of the one before may be used again,
    /// once their reuse time is over.
    pub fn new_association(&mut self) {
        for block in self.blocks.iter_mut() {
            block.touched = false;
        }
        if self.used_of_current < block_len(self.len)
            && let Some(block) = self.blocks.get_mut(self.current)
        {
            block.touched = true;
        }
    }

    /// The next block, in order, of which every token is free.
    fn free_block(&self, now: Instant) -> Result<usize, TokensExhausted> {
        let mut remaining = None;
        for index in (1..=BLOCKS).map(|step| (self.current + step) % BLOCKS) {
            let Some(block) = self.blocks.get(index) else {
                return Ok(index);
            };
            if block.live > 0 || (block.touched && self.binding == Binding::Unbound) {
                continue;
            }
            match block.taken_until {
                Some(until) if now <= until => {
                    let wait = until.since(now) + Duration::from_micros(1);
                    remaining = Some(remaining.map_or(wait, |least: Duration| least.min(wait)));
                }
                _ => return Ok(index),
            }
        }
        Err(TokensExhausted { remaining })
    }

    /// A secret permutation of the values of `len` bytes: a Feistel network over two halves.
    fn permuted(&self, value: u64) -> u64 {
        let (mut left, mut right) = self.halves(value);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.mix(round, right));
        }
        self.joined(left, right)
    }

    fn unpermuted(&self, value: u64) -> u64 {
        let (mut left, mut right) = self.halves(value);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.mix(round, left), left);
        }
        self.joined(left, right)
    }

    fn half_bits(&self) -> u32 {
        // At most 32, as `len` is at most 8.
        (self.len as u32) * 4
    }

    fn mask(&self) -> u64 {
        (1 << self.half_bits()) - 1
    }

    fn halves(&self, value: u64) -> (u64, u64) {
        (
            (value >> self.half_bits()) & self.mask(),
            value & self.mask(),
        )
    }

    fn joined(&self, left: u64, right: u64) -> u64 {
        (left << self.half_bits()) | right
    }

    fn mix(&self, round: u8, half: u64) -> u64 {
        let mut input = [0; 9];
        if let Some((first, rest)) = input.split_first_mut() {
            *first = round;
            rest.copy_from_slice(&half.to_be_bytes());
        }
        self.key.bytes(&input) & self.mask()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("len", &self.len)
            .field("binding", &self.binding)
            .finish_non_exhaustive()
    }
}

/// How many tokens of `len` bytes one block has.
fn block_len(len: usize) -> u64 {
    1 << (8 * (len - 1))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::vec::Vec;

    use super::*;
    use crate::config::Transmission;

    fn tokens(len: usize, binding: Binding) -> Tokens {
        Tokens::new(len, binding, &mut Rng::from_seed([9; 32]))
    }

    fn micros(n: u64) -> Instant {
        Instant::from_micros(n)
    }

    fn exhausted(remaining: Option<u64>) -> Result<Token, TokensExhausted> {
        Err(TokensExhausted {
            remaining: remaining.map(Duration::from_micros),
        })
    }

    // Covers: GC-3.1-27
    #[test]
    fn a_hundred_thousand_requests_have_as_many_tokens() {
        let mut tokens = tokens(8, Binding::Bound);
        let mut seen = HashSet::new();
        let mut ones = [0u32; 64];
        for n in 0..100_000 {
            let token = tokens.take(Instant::ZERO).unwrap();
            assert_eq!(token.len(), 8);
            assert!(seen.insert(token));
            let value = u64::from_be_bytes(token.as_bytes().try_into().unwrap());
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += u32::from(value >> bit & 1 == 1);
            }
            tokens.give_back(token, micros(n));
        }
        // Nothing of the counter shows: every bit is set in half of the tokens.
        assert!(
            ones.iter().all(|n| (49_000..51_000).contains(n)),
            "{ones:?}"
        );
    }

    #[test]
    fn other_seeds_give_other_tokens() {
        let first = |seed| {
            Tokens::new(8, Binding::Bound, &mut Rng::from_seed([seed; 32])).take(Instant::ZERO)
        };
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn every_length_is_a_permutation_that_can_be_undone() {
        for len in 1..=8 {
            let tokens = tokens(len, Binding::Bound);
            let top = u64::MAX >> (64 - 8 * len);
            for value in [0, 1, 2, top / 3, top / 2, top - 1, top] {
                let permuted = tokens.permuted(value);
                assert!(permuted <= top, "{len} bytes");
                assert_eq!(tokens.unpermuted(permuted), value, "{len} bytes");
            }
        }
        let tokens = tokens(2, Binding::Bound);
        let all: HashSet<u64> = (0..65_536).map(|n| tokens.permuted(n)).collect();
        assert_eq!(all.len(), 65_536);
    }

    // Covers: GC-3.1-24, GC-3.1-25, GC-3.1-28, GC-3.1-29
    #[test]
    fn a_token_comes_back_only_after_min_token_reuse_time() {
        let parameters = Transmission::default();
        for (delay, reuse) in [(Some(Duration::from_secs(10)), 260), (None, 500)] {
            let mut tokens = tokens(1, Binding::Bound);
            let last_sent = micros(7);
            let taken_until = last_sent + parameters.min_token_reuse(delay);
            assert_eq!(taken_until, micros(7 + reuse * 1_000_000));
            let taken: Vec<_> = (0..256)
                .map(|_| tokens.take(Instant::ZERO).unwrap())
                .collect();
            assert_eq!(tokens.take(Instant::ZERO), exhausted(None), "all in use");
            tokens.give_back(taken[100], taken_until);
            let before = taken_until - Duration::from_millis(100);
            assert_eq!(tokens.take(before), exhausted(Some(100_001)));
            // "Greater than": at the very end of the time it is still refused.
            assert_eq!(tokens.take(taken_until), exhausted(Some(1)));
            assert_eq!(
                tokens.take(taken_until + Duration::from_micros(1)),
                Ok(taken[100])
            );
        }
    }

    #[test]
    fn the_shortest_remaining_time_is_told_and_tokens_in_use_are_passed_over() {
        let mut tokens = tokens(1, Binding::Bound);
        let taken: Vec<_> = (0..256)
            .map(|_| tokens.take(Instant::ZERO).unwrap())
            .collect();
        tokens.give_back(taken[3], micros(500));
        tokens.give_back(taken[200], micros(300));
        tokens.give_back(taken[201], micros(400));
        assert_eq!(tokens.take(micros(100)), exhausted(Some(201)));
        assert_eq!(tokens.take(micros(301)), Ok(taken[200]));
        assert_eq!(tokens.take(micros(1_000)), Ok(taken[201]));
        assert_eq!(tokens.take(micros(1_000)), Ok(taken[3]));
        assert_eq!(tokens.take(micros(1_000)), exhausted(None));
    }

    #[test]
    fn a_block_is_free_when_the_last_of_its_tokens_is() {
        let mut tokens = tokens(2, Binding::Bound);
        let taken: Vec<_> = (0..65_536)
            .map(|_| tokens.take(Instant::ZERO).unwrap())
            .collect();
        assert_eq!(taken.iter().collect::<HashSet<_>>().len(), 65_536);
        for (n, token) in taken[..256].iter().enumerate() {
            let until = if n == 128 { 90 } else { 10 };
            assert_eq!(tokens.take(micros(1_000)), exhausted(None));
            tokens.give_back(*token, micros(until));
        }
        assert_eq!(tokens.take(micros(90)), exhausted(Some(1)));
        let again: Vec<_> = (0..256).map(|_| tokens.take(micros(91)).unwrap()).collect();
        assert_eq!(again, taken[..256]);
        assert_eq!(tokens.take(micros(91)), exhausted(None));
    }

    #[test]
    fn tokens_from_elsewhere_and_tokens_given_back_twice_change_nothing() {
        let mut tokens = tokens(1, Binding::Bound);
        tokens.give_back(Token::new(&[1]).unwrap(), micros(900));
        let taken: Vec<_> = (0..256)
            .map(|_| tokens.take(Instant::ZERO).unwrap())
            .collect();
        tokens.give_back(Token::new(&[0, taken[0].as_bytes()[0]]).unwrap(), micros(5));
        assert_eq!(tokens.take(micros(50)), exhausted(None));
        tokens.give_back(taken[0], micros(100));
        tokens.give_back(taken[0], micros(200));
        assert_eq!(tokens.take(micros(101)), Ok(taken[0]));
    }

    // Covers: GC-3.1-30
    #[test]
    fn without_binding_no_token_comes_back_before_the_keys_change() {
        let mut tokens = tokens(1, Binding::Unbound);
        let first: Vec<_> = (0..256)
            .map(|_| {
                let token = tokens.take(Instant::ZERO).unwrap();
                tokens.give_back(token, micros(10));
                token
            })
            .collect();
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 256);
        let much_later = Instant::from_millis(1_000_000_000);
        assert_eq!(tokens.take(much_later), exhausted(None));
        tokens.new_association();
        assert_eq!(
            tokens.take(micros(10)),
            exhausted(Some(1)),
            "the reuse time counts still"
        );
        assert_eq!(tokens.take(micros(11)), Ok(first[0]));
    }

    #[test]
    fn a_change_of_keys_does_not_open_the_block_in_use_again() {
        let mut tokens = tokens(2, Binding::Unbound);
        let first = tokens.take(Instant::ZERO).unwrap();
        tokens.give_back(first, Instant::ZERO);
        tokens.new_association();
        let mut seen = HashSet::from([first]);
        for _ in 0..65_535 {
            let token = tokens.take(micros(1)).unwrap();
            assert!(seen.insert(token), "{token:?} came twice");
            tokens.give_back(token, micros(1));
        }
        assert_eq!(tokens.take(micros(9)), exhausted(None));
    }

    // Covers: GC-3.1-31
    #[test]
    fn each_client_endpoint_has_a_token_space_of_its_own() {
        let mut rng = Rng::from_seed([4; 32]);
        let mut spaces = [(); 2].map(|()| Tokens::new(1, Binding::Bound, &mut rng));
        let all = spaces.each_mut().map(|space| {
            HashSet::<Token>::from_iter((0..256).map(|_| space.take(Instant::ZERO).unwrap()))
        });
        assert_eq!(all[0].len(), 256);
        assert_eq!(all[0], all[1], "the same tokens are in use at both at once");
    }

    #[test]
    fn what_is_shown_of_a_token_space_gives_no_token_away() {
        let shown = std::format!("{:?}", tokens(8, Binding::Bound));
        assert_eq!(shown, "Tokens { len: 8, binding: Bound, .. }");
    }

    #[test]
    fn exhaustion_says_how_long_it_lasts() {
        let text = |remaining| std::format!("{}", TokensExhausted { remaining });
        assert_eq!(
            text(Some(Duration::from_secs(3))),
            "no token is free for another 3s"
        );
        assert_eq!(
            text(None),
            "no token is free until a request ends or the keys change"
        );
    }

    #[test]
    fn lengths_outside_of_one_to_eight_are_brought_inside() {
        assert_eq!(
            tokens(0, Binding::Bound).take(Instant::ZERO).unwrap().len(),
            1
        );
        assert_eq!(
            tokens(9, Binding::Bound).take(Instant::ZERO).unwrap().len(),
            8
        );
    }
}
