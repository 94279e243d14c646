//! Tests.

mod conformance;
#[cfg(target_os = "linux")]
mod inside;
mod interop;
mod lab;
mod memory;
mod scenario;
mod threats;
mod withstand;
