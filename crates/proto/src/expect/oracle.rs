//! Who is a member at present (groupcomm-bis-18 section 3.2.1).
//!
//! The document leaves open how a client knows: from the configuring entity of the group, or by watching who joins. So
//! it is the application that says it.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{Expectation, Member};
use crate::collection::GroupTarget;

/// Knows the current members of groups.
///
/// It is asked whenever a question or an observation begins that expects the [current members](Expectation::current), and
/// must not wait for anything: what has to be fetched is fetched beforehand.
pub trait MembershipOracle: Send + Sync {
    /// Every current member of these groups; a member of several of them once. `None`: they are not all known. Then
    /// nobody in particular is expected, and nothing is answered from the cache alone.
    fn members(&self, targets: &[GroupTarget]) -> Option<Expectation>;
}

/// Members that are configured and do not change by themselves.
#[derive(Clone, Debug, Default)]
pub struct StaticMembers {
    groups: Vec<(SocketAddr, Vec<Member>)>,
}

impl StaticMembers {
    /// No group is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The members of a group, on whichever interface it is asked. What was stated of this group before is replaced; an
    /// empty list is a group that is known to have no members.
    #[must_use]
    pub fn group(mut self, group: SocketAddr, members: impl IntoIterator<Item = Member>) -> Self {
        self.groups.retain(|(known, _)| *known != group);
        self.groups.push((group, members.into_iter().collect()));
        self
    }

    fn of(&self, group: SocketAddr) -> Option<&[Member]> {
        let known = self.groups.iter().find(|(known, _)| *known == group)?;
        Some(&known.1)
    }
}

impl MembershipOracle for StaticMembers {
    /// Members of the same name are one, which has the addresses that are stated for any of them.
    fn members(&self, targets: &[GroupTarget]) -> Option<Expectation> {
        let mut all: Vec<Member> = Vec::new();
        for target in targets {
            for member in self.of(target.group)? {
                match all.iter_mut().find(|known| known.name == member.name) {
                    Some(known) => known.unite(member),
                    None => all.push(member.clone()),
                }
            }
        }
        let mut expectation = Expectation::nobody();
        for member in all {
            expectation.add(member);
        }
        Some(expectation)
    }
}

impl Member {
    fn unite(&mut self, other: &Self) {
        for address in &other.addresses {
            if !self.addresses.contains(address) {
                self.addresses.push(*address);
            }
        }
        if self.id.is_empty() {
            self.id.clone_from(&other.id);
        }
        if self.identity.is_empty() {
            self.identity.clone_from(&other.identity);
        }
    }
}

impl Expectation {
    /// The current members of the groups that are asked, as the [`MembershipOracle`] of the endpoint knows them when the
    /// question begins. Nobody in particular if there is none, if it does not know them, and for an observation of one
    /// server.
    pub fn current() -> Self {
        Self {
            current: true,
            ..Self::default()
        }
    }

    /// Asks who they are, if that was left open.
    pub(crate) fn settle(
        &mut self,
        oracle: Option<&dyn MembershipOracle>,
        targets: &[GroupTarget],
    ) {
        if self.current {
            let known = oracle.and_then(|oracle| oracle.members(targets));
            // Who hands the question back to the oracle knows nothing either.
            *self = known.filter(|known| !known.current).unwrap_or_default();
        }
    }
}

impl core::fmt::Debug for dyn MembershipOracle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("MembershipOracle")
    }
}
