//! One image to a group: the sender on real sockets, against devices that are written down step by step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use antiphon::distribution::{
    AnnouncementError, DeviceState, Distribute, DistributeError, DistributionEnd,
    DistributionPhase, DistributorEvent, ImageId,
};
use antiphon::proto::distribution::{
    BlockSet, Command, DeviceStatus, MissingBlocks, Notice, repair_request,
};
use antiphon::{
    Access, AskError, Code, ContentFormat, GroupPolicy, Incoming, Membership, NoSec, Resource,
    Response, Running,
};
use tokio::time::timeout;

use crate::place::{PATIENCE, Place};

fn image(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 256 * 5 + at) as u8).collect()
}

/// What a device has heard.
#[derive(Default)]
struct Heard {
    announcements: usize,
    blocks: BTreeMap<u32, Vec<u8>>,
    end: Option<u16>,
    total: u32,
    source: Option<core::net::SocketAddr>,
    /// Blocks that do not reach it.
    deaf_to: Vec<u32>,
    block1: usize,
}

/// A device that stores blocks; its image is at work when all are there.
async fn device(
    place: &Place,
    n: u8,
    id: ImageId,
    deaf_to: &[u32],
) -> (Running, Arc<Mutex<Heard>>) {
    let heard = Arc::new(Mutex::new(Heard {
        deaf_to: deaf_to.to_vec(),
        ..Heard::default()
    }));
    let hears = |heard: &Arc<Mutex<Heard>>| {
        let heard = Arc::clone(heard);
        move |request: &Incoming<'_>, _: &mut Response| {
            let mut heard = heard.lock().unwrap();
            let block1 = request.message.options_of(antiphon::OptionNumber::BLOCK1);
            heard.block1 += block1.count();
            match Command::of_message("fw", request.message) {
                Command::Notice(Ok(Notice::Announced(announcement))) => {
                    heard.announcements += 1;
                    heard.total = announcement.blocks();
                    heard.source = Some(request.arrival.path.peer);
                }
                Command::Notice(Ok(Notice::EndOfPass { window, .. })) => heard.end = Some(window),
                Command::Block { block, bytes, .. } if !heard.deaf_to.contains(&block) => {
                    heard.blocks.insert(block, bytes.to_vec());
                }
                _ => {}
            }
        }
    };
    let says = Arc::clone(&heard);
    let status = move |_: &Incoming<'_>, response: &mut Response| {
        let heard = says.lock().unwrap();
        let have = u32::try_from(heard.blocks.len()).unwrap();
        let done = have == heard.total && have > 0;
        let status = DeviceStatus {
            id: Some(id).filter(|_| heard.announcements > 0),
            state: match (done, heard.announcements) {
                (true, _) => DeviceState::Activated,
                (false, 0) => DeviceState::Idle,
                (false, _) => DeviceState::Receiving,
            },
            code: done.then_some(Code::CHANGED),
            have,
            total: heard.total,
            missing: (!done && heard.total > 0).then(|| {
                let mut there = BlockSet::new(heard.total);
                for block in heard.blocks.keys() {
                    there.insert(*block);
                }
                MissingBlocks::of(&there)
            }),
        };
        response.set_payload(ContentFormat::CBOR, &status.encode());
    };
    let quiet = || GroupPolicy::respond();
    let base = Resource::at("/fw").post(hears(&heard)).get(status);
    let blocks = Resource::at(&format!("/fw/{id}")).put(hears(&heard));
    let server = place
        .server(n)
        .join(Membership::new(place.group(1)).unsecured())
        .resource(base.access(Access::Unsecured).group_policy(quiet()))
        .resource(blocks.access(Access::Unsecured).group_policy(quiet()))
        .build()
        .await
        .unwrap();
    (server.spawn(), heard)
}

fn distribute(place: &Place, image: Vec<u8>) -> Distribute {
    Distribute::new(&place.group_uri(1, "/fw"), image)
        .interface("lo")
        .bind("127.0.0.1:0".parse().unwrap())
        .block_size(64)
        .rate(200_000)
        .parameters(|config| {
            config.announce_gap = core::time::Duration::from_millis(20);
            config.window = core::time::Duration::from_secs(1);
            config.passes = 1;
        })
}

#[tokio::test]
async fn an_image_reaches_its_devices_over_real_sockets() {
    let place = Place::new();
    let bytes = image(10_000);
    let prepared = distribute(&place, bytes.clone())
        .members([place.member(1), place.member(2)])
        .unsecured(NoSec::Accepted)
        .prepare()
        .await
        .unwrap();
    let announcement = prepared.announcement().clone();
    assert_eq!(prepared.config().overhead, 28, "IPv4");
    assert_eq!(prepared.config().protection, 0);
    let (_one, first) = device(&place, 1, announcement.id(), &[]).await;
    let (two, second) = device(&place, 2, announcement.id(), &[3, 100]).await;
    let mut distribution = prepared.start().await.unwrap();

    // Device 2 asks for what it lacks when the end is told.
    let client = two.client();
    let ended = async {
        while second.lock().unwrap().end != Some(1) {
            tokio::time::sleep(core::time::Duration::from_millis(10)).await;
        }
        let source = second.lock().unwrap().source.unwrap();
        for block in [3, 100] {
            let request = repair_request("fw", announcement.id(), block);
            let call = client.one(&format!("coap://{source}")).unwrap();
            let call = call.request(request).unsecured(NoSec::Accepted);
            let reply = call.timeout(PATIENCE).send().await.unwrap();
            assert_eq!(reply.response.code, Code::CONTENT);
            let mut heard = second.lock().unwrap();
            heard.blocks.insert(block, reply.response.payload);
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
    let mut events = Vec::new();
    let last = async {
        while let Some(event) = distribution.next().await {
            events.push(event);
        }
    };
    timeout(PATIENCE * 3, last).await.unwrap();
    assert_eq!(
        distribution.progress().phase,
        DistributionPhase::Over(DistributionEnd::AllFinal)
    );
    let done = distribution.finish().await.unwrap();
    assert_eq!(done.end, Some(DistributionEnd::AllFinal));
    assert!(done.all_activated);
    assert_eq!(done.progress.repairs, 2);
    let repairs: Vec<_> = done.devices.iter().map(|device| device.repairs).collect();
    assert_eq!(repairs, [0, 2]);
    assert!(
        events.contains(&DistributorEvent::PassEnded { pass: 1 }),
        "{events:?}"
    );
    assert!(events.contains(&DistributorEvent::Ended(DistributionEnd::AllFinal)));

    for heard in [first, second] {
        let heard = heard.lock().unwrap();
        assert!(heard.announcements >= 3, "{}", heard.announcements);
        assert_eq!(heard.block1, 0);
        let content: Vec<u8> = heard.blocks.values().flatten().copied().collect();
        let list = usize::try_from(announcement.list_size()).unwrap();
        assert_eq!(content[list..], bytes);
    }
}

#[tokio::test]
async fn a_distribution_that_is_stopped_goes_on_where_it_was() {
    let place = Place::new();
    let prepared = || async {
        let members = [place.member(1)];
        let distribute = distribute(&place, image(40_000))
            .members(members)
            .rate(40_000);
        distribute
            .unsecured(NoSec::Accepted)
            .prepare()
            .await
            .unwrap()
    };
    let first = prepared().await;
    let (_device, heard) = device(&place, 1, first.announcement().id(), &[]).await;
    let first = first.start().await.unwrap();
    let some = async {
        while heard.lock().unwrap().blocks.len() < 100 {
            tokio::time::sleep(core::time::Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, some).await.unwrap();
    first.stop();
    let stopped = first.finish().await.unwrap();
    assert_eq!(stopped.end, None);
    assert!(!stopped.all_activated);
    assert!(stopped.progress.block_datagrams < 645);
    assert!(heard.lock().unwrap().blocks.len() < 645);

    let done = timeout(
        PATIENCE * 3,
        prepared().await.start().await.unwrap().finish(),
    );
    let done = done.await.unwrap().unwrap();
    assert_eq!(done.end, Some(DistributionEnd::AllFinal));
    assert!(done.all_activated);
    assert_eq!(heard.lock().unwrap().blocks.len(), 645);
}

#[tokio::test]
async fn what_cannot_be_distributed_is_refused_before_anything_is_sent() {
    let place = Place::new();
    let refused = async |distribute: Distribute| distribute.prepare().await.err().unwrap();
    let not_stated = refused(distribute(&place, image(10))).await;
    assert!(matches!(
        not_stated,
        DistributeError::Ask(AskError::SecurityNotStated)
    ));
    let empty = distribute(&place, Vec::new()).unsecured(NoSec::Accepted);
    assert!(matches!(
        refused(empty).await,
        DistributeError::Announcement(AnnouncementError::Size)
    ));
    let rate = distribute(&place, image(10))
        .rate(0)
        .unsecured(NoSec::Accepted);
    assert!(matches!(refused(rate).await, DistributeError::Parameter(_)));
    for bad in [
        "coap://10.0.0.1/fw",
        "coap://224.0.1.187/fw?x",
        "coap://224.0.1.187/f%2Fw",
    ] {
        let bad = Distribute::new(bad, image(10)).unsecured(NoSec::Accepted);
        let error = refused(bad).await;
        assert!(
            matches!(error, DistributeError::Uri(_) | DistributeError::Path(_)),
            "{error}"
        );
    }
    let unsigned = distribute(&place, image(10))
        .sign_with(|_| Err("no key".into()))
        .unsecured(NoSec::Accepted);
    assert_eq!(
        refused(unsigned).await.to_string(),
        "the announcement cannot be signed: no key"
    );
}

#[tokio::test]
async fn what_is_announced_is_what_was_said() {
    let place = Place::new();
    let prepared = distribute(&place, image(5_000))
        .name("lamp-1.4")
        .kind("lamp")
        .version(14)
        .manifest([1, 2, 3])
        .sign_with(|part| Ok(part[..4].to_vec()))
        .unsecured(NoSec::Accepted)
        .prepare()
        .await
        .unwrap();
    let announcement = prepared.announcement();
    assert_eq!(
        (announcement.name(), announcement.kind()),
        ("lamp-1.4", "lamp")
    );
    assert_eq!(announcement.version(), 14);
    assert_eq!(announcement.manifest(), Some([1, 2, 3].as_slice()));
    assert_eq!(
        announcement.signature(),
        Some(&announcement.signed_part()[..4])
    );
    assert_eq!(
        (announcement.size(), announcement.block_size()),
        (5_000, 64)
    );
    assert_eq!(prepared.config().path, "fw");
    let estimate = prepared.estimate();
    assert_eq!(estimate.datagrams, 3 + 79 + 3 + 1);
}
