//! A device takes an image: multicast blocks, unicast repair, activation; the test plays the distributor.

use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use antiphon::distribution::{
    ActivationError, Announcement, DeviceEvent, DeviceState, DeviceStatus, FileStorage,
    ImageDevice, Installation, ReadAt, Refusal,
};
use antiphon::proto::distribution::{Notice, block_request, notice_request};
use antiphon::{
    Access, Client, Code, ContentFormat, Membership, NoSec, Request, Resource, Running, Sender,
    Transmission,
};

use sha2::{Digest as _, Sha256};

use crate::place::{PATIENCE, Place};

/// The application of a device: what is in use.
#[derive(Clone, Default)]
struct Lamp(Arc<Mutex<Vec<u8>>>);

impl Installation for Lamp {
    fn accept(&mut self, it: &Announcement, _: &Sender) -> Result<(), Refusal> {
        match it.kind() {
            "lamp" => Ok(()),
            _ => Err(Refusal::Kind),
        }
    }

    fn activate(
        &mut self,
        _: &Announcement,
        image: &mut dyn ReadAt,
    ) -> Result<(), ActivationError> {
        let mut bytes = vec![0; image.size() as usize];
        image.read_at(0, &mut bytes).unwrap();
        *self.0.lock().unwrap() = bytes;
        Ok(())
    }
}

/// An image for lamps, with the digests of its blocks.
struct Image {
    announcement: Announcement,
    content: Vec<u8>,
    image: Vec<u8>,
}

impl Image {
    fn new(size: u32, kind: &str) -> Self {
        let image: Vec<u8> = (0..size).map(|n| (n / 3) as u8 ^ (n % 251) as u8).collect();
        let sha = |bytes: &[u8]| -> [u8; 32] { Sha256::digest(bytes).into() };
        let list: Vec<u8> = image.chunks(256).flat_map(sha).collect();
        let announcement = Announcement::new(size, 256, sha(&image))
            .and_then(|it| it.with_list(1, sha(&list)))
            .and_then(|it| it.with_kind(kind))
            .unwrap();
        Self {
            announcement,
            content: [&list[..], &image].concat(),
            image,
        }
    }

    fn block(&self, block: u32) -> Vec<u8> {
        let start = self.announcement.block_offset(block).unwrap() as usize;
        self.content[start..start + self.announcement.block_length(block).unwrap()].to_vec()
    }
}

/// A distributor at the ninth address: it answers requests for repair, and counts them.
struct Distributor {
    running: Running,
    client: Client,
    asked: Arc<Mutex<Vec<u32>>>,
    group: String,
}

impl Distributor {
    async fn new(place: &Place, image: &Arc<Image>) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (counted, of) = (Arc::clone(&asked), Arc::clone(image));
        let blocks = Resource::at(&format!("/up/fw/{}", image.announcement.id()))
            .access(Access::Unsecured)
            .get(move |incoming, response| {
                let query = incoming.query().next().unwrap();
                let number = core::str::from_utf8(&query[2..]).unwrap().parse().unwrap();
                counted.lock().unwrap().push(number);
                response.payload = of.block(number);
            });
        let running = place
            .server(9)
            .resource(blocks)
            .build()
            .await
            .unwrap()
            .spawn();
        let client = running.client();
        let mut transmission = Transmission::default();
        transmission.set_probing_rate(10_000_000).unwrap();
        client.set_transmission(transmission).await.unwrap();
        Self {
            client,
            running,
            asked,
            group: place.group_uri(1, ""),
        }
    }

    /// To the group, without an answer.
    async fn tell(&self, request: Request) {
        let call = self.client.notify(&self.group).unwrap().request(request);
        let sent = call.unsecured(NoSec::Accepted).send().await.unwrap();
        sent.finish().await.unwrap();
    }

    async fn notice(&self, notice: &Notice) {
        self.tell(notice_request("up/fw", notice)).await;
    }

    async fn blocks(&self, image: &Image, blocks: impl IntoIterator<Item = u32>) {
        for block in blocks {
            let id = image.announcement.id();
            self.tell(block_request("up/fw", id, block, image.block(block)))
                .await;
        }
    }

    /// How far the device is, once it has read what it noted.
    async fn status(&self, place: &Place, member: u8) -> DeviceStatus {
        let uri = place.member_uri(member, "/up/fw");
        loop {
            let call = self.client.one(&uri).unwrap().unsecured(NoSec::Accepted);
            let response = call.send().await.unwrap().response;
            if response.code == Code::CONTENT {
                return DeviceStatus::decode(&response.payload).unwrap();
            }
            assert_eq!(response.code, Code::SERVICE_UNAVAILABLE);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the device is in this state.
    async fn until(&self, place: &Place, member: u8, state: DeviceState) -> DeviceStatus {
        let waiting = async {
            loop {
                let status = self.status(place, member).await;
                if status.state == state {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap()
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(place: &Place) -> Self {
        let name = format!("antiphon-images-{}-{}", std::process::id(), place.port());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A lamp that takes images from anyone.
async fn lamp(
    place: &Place,
    folder: &Folder,
    lamp: &Lamp,
    events: &Arc<Mutex<Vec<DeviceEvent>>>,
) -> (Running, tokio::task::JoinHandle<()>) {
    let events = Arc::clone(events);
    // the lock of an earlier one is free when its task is gone
    let storage = loop {
        match FileStorage::open(&folder.0) {
            Ok(storage) => break storage,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let device = ImageDevice::new("/up/fw", storage, lamp.clone())
        .unsecured(NoSec::Accepted)
        .on_event(move |event| events.lock().unwrap().push(event.clone()))
        .open()
        .unwrap();
    let server = place
        .server(1)
        .join(Membership::new(place.group(1)).unsecured())
        .resource(device.resource())
        .build()
        .await
        .unwrap();
    let task = tokio::spawn(device.run(&server));
    (server.spawn(), task)
}

#[tokio::test]
async fn an_image_comes_by_multicast_and_what_got_lost_by_unicast() {
    let place = Place::new();
    let folder = Folder::new(&place);
    let image = Arc::new(Image::new(40_000, "lamp"));
    let (application, events) = (Lamp::default(), Arc::default());
    let (running, task) = lamp(&place, &folder, &application, &events).await;
    let distributor = Distributor::new(&place, &image).await;
    let blocks = image.announcement.blocks();
    let announced = Notice::Announced(image.announcement.clone());
    distributor.until(&place, 1, DeviceState::Idle).await;
    distributor.notice(&announced).await;
    let receiving = distributor.until(&place, 1, DeviceState::Receiving).await;
    assert_eq!((receiving.have, receiving.total), (0, blocks));
    // the resource of the blocks is there a moment later
    let first = distributor.blocks(&image, [0]);
    tokio::time::timeout(PATIENCE, first).await.unwrap();
    distributor
        .blocks(&image, (0..blocks).filter(|n| n % 5 != 4))
        .await;
    let id = image.announcement.id();
    let end = Notice::EndOfPass {
        id,
        pass: 0,
        window: 1,
    };
    distributor.notice(&end).await;
    let done = distributor.until(&place, 1, DeviceState::Activated).await;
    assert_eq!((done.code, done.have), (Some(Code::CHANGED), blocks));
    assert_eq!(*application.0.lock().unwrap(), image.image);
    let asked = distributor.asked.lock().unwrap().clone();
    assert!(asked.len() >= (blocks / 5) as usize, "{asked:?}");
    assert!(
        (0..blocks)
            .filter(|n| n % 5 == 4)
            .all(|n| asked.contains(&n))
    );
    let events = events.lock().unwrap().clone();
    assert_eq!(events.last(), Some(&DeviceEvent::Activated(id)));
    distributor.running.stop().await;
    running.stop().await;
    tokio::time::timeout(PATIENCE, task)
        .await
        .expect("it ends with its server")
        .unwrap();
}

#[tokio::test]
async fn a_device_that_is_started_again_goes_on_where_it_was() {
    let place = Place::new();
    let folder = Folder::new(&place);
    let image = Arc::new(Image::new(60_000, "lamp"));
    let (application, events) = (Lamp::default(), Arc::default());
    let (running, task) = lamp(&place, &folder, &application, &events).await;
    let distributor = Distributor::new(&place, &image).await;
    let blocks = image.announcement.blocks();
    let announced = Notice::Announced(image.announcement.clone());
    distributor.until(&place, 1, DeviceState::Idle).await;
    distributor.notice(&announced).await;
    distributor.until(&place, 1, DeviceState::Receiving).await;
    let half = async {
        while distributor.status(&place, 1).await.have < 128 {
            distributor.blocks(&image, 0..128).await;
        }
    };
    tokio::time::timeout(PATIENCE, half).await.unwrap();
    running.stop().await;
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    let (running, _task) = lamp(&place, &folder, &application, &events).await;
    let restored = distributor.until(&place, 1, DeviceState::Receiving).await;
    assert!(restored.have >= 64, "{restored:?}");
    distributor.notice(&announced).await;
    let id = image.announcement.id();
    let end = Notice::EndOfPass {
        id,
        pass: 0,
        window: 1,
    };
    let done = async {
        while distributor.status(&place, 1).await.state != DeviceState::Activated {
            distributor.notice(&end).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.unwrap();
    assert_eq!(*application.0.lock().unwrap(), image.image);
    let asked = distributor.asked.lock().unwrap().len();
    assert!(
        asked as u32 <= blocks - restored.have,
        "only what was missing: {asked}"
    );
    running.stop().await;
}

#[tokio::test]
async fn an_image_for_others_is_refused() {
    let place = Place::new();
    let folder = Folder::new(&place);
    let image = Arc::new(Image::new(1_000, "pump"));
    let (application, events) = (Lamp::default(), Arc::default());
    let (running, _task) = lamp(&place, &folder, &application, &events).await;
    let distributor = Distributor::new(&place, &image).await;
    distributor.until(&place, 1, DeviceState::Idle).await;
    let announced = Notice::Announced(image.announcement.clone());
    distributor.notice(&announced).await;
    let refused = distributor.until(&place, 1, DeviceState::Failed).await;
    assert_eq!(refused.code, Some(Code::NOT_ACCEPTABLE));
    // to the device alone: what is no notice is said to be none
    let uri = place.member_uri(1, "/up/fw");
    let call = distributor
        .client
        .one(&uri)
        .unwrap()
        .post(ContentFormat::CBOR, [0xff]);
    let reply = call.unsecured(NoSec::Accepted).send().await.unwrap();
    assert_eq!(reply.response.code, Code::BAD_REQUEST);
    running.stop().await;
}
