//! The threats against OSCORE and Group OSCORE that this crate alone withstands, each with a control in which the attack
//! succeeds once the defence is taken out. `docs/threats.md` lists all of them, also those that are tested elsewhere.

extern crate alloc;

mod delivery;
mod floor;
mod hand;
mod heap;
mod nonces;
mod resources;
mod secrets;
mod timing;
