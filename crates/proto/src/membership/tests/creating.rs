//! What a CoAP group may be: addresses and ports, stated security, scopes, names.

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
