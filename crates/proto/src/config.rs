//! Parameters, with their limits checked when they are set.

use core::fmt;
use core::time::Duration;

/// The transmission parameters of RFC 7252 section 4.8, with the derived times of section 4.8.2.
///
/// A change applies to exchanges that start after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Transmission {
    ack_timeout: Duration,
    ack_random_permille: u32,
    max_retransmit: u32,
    nstart: usize,
    probing_rate: u32,
    default_leisure: Duration,
    max_latency: Duration,
    processing_delay: Duration,
}

impl Default for Transmission {
    /// The values of RFC 7252 section 4.8.
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            ack_random_permille: 1_500,
            max_retransmit: 4,
            nstart: 1,
            probing_rate: 1,
            default_leisure: Duration::from_secs(5),
            max_latency: Duration::from_secs(100),
            processing_delay: Duration::from_secs(2),
        }
    }
}

impl Transmission {
    /// ACK_TIMEOUT: the first retransmission comes after 1 to ACK_RANDOM_FACTOR times this.
    /// 1 ms to 60 s; default 2 s. Below 1 s only where the network's round trip is known (RFC 7252 section 4.8.1).
    ///
    /// # Errors
    /// Outside of the limits.
    pub fn set_ack_timeout(&mut self, value: Duration) -> Result<&mut Self, ConfigError> {
        self.ack_timeout = within(
            "ACK_TIMEOUT",
            value,
            Duration::from_millis(1),
            Duration::from_secs(60),
        )?;
        Ok(self)
    }

    /// ACK_RANDOM_FACTOR in thousandths: 1000 to 10000; default 1500 (the factor 1.5). RFC 7252 forbids values below 1.0.
    ///
    /// # Errors
    /// Outside of the limits.
    pub fn set_ack_random_permille(&mut self, value: u32) -> Result<&mut Self, ConfigError> {
        self.ack_random_permille = within("ACK_RANDOM_FACTOR", value, 1_000, 10_000)?;
        Ok(self)
    }

    /// MAX_RETRANSMIT: 0 to 20; default 4.
    ///
    /// # Errors
    /// Outside of the limits.
    pub fn set_max_retransmit(&mut self, value: u32) -> Result<&mut Self, ConfigError> {
        self.max_retransmit = within("MAX_RETRANSMIT", value, 0, 20)?;
        Ok(self)
    }

    /// NSTART: simultaneous outstanding interactions with one peer, and with one group; 1 to 1024; default 1.
    ///
    /// # Errors
    /// Outside of the limits.
    pub fn set_nstart(&mut self, value: usize) -> Result<&mut Self, ConfigError> {
        self.nstart = within("NSTART", value, 1, 1_024)?;
        Ok(self)
    }

    /// PROBING_RATE in bytes per second towards a peer or group that does not respond; 1 to 1,000,000,000; default 1.
    ///
    /// # Errors
    /// Outside of the limits.
    pub fn set_probing_rate(&mut self, value: u32) -> Result<&mut Self, ConfigError> {
        self.probing_rate = within("PROBING_RATE", value, 1, 1_000_000_000)?;
        Ok(self)
    }

    /// DEFAULT_LEISURE: 0 to 1 h; default 5 s. Zero answers at once.
    ///
    /// # Errors
    /// Outside of the limits.
    pub fn set_default_leisure(&mut self, value: Duration) -> Result<&mut Self, ConfigError> {
        self.default_leisure = within(
            "DEFAULT_LEISURE",
            value,
            Duration::ZERO,
            Duration::from_secs(3_600),
        )?;
        Ok(self)
    }

    /// MAX_LATENCY: 1 ms to 1 h; default 100 s.
    ///
    /// # Errors
    /// Outside of the limits.
    pub fn set_max_latency(&mut self, value: Duration) -> Result<&mut Self, ConfigError> {
        self.max_latency = within(
            "MAX_LATENCY",
            value,
            Duration::from_millis(1),
            Duration::from_secs(3_600),
        )?;
        Ok(self)
    }

    /// PROCESSING_DELAY: 0 to 60 s; default 2 s (RFC 7252: equal to ACK_TIMEOUT).
    ///
    /// # Errors
    /// Outside of the limits.
    pub fn set_processing_delay(&mut self, value: Duration) -> Result<&mut Self, ConfigError> {
        self.processing_delay = within(
            "PROCESSING_DELAY",
            value,
            Duration::ZERO,
            Duration::from_secs(60),
        )?;
        Ok(self)
    }

    /// ACK_TIMEOUT.
    pub fn ack_timeout(&self) -> Duration {
        self.ack_timeout
    }

    /// The upper end of the first timeout: ACK_TIMEOUT times ACK_RANDOM_FACTOR.
    pub fn ack_timeout_max(&self) -> Duration {
        self.ack_timeout.saturating_mul(self.ack_random_permille) / 1_000
    }

    /// MAX_RETRANSMIT.
    pub fn max_retransmit(&self) -> u32 {
        self.max_retransmit
    }

    /// NSTART.
    pub fn nstart(&self) -> usize {
        self.nstart
    }

    /// PROBING_RATE in bytes per second.
    pub fn probing_rate(&self) -> u32 {
        self.probing_rate
    }

    /// DEFAULT_LEISURE.
    pub fn default_leisure(&self) -> Duration {
        self.default_leisure
    }

    /// MAX_LATENCY.
    pub fn max_latency(&self) -> Duration {
        self.max_latency
    }

    /// MAX_TRANSMIT_SPAN: from the first transmission of a CON to its last retransmission; 45 s with the defaults.
    pub fn max_transmit_span(&self) -> Duration {
        self.ack_timeout_max()
            .saturating_mul((1u32 << self.max_retransmit) - 1)
    }

    /// MAX_TRANSMIT_WAIT: from the first transmission of a CON to giving up; 93 s with the defaults.
    pub fn max_transmit_wait(&self) -> Duration {
        self.ack_timeout_max()
            .saturating_mul((1u32 << (self.max_retransmit + 1)) - 1)
    }

    /// EXCHANGE_LIFETIME: how long the Message ID of a CON stays taken; 247 s with the defaults.
    pub fn exchange_lifetime(&self) -> Duration {
        self.max_transmit_span()
            .saturating_add(self.max_latency.saturating_mul(2))
            .saturating_add(self.processing_delay)
    }

    /// NON_LIFETIME: how long the Message ID of a NON stays taken; 145 s with the defaults.
    pub fn non_lifetime(&self) -> Duration {
        self.max_transmit_span().saturating_add(self.max_latency)
    }

    /// MIN_TOKEN_REUSE_TIME for a group request whose servers answer within `server_delay` (their
    /// leisure included): the larger of NON_LIFETIME + MAX_LATENCY + delay and 250 s + delay (the
    /// seed documents state 250 s, while their formula gives 245 s with the defaults). An unknown delay
    /// counts as 250 s (seed -03 section 3.1).
    pub fn min_token_reuse(&self, server_delay: Option<Duration>) -> Duration {
        const STATED: Duration = Duration::from_secs(250);
        let delay = server_delay.unwrap_or(STATED);
        self.non_lifetime()
            .saturating_add(self.max_latency)
            .max(STATED)
            .saturating_add(delay)
    }
}

/// Which document decides where the seed and the newest text of groupcomm-bis differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The newest text: what peers in the field speak.
    #[default]
    Current,
    /// What only draft-ietf-core-groupcomm-bis-03 has: full No-Response override, the name NoSec for the absence of a security group.
    Seed03,
}

/// A parameter outside of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The parameter, by its name in the documents.
    pub parameter: &'static str,
    /// What is wrong with the value.
    pub problem: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.parameter, self.problem)
    }
}

impl core::error::Error for ConfigError {}

fn within<T: PartialOrd>(
    parameter: &'static str,
    value: T,
    low: T,
    high: T,
) -> Result<T, ConfigError> {
    let problem = if value < low {
        "is below its lower limit"
    } else if value > high {
        "is above its upper limit"
    } else {
        return Ok(value);
    };
    Err(ConfigError { parameter, problem })
}

#[cfg(test)]
mod tests;
