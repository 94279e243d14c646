//! Tests of what members do with each other, through the public interface.

mod exchange;
mod floor;
mod vectors;
