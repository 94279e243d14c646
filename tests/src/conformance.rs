//! Requirements that only whole endpoints on a network can prove, and that no scenario has.

mod congestion;
mod model;
mod transport;
