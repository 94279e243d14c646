//! The core scenarios, in virtual time: each in IPv6 at link, realm and site scope, and in IPv4.

mod actuator_control;
mod block_wise;
mod caching;
mod device_discovery;
mod group_naming;
mod many_members;
mod message_exchange;
mod network_query;
mod notification;
mod observation;
mod rounds;
mod secured_life;
mod service_discovery;
mod software_update;
mod status_request;
