//! Scenario 8: an updater, twenty devices, an image of 200 kB in blocks of 1,024 bytes, 20 % loss; and all its variants.

use std::time::Duration;

use antiphon_netsim::{HostId, Outgoing};
use antiphon_proto::distribution::{
    DeviceEvent, DeviceState, DistributionEnd, DistributionPhase, DistributorConfig,
    DistributorEvent, Notice, Refusal, block_request, notice_request,
};
use antiphon_proto::{Instant, Request};
use antiphon_tests::images::{Campaign, FIRST, Image, PATH, Part, address, group};
use antiphon_tests::stage::Datagram;
use antiphon_wire::{Code, Type};

const SIZE: usize = 200_000;

fn image() -> Image {
    Image::new(SIZE, 1_024, 8)
}

fn small() -> Image {
    Image::new(20_000, 256, 9)
}

fn campaign(seed: u64, devices: usize, images: &[Image]) -> Campaign {
    let mut campaign = Campaign::new(seed, images);
    for _ in 0..devices {
        campaign.device();
    }
    campaign.sim.run_for(Duration::from_millis(10));
    campaign
}

fn events(campaign: &Campaign, host: HostId) -> Vec<(Instant, DistributorEvent)> {
    match &campaign.sim.node(host).unwrap().part {
        Part::Distributor(part) => part.events.clone(),
        Part::Device(_) => panic!("a device"),
    }
}

fn device_events(campaign: &Campaign, index: usize) -> Vec<DeviceEvent> {
    match &campaign.sim.node(campaign.devices[index].0).unwrap().part {
        Part::Device(part) => part.events.clone(),
        Part::Distributor(_) => panic!("a distributor"),
    }
}

fn unicast_only(campaign: &Campaign, image: &Image) -> DistributorConfig {
    DistributorConfig {
        passes: 1,
        ..campaign.config(image)
    }
}

/// Somebody who is no member of anything says something.
fn stranger(campaign: &mut Campaign, from: u16, request: &Request) {
    let options: Vec<_> = request.options.iter().collect();
    let bytes = Datagram {
        kind: Type::Non,
        code: request.method,
        mid: 7,
        token: b"?",
        options: &options,
        payload: &request.payload,
    }
    .bytes();
    let network = campaign.sim.network_mut();
    let host = network.add_host(format!("stranger {from}"));
    let lan = campaign.lan();
    let network = campaign.sim.network_mut();
    network.attach(host, lan, &[address(from).ip()]);
    network.bind(host, 5683).unwrap();
    let outgoing = Outgoing::from_port(5683, group(), bytes);
    let outgoing = outgoing.over(antiphon_netsim::Interface::new(1));
    network.send(host, outgoing).unwrap();
}

// Covers: GC-A.3-01, GC-A.3-03, GC-A.3-04, GC-A.3-06
#[test]
fn twenty_devices_get_the_exact_image_and_repair_what_they_lost() {
    let image = image();
    let mut campaign = campaign(1, 20, std::slice::from_ref(&image));
    campaign.impair(0.2, 0.0, 0.0);
    let config = unicast_only(&campaign, &image);
    let updater = campaign.distribute(1, &image, config);
    assert_eq!(campaign.finish(updater), DistributionEnd::AllFinal);
    assert_eq!(campaign.exact(&image), 20);
    assert!(campaign.with_distributor(updater, |machine| machine.all_activated()));
    for (_, disk) in &campaign.devices {
        assert_eq!(disk.kept().activations, 1);
    }
    // Announced before the first block; every block went to the group once; no Block1.
    let party = campaign.sim.node(updater).unwrap();
    let sent: Vec<_> = party
        .host
        .sent
        .iter()
        .filter(|(_, route, _)| route.is_multicast())
        .collect();
    let codes: Vec<_> = sent
        .iter()
        .map(|(_, _, bytes)| antiphon_tests::stage::parse(bytes).code())
        .collect();
    assert_eq!(codes[..3], [Code::POST; 3]);
    let puts = codes.iter().filter(|code| **code == Code::PUT).count();
    assert_eq!(puts, image.announcement.blocks() as usize);
    for (_, _, bytes) in &sent {
        let message = antiphon_tests::stage::parse(bytes);
        assert_eq!(message.kind(), Type::Non);
        assert!(
            message
                .options_of(antiphon_wire::OptionNumber::BLOCK1)
                .next()
                .is_none()
        );
    }
    assert_eq!(party.block1, 0);
    // What was repaired is what was lost, each block alone: 20 % of 20 times all blocks.
    let repairs = campaign.with_distributor(updater, |machine| machine.progress().repairs);
    let blocks = u64::from(image.announcement.blocks()) * 20;
    assert!(
        repairs > blocks * 17 / 100 && repairs < blocks * 26 / 100,
        "{repairs} of {blocks}"
    );
    for index in 0..20 {
        let repaired = campaign.with_device(index, |device| device.counters().repaired);
        assert!(repaired > 0, "device {index} repaired nothing");
    }
}

#[test]
fn further_passes_cost_less_than_repairs_alone() {
    let image = image();
    let air = |passes| {
        let mut campaign = campaign(2, 20, std::slice::from_ref(&image));
        campaign.lean = true;
        campaign.impair(0.2, 0.0, 0.0);
        let config = DistributorConfig {
            passes,
            ..campaign.config(&image)
        };
        let updater = campaign.distribute(1, &image, config);
        assert_eq!(campaign.finish(updater), DistributionEnd::AllFinal);
        assert_eq!(campaign.exact(&image), 20);
        let air = campaign.air();
        air.group_bytes + air.unicast_bytes
    };
    let (one, four) = (air(1), air(4));
    assert!(four * 100 < one * 75, "{four} of {one}");
}

#[test]
fn thirty_percent_loss_duplicates_and_reordering_change_nothing_but_the_time() {
    for (seed, passes) in [(3, 1), (4, 4)] {
        let image = small();
        let mut campaign = campaign(seed, 10, std::slice::from_ref(&image));
        campaign.impair(0.3, 0.1, 0.2);
        let config = DistributorConfig {
            passes,
            ..campaign.config(&image)
        };
        let updater = campaign.distribute(1, &image, config);
        assert_eq!(campaign.finish(updater), DistributionEnd::AllFinal);
        assert_eq!(campaign.exact(&image), 10);
        let activations = campaign
            .devices
            .iter()
            .map(|(_, disk)| disk.kept().activations);
        assert_eq!(activations.sum::<usize>(), 10);
    }
}

#[test]
fn everything_works_under_group_oscore() {
    let image = small();
    let mut campaign = Campaign::new(5, std::slice::from_ref(&image));
    campaign.secured = true;
    for _ in 0..6 {
        campaign.device();
    }
    campaign.sim.run_for(Duration::from_millis(10));
    campaign.impair(0.2, 0.0, 0.0);
    // Somebody without keys announces another image first, and then to whoever listens.
    let other = Image::new(5_000, 256, 77);
    let forged = notice_request(PATH, &Notice::Announced(other.announcement.clone()));
    stranger(&mut campaign, 99, &forged);
    campaign.sim.run_for(Duration::from_secs(5));
    for index in 0..6 {
        assert_eq!(campaign.with_device(index, |device| device.image()), None);
    }
    let config = unicast_only(&campaign, &image);
    let updater = campaign.distribute(1, &image, config);
    let end = campaign.finish(updater);
    assert_eq!(campaign.exact(&image), 6, "{end}");
    assert_eq!(end, DistributionEnd::AllFinal);
    // All of it was protected: blocks in group mode, repairs in pairwise mode.
    let party = campaign.sim.node(updater).unwrap();
    let oscore = antiphon_wire::OptionNumber::OSCORE;
    let mut pairwise = 0;
    for (_, path, bytes) in &party.host.received {
        let message = antiphon_tests::stage::parse(bytes);
        // it hears itself, too, as a member of All CoAP Nodes
        if message.code().is_request() && path.peer != address(1) {
            let option = message
                .options_of(oscore)
                .next()
                .expect("a repair is protected");
            assert!(!path.is_multicast());
            pairwise += usize::from(option[0] & 0x20 == 0);
        }
    }
    assert!(pairwise > 0, "repairs are asked for in pairwise mode");
    for (_, route, bytes) in &party.host.sent {
        let message = antiphon_tests::stage::parse(bytes);
        if route.is_multicast() {
            let option = message.options_of(oscore).next().expect("protected");
            assert_eq!(option[0] & 0x20, 0x20, "group mode");
            assert_eq!(message.code(), Code::POST);
            let block1 = antiphon_wire::OptionNumber::BLOCK1;
            assert!(message.options_of(block1).next().is_none());
        }
    }
}

#[test]
fn devices_that_are_restarted_in_the_middle_go_on_with_what_they_noted() {
    let image = image();
    let mut campaign = campaign(6, 4, std::slice::from_ref(&image));
    campaign.devices[1].1.kept().loses = true;
    campaign.impair(0.2, 0.0, 0.0);
    let config = unicast_only(&campaign, &image);
    let updater = campaign.distribute(1, &image, config);
    campaign.sim.run_for(Duration::from_secs(12));
    let have = campaign.with_device(1, |device| device.status().have);
    assert!(have > 64, "{have}");
    campaign.restart_device(1, Duration::from_secs(3));
    campaign.restart_device(2, Duration::from_secs(1));
    campaign.sim.run_for(Duration::from_millis(100));
    let kept = campaign.with_device(1, |device| device.status().have);
    assert!(kept >= 64 && kept <= have, "{kept} of {have} were noted");
    assert_eq!(campaign.finish(updater), DistributionEnd::AllFinal);
    assert_eq!(campaign.exact(&image), 4);
}

#[test]
fn an_updater_that_is_restarted_goes_on_where_it_was() {
    let image = image();
    let mut campaign = campaign(7, 5, std::slice::from_ref(&image));
    campaign.impair(0.1, 0.0, 0.0);
    let config = campaign.config(&image);
    let updater = campaign.distribute(1, &image, config.clone());
    // in the middle of the first pass
    campaign.sim.run_for(Duration::from_secs(12));
    let phase = campaign.with_distributor(updater, |machine| machine.phase());
    assert_eq!(phase, DistributionPhase::Passing);
    campaign.restart_distributor(updater, 1, &image, config, Duration::from_secs(5));
    assert_eq!(campaign.finish(updater), DistributionEnd::AllFinal);
    assert_eq!(campaign.exact(&image), 5);
    let begun = events(&campaign, updater)
        .into_iter()
        .find_map(|(_, event)| match event {
            DistributorEvent::PassBegun { blocks, .. } => Some(blocks),
            _ => None,
        });
    let all = image.announcement.blocks();
    assert!(
        begun.is_some_and(|blocks| blocks < all * 3 / 4),
        "{begun:?} of {all}"
    );
}

#[test]
fn of_two_updaters_at_once_the_first_is_served() {
    let (first, mut second) = (small(), Image::new(20_000, 256, 10));
    second.announcement = second.announcement.with_version(1);
    let mut campaign = campaign(8, 5, &[first.clone(), second.clone()]);
    campaign.impair(0.1, 0.0, 0.0);
    let config = campaign.config(&first);
    let one = campaign.distribute(1, &first, config);
    campaign.sim.run_for(Duration::from_millis(500));
    let config = DistributorConfig {
        deadline: Some(Duration::from_secs(3_000)),
        ..campaign.config(&second)
    };
    let two = campaign.distribute(2, &second, config);
    campaign.sim.run_for(Duration::from_secs(6));
    for index in 0..5 {
        let image = campaign.with_device(index, |device| device.image());
        assert_eq!(
            image,
            Some(first.id()),
            "the second does not get in between"
        );
    }
    assert_eq!(campaign.finish(one), DistributionEnd::AllFinal);
    for (_, disk) in &campaign.devices {
        assert!(disk.kept().activations >= 1);
    }
    // When the first is over the devices have time for the second, which goes on announcing.
    let end = campaign.finish(two);
    let devices: Vec<_> = campaign.with_distributor(two, |machine| machine.report().collect());
    assert_eq!(campaign.exact(&second), 5, "{end}: {devices:#?}");
}

// Covers: GC-A.3-02
#[test]
fn a_corrupted_block_is_found_out_and_asked_for_again() {
    let image = small();
    let mut campaign = campaign(9, 3, std::slice::from_ref(&image));
    // What is sent is not what was announced, in one block of the image.
    let mut wrong = image.clone();
    let number = image.announcement.list_blocks() + 20;
    let offset = usize::try_from(image.announcement.block_offset(number).unwrap()).unwrap();
    let mut content = (*image.content).clone();
    content[offset] ^= 1;
    wrong.content = content.into();
    let config = unicast_only(&campaign, &image);
    let updater = campaign.distribute(1, &wrong, config);
    // Repairs have the right one.
    campaign.repair_from(updater, &image);
    assert_eq!(campaign.finish(updater), DistributionEnd::AllFinal);
    assert_eq!(campaign.exact(&image), 3);
    for index in 0..3 {
        let repaired = campaign.with_device(index, |device| device.counters().repaired);
        // the span of 4 blocks of 256 bytes that holds it
        assert_eq!(repaired, 4);
    }
}

// Covers: GC-A.3-02, S0-2.3-01
#[test]
fn an_image_with_a_wrong_digest_is_discarded_and_never_activated() {
    let image = small();
    let mut wrong = image.clone();
    // The list is right, and the image is not what the announcement says: it was announced with another digest.
    let other = Image::new(20_000, 256, 11);
    let of = &image.announcement;
    wrong.announcement = antiphon_proto::distribution::Announcement::new(
        of.size(),
        of.block_size(),
        *other.announcement.digest(),
    )
    .and_then(|it| it.with_list(of.span().unwrap(), *of.list_digest().unwrap()))
    .unwrap();
    let mut campaign = campaign(10, 3, std::slice::from_ref(&wrong));
    let config = campaign.config(&wrong);
    let updater = campaign.distribute(1, &wrong, config);
    assert_eq!(campaign.finish(updater), DistributionEnd::AllFinal);
    for (index, (_, disk)) in campaign.devices.iter().enumerate() {
        assert_eq!(disk.kept().activations, 0);
        assert_eq!(disk.kept().in_use, Vec::<u8>::new(), "the old one stays");
        let report = campaign
            .with_distributor(updater, |machine| machine.member(index))
            .unwrap();
        assert_eq!(report.state, Some(DeviceState::Failed));
        assert_eq!(report.code, Some(Code::BAD_REQUEST));
    }
    assert!(!campaign.with_distributor(updater, |machine| machine.all_activated()));
}

#[test]
fn numbers_beyond_the_end_wrong_lengths_and_unknown_images_are_ignored() {
    let image = small();
    let unknown = Image::new(900, 256, 12);
    let mut campaign = campaign(11, 3, &[image.clone(), unknown.clone()]);
    let config = campaign.config(&image);
    let updater = campaign.distribute(1, &image, config);
    campaign.sim.run_for(Duration::from_secs(5));
    let id = image.id();
    let total = image.announcement.blocks();
    let nonsense = [
        block_request(PATH, id, total, vec![1; 256]),
        block_request(PATH, id, u32::MAX, vec![1; 256]),
        block_request(PATH, id, total - 1, vec![1; 256]),
        block_request(PATH, id, total - 1, vec![]),
        block_request(PATH, unknown.id(), 0, vec![1; 256]),
        notice_request(PATH, &Notice::Cancelled(id)),
        notice_request(PATH, &Notice::Announced(unknown.announcement.clone())),
        Request::new(Code::POST).path(PATH),
    ];
    // From elsewhere, and as if they came from the updater itself.
    for (n, request) in nonsense.iter().enumerate() {
        stranger(&mut campaign, 900 + u16::try_from(n).unwrap(), request);
    }
    for request in &nonsense[..5] {
        campaign.say_as(updater, request);
    }
    assert_eq!(campaign.finish(updater), DistributionEnd::AllFinal);
    assert_eq!(campaign.exact(&image), 3);
    // Blocks after the completion change nothing.
    let number = image.announcement.list_blocks();
    campaign.say_as(updater, &block_request(PATH, id, number, vec![9; 256]));
    campaign.sim.run_for(Duration::from_secs(10));
    assert_eq!(campaign.exact(&image), 3);
    for (_, disk) in &campaign.devices {
        assert_eq!(disk.kept().activations, 1);
    }
}

#[test]
fn a_device_that_joins_late_fetches_everything() {
    let image = small();
    let mut campaign = campaign(12, 3, std::slice::from_ref(&image));
    let mut config = unicast_only(&campaign, &image);
    config.members.push(address(FIRST + 3));
    let updater = campaign.distribute(1, &image, config);
    campaign.sim.run_for(Duration::from_secs(60));
    let phase = campaign.with_distributor(updater, |machine| machine.phase());
    assert_eq!(phase, DistributionPhase::Repairing, "the pass is long over");
    campaign.device();
    assert_eq!(campaign.finish(updater), DistributionEnd::AllFinal);
    assert_eq!(campaign.exact(&image), 4);
    let repaired = campaign.with_device(3, |device| device.counters().repaired);
    assert_eq!(repaired, u64::from(image.announcement.blocks()));
}

#[test]
fn a_device_without_room_and_one_that_refuses_say_so_in_their_status_only() {
    let image = small();
    let mut campaign = campaign(13, 3, std::slice::from_ref(&image));
    campaign.devices[0].1.kept().room = Some(19_999);
    campaign.devices[1].1.kept().refuses = Some(Refusal::Kind);
    let config = campaign.config(&image);
    let updater = campaign.distribute(1, &image, config);
    assert_eq!(campaign.finish(updater), DistributionEnd::AllFinal);
    let codes: Vec<_> = campaign.with_distributor(updater, |machine| {
        machine.report().map(|device| device.code).collect()
    });
    assert_eq!(
        codes,
        [
            Code::REQUEST_ENTITY_TOO_LARGE,
            Code::NOT_ACCEPTABLE,
            Code::CHANGED
        ]
        .map(Some)
    );
    assert_eq!(campaign.exact(&image), 1);
    let failed = |index| {
        let events = device_events(&campaign, index);
        events
            .iter()
            .any(|event| matches!(event, DeviceEvent::Failed { .. }))
    };
    assert!(failed(0) && failed(1) && !failed(2));
    // Nothing but status was said: all that these two sent answers the updater's questions.
    for index in 0..2 {
        let party = campaign.sim.node(campaign.devices[index].0).unwrap();
        for (_, route, bytes) in &party.host.sent {
            assert_eq!(route.destination, address(1));
            assert!(antiphon_tests::stage::parse(bytes).code().is_response());
        }
    }
}

#[test]
fn without_a_list_of_members_everyone_who_listens_gets_it() {
    let image = small();
    let mut campaign = campaign(14, 5, std::slice::from_ref(&image));
    campaign.impair(0.2, 0.0, 0.0);
    let config = DistributorConfig {
        members: Vec::new(),
        ..campaign.config(&image)
    };
    let updater = campaign.distribute(1, &image, config);
    assert_eq!(campaign.finish(updater), DistributionEnd::Quiet);
    assert_eq!(campaign.exact(&image), 5);
}

#[test]
fn what_is_cancelled_is_forgotten_by_the_devices() {
    let image = image();
    let mut campaign = campaign(15, 3, std::slice::from_ref(&image));
    let config = campaign.config(&image);
    let updater = campaign.distribute(1, &image, config);
    campaign.sim.run_for(Duration::from_secs(10));
    let now = Instant::from_micros(campaign.sim.now().as_micros());
    campaign.with_distributor(updater, |machine| machine.cancel(now));
    assert_eq!(campaign.finish(updater), DistributionEnd::Cancelled);
    campaign.sim.run_for(Duration::from_secs(10));
    for index in 0..3 {
        assert_eq!(campaign.with_device(index, |device| device.image()), None);
    }
    assert_eq!(campaign.exact(&image), 0);
}
