//! One image to a group of devices, both sides on real sockets: everything protected, and without protection.

use std::sync::{Arc, Mutex};

use antiphon::distribution::{
    ActivationError, Announcement, Distribute, DistributionEnd, FileStorage, ImageDevice,
    Installation, ReadAt, Refusal,
};
use antiphon::{Access, Identity, Sender};
use tokio::time::timeout;

use super::*;

/// What a device has in use, and by whom it was brought.
#[derive(Clone, Default)]
struct InUse(Arc<Mutex<(Vec<u8>, Vec<Sender>)>>);

impl Installation for InUse {
    fn accept(&mut self, _: &Announcement, from: &Sender) -> Result<(), Refusal> {
        self.0.lock().unwrap().1.push(from.clone());
        Ok(())
    }

    fn activate(
        &mut self,
        _: &Announcement,
        image: &mut dyn ReadAt,
    ) -> Result<(), ActivationError> {
        let mut bytes = vec![0; usize::try_from(image.size()).unwrap()];
        image.read_at(0, &mut bytes).unwrap();
        self.0.lock().unwrap().0 = bytes;
        Ok(())
    }
}

fn image(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 128 * 11 + at) as u8).collect()
}

struct Lamp {
    _running: Running,
    in_use: InUse,
}

/// The n-th device; without a group it takes images from anyone.
async fn lamp(place: &Place, n: u8, group: Option<&SecurityGroup>) -> Lamp {
    let in_use = InUse::default();
    let storage = FileStorage::open(place.folder.join(format!("lamp-{n}"))).unwrap();
    let device = ImageDevice::new("/fw", storage, in_use.clone());
    let device = match group {
        Some(group) => device.secure(group),
        None => device.unsecured(NoSec::Accepted),
    };
    let device = device.open().unwrap();
    let membership = Membership::new(place.group());
    let server = Server::builder()
        .endpoint(quick())
        .unicast(place.address(n))
        .interface("lo")
        .resource(device.resource());
    let server = match group {
        Some(group) => server.join(membership.secure(group)),
        None => server
            .unsecured(NoSec::Accepted)
            .join(membership.unsecured()),
    };
    let server = server.build().await.unwrap();
    tokio::spawn(device.run(&server));
    Lamp {
        _running: server.spawn(),
        in_use,
    }
}

fn distribute(place: &Place, image: Vec<u8>, lamps: u8) -> Distribute {
    Distribute::new(&format!("coap://{}/fw", place.group()), image)
        .interface("lo")
        .bind("127.0.0.1:0".parse().unwrap())
        .block_size(256)
        .rate(200_000)
        .members((1..=lamps).map(|n| place.address(n)))
        .parameters(|config| {
            config.announce_gap = Duration::from_millis(100);
            config.window = Duration::from_secs(1);
            config.deadline = Some(Duration::from_secs(60));
        })
}

#[tokio::test]
async fn an_image_is_brought_under_the_protection_of_the_group() {
    let place = Place::new();
    let mut lamps = Vec::new();
    for n in 1..=2 {
        let group = lights(n, 2).volatile().unwrap();
        lamps.push(lamp(&place, n, Some(&group)).await);
    }
    let bytes = image(20_000);
    // Somebody without keys says the same: nobody listens.
    let stranger = distribute(&place, image(9_000), 0)
        .parameters(|config| config.deadline = Some(Duration::from_secs(2)))
        .unsecured(NoSec::Accepted);
    let stranger = stranger.prepare().await.unwrap().start().await.unwrap();
    let ended = timeout(PATIENCE, stranger.finish()).await.unwrap().unwrap();
    assert_eq!(ended.end, Some(DistributionEnd::Deadline));
    assert_eq!(ended.progress.repairs, 0);
    for lamp in &lamps {
        assert_eq!(lamp.in_use.0.lock().unwrap().1, []);
    }

    let group = lights(CLIENT, 2).volatile().unwrap();
    let prepared = distribute(&place, bytes.clone(), 2).secure(&group);
    let prepared = prepared.prepare().await.unwrap();
    assert!(prepared.config().protection > 0);
    let distribution = prepared.start().await.unwrap();
    let done = timeout(PATIENCE * 4, distribution.finish());
    let done = done.await.unwrap().unwrap();
    assert!(done.all_activated, "{done:?}");
    let updater = Sender::Proven(Identity::member("lights", &credential(CLIENT)));
    for lamp in &lamps {
        let (in_use, from) = lamp.in_use.0.lock().unwrap().clone();
        assert_eq!(in_use, bytes);
        assert_eq!(
            from,
            std::slice::from_ref(&updater),
            "who brought it is proven"
        );
    }
}

#[tokio::test]
async fn two_halves_on_real_sockets_without_protection() {
    let place = Place::new();
    let bytes = image(30_000);
    let mut lamps = Vec::new();
    for n in 1..=3 {
        lamps.push(lamp(&place, n, None).await);
    }
    let distribution = distribute(&place, bytes.clone(), 3).unsecured(NoSec::Accepted);
    let distribution = distribution.prepare().await.unwrap().start().await.unwrap();
    // Stopped in the middle, and begun again from another port.
    tokio::time::sleep(Duration::from_millis(350)).await;
    distribution.stop();
    let stopped = timeout(PATIENCE, distribution.finish())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stopped.end, None);
    assert!(!stopped.all_activated);
    let again = distribute(&place, bytes.clone(), 3).unsecured(NoSec::Accepted);
    let again = again.prepare().await.unwrap().start().await.unwrap();
    let done = timeout(PATIENCE * 4, again.finish())
        .await
        .unwrap()
        .unwrap();
    assert!(done.all_activated, "{done:?}");
    for lamp in &lamps {
        assert_eq!(lamp.in_use.0.lock().unwrap().0, bytes);
    }
}

#[tokio::test]
async fn devices_take_images_from_whom_they_are_told_to_alone() {
    let place = Place::new();
    let group = lights(1, 3).volatile().unwrap();
    let in_use = InUse::default();
    let storage = FileStorage::open(place.folder.join("lamp")).unwrap();
    let updater = Identity::member("lights", &credential(2));
    let device = ImageDevice::new("/fw", storage, in_use.clone())
        .secure(&group)
        .access(Access::only([updater]))
        .open()
        .unwrap();
    let server = Server::builder()
        .endpoint(quick())
        .unicast(place.address(1))
        .interface("lo")
        .resource(device.resource())
        .join(Membership::new(place.group()).secure(&group));
    let server = server.build().await.unwrap();
    tokio::spawn(device.run(&server));
    let _running = server.spawn();
    for (me, taken) in [(3, false), (2, true)] {
        let group = lights(me, 3).volatile().unwrap();
        let bytes = image(3_000 + usize::from(me));
        let seconds = if taken { 60 } else { 4 };
        let prepared = distribute(&place, bytes.clone(), 1)
            .parameters(move |config| config.deadline = Some(Duration::from_secs(seconds)))
            .secure(&group);
        let distribution = prepared.prepare().await.unwrap().start().await.unwrap();
        let done = timeout(PATIENCE * 4, distribution.finish());
        let done = done.await.unwrap().unwrap();
        assert_eq!(done.all_activated, taken, "{done:?}");
        assert_eq!(in_use.0.lock().unwrap().0 == bytes, taken);
    }
}
