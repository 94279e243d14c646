//! What a failing test leaves behind: the seed, the last events, and on request a capture.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use crate::trace::Trace;

/// The seed in the environment variable `NETSIM_SEED`, or `default`: how a test with changing seeds is made to run once
/// more with the one that was printed.
///
/// # Panics
/// If the variable is set to anything but a number.
pub fn seed_from_env(default: u64) -> u64 {
    parse_seed(env::var_os("NETSIM_SEED").as_deref(), default)
}

fn parse_seed(variable: Option<&OsStr>, default: u64) -> u64 {
    match variable {
        None => default,
        Some(text) => text
            .to_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("NETSIM_SEED is {text:?}, which is no number")),
    }
}

/// The text that a failing test prints. If the environment names a folder in `NETSIM_PCAP`, the datagrams that the trace
/// still holds are written there, too.
pub(crate) fn report(seed: u64, trace: &Trace, lines: usize) -> String {
    let folder = env::var_os("NETSIM_PCAP").map(PathBuf::from);
    let mut text = trace.report(seed, lines);
    if let Some(folder) = folder {
        text += &match save(seed, trace, &folder) {
            Ok(path) => format!("netsim: datagrams in {}\n", path.display()),
            Err(error) => format!("netsim: no capture in {}: {error}\n", folder.display()),
        };
    }
    text
}

fn save(seed: u64, trace: &Trace, folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join(format!("netsim-{seed}.pcap"));
    trace.write_pcap(BufWriter::new(File::create(&path)?))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_the_one_in_the_environment_or_the_default() {
        assert_eq!(parse_seed(None, 7), 7);
        assert_eq!(parse_seed(Some(OsStr::new("12")), 7), 12);
    }

    #[test]
    #[should_panic(expected = "which is no number")]
    fn a_seed_that_is_no_number_is_a_mistake() {
        parse_seed(Some(OsStr::new("0x12")), 7);
    }
}
