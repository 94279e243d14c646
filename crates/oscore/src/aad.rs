//! What is authenticated beside the message: external_aad, Enc_structure and the structure that is signed (RFC 8613,
//! section 5.4; draft-ietf-core-oscore-groupcomm-28, sections 3.1 and 3.4).
//!
//! Both structures contain the external_aad at their end, or followed by the ciphertext only. So it is encoded once, and
//! the beginning of the one structure is written over that of the other.

use alloc::vec::Vec;

use crate::cbor;
use crate::nonce::PartialIv;
use crate::suite::{Aead, Suite};

/// `[ "CounterSignature0", h'', h'', ..., ... ]`: five elements, the second empty string being the signer's protected
/// header. Generic COSE code leaves that one out; whoever does cannot talk to anybody.
const SIGNED: &[u8; 21] = b"\x85\x71CounterSignature0\x40\x40";
/// `[ "Encrypt0", h'', ... ]`
const ENCRYPTED: &[u8; 11] = b"\x83\x68Encrypt0\x40";
const ENCRYPTED_AT: usize = SIGNED.len() - ENCRYPTED.len();
const OSCORE_VERSION: u64 = 1;

/// What external_aad of plain OSCORE is made of (RFC 8613, section 5.4).
#[derive(Debug, Clone, Copy)]
pub struct OscoreAad<'a> {
    /// The AEAD Algorithm.
    pub aead: Aead,
    /// The kid of the request.
    pub request_kid: &'a [u8],
    /// The Partial IV of the request.
    pub request_piv: PartialIv,
    /// The Class I options of this message, encoded with deltas from 0.
    pub class_i_options: &'a [u8],
}

/// What external_aad of Group OSCORE is made of (draft, section 3.4). `request_*` are those of the request, also when this
/// message is a response; `oscore_option` and `sender_credential` are this message's own; the rest belongs to the
/// Security Context that protects this message.
#[derive(Debug, Clone, Copy)]
pub struct GroupAad<'a> {
    /// The algorithms of the group, whether this endpoint supports them or not.
    pub suite: &'a Suite,
    /// The kid of the request.
    pub request_kid: &'a [u8],
    /// The Partial IV of the request.
    pub request_piv: PartialIv,
    /// The Class I options of this message, encoded with deltas from 0.
    pub class_i_options: &'a [u8],
    /// The kid context of the request: its Gid, even when the group has another one since.
    pub request_kid_context: &'a [u8],
    /// The value of the OSCORE option of this message, final.
    pub oscore_option: &'a [u8],
    /// The credential of the sender of this message, byte by byte as it was distributed.
    pub sender_credential: &'a [u8],
    /// The credential of the Group Manager, byte by byte as it was distributed.
    pub group_manager_credential: &'a [u8],
}

/// What of external_aad is not the same for all messages of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageAad<'a> {
    pub(crate) request_kid: &'a [u8],
    pub(crate) request_piv: PartialIv,
    pub(crate) class_i_options: &'a [u8],
    pub(crate) request_kid_context: &'a [u8],
    pub(crate) oscore_option: &'a [u8],
    pub(crate) sender_credential: &'a [u8],
}

/// What of external_aad is the same for all messages under one Security Context of a group: encoded once.
#[derive(Debug, Clone)]
pub(crate) struct GroupFrame {
    /// The array of nine with its first two elements.
    head: Vec<u8>,
    /// Its last element.
    tail: Vec<u8>,
}

impl GroupFrame {
    pub(crate) fn new(suite: &Suite, group_manager_credential: &[u8]) -> GroupFrame {
        let algorithms = [
            suite.aead().map(|algorithm| algorithm.id()),
            suite.group_encryption().map(|algorithm| algorithm.id()),
            suite.signature().map(|algorithm| algorithm.id()),
            suite.key_agreement().map(|algorithm| algorithm.id()),
        ];
        let mut head = Vec::new();
        cbor::array(&mut head, 9);
        cbor::unsigned(&mut head, OSCORE_VERSION);
        cbor::array(&mut head, 4);
        for id in algorithms {
            cbor::int_or_null(&mut head, id);
        }
        let mut tail = Vec::with_capacity(cbor::bytes_len(group_manager_credential.len()));
        cbor::bytes(&mut tail, group_manager_credential);
        GroupFrame { head, tail }
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

/// The encoded external_aad of one message, and the structures around it. One allocation, which can be reused.
#[derive(Debug, Clone)]
pub struct Aad {
    /// Room for either beginning, the head of the byte string, the array; then, after signing, the ciphertext.
    buffer: Vec<u8>,
    array: usize,
    end: usize,
}

impl Aad {
    /// The external_aad of plain OSCORE. `buffer` is emptied and used: the [buffer](Self::into_buffer) of an earlier
    /// message, or a new one.
    pub fn oscore(parts: &OscoreAad<'_>, buffer: Vec<u8>) -> Aad {
        let kid = cbor::bytes_len(parts.request_kid.len());
        let piv = cbor::bytes_len(parts.request_piv.as_bytes().len());
        let options = cbor::bytes_len(parts.class_i_options.len());
        // array of five, version, array of one: a byte each
        let len = 3 + cbor::int_len(parts.aead.id()) + kid + piv + options;
        Aad::build(buffer, len, |out| {
            cbor::array(out, 5);
            cbor::unsigned(out, OSCORE_VERSION);
            cbor::array(out, 1);
            cbor::int(out, parts.aead.id());
            cbor::bytes(out, parts.request_kid);
            cbor::bytes(out, parts.request_piv.as_bytes());
            cbor::bytes(out, parts.class_i_options);
        })
    }

    /// The external_aad of Group OSCORE, the same for both modes and for the countersignature. `buffer` as with
    /// [`oscore`](Self::oscore).
    pub fn group(parts: &GroupAad<'_>, buffer: Vec<u8>) -> Aad {
        let frame = GroupFrame::new(parts.suite, parts.group_manager_credential);
        let message = MessageAad {
            request_kid: parts.request_kid,
            request_piv: parts.request_piv,
            class_i_options: parts.class_i_options,
            request_kid_context: parts.request_kid_context,
            oscore_option: parts.oscore_option,
            sender_credential: parts.sender_credential,
        };
        Aad::framed(&frame, &message, buffer)
    }

    /// As [`group`](Self::group), with what is the same for all messages encoded already.
    pub(crate) fn framed(frame: &GroupFrame, parts: &MessageAad<'_>, buffer: Vec<u8>) -> Aad {
        let strings = [
            parts.request_kid,
            parts.request_piv.as_bytes(),
            parts.class_i_options,
            parts.request_kid_context,
            parts.oscore_option,
            parts.sender_credential,
        ];
        let mut len = frame.len();
        for string in strings {
            len += cbor::bytes_len(string.len());
        }
        Aad::build(buffer, len, |out| {
            out.extend_from_slice(&frame.head);
            for string in strings {
                cbor::bytes(out, string);
            }
            out.extend_from_slice(&frame.tail);
        })
    }

    #[inline]
    fn build(mut buffer: Vec<u8>, len: usize, array: impl FnOnce(&mut Vec<u8>)) -> Aad {
        buffer.clear();
        buffer.reserve(SIGNED.len() + cbor::bytes_len(len));
        buffer.extend_from_slice(SIGNED);
        cbor::bytes_head(&mut buffer, len);
        let start = buffer.len();
        array(&mut buffer);
        debug_assert_eq!(buffer.len() - start, len);
        Aad {
            end: buffer.len(),
            buffer,
            array: start,
        }
    }

    /// The array inside of external_aad.
    pub fn array(&self) -> &[u8] {
        self.buffer.get(self.array..self.end).unwrap_or_default()
    }

    /// The Enc_structure, which is the additional data of an AEAD: `[ "Encrypt0", h'', external_aad ]` (RFC 9052, section
    /// 5.3).
    pub fn enc_structure(&mut self) -> &[u8] {
        self.begin(ENCRYPTED_AT, ENCRYPTED);
        self.buffer.get(ENCRYPTED_AT..self.end).unwrap_or_default()
    }

    /// The structure that the countersignature covers, for this ciphertext with its tag:
    /// `[ "CounterSignature0", h'', h'', external_aad, ciphertext ]`.
    pub fn signed_structure(&mut self, ciphertext: &[u8]) -> &[u8] {
        self.begin(0, SIGNED);
        self.buffer.truncate(self.end);
        self.buffer.reserve(cbor::bytes_len(ciphertext.len()));
        cbor::bytes(&mut self.buffer, ciphertext);
        &self.buffer
    }

    /// As [`signed_structure`](Self::signed_structure), and gives the bytes away.
    pub fn into_signed_structure(mut self, ciphertext: &[u8]) -> Vec<u8> {
        self.signed_structure(ciphertext);
        self.buffer
    }

    /// The allocation, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    fn begin(&mut self, at: usize, beginning: &[u8]) {
        if let Some(place) = self.buffer.get_mut(at..at + beginning.len()) {
            place.copy_from_slice(beginning);
        }
    }
}

#[cfg(test)]
mod tests;
