//! The hosts: an endpoint each, with its key, its group and what its application has begun.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{Sequence, SequenceSettings};
use antiphon_oscore::suite::Suite;
use antiphon_oscore::{
    Gid, Group, GroupId, GroupManagerCredential, Kid, Own, Parameters, Settings, Stale,
};
use antiphon_proto::{
    CoapGroupSpec, CollectionId, Endpoint, EndpointConfig, ExchangeId, GroupPolicy, Identity,
    Incoming, IncomingId, Instant, Leisure, Methods, ObservationId, Reachability, Resource,
    ResourceId, Response, SecurityGroupName, SocketId, SocketInfo, Task, Work, WorkResult,
};
use antiphon_wire::Code;

use super::{Begun, HOSTS, Shared, book};
use crate::operations::{check_tables, small_tables};

/// The socket of each host's own address.
pub(super) const UNICAST: SocketId = SocketId(0);
/// The socket of the group.
pub(super) const OF_GROUP: SocketId = SocketId(1);
const LIGHTS: &str = "lights";
/// So many numbers are durable at first, and with each write.
const RESERVED: u32 = 8;

/// One host.
pub(super) struct Host {
    n: usize,
    pub(super) endpoint: Endpoint,
    config: EndpointConfig,
    settings: Settings,
    key: SoftwareKey,
    /// Its group, there or not.
    pub(super) group: GroupId,
    pub(super) observable: ResourceId,
    pub(super) work: Vec<Work>,
    /// Requests whose handler is deferred, and what they will be answered.
    pub(super) incoming: Vec<(IncomingId, Vec<u8>)>,
    pub(super) exchanges: Begun<ExchangeId>,
    pub(super) collections: Begun<CollectionId>,
    pub(super) observations: Begun<ObservationId>,
    /// How often it had other keys or another Sender ID.
    installations: usize,
}

pub(super) fn address(n: usize) -> SocketAddr {
    ([10, 0, 0, n as u8], 5683).into()
}

pub(super) fn group() -> SocketAddr {
    ([239, 1, 0, 1], 5683).into()
}

/// The Sender ID of a host at first.
pub(super) fn kid(n: usize) -> Kid {
    Kid::new(&[0x40 + n as u8]).unwrap()
}

fn key(n: usize) -> SoftwareKey {
    SoftwareKey::from_ed25519_seed(&[n as u8 + 1; 32])
}

pub(super) fn credential(n: usize) -> &'static Credential {
    static CREDENTIALS: OnceLock<[Credential; HOSTS]> = OnceLock::new();
    let all = CREDENTIALS.get_or_init(|| {
        core::array::from_fn(|n| {
            let bytes = Credential::build_ccs(&format!("host {n}"), &key(n).public());
            Credential::import(CredentialFormat::Ccs, &bytes).unwrap()
        })
    });
    &all[n]
}

pub(super) fn identity(n: usize) -> Identity {
    Identity::member(LIGHTS, credential(n).bytes())
}

fn parameters(generation: u64) -> Parameters {
    Parameters {
        gid: Gid::new(&[b'D', generation as u8]).unwrap(),
        generation,
        master_secret: Secret::new(vec![generation as u8; 16]),
        master_salt: Secret::new(vec![0x7e; 8]),
        suite: Suite::default(),
        format: CredentialFormat::Ccs,
        gm_credential: GroupManagerCredential::no_manager(),
    }
}

fn group_of(
    n: usize,
    generation: u64,
    own: Kid,
    settings: Settings,
    peers: &[(Kid, usize)],
) -> Group {
    let own = Own {
        sender_id: own,
        credential: credential(n).clone(),
        sequence: Sequence::exact(0, RESERVED.into(), settings.sequence),
    };
    let mut group = Group::new(LIGHTS, parameters(generation), Some(own), settings, None).unwrap();
    for (kid, peer) in peers {
        // Of one that has had several, the first.
        let _ = group.add_peer(*kid, credential(*peer).clone());
    }
    group
}

impl Host {
    pub(super) fn new(n: usize, kind: u8, shared: &Shared) -> Self {
        let mut config = small_tables();
        config.parking.messages = 4;
        config.parking.bytes = 1_000;
        config.limits.incoming_per_address = 2;
        config.limits.pending_per_address = 2;
        config.collections.collections = 6;
        if kind & 1 != 0 {
            config.server.proven_reachability = Reachability::Assumed;
        }
        let settings = Settings {
            retention: Duration::from_secs(if kind & 2 != 0 { 60 } else { 0 }),
            sequence: SequenceSettings {
                block: RESERVED,
                ..SequenceSettings::default()
            },
            ..Settings::default()
        };
        let mut endpoint = Endpoint::new(config.clone(), [n as u8 + 1; 32]);
        for (socket, local) in [(UNICAST, address(n)), (OF_GROUP, group())] {
            let info = SocketInfo {
                local,
                respond_from: None,
            };
            endpoint.add_socket(socket, info);
        }
        let server = endpoint.server_mut();
        let shared = shared.clone();
        let answer = move |asked: &Incoming<'_>, response: &mut Response| {
            let sender = &asked.arrival.sender;
            response.code = Code::CONTENT;
            response.payload = book(&shared).answer(n, sender, asked.payload());
        };
        let at_once = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
        let late = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::from_secs(3)));
        let resource = Resource::at("t").on(Methods::ALL, answer.clone());
        let resource = resource.observable().group_policy(at_once.clone());
        let observable = server.add(resource).unwrap();
        let resource = Resource::at("wait").on(Methods::ALL, answer);
        server.add(resource.group_policy(late)).unwrap();
        let slow = Resource::at("slow").deferred(Methods::ALL);
        server.add(slow.group_policy(at_once)).unwrap();
        let name = SecurityGroupName::new(LIGHTS).unwrap();
        let spec = CoapGroupSpec::new(group()).on(1).secured(name);
        server.memberships_mut().create(spec).unwrap();
        let peers: Vec<_> = (0..HOSTS)
            .filter(|peer| *peer != n)
            .map(|peer| (kid(peer), peer))
            .collect();
        let group = endpoint.add_group(group_of(n, 1, kid(n), settings, &peers));
        Self {
            n,
            endpoint,
            config,
            settings,
            key: key(n),
            group,
            observable,
            work: Vec::new(),
            incoming: Vec::new(),
            exchanges: Begun::new(),
            collections: Begun::new(),
            observations: Begun::new(),
            installations: 1,
        }
    }

    /// How many Sender Contexts it has had.
    pub(super) fn installed(&self) -> usize {
        self.installations
    }

    pub(super) fn is_done(&self) -> bool {
        let exchanges = self.exchanges.values().map(|(_, ended)| ended);
        let collections = self.collections.values().map(|(_, ended)| ended);
        let observations = self.observations.values().map(|(_, ended)| ended);
        exchanges
            .chain(collections)
            .chain(observations)
            .all(|ended| *ended)
    }

    /// Does a piece of work, with what is known of whose a Sender ID is.
    pub(super) fn result(&self, work: Work, whose: impl Fn(&Kid) -> Option<usize>) -> WorkResult {
        match work.task {
            Task::Verify(job) => WorkResult::Checked(job.run()),
            Task::Agree(job) => WorkResult::Agreed(job.run(&self.key)),
            Task::Sign(job) => job.run(&self.key),
            Task::LoadCredential { kid, .. } => {
                WorkResult::Credential(whose(&kid).map(|host| credential(host).clone()))
            }
            Task::Store { .. } | Task::Join { .. } | Task::Leave { .. } => WorkResult::Done,
        }
    }

    /// Installs the keys of this generation, if they are new.
    pub(super) fn install(&mut self, now: Instant, generation: u64, stale: Vec<Kid>) -> bool {
        let Some(group) = self.endpoint.security_mut().group_mut(self.group) else {
            return false;
        };
        let stale = Stale::Since {
            generation: group.generation(),
            kids: stale,
        };
        let Ok(prepared) =
            group.prepare_install(parameters(generation), None, stale, RESERVED.into())
        else {
            return false; // it has these keys
        };
        let installed = group.commit_install(prepared, now.since(Instant::ZERO));
        installed.expect("nothing has happened since");
        self.installations += 1;
        self.endpoint.keys_changed(now);
        true
    }

    pub(super) fn other_sender_id(&mut self, now: Instant, kid: Kid) {
        let Some(group) = self.endpoint.security_mut().group_mut(self.group) else {
            return;
        };
        if let Ok(prepared) = group.prepare_sender_id(kid, RESERVED.into()) {
            let changed = group.commit_sender_id(prepared);
            changed.expect("nothing has happened since");
            self.installations += 1;
            self.endpoint.keys_changed(now);
        }
    }

    pub(super) fn leave(&mut self, now: Instant) {
        let _ = self.endpoint.leave_group(now, self.group);
    }

    pub(super) fn join(&mut self, generation: u64, own: Kid, peers: &[(Kid, usize)]) {
        let group = group_of(self.n, generation, own, self.settings, peers);
        self.group = self.endpoint.add_group(group);
        self.installations += 1;
    }

    /// Every table keeps to its limit.
    pub(super) fn check(&self) {
        check_tables(&self.endpoint, &self.config, &[self.observable]);
    }
}
