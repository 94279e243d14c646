//! Tests.

mod conformance;
mod interop;
mod lab;
mod scenario;
