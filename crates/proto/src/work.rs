//! What may wait: joining a group, opening a protected message.
//!
//! The endpoint never does these inside its loop. It hands them out by `poll_work` and takes the
//! result back by `work_done`, in any order and at any time. A microcontroller does the work inline, a
//! server on worker threads, the simulator in scripted order.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::identity::Identity;
use crate::path::Path;

/// Names one piece of work; never reused within an endpoint's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub u64);

/// A piece of work handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Under which name its result comes back.
    pub id: WorkId,
    /// What is to be done.
    pub task: Task,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Start to listen for a CoAP group on one interface.
    Join {
        /// Multicast address and port.
        group: SocketAddr,
        /// Interface index.
        interface: u32,
    },
    /// Stop to listen for a CoAP group on one interface.
    Leave {
        /// Multicast address and port.
        group: SocketAddr,
        /// Interface index.
        interface: u32,
    },
    /// Open a message that carries the OSCORE option: find the context, verify, decrypt.
    Open {
        /// How it arrived.
        path: Path,
        /// The whole protected message.
        message: Vec<u8>,
    },
}

/// How a piece of work ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkResult {
    /// Joined or left.
    Done,
    /// The message was verified: its plain form and its sender.
    Opened {
        /// The complete plain message, with the Type, Message ID and token of the protected one.
        message: Vec<u8>,
        /// Who is proven to have sent it.
        sender: Identity,
    },
    /// It failed.
    Failed(WorkFailure),
}

/// Why a piece of work failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkFailure {
    /// There is no security context for the message (OSCORE: 4.01 "Security context not found").
    NoContext,
    /// The message did not verify (OSCORE: 4.00 "Decryption failed").
    NotVerified,
    /// The message is a replay (OSCORE: 4.01 "Replay detected").
    Replayed,
    /// This endpoint has no security at all (the OSCORE option is unrecognised and critical: 4.02).
    Unsupported,
    /// The operating system refused; the number is its error code, 0 when it has none.
    System(i32),
}
