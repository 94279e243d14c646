//! Where programs of a test keep their files.

use std::fs;
use std::path::PathBuf;

use antiphon_tests::{ours, scratch};

/// A folder that vanishes with this.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        let folder = scratch("lab");
        fs::create_dir(&folder).expect("the temporary folder can be written");
        Self(folder)
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    /// Runs `antiphon oscore ...` to its end, in the folder.
    pub(super) fn oscore(&self, words: &[&str]) {
        let mut command = std::process::Command::new(ours::program());
        let output = command
            .arg("oscore")
            .args(words)
            .current_dir(&self.0)
            .output();
        let output = output.expect("it was built");
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    /// The keys of the group `lights` for these members: `lights/MEMBER.toml`.
    pub(super) fn new_group(&self, members: &[&str]) {
        let named: Vec<&str> = members.iter().flat_map(|name| ["--member", name]).collect();
        let new = ["new-group", "lights", "--out", "lights"];
        self.oscore(&[&new, &named[..]].concat());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
