//! One image to a whole group (groupcomm-bis section A.3).
//!
//! A *distributor* announces an image, sends its blocks by multicast, and says when it is through. Each *device* keeps what it
//! hears, asks by unicast for what it misses, verifies the whole, takes it into use, and says what came of it. Both halves are
//! state machines at the level of requests and responses: they know no sockets, clocks and threads.
//!
//! # Messages
//!
//! Below a path of the application's choice, the base, here `/fw`; ID are the 16 hexadecimal digits of the [`ImageId`].
//!
//! | message | request | payload |
//! | --- | --- | --- |
//! | announcement | NON POST `/fw` to the group, No-Response 26 | CBOR `[0, announcement]` |
//! | block N | NON PUT `/fw/ID?b=N` to the group, No-Response 26 | the bytes of the block |
//! | end of a pass | NON POST `/fw` to the group, No-Response 26 | CBOR `[1, id, pass, window]` |
//! | cancellation | NON POST `/fw` to the group, No-Response 26; CON POST `/fw` to known devices | CBOR `[2, id]` |
//! | repair | CON GET `/fw/ID?b=N`, device to distributor | answer: 2.05 with the block; 4.04 not known; 5.03 with Max-Age: later |
//! | status | GET `/fw`, distributor to device | answer: 2.05 with a CBOR map |
//!
//! N is decimal, without leading zeros. Blocks never carry Block1 or Block2, which are not defined for groups: each block is a
//! resource of its own. All CBOR is deterministic (RFC 8949 section 4.2.1), and what is not is ignored.
//!
//! The **announcement** is a map: 0 size of the image (1 to 2^32 - 1 bytes), 1 block size (a power of two from 16 to 1,024),
//! 2 SHA-256 of the image, 3 span and 4 SHA-256 of the digest list (both or neither), 5 name, 6 kind of device (both text of 1 to
//! 64 bytes, absent when empty), 7 version (absent when 0), 8 manifest (1 to 512 bytes), 9 signature over the map without it (1 to
//! 128 bytes). The **id** is the first 8 bytes of the SHA-256 of the map without signature: it is computed and not carried.
//!
//! The **content** is the digest list followed by the image; see [`Announcement`].
//!
//! The **status** is a map: 0 id, 1 state (0 idle, 1 receiving, 2 verifying, 3 verified, 4 activating, 5 activated, 6 failed),
//! 2 code (the byte of the CoAP code), 3 blocks there, 4 blocks in total, 5 what is missing: `[granularity, bitmap]`, a bit for so
//! many consecutive blocks, set when one of them is missing, least significant bit first, at most 128 bytes.
//!
//! In the *window* of an end notice, in seconds, devices spread their first requests for repair; 0 means that another pass comes. A
//! device also asks when its distributor is silent ([`DeviceConfig::silence`]), until a notice or a block is heard; and no more after
//! an answer 4.04 or many failures ([`DeviceConfig::max_failures`]), until the distributor is heard.

mod announcement;
mod block_set;
mod device;
#[cfg(feature = "client")]
mod distributor;
mod heard;
mod message;
mod request;
mod storage;
#[cfg(test)]
mod tests;

pub use announcement::{Announcement, AnnouncementError, Digest, ImageId};
pub use block_set::BlockSet;
pub use device::{
    Contention, Device, DeviceConfig, DeviceCounters, DeviceEvent, DeviceFailure, Repair, RepairId,
    Task, TaskResult,
};
#[cfg(feature = "client")]
pub use distributor::{
    Ask, AskId, DeviceReport, DistributionEnd, DistributionPhase, DistributionProgress,
    Distributor, DistributorConfig, DistributorEvent, Estimate, Fills, GroupSend, ImageSurvey,
    LinkProfile, Served,
};
pub use heard::Heard;
pub use message::{DeviceState, DeviceStatus, Malformed, MissingBlocks, Notice};
pub use request::{
    Command, block_request, notice_request, notice_to_one, repair_request, status_request,
};
pub use storage::{ActivationError, Installation, ReadAt, Refusal, Storage, StorageError};
