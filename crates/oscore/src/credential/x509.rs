//! X.509 certificates: the SubjectPublicKeyInfo of the end entity (RFC 5280, RFC 8410, RFC 5480). One certificate in DER, or
//! several as COSE has them (RFC 9360): a byte string, or an array of byte strings.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use minicbor::Decoder;
use minicbor::data::Type;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;

use super::CredentialRefused::{self, KeyIncomplete, Malformed, NoEndEntity};
use super::{Found, item};
use crate::crypto::{Curve, EcY, KeyRefused, PublicKey};

const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// A SEQUENCE, with which every certificate begins. In CBOR it would be a negative integer.
const DER_SEQUENCE: u8 = 0x30;

/// How many certificates a chain or bag may have.
const MAX_CERTIFICATES: usize = 16;

pub(super) fn import(bytes: &[u8]) -> Result<Found<'_>, CredentialRefused> {
    let certificates = certificates(bytes)?;
    let parsed = certificates
        .iter()
        .map(|der| Certificate::from_der(der).map_err(|_| Malformed));
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    let end_entity = end_entity(&parsed)?;
    let (bytes, certificate) = certificates
        .get(end_entity)
        .zip(parsed.get(end_entity))
        .ok_or(NoEndEntity)?;
    let subject = certificate.tbs_certificate().subject().to_string();
    let subject = if subject.is_empty() {
        None
    } else {
        Some(Box::from(subject))
    };
    Ok(Found {
        bytes,
        key: public_key(certificate)?,
        subject,
    })
}

fn certificates(bytes: &[u8]) -> Result<Vec<&[u8]>, CredentialRefused> {
    if bytes.first() == Some(&DER_SEQUENCE) {
        return Ok(Vec::from([bytes]));
    }
    let mut d = Decoder::new(bytes);
    let mut all = Vec::new();
    if item::kind(&d)? == Type::Bytes {
        all.push(d.bytes().map_err(|_| Malformed)?);
    } else {
        let mut left = d.array().map_err(|_| Malformed)?;
        while item::next(&mut d, &mut left)? {
            if all.len() == MAX_CERTIFICATES {
                return Err(CredentialRefused::TooLarge);
            }
            all.push(d.bytes().map_err(|_| Malformed)?);
        }
    }
    item::at_end(&d, bytes)?;
    Ok(all)
}

/// The one that issued none of the others. A chain has the end entity first, a bag has no order.
fn end_entity(certificates: &[Certificate]) -> Result<usize, CredentialRefused> {
    let mut ends = (0..certificates.len()).filter(|index| !issued_another(certificates, *index));
    let end = ends.next().ok_or(NoEndEntity)?;
    if ends.next().is_some() {
        Err(NoEndEntity)
    } else {
        Ok(end)
    }
}

fn issued_another(certificates: &[Certificate], index: usize) -> bool {
    let Some(issuer) = certificates
        .get(index)
        .map(|certificate| certificate.tbs_certificate().subject())
    else {
        return false;
    };
    let others = certificates
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != index);
    others
        .map(|(_, certificate)| certificate.tbs_certificate().issuer())
        .any(|name| name == issuer)
}

fn public_key(certificate: &Certificate) -> Result<PublicKey, CredentialRefused> {
    let info = certificate.tbs_certificate().subject_public_key_info();
    let point = info.subject_public_key.as_bytes().ok_or(Malformed)?;
    match info.algorithm.oid {
        ED25519 => Ok(PublicKey::okp(Curve::Ed25519, point)?),
        X25519 => Ok(PublicKey::okp(Curve::X25519, point)?),
        EC_PUBLIC_KEY => {
            let parameters = info.algorithm.parameters.as_ref().ok_or(KeyIncomplete)?;
            let curve = parameters
                .decode_as::<ObjectIdentifier>()
                .map_err(|_| KeyIncomplete)?;
            ec2(curve_of(curve)?, point)
        }
        _ => Err(KeyRefused::Unsupported.into()),
    }
}

fn curve_of(oid: ObjectIdentifier) -> Result<Curve, CredentialRefused> {
    match oid {
        P256 => Ok(Curve::P256),
        P384 => Ok(Curve::P384),
        P521 => Ok(Curve::P521),
        _ => Err(KeyRefused::Unsupported.into()),
    }
}

/// A point as SEC 1 writes it: compressed, or with both coordinates.
fn ec2(curve: Curve, point: &[u8]) -> Result<PublicKey, CredentialRefused> {
    let (form, coordinates) = point.split_first().ok_or(KeyIncomplete)?;
    let (x, y) = match form {
        2 => (coordinates, EcY::Sign(false)),
        3 => (coordinates, EcY::Sign(true)),
        4 => {
            let (x, y) = coordinates
                .split_at_checked(curve.field_len())
                .ok_or(KeyRefused::Length)?;
            (x, EcY::Bytes(y))
        }
        _ => return Err(KeyIncomplete),
    };
    Ok(PublicKey::ec2(curve, x, y)?)
}
