//! Whom a request is for, said the same way by all commands that ask.

use std::path::PathBuf;

use clap::Args;

use super::IdSource;
use crate::failure::Failure;
use crate::members::{self, Member};
use crate::secured::Protection;

/// A group or a single member, the way there, and who is expected.
#[derive(Clone, Debug, Args)]
pub(crate) struct Whom {
    /// Where to: a group (multicast address, or a name of one) or a single member
    #[arg(value_name = "URI")]
    pub(super) uri: String,

    #[command(flatten)]
    pub(super) protection: Protection,

    /// The one member that a request to a single address is for: its name or Sender ID
    #[arg(
        long,
        value_name = "MEMBER",
        requires = "group",
        help_heading = "Security"
    )]
    pub(super) to: Option<String>,

    /// Expect every other member of the security group
    #[arg(long, requires = "group", help_heading = "Whom")]
    pub(super) everyone: bool,

    /// Send by this interface (name or number); repeatable for several
    #[arg(short, long, value_name = "INTERFACE", help_heading = "Whom")]
    pub(super) interface: Vec<String>,

    /// Send from this local address and port; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Whom")]
    pub(super) bind: Option<std::net::SocketAddr>,

    /// The members that are expected to answer, or to notify: one a line, `name address...`, or TOML
    #[arg(short, long, value_name = "FILE", help_heading = "Whom")]
    pub(super) members: Option<PathBuf>,

    /// Another expected member: an address, NAME=ADDRESS[,ADDRESS...], or with --group its name alone; repeatable
    #[arg(short, long, value_name = "MEMBER", value_parser = members::from_argument, help_heading = "Whom")]
    pub(super) expect: Vec<Member>,

    /// Where an answer, or a notification, states the id of its member: option:NAME, payload, or payload:/json/pointer
    #[arg(long, value_name = "WHERE", value_parser = IdSource::parse, help_heading = "Whom")]
    pub(super) id_from: Option<IdSource>,

    /// How many routers multicast may pass, 1 for none
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..), help_heading = "Whom")]
    pub(super) hops: u8,
}

impl Whom {
    /// The members of `--members` and `--expect`, told apart by name.
    pub(super) fn members(&self) -> Result<Vec<Member>, Failure> {
        let secured = self.protection.group.is_some();
        let mut all = match &self.members {
            Some(path) => members::read(path, secured)?,
            None => Vec::new(),
        };
        for member in &self.expect {
            if all.iter().any(|other| other.name == member.name) {
                return Err(Failure::usage(format!(
                    "the member {} is expected twice",
                    crate::terminal::quoted(&member.name)
                )));
            }
            if member.addresses.is_empty() && !secured {
                return Err(Failure::usage(format!(
                    "{} is no IP address; by name alone members are known with --group only",
                    crate::terminal::quoted(&member.name)
                )));
            }
            all.push(member.clone());
        }
        Ok(all)
    }
}
