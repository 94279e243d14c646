//! What makes two messages parts of one block-wise operation.

use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_wire::{Code, Message, OptionNumber};

use crate::identity::Sender;

/// The same peer and sender, method, and options (RFC 9175 section 1.1: "matchable", and with the same Request-Tags).
///
/// Options that are not part of the cache key do not count, nor do those that may differ between the blocks of one
/// operation: the Block options, Observe (RFC 7959 section 2.6), If-None-Match (section 2.10), and ETag, Multi-ETag
/// and No-Response, which concern the first answer only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OperationKey {
    peer: SocketAddr,
    sender: Sender,
    method: Code,
    /// Number and length, two bytes each, and value of each option.
    options: Vec<u8>,
}

impl OperationKey {
    pub(crate) fn of(peer: SocketAddr, sender: &Sender, message: &Message<'_>) -> Self {
        let mut options = Vec::new();
        for (head, value) in counting(message) {
            options.extend_from_slice(&head);
            options.extend_from_slice(value);
        }
        Self {
            peer,
            sender: sender.clone(),
            method: message.code(),
            options,
        }
    }

    /// Is the message part of this operation? Nothing is allocated to find out.
    pub(crate) fn matches(&self, peer: SocketAddr, sender: &Sender, message: &Message<'_>) -> bool {
        if self.peer != peer || self.method != message.code() || self.sender != *sender {
            return false;
        }
        let mut rest = self.options.as_slice();
        for (head, value) in counting(message) {
            let behind = rest
                .strip_prefix(head.as_slice())
                .and_then(|rest| rest.strip_prefix(value));
            match behind {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        rest.is_empty()
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn method(&self) -> Code {
        self.method
    }

    /// Is the peer verified to be this sender?
    pub(crate) fn is_proven(&self) -> bool {
        self.sender.is_proven()
    }

    /// The memory that it takes beside itself.
    pub(crate) fn footprint(&self) -> usize {
        let sender = match &self.sender {
            Sender::Proven(identity) => identity.0.len(),
            Sender::Unauthenticated => 0,
        };
        self.options.len() + sender
    }
}

/// The options that count, each with its number and length before it.
fn counting<'m>(message: &Message<'m>) -> impl Iterator<Item = ([u8; 4], &'m [u8])> {
    message
        .options()
        .filter(|option| {
            !option.number.is_no_cache_key()
                && !matches!(
                    option.number,
                    OptionNumber::BLOCK1
                        | OptionNumber::BLOCK2
                        | OptionNumber::OBSERVE
                        | OptionNumber::IF_NONE_MATCH
                        | OptionNumber::ETAG
                        | OptionNumber::MULTI_ETAG
                        | OptionNumber::NO_RESPONSE
                )
        })
        .map(|option| {
            let [high, low] = option.number.0.to_be_bytes();
            let [long, short] = (option.value.len() as u16).to_be_bytes(); // a datagram has 65,507 bytes at most
            ([high, low, long, short], option.value)
        })
}
