//! How an endpoint asks groups: its limits and its surroundings.

use core::time::Duration;

use antiphon_wire::Token;

use super::request::{Ipv4Global, LinkProfile};
use crate::cache::CacheConfig;
use crate::config::{ConfigError, Profile, Transmission};
use crate::tokens::Binding;

/// How an endpoint asks groups.
#[derive(Clone, Debug)]
pub struct CollectionConfig {
    /// NSTART and PROBING_RATE for groups without pacing of their own, and the times of which the token reuse time is made.
    pub transmission: Transmission,
    /// MAX_SERVER_RESPONSE_DELAY: the longest time a server takes to answer a group request. A request
    /// that states a longer leisure raises it. `None` (default): unknown, which counts as 250 s.
    pub server_delay: Option<Duration>,
    /// Whether responses are bound to requests by security; default bound.
    pub binding: Binding,
    /// What the link can carry; default unconstrained.
    pub link: LinkProfile,
    /// Where IPv4 groups are taken to reach; default restricted.
    pub ipv4_global: Ipv4Global,
    /// Which document decides where they differ; default [`Profile::Current`].
    pub profile: Profile,
    /// What the cache may take.
    pub cache: CacheConfig,
    /// Collections at a time, late ones and those whose outcome was not fetched included; default 1024.
    pub collections: usize,
    /// Requests to one group that wait; default 256.
    pub waiting_per_group: usize,
    /// Targets of one request; default 32.
    pub targets: usize,
    /// Groups whose pace is remembered, and as many whose pace is set; default 1024, about 100 bytes each.
    pub groups: usize,
    /// Events that wait to be fetched, outcomes apart; default 65,536. Answers beyond that are counted and dropped.
    pub events: usize,
    /// Bytes that the answers among them take in memory, roughly; default 16 MiB. Answers beyond that are counted and dropped.
    pub event_bytes: usize,
    pub(super) token_len: usize,
}

impl Default for CollectionConfig {
    fn default() -> Self {
        Self {
            transmission: Transmission::default(),
            server_delay: None,
            binding: Binding::Bound,
            link: LinkProfile::Unconstrained,
            ipv4_global: Ipv4Global::Restricted,
            profile: Profile::Current,
            cache: CacheConfig::default(),
            collections: 1_024,
            waiting_per_group: 256,
            targets: 32,
            groups: 1_024,
            events: 65_536,
            event_bytes: 16 << 20,
            token_len: Token::MAX_LEN,
        }
    }
}

impl CollectionConfig {
    /// The length of tokens in bytes: 4 to 8, default 8. Below 4 they could be guessed (RFC 7252 section 5.3.1).
    ///
    /// # Errors
    /// Outside of the limits.
    pub fn set_token_len(&mut self, len: usize) -> Result<&mut Self, ConfigError> {
        let problem = match len {
            0..4 => "is below its lower limit",
            4..=8 => {
                self.token_len = len;
                return Ok(self);
            }
            _ => "is above its upper limit",
        };
        Err(ConfigError {
            parameter: "token length",
            problem,
        })
    }

    /// The length of tokens in bytes.
    pub fn token_len(&self) -> usize {
        self.token_len
    }
}
