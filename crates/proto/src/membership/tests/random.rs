//! Changes in random order keep what must always hold.

use super::*;
use alloc::collections::BTreeSet;
use proptest::prelude::*;

use crate::work::WorkFailure;

#[derive(Clone, Debug)]
enum Change {
    Create {
        address: u8,
        interfaces: Vec<u32>,
    },
    Remove(u8),
    Join(u8, u32),
    Leave(u8, u32),
    Move(u8, u8),
    Split(u8, u8, u32),
    Merge(u8, u8),
    Application(u8),
    RemoveApplication(u8),
    Relate(u8, u8),
    Unrelate(u8, u8),
    Rename(u8, u8),
    SplitApplication(u8, u8, u8),
    MergeApplications(u8, u8),
    Away(u32),
    Back(u32),
    Discovery(bool),
    /// Hands out tasks and finishes some of those under way: true succeeds, false fails.
    Work(Vec<bool>),
}

fn change() -> impl Strategy<Value = Change> {
    let number = || 0..8_u8;
    let interface = || 1..4_u32;
    prop_oneof![
        (number(), prop::collection::vec(interface(), 0..3)).prop_map(|(address, interfaces)| {
            Change::Create {
                address,
                interfaces,
            }
        }),
        number().prop_map(Change::Remove),
        (number(), interface()).prop_map(|(a, b)| Change::Join(a, b)),
        (number(), interface()).prop_map(|(a, b)| Change::Leave(a, b)),
        (number(), number()).prop_map(|(a, b)| Change::Move(a, b)),
        (number(), number(), interface()).prop_map(|(a, b, c)| Change::Split(a, b, c)),
        (number(), number()).prop_map(|(a, b)| Change::Merge(a, b)),
        number().prop_map(Change::Application),
        number().prop_map(Change::RemoveApplication),
        (number(), number()).prop_map(|(a, b)| Change::Relate(a, b)),
        (number(), number()).prop_map(|(a, b)| Change::Unrelate(a, b)),
        (number(), number()).prop_map(|(a, b)| Change::Rename(a, b)),
        (number(), number(), number()).prop_map(|(a, b, c)| Change::SplitApplication(a, b, c)),
        (number(), number()).prop_map(|(a, b)| Change::MergeApplications(a, b)),
        interface().prop_map(Change::Away),
        interface().prop_map(Change::Back),
        prop::bool::ANY.prop_map(Change::Discovery),
        prop::collection::vec(prop::bool::weighted(0.8), 0..6).prop_map(Change::Work),
    ]
}

/// A change may be refused; here it only must not break anything.
fn ignore<T>(_: Result<T, MembershipError>) {}

fn place(number: u8) -> SocketAddr {
    // Two ports on each address, and one All CoAP Nodes group among them.
    match number {
        7 => address("[ff02::fd]:5683"),
        number => address(&std::format!(
            "[ff05::{}]:{}",
            number / 2 + 1,
            5685 + u16::from(number % 2)
        )),
    }
}

/// The operating system, as far as it matters: what is joined, and what is under way.
#[derive(Default)]
struct System {
    joined: BTreeSet<(SocketAddr, u32)>,
    away: BTreeSet<u32>,
    under_way: Vec<Task>,
}

impl System {
    fn take_tasks(&mut self, memberships: &mut Memberships, now: Instant) {
        while let Some(task) = memberships.poll_task(now) {
            let (group, interface) = place_of(&task);
            // One task at a time, and never for an interface that is away.
            assert!(
                self.under_way
                    .iter()
                    .all(|other| place_of(other) != (group, interface))
            );
            let wanted = memberships
                .listening()
                .any(|(address, index, _)| (address, index) == (group, interface));
            match task {
                Task::Join { .. } => {
                    assert!(wanted, "joined without need");
                    assert!(!self.away.contains(&interface));
                    assert!(!self.joined.contains(&(group, interface)), "joined twice");
                }
                _ => assert!(
                    !wanted && self.joined.contains(&(group, interface)),
                    "left without being joined"
                ),
            }
            self.under_way.push(task);
        }
    }

    fn finish(&mut self, memberships: &mut Memberships, now: Instant, succeeds: bool) {
        if self.under_way.is_empty() {
            return;
        }
        let task = self.under_way.remove(0);
        let (group, interface) = place_of(&task);
        match (&task, succeeds) {
            (Task::Join { .. }, true) if !self.away.contains(&interface) => {
                self.joined.insert((group, interface));
            }
            (Task::Join { .. }, _) => {}
            // A Leave that fails leaves nothing that is listened to, either: the socket is gone.
            _ => {
                self.joined.remove(&(group, interface));
            }
        }
        let result = match succeeds {
            true => Ok(()),
            false => Err(WorkFailure::System(1)),
        };
        memberships.task_done(now, &task, result);
    }
}

fn place_of(task: &Task) -> (SocketAddr, u32) {
    match task {
        Task::Join { group, interface } | Task::Leave { group, interface } => (*group, *interface),
        #[cfg(feature = "oscore")]
        _ => panic!("{task:?}"),
    }
}

/// What must hold after every change.
fn check(memberships: &Memberships) {
    let groups: Vec<_> = memberships.groups().collect();
    let mut addresses = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for group in &groups {
        assert!(
            addresses.insert(group.address()),
            "two groups at {}",
            group.address()
        );
        assert!(ids.insert(group.id()));
        assert_eq!(memberships.id_at(group.address()), Some(group.id()));
        assert!(group.interfaces().is_sorted() && group.applications().is_sorted());
        for id in group.applications() {
            let known = memberships
                .applications()
                .any(|application| application.id() == *id);
            assert!(known, "a relation to nothing");
            assert!(
                memberships
                    .groups_of(*id)
                    .any(|other| other.id() == group.id())
            );
        }
        assert!(group.configured || group.discovery);
    }
    assert_eq!(memberships.by_address.len(), groups.len());
    let mut names = BTreeSet::new();
    for application in memberships.applications() {
        assert!(
            names.insert(application.name()),
            "two groups named {}",
            application.name()
        );
    }
    let mut wanted = BTreeSet::new();
    for group in &groups {
        for interface in 1..4 {
            if memberships.membership(group.address(), interface).is_some() {
                wanted.insert((group.address(), interface));
            }
        }
    }
    let listening: BTreeSet<_> = memberships
        .listening()
        .map(|(group, interface, _)| (group, interface))
        .collect();
    assert_eq!(listening, wanted);
}

fn apply(memberships: &mut Memberships, system: &mut System, now: Instant, change: &Change) {
    let groups: Vec<_> = memberships.groups().map(CoapGroup::id).collect();
    let coap = |number: u8| {
        groups
            .get(usize::from(number))
            .copied()
            .unwrap_or(CoapGroupId(u32::MAX))
    };
    let applications: Vec<_> = memberships
        .applications()
        .map(ApplicationGroup::id)
        .collect();
    let of = |number: u8| {
        applications
            .get(usize::from(number))
            .copied()
            .unwrap_or(ApplicationGroupId(u32::MAX))
    };
    let name = |number: u8| std::format!("gp{number}");
    match change {
        Change::Create {
            address,
            interfaces,
        } => {
            let mut spec = CoapGroupSpec::new(place(*address)).unsecured();
            for interface in interfaces {
                spec = spec.on(*interface);
            }
            let _ = memberships.create(spec);
        }
        Change::Remove(id) => ignore(memberships.remove(coap(*id))),
        Change::Join(id, interface) => ignore(memberships.join(coap(*id), *interface)),
        Change::Leave(id, interface) => ignore(memberships.leave(coap(*id), *interface)),
        Change::Move(id, to) => ignore(memberships.move_to(coap(*id), place(*to))),
        Change::Split(id, to, interface) => {
            ignore(memberships.split(coap(*id), place(*to), &[*interface]))
        }
        Change::Merge(from, into) => ignore(memberships.merge(coap(*from), coap(*into))),
        Change::Application(number) => {
            ignore(memberships.create_application(
                &name(*number),
                Naming::path(),
                Attributes::new(),
            ));
        }
        Change::RemoveApplication(id) => ignore(memberships.remove_application(of(*id))),
        Change::Relate(id, group) => ignore(memberships.relate(of(*id), coap(*group))),
        Change::Unrelate(id, group) => ignore(memberships.unrelate(of(*id), coap(*group))),
        Change::Rename(id, number) => ignore(memberships.rename(of(*id), &name(*number))),
        Change::SplitApplication(id, number, group) => {
            ignore(memberships.split_application(of(*id), &name(*number), &[coap(*group)]));
        }
        Change::MergeApplications(from, into) => {
            ignore(memberships.merge_applications(of(*from), of(*into)))
        }
        Change::Away(interface) => {
            system.away.insert(*interface);
            system.joined.retain(|(_, index)| index != interface);
            memberships.interface_away(*interface);
        }
        Change::Back(interface) => {
            system.away.remove(interface);
            memberships.interface_back(*interface);
        }
        Change::Discovery(serve) => memberships.serve_discovery(*serve),
        Change::Work(results) => {
            system.take_tasks(memberships, now);
            for succeeds in results {
                system.finish(memberships, now, *succeeds);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn in_any_order(changes in prop::collection::vec(change(), 1..60)) {
        let mut memberships = table();
        let mut system = System::default();
        for interface in 1..4 {
            memberships.set_interface(Interface::new(interface)).unwrap();
        }
        let mut now = NOW;
        for change in &changes {
            apply(&mut memberships, &mut system, now, change);
            check(&memberships);
        }
        // When everything works again, exactly what is wanted is joined.
        for interface in 1..4 {
            apply(&mut memberships, &mut system, now, &Change::Back(interface));
        }
        for _ in 0..8 {
            now = now + core::time::Duration::from_secs(61);
            memberships.handle_timeout(now);
            system.take_tasks(&mut memberships, now);
            while !system.under_way.is_empty() {
                system.finish(&mut memberships, now, true);
            }
        }
        let wanted: BTreeSet<_> = memberships.listening().map(|(group, interface, _)| (group, interface)).collect();
        prop_assert!(memberships.listening().all(|(_, _, standing)| standing == Listening::Joined));
        prop_assert_eq!(&system.joined, &wanted);
        prop_assert_eq!(memberships.next_timeout(), None);
    }
}
