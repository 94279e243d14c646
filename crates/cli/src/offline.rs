//! Protected messages without a network: opened and measured with keys that are looked at and not used. No sequence number is taken and no
//! window moved.

mod failed;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use antiphon::proto::NotProtected;
use antiphon_oscore::credential::Credential;
use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
use antiphon_oscore::option::OscoreOption;
use antiphon_oscore::record::{Established, Restored};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{Sequence, SequenceSettings};
use antiphon_oscore::{
    Contexts, Gid, Group, GroupId, GroupManagerCredential, Job, JobResult, Kid, Member, Mode,
    Opened, Own, Pair, PairParameters, PairSettings, Parameters, ProtectError, Protecting, Reason,
    Settings, Step, To,
};
use antiphon_wire::{Message, OptionNumber};

use crate::failure::Failure;
use crate::preconfigured::{self, GroupFile, Listed, PairFile, Preconfigured};
use crate::terminal::{line, quoted};
use crate::{hex, secured, state};

/// What a description or a state file holds, all of it or what has this name.
pub(crate) fn read(path: &Path, name: Option<&str>) -> Result<Vec<Preconfigured>, Failure> {
    let mut all = match secured::is_toml(path) {
        true => vec![preconfigured::read(path)?],
        false => stored(path)?,
    };
    all.retain(|one| name.is_none_or(|name| one.name() == name));
    match all.is_empty() {
        false => Ok(all),
        true => Err(Failure::usage(match name {
            Some(name) => format!(
                "{} has no group or context {}",
                path.display(),
                quoted(name)
            ),
            None => format!("{} holds no group and no context", path.display()),
        })),
    }
}

fn stored(path: &Path) -> Result<Vec<Preconfigured>, Failure> {
    let contents = state::contents(path)?;
    let mut all = Vec::new();
    for (list, records) in &contents.records {
        let restored = Restored::fold(records);
        let Some((_, name)) = list.split_once('/') else {
            continue;
        };
        match &restored.context {
            Some(Established::Group(group)) => {
                let read = |bytes: &[u8]| Credential::import(group.format, bytes);
                let own = group.own.as_ref().and_then(|own| {
                    let credential = read(&own.credential).ok()?;
                    let curve = credential.public_key().curve();
                    let key = SoftwareKey::from_bytes(curve, own.key.as_ref()?.as_bytes()).ok()?;
                    Some(preconfigured::Own {
                        sender_id: own.sender_id.clone(),
                        credential,
                        key,
                        key_file: String::new(),
                    })
                });
                let members = restored.peers.iter().filter_map(|(id, bytes)| {
                    Some(Listed {
                        sender_id: id.clone(),
                        credential: read(bytes).ok()?,
                    })
                });
                all.push(Preconfigured::Group(Box::new(GroupFile {
                    name: name.to_owned(),
                    gid: group.gid.clone(),
                    generation: group.generation,
                    master_secret: group.master_secret.clone(),
                    master_salt: Secret::copy_of(&group.master_salt),
                    suite: group.suite,
                    format: group.format,
                    manager: group.manager.clone(),
                    own,
                    members: members.collect(),
                    link: None,
                })));
            }
            Some(Established::Pair(pair)) => all.push(Preconfigured::Pair(Box::new(PairFile {
                name: name.to_owned(),
                master_secret: pair.master_secret.clone(),
                master_salt: Secret::copy_of(&pair.master_salt),
                id_context: pair.id_context.clone(),
                sender_id: pair.sender_id.clone(),
                recipient_id: pair.recipient_id.clone(),
                hkdf: pair.hkdf,
                aead: pair.aead,
            }))),
            None => {}
        }
    }
    Ok(all)
}

/// A message that was opened.
#[derive(Debug)]
pub(crate) struct Plain {
    /// The message inside, with type, Message ID and token of the protected one.
    pub(crate) message: Vec<u8>,
    /// The name of the sender: its subject, else its Sender ID.
    pub(crate) sender: String,
    pub(crate) kid: String,
    /// The group or context.
    pub(crate) group: String,
    pub(crate) mode: Mode,
}

/// Opens a protected message. A response needs the request that it answers.
///
/// # Errors
/// The step that failed, in words.
pub(crate) fn open(
    keys: &[Preconfigured],
    message: &Message<'_>,
    request: Option<&Message<'_>>,
) -> Result<Plain, String> {
    let option = option_of(message)?;
    let in_group_mode = option.group_flag;
    let assembled = Assembled::of(keys, in_group_mode)?;
    if message.code().is_request() {
        return assembled.request(keys, message, &option);
    }
    let Some(request) = request else {
        return Err("it is a response, and that is bound to its request: --request HEX".into());
    };
    option_of(request).map_err(|what| format!("the request: {what}"))?;
    assembled.response(keys, message, request)
}

/// Step 1: the option.
fn option_of<'a>(message: &Message<'a>) -> Result<OscoreOption<'a>, String> {
    match OscoreOption::of(message) {
        Ok(Some(option)) => Ok(option),
        Ok(None) => Err("it has no OSCORE option: it is not protected".into()),
        Err(malformed) => Err(malformed.to_string()),
    }
}

/// The contexts, and whose private key agrees.
struct Assembled<'a> {
    contexts: Contexts,
    keys: HashMap<GroupId, &'a SoftwareKey>,
}

impl<'a> Assembled<'a> {
    /// In group mode as somebody who only listens, so that the messages of all members can be opened, the own ones among them.
    fn of(keys: &'a [Preconfigured], listening: bool) -> Result<Self, String> {
        let mut contexts = Contexts::new();
        let mut keys_of = HashMap::new();
        for one in keys {
            match one {
                Preconfigured::Group(file) => {
                    let id = contexts.add_group(group(file, listening, None)?);
                    if let Some(own) = file.own.as_ref().filter(|_| !listening) {
                        keys_of.insert(id, &own.key);
                    }
                }
                Preconfigured::Pair(file) => {
                    contexts.add_pair(pair(file, None)?);
                }
            }
        }
        Ok(Self {
            contexts,
            keys: keys_of,
        })
    }

    fn run(&self, job: Job) -> Result<JobResult, String> {
        match job {
            Job::Verify(job) => Ok(JobResult::Checked(job.run())),
            Job::Agree(job) => match self.keys.get(&job.group()) {
                Some(key) => Ok(JobResult::Agreed(job.run(*key))),
                None => Err(
                    "it is in pairwise mode, and the private key that belongs to it is not in the file"
                        .into(),
                ),
            },
        }
    }

    fn request(
        mut self,
        keys: &[Preconfigured],
        message: &Message<'_>,
        option: &OscoreOption<'_>,
    ) -> Result<Plain, String> {
        let now = Duration::ZERO;
        let mut step = self.contexts.begin_request(now, message, true);
        loop {
            match step {
                Ok(Step::Work(opening, job)) => {
                    let result = self.run(job)?;
                    step = self.contexts.finish_request(now, opening, result);
                }
                Ok(Step::Done(Opened::Request(opened))) => {
                    return Ok(plain(keys, opened.message, &opened.sender, opened.mode));
                }
                Ok(Step::Done(Opened::Challenge(challenged))) => {
                    return Err(format!(
                        "it verifies, from {}, and whether it is fresh is not known",
                        name_of(keys, &challenged.sender)
                    ));
                }
                Err(refused) => {
                    return Err(failed::explained(refused.reason, keys, option, || {
                        failed::signature(keys, message, option, None)
                    }));
                }
            }
        }
    }

    fn response(
        mut self,
        keys: &[Preconfigured],
        message: &Message<'_>,
        request: &Message<'_>,
    ) -> Result<Plain, String> {
        let option = option_of(message)?;
        // The response to a request for one member need not say whose it is: everybody is tried.
        let mut servers = vec![None];
        if option.kid.is_none() {
            let members = keys.iter().filter_map(|one| match one {
                Preconfigured::Group(file) => Some(&file.members),
                Preconfigured::Pair(_) => None,
            });
            let ids = members
                .flatten()
                .filter_map(|member| Kid::new(&member.sender_id));
            servers.extend(ids.map(Some));
        }
        let now = Duration::ZERO;
        let mut last = Reason::NoContext;
        for server in servers {
            let mut asked = match self.contexts.overheard(request, server) {
                Ok(asked) => asked,
                Err(refused) => {
                    last = refused.reason;
                    continue;
                }
            };
            let mut step = self.contexts.begin_response(now, message, &mut asked);
            loop {
                match step {
                    Ok(Step::Work(opening, job)) => {
                        let result = self.run(job)?;
                        step = self
                            .contexts
                            .finish_response(now, opening, result, &mut asked);
                    }
                    Ok(Step::Done(opened)) => {
                        return Ok(plain(keys, opened.message, &opened.sender, opened.mode));
                    }
                    Err(refused) => {
                        // What is missing for one server says less than what failed for another.
                        if matches!(
                            last,
                            Reason::NoContext | Reason::OtherMember | Reason::Malformed
                        ) {
                            last = refused.reason;
                        }
                        break;
                    }
                }
            }
        }
        Err(failed::explained(last, keys, &option, || {
            failed::signature(keys, message, &option, Some(request))
        }))
    }
}

fn group(file: &GroupFile, listening: bool, next: Option<u64>) -> Result<Group, String> {
    let wrong = |what: &str| format!("{}: {what}", line(&file.name));
    let kid = |id: &[u8]| Kid::new(id).ok_or_else(|| wrong("a Sender ID is too long"));
    let parameters = Parameters {
        gid: Gid::new(&file.gid).ok_or_else(|| wrong("the Gid is too long"))?,
        generation: file.generation,
        master_secret: file.master_secret.clone(),
        master_salt: file.master_salt.clone(),
        suite: file.suite,
        format: file.format,
        gm_credential: GroupManagerCredential::configured_by_hand(file.manager.clone()),
    };
    let own = match &file.own {
        Some(own) if !listening => Some(Own {
            sender_id: kid(&own.sender_id)?,
            credential: own.credential.clone(),
            sequence: numbers(next),
        }),
        _ => None,
    };
    let settings = Settings {
        recipients: file.members.len() + 1,
        ..Settings::default()
    };
    let mut group = Group::new(&file.name, parameters, own, settings, Some(Duration::ZERO))
        .map_err(|_| wrong("the group cannot be put together"))?;
    let myself = file.own.as_ref().filter(|_| listening);
    let others = file.members.iter().map(|m| (&m.sender_id, &m.credential));
    let all = myself
        .map(|own| (&own.sender_id, &own.credential))
        .into_iter()
        .chain(others);
    for (id, credential) in all {
        group
            .add_peer(kid(id)?, credential.clone())
            .map_err(|_| wrong("a member does not fit"))?;
    }
    Ok(group)
}

/// Numbers of which nothing leaves this process.
fn numbers(next: Option<u64>) -> Sequence {
    let next = next.unwrap_or(0);
    Sequence::exact(next, next.saturating_add(256), SequenceSettings::default())
}

fn pair(file: &PairFile, next: Option<u64>) -> Result<Pair, String> {
    let wrong = || format!("{}: an ID is too long", line(&file.name));
    let id_context = match &file.id_context {
        None => None,
        Some(id) => Some(Gid::new(id).ok_or_else(wrong)?),
    };
    let parameters = PairParameters {
        master_secret: file.master_secret.clone(),
        master_salt: file.master_salt.clone(),
        id_context,
        sender_id: Kid::new(&file.sender_id).ok_or_else(wrong)?,
        recipient_id: Kid::new(&file.recipient_id).ok_or_else(wrong)?,
        hkdf: file.hkdf,
        aead: file.aead,
    };
    Pair::new(
        &file.name,
        &parameters,
        numbers(next),
        PairSettings::default(),
    )
    .map_err(|_| format!("{}: the context cannot be put together", line(&file.name)))
}

fn plain(keys: &[Preconfigured], message: Vec<u8>, sender: &Member, mode: Mode) -> Plain {
    Plain {
        message,
        sender: name_of(keys, sender),
        kid: sender.kid().to_string(),
        group: sender.group().to_owned(),
        mode,
    }
}

fn name_of(keys: &[Preconfigured], sender: &Member) -> String {
    let groups = keys.iter().filter_map(|one| match one {
        Preconfigured::Group(file) if file.name == sender.group() => Some(file),
        _ => None,
    });
    let credentials = groups.flat_map(|file| {
        let own = file.own.iter().map(|own| &own.credential);
        own.chain(file.members.iter().map(|member| &member.credential))
    });
    let subject = credentials
        .into_iter()
        .find(|credential| credential.bytes() == sender.credential())
        .and_then(Credential::subject);
    preconfigured::name_of(sender.kid().as_bytes(), subject)
}

/// A mode in words.
pub(crate) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Group => "group mode",
        Mode::Pairwise => "pairwise mode",
        Mode::Plain => "OSCORE",
    }
}

/// What protection makes of a message, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Options that stay outside, with their numbers and lengths.
    pub(crate) outer: usize,
    /// The OSCORE option, likewise.
    pub(crate) option: usize,
    /// Code, inner options and payload, encrypted; with the payload marker before it.
    pub(crate) ciphertext: usize,
    pub(crate) tag: usize,
    pub(crate) signature: usize,
    pub(crate) total: usize,
    /// The sequence number that it was measured with; `None`: the first ones, as it is not known which come next.
    pub(crate) number: Option<u64>,
}

/// The sequence number that these keys use next, or the bound below which all may have been used. `None` if no state file counts
/// them, or if that cannot be read.
pub(crate) fn next_number(path: &Path, keys: &Preconfigured) -> Option<u64> {
    let beside = secured::state_beside(path);
    let state = match secured::is_toml(path) {
        true => beside.as_path(),
        false => path,
    };
    let contents = state::contents(state).ok()?;
    let kind = match keys {
        Preconfigured::Group(_) => "group",
        Preconfigured::Pair(_) => "pair",
    };
    let records = contents.records.get(&format!("{kind}/{}", keys.name()))?;
    let restored = Restored::fold(records);
    let is_of_these = match (restored.context.as_ref()?, keys) {
        (Established::Group(group), Preconfigured::Group(file)) => {
            let own = file.own.as_ref().map(|own| own.sender_id.as_slice());
            group.gid == file.gid && restored.sender_id() == own
        }
        (Established::Pair(_), Preconfigured::Pair(_)) => true,
        _ => false,
    };
    match is_of_these {
        true => {
            let sequence = restored.sequence(SequenceSettings::default())?;
            (!sequence.is_lost()).then(|| sequence.next())
        }
        // The state has those before: new keys begin anew.
        false => Some(0),
    }
}

/// Measures how long a request becomes: for the group, or for one of its members (any: all are alike, if none is named). `next` is
/// the sequence number that comes next, if it is known.
pub(crate) fn measure(
    keys: &Preconfigured,
    message: &Message<'_>,
    for_group: bool,
    to: Option<&str>,
    next: Option<u64>,
) -> Result<Sizes, Failure> {
    let failed = |what: String| Failure::usage(format!("it cannot be protected: {what}"));
    let unprotected = |error: ProtectError| failed(NotProtected::from(error).to_string());
    let mut contexts = Contexts::new();
    let (id, to, tag, signature, key): (antiphon_oscore::ContextId, _, _, _, _) = match keys {
        Preconfigured::Pair(_) if for_group => {
            return Err(failed(
                "an OSCORE context is for one peer, not for a group".into(),
            ));
        }
        Preconfigured::Pair(file) => {
            let id = contexts.add_pair(pair(file, next).map_err(failed)?);
            (id.into(), To::Peer, file.aead.tag_len(), 0, None)
        }
        Preconfigured::Group(file) => {
            let Some(own) = &file.own else {
                return Err(failed("a silent server sends nothing".into()));
            };
            let id = contexts.add_group(group(file, false, next).map_err(failed)?);
            let in_group_mode = for_group || !file.suite.has_pairwise_mode();
            let tag = match in_group_mode {
                true => file.suite.group_encryption().map_or(0, |a| a.tag_len()),
                false => file.suite.aead().map_or(0, |a| a.tag_len()),
            };
            let signature = file.suite.signature().filter(|_| in_group_mode);
            let named = file.members.iter().find(|member| {
                let id = hex::plain(&member.sender_id);
                to.is_none_or(|to| {
                    member.credential.subject() == Some(to) || id.eq_ignore_ascii_case(to)
                })
            });
            let to = match (for_group, named) {
                (true, _) => To::Group,
                (false, Some(member)) => match Kid::new(&member.sender_id) {
                    Some(kid) => To::Member(kid),
                    None => return Err(failed("its Sender ID is too long".into())),
                },
                (false, None) => {
                    return Err(failed(format!(
                        "there is no member {} in the group {}",
                        quoted(to.unwrap_or_default()),
                        line(&file.name)
                    )));
                }
            };
            (
                id.into(),
                to,
                tag,
                signature.map_or(0, |a| a.signature_len()),
                Some(&own.key),
            )
        }
    };
    let protected = loop {
        let protecting = contexts.protect_request(Duration::ZERO, id, message, to);
        match protecting.map_err(unprotected)? {
            Protecting::Done(protected) => break protected,
            Protecting::Sign(signing) => {
                // As long as a signature, and never seen by anybody.
                let place = vec![0; signature];
                break signing.finish(&place).map_err(unprotected)?;
            }
            Protecting::Agree(job) => {
                let Some(key) = key else {
                    return Err(failed("the private key is not in the file".into()));
                };
                let key: &dyn PrivateKey = key;
                let agreed = contexts.agreed(job.run(key));
                agreed.map_err(|_| {
                    failed("the private key does not agree with the member's key".into())
                })?;
            }
        }
    };
    let protected = Message::parse(&protected.bytes).map_err(|error| failed(error.to_string()))?;
    let total = protected.as_bytes().len();
    let payload = protected.payload().len();
    let head = 4 + protected.token().as_bytes().len();
    let options = total - head - payload - 1;
    let value = protected
        .option(OptionNumber::OSCORE)
        .map_or(0, <[u8]>::len);
    // One byte for number and length, and another from 13 on: OSCORE is option 9, and nothing that stays outside is 13 below it.
    let option = value + 1 + usize::from(value >= 13);
    Ok(Sizes {
        outer: options - option,
        option,
        ciphertext: payload + 1 - tag - signature,
        tag,
        signature,
        total,
        number: next,
    })
}

#[cfg(test)]
#[path = "offline/tests.rs"]
mod tests;
