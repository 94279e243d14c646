//! What the tests of this package stand on: a network of hosts on one machine, and other implementations of CoAP.
//!
//! Tests that need the lab stand in the modules `lab` and `interop` of the test binary, because `./check` runs those in a
//! network of their own (`tests/lab/lab.sh alone`). By hand:
//!
//! ```text
//! cargo xtask peers
//! tests/lab/lab.sh alone cargo test --offline -p antiphon-tests -- lab:: interop::
//! ```

mod hosts;
pub mod images;
pub mod kill;
pub mod ours;
mod peer;
mod process;
pub mod secure;
pub mod sim;
pub mod stage;

pub use hosts::{Direction, Lab, Wire};
pub use peer::{Answer, Peer};
pub use process::{Process, root, scratch};
