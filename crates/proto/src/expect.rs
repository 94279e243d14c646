//! Who is expected to answer.
//!
//! A member is recognised by what is strongest: an identity that was proven, a value that it states in an
//! option or in the payload, or one of its addresses. A light that answers from its link-local address
//! is found by any of its addresses and is not missing.

mod oracle;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use antiphon_wire::{Message, OptionNumber};
use hashbrown::HashTable;

use crate::identity::{Identity, Sender};
use crate::path::Path;
use crate::rng::KeyedHash;

pub use oracle::{MembershipOracle, StaticMembers};

/// The place of a member in the order in which the expected members were named, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(pub u32);

/// One address of a member: an IP address, with or without port and (for a link-local address) interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberAddress {
    ip: IpAddr,
    /// 0: any.
    port: u16,
    /// 0: any; always 0 if the address is not link-local.
    scope: u32,
}

impl MemberAddress {
    /// This address with any port and on any interface.
    pub fn any_port(ip: IpAddr) -> Self {
        Self {
            ip: ip.to_canonical(),
            port: 0,
            scope: 0,
        }
    }

    /// The IP address; never an IPv4-mapped one.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The port, if only one will do.
    pub fn port(&self) -> Option<u16> {
        (self.port != 0).then_some(self.port)
    }

    /// The interface index of a link-local address, if only one will do.
    pub fn scope(&self) -> Option<u32> {
        (self.scope != 0).then_some(self.scope)
    }

    /// Whether both can mean the same endpoint.
    fn overlaps(&self, other: &Self) -> bool {
        self.ip == other.ip && self.port == other.port && self.shares_scope(other)
    }

    fn shares_scope(&self, other: &Self) -> bool {
        self.scope == other.scope || self.scope == 0 || other.scope == 0
    }
}

impl From<IpAddr> for MemberAddress {
    fn from(ip: IpAddr) -> Self {
        Self::any_port(ip)
    }
}

impl From<SocketAddr> for MemberAddress {
    /// Port 0 means any port, scope id 0 any interface.
    fn from(address: SocketAddr) -> Self {
        let scope = match address {
            SocketAddr::V6(v6) if is_link_local(*v6.ip()) => v6.scope_id(),
            _ => 0,
        };
        Self {
            port: address.port(),
            scope,
            ..Self::any_port(address.ip())
        }
    }
}

/// A member that is expected to answer: its name and how it is recognised.
#[derive(Clone, Debug, Default)]
pub struct Member {
    name: String,
    addresses: Vec<MemberAddress>,
    id: Vec<u8>,
    identity: Vec<u8>,
}

impl Member {
    /// A member that is reported under this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Recognises it by this address too. The first address that a unicast request can reach is the one by which it is completed.
    pub fn at(mut self, address: impl Into<MemberAddress>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Recognises it by a value that it states in its answers; see [`Expectation::identified_by_option`]. An empty value is none.
    pub fn id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.id = id.into();
        self
    }

    /// Recognises it by a proven identity, and then by nothing else.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = identity.0;
        self
    }
}

/// Takes the value by which a member is recognised out of its answer.
pub type Extract = Box<dyn Fn(&Message<'_>) -> Option<Vec<u8>> + Send + Sync>;

/// The members that are expected to answer a group request.
#[derive(Default)]
pub struct Expectation {
    names: Parts<String>,
    addresses: Vec<MemberAddress>,
    address_ends: Vec<u32>,
    ids: Parts<Vec<u8>>,
    identities: Parts<Vec<u8>>,
    extract: Option<Extract>,
    /// Whoever is a member when the question begins.
    current: bool,
}

impl Expectation {
    /// Nobody in particular: everyone who answers is welcome.
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Reserves memory for this many more members with one address each.
    pub fn reserve(&mut self, members: usize) {
        self.names.ends.reserve(members);
        self.addresses.reserve(members);
        self.address_ends.reserve(members);
        self.ids.ends.reserve(members);
        self.identities.ends.reserve(members);
    }

    /// Expects one more member.
    pub fn add(&mut self, member: Member) -> MemberIndex {
        let index = MemberIndex(to_u32(self.len()));
        self.names.push(&member.name);
        self.addresses.extend_from_slice(&member.addresses);
        self.address_ends.push(to_u32(self.addresses.len()));
        self.ids.push(&member.id);
        self.identities.push(&member.identity);
        index
    }

    /// Members state their [`id`](Member::id) in the first option of this number.
    pub fn identified_by_option(&mut self, number: OptionNumber) -> &mut Self {
        self.identified_by(Box::new(move |message| {
            message.option(number).map(<[u8]>::to_vec)
        }))
    }

    /// Members state their [`id`](Member::id) where `extract` finds it, for example in the payload.
    pub fn identified_by(&mut self, extract: Extract) -> &mut Self {
        self.extract = Some(extract);
        self
    }

    /// How many members are expected.
    pub fn len(&self) -> usize {
        self.names.ends.len()
    }

    /// Is nobody in particular expected?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<A: Into<MemberAddress>> FromIterator<A> for Expectation {
    /// Members that are recognised by one address each and named after it.
    fn from_iter<I: IntoIterator<Item = A>>(addresses: I) -> Self {
        let mut expectation = Self::default();
        for address in addresses {
            let address = address.into();
            expectation.add(Member::named(alloc::format!("{address}")).at(address));
        }
        expectation
    }
}

impl fmt::Display for MemberAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.scope, self.port) {
            (ip, 0, 0) => write!(f, "{ip}"),
            (ip, scope, 0) => write!(f, "{ip}%{scope}"),
            (IpAddr::V4(ip), _, port) => write!(f, "{ip}:{port}"),
            (IpAddr::V6(ip), 0, port) => write!(f, "[{ip}]:{port}"),
            (IpAddr::V6(ip), scope, port) => write!(f, "[{ip}%{scope}]:{port}"),
        }
    }
}

impl fmt::Debug for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expectation")
            .field("members", &self.len())
            .finish_non_exhaustive()
    }
}

/// Two expected members cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplicateMember {
    /// The member named first.
    pub first: MemberIndex,
    /// The member that shares an address, id or identity with it.
    pub second: MemberIndex,
}

/// The expected members, indexed. About 60 bytes each with one address, and the name.
pub(crate) struct Members {
    expectation: Expectation,
    hash: KeyedHash,
    by_address: HashTable<Indexed>,
    /// One entry for each IP address, for answers from another port than the expected one.
    by_ip: HashTable<OnIp>,
    by_id: HashTable<MemberIndex>,
    by_identity: HashTable<MemberIndex>,
}

#[derive(Clone, Copy)]
struct Indexed {
    member: MemberIndex,
    address: u32,
}

#[derive(Clone, Copy)]
struct OnIp {
    indexed: Indexed,
    /// Several members have this IP address, so that it alone names none of them.
    several: bool,
}

impl Members {
    /// Indexes the members, in linear time.
    pub(crate) fn new(expectation: Expectation, hash: KeyedHash) -> Result<Self, DuplicateMember> {
        let mut members = Self {
            by_address: HashTable::with_capacity(expectation.addresses.len()),
            by_ip: HashTable::with_capacity(expectation.addresses.len()),
            by_id: HashTable::new(),
            by_identity: HashTable::new(),
            expectation,
            hash,
        };
        for index in (0..to_u32(members.len())).map(MemberIndex) {
            members.index_identity(index)?;
            members.index_id(index)?;
            if members.expectation.identities.get(index).is_empty() {
                members.index_addresses(index)?;
            }
        }
        Ok(members)
    }

    fn index_addresses(&mut self, member: MemberIndex) -> Result<(), DuplicateMember> {
        for position in self.expectation.address_range(member) {
            let Some(address) = self.expectation.addresses.get(position).copied() else {
                continue;
            };
            let indexed = Indexed {
                member,
                address: to_u32(position),
            };
            let Self {
                expectation,
                hash,
                by_address,
                by_ip,
                ..
            } = self;
            let (expectation, hash) = (&*expectation, &*hash);
            let at = |i: &Indexed| expectation.addresses.get(i.address as usize).copied();
            let rehash = |i: &Indexed| endpoint_hash(hash, at(i));
            let rehash_ip = |o: &OnIp| ip_hash(hash, at(&o.indexed));

            let key = endpoint_hash(hash, Some(address));
            let same = |i: &Indexed| at(i).is_some_and(|other| other.overlaps(&address));
            match by_address.find(key, same) {
                Some(other) if other.member != member => {
                    return Err(DuplicateMember {
                        first: other.member,
                        second: member,
                    });
                }
                Some(_) => continue,
                None => by_address.insert_unique(key, indexed, rehash),
            };

            let key = ip_hash(hash, Some(address));
            let same_ip = |o: &OnIp| at(&o.indexed).is_some_and(|other| other.ip == address.ip);
            match by_ip.find_mut(key, same_ip) {
                Some(on_ip) => on_ip.several |= on_ip.indexed.member != member,
                None => {
                    let on_ip = OnIp {
                        indexed,
                        several: false,
                    };
                    by_ip.insert_unique(key, on_ip, rehash_ip);
                }
            }
        }
        Ok(())
    }

    fn index_id(&mut self, member: MemberIndex) -> Result<(), DuplicateMember> {
        index_bytes(&mut self.by_id, &self.hash, &self.expectation.ids, member)
    }

    fn index_identity(&mut self, member: MemberIndex) -> Result<(), DuplicateMember> {
        index_bytes(
            &mut self.by_identity,
            &self.hash,
            &self.expectation.identities,
            member,
        )
    }

    /// Whose answer this is.
    pub(crate) fn find(
        &self,
        path: &Path,
        sender: &Sender,
        message: &Message<'_>,
    ) -> Option<MemberIndex> {
        if let Sender::Proven(identity) = sender
            && let Some(member) = self.find_proven(identity)
        {
            return Some(member);
        }
        if let Some(extract) = &self.expectation.extract
            && let Some(id) = extract(message)
            && let Some(member) = find_bytes(&self.by_id, &self.hash, &self.expectation.ids, &id)
        {
            return Some(member);
        }
        self.at(responder_address(path).into())
    }

    /// The member with this proven identity.
    pub(crate) fn find_proven(&self, Identity(identity): &Identity) -> Option<MemberIndex> {
        find_bytes(
            &self.by_identity,
            &self.hash,
            &self.expectation.identities,
            identity,
        )
    }

    /// The member with this address: exactly so, with any port, or on this IP address alone.
    fn at(&self, address: MemberAddress) -> Option<MemberIndex> {
        let any_port = MemberAddress { port: 0, ..address };
        for wanted in [address, any_port] {
            let same = |i: &Indexed| {
                self.expectation
                    .addresses
                    .get(i.address as usize)
                    .is_some_and(|known| known.overlaps(&wanted))
            };
            if let Some(found) = self
                .by_address
                .find(endpoint_hash(&self.hash, Some(wanted)), same)
            {
                return Some(found.member);
            }
        }
        let same_ip = |o: &OnIp| {
            self.expectation
                .addresses
                .get(o.indexed.address as usize)
                .is_some_and(|known| known.ip == address.ip)
        };
        let on_ip = self
            .by_ip
            .find(ip_hash(&self.hash, Some(address)), same_ip)?;
        let known = self
            .expectation
            .addresses
            .get(on_ip.indexed.address as usize)?;
        (!on_ip.several && known.shares_scope(&address)).then_some(on_ip.indexed.member)
    }

    pub(crate) fn len(&self) -> usize {
        self.expectation.len()
    }

    /// The identity by which a member is recognised, if it is.
    pub(crate) fn identity(&self, member: MemberIndex) -> Option<Identity> {
        let identity = self.expectation.identities.get(member);
        (!identity.is_empty()).then(|| Identity(identity.to_vec()))
    }

    pub(crate) fn name(&self, member: MemberIndex) -> &str {
        self.expectation.names.get(member)
    }

    /// The addresses of a member, in the order in which they were stated.
    pub(crate) fn addresses(&self, member: MemberIndex) -> &[MemberAddress] {
        self.expectation
            .addresses
            .get(self.expectation.address_range(member))
            .unwrap_or_default()
    }

    /// The names, without all that is needed to recognise members.
    pub(crate) fn names(&self) -> Names {
        Names(self.expectation.names.clone())
    }

    /// Keeps the names and gives all other memory back.
    pub(crate) fn into_names(self) -> Names {
        Names(self.expectation.names)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expectation.fmt(f)
    }
}

impl Expectation {
    fn address_range(&self, member: MemberIndex) -> core::ops::Range<usize> {
        range_of(&self.address_ends, member)
    }
}

/// The names of the expected members, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names(Parts<String>);

impl Names {
    pub(crate) fn get(&self, member: MemberIndex) -> &str {
        self.0.get(member)
    }
}

/// One value for each member, all in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Parts<T> {
    all: T,
    ends: Vec<u32>,
}

impl Parts<String> {
    fn push(&mut self, part: &str) {
        self.all.push_str(part);
        self.ends.push(to_u32(self.all.len()));
    }

    fn get(&self, member: MemberIndex) -> &str {
        self.all
            .get(range_of(&self.ends, member))
            .unwrap_or_default()
    }
}

impl Parts<Vec<u8>> {
    fn push(&mut self, part: &[u8]) {
        self.all.extend_from_slice(part);
        self.ends.push(to_u32(self.all.len()));
    }

    fn get(&self, member: MemberIndex) -> &[u8] {
        self.all
            .get(range_of(&self.ends, member))
            .unwrap_or_default()
    }
}

fn range_of(ends: &[u32], MemberIndex(index): MemberIndex) -> core::ops::Range<usize> {
    let end = |index: usize| ends.get(index).map_or(0, |end| *end as usize);
    let index = index as usize;
    index.checked_sub(1).map_or(0, end)..end(index)
}

fn index_bytes(
    table: &mut HashTable<MemberIndex>,
    hash: &KeyedHash,
    parts: &Parts<Vec<u8>>,
    member: MemberIndex,
) -> Result<(), DuplicateMember> {
    let bytes = parts.get(member);
    if bytes.is_empty() {
        return Ok(());
    }
    if let Some(first) = find_bytes(table, hash, parts, bytes) {
        return Err(DuplicateMember {
            first,
            second: member,
        });
    }
    table.insert_unique(hash.bytes(bytes), member, |m| hash.bytes(parts.get(*m)));
    Ok(())
}

fn find_bytes(
    table: &HashTable<MemberIndex>,
    hash: &KeyedHash,
    parts: &Parts<Vec<u8>>,
    bytes: &[u8],
) -> Option<MemberIndex> {
    table
        .find(hash.bytes(bytes), |member| parts.get(*member) == bytes)
        .copied()
}

/// The hash of address and port. The scope is left out, as a lookup may not know it.
fn endpoint_hash(hash: &KeyedHash, address: Option<MemberAddress>) -> u64 {
    use core::hash::BuildHasher;
    hash.hash_one(address.map(|a| (a.ip, a.port)))
}

fn ip_hash(hash: &KeyedHash, address: Option<MemberAddress>) -> u64 {
    use core::hash::BuildHasher;
    hash.hash_one(address.map(|a| a.ip))
}

/// The source of a datagram in the form in which responders are told apart: no flow label, no IPv4-mapped
/// address, and the interface as scope id if the address is link-local.
pub(crate) fn responder_address(path: &Path) -> SocketAddr {
    let peer = path.peer;
    match (peer, peer.ip().to_canonical()) {
        (SocketAddr::V6(v6), IpAddr::V6(ip)) if is_link_local(ip) => {
            let scope = match v6.scope_id() {
                0 => path.interface,
                scope => scope,
            };
            SocketAddrV6::new(ip, v6.port(), 0, scope).into()
        }
        (_, ip) => SocketAddr::new(ip, peer.port()),
    }
}

pub(crate) fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local()
}

/// Members are counted in 32 bits; more than that cannot be addressed on a link either.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
