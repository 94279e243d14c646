//! CWT Claims Sets with a COSE Key in the confirmation claim (RFC 8392, RFC 8747 section 3.2, RFC 9052 section 7).

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::Decoder;
use minicbor::data::Type;

use super::CredentialRefused::{self, KeyIncomplete, Malformed, NoKey, SecretInside};
use super::Found;
use super::item::{self, Label};
use crate::cbor;
use crate::crypto::{Curve, EcY, PublicKey};

/// Self-described CBOR, CWT, and the unprotected CWT Claims Set of RFC 9781.
const TAGS: [u64; 3] = [55799, 61, 601];

const SUB: i128 = 2;
const CNF: i128 = 8;
const COSE_KEY: i128 = 1;

const KTY: i128 = 1;
const ALG: i128 = 3;
const CRV: i128 = -1;
const X: i128 = -2;
const Y: i128 = -3;
/// d of OKP and EC2 keys. The k of symmetric keys has the label of the curve, and is recognised by its key type.
const D: i128 = -4;

const OKP: i128 = 1;
const EC2: i128 = 2;
const SYMMETRIC: i128 = 4;

pub(super) fn import(bytes: &[u8]) -> Result<Found<'_>, CredentialRefused> {
    let bytes = item::untagged(bytes, &TAGS)?;
    let bytes = match item::end_entity(bytes, &[Type::Map, Type::MapIndef, Type::Tag])? {
        Some(first) => item::untagged(first, &TAGS)?,
        None => bytes,
    };
    let (key, subject) = claims(bytes)?;
    Ok(Found {
        bytes,
        key,
        subject,
    })
}

/// The key and the subject of a claims set.
pub(super) fn claims(bytes: &[u8]) -> Result<(PublicKey, Option<Box<str>>), CredentialRefused> {
    let mut d = Decoder::new(bytes);
    let (mut subject, mut key) = (None, None);
    item::map(&mut d, item::depth(), |label, d| {
        match label {
            Label::Int(SUB) => once(&mut subject, text(d)?)?,
            Label::Int(CNF) => once(&mut key, confirmation(d)?)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    item::at_end(&d, bytes)?;
    Ok((key.flatten().ok_or(NoKey)?.public_key()?, subject))
}

fn confirmation(d: &mut Decoder<'_>) -> Result<Option<CoseKey>, CredentialRefused> {
    let mut key = None;
    item::map(d, item::depth() - 1, |label, d| {
        if label != Label::Int(COSE_KEY) {
            return Ok(false);
        }
        once(&mut key, CoseKey::read(d)?)?;
        Ok(true)
    })?;
    Ok(key)
}

#[derive(Default)]
struct CoseKey {
    kty: Option<i128>,
    alg: Option<i128>,
    crv: Option<i128>,
    x: Option<Vec<u8>>,
    y: Option<Ordinate>,
    secret: bool,
}

enum Ordinate {
    Bytes(Vec<u8>),
    Sign(bool),
}

impl CoseKey {
    fn read(d: &mut Decoder<'_>) -> Result<Self, CredentialRefused> {
        let mut key = Self::default();
        item::map(d, item::depth() - 2, |label, d| {
            match label {
                Label::Int(KTY) if is_int(d)? => once(&mut key.kty, item::int(d)?)?,
                Label::Int(ALG) if is_int(d)? => once(&mut key.alg, item::int(d)?)?,
                Label::Int(CRV) if is_int(d)? => once(&mut key.crv, item::int(d)?)?,
                Label::Int(X) if is_bytes(d)? => once(&mut key.x, item::bytes(d)?)?,
                Label::Int(Y) if is_bytes(d)? => {
                    once(&mut key.y, Ordinate::Bytes(item::bytes(d)?))?
                }
                Label::Int(Y) if item::kind(d)? == Type::Bool => {
                    once(&mut key.y, Ordinate::Sign(d.bool().map_err(|_| Malformed)?))?;
                }
                Label::Int(D) => {
                    key.secret = true;
                    return Ok(false);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(key)
    }

    fn public_key(&self) -> Result<PublicKey, CredentialRefused> {
        if self.secret || self.kty == Some(SYMMETRIC) {
            return Err(SecretInside);
        }
        let curve = self
            .crv
            .and_then(|crv| i32::try_from(crv).ok())
            .ok_or(KeyIncomplete)?;
        let curve = Curve::from_id(curve).ok_or(CredentialRefused::Key(
            crate::crypto::KeyRefused::Unsupported,
        ))?;
        let x = self.x.as_deref().ok_or(KeyIncomplete)?;
        if self.alg.is_some_and(|alg| !made_for(curve, alg)) {
            return Err(KeyIncomplete);
        }
        match (self.kty, curve, &self.y) {
            (Some(OKP), Curve::Ed25519 | Curve::X25519, None) => Ok(PublicKey::okp(curve, x)?),
            (Some(EC2), Curve::P256 | Curve::P384 | Curve::P521, Some(y)) => {
                let y = match y {
                    Ordinate::Bytes(y) => EcY::Bytes(y),
                    Ordinate::Sign(odd) => EcY::Sign(*odd),
                };
                Ok(PublicKey::ec2(curve, x, y)?)
            }
            _ => Err(KeyIncomplete),
        }
    }
}

/// Whether a key on this curve can be one for this COSE algorithm: its signature algorithm, under its old or its fully-specified
/// number, or a key agreement.
fn made_for(curve: Curve, alg: i128) -> bool {
    let fully_specified = match curve {
        Curve::Ed25519 => Some(-19),
        Curve::P256 => Some(-9),
        Curve::P384 => Some(-51),
        Curve::P521 => Some(-52),
        Curve::X25519 => None,
    };
    let signature = curve
        .signature()
        .map(|algorithm| i128::from(algorithm.id()));
    let agrees = curve != Curve::Ed25519 && (-34..=-25).contains(&alg);
    agrees || signature == Some(alg) || fully_specified == Some(alg)
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), CredentialRefused> {
    if place.replace(value).is_some() {
        Err(Malformed)
    } else {
        Ok(())
    }
}

fn text(d: &mut Decoder<'_>) -> Result<Box<str>, CredentialRefused> {
    let mut all = alloc::string::String::new();
    for chunk in d.str_iter().map_err(|_| Malformed)? {
        all.push_str(chunk.map_err(|_| Malformed)?);
    }
    Ok(all.into_boxed_str())
}

fn is_int(d: &Decoder<'_>) -> Result<bool, CredentialRefused> {
    Ok(matches!(
        item::kind(d)?,
        Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int
    ))
}

fn is_bytes(d: &Decoder<'_>) -> Result<bool, CredentialRefused> {
    Ok(matches!(item::kind(d)?, Type::Bytes | Type::BytesIndef))
}

/// Writes a CCS, in the shortest encoding. The key names its signature algorithm, if its curve has one: other
/// implementations ask for it.
pub(super) fn build(subject: &str, key: &PublicKey) -> Vec<u8> {
    let mut out = Vec::new();
    cbor::map(&mut out, if subject.is_empty() { 1 } else { 2 });
    if !subject.is_empty() {
        cbor::unsigned(&mut out, 2);
        cbor::text(&mut out, subject);
    }
    cbor::unsigned(&mut out, 8);
    cbor::map(&mut out, 1);
    cbor::unsigned(&mut out, 1);
    let curve = key.curve();
    let (x, y) = key.coordinates();
    let fields = 3 + u64::from(curve.signature().is_some()) + u64::from(y.is_some());
    cbor::map(&mut out, fields);
    cbor::unsigned(&mut out, 1);
    cbor::unsigned(&mut out, if y.is_some() { 2 } else { 1 });
    if let Some(algorithm) = curve.signature() {
        cbor::unsigned(&mut out, 3);
        cbor::int(&mut out, algorithm.id());
    }
    cbor::int(&mut out, -1);
    cbor::int(&mut out, curve.id());
    cbor::int(&mut out, -2);
    cbor::bytes(&mut out, &x);
    if let Some(y) = y {
        cbor::int(&mut out, -3);
        cbor::bytes(&mut out, &y);
    }
    out
}
