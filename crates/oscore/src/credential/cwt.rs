//! CBOR Web Tokens: a CCS as the payload of a COSE_Sign1 (RFC 8392, RFC 9052 section 4.2).

use minicbor::Decoder;
use minicbor::data::Type;

use super::CredentialRefused::{self, Malformed};
use super::{Found, ccs, item};

/// Self-described CBOR, CWT, COSE_Sign1.
const TAGS: [u64; 3] = [55799, 61, 18];

pub(super) fn import(bytes: &[u8]) -> Result<Found<'_>, CredentialRefused> {
    let bytes = item::untagged(bytes, &TAGS)?;
    // a COSE_Sign1 is an array itself, but not one of arrays
    let bytes = match item::end_entity(bytes, &[Type::Array, Type::ArrayIndef, Type::Tag])? {
        Some(first) => item::untagged(first, &TAGS)?,
        None => bytes,
    };
    let mut d = Decoder::new(bytes);
    if !matches!(item::kind(&d)?, Type::Array | Type::ArrayIndef) {
        return Err(Malformed);
    }
    let mut left = d.array().map_err(|_| Malformed)?;
    let mut element = |d: &mut Decoder<'_>| {
        if item::next(d, &mut left)? {
            Ok(())
        } else {
            Err(Malformed)
        }
    };
    element(&mut d)?;
    item::bytes(&mut d)?; // protected header
    element(&mut d)?;
    item::map(&mut d, item::depth(), |_, _| Ok(false))?; // unprotected header
    element(&mut d)?;
    let payload = item::bytes(&mut d)?;
    element(&mut d)?;
    item::bytes(&mut d)?; // signature
    if item::next(&mut d, &mut left)? {
        return Err(Malformed);
    }
    item::at_end(&d, bytes)?;
    let (key, subject) = ccs::claims(item::untagged(&payload, &TAGS)?)?;
    Ok(Found {
        bytes,
        key,
        subject,
    })
}
