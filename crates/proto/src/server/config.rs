//! How a server is set up, with the documents' defaults.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::admission::{GroupModeByUnicast, Reachability};
use super::observe::ObserveConfig;
use crate::block::ServerBlocks;
use crate::config::Profile;
use crate::membership::MembershipLimits;
use crate::policy::{Amplification, GroupPolicy, Leisure, NoSecPolicy, NoSecSources, Prefix};
use crate::time::Instant;

/// Which discovery requests (`/.well-known/core`) a server answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discoverable {
    /// Those to All CoAP Nodes, to its groups, and by unicast. The default.
    #[default]
    All,
    /// Those to the groups it was configured for, and by unicast. It does not listen to All CoAP Nodes, and is silent
    /// there if it was told to join that: these addresses on port 5683. On another port they are groups like any other.
    Groups,
    /// None: there is no `/.well-known/core`.
    Off,
}

/// Early discovery while devices are brought into a network (groupcomm-bis-18 section 6.1): few responders, a
/// limited time, and link-local requests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Onboarding {
    /// Is this one of the few servers that answer?
    pub responder: bool,
    /// From when on it answers.
    pub from: Instant,
    /// Until when it answers, this instant included.
    pub until: Instant,
}

impl Onboarding {
    /// A responder whose window opens now and stays open this long.
    pub fn open(now: Instant, window: Duration) -> Self {
        Self {
            responder: true,
            from: now,
            until: now + window,
        }
    }
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Which document decides where they differ; default [`Profile::Current`].
    pub profile: Profile,
    /// How far it opens itself to messages without security; default: discovery alone.
    pub nosec: NoSecPolicy,
    /// From which sources group requests without security are taken; default: none that may be the public Internet.
    pub nosec_sources: NoSecSources,
    /// Prefixes that are on link although the public Internet routes them; default none.
    pub on_link: Vec<Prefix>,
    /// Anyone may override the default suppression with No-Response, as the seed documents have it; default no,
    /// because it lets forged requests call forth answers from all members (groupcomm-bis-18 section 6.4).
    pub nosec_no_response_full: bool,
    /// The leisure where neither resource nor group has one, whatever the protection; default: 5 s without security,
    /// 20 s or 13 s with Group OSCORE (see [`Leisure::default_for`]).
    pub leisure: Option<Leisure>,
    /// When a sender that proves nothing must first show, with an Echo value, that it is reachable at its source
    /// address; default [`Reachability::Assumed`]: answers through groups are bounded by `amplification` already.
    pub unproven_reachability: Reachability,
    /// When a proven sender of a group request must show it, inside of the protection; default
    /// [`Reachability::Required`] (groupcomm-bis-18 section 6.3.1).
    pub proven_reachability: Reachability,
    /// What becomes of requests in group mode that came by unicast; default [`GroupModeByUnicast::Serve`].
    pub group_mode_by_unicast: GroupModeByUnicast,
    /// The MTU that the limit on group answers is computed from, in bytes; default 1280.
    pub mtu: usize,
    /// The largest payload of a successful answer to a group request, in bytes; default 5 % of the MTU.
    pub group_answer_limit: Option<usize>,
    /// How much larger than the request an answer to an unproven sender of a group request may be; default 3 times.
    pub amplification: Amplification,
    /// What happens to group requests that no resource matches; default [`GroupPolicy::respond`], which suppresses the 4.04.
    pub unmatched: GroupPolicy,
    /// Which discovery requests it answers; default all.
    pub discoverable: Discoverable,
    /// What discovery does with group requests. By default it answers with up to 1024 bytes, however small the
    /// request: links rarely fit 64 bytes, and discovery is the step that works without security. It takes No-Response into account.
    pub discovery: GroupPolicy,
    /// Whether links in discovery carry the target attribute `gosc`, with `osc`, where a resource is reachable under Group OSCORE or
    /// OSCORE alone (draft-ietf-core-oscore-groupcomm-28 section 11). A hint that takes 9 bytes for each link; default no.
    pub mark_protected: bool,
    /// Limits discovery without security through groups to an onboarding window; default no such limit.
    pub onboarding: Option<Onboarding>,
    /// Host names of this server beside those of its groups and virtual servers. Where there are virtual servers, an unknown Uri-Host is 4.04; where there are none, Uri-Host does not matter.
    pub names: Vec<String>,
    /// The largest number of resources; default 1024.
    pub resources: usize,
    /// Limits and pace of observations.
    pub observe: ObserveConfig,
    /// Limits of the table of groups.
    pub memberships: MembershipLimits,
    /// Bodies that are larger than a block.
    pub blocks: ServerBlocks,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            nosec: NoSecPolicy::default(),
            nosec_sources: NoSecSources::default(),
            on_link: Vec::new(),
            nosec_no_response_full: false,
            leisure: None,
            unproven_reachability: Reachability::Assumed,
            proven_reachability: Reachability::Required,
            group_mode_by_unicast: GroupModeByUnicast::default(),
            mtu: 1_280,
            group_answer_limit: None,
            amplification: Amplification::AtMost(3),
            unmatched: GroupPolicy::respond(),
            discoverable: Discoverable::default(),
            discovery: GroupPolicy::respond()
                .limit(1_024)
                .amplification(Amplification::Unlimited)
                .consider_no_response(),
            mark_protected: false,
            onboarding: None,
            names: Vec::new(),
            resources: 1_024,
            observe: ObserveConfig::default(),
            memberships: MembershipLimits::default(),
            blocks: ServerBlocks::default(),
        }
    }
}

impl ServerConfig {
    /// The largest payload of a successful group answer: what is set, or 5 % of the MTU (64 bytes of 1280).
    pub fn group_answer_limit(&self) -> usize {
        self.group_answer_limit.unwrap_or(self.mtu / 20)
    }
}
