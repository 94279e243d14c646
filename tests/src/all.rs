//! Tests.

mod conformance;
mod interop;
mod lab;
mod memory;
mod scenario;
mod threats;
mod withstand;
