//! The files in `tests/vectors`, for unit tests.

use alloc::string::String;
use alloc::vec::Vec;

pub(crate) use serde_json::Value;

use crate::aad::GroupAad;
use crate::crypto::{Curve, EcY, PublicKey, SoftwareKey};
use crate::derive::Material;
use crate::nonce::PartialIv;
use crate::secret::Secret;
use crate::suite::{Hkdf, Suite};

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../../tests/vectors/", $name, ".json"))
    };
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// The groups whose algorithms are allowed.
pub(crate) fn groups() -> Vec<Value> {
    [
        file!("aiocoap-group-ed25519-ccm"),
        file!("aiocoap-group-ed25519-ccm-longids"),
        file!("aiocoap-group-ed25519-chacha"),
        file!("aiocoap-group-ed25519-aead-ccm-genc-ctr"),
        file!("aiocoap-group-ed25519-aead-ccm-genc-gcm"),
        file!("aiocoap-group-ed25519-aead-chacha-genc-gcm"),
        file!("aiocoap-group-p256-ccm-draft"),
    ]
    .into_iter()
    .map(parse)
    .collect()
}

/// The one of [`groups`] with this name.
pub(crate) fn group(name: &str) -> Value {
    groups()
        .into_iter()
        .find(|group| text(group, "name") == name)
        .unwrap()
}

pub(crate) fn cbc() -> Value {
    parse(file!("aiocoap-group-ed25519-aead-ccm-genc-cbc"))
}

pub(crate) fn wrong_key_agreement() -> Value {
    parse(file!("aiocoap-group-p256-ccm-aiocoap"))
}

pub(crate) fn oscore_single() -> Value {
    parse(file!("aiocoap-oscore-single"))
}

pub(crate) fn appendix_c() -> Value {
    parse(file!("aiocoap-rfc8613-appendix-c"))
}

/// The example of draft-ietf-core-cacheable-oscore.
pub(crate) fn published() -> Value {
    parse(file!("aiocoap-deterministic-draft-example"))
}

/// The deterministic requests of draft-ietf-core-cacheable-oscore and their responses: the published example, and the same with other keys.
pub(crate) fn deterministic() -> [Value; 2] {
    [published(), parse(file!("aiocoap-deterministic-own"))]
}

pub(crate) fn derived() -> Value {
    parse(file!("derived"))
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field}"))
}

pub(crate) fn bytes(value: &Value, field: &str) -> Vec<u8> {
    hex(text(value, field))
}

pub(crate) fn secret(value: &Value, field: &str) -> Secret {
    Secret::new(bytes(value, field))
}

pub(crate) fn piv(value: &Value, field: &str) -> PartialIv {
    PartialIv::from_wire(&bytes(value, field)).unwrap()
}

pub(crate) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().unwrap_or_else(|| panic!("{field}"))
}

pub(crate) fn hash(value: &Value) -> Hkdf {
    match value["hkdf"].as_str() {
        None | Some("sha256") => Hkdf::Sha256,
        Some("sha512") => Hkdf::Sha512,
        Some(other) => panic!("{other}"),
    }
}

fn id(value: &Value, field: &str) -> Option<i32> {
    value[field].as_i64().map(|id| id.try_into().unwrap())
}

/// The algorithms of a `group` object; signature and key agreement are EdDSA and its like if not said.
pub(crate) fn suite(group: &Value) -> Suite {
    let signature = id(group, "alg_signature").or(Some(-8));
    let agreement = id(group, "alg_pairwise_key_agreement").or(Some(-27));
    Suite::from_ids(
        5,
        id(group, "alg_aead"),
        id(group, "alg_group_enc"),
        signature,
        agreement,
    )
    .unwrap()
}

/// The member with this name.
pub(crate) fn member<'a>(file: &'a Value, name: &str) -> &'a Value {
    list(file, "members")
        .iter()
        .find(|member| member["name"] == name)
        .unwrap()
}

pub(crate) fn private_key(file: &Value, member: &Value) -> SoftwareKey {
    let curve = if file["group"]["alg_signature"] == -7 {
        Curve::P256
    } else {
        Curve::Ed25519
    };
    SoftwareKey::from_bytes(curve, &bytes(member, "private_key")).unwrap()
}

pub(crate) fn public_key(member: &Value) -> PublicKey {
    let key = bytes(member, "public_key");
    match key.len() {
        32 => PublicKey::okp(Curve::Ed25519, &key).unwrap(),
        _ => PublicKey::ec2(Curve::P256, &key[1..33], EcY::Bytes(&key[33..])).unwrap(),
    }
}

/// Byte strings that a structure of references points into.
pub(crate) struct Owned {
    pub(crate) secret: Secret,
    pub(crate) salt: Vec<u8>,
    pub(crate) gid: Vec<u8>,
    pub(crate) hash: Hkdf,
}

impl Owned {
    pub(crate) fn material(&self) -> Material<'_> {
        Material {
            hkdf: self.hash,
            master_secret: &self.secret,
            master_salt: &self.salt,
            id_context: Some(&self.gid),
        }
    }
}

/// What keys of a `group` object are derived from.
pub(crate) fn material(group: &Value) -> Owned {
    Owned {
        secret: secret(group, "master_secret"),
        salt: bytes(group, "master_salt"),
        gid: bytes(group, "gid"),
        hash: hash(group),
    }
}

/// The parts of external_aad of one of a group's `cases`.
pub(crate) struct Parts {
    suite: Suite,
    request_kid: Vec<u8>,
    request_piv: PartialIv,
    class_i_options: Vec<u8>,
    gid: Vec<u8>,
    oscore_option: Vec<u8>,
    sender_credential: Vec<u8>,
    group_manager_credential: Vec<u8>,
}

impl Parts {
    pub(crate) fn of(file: &Value, case: &Value) -> Parts {
        Parts {
            suite: suite(&file["group"]),
            request_kid: bytes(case, "request_kid"),
            request_piv: piv(case, "request_piv"),
            class_i_options: Vec::new(),
            gid: bytes(&file["group"], "gid"),
            oscore_option: bytes(case, "oscore_option"),
            sender_credential: bytes(member(file, text(case, "sender")), "cred"),
            group_manager_credential: bytes(&file["group"], "gm_cred"),
        }
    }

    pub(crate) fn group_aad(&self) -> GroupAad<'_> {
        GroupAad {
            suite: &self.suite,
            request_kid: &self.request_kid,
            request_piv: self.request_piv,
            class_i_options: &self.class_i_options,
            request_kid_context: &self.gid,
            oscore_option: &self.oscore_option,
            sender_credential: &self.sender_credential,
            group_manager_credential: &self.group_manager_credential,
        }
    }
}

/// A name for messages of failed assertions.
pub(crate) fn label(file: &Value, case: &Value) -> String {
    alloc::format!("{} {}", text(file, "name"), text(case, "label"))
}
