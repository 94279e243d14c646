//! Moving, renaming, splitting and merging groups; remarks, limits and errors.

use super::*;

#[test]
fn a_group_moves_with_everything_it_has_and_disturbs_no_other() {
    let mut memberships = table();
    let group = memberships
        .create(spec("[ff05::1]:5683").on(2).on(3).name("grp.example"))
        .unwrap();
    let other = memberships.create(spec("[ff05::2]:5683").on(2)).unwrap();
    let gp1 = application(&mut memberships, "gp1");
    memberships.relate(gp1, group).unwrap();
    memberships.work();
    // Another port, then another address; the new one is joined before the old one is left.
    memberships
        .move_to(group, address("[ff05::1]:5685"))
        .unwrap();
    assert_eq!(
        memberships.work(),
        [
            "+[ff05::1]:5685%2",
            "+[ff05::1]:5685%3",
            "-[ff05::1]:5683%2",
            "-[ff05::1]:5683%3"
        ]
    );
    memberships
        .move_to(group, address("[ff05::9]:5685"))
        .unwrap();
    assert_eq!(memberships.work().len(), 4);
    assert_eq!(
        memberships.joined(),
        ["[ff05::2]:5683%2", "[ff05::9]:5685%2", "[ff05::9]:5685%3"]
    );
    assert_eq!(memberships.membership(address("[ff05::1]:5683"), 2), None);
    let moved = memberships
        .membership(address("[ff05::9]:5685"), 2)
        .unwrap();
    assert_eq!(moved.id(), group);
    assert_eq!(moved.applications(), [gp1]);
    assert_eq!(moved.names().collect::<Vec<_>>(), ["grp.example"]);
    assert_eq!(
        memberships.move_to(group, address("[ff05::2]:5683")),
        Err(MembershipError::AddressTaken)
    );
    memberships
        .move_to(other, address("[ff05::2]:5683"))
        .unwrap();
    assert_eq!(memberships.work(), [""; 0]);
}

#[test]
fn a_coap_group_is_split_by_interfaces_and_merged_again() {
    let mut memberships = table();
    let leisure = Leisure::Fixed(core::time::Duration::from_secs(1));
    let group = memberships
        .create(
            spec("[ff05::1]:5683")
                .on(2)
                .on(3)
                .on(4)
                .name("grp.example")
                .leisure(leisure),
        )
        .unwrap();
    let gp1 = application(&mut memberships, "gp1");
    memberships.relate(gp1, group).unwrap();
    memberships.work();
    let to = address("[ff05::2]:5683");
    assert_eq!(
        memberships.split(group, to, &[]),
        Err(MembershipError::NotJoined)
    );
    assert_eq!(
        memberships.split(group, to, &[3, 5]),
        Err(MembershipError::NotJoined)
    );
    assert_eq!(
        memberships.split(group, address("[ff05::1]:5683"), &[3]),
        Err(MembershipError::AddressTaken)
    );
    let half = memberships.split(group, to, &[4, 3, 4]).unwrap();
    assert_eq!(
        memberships.work(),
        [
            "+[ff05::2]:5683%3",
            "+[ff05::2]:5683%4",
            "-[ff05::1]:5683%3",
            "-[ff05::1]:5683%4"
        ]
    );
    assert_eq!(memberships.group(group).unwrap().interfaces(), [2]);
    let new = memberships.group(half).unwrap();
    assert_eq!(
        (new.interfaces(), new.applications(), new.leisure()),
        (&[3, 4][..], &[gp1][..], Some(leisure))
    );
    assert_eq!(new.names().count(), 0);

    memberships.set_names(half, &["half.example"]).unwrap();
    let gp2 = application(&mut memberships, "gp2");
    memberships.relate(gp2, group).unwrap();
    memberships.set_security(group, secured("a")).unwrap();
    assert_eq!(
        memberships.merge(group, half),
        Err(MembershipError::SecurityDiffers)
    );
    memberships
        .set_security(group, GroupSecurity::NoSec)
        .unwrap();
    memberships.merge(group, half).unwrap();
    assert_eq!(
        memberships.work(),
        ["+[ff05::2]:5683%2", "-[ff05::1]:5683%2"]
    );
    let merged = memberships.group(half).unwrap();
    assert_eq!(
        (merged.interfaces(), merged.applications()),
        (&[2, 3, 4][..], &[gp1, gp2][..])
    );
    assert_eq!(
        merged.names().collect::<Vec<_>>(),
        ["half.example", "grp.example"]
    );
    assert_eq!(memberships.group(group), None);
    assert_eq!(
        memberships.merge(group, half),
        Err(MembershipError::UnknownGroup)
    );
    assert_eq!(
        memberships.merge(half, group),
        Err(MembershipError::UnknownGroup)
    );
    memberships.merge(half, half).unwrap();
    assert_eq!(memberships.groups().count(), 1);
    // The address that the first one had is free.
    memberships.create(spec("[ff05::1]:5683")).unwrap();

    memberships.set_interface(Interface::new(2)).unwrap();
    memberships.serve_discovery(true);
    let nodes = memberships
        .groups()
        .find(|group| group.serves_discovery())
        .unwrap()
        .id();
    assert_eq!(
        memberships.merge(half, nodes),
        Err(MembershipError::DiscoveryGroup)
    );
    assert_eq!(
        memberships.merge(nodes, half),
        Err(MembershipError::DiscoveryGroup)
    );
}

#[test]
fn application_groups_are_renamed_split_and_merged() {
    let mut memberships = table();
    let [a, b, c] = ["[ff05::a]:5683", "[ff05::b]:5683", "[ff05::c]:5683"]
        .map(|text| memberships.create(spec(text)).unwrap());
    let gp1 = memberships
        .create_application("gp1", Naming::query(), Attributes::new().rt("g.x"))
        .unwrap();
    let gp2 = application(&mut memberships, "gp2");
    for group in [a, b, a] {
        memberships.relate(gp1, group).unwrap();
    }
    memberships.relate(gp2, c).unwrap();
    assert_eq!(
        memberships.rename(gp1, "gp2"),
        Err(MembershipError::NameTaken)
    );
    assert_eq!(memberships.rename(gp1, ""), Err(MembershipError::EmptyName));
    memberships.rename(gp1, "gp1").unwrap();
    memberships.rename(gp1, "lights").unwrap();
    assert_eq!(memberships.application_named("gp1"), None);
    assert_eq!(memberships.application(gp1).unwrap().name(), "lights");
    assert_eq!(
        memberships.create_application("lights", Naming::path(), Attributes::new()),
        Err(MembershipError::NameTaken)
    );
    assert_eq!(
        memberships.set_naming(gp1, Naming::Port),
        Err(MembershipError::NotEncodable)
    );
    memberships.set_naming(gp1, Naming::QueryName).unwrap();

    assert_eq!(
        memberships.split_application(gp1, "new", &[b, c]),
        Err(MembershipError::UnknownGroup)
    );
    assert_eq!(
        memberships.split_application(gp1, "gp2", &[b]),
        Err(MembershipError::NameTaken)
    );
    let new = memberships.split_application(gp1, "new", &[b, b]).unwrap();
    let uses = |memberships: &Memberships, id| {
        memberships
            .groups_of(id)
            .map(CoapGroup::id)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (uses(&memberships, gp1), uses(&memberships, new)),
        (vec![a], vec![b])
    );
    let split = memberships.application(new).unwrap();
    assert_eq!(split.naming(), &Naming::QueryName);
    assert_eq!(split.attributes(), &Attributes::new().rt("g.x"));

    memberships.relate(gp2, a).unwrap();
    memberships.merge_applications(new, gp1).unwrap();
    memberships.merge_applications(gp1, gp2).unwrap();
    assert_eq!(uses(&memberships, gp2), [a, b, c]);
    assert_eq!(memberships.applications().count(), 1);
    // The identifiers of merged groups stand for the group they became part of.
    for id in [new, gp1, gp2] {
        assert_eq!(memberships.application(id).unwrap().name(), "gp2");
        assert_eq!(uses(&memberships, id), [a, b, c]);
    }
    memberships.merge_applications(gp1, gp2).unwrap();
    assert_eq!(memberships.group(a).unwrap().applications(), [gp2]);
    memberships.unrelate(new, a).unwrap();
    assert_eq!(
        memberships.unrelate(new, a),
        Err(MembershipError::UnknownGroup)
    );
    memberships.remove_application(gp1).unwrap();
    assert_eq!(memberships.application(gp2), None);
    assert!(
        memberships
            .groups()
            .all(|group| group.applications().is_empty())
    );
    for result in [
        memberships.remove_application(gp2),
        memberships.rename(gp2, "x"),
        memberships.set_naming(gp2, Naming::path()),
        memberships.relate(gp2, a),
        memberships.merge_applications(gp2, gp1),
        memberships.set_leisure(CoapGroupId(u32::MAX), None),
        memberships.set_names(CoapGroupId(u32::MAX), &[]),
        memberships.set_security(CoapGroupId(u32::MAX), GroupSecurity::NoSec),
        memberships.join(CoapGroupId(u32::MAX), 2),
        memberships.leave(CoapGroupId(u32::MAX), 2),
        memberships.move_to(CoapGroupId(u32::MAX), address("[ff05::1]:5683")),
    ] {
        assert_eq!(result, Err(MembershipError::UnknownGroup));
    }
}

#[test]
fn identifiers_of_merged_groups_are_bounded() {
    let limits = MembershipLimits {
        application_groups: 2,
        ..MembershipLimits::default()
    };
    let mut memberships = Memberships::new(limits, &mut Rng::from_seed([1; 32]));
    let into = application(&mut memberships, "into");
    let mut merged = Vec::new();
    for number in 0..3 {
        let id = application(&mut memberships, &number.to_string());
        memberships.merge_applications(id, into).unwrap();
        merged.push(id);
    }
    assert_eq!(memberships.application(merged[0]), None);
    assert!(memberships.application(merged[1]).is_some());
    assert!(memberships.application(merged[2]).is_some());
}

// Covers: GC-3.3-02
#[test]
fn members_with_different_ports_are_flagged() {
    let members = |texts: &[&str]| check_member_ports(texts.iter().map(|text| address(text)));
    assert_eq!(
        members(&["[ff05::1]:5683", "[ff05::1]:5683", "239.0.0.1:5685"]),
        []
    );
    let [lint] = members(&[
        "[ff05::1]:5685",
        "[ff05::1]:5683",
        "[ff05::1]:5685",
        "239.0.0.1:1",
    ])
    .try_into()
    .unwrap();
    assert_eq!(
        lint,
        Lint::PortMismatch {
            address: "ff05::1".parse().unwrap(),
            ports: vec![5683, 5685]
        }
    );
    assert_eq!(
        lint.to_string(),
        "members of the group ff05::1 listen on different ports: 5683, 5685"
    );
}

// Covers: GN-3.4-02, GC-3.5-10, GC-2.2.1-02
#[test]
fn remarks_on_scopes_shared_addresses_and_host_names() {
    let mut memberships = table();
    for text in ["[ff05::1]:5685", "[ff05::1]:5683", "[ff05::2]:5683"] {
        let group = CoapGroupSpec::new(address(text)).secured(SecurityGroupName::new("a").unwrap());
        memberships.create(group).unwrap();
    }
    let shared = Lint::SharedAddress {
        address: "ff05::1".parse().unwrap(),
        ports: vec![5683, 5685],
    };
    assert_eq!(memberships.lints(), core::slice::from_ref(&shared));
    assert!(
        shared
            .to_string()
            .starts_with("ff05::1 carries 2 groups on ports 5683, 5685")
    );
    memberships.limits.limited_subscriptions = true;
    assert_eq!(memberships.lints(), []);
    // A literal needs no remark, a host name does.
    let named = CoapGroupSpec::new(address("[ff05::3]:5683"))
        .name("Grp.example")
        .secured(SecurityGroupName::new("a").unwrap());
    let named = memberships.create(named).unwrap();
    let [lint] = memberships.lints().try_into().unwrap();
    assert_eq!(
        lint,
        Lint::HostName {
            name: "grp.example".into()
        }
    );
    assert!(lint.to_string().starts_with("grp.example must be resolved"));
    memberships.set_names(named, &[]).unwrap();
    // The smallest scope that does: a wider one is remarked, the same and a narrower one are not.
    for (text, needed, wide) in [
        ("[ff03::9]:5683", Scope::Realm, false),
        ("[ff02::9]:5683", Scope::Realm, false),
        ("[ff05::9]:5683", Scope::Realm, true),
        ("[ff08::9]:5683", Scope::Site, true),
    ] {
        let group = CoapGroupSpec::new(address(text))
            .needs(needed)
            .secured(SecurityGroupName::new("a").unwrap());
        let id = memberships.create(group).unwrap();
        let lints = memberships.lints();
        assert_eq!(lints.len(), usize::from(wide), "{text}");
        if let [lint] = lints.as_slice() {
            let Lint::WiderThanNeeded {
                group,
                needed: told,
                ..
            } = lint
            else {
                panic!("{lint:?}");
            };
            assert_eq!((*group, *told), (address(text), needed));
            assert!(lint.to_string().contains("would do"));
        }
        memberships.remove(id).unwrap();
    }
    // Groups that are there for discovery only are nobody's configuration.
    memberships.set_interface(Interface::new(2)).unwrap();
    memberships.serve_discovery(true);
    assert_eq!(memberships.lints(), []);
}

#[test]
fn every_table_has_its_limit() {
    let limits = MembershipLimits {
        coap_groups: 2,
        application_groups: 2,
        per_group: 2,
        ..MembershipLimits::default()
    };
    let mut memberships = Memberships::new(limits, &mut Rng::from_seed([1; 32]));
    let full = MembershipError::Full;
    assert_eq!(
        memberships.create(spec("[ff05::1]:1").on(1).on(2).on(3)),
        Err(full)
    );
    assert_eq!(
        memberships.create(spec("[ff05::1]:1").name("a").name("b").name("c")),
        Err(full)
    );
    let one = memberships
        .create(spec("[ff05::1]:1").on(1).on(2).name("a").name("b"))
        .unwrap();
    assert_eq!(memberships.join(one, 3), Err(full));
    memberships.join(one, 2).unwrap();
    assert_eq!(memberships.set_names(one, &["a", "b", "c"]), Err(full));
    memberships.set_names(one, &["b", "a"]).unwrap();
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    let template = spec("[ff05::9]:9");
    assert_eq!(
        memberships.create_resolved("c", 1, &[ip("ff05::1")], &template),
        Err(full)
    );
    let three = [ip("ff05::2"), ip("ff05::3")];
    assert_eq!(
        memberships.create_resolved("c", 1, &three, &template),
        Err(full)
    );
    assert_eq!(memberships.groups().count(), 1);
    let fits = memberships
        .create_resolved("c", 1, &three[..1], &template)
        .unwrap();
    memberships.remove(fits[0]).unwrap();
    let two = memberships.create(spec("[ff05::2]:1").on(3)).unwrap();
    assert_eq!(memberships.create(spec("[ff05::3]:1")), Err(full));
    assert_eq!(
        memberships.split(one, address("[ff05::3]:1"), &[1]),
        Err(full)
    );
    assert_eq!(memberships.merge(two, one), Err(full));
    memberships.leave(two, 3).unwrap();
    memberships.set_names(two, &["c"]).unwrap();
    assert_eq!(memberships.merge(two, one), Err(full));
    memberships.set_names(two, &["b"]).unwrap();
    memberships.merge(two, one).unwrap();
    application(&mut memberships, "1");
    application(&mut memberships, "2");
    let third = memberships.create_application("3", Naming::path(), Attributes::new());
    assert_eq!(third, Err(full));
    for index in [1, 2] {
        memberships.set_interface(Interface::new(index)).unwrap();
    }
    assert_eq!(memberships.set_interface(Interface::new(3)), Err(full));
    memberships.set_interface(Interface::new(2)).unwrap();
    memberships.remove_interface(1);
    assert_eq!(memberships.group(one).unwrap().interfaces(), [2]);
    memberships.set_interface(Interface::new(3)).unwrap();
}

#[test]
fn errors_say_what_is_wrong() {
    for error in [
        MembershipError::NotMulticast,
        MembershipError::PortZero,
        MembershipError::SecurePort,
        MembershipError::SecurityNotStated,
        MembershipError::GlobalScope,
        MembershipError::PublicInterface,
        MembershipError::ReservedName,
        MembershipError::EmptyName,
        MembershipError::NotAHostName,
        MembershipError::NotEncodable,
        MembershipError::NameTaken,
        MembershipError::AddressTaken,
        MembershipError::SecurityDiffers,
        MembershipError::DiscoveryGroup,
        MembershipError::UnknownGroup,
        MembershipError::NotJoined,
        MembershipError::Full,
    ] {
        assert!(error.to_string().len() > 10, "{error:?}");
    }
    assert_eq!(
        MembershipError::SecurePort.to_string(),
        "port 5684 must not be used for group communication"
    );
}

#[test]
fn removing_one_application_group_leaves_the_others_and_their_former_names() {
    let mut memberships = table();
    let group = memberships.create(spec("[ff05::1]:5683")).unwrap();
    let [one, two, part] = ["one", "two", "part"].map(|name| application(&mut memberships, name));
    memberships.relate(one, group).unwrap();
    memberships.relate(two, group).unwrap();
    memberships.merge_applications(part, two).unwrap();
    memberships.remove_application(one).unwrap();
    let left: Vec<_> = memberships.applications().map(|group| group.id()).collect();
    assert_eq!(left, [two]);
    assert_eq!(memberships.group(group).unwrap().applications(), [two]);
    assert_eq!(memberships.application(part).unwrap().id(), two);
    assert_eq!(memberships.application(one), None);
}
