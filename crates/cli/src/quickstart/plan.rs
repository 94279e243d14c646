//! Who the members are: names, addresses and roles, all from one seed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::failure::Failure;

/// What a member can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Hears the group.
    Hearing,
    /// Has not joined the group; answers by unicast.
    Deaf,
    /// Nobody is at its address.
    Dead,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Hearing => "hearing",
            Role::Deaf => "deaf",
            Role::Dead => "dead",
        }
    }
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) role: Role,
}

/// The whole group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) group: SocketAddr,
    /// What the client binds to; the system chooses the port.
    pub(crate) client: SocketAddr,
    pub(crate) members: Vec<Member>,
}

/// SplitMix64: a few choices need no more.
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Ports of the dynamic range. The default port is left to real servers, whose members must not be switched by a show.
const PORTS: core::ops::Range<u64> = 49_152..65_536;

impl Plan {
    /// A group in 239.255.0.0/16, which never leaves the site (RFC 2365), and members in a /24 of 127.0.0.0/8; all on one port that
    /// nobody on this machine uses.
    pub(crate) fn new(seed: u64, members: u16, deaf: u16, dead: u16) -> Result<Self, Failure> {
        let mut choices = Choices(seed);
        let mut last = None;
        for _ in 0..64 {
            let port = (PORTS.start + choices.below(PORTS.end - PORTS.start)) as u16;
            let net = [1 + choices.below(254) as u8, choices.below(256) as u8];
            let plan = Self::at(seed, port, net, (members, deaf, dead), &mut choices);
            match plan.check_free() {
                Ok(()) => return Ok(plan),
                Err(taken) => last = Some(taken),
            }
        }
        let why = last.map_or_else(String::new, |(address, error)| {
            format!(": {address}: {error}")
        });
        Err(Failure::local(format!(
            "no place for the group was found{why} (Linux lets every address of 127.0.0.0/8 be used, other systems do not)"
        )))
    }

    fn at(
        seed: u64,
        port: u16,
        [high, low]: [u8; 2],
        (members, deaf, dead): (u16, u16, u16),
        choices: &mut Choices,
    ) -> Self {
        let mut roles = vec![Role::Hearing; usize::from(members)];
        let special = core::iter::repeat_n(Role::Deaf, usize::from(deaf))
            .chain(core::iter::repeat_n(Role::Dead, usize::from(dead)));
        for role in special {
            // There are never more special members than members.
            let free: Vec<usize> = (0..roles.len())
                .filter(|&i| roles[i] == Role::Hearing)
                .collect();
            if let Some(&chosen) = free.get(choices.below(free.len().max(1) as u64) as usize) {
                roles[chosen] = role;
            }
        }
        let digits = members.to_string().len().max(2);
        let members = roles
            .into_iter()
            .zip(1u8..)
            .map(|(role, i)| Member {
                name: format!("lamp-{i:0digits$}"),
                address: (Ipv4Addr::new(127, high, low, i), port).into(),
                role,
            })
            .collect();
        Self {
            seed,
            group: (Ipv4Addr::new(239, 255, high, low), port).into(),
            client: (Ipv4Addr::new(127, high, low, 254), 0).into(),
            members,
        }
    }

    /// Can everything be bound? Without SO_REUSEADDR a bind fails where anyone else is, a group's member included.
    fn check_free(&self) -> Result<(), (SocketAddr, std::io::Error)> {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), self.group.port());
        let members = self.members.iter().map(|member| member.address);
        for address in [any, self.group].into_iter().chain(members) {
            UdpSocket::bind(address).map_err(|error| (address, error))?;
        }
        Ok(())
    }

    /// The members of one role, by name.
    pub(crate) fn names_of(&self, role: Role) -> impl Iterator<Item = &str> {
        self.members
            .iter()
            .filter(move |member| member.role == role)
            .map(|member| member.name.as_str())
    }

    /// The seed of one participant's random state: each has its own.
    pub(crate) fn seed_of(&self, index: u16) -> [u8; 32] {
        let mut choices = Choices(self.seed ^ (u64::from(index) << 48) ^ 0xa5a5);
        let mut seed = [0; 32];
        for chunk in seed.chunks_mut(8) {
            chunk.copy_from_slice(&choices.next().to_le_bytes());
        }
        seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(plan: &Plan) -> (usize, usize, usize) {
        let of = |role| plan.names_of(role).count();
        (of(Role::Hearing), of(Role::Deaf), of(Role::Dead))
    }

    #[test]
    fn the_seed_decides_everything() {
        let at = |seed| Plan::at(seed, 50_000, [7, 8], (12, 2, 3), &mut Choices(seed));
        assert_eq!(at(1), at(1));
        assert_ne!(at(1).members, at(2).members);
        assert_eq!(roles(&at(1)), (7, 2, 3));
        assert_eq!(at(1).members[0].name, "lamp-01");
        assert_eq!(at(1).members[11].address.to_string(), "127.7.8.12:50000");
    }

    #[test]
    fn every_count_of_roles_is_met() {
        for (members, deaf, dead) in [
            (1, 0, 0),
            (1, 1, 0),
            (1, 0, 1),
            (2, 1, 1),
            (200, 100, 100),
            (200, 0, 0),
        ] {
            let plan = Plan::at(3, 50_000, [7, 8], (members, deaf, dead), &mut Choices(3));
            let expected = (members - deaf - dead, deaf, dead);
            assert_eq!(
                roles(&plan),
                (
                    expected.0 as usize,
                    expected.1 as usize,
                    expected.2 as usize
                )
            );
        }
        assert_eq!(
            Plan::at(3, 50_000, [7, 8], (200, 0, 0), &mut Choices(3)).members[0].name,
            "lamp-001"
        );
    }

    #[test]
    fn a_taken_address_is_avoided() {
        let plan = Plan::new(42, 3, 0, 0).unwrap();
        let taken = UdpSocket::bind(plan.members[1].address).unwrap();
        let other = Plan::new(42, 3, 0, 0).unwrap();
        assert_ne!(other.group.port(), plan.group.port());
        drop(taken);
        assert_eq!(Plan::new(42, 3, 0, 0).unwrap(), plan);
        assert!((49_152..=65_535).contains(&plan.group.port()));
    }

    #[test]
    fn every_participant_has_a_seed_of_its_own() {
        let plan = Plan::at(1, 50_000, [7, 8], (3, 0, 0), &mut Choices(1));
        let seeds: std::collections::HashSet<_> = (0..300)
            .chain([u16::MAX])
            .map(|i| plan.seed_of(i))
            .collect();
        assert_eq!(seeds.len(), 301);
    }
}
