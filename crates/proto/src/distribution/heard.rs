//! Through what a request came, as far as a distribution has to know.

use core::net::SocketAddr;

use crate::identity::{Arrival, Sender};

/// Through what a request came, and who is proven to have sent it.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// Source address and port.
    pub peer: SocketAddr,
    /// Index of the interface that it came in by; 0 when unknown.
    pub interface: u32,
    /// Did it come by multicast?
    pub group: bool,
    /// Who is proven to have sent it.
    pub sender: &'a Sender,
}

impl<'a> From<&'a Arrival> for Heard<'a> {
    fn from(arrival: &'a Arrival) -> Self {
        Self {
            peer: arrival.path.peer,
            interface: arrival.path.interface,
            group: arrival.is_group(),
            sender: &arrival.sender,
        }
    }
}
