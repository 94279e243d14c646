//! Real files.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::*;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let mut number = [0; 8];
        getrandom::fill(&mut number).unwrap();
        let name = format!("antiphon-store-{:016x}", u64::from_be_bytes(number));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn open(path: &Path) -> Result<Opened, StoreError> {
    Store::open(FileDisk::new(path), key(), Options::default())
}

#[test]
fn a_store_in_a_file() {
    let folder = Folder::new();
    let path = folder.path("state");
    let opened = open(&path).unwrap();
    assert_eq!(opened.continuity, Continuity::Created);
    opened.store.append("name", b"one").unwrap();
    opened.store.append("name", b"two").unwrap();
    drop(opened);
    let opened = open(&path).unwrap();
    assert_eq!(
        opened.continuity,
        Continuity::Crashed {
            same_boot: Some(true),
            process: std::process::id()
        }
    );
    opened.store.compact().unwrap();
    opened.store.append("name", b"three").unwrap();
    opened.store.close().unwrap();
    let opened = open(&path).unwrap();
    assert_eq!(opened.continuity, Continuity::Clean);
    let all = [b"one".as_slice(), b"two", b"three"];
    assert_eq!(of(&opened.records, "name"), all);
    let length = fs::metadata(&path).unwrap().len();
    assert_eq!(opened.store.length().unwrap(), length);
    for name in ["state", "state.witness", "state.lock"] {
        assert_eq!(mode(&folder.path(name)), 0o600, "{name}");
    }
    let mut names: Vec<_> = fs::read_dir(&folder.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["state", "state.lock", "state.witness"]);
}

#[test]
fn a_file_open_to_others_is_closed_to_them() {
    let folder = Folder::new();
    let path = folder.path("state");
    drop(open(&path).unwrap());
    set_mode(&path, 0o644);
    drop(open(&path).unwrap());
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_second_owner_is_told_the_file_and_the_process() {
    let folder = Folder::new();
    let path = folder.path("state");
    let first = open(&path).unwrap();
    let error = open(&path).unwrap_err();
    let expected = format!(
        "{} is in use by another owner (process {})",
        path.display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
    first.store.close().unwrap();
    assert!(open(&path).is_ok());
}

#[test]
fn a_copied_file_and_one_that_was_put_back_are_refused() {
    let folder = Folder::new();
    let path = folder.path("state");
    open(&path).unwrap().store.append("name", b"one").unwrap();
    let copy = folder.path("copy");
    fs::copy(&path, &copy).unwrap();
    fs::copy(folder.path("state.witness"), folder.path("copy.witness")).unwrap();
    let birth = |path: &Path| fs::metadata(path).unwrap().created().ok();
    if birth(&path).is_some() {
        assert_ne!(birth(&path), birth(&copy));
        let error = open(&copy).unwrap_err();
        let expected = Mismatch::Copied;
        assert!(
            matches!(&error, StoreError::NotTheLast { mismatch, .. } if *mismatch == expected),
            "{error}"
        );
    }
    // The one that was copied goes on; moving it does no harm.
    let moved = folder.path("moved");
    fs::rename(&path, &moved).unwrap();
    fs::rename(folder.path("state.witness"), folder.path("moved.witness")).unwrap();
    open(&moved).unwrap().store.append("name", b"two").unwrap();
    fs::copy(&copy, &moved).unwrap();
    let error = open(&moved).unwrap_err();
    let older = |mismatch: &Mismatch| matches!(mismatch, Mismatch::Older { .. });
    assert!(
        matches!(&error, StoreError::NotTheLast { mismatch, .. } if older(mismatch)),
        "{error}"
    );
}

/// Everything in a folder: names, modes, bytes.
fn everything(folder: &Folder) -> Vec<(String, u32, Vec<u8>)> {
    let entries = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap());
    let mut all: Vec<_> = entries
        .map(|entry| {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            let name = entry.file_name().into_string().unwrap();
            (name, mode, fs::read(entry.path()).unwrap())
        })
        .collect();
    all.sort();
    all
}

#[test]
fn looking_changes_nothing_at_all() {
    let folder = Folder::new();
    let path = folder.path("state");
    let look = || Store::examine(FileDisk::new(&path), &key(), Options::default());
    assert!(matches!(look(), Ok((None, Continuity::Created))));
    assert!(everything(&folder).is_empty(), "not even a lock");

    open(&path).unwrap().store.append("name", b"one").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(folder.path("state.lock"), "17").unwrap();
    let before = everything(&folder);
    let (contents, continuity) = look().unwrap();
    assert_eq!(contents.unwrap().records["name"].len(), 1);
    assert!(matches!(continuity, Continuity::Crashed { .. }));
    assert_eq!(everything(&folder), before);
    // Also where nothing can be written, and where nobody has ever locked.
    fs::remove_file(folder.path("state.lock")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let before = everything(&folder);
    assert!(look().unwrap().0.is_some());
    assert_eq!(everything(&folder), before);

    let owner = open(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let owner = owner.or_else(|_| open(&path)).unwrap();
    assert!(
        matches!(look(), Err(StoreError::Locked { owner, .. }) if owner == std::process::id().to_string())
    );
    drop(owner);
}

#[test]
fn whoever_looks_keeps_no_owner_away() {
    let folder = Folder::new();
    let path = folder.path("state");
    open(&path).unwrap().store.append("name", b"one").unwrap();
    let moment = std::time::Duration::from_millis(1);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut looks = 0;
            while looks < 20 {
                match Store::examine(FileDisk::new(&path), &key(), Options::default()) {
                    Ok((Some(_), _)) => looks += 1,
                    Err(StoreError::Locked { .. }) => {}
                    other => panic!("{other:?}"),
                }
                std::thread::sleep(moment);
            }
        });
        while !looking.is_finished() {
            drop(open(&path).unwrap());
            std::thread::sleep(moment);
        }
    });
}

#[test]
fn where_a_store_has_to_be_none_is_made() {
    let folder = Folder::new();
    let path = folder.path("state");
    let existing = || Store::open(FileDisk::new(&path), key(), Options::default().existing());
    assert!(matches!(existing(), Err(StoreError::Missing { .. })));
    assert!(!path.exists());
    open(&path).unwrap().store.append("name", b"one").unwrap();
    assert_eq!(existing().unwrap().records["name"].len(), 1);
    fs::remove_file(&path).unwrap();
    fs::remove_file(folder.path("state.witness")).unwrap();
    assert!(matches!(existing(), Err(StoreError::Missing { .. })));
    let options = Options::default().existing().despite_loss();
    let opened = Store::open(FileDisk::new(&path), key(), options).unwrap();
    assert_eq!(opened.continuity, Continuity::Broken(Mismatch::NoWitness));
}

#[test]
fn the_witness_may_stand_elsewhere() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let path = folder.path("state");
    let disk = || FileDisk::new(&path).witness_at(elsewhere.path("seen"));
    let open = || Store::open(disk(), key(), Options::default());
    open().unwrap().store.append("name", b"one").unwrap();
    assert!(elsewhere.path("seen").exists() && !folder.path("state.witness").exists());
    fs::remove_file(elsewhere.path("seen")).unwrap();
    assert!(matches!(open(), Err(StoreError::NotTheLast { .. })));
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let folder = Folder::new();
    let path = folder.path("state");
    fs::write(&path, "# a configuration file\n").unwrap();
    assert!(matches!(open(&path), Err(StoreError::NotAStore { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"# a configuration file\n");
    fs::remove_file(&path).unwrap();
    symlink(folder.path("elsewhere"), &path).unwrap();
    let error = open(&path).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    let missing = folder.path("no/such/folder");
    let error = open(&missing).unwrap_err();
    assert!(
        matches!(&error, StoreError::Io { doing: "lock", .. }),
        "{error}"
    );
}

#[test]
fn a_key_file_is_made_once_and_for_its_owner_alone() {
    let folder = Folder::new();
    let path = folder.path("key");
    let made = SealKey::load_or_create(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 32);
    let again = SealKey::load_or_create(&path).unwrap();
    let check = |key: &SealKey| key.derive(b"", b"test", b"");
    assert_eq!(check(&made), check(&again));
    assert_eq!(
        check(&made),
        check(&SealKey::new(bytes.try_into().unwrap()))
    );
    assert_ne!(check(&made), check(&key()));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    assert_eq!(format!("{made:?}"), "SealKey(..)");

    set_mode(&path, 0o640);
    let error = SealKey::load(&path).unwrap_err();
    assert!(
        matches!(error, KeyFileError::Exposed { mode: 0o640, .. }),
        "{error}"
    );
    for length in [0, 31, 33, 64] {
        let path = folder.path(&length.to_string());
        fs::write(&path, vec![1; length]).unwrap();
        set_mode(&path, 0o600);
        let error = SealKey::load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Length { .. }), "{error}");
    }
}

#[test]
fn threads_that_make_a_key_file_at_once_get_the_same() {
    let folder = Folder::new();
    let path = folder.path("key");
    let keys: Vec<_> = std::thread::scope(|scope| {
        let made: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| SealKey::load_or_create(&path).unwrap()))
            .collect();
        made.into_iter()
            .map(|key| key.join().unwrap().derive(b"", b"test", b""))
            .collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}

/// Set in the process that runs where it may mount.
const INSIDE: &str = "ANTIPHON_TEST_MOUNT";

#[test]
fn a_full_file_system_loses_nothing() {
    let Some(folder) = std::env::var_os(INSIDE).map(PathBuf::from) else {
        let folder = Folder::new();
        let output = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-ec"])
            .arg("mount -t tmpfs -o size=64k none \"$0\"; exec \"$@\"")
            .arg(&folder.0)
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "store::tests::files::a_full_file_system_loses_nothing",
            ])
            .env(INSIDE, &folder.0)
            .output()
            .expect("unshare (util-linux) can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    };
    let path = folder.join("state");
    let store = open(&path).unwrap().store;
    let mut kept = 0_u8;
    loop {
        match store.append("name", &[kept; 3_000]) {
            Ok(()) => kept += 1,
            Err(StoreError::Full { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!((10..22).contains(&kept), "{kept}");
    assert!(matches!(
        store.append("name", &[kept; 5_000]),
        Err(StoreError::Full { .. })
    ));
    // Written anew it would not fit a second time; the old file stays.
    assert!(matches!(store.compact(), Err(StoreError::Full { .. })));
    drop(store);
    let read = Contents::read(&fs::read(&path).unwrap(), &key()).unwrap();
    let records: Vec<u8> = of(&read.records, "name")
        .iter()
        .map(|record| record[0])
        .collect();
    assert!(records.into_iter().eq(0..kept));
}
