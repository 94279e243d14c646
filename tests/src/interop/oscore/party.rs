//! The same group and the same pair as both implementations are told of it.

use antiphon::oscore::PairSettings;
use antiphon::oscore::crypto::PrivateKey as _;
use antiphon::oscore::suite::{
    Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm, Suite,
};
use antiphon::security_group::{Credential, Curve, GroupManagerCredential, Secret, SoftwareKey};
use antiphon::{OscoreContext, SecurityGroup};
use serde_json::json;

/// Member 0 asks, 1 and 2 answer.
pub(super) const MEMBERS: [&str; 3] = ["asker", "lamp-1", "lamp-2"];

const GID: [u8; 3] = *b"\x0a\x0b\x0c";
const SECRET: [u8; 16] = [0x4d; 16];
const SALT: [u8; 8] = [0x53; 8];

/// The algorithms of a group. Both implementations call them by the names of the registry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Algorithms {
    /// For pairwise mode.
    pub(super) aead: Aead,
    /// For group mode.
    pub(super) group: Aead,
    /// Of the members' keys: Ed25519 or P-256.
    pub(super) curve: Curve,
    /// The number that aiocoap writes for the key agreement. We write -27, as the draft has it.
    pub(super) their_agreement: i32,
}

impl Algorithms {
    /// Ed25519, and these for pairwise and group mode.
    pub(super) const fn ed25519(aead: Aead, group: Aead) -> Self {
        Self {
            aead,
            group,
            curve: Curve::Ed25519,
            their_agreement: -27,
        }
    }

    fn key_bytes(n: u8) -> [u8; 32] {
        [n + 1; 32]
    }

    fn key(&self, n: u8) -> SoftwareKey {
        match self.curve {
            Curve::P256 => SoftwareKey::from_p256_scalar(&Self::key_bytes(n)).unwrap(),
            _ => SoftwareKey::from_ed25519_seed(&Self::key_bytes(n)),
        }
    }

    fn credential(&self, n: u8) -> Vec<u8> {
        let name = MEMBERS.get(usize::from(n)).unwrap_or(&"manager");
        Credential::build_ccs(name, &self.key(n).public())
    }

    fn manager(&self) -> Vec<u8> {
        self.credential(99)
    }

    fn others(me: u8) -> impl Iterator<Item = u8> {
        (0..3).filter(move |n| *n != me)
    }

    /// The group as our member `me` has it.
    pub(super) fn ours(&self, me: u8) -> SecurityGroup {
        let signature = match self.curve {
            Curve::P256 => SignatureAlgorithm::Es256,
            _ => SignatureAlgorithm::EdDsa,
        };
        let suite = Suite::new(
            Hkdf::Sha256,
            Some(self.aead),
            Some(GroupEncryption::Aead(self.group)),
            Some(signature),
            Some(KeyAgreement::EcdhSsHkdf256),
        );
        let group = SecurityGroup::builder("lights")
            .gid(GID)
            .master_secret(Secret::copy_of(&SECRET))
            .master_salt(SALT)
            .suite(suite.unwrap())
            .manager_credential(GroupManagerCredential::configured_by_hand(self.manager()))
            .member([me], self.credential(me), self.key(me));
        let all = Self::others(me).fold(group, |group, n| group.peer([n], self.credential(n)));
        all.volatile().unwrap()
    }

    /// The group as member `me` has it, for aiocoap.
    pub(super) fn theirs(&self, me: u8) -> String {
        let peers = Self::others(me).map(|n| (hex(&[n]), hex(&self.credential(n)).into()));
        let config = json!({
            "gid": hex(&GID),
            "secret": hex(&SECRET),
            "salt": hex(&SALT),
            "aead": self.aead.name(),
            "group": self.group.name(),
            "signature": if self.curve == Curve::P256 { "ES256" } else { "EdDSA" },
            "agreement": self.their_agreement,
            "manager": hex(&self.manager()),
            "id": hex(&[me]),
            "key": hex(&Self::key_bytes(me)),
            "credential": hex(&self.credential(me)),
            "peers": peers.collect::<serde_json::Map<_, serde_json::Value>>(),
        });
        config.to_string()
    }
}

/// OSCORE for two with this algorithm: we are `01`, they are `02`. aiocoap finds a context that has an ID Context only when a
/// request carries it, which RFC 8613 leaves to the sender and we do not do by default.
pub(super) fn our_pair(aead: Aead) -> OscoreContext {
    let context = OscoreContext::builder("pair")
        .master_secret(Secret::copy_of(&SECRET))
        .master_salt(SALT)
        .id_context(GID)
        .sender_id([1])
        .recipient_id([2])
        .algorithms(Hkdf::Sha256, aead)
        .settings(PairSettings {
            send_id_context: true,
            ..PairSettings::default()
        });
    context.volatile().unwrap()
}

/// The same for aiocoap. After a crash it does not know what it has received.
pub(super) fn their_pair(aead: Aead, crashed: bool) -> String {
    let mut config = json!({ "pair": {
        "secret_hex": hex(&SECRET),
        "salt_hex": hex(&SALT),
        "id-context_hex": hex(&GID),
        "sender-id_hex": "02",
        "recipient-id_hex": "01",
        "algorithm": aead.name(),
    }});
    if crashed {
        config["sequence"] = json!({ "next-to-send": 100, "received": "unknown" });
    }
    config.to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
