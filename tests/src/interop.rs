//! Other implementations in the lab.

mod control;
#[cfg(target_os = "linux")]
mod oscore;
mod ours;
