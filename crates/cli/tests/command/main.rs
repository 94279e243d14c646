//! The binary `antiphon` from outside: what it prints, what it sends, and what it ends with.

mod bodies;
mod cli;
#[cfg(target_os = "linux")]
mod discover;
#[cfg(target_os = "linux")]
mod distribute;
#[cfg(target_os = "linux")]
mod marks;
#[cfg(target_os = "linux")]
mod network;
#[cfg(target_os = "linux")]
mod observe;
mod oscore;
mod program;
#[cfg(target_os = "linux")]
mod quickstart;
#[cfg(target_os = "linux")]
mod rekeying;
#[cfg(target_os = "linux")]
mod secured;
