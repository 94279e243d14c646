//! Joins and Leaves, their results, interfaces that go and come.

use super::*;
use core::time::Duration;

use crate::work::WorkFailure;

// Covers: GC-2.2.4-02
#[test]
fn a_group_is_joined_once_for_each_interface_and_left_when_nothing_needs_it() {
    let mut memberships = table();
    let group = memberships
        .create(spec("[ff05::1]:5683").on(2).on(3).on(2))
        .unwrap();
    let one = application(&mut memberships, "gp1");
    let two = application(&mut memberships, "gp2");
    memberships.relate(one, group).unwrap();
    memberships.relate(two, group).unwrap();
    assert_eq!(
        memberships.work(),
        ["+[ff05::1]:5683%2", "+[ff05::1]:5683%3"]
    );
    assert_eq!(
        memberships.joined(),
        ["[ff05::1]:5683%2", "[ff05::1]:5683%3"]
    );
    // Relations come and go without any listening.
    memberships.unrelate(one, group).unwrap();
    memberships.remove_application(two).unwrap();
    memberships.join(group, 2).unwrap();
    assert_eq!(memberships.work(), [""; 0]);
    memberships.leave(group, 2).unwrap();
    assert_eq!(memberships.leave(group, 2), Err(MembershipError::NotJoined));
    assert_eq!(memberships.work(), ["-[ff05::1]:5683%2"]);
    assert_eq!(memberships.membership(address("[ff05::1]:5683"), 2), None);
    assert!(
        memberships
            .membership(address("[ff05::1]:5683"), 3)
            .is_some()
    );
    memberships.remove(group).unwrap();
    assert_eq!(memberships.work(), ["-[ff05::1]:5683%3"]);
    assert_eq!(memberships.listening().count(), 0);
    assert_eq!(
        memberships.remove(group),
        Err(MembershipError::UnknownGroup)
    );
    let mut changes = Vec::new();
    while let Some(event) = memberships.poll_event() {
        assert_eq!(event.group, address("[ff05::1]:5683"));
        changes.push((event.interface, event.change));
    }
    assert_eq!(
        changes,
        [
            (2, ListenChange::Joined),
            (3, ListenChange::Joined),
            (2, ListenChange::Left),
            (3, ListenChange::Left)
        ]
    );
}

#[test]
fn a_failed_join_is_reported_and_tried_again_more_and_more_slowly() {
    let mut memberships = table();
    memberships.create(spec("[ff05::1]:5683").on(2)).unwrap();
    let failure = WorkFailure::System(19);
    let mut now = NOW;
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        let [task] = memberships.due(now).try_into().unwrap();
        assert_eq!(short(&task), "+[ff05::1]:5683%2");
        memberships.task_done(now, &task, Err(failure));
        let retry_in = Duration::from_secs(seconds);
        let event = memberships.poll_event().unwrap();
        assert_eq!(event.change, ListenChange::JoinFailed { failure, retry_in });
        let retry_at = now + retry_in;
        assert_eq!(memberships.next_timeout(), Some(retry_at));
        let standing = memberships.listening().next().unwrap().2;
        assert_eq!(standing, Listening::Failed { failure, retry_at });
        let before = retry_at - Duration::from_micros(1);
        memberships.handle_timeout(before);
        assert_eq!(memberships.due(before), []);
        now = retry_at;
        memberships.handle_timeout(now);
    }
    let [task] = memberships.due(now).try_into().unwrap();
    memberships.task_done(now, &task, Ok(()));
    assert_eq!(memberships.joined(), ["[ff05::1]:5683%2"]);
    assert_eq!(memberships.next_timeout(), None);
    // After a success the waiting begins anew.
    memberships.interface_away(2);
    memberships.interface_back(2);
    let [task] = memberships.due(now).try_into().unwrap();
    memberships.task_done(now, &task, Err(failure));
    assert_eq!(
        memberships.next_timeout(),
        Some(now + Duration::from_secs(1))
    );
}

#[test]
fn what_changes_while_a_task_is_under_way_is_made_good_afterwards() {
    let mut memberships = table();
    let group = memberships.create(spec("[ff05::1]:5683").on(2)).unwrap();
    let [join] = memberships.due(NOW).try_into().unwrap();
    // One task at a time for each listener.
    memberships.leave(group, 2).unwrap();
    assert_eq!(memberships.due(NOW), []);
    memberships.task_done(NOW, &join, Ok(()));
    let [leave] = memberships.due(NOW).try_into().unwrap();
    assert_eq!(short(&leave), "-[ff05::1]:5683%2");
    memberships.join(group, 2).unwrap();
    assert_eq!(memberships.due(NOW), []);
    assert_eq!(
        memberships.listening().next().unwrap().2,
        Listening::Joining
    );
    memberships.task_done(NOW, &leave, Ok(()));
    assert_eq!(memberships.work(), ["+[ff05::1]:5683%2"]);
    // A Join that fails after the group was left is not tried again.
    memberships.leave(group, 2).unwrap();
    memberships.work();
    memberships.join(group, 2).unwrap();
    let [join] = memberships.due(NOW).try_into().unwrap();
    memberships.leave(group, 2).unwrap();
    memberships.task_done(NOW, &join, Err(WorkFailure::System(0)));
    assert_eq!(memberships.next_timeout(), None);
    assert_eq!(memberships.due(NOW + Duration::from_secs(100)), []);
    assert_eq!(memberships.listening().count(), 0);
}

#[test]
fn results_that_nobody_waits_for_change_nothing() {
    let mut memberships = table();
    let group = address("[ff05::1]:5683");
    let (join, leave) = (
        Task::Join {
            group,
            interface: 2,
        },
        Task::Leave {
            group,
            interface: 2,
        },
    );
    memberships.task_done(NOW, &join, Ok(()));
    memberships.create(spec("[ff05::1]:5683").on(2)).unwrap();
    memberships.task_done(NOW, &join, Ok(()));
    assert_eq!(memberships.joined(), [""; 0]);
    assert_eq!(memberships.due(NOW), core::slice::from_ref(&join));
    memberships.task_done(NOW, &leave, Ok(()));
    memberships.task_done(NOW, &leave, Err(WorkFailure::System(1)));
    assert_eq!(memberships.poll_event(), None);
    memberships.task_done(NOW, &join, Ok(()));
    memberships.task_done(NOW, &join, Err(WorkFailure::System(1)));
    assert_eq!(memberships.joined(), ["[ff05::1]:5683%2"]);
    assert_eq!(memberships.next_timeout(), None);
}

#[test]
fn a_failed_leave_is_reported_and_nothing_more_is_heard_there() {
    let mut memberships = table();
    let group = memberships.create(spec("[ff05::1]:5683").on(2)).unwrap();
    memberships.work();
    memberships.poll_event();
    memberships.leave(group, 2).unwrap();
    let [leave] = memberships.due(NOW).try_into().unwrap();
    let failure = WorkFailure::System(99);
    memberships.task_done(NOW, &leave, Err(failure));
    let event = memberships.poll_event().unwrap();
    assert_eq!(event.change, ListenChange::LeaveFailed { failure });
    assert_eq!(memberships.due(NOW), []);
    assert_eq!(memberships.membership(address("[ff05::1]:5683"), 2), None);
}

#[test]
fn an_interface_that_goes_takes_its_memberships_along_and_gets_them_back() {
    let mut memberships = table();
    memberships
        .create(spec("[ff05::1]:5683").on(2).on(3))
        .unwrap();
    let two = memberships.create(spec("[ff05::2]:5683").on(2)).unwrap();
    memberships.work();
    memberships.interface_away(2);
    assert_eq!(memberships.work(), [""; 0]);
    let standing: Vec<_> = memberships
        .listening()
        .map(|(_, index, how)| (index, how))
        .collect();
    assert_eq!(
        standing,
        [
            (2, Listening::Away),
            (3, Listening::Joined),
            (2, Listening::Away)
        ]
    );
    // What is configured meanwhile waits for the interface; what is left meanwhile is forgotten.
    memberships.create(spec("[ff05::3]:5683").on(2)).unwrap();
    memberships.leave(two, 2).unwrap();
    assert_eq!(memberships.work(), [""; 0]);
    memberships.interface_back(2);
    assert_eq!(
        memberships.work(),
        ["+[ff05::1]:5683%2", "+[ff05::3]:5683%2"]
    );

    // Away while a Join is under way: whatever its result, it is joined again afterwards.
    for result in [Ok(()), Err(WorkFailure::System(19))] {
        let group = memberships.create(spec("[ff05::4]:5683").on(2)).unwrap();
        let [join] = memberships.due(NOW).try_into().unwrap();
        memberships.interface_away(2);
        memberships.task_done(NOW, &join, result);
        assert_eq!(memberships.next_timeout(), None);
        memberships.interface_back(2);
        assert!(
            memberships
                .work()
                .contains(&"+[ff05::4]:5683%2".to_string())
        );
        memberships.remove(group).unwrap();
        memberships.work();
    }
    // Failed before it went away: tried at once when it returns.
    memberships.create(spec("[ff05::5]:5683").on(4)).unwrap();
    let [join] = memberships.due(NOW).try_into().unwrap();
    memberships.task_done(NOW, &join, Err(WorkFailure::System(19)));
    memberships.interface_away(4);
    assert_eq!(memberships.next_timeout(), None);
    memberships.interface_back(4);
    assert_eq!(memberships.work(), ["+[ff05::5]:5683%4"]);
    // And one that never went away, but is said to be back.
    memberships.create(spec("[ff05::6]:5683").on(5)).unwrap();
    let [join] = memberships.due(NOW).try_into().unwrap();
    memberships.task_done(NOW, &join, Err(WorkFailure::System(19)));
    memberships.interface_back(5);
    assert_eq!(memberships.work(), ["+[ff05::6]:5683%5"]);
}

// Covers: GC-3.8.1-02, GC-3.8.1-03, GC-3.8.1-05
#[test]
fn a_server_with_discovery_joins_all_coap_nodes_on_each_interface() {
    let mut memberships = table();
    let other_port = spec("[ff05::1]:5685").on(2);
    memberships.create(other_port).unwrap();
    memberships.set_interface(Interface::new(2)).unwrap();
    memberships.work();
    memberships.serve_discovery(true);
    assert_eq!(
        memberships.work(),
        [
            "+224.0.1.187:5683%2",
            "+[ff02::fd]:5683%2",
            "+[ff04::fd]:5683%2",
            "+[ff05::fd]:5683%2"
        ]
    );
    assert!(
        memberships
            .groups()
            .filter(|group| group.serves_discovery())
            .all(|group| group.address().port() == 5683)
    );
    // A 6LoWPAN link has a realm.
    let lowpan = Interface {
        sixlowpan: true,
        ipv4: false,
        ..Interface::new(3)
    };
    memberships.set_interface(lowpan).unwrap();
    assert_eq!(
        memberships.work(),
        [
            "+[ff02::fd]:5683%3",
            "+[ff03::fd]:5683%3",
            "+[ff04::fd]:5683%3",
            "+[ff05::fd]:5683%3"
        ]
    );
    assert_eq!(memberships.membership(address("[ff03::fd]:5683"), 2), None);
    assert!(
        memberships
            .membership(address("[ff03::fd]:5683"), 3)
            .is_some()
    );
    // IPv4 only; and one to the public Internet, which is left alone.
    let v4 = Interface {
        ipv6: false,
        ..Interface::new(4)
    };
    let public = Interface {
        public: true,
        ..Interface::new(5)
    };
    memberships.set_interface(v4).unwrap();
    memberships.set_interface(public).unwrap();
    assert_eq!(memberships.work(), ["+224.0.1.187:5683%4"]);
    // It may change what it is.
    memberships
        .set_interface(Interface { index: 3, ..v4 })
        .unwrap();
    assert_eq!(
        memberships.work(),
        [
            "+224.0.1.187:5683%3",
            "-[ff02::fd]:5683%3",
            "-[ff03::fd]:5683%3",
            "-[ff04::fd]:5683%3",
            "-[ff05::fd]:5683%3"
        ]
    );
    assert_eq!(memberships.interfaces().len(), 4);
    memberships.remove_interface(2);
    assert_eq!(memberships.work().len(), 5);
    memberships.serve_discovery(false);
    assert_eq!(
        memberships.work(),
        ["-224.0.1.187:5683%3", "-224.0.1.187:5683%4"]
    );
    assert_eq!(memberships.groups().count(), 1);
}

#[test]
fn all_coap_nodes_may_be_a_configured_group_as_well() {
    let mut memberships = table();
    memberships.set_interface(Interface::new(2)).unwrap();
    memberships.serve_discovery(true);
    memberships.work();
    let id = memberships
        .create(spec("[ff02::fd]:5683").on(3).name("all.example"))
        .unwrap();
    assert_eq!(
        memberships.create(spec("[ff02::fd]:5683")),
        Err(MembershipError::AddressTaken)
    );
    assert_eq!(memberships.work(), ["+[ff02::fd]:5683%3"]);
    let group = memberships.group(id).unwrap();
    assert!(group.serves_discovery());
    assert_eq!(group.names().collect::<Vec<_>>(), ["all.example"]);
    // Without discovery the configured part remains, and the other way round.
    memberships.serve_discovery(false);
    assert!(
        memberships
            .work()
            .contains(&"-[ff02::fd]:5683%2".to_string())
    );
    assert_eq!(memberships.joined(), ["[ff02::fd]:5683%3"]);
    memberships.serve_discovery(true);
    memberships.work();
    assert_eq!(
        memberships.move_to(id, address("[ff05::1]:5683")),
        Err(MembershipError::DiscoveryGroup)
    );
    assert_eq!(
        memberships.split(id, address("[ff05::1]:5683"), &[3]),
        Err(MembershipError::DiscoveryGroup)
    );
    memberships.remove(id).unwrap();
    assert_eq!(memberships.work(), ["-[ff02::fd]:5683%3"]);
    assert!(
        memberships
            .membership(address("[ff02::fd]:5683"), 2)
            .is_some()
    );
    assert_eq!(memberships.remove(id), Err(MembershipError::UnknownGroup));
    assert_eq!(
        memberships
            .groups()
            .map(|group| group.names().count())
            .sum::<usize>(),
        0
    );
}

#[test]
fn an_unknown_interface_counts_as_any() {
    let mut memberships = table();
    memberships.create(spec("[ff05::1]:5683").on(0)).unwrap();
    memberships.create(spec("[ff05::2]:5683").on(2)).unwrap();
    memberships.create(spec("[ff05::3]:5683")).unwrap();
    assert_eq!(
        memberships.work(),
        ["+[ff05::1]:5683%0", "+[ff05::2]:5683%2"]
    );
    let member = |text: &str, interface| memberships.membership(address(text), interface).is_some();
    assert!(member("[ff05::1]:5683", 7));
    assert!(member("[ff05::2]:5683", 0));
    assert!(member("[ff05::2%7]:5683", 2));
    assert!(!member("[ff05::2]:5683", 3));
    assert!(!member("[ff05::3]:5683", 0));
    assert!(!member("[ff05::4]:5683", 0));
}

#[test]
fn events_that_nobody_takes_are_bounded() {
    let mut memberships = table();
    let group = memberships.create(spec("[ff05::1]:5683")).unwrap();
    for interface in 1..=300 {
        memberships.join(group, interface).unwrap();
        memberships.work();
        memberships.leave(group, interface).unwrap();
        memberships.work();
    }
    let mut events = Vec::new();
    while let Some(event) = memberships.poll_event() {
        events.push(event);
    }
    assert_eq!(events.len(), 256);
    // The newest ones: two for each of the last 128 interfaces.
    assert_eq!(events[0].interface, 173);
    assert_eq!(events[255].interface, 300);
}
