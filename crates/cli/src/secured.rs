//! `--group FILE`: the security group or OSCORE context that protects what a command sends.

use std::path::{Path, PathBuf};

use antiphon::distribution::LinkProfile;
use antiphon::security_group::{Signer, Update, stored_contexts, stored_groups};
use antiphon::store::{Opened, Store};
use antiphon::{GroupMember, OscoreContext, SecurityGroup};
use antiphon_oscore::PairSettings;
use clap::Args;

use crate::failure::Failure;
use crate::preconfigured::{self, Preconfigured};
use crate::state;
use crate::terminal::{line, quoted};
use crate::watch::{self, News, Watch};

/// How a command protects what it sends: one of two.
#[derive(Clone, Debug, Args)]
pub(crate) struct Protection {
    /// Protect with this security group or OSCORE context: its description in TOML, or a state file
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    pub(crate) group: Option<PathBuf>,

    /// Which group or context, where a state file holds several
    #[arg(
        long,
        value_name = "NAME",
        requires = "group",
        help_heading = "Security"
    )]
    pub(crate) group_name: Option<String>,

    /// State that the request travels without security (not needed for GET of /.well-known/core)
    #[arg(short, long, env = "ANTIPHON_UNSECURED", conflicts_with = "group", value_parser = clap::builder::FalseyValueParser::new(), help_heading = "Security")]
    pub(crate) unsecured: bool,
}

/// What is said of a group that refuses everything.
pub(crate) const NEEDS_NEW_KEYS: &str = "it is not known which messages were received before the program ended last time, and this \
     endpoint cannot challenge senders: nothing is accepted until the group has new keys (antiphon oscore rekey)";

/// What was opened, and the file in which it lives.
pub(crate) struct Keys {
    pub(crate) with: With,
    store: Store,
    /// The description, if that is what was given.
    description: Option<PathBuf>,
    /// What is known of the network between the members, if the description says it.
    pub(crate) link: Option<LinkProfile>,
}

/// With whom messages are protected.
#[derive(Clone)]
pub(crate) enum With {
    Group(SecurityGroup),
    Pair(OscoreContext),
}

impl Keys {
    /// Opens a description, with the state beside it, or a state file. `name` says which of several in it.
    pub(crate) fn open(path: &Path, name: Option<&str>) -> Result<Self, Failure> {
        if is_toml(path) {
            return described(path);
        }
        let (mut state, chosen) = stored(path, name)?;
        Ok(Self {
            with: chosen.open(&mut state)?,
            store: state.store.clone(),
            description: None,
            link: None,
        })
    }

    /// Says in the file that it was left in good order. After the client or server that used it is closed.
    pub(crate) fn close(self) -> Result<(), Failure> {
        self.store.close().map_err(|error| state::unusable(&error))
    }

    /// Opens everything that a file holds, for a server.
    pub(crate) fn open_all(path: &Path) -> Result<Vec<Self>, Failure> {
        if is_toml(path) {
            return Ok(vec![Self::open(path, None)?]);
        }
        let mut state = existing(path)?;
        let groups: Vec<String> = stored_groups(&state).map(str::to_owned).collect();
        let pairs: Vec<String> = stored_contexts(&state).map(str::to_owned).collect();
        let chosen = groups.into_iter().map(Chosen::Group);
        let chosen = chosen.chain(pairs.into_iter().map(Chosen::Pair));
        chosen
            .map(|chosen| {
                Ok(Self {
                    with: chosen.open(&mut state)?,
                    store: state.store.clone(),
                    description: None,
                    link: None,
                })
            })
            .collect()
    }

    /// From now on looks at the description of the group, and takes over new keys and members from it. Within a runtime;
    /// until the watch is dropped.
    /// A server looks at once on SIGHUP as well.
    pub(crate) fn watch(
        &self,
        serves: bool,
        tell: impl Fn(News) + Send + 'static,
    ) -> Option<Watch> {
        let path = self.description.clone()?;
        let group = self.group()?.clone();
        let state = (state_beside(&path), self.store.id());
        Some(watch::watch(path, state, group, serves, tell))
    }

    /// The security group; an OSCORE context is for one peer.
    pub(crate) fn group(&self) -> Option<&SecurityGroup> {
        match &self.with {
            With::Group(group) => Some(group),
            With::Pair(_) => None,
        }
    }
}

enum Chosen {
    Group(String),
    Pair(String),
}

pub(crate) fn is_toml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("toml"))
}

/// The state beside a description: `lights.state` of `lights.toml`.
pub(crate) fn state_beside(path: &Path) -> PathBuf {
    path.with_extension("state")
}

/// A description: what it says goes into the state beside it, if it is not there yet.
fn described(path: &Path) -> Result<Keys, Failure> {
    let described = preconfigured::read(path)?;
    let beside = state_beside(path);
    let (state, with, update) = state::described(path, &described, &beside)?;
    match update {
        Update::Nothing => {}
        Update::Members { added, removed } => {
            let tell = |what: &str, names: &[String]| {
                if !names.is_empty() {
                    eprintln!("antiphon: {what} {}", line(&names.join(", ")));
                }
            };
            tell("new members:", &added);
            tell("members that are gone:", &removed);
        }
        _ => eprintln!(
            "antiphon: {} counts the sequence numbers of {} from now on: never use one without the other, nor copies of them",
            line(&beside.display().to_string()),
            line(&path.display().to_string())
        ),
    }
    Ok(Keys {
        with,
        store: state.store.clone(),
        description: Some(path.to_owned()),
        link: match &described {
            Preconfigured::Group(group) => group.link,
            Preconfigured::Pair(_) => None,
        },
    })
}

/// The state of a file that is there: none is made by mistyping its name.
fn existing(path: &Path) -> Result<Opened, Failure> {
    std::fs::metadata(path)
        .map_err(|error| Failure::local(format!("{}: {error}", path.display())))?;
    state::open(path)
}

/// One group or context of a state file.
fn stored(path: &Path, name: Option<&str>) -> Result<(Opened, Chosen), Failure> {
    let shown = line(&path.display().to_string());
    let state = existing(path)?;
    let all: Vec<Chosen> = stored_groups(&state)
        .map(|name| Chosen::Group(name.into()))
        .chain(stored_contexts(&state).map(|name| Chosen::Pair(name.into())))
        .filter(|chosen| name.is_none_or(|name| chosen.name() == name))
        .collect();
    let names: Vec<String> = all.iter().map(|chosen| quoted(chosen.name())).collect();
    let mut all = all.into_iter();
    match (all.next(), all.next()) {
        (Some(chosen), None) => Ok((state, chosen)),
        (None, _) => Err(Failure::usage(match name {
            Some(name) => format!("{shown} has no group or context {}", quoted(name)),
            None => format!("{shown} holds no group and no context"),
        })),
        (Some(_), Some(_)) => Err(Failure::usage(format!(
            "{shown} holds {}: say which with --group-name",
            names.join(", ")
        ))),
    }
}

impl Chosen {
    fn open(&self, state: &mut Opened) -> Result<With, Failure> {
        let opened = match self {
            Self::Group(name) => SecurityGroup::open(state, name).map(With::Group),
            Self::Pair(name) => {
                OscoreContext::open(state, name, PairSettings::default()).map(With::Pair)
            }
        };
        opened.map_err(|error| state::refused(&error))
    }

    fn name(&self) -> &str {
        match self {
            Self::Group(name) | Self::Pair(name) => name,
        }
    }
}

/// A group or context in a file, looked at and not used.
#[derive(Clone, Debug)]
pub(crate) struct Glance {
    pub(crate) name: String,
    /// An OSCORE context is none.
    pub(crate) is_group: bool,
    /// A security group without it has the pairwise mode alone.
    pub(crate) has_group_mode: bool,
    /// The other members: names and credentials.
    pub(crate) members: Vec<(String, Vec<u8>)>,
}

/// What a description or a state file holds. Nothing is opened or made.
pub(crate) fn glance(path: &Path) -> Result<Vec<Glance>, Failure> {
    let of = |one: &Preconfigured| Glance {
        name: one.name().to_owned(),
        is_group: matches!(one, Preconfigured::Group(_)),
        has_group_mode: matches!(one, Preconfigured::Group(group) if group.suite.has_group_mode()),
        members: match one {
            Preconfigured::Pair(_) => Vec::new(),
            Preconfigured::Group(group) => group
                .members
                .iter()
                .map(|member| {
                    let subject = member.credential.subject();
                    let name = preconfigured::name_of(&member.sender_id, subject);
                    (name, member.credential.bytes().to_vec())
                })
                .collect(),
        },
    };
    Ok(crate::offline::read(path, None)?.iter().map(of).collect())
}

/// The other member of this name, or of this Sender ID.
pub(crate) fn member(group: &SecurityGroup, name: &str) -> Result<GroupMember, Failure> {
    group.member(name).ok_or_else(|| {
        let alike = group
            .members()
            .filter(|member| member.name() == name)
            .count();
        let shown = format!("{} in the group {}", quoted(name), line(group.name()));
        if alike > 1 {
            return Failure::usage(format!(
                "there are {alike} members {shown}: say which by its Sender ID"
            ));
        }
        let mine = group.me().is_some_and(|me| me.name() == name);
        if mine {
            return Failure::usage(format!("{shown} is this endpoint itself"));
        }
        let mut names: Vec<String> = group.members().take(12).map(|m| m.name()).collect();
        if group.members().count() > names.len() {
            names.push("...".into());
        }
        Failure::usage(format!(
            "there is no member {shown}, which has {}",
            line(&names.join(", "))
        ))
    })
}

/// Who is proven to have sent a message, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedBy {
    pub(crate) name: String,
    /// The Sender ID, where it is known.
    pub(crate) kid: Option<String>,
    pub(crate) group: String,
}

impl SignedBy {
    /// What is shown of a proven sender.
    pub(crate) fn of(signer: &Signer, group: Option<&SecurityGroup>) -> Self {
        let member = group
            .filter(|group| group.name() == signer.group())
            .and_then(|group| group.identify(&antiphon::Sender::Proven(signer.identity().clone())));
        match member {
            Some(member) => Self {
                name: member.name(),
                kid: Some(member.kid().to_string()),
                group: signer.group().into(),
            },
            None => Self {
                name: match signer.subject() {
                    Some(subject) if !subject.is_empty() => subject.into(),
                    _ => crate::hex::plain(signer.credential()),
                },
                kid: None,
                group: signer.group().into(),
            },
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({"name": self.name, "kid": self.kid, "group": self.group})
    }
}
