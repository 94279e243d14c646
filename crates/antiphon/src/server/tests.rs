//! What a builder makes of what it is told.

use super::*;

async fn on_lo(builder: ServerBuilder) -> Server {
    let local = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0);
    builder.unicast(local).build().await.unwrap()
}

fn is_member(server: &Server, scope: Scope) -> bool {
    let memberships = server.driver.endpoint.server().memberships();
    let address = SocketAddr::new(all_coap_nodes_v6(scope).into(), DEFAULT_PORT);
    memberships.groups().any(|group| group.address() == address)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn on_a_6lowpan_link_the_server_listens_in_its_realm_too() {
    let plain = on_lo(Server::builder().interface("lo")).await;
    assert!(is_member(&plain, Scope::Site) && !is_member(&plain, Scope::Realm));

    for builder in [
        Server::builder().sixlowpan("lo"),
        Server::builder().interface("lo").sixlowpan("lo"),
    ] {
        let server = on_lo(builder).await;
        assert!(is_member(&server, Scope::Site) && is_member(&server, Scope::Realm));
        assert_eq!(server.interfaces, ["lo"]);
        let known = server.driver.endpoint.server().memberships().interfaces();
        assert!(known.iter().all(|one| one.sixlowpan) && known.len() == 1);
    }
}

#[tokio::test]
async fn a_6lowpan_link_must_exist() {
    let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let builder = Server::builder().unicast(local).sixlowpan("nowhere0");
    assert!(matches!(
        builder.build().await.err(),
        Some(BuildError::Interface(_))
    ));
}
