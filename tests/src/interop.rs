//! Other implementations in the lab.

mod blocks;
mod control;
#[cfg(target_os = "linux")]
mod observe;
#[cfg(target_os = "linux")]
mod oscore;
mod ours;
