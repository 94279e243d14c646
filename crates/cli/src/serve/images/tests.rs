use antiphon::distribution::{DeviceFailure, ImageId, StorageError};
use ed25519_dalek::{Signer as _, SigningKey};

use super::*;

struct Bytes(&'static [u8]);

impl ReadAt for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let start = offset as usize;
        let found = self.0.get(start..start + into.len());
        into.copy_from_slice(found.ok_or(StorageError::Failed)?);
        Ok(())
    }
}

struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let name = format!("antiphon-images-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn activation(folder: &Temporary, program: &[&str]) -> Activation {
    Activation {
        kind: Some("lamp".to_owned()),
        folder: folder.0.clone(),
        program: program.iter().map(ToString::to_string).collect(),
        timeout: Duration::from_secs(10),
        trusted_key: None,
    }
}

fn lamp(version: u64) -> Announcement {
    let it = Announcement::new(5, 64, [1; 32]).unwrap();
    it.with_kind("lamp").unwrap().with_version(version)
}

const ANYONE: Sender = Sender::Unauthenticated;

#[test]
fn an_image_for_others_an_older_one_and_an_unsigned_one_are_refused() {
    let folder = Temporary::new("refused");
    let mut it = activation(&folder, &[]);
    let other = lamp(1).with_kind("pump").unwrap();
    assert_eq!(it.accept(&other, &ANYONE), Err(Refusal::Kind));
    assert_eq!(it.accept(&lamp(3), &ANYONE), Ok(()));
    it.activate(&lamp(3), &mut Bytes(b"image")).unwrap();
    assert_eq!(it.accept(&lamp(2), &ANYONE), Err(Refusal::Version));
    assert_eq!(it.accept(&lamp(3), &ANYONE), Ok(()));
    it.kind = None;
    assert_eq!(it.accept(&other.with_version(3), &ANYONE), Ok(()));

    let key = SigningKey::from_bytes(&[7; 32]);
    it.trusted_key = Some(key.verifying_key());
    let signed = |key: &SigningKey, part: &[u8]| {
        let signature = key.sign(part).to_bytes();
        lamp(4).with_signature(&signature).unwrap()
    };
    let part = lamp(4).signed_part();
    assert_eq!(it.accept(&signed(&key, &part), &ANYONE), Ok(()));
    let stranger = SigningKey::from_bytes(&[8; 32]);
    for wrong in [
        lamp(4),
        signed(&stranger, &part),
        signed(&key, &lamp(5).signed_part()),
        lamp(4).with_signature(&[0; 63]).unwrap(),
    ] {
        assert_eq!(it.accept(&wrong, &ANYONE), Err(Refusal::Signature));
    }
}

#[test]
fn the_program_gets_the_image_and_its_exit_code_is_the_result() {
    let folder = Temporary::new("activated");
    let image = folder.0.join("image");
    let script = "test \"$ANTIPHON_IMAGE_VERSION\" = 9 && cp \"$0\" \"$0.used\"";
    let mut it = activation(&folder, &["sh", "-c", script]);
    it.activate(&lamp(9), &mut Bytes(b"image")).unwrap();
    assert_eq!(std::fs::read(&image).unwrap(), b"image");
    assert_eq!(
        std::fs::read(folder.0.join("image.used")).unwrap(),
        b"image"
    );
    assert_eq!(it.version(), 9);
    let failed = it.activate(&lamp(10), &mut Bytes(b"other"));
    assert!(failed.unwrap_err().to_string().contains("exit status: 1"));
    assert_eq!(it.version(), 9, "the old one is in use");

    let mut missing = activation(&folder, &["/no/such/program"]);
    assert!(missing.activate(&lamp(9), &mut Bytes(b"image")).is_err());
    let mut slow = activation(&folder, &["sleep", "60"]);
    slow.program = vec!["sh".into(), "-c".into(), "sleep 60".into()];
    slow.timeout = Duration::from_millis(50);
    let failed = slow.activate(&lamp(9), &mut Bytes(b"image")).unwrap_err();
    assert!(failed.to_string().contains("in time"), "{failed}");
}

#[test]
fn what_happens_is_told_in_lines_and_progress_in_tenths() {
    let id = ImageId([0xab; 8]);
    let mut text = Telling::new("/fw".to_owned(), false);
    let mut line = |event: &DeviceEvent| text.line(event);
    let accepted = DeviceEvent::Accepted {
        id,
        name: "lamp-1.4".to_owned(),
        from: "192.0.2.1:5683".parse().unwrap(),
    };
    assert_eq!(
        line(&accepted).unwrap(),
        "image abababababababab at /fw: accepted from 192.0.2.1:5683: lamp-1.4"
    );
    let shown: Vec<u32> = (0..=100)
        .filter(|have| {
            let (have, total) = (*have, 100);
            line(&DeviceEvent::Progress { id, have, total }).is_some()
        })
        .collect();
    assert_eq!(shown, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    let failed = DeviceEvent::Failed {
        id,
        why: DeviceFailure::Refused(Refusal::Kind),
    };
    assert_eq!(
        line(&failed).unwrap(),
        "image abababababababab at /fw: failed: it is for another kind of device"
    );
    let mut json = Telling::new("/fw".to_owned(), true);
    assert_eq!(
        json.line(&DeviceEvent::Activated(id)).unwrap(),
        r#"{"event":"image","path":"/fw","id":"abababababababab","change":"activated","text":"activated"}"#
    );
}
