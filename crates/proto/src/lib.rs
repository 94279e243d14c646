//! The endpoint of CoAP group communication, as state machines without sockets, clocks or threads.
//!
//! Time is an argument, randomness a seed, bytes go in and bytes come out, so that the same endpoint
//! runs under tokio, in the network simulator of the tests, and on a microcontroller.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
#[allow(dead_code, reason = "the endpoint that uses it follows")]
mod dedup;
#[allow(dead_code, reason = "the endpoint that uses it follows")]
mod exchange;
mod identity;
mod message;
mod message_id;
#[allow(dead_code, reason = "the endpoint that uses it follows")]
mod outbox;
#[allow(dead_code, reason = "the endpoint that uses it follows")]
mod parking;
mod path;
#[allow(dead_code, reason = "the endpoint that uses it follows")]
mod reliability;
mod rng;
mod time;
mod work;

pub use config::{ConfigError, Profile, Transmission};
pub use dedup::DedupLimits;
pub use exchange::{
    ExchangeId, Failure, Reliability, RequestError, SendError, UnicastRequest, Waiting,
};
pub use identity::Identity;
pub use identity::{Arrival, GroupTuple, SecurityGroup, Sender};
pub use message::{Options, Request, Response};
pub use message_id::MessageIds;
pub use parking::ParkingLimits;
pub use path::{Path, Route, SocketId, Transmit, is_group_address};
pub use rng::{KeyedHash, Rng};
pub use time::Instant;
pub use work::{Task, Work, WorkFailure, WorkId, WorkResult};
