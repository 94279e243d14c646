//! How an image is distributed, and how long that takes.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::ANNOUNCE_SHARE;
use super::pace::Pace;
use crate::config::ConfigError;
use crate::distribution::{Announcement, Notice, block_request, notice_request};
use crate::message::{self, Request};

/// How an image is distributed. [`new`](Self::new) has defaults for everything that has one.
#[derive(Clone, Debug)]
pub struct DistributorConfig {
    /// What is distributed.
    pub announcement: Announcement,
    /// The path of the distribution at the devices and at the distributor, its segments divided by `/`; usually `fw`.
    pub path: String,
    /// The devices of which it is known that they should get it, with the port of their server. Those that are named twice count
    /// once. Without them nobody is asked: everything is sent once, and then whoever asks for something gets it.
    pub members: Vec<SocketAddr>,
    /// Bytes per second to the group, IP and UDP headers counted: 1 to 1,000,000,000. Default 1, PROBING_RATE of RFC 7252: what is
    /// known of nobody's network. More is a statement about the network.
    pub rate: u32,
    /// Bytes of a datagram before the CoAP message, in each: default 48 for IPv6 and UDP; 28 for IPv4.
    pub overhead: u16,
    /// Bytes that protection adds to a datagram, 0 (default) if nothing is protected: for the estimate, what is sent is counted as it
    /// is; and during a pass protected questions are asked only if blocks leave 3 s or more apart, because a repetition would
    /// be outside of the Replay Window else.
    pub protection: u16,
    /// How many passes of multicast there are at most, the first counted; 1 to 1,000. Default 4. With 1, everything that is lost is asked
    /// for by unicast.
    pub passes: u16,
    /// The time over which devices spread their first question for what they lack; 1 s to 18 h. Default 10 s.
    pub window: Duration,
    /// How often the announcement is sent before anything else; at least once. Default 3.
    pub announcements: u8,
    /// The time between these. Default 2 s.
    pub announce_gap: Duration,
    /// The time between announcements afterwards, for late joiners and devices that were restarted. Default 30 s; longer if they took more
    /// than a hundredth of the rate.
    pub announce_every: Duration,
    /// How many devices are asked for their status at the same time; at least 1. Default 8.
    pub asks_at_once: usize,
    /// How long the answers of the devices are waited for before a pass is planned. Default 30 s. If fewer than half of them have
    /// answered by then, or failed to, it takes until half have, but ten times as long at most. What those lack who have answered
    /// stands for those who were not asked yet; who fails to answer does not count.
    pub count_for: Duration,
    /// A device that does not get further for this long after the passes is given up, whether it answers or not: neither its state
    /// nor the number of its blocks changes, and it asks for no block that it has not asked for since then. Longer than any device
    /// takes to activate the image. Without members, the distribution ends when nobody has asked for anything for this long.
    /// Default 10 min.
    pub give_up: Duration,
    /// When it ends, whatever has been reached; `None` (default): when every device is done or given up.
    pub deadline: Option<Duration>,
}

impl DistributorConfig {
    /// With default times, no members, and the rate of 1 byte per second.
    pub fn new(announcement: Announcement, path: &str) -> Self {
        Self {
            announcement,
            path: String::from(path),
            members: Vec::new(),
            rate: 1,
            overhead: 48,
            protection: 0,
            passes: 4,
            window: Duration::from_secs(10),
            announcements: 3,
            announce_gap: Duration::from_secs(2),
            announce_every: Duration::from_secs(30),
            asks_at_once: 8,
            count_for: Duration::from_secs(30),
            give_up: Duration::from_secs(600),
            deadline: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let checks = [
            ("rate", (1..=1_000_000_000).contains(&self.rate)),
            ("passes", (1..=1_000).contains(&self.passes)),
            (
                "window",
                (1..=u64::from(u16::MAX)).contains(&self.window.as_secs()),
            ),
            ("announcements", self.announcements > 0),
            ("asks_at_once", self.asks_at_once > 0),
        ];
        match checks.into_iter().find(|(_, good)| !good) {
            Some((parameter, _)) => Err(ConfigError {
                parameter,
                problem: "is outside of its limits",
            }),
            None => Ok(()),
        }
    }

    /// The window as it is told, in full seconds.
    pub(super) fn window_seconds(&self) -> u16 {
        u16::try_from(self.window.as_secs()).unwrap_or(u16::MAX)
    }

    /// What announcements and the first pass take, and how long that takes at the rate, where each leaves in so many `copies`, for
    /// several groups or interfaces: they share the rate. What is lost comes on top: by far the most of it is what
    /// [`passes`](Self::passes) and questions of devices repair.
    pub fn estimate(&self, copies: u32) -> Estimate {
        let copies = u64::from(copies.max(1));
        let announcement = self.on_air(&notice_request(
            &self.path,
            &Notice::Announced(self.announcement.clone()),
        ));
        let id = self.announcement.id();
        let end = Notice::EndOfPass {
            id,
            pass: 1,
            window: self.window_seconds(),
        };
        let end = self.on_air(&notice_request(&self.path, &end));
        let blocks = self.announcement.blocks();
        let mut estimate = Estimate {
            datagrams: u64::from(blocks),
            bytes: self.announcement.content_size(),
            duration: Duration::ZERO,
        };
        // Block numbers of equally many digits take equally much.
        let mut from = 0;
        while from < blocks {
            let to = match from {
                0 => 10,
                _ => u64::from(from) * 10,
            };
            let to = u32::try_from(to).unwrap_or(u32::MAX).min(blocks);
            let empty = block_request(&self.path, id, from, Vec::new());
            estimate.bytes += u64::from(to - from) * (self.on_air(&empty) + 1);
            from = to;
        }
        let pace = Pace::new(self.rate);
        let every = self
            .announce_every
            .max(pace.time_of(announcement * copies * u64::from(ANNOUNCE_SHARE)));
        let blocks_take = pace.time_of(estimate.bytes.saturating_mul(copies));
        let later = blocks_take.as_micros() / every.as_micros().max(1);
        let announcements =
            u64::from(self.announcements) + u64::try_from(later).unwrap_or(u64::MAX);
        estimate.datagrams += announcements + 1;
        estimate.bytes += announcements.saturating_mul(announcement) + end;
        estimate.datagrams = estimate.datagrams.saturating_mul(copies);
        estimate.bytes = estimate.bytes.saturating_mul(copies);
        estimate.duration = pace.time_of(estimate.bytes);
        estimate
    }

    /// What a request takes on the air, payload included.
    pub(super) fn on_air(&self, request: &Request) -> u64 {
        coap_length(request) + u64::from(self.overhead) + u64::from(self.protection)
    }
}

/// What a distribution takes: see [`DistributorConfig::estimate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Datagrams to the group.
    pub datagrams: u64,
    /// Their bytes, headers counted.
    pub bytes: u64,
    /// At the rate.
    pub duration: Duration,
}

/// The length of a request as a CoAP message with a token of 8 bytes.
pub(super) fn coap_length(request: &Request) -> u64 {
    const TOKEN: usize = 8;
    message::encoded_len(TOKEN, &request.options, request.payload.len()) as u64
}
