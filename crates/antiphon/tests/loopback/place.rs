//! A place for one test: a port that nobody else has, groups and member addresses of its own.

use core::net::SocketAddr;
use core::time::Duration;
use std::net::UdpSocket;

use antiphon::{
    Access, Client, ClientBuilder, ContentFormat, Discoverable, EndpointConfig, Expectation,
    GroupPolicy, Leisure, Member, Membership, NoSecPolicy, Resource, Server, ServerBuilder,
};

/// How long answers spread in tests.
pub(crate) const LEISURE: Duration = Duration::from_millis(30);
/// Long enough for everything on the loopback interface, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing has to come to count as silence.
pub(crate) const SILENCE: Duration = Duration::from_millis(250);

pub(crate) struct Place {
    keeper: UdpSocket,
    port: u16,
}

impl Place {
    pub(crate) fn new() -> Self {
        let keeper = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = keeper.local_addr().unwrap().port();
        Self { keeper, port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The socket that keeps the port, at 127.0.0.1.
    pub(crate) fn keeper(&self) -> &UdpSocket {
        &self.keeper
    }

    /// The n-th group of this place.
    pub(crate) fn group(&self, n: u8) -> SocketAddr {
        let [high, low] = self.port.to_be_bytes();
        ([239, high, low, n], self.port).into()
    }

    /// The address of the n-th member.
    pub(crate) fn member(&self, n: u8) -> SocketAddr {
        let [high, low] = self.port.to_be_bytes();
        ([127, high | 1, low, n.max(1)], self.port).into()
    }

    pub(crate) fn group_uri(&self, n: u8, path: &str) -> String {
        format!("coap://{}{path}", self.group(n))
    }

    pub(crate) fn member_uri(&self, n: u8, path: &str) -> String {
        format!("coap://{}{path}", self.member(n))
    }

    pub(crate) fn client(&self) -> ClientBuilder {
        Client::builder()
            .interface("lo")
            .bind("127.0.0.1:0".parse().unwrap())
    }

    /// The n-th member, without groups or resources.
    pub(crate) fn server(&self, n: u8) -> ServerBuilder {
        Server::builder()
            .endpoint(quick())
            .unicast(self.member(n))
            .interface("lo")
    }

    /// The n-th member of group 1, with a status.
    pub(crate) fn status_server(&self, n: u8) -> ServerBuilder {
        self.server(n)
            .join(Membership::new(self.group(1)).unsecured())
            .resource(status(&format!("member {n}")))
    }

    /// These members, named after their numbers.
    pub(crate) fn expected(&self, members: impl IntoIterator<Item = u8>) -> Expectation {
        let mut expected = Expectation::nobody();
        for n in members {
            expected.add(Member::named(format!("m{n}")).at(self.member(n)));
        }
        expected
    }
}

/// Short times, and no listening to All CoAP Nodes.
pub(crate) fn quick() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.server.leisure = Some(Leisure::Fixed(LEISURE));
    config.server.discoverable = Discoverable::Groups;
    config.server.nosec = NoSecPolicy::Stated;
    config
}

/// A resource that answers GET, also through groups, with a text.
pub(crate) fn status(text: &str) -> Resource {
    let text = text.to_owned();
    Resource::at("/status")
        .access(Access::Unsecured)
        .group_policy(GroupPolicy::respond())
        .get(move |_, response| response.set_payload(ContentFormat::TEXT, text.as_bytes()))
}
