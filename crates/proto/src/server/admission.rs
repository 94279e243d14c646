//! Who is let in: proof, permission, freshness and reachability, and the security group of a request.

use alloc::collections::VecDeque;
use core::hash::{BuildHasher, Hasher};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use antiphon_wire::{Code, DEFAULT_PORT, Message, OptionNumber, Scope};

use super::{Asking, Discoverable, Server, ServerConfig, SilenceReason};
use crate::config::Profile;
use crate::identity::{GroupTuple, SecurityGroup, SecurityMode, Standing};
use crate::membership::{ApplicationGroupId, CoapGroup, GroupSecurity, SecurityGroupName};
use crate::path::Path;
use crate::policy::{
    Access, Amplification, Classes, GroupPolicy, NoSecPolicy, NoSecSources, is_publicly_routed,
};
use crate::resource::{Entry, Operation, Resource};
use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;

/// When the sender of a request must have shown, by sending an Echo value back, that it is reachable at its source
/// address (RFC 9175 sections 2.4 item 3 and 2.6, groupcomm-bis-18 section 6.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// Never.
    Assumed,
    /// Before an answer is sent that is larger than the amplification allowed for the resource. Only GET and FETCH are
    /// asked twice: another method has been done when its answer is known.
    WhenAmplified,
    /// Before anything is done that could be answered.
    Required,
}

/// What becomes of a request in group mode that came by unicast. Nobody but its sender knows for whom it was meant
/// (draft-ietf-core-oscore-groupcomm-28 section 14.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupModeByUnicast {
    /// It is processed like any other. The default: handlers and [`Resource::permits`](crate::Resource::permits) see
    /// how it came.
    #[default]
    Serve,
    /// Only GET and FETCH are processed.
    ReadOnly,
    /// It is not processed.
    Refuse,
}

/// What is known of a request when it is decided whether to process it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its sender is proven.
    pub proven: bool,
    /// It is proven to be fresh.
    pub fresh: bool,
    /// Its sender is proven to be reachable at its source address.
    pub reachable: bool,
}

/// What must be known of a request before it is processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demanded {
    /// Its sender.
    pub proof: bool,
    /// That it is fresh.
    pub freshness: bool,
    /// That its sender is reachable at its source address.
    pub reachability: bool,
}

/// Whether a request is processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is processed.
    Serve,
    /// Its sender is to send an Echo value back first.
    Challenge,
    /// It is refused for lack of security.
    Refuse,
}

impl Admission {
    /// Decides by what is known and what is demanded.
    ///
    /// Freshness needs a proven sender: an Echo value proves it only under integrity protection (RFC 9175 section 2.3).
    /// Reachability does not (section 2.4 item 3).
    pub const fn of(known: Known, demanded: Demanded) -> Self {
        if (demanded.proof || demanded.freshness) && !known.proven {
            Self::Refuse
        } else if (demanded.freshness && !known.fresh)
            || (demanded.reachability && !known.reachable)
        {
            Self::Challenge
        } else {
            Self::Serve
        }
    }
}

/// An Echo value for a sender that proves nothing: 8 bytes.
pub(super) type EchoValue = [u8; 8];

/// Which addresses without proof are known to be reachable.
///
/// A value is a keyed hash (SipHash) of the address and of the period it was made in, so nothing is kept for those who
/// never send theirs back. Only reachability rests on it.
pub(super) struct Echoes {
    hash: KeyedHash,
    /// Who has sent its value back, the latest last, with when that is forgotten.
    reachable: VecDeque<(SocketAddr, Instant)>,
}

impl Echoes {
    /// A value is good in the period it was made in and in the next one.
    const PERIOD: Duration = Duration::from_secs(60);
    /// An address that was reachable is taken to be so for this long.
    const REMEMBERED: Duration = Duration::from_secs(3_600);
    /// Of so many addresses at most; the oldest gives way, and is challenged anew.
    const ADDRESSES: usize = 256;

    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            hash: rng.keyed_hash(),
            reachable: VecDeque::new(),
        }
    }

    /// The value for this address now.
    pub(super) fn value(&self, now: Instant, peer: SocketAddr) -> EchoValue {
        self.value_of(period(now), peer)
    }

    /// Is the address known to be reachable, by this value or by an earlier one?
    pub(super) fn is_reachable(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        echo: Option<&[u8]>,
    ) -> bool {
        while self
            .reachable
            .front()
            .is_some_and(|(_, until)| *until < now)
        {
            self.reachable.pop_front();
        }
        if self.reachable.iter().any(|(known, _)| *known == peer) {
            return true;
        }
        let Some(echo) = echo else {
            return false;
        };
        let this = period(now);
        let good = [Some(this), this.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|period| self.value_of(period, peer) == echo);
        if good {
            if self.reachable.len() >= Self::ADDRESSES {
                self.reachable.pop_front();
            }
            self.reachable.push_back((peer, now + Self::REMEMBERED));
        }
        good
    }

    fn value_of(&self, period: u64, peer: SocketAddr) -> EchoValue {
        let mut hasher = self.hash.build_hasher();
        hasher.write_u64(period);
        match peer.ip() {
            IpAddr::V4(v4) => hasher.write(&v4.octets()),
            IpAddr::V6(v6) => hasher.write(&v6.octets()),
        }
        hasher.write_u16(peer.port());
        hasher.finish().to_be_bytes()
    }
}

/// The number of the period that an instant lies in.
fn period(now: Instant) -> u64 {
    now.since(Instant::ZERO).as_secs() / Echoes::PERIOD.as_secs()
}

/// Does this request come too close to an attack that section 14.9 describes?
pub(super) const fn is_redirected(
    policy: GroupModeByUnicast,
    mode: SecurityMode,
    method: Code,
) -> bool {
    match (policy, mode) {
        (GroupModeByUnicast::Refuse, SecurityMode::Group) => true,
        (GroupModeByUnicast::ReadOnly, SecurityMode::Group) => {
            !matches!(method, Code::GET | Code::FETCH)
        }
        _ => false,
    }
}

/// Do the links of this resource say that it is reachable under Group OSCORE or OSCORE alone? Without security in the image
/// they do not: then it is not reachable at all.
pub(super) fn is_marked(config: &ServerConfig, resource: &Resource) -> bool {
    let stated = config.nosec == NoSecPolicy::Stated;
    let open = |method| stated && resource.access.allows_unsecured(method);
    cfg!(feature = "oscore") && config.mark_protected && !resource.methods.iter().any(open)
}

impl Server {
    /// May a group request without security come from this address?
    pub(super) fn takes_source(&self, peer: SocketAddr) -> bool {
        self.config.nosec_sources == NoSecSources::Any
            || !is_publicly_routed(peer.ip())
            || self
                .config
                .on_link
                .iter()
                .any(|prefix| prefix.contains(peer.ip()))
    }

    /// May a sender that has proven nothing use this method of a resource with this access?
    pub(super) fn allows_nosec(&self, discovery: bool, access: &Access, method: Code) -> bool {
        match self.config.nosec {
            NoSecPolicy::Nothing => false,
            NoSecPolicy::DiscoveryOnly => discovery,
            NoSecPolicy::Stated => discovery || access.allows_unsecured(method),
        }
    }

    /// Does the server want to be discovered by a request through this group?
    pub(super) fn is_discoverable(
        &self,
        now: Instant,
        coap: &CoapGroup,
        standing: &Standing<'_>,
    ) -> Result<(), SilenceReason> {
        // On another port it is a group like any other, of which this server is a member because it was told so.
        let all_nodes = coap.address().port() == DEFAULT_PORT
            && antiphon_wire::group::all_coap_nodes(coap.address().ip());
        match self.config.discoverable {
            Discoverable::All => {}
            Discoverable::Groups if !all_nodes => {}
            _ => return Err(SilenceReason::NotDiscoverable),
        }
        match self.config.onboarding {
            Some(onboarding) if !standing.sender.is_proven() => {
                let in_window = (onboarding.from..=onboarding.until).contains(&now);
                match onboarding.responder && in_window && is_link_local(coap.address().ip()) {
                    true => Ok(()),
                    false => Err(SilenceReason::Onboarding),
                }
            }
            _ => Ok(()),
        }
    }

    /// Is the security group of a proven request paired with the CoAP group that it came through, with the resource,
    /// or else with the application groups that the resource is in (groupcomm-bis-18 section 2.1.3)? Where none is
    /// stated, every one is.
    pub(super) fn is_paired(
        &self,
        coap: Option<&CoapGroup>,
        application: Option<ApplicationGroupId>,
        entry: &Entry,
        standing: &Standing<'_>,
    ) -> bool {
        let is = |name: &SecurityGroupName| standing.security_group == Some(name.as_str());
        if let Some(GroupSecurity::Groups(groups)) = coap.map(CoapGroup::security)
            && !groups.iter().any(is)
        {
            return false;
        }
        let own = &entry.resource.security_groups;
        if !own.is_empty() {
            return own.iter().any(is);
        }
        let by_application = |id: ApplicationGroupId| {
            let group = self.memberships.application(id);
            group.is_none_or(|group| group.security().is_empty() || group.security().iter().any(is))
        };
        match application {
            Some(id) => by_application(id),
            None => entry.groups.is_empty() || entry.groups.iter().any(|id| by_application(*id)),
        }
    }

    /// The tuple that a group request belongs to (seed -03 section 2.1.4).
    pub(super) fn tuple(
        &self,
        coap: &CoapGroup,
        application: Option<ApplicationGroupId>,
        standing: &Standing<'_>,
    ) -> GroupTuple {
        let application = application.and_then(|id| self.memberships.application(id));
        let proven = standing.sender.is_proven();
        let security_group = match (proven, self.config.profile, standing.security_group) {
            (false, Profile::Current, _) => SecurityGroup::None,
            (false, Profile::Seed03, _) => SecurityGroup::NoSec,
            (true, _, Some(name)) => SecurityGroup::Named(name.into()),
            (true, _, None) => SecurityGroup::Unidentified,
        };
        GroupTuple {
            coap_group: coap.address(),
            application_group: application.map(|group| group.name().into()),
            security_group,
        }
    }

    /// When the sender of this request must show that it is reachable.
    fn reachability(&self, asking: &Asking<'_, '_>) -> Reachability {
        match (asking.standing.sender.is_proven(), asking.coap) {
            (false, _) => self.config.unproven_reachability,
            (true, Some(_)) => self.config.proven_reachability,
            // One answer to one request: only a large one is worth a round trip.
            (true, None) => match self.config.proven_reachability {
                Reachability::Assumed => Reachability::Assumed,
                _ => Reachability::WhenAmplified,
            },
        }
    }

    /// Must the sender of this request be known to be reachable before it is processed?
    pub(super) fn demands_reachability(
        &self,
        resource: &Resource,
        asking: &Asking<'_, '_>,
    ) -> bool {
        match self.reachability(asking) {
            Reachability::Assumed => false,
            // Who is never answered can turn nothing against anyone.
            Reachability::Required => {
                asking.coap.is_none() || resource.group_policy.suppressed() != Classes::ALL
            }
            // What is answered late is answered separately, which a challenge never is (RFC 9175 section 2.4 item 3).
            Reachability::WhenAmplified => {
                let method = asking.message.code();
                let small = asking.coap.is_none()
                    && asking.standing.sender.is_proven()
                    && !matches!(method, Code::GET | Code::FETCH);
                !small
                    && resource.operations.iter().any(|(methods, operation)| {
                        methods.contains(method) && matches!(operation, Operation::Deferred)
                    })
            }
        }
    }

    /// The largest response that may be sent to whoever asks, as a message in bytes, and whether a challenge takes the
    /// place of a larger one.
    pub(super) fn largest(&self, asking: &Asking<'_, '_>, policy: &GroupPolicy) -> (usize, bool) {
        /// What may be sent to any address, whatever the size of its request (RFC 9175 section 2.4 item 3).
        const INITIAL: usize = 136;
        let message = asking.message;
        let challenge = self.reachability(asking) == Reachability::WhenAmplified
            && matches!(message.code(), Code::GET | Code::FETCH);
        let amplification = policy.own_amplification();
        let largest = match amplification.unwrap_or(self.config.amplification) {
            _ if asking.reachable => usize::MAX,
            Amplification::Unlimited => usize::MAX,
            Amplification::AtMost(times) => {
                let times = usize::try_from(times).unwrap_or(usize::MAX);
                let size = message.as_bytes().len().saturating_mul(times);
                match (asking.coap, asking.standing.sender.is_proven()) {
                    (Some(_), false) => size,
                    (Some(_), true) if challenge => size,
                    (None, _) if challenge => size.max(INITIAL),
                    _ => usize::MAX,
                }
            }
        };
        (largest, challenge)
    }

    /// The Echo value for a sender that proves nothing, where it may be asked for one.
    pub(super) fn echo(
        &self,
        now: Instant,
        path: &Path,
        standing: &Standing<'_>,
    ) -> Option<EchoValue> {
        let asked = self.config.unproven_reachability != Reachability::Assumed;
        (asked && !standing.sender.is_proven()).then(|| self.echoes.value(now, path.peer))
    }

    /// Is the sender of this request known to be reachable at its source address?
    pub(super) fn is_reachable(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        standing: &Standing<'_>,
        message: &Message<'_>,
    ) -> bool {
        if standing.sender.is_proven() {
            return standing.reachable;
        }
        self.config.unproven_reachability != Reachability::Assumed
            && self
                .echoes
                .is_reachable(now, peer, message.option(OptionNumber::ECHO))
    }
}

/// Does this group reach no further than the link? IPv4 has the local network control block.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [224, 0, 0, _]),
        IpAddr::V6(v6) => matches!(Scope::of(v6), Some(Scope::Interface | Scope::Link)),
    }
}
