//! Creating, naming, moving, splitting and merging groups.

use super::*;

// Covers: GC-3.3-05, GN-3.4-01
#[test]
fn a_group_has_a_multicast_address_and_any_port_but_two() {
    let mut memberships = table();
    for (text, error) in [
        ("[2001:db8::1]:5683", MembershipError::NotMulticast),
        ("10.0.0.1:5683", MembershipError::NotMulticast),
        ("255.255.255.255:5683", MembershipError::NotMulticast),
        ("[ff05::1]:0", MembershipError::PortZero),
        ("[ff05::1]:5684", MembershipError::SecurePort),
        ("224.0.1.187:5684", MembershipError::SecurePort),
    ] {
        assert_eq!(memberships.create(spec(text).on(2)), Err(error), "{text}");
    }
    assert_eq!(memberships.groups().count(), 0);
    for text in [
        "[ff05::1]:1",
        "[ff05::1]:5683",
        "[ff05::1]:5685",
        "[ff05::1]:8738",
        "[ff05::1]:65535",
    ] {
        memberships.create(spec(text).on(2)).unwrap();
    }
    assert_eq!(memberships.work().len(), 5);
    let id = memberships.create(spec("[ff05::2]:5683")).unwrap();
    let to = |memberships: &mut Memberships, text| memberships.move_to(id, address(text));
    assert_eq!(
        to(&mut memberships, "[ff05::2]:5684"),
        Err(MembershipError::SecurePort)
    );
    assert_eq!(
        to(&mut memberships, "[ff05::2]:0"),
        Err(MembershipError::PortZero)
    );
    assert_eq!(
        to(&mut memberships, "[fe80::2]:5683"),
        Err(MembershipError::NotMulticast)
    );
    assert_eq!(
        memberships.split(id, address("[ff05::9]:5684"), &[]),
        Err(MembershipError::SecurePort)
    );
}

// Covers: GC-2.2.2-04
#[test]
fn any_valid_multicast_address_will_do() {
    let mut memberships = table();
    for scope in [1, 2, 3, 4, 5, 8] {
        for flags in [0, 1, 3] {
            let text = std::format!("[ff{flags:x}{scope:x}::1234]:5683");
            memberships.create(spec(&text)).unwrap();
        }
    }
    memberships
        .create(spec("[ff35:30:2001:db8:f1::8000:1]:5683"))
        .unwrap();
    memberships.create(spec("224.0.1.187:5683")).unwrap();
    memberships.create(spec("239.255.0.1:5683")).unwrap();
    assert_eq!(memberships.groups().count(), 21);
    // An IPv4 address in IPv6 clothes is the IPv4 group.
    assert_eq!(
        memberships.create(spec("[::ffff:239.255.0.1]:5683")),
        Err(MembershipError::AddressTaken)
    );
}

// Covers: GC-4-03
#[test]
fn security_or_its_absence_must_be_stated() {
    let mut memberships = table();
    let unstated = CoapGroupSpec::new(address("[ff05::1]:5683")).on(2);
    assert_eq!(
        memberships.create(unstated.clone()),
        Err(MembershipError::SecurityNotStated)
    );
    let resolved = memberships.create_resolved(
        "grp.example",
        5683,
        &["ff05::1".parse().unwrap()],
        &unstated,
    );
    assert_eq!(resolved, Err(MembershipError::SecurityNotStated));
    assert_eq!(memberships.groups().count(), 0);
    let id = memberships.create(unstated.unsecured()).unwrap();
    assert_eq!(
        memberships.group(id).unwrap().security(),
        &GroupSecurity::NoSec
    );
    let [lint] = memberships.lints().try_into().unwrap();
    assert_eq!(
        lint,
        Lint::Unsecured {
            group: address("[ff05::1]:5683")
        }
    );
    assert!(lint.to_string().contains("amplification"));
    let nothing = GroupSecurity::Groups(Vec::new());
    assert_eq!(
        memberships.set_security(id, nothing),
        Err(MembershipError::SecurityNotStated)
    );
    memberships.set_security(id, secured("lights")).unwrap();
    assert_eq!(memberships.lints(), []);
    let both = spec("[ff05::2]:5683")
        .secured(SecurityGroupName::new("a").unwrap())
        .secured(SecurityGroupName::new("b").unwrap());
    let id = memberships.create(both).unwrap();
    let GroupSecurity::Groups(names) = memberships.group(id).unwrap().security() else {
        panic!();
    };
    assert_eq!(
        names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["a", "b"]
    );
}

// Covers: GC-2.2.1-11, GN-2.2.1.3-01, GN-2.2.1.3-02
#[test]
fn nosec_names_no_security_group_in_any_letter_case() {
    for name in ["NoSec", "nosec", "NOSEC", "nOsEc"] {
        assert_eq!(
            SecurityGroupName::new(name),
            Err(MembershipError::ReservedName)
        );
    }
    assert_eq!(SecurityGroupName::new(""), Err(MembershipError::EmptyName));
    for name in ["NoSecret", "No-Sec", "lights"] {
        assert_eq!(SecurityGroupName::new(name).unwrap().as_str(), name);
    }
    // A group without security has no name that could be told to anyone.
    let mut memberships = table();
    let id = memberships.create(spec("[ff05::1]:5683")).unwrap();
    assert_eq!(memberships.group(id).unwrap().names().count(), 0);
    assert_eq!(
        memberships.group(id).unwrap().security(),
        &GroupSecurity::NoSec
    );
}

#[test]
fn global_scope_and_public_interfaces_need_security() {
    let mut memberships = table();
    let global = "[ff0e::1]:5683";
    assert_eq!(
        memberships.create(spec(global)),
        Err(MembershipError::GlobalScope)
    );
    let wide =
        CoapGroupSpec::new(address(global)).secured(SecurityGroupName::new("lights").unwrap());
    let wide = memberships.create(wide.on(2)).unwrap();
    assert_eq!(
        memberships.set_security(wide, GroupSecurity::NoSec),
        Err(MembershipError::GlobalScope)
    );
    assert_eq!(
        memberships.lints(),
        [Lint::GlobalScope {
            group: address(global)
        }]
    );
    let narrow = memberships.create(spec("[ff08::1]:5683").on(2)).unwrap();
    assert_eq!(
        memberships.move_to(narrow, address("[ff1e::1]:5683")),
        Err(MembershipError::GlobalScope)
    );
    assert_eq!(
        memberships.split(narrow, address("[ff1e::1]:5683"), &[2]),
        Err(MembershipError::GlobalScope)
    );

    let public = Interface {
        public: true,
        ..Interface::new(7)
    };
    memberships.set_interface(public).unwrap();
    assert_eq!(
        memberships.join(narrow, 7),
        Err(MembershipError::PublicInterface)
    );
    memberships.join(wide, 7).unwrap();
    assert_eq!(
        memberships.set_security(wide, GroupSecurity::NoSec),
        Err(MembershipError::GlobalScope)
    );
    // An interface on which such a group is joined cannot become public.
    let becomes = Interface {
        public: true,
        ..Interface::new(2)
    };
    assert_eq!(
        memberships.set_interface(becomes),
        Err(MembershipError::PublicInterface)
    );
    memberships.leave(narrow, 2).unwrap();
    memberships.set_interface(becomes).unwrap();
    assert_eq!(memberships.group(narrow).unwrap().interfaces(), [0_u32; 0]);
}

// Covers: GC-2.2.1-01, GN-2.2.1.1-02
#[test]
fn different_names_of_one_address_and_port_are_one_group() {
    let mut memberships = table();
    let id = memberships
        .create(
            spec("[ff05::db8:0:1]:5683")
                .name("Group1.example")
                .name("group1.alias.example"),
        )
        .unwrap();
    let other = memberships
        .create(spec("[ff05::db8:0:1]:7700").name("group1.example"))
        .unwrap();
    let all = [
        "group1.example",
        "group1.alias.example",
        "[ff05::db8:0:1]",
        "GROUP1.example:5683",
        "group1.alias.example:5683",
        "[ff05:0:0::db8:0:1]:5683",
    ];
    for one in all {
        let ids: Vec<_> = memberships.groups_named(one).map(CoapGroup::id).collect();
        assert_eq!(ids, [id], "{one}");
        for another in all {
            assert!(memberships.same_groups(one, another), "{one} {another}");
        }
        assert!(!memberships.same_groups(one, "group1.example:7700"));
    }
    assert_eq!(
        memberships
            .groups_named("group1.example:7700")
            .next()
            .unwrap()
            .id(),
        other
    );
    for unknown in ["group2.example", "[ff05::2]", "no host", "group1.example:0"] {
        assert_eq!(memberships.groups_named(unknown).count(), 0, "{unknown}");
        assert!(!memberships.same_groups(unknown, unknown));
    }
    let authorities: Vec<_> = memberships
        .groups()
        .map(|group| group.authority().to_string())
        .collect();
    assert_eq!(authorities, ["group1.example", "group1.example:7700"]);
    memberships.set_names(id, &[]).unwrap();
    memberships
        .set_names(other, &["New.example", "new.EXAMPLE"])
        .unwrap();
    let authorities: Vec<_> = memberships
        .groups()
        .map(|group| group.authority().to_string())
        .collect();
    assert_eq!(authorities, ["[ff05::db8:0:1]", "new.example:7700"]);
    assert_eq!(memberships.group(other).unwrap().names().count(), 1);
    assert_eq!(
        memberships.set_names(id, &["no host"]),
        Err(MembershipError::NotAHostName)
    );
    let v4 = memberships.create(spec("239.0.0.1:5685")).unwrap();
    assert_eq!(
        memberships.group(v4).unwrap().authority().to_string(),
        "239.0.0.1:5685"
    );
}

// Covers: GN-2.2.1.1-01, GN-2.2.1.1-04, GC-2.1.1-06
#[test]
fn a_host_name_stands_for_one_group_for_each_of_its_multicast_addresses() {
    let mut memberships = table();
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    let template = spec("[ff05::1]:1").on(2);
    let two = memberships
        .create_resolved(
            "all.example",
            5685,
            &[
                ip("ff05::a"),
                ip("2001:db8::1"),
                ip("239.0.0.1"),
                ip("ff05::a"),
            ],
            &template,
        )
        .unwrap();
    assert_eq!(two.len(), 2);
    assert_eq!(
        memberships.work(),
        ["+239.0.0.1:5685%2", "+[ff05::a]:5685%2"]
    );
    let named: Vec<_> = memberships
        .groups_named("ALL.example:5685")
        .map(CoapGroup::id)
        .collect();
    assert_eq!(named, two);
    assert_eq!(memberships.groups_named("all.example").count(), 0);
    // A second name for one of them.
    let again = memberships
        .create_resolved("alias.example", 5685, &[ip("ff05::a")], &template)
        .unwrap();
    assert_eq!(again, two[..1]);
    assert_eq!(
        memberships
            .create_resolved("alias.example", 5685, &[ip("ff05::a")], &template)
            .unwrap(),
        again
    );
    let names: Vec<_> = memberships
        .group(two[0])
        .unwrap()
        .names()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["all.example", "alias.example"]);
    assert_eq!(memberships.work(), [""; 0]);
    // Names that resolve to no multicast address name no group, and errors create nothing.
    for (addresses, port, error) in [
        (
            &["2001:db8::1", "10.0.0.1"][..],
            5683,
            MembershipError::NotMulticast,
        ),
        (&[], 5683, MembershipError::NotMulticast),
        (&["ff05::b", "ff05::c"], 5684, MembershipError::SecurePort),
        (&["ff05::b", "ff0e::c"], 5683, MembershipError::GlobalScope),
    ] {
        let addresses: Vec<_> = addresses.iter().map(|text| ip(text)).collect();
        let result = memberships.create_resolved("other.example", port, &addresses, &template);
        assert_eq!(result, Err(error));
    }
    let no_host = memberships.create_resolved("no host", 5683, &[ip("ff05::b")], &template);
    assert_eq!(no_host, Err(MembershipError::NotAHostName));
    assert_eq!(memberships.groups().count(), 2);

    // Names that express nested sets are names like others.
    let mut memberships = table();
    let names = [
        "all.bldg6.example",
        "all.west.bldg6.example",
        "all.floor1.west.bldg6.example",
        "all.bu036.floor1.west.bldg6.example",
    ];
    for (number, name) in names.iter().enumerate() {
        let address = ip(&std::format!("ff05::{}", number + 1));
        memberships
            .create_resolved(name, 5683, &[address], &template)
            .unwrap();
    }
    for (number, name) in names.iter().enumerate() {
        let [group] = memberships
            .groups_named(name)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        assert_eq!(
            group.address(),
            address(&std::format!("[ff05::{}]:5683", number + 1))
        );
    }
}

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
