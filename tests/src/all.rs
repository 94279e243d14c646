//! Tests.

mod interop;
mod lab;
mod scenario;
