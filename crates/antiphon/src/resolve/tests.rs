use super::*;

async fn group(uri: &str, resolver: &dyn Resolve) -> Result<Vec<SocketAddr>, ResolveError> {
    let uri = Uri::parse(uri).unwrap();
    resolve(&uri, Kind::Group, resolver, Duration::from_millis(50)).await
}

async fn peer(uri: &str, resolver: &dyn Resolve) -> Result<Vec<SocketAddr>, ResolveError> {
    let uri = Uri::parse(uri).unwrap();
    resolve(&uri, Kind::Peer, resolver, Duration::from_millis(50)).await
}

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|one| one.parse().unwrap()).collect()
}

fn with_port(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|one| one.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_literal_is_never_given_to_the_resolver() {
    let v4 = group("coap://224.0.1.187/x", &NoResolver).await.unwrap();
    assert_eq!(v4, with_port(&["224.0.1.187:5683"]));
    let v6 = group("coap://[ff05::fd]:61616/x", &NoResolver)
        .await
        .unwrap();
    assert_eq!(v6, with_port(&["[ff05::fd]:61616"]));
    let one = peer("coap://127.0.0.2:7", &NoResolver).await.unwrap();
    assert_eq!(one, with_port(&["127.0.0.2:7"]));
}

#[tokio::test]
async fn a_name_gives_each_of_its_addresses_once_and_in_order() {
    let table = StaticResolver::new().with(
        "all.Example",
        addresses(&["ff05::db8:2", "ff05::db8:1", "ff05::db8:2", "239.1.2.3"]),
    );
    let found = group("coap://ALL.example:7777/x", &table).await.unwrap();
    let expected = ["[ff05::db8:2]:7777", "[ff05::db8:1]:7777", "239.1.2.3:7777"];
    assert_eq!(found, with_port(&expected));
}

#[tokio::test]
async fn the_resolver_sees_the_name_decoded_and_in_lower_case() {
    let table = StaticResolver::new().with("k\u{fc}che.example", addresses(&["239.1.2.3"]));
    let found = group("coap://K%C3%BCche.EXAMPLE/x", &table).await.unwrap();
    assert_eq!(found, with_port(&["239.1.2.3:5683"]));
    assert_eq!(decoded("a%2Db%"), "a-b%");
    assert_eq!(decoded("A%4"), "a%4");
}

#[tokio::test]
async fn every_failure_of_the_resolver_is_a_clear_error() {
    let error = group("coap://grp.example/x", &NoResolver)
        .await
        .unwrap_err();
    assert!(matches!(&error, ResolveError::Lookup { name, .. } if name == "grp.example"));
    assert!(error.to_string().contains("no resolver"), "{error}");

    let error = group("coap://other.example/x", &StaticResolver::new())
        .await
        .unwrap_err();
    assert!(matches!(error, ResolveError::Lookup { source, .. }
        if source.kind() == io::ErrorKind::NotFound));

    let empty = StaticResolver::new().with("grp.example", []);
    let error = group("coap://grp.example/x", &empty).await.unwrap_err();
    assert!(matches!(error, ResolveError::NoAddress(name) if name == "grp.example"));

    struct Silent;
    impl Resolve for Silent {
        fn lookup<'a>(&'a self, _: &'a str) -> Lookup<'a> {
            Box::pin(core::future::pending())
        }
    }
    let error = group("coap://grp.example/x", &Silent).await.unwrap_err();
    assert!(matches!(error, ResolveError::TimedOut { limit, .. }
        if limit == Duration::from_millis(50)));
}

#[tokio::test]
async fn groups_and_peers_are_never_taken_for_each_other() {
    let mixed = StaticResolver::new().with("mixed", addresses(&["239.1.2.3", "10.0.0.1"]));
    let error = group("coap://mixed/x", &mixed).await.unwrap_err();
    assert!(matches!(&error, ResolveError::NotAGroup { host, address }
        if host == "mixed" && *address == addresses(&["10.0.0.1"])[0]));
    let error = peer("coap://mixed/x", &mixed).await.unwrap_err();
    assert!(matches!(error, ResolveError::IsAGroup { address, .. }
        if address == addresses(&["239.1.2.3"])[0]));
    let error = group("coap://[2001:db8::1]/x", &NoResolver)
        .await
        .unwrap_err();
    assert!(matches!(error, ResolveError::NotAGroup { .. }));
    let error = peer("coap://[ff02::fd]/x", &NoResolver).await.unwrap_err();
    assert!(matches!(error, ResolveError::IsAGroup { .. }));
}

#[tokio::test]
async fn a_zone_becomes_the_scope_id_and_an_unknown_one_is_refused() {
    let lo = interfaces::resolve("127.0.0.1").unwrap();
    for zone in [&lo.name, &lo.index.to_string()] {
        for uri in [
            format!("coap://[ff02::fd%25{zone}]/"),
            format!("coap://[ff02::fd%{zone}]/"),
        ] {
            let found = group(&uri, &NoResolver).await.unwrap();
            let [SocketAddr::V6(v6)] = found[..] else {
                panic!("{found:?}")
            };
            assert_eq!(v6.scope_id(), lo.index, "{uri}");
        }
    }
    let error = group("coap://[ff02::fd%25none0]/", &NoResolver)
        .await
        .unwrap_err();
    assert!(matches!(error, ResolveError::Zone { zone, .. } if zone == "none0"));
    let wide = format!("coap://[2001:db8::1%25{}]/", lo.name);
    let error = peer(&wide, &NoResolver).await.unwrap_err();
    assert!(matches!(error, ResolveError::ZoneOnWideAddress(_)));
}

#[tokio::test]
async fn the_system_resolver_knows_this_host() {
    let found = peer("coap://localhost/", &SystemResolver).await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback()));
    assert!(found.iter().all(|address| address.port() == 5683));
}
