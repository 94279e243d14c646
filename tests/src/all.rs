//! Tests.

mod interop;
