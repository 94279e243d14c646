//! Writes the listed samples to `corpus/<target>/<name>`; other files there stay.

use std::fs;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, samples) in antiphon_fuzz::corpus::all() {
        let folder = root.join(target);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in samples {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
