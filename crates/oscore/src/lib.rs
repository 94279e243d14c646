//! OSCORE (RFC 8613) and Group OSCORE (draft-ietf-core-oscore-groupcomm-28).
//!
//! The only room with key material and cryptographic dependencies. It knows messages and contexts, no
//! sockets, no clock, no files: time and randomness are arguments, what must be durable is handed out as records.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod cbor;

pub mod aad;
pub mod credential;
pub mod crypto;
pub mod derive;
pub mod echo;
pub mod nonce;
pub mod option;
pub mod record;
pub mod replay;
pub mod secret;
pub mod sequence;
pub mod suite;
