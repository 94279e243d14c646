//! Tests of the network and of the run loop.

mod network;
mod simulation;
