//! Tests.

mod interop;
mod lab;
