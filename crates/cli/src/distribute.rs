//! `antiphon distribute`: one image to a whole group.

mod show;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon::NoSec;
use antiphon::distribution::{
    Distribute, DistributeError, Distributed, Distribution, LinkProfile, PreparedDistribution,
};
use antiphon_oscore::crypto::Curve;
use clap::Args;
use ed25519_dalek::{Signer as _, SigningKey};

use crate::failure::Failure;
use crate::members::{self, Member};
use crate::request::endpoint_address;
use crate::secured::{Keys, Protection};
use crate::terminal::quoted;
use crate::{duration, exit, preconfigured, secret_file, terminal};
use show::Screen;

/// What to distribute, to whom, and how fast.
#[derive(Debug, Args)]
pub(crate) struct DistributeArgs {
    /// The image: a file of 1 byte to 4 GiB
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// The group and the path at which its devices take images, such as coap://[ff05::fd]/fw
    #[arg(value_name = "URI")]
    uri: String,

    #[command(flatten)]
    protection: Protection,

    /// The devices that are to get it: one a line, `name address`, or TOML. Without, nobody is asked how far it is
    #[arg(short, long, value_name = "FILE", help_heading = "Whom")]
    members: Option<PathBuf>,

    /// Another device: an address, or NAME=ADDRESS; repeatable
    #[arg(short, long, value_name = "MEMBER", value_parser = members::from_argument, help_heading = "Whom")]
    expect: Vec<Member>,

    /// Send by this interface (name or number)
    #[arg(short, long, value_name = "INTERFACE", help_heading = "Whom")]
    interface: Option<String>,

    /// Send from this local address and port, where devices ask for what they lack; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Whom")]
    bind: Option<SocketAddr>,

    /// How many routers multicast may pass, 1 for none
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..), help_heading = "Whom")]
    hops: u8,

    /// Bytes a second to the group, headers counted: what you know that the network carries, such as 640, 20k, 1M
    /// [default: that of the link]
    ///
    /// It is your statement of what the network carries with everything else that uses it, and overrides what RFC 7252 permits
    /// where nothing is known: PROBING_RATE, 1 byte a second (section 4.7; groupcomm-bis section 3.6). So does --link.
    #[arg(long, value_name = "BYTES/S", value_parser = parse_rate, help_heading = "How fast")]
    rate: Option<u32>,

    /// The kind of network, for rate and block size: 6lowpan (640 bytes/s), 802.15.4 (5k), wifi (20k), ethernet (100k), unknown (1)
    /// [default: `link` in the [group] of --group FILE, otherwise unknown]
    #[arg(long, value_name = "LINK", value_parser = preconfigured::link_of, help_heading = "How fast")]
    link: Option<LinkProfile>,

    /// Bytes of a block: 16, 32, 64, 128, 256, 512 or 1024 [default: 64 for 6lowpan, 256 for 802.15.4, otherwise 1024]
    #[arg(long, value_name = "BYTES", help_heading = "How fast")]
    block_size: Option<u16>,

    /// How often blocks that many lack are sent to everyone, at most; with 1 all repairs are single
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1_000), help_heading = "How fast")]
    passes: u16,

    /// Time over which devices spread their first question for what they lack
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse, help_heading = "How fast")]
    window: Duration,

    /// End after this time, such as 90m or 20d, whatever has been reached [default: when every device is done]
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse_days, help_heading = "How fast")]
    time: Option<Duration>,

    /// Give a device up when it does not get further for this long after the last pass, whether it answers or not
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse_days, help_heading = "How fast")]
    give_up: Duration,

    /// What the image is called [default: the name of the file]
    #[arg(long, value_name = "NAME", help_heading = "What is announced")]
    name: Option<String>,

    /// The type of device it is for; others do not take it
    #[arg(
        long,
        value_name = "KIND",
        default_value = "",
        help_heading = "What is announced"
    )]
    kind: String,

    /// Its version: a number that grows
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        help_heading = "What is announced"
    )]
    version: u64,

    /// A manifest, for example of SUIT, of up to 512 bytes
    #[arg(long, value_name = "FILE", help_heading = "What is announced")]
    manifest: Option<PathBuf>,

    /// Sign the announcement with this Ed25519 key, which is used for nothing else (`antiphon oscore keygen` makes one)
    #[arg(long, value_name = "KEYFILE", help_heading = "What is announced")]
    sign: Option<PathBuf>,

    /// A signature that was made elsewhere, over what --to-sign wrote for the same image and the same options
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "sign",
        help_heading = "What is announced"
    )]
    signature: Option<PathBuf>,

    /// Write the bytes of the announcement that are to be signed, with --dry-run, for --signature
    #[arg(
        long,
        value_name = "FILE",
        requires = "dry_run",
        conflicts_with_all = ["sign", "signature"],
        help_heading = "What is announced"
    )]
    to_sign: Option<PathBuf>,

    /// One JSON object a line
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Send nothing: show what would be announced and how long it takes
    #[arg(long, help_heading = "Output")]
    dry_run: bool,
}

/// What is known of the network, and what said how fast it is.
struct Speed {
    link: LinkProfile,
    from: &'static str,
}

/// Reads `640`, `20k`, `1M`: bytes a second.
fn parse_rate(text: &str) -> Result<u32, String> {
    let refuse = || {
        format!(
            "{} is no rate in bytes a second (such as 640, 20k, 1M)",
            quoted(text)
        )
    };
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let number: u32 = plain
        .then(|| digits.parse().ok())
        .flatten()
        .ok_or_else(refuse)?;
    let rate = number.checked_mul(factor).ok_or_else(refuse)?;
    match (1..=1_000_000_000).contains(&rate) {
        true => Ok(rate),
        false => Err(refuse()),
    }
}

impl DistributeArgs {
    /// Runs `distribute`.
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let devices = self.devices()?;
        let keys = match (&self.protection.group, self.protection.unsecured) {
            (Some(path), _) => Some(Keys::open(path, self.protection.group_name.as_deref())?),
            (None, true) => None,
            (None, false) => {
                return Err(Failure::usage(
                    "the image would travel without security: anyone on the network could replace it.\n\
                     Protect it with --group FILE (`antiphon oscore new-group` makes one). If it is meant to be open, say \
                     --unsecured (-u), or set ANTIPHON_UNSECURED=1.",
                ));
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let done = runtime.block_on(self.distribute(&devices, keys.as_ref()));
        let closed = keys.map_or(Ok(()), Keys::close);
        done.and_then(|code| closed.map(|()| code))
    }

    /// Where the rate comes from: from --rate, from --link, from the description of the group, or from nowhere.
    fn speed(&self, keys: Option<&Keys>) -> Speed {
        let of_file = keys.and_then(|keys| keys.link);
        let (link, of_link) = match (self.link, of_file) {
            (Some(link), _) => (link, "--link"),
            (None, Some(link)) => (link, "group file"),
            (None, None) => (LinkProfile::Unknown, "default"),
        };
        let from = if self.rate.is_some() {
            "--rate"
        } else {
            of_link
        };
        Speed { link, from }
    }

    /// The devices of `--members` and `--expect`: names and addresses.
    fn devices(&self) -> Result<Vec<(String, SocketAddr)>, Failure> {
        let mut all = match &self.members {
            Some(path) => members::read(path, false)?,
            None => Vec::new(),
        };
        all.extend(self.expect.iter().cloned());
        let mut devices: Vec<(String, SocketAddr)> = Vec::new();
        for member in &all {
            let Some(address) = member.addresses.first() else {
                return Err(Failure::usage(format!(
                    "the address of {} is not said: devices are asked one by one how far they are",
                    quoted(&member.name)
                )));
            };
            let mut address = endpoint_address(address)?;
            if address.port() == 0 {
                address.set_port(antiphon_wire::DEFAULT_PORT);
            }
            if devices.iter().any(|(_, other)| *other == address) {
                return Err(Failure::usage(format!("{address} is named twice")));
            }
            devices.push((member.name.clone(), address));
        }
        Ok(devices)
    }

    async fn distribute(
        &self,
        devices: &[(String, SocketAddr)],
        keys: Option<&Keys>,
    ) -> Result<u8, Failure> {
        let prepared = self.prepare(devices, keys).await?;
        if let Some(path) = &self.to_sign {
            let bytes = prepared.announcement().signed_part();
            std::fs::write(path, bytes).map_err(|error| in_file(path, &error))?;
        }
        let names = devices.iter().map(|(name, _)| name.clone()).collect();
        let mut screen = Screen::new(self.json, names);
        screen.plan(&self.uri, &prepared, &self.speed(keys))?;
        if self.dry_run {
            return Ok(exit::ALL);
        }
        let distribution = prepared.start().await.map_err(|error| failure(&error))?;
        let (distribution, stopped) = follow(distribution, &mut screen).await?;
        let done = distribution
            .finish()
            .await
            .map_err(|error| failure(&error))?;
        screen.done(&done, stopped)?;
        Ok(exit_code(&done))
    }

    async fn prepare(
        &self,
        devices: &[(String, SocketAddr)],
        keys: Option<&Keys>,
    ) -> Result<PreparedDistribution, Failure> {
        let image = File::open(&self.image).map_err(|error| in_file(&self.image, &error))?;
        let metadata = image
            .metadata()
            .map_err(|error| in_file(&self.image, &error))?;
        if !metadata.is_file() {
            return Err(Failure::usage(format!(
                "{} is no file that can be read anywhere",
                self.image.display()
            )));
        }
        let of_file = self.image.file_name().map(|name| name.to_string_lossy());
        let name = self.name.clone().or(of_file.map(|name| fitting(&name)));
        let mut distribute = Distribute::new(&self.uri, image)
            .name(&name.unwrap_or_default())
            .kind(&self.kind)
            .version(self.version)
            .members(devices.iter().map(|(_, address)| *address))
            .link(self.speed(keys).link)
            .hops(self.hops);
        if let Some(rate) = self.rate {
            distribute = distribute.rate(rate);
        }
        if let Some(bytes) = self.block_size {
            distribute = distribute.block_size(bytes);
        }
        let (passes, window, give_up, time) = (self.passes, self.window, self.give_up, self.time);
        distribute = distribute.parameters(move |config| {
            config.passes = passes;
            config.window = window;
            config.give_up = give_up;
            config.deadline = time;
        });
        if let Some(interface) = &self.interface {
            distribute = distribute.interface(interface);
        }
        if let Some(local) = self.bind {
            distribute = distribute.bind(local);
        }
        if let Some(path) = &self.manifest {
            let manifest = std::fs::read(path).map_err(|error| in_file(path, &error))?;
            distribute = distribute.manifest(manifest);
        }
        if let Some(path) = &self.sign {
            let key = signing_key(path)?;
            distribute = distribute.sign_with(move |part| Ok(key.sign(part).to_bytes().to_vec()));
        }
        if let Some(path) = &self.signature {
            let signature = std::fs::read(path).map_err(|error| in_file(path, &error))?;
            distribute = distribute.sign_with(move |_| Ok(signature));
        }
        distribute = match keys {
            None => distribute.unsecured(NoSec::Accepted),
            Some(keys) => match keys.group() {
                Some(group) => distribute.secure(group),
                None => {
                    return Err(Failure::usage(
                        "an OSCORE context is for one peer; a group is told by a security group",
                    ));
                }
            },
        };
        distribute.prepare().await.map_err(|error| failure(&error))
    }
}

/// The key with which announcements are signed.
fn signing_key(path: &Path) -> Result<SigningKey, Failure> {
    let key = secret_file::read_key(path)?;
    let seed: Option<[u8; 32]> = match key.curve() {
        Curve::Ed25519 => key.to_bytes().as_bytes().try_into().ok(),
        _ => None,
    };
    let seed = seed.map(zeroize::Zeroizing::new).ok_or_else(|| {
        Failure::usage(format!(
            "{}: announcements are signed with Ed25519",
            path.display()
        ))
    })?;
    Ok(SigningKey::from_bytes(&seed))
}

/// As much of a name as an announcement takes.
fn fitting(name: &str) -> String {
    let most = antiphon::distribution::Announcement::MAX_TEXT;
    let end = (0..=most.min(name.len()))
        .rev()
        .find(|end| name.is_char_boundary(*end));
    name[..end.unwrap_or(0)].to_owned()
}

fn in_file(path: &Path, error: &std::io::Error) -> Failure {
    Failure::local(format!("{}: {error}", path.display()))
}

fn failure(error: &DistributeError) -> Failure {
    let message = terminal::line(&error.to_string());
    match error {
        DistributeError::Announcement(_)
        | DistributeError::Parameter(_)
        | DistributeError::Uri(_)
        | DistributeError::Path(_)
        | DistributeError::Ask(antiphon::AskError::Collect(_)) => Failure::usage(message),
        _ => Failure::local(message),
    }
}

/// Without members nobody knows, and whoever listened has it.
fn exit_code(done: &Distributed) -> u8 {
    use antiphon::distribution::{DeviceState, DistributionEnd};
    let activated = |state: Option<DeviceState>| state == Some(DeviceState::Activated);
    match done.devices.is_empty() {
        true if done.end == Some(DistributionEnd::Quiet) => exit::ALL,
        true => exit::SOME_MISSING,
        false if done.all_activated => exit::ALL,
        false if done.devices.iter().any(|device| activated(device.state)) => exit::SOME_MISSING,
        false => exit::NONE,
    }
}

/// Shows what happens until it is over, or until Ctrl-C: was it stopped?
async fn follow(
    mut distribution: Distribution,
    screen: &mut Screen,
) -> Result<(Distribution, bool), Failure> {
    let mut stopped = false;
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            event = distribution.next() => match event {
                Some(event) => screen.event(&distribution, event)?,
                None => return Ok((distribution, stopped)),
            },
            signal = tokio::signal::ctrl_c() => {
                signal?;
                stopped = true;
                distribution.stop();
            }
            _ = tick.tick(), if screen.is_live() => screen.redraw(&distribution)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        for (text, rate) in [
            ("1", 1),
            ("640", 640),
            ("20k", 20_000),
            ("1M", 1_000_000),
            ("1000M", 1_000_000_000),
        ] {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
        }
        for text in [
            "",
            "0",
            "k",
            "1.5k",
            "-1",
            "+1",
            "1001M",
            "1G",
            "1 k",
            "99999999999",
        ] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn long_names_of_files_are_cut_between_characters() {
        assert_eq!(fitting("lamp.bin"), "lamp.bin");
        assert_eq!(fitting(&"a".repeat(80)), "a".repeat(64));
        assert_eq!(fitting(&"ä".repeat(40)).len(), 64);
        assert_eq!(fitting(&format!("a{}", "ä".repeat(40))).len(), 63);
    }
}
