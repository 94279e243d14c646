//! Other implementations in the lab.

mod control;
mod ours;
