//! Clients and servers on real sockets over the loopback interface. IPv4 multicast works there without any set-up; every port and
//! group is held by a socket of the test, so that tests and programs do not meet. What needs other interfaces runs in a
//! network namespace of its own.

mod action;
mod bodies;
mod cached;
mod distribute;
mod distribution;
mod groups;
mod life;
mod load;
mod memberships;
mod names;
mod namespace;
mod networks;
mod notify;
mod observe;
mod peers;
mod place;
