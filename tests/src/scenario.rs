//! The core scenarios, in virtual time: each in IPv6 at link, realm and site scope, and in IPv4.

mod device_discovery;
