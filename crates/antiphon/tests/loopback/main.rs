//! Clients and servers on real sockets over the loopback interface. IPv4 multicast works there without any set-up; every port and
//! group is held by a socket of the test, so that tests and programs do not meet.

mod groups;
mod life;
mod memberships;
mod names;
mod peers;
mod place;
