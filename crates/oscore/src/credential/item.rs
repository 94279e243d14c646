//! Walks through CBOR that others wrote: any encoding is taken, depth is bounded, what is not understood is passed over.

use alloc::vec::Vec;

use minicbor::Decoder;
use minicbor::data::Type;

use super::CredentialRefused::{self, Malformed, TooLarge};

/// How deep a credential may be nested, tags included.
const MAX_DEPTH: usize = 16;

/// The label of a map entry; others than integers name nothing that matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Int(i128),
    Other,
}

/// What an entry's reader does: it reads the value and says so, or leaves it to be passed over.
pub(super) type Read = Result<bool, CredentialRefused>;

/// The bytes without the tags around them, which must be among `allowed`.
pub(super) fn untagged<'a>(
    bytes: &'a [u8],
    allowed: &[u64],
) -> Result<&'a [u8], CredentialRefused> {
    let mut d = Decoder::new(bytes);
    for _ in 0..MAX_DEPTH {
        if d.datatype().map_err(|_| Malformed)? != Type::Tag {
            return bytes.get(d.position()..).ok_or(Malformed);
        }
        let tag = d.tag().map_err(|_| Malformed)?;
        if !allowed.contains(&tag.as_u64()) {
            return Err(Malformed);
        }
    }
    Err(TooLarge)
}

/// The first item, if `bytes` is an array of items of this kind: the end entity comes first in a chain.
pub(super) fn end_entity<'a>(
    bytes: &'a [u8],
    kinds: &[Type],
) -> Result<Option<&'a [u8]>, CredentialRefused> {
    let mut d = Decoder::new(bytes);
    if !matches!(kind(&d)?, Type::Array | Type::ArrayIndef) {
        return Ok(None);
    }
    let mut left = d.array().map_err(|_| Malformed)?;
    let mut first = None;
    while next(&mut d, &mut left)? {
        if !kinds.contains(&kind(&d)?) {
            return Ok(None);
        }
        let start = d.position();
        skip(&mut d, MAX_DEPTH)?;
        let item = bytes.get(start..d.position()).ok_or(Malformed)?;
        first.get_or_insert(item);
    }
    at_end(&d, bytes)?;
    first.map(Some).ok_or(Malformed)
}

/// Reads a map: `read` gets each label, with the decoder before the value.
pub(super) fn map<'a>(
    d: &mut Decoder<'a>,
    depth: usize,
    mut read: impl FnMut(Label, &mut Decoder<'a>) -> Read,
) -> Result<(), CredentialRefused> {
    if !matches!(kind(d)?, Type::Map | Type::MapIndef) {
        return Err(Malformed);
    }
    let mut left = d.map().map_err(|_| Malformed)?;
    while next(d, &mut left)? {
        let label = label(d, depth)?;
        if !read(label, d)? {
            skip(d, depth)?;
        }
    }
    Ok(())
}

/// Whether an array or map has one more entry; takes the break of an indefinite one.
pub(super) fn next(d: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, CredentialRefused> {
    match left {
        Some(0) => Ok(false),
        Some(left) => {
            *left -= 1;
            Ok(true)
        }
        None if kind(d)? == Type::Break => {
            d.skip().map_err(|_| Malformed)?;
            Ok(false)
        }
        None => Ok(true),
    }
}

/// An integer of any encoding.
pub(super) fn int(d: &mut Decoder<'_>) -> Result<i128, CredentialRefused> {
    d.int().map(i128::from).map_err(|_| Malformed)
}

/// A byte string, in one piece or in chunks.
pub(super) fn bytes(d: &mut Decoder<'_>) -> Result<Vec<u8>, CredentialRefused> {
    let mut all = Vec::new();
    for chunk in d.bytes_iter().map_err(|_| Malformed)? {
        all.extend_from_slice(chunk.map_err(|_| Malformed)?);
    }
    Ok(all)
}

/// Passes over one item.
pub(super) fn skip(d: &mut Decoder<'_>, depth: usize) -> Result<(), CredentialRefused> {
    let depth = depth.checked_sub(1).ok_or(TooLarge)?;
    match kind(d)? {
        Type::Array | Type::ArrayIndef => {
            let mut left = d.array().map_err(|_| Malformed)?;
            while next(d, &mut left)? {
                skip(d, depth)?;
            }
        }
        Type::Map | Type::MapIndef => {
            let mut left = d.map().map_err(|_| Malformed)?;
            while next(d, &mut left)? {
                skip(d, depth)?;
                skip(d, depth)?;
            }
        }
        Type::Tag => {
            d.tag().map_err(|_| Malformed)?;
            skip(d, depth)?;
        }
        Type::Break => return Err(Malformed),
        _ => d.skip().map_err(|_| Malformed)?,
    }
    Ok(())
}

/// The type of the next item.
pub(super) fn kind(d: &Decoder<'_>) -> Result<Type, CredentialRefused> {
    d.datatype().map_err(|_| Malformed)
}

/// Nothing may follow.
pub(super) fn at_end(d: &Decoder<'_>, bytes: &[u8]) -> Result<(), CredentialRefused> {
    if d.position() == bytes.len() {
        Ok(())
    } else {
        Err(Malformed)
    }
}

/// The depth that is left for the values of a credential's outermost map.
pub(super) const fn depth() -> usize {
    MAX_DEPTH
}

fn label(d: &mut Decoder<'_>, depth: usize) -> Result<Label, CredentialRefused> {
    match kind(d)? {
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => int(d).map(Label::Int),
        _ => skip(d, depth).map(|()| Label::Other),
    }
}
