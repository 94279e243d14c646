//! External signature checkers: they verify who signed a message in group mode, and cannot read it (draft sections 7.5
//! and 12.3).

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

use antiphon_wire::{Message, OptionNumber};

use crate::aad::GroupFrame;
use crate::credential::Credential;
use crate::group_mode::{Binding, Countersigning};
use crate::identity::{Gid, Kid, MAX_NAME, Member, Mode};
use crate::manager::GroupManagerCredential;
use crate::nonce::PartialIv;
use crate::open::{Checked, VerifyJob};
use crate::option::OscoreOption;
use crate::refused::Reason;
use crate::secret::Secret;
use crate::suite::Suite;

/// What a Group Manager gives to a signature checker: the key that encrypts countersignatures, algorithms and
/// credentials, and nothing that decrypts.
pub struct SignatureChecker {
    name: String,
    gid: Gid,
    suite: Suite,
    signature_encryption_key: Secret,
    frame: GroupFrame,
    members: BTreeMap<Kid, Credential>,
    last_ticket: u64,
}

/// What of a request is needed to check the responses to it, which the Token has matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSeen {
    kid: Kid,
    piv: PartialIv,
    gid: Gid,
}

impl RequestSeen {
    /// Reads a protected request, in either mode.
    ///
    /// # Errors
    /// [`Reason::Malformed`].
    pub fn of(request: &Message<'_>) -> Result<RequestSeen, Reason> {
        let option = OscoreOption::of(request).ok().flatten();
        let option = option.ok_or(Reason::Malformed)?;
        let (piv, kid) = option.check_request(true).map_err(|_| Reason::Malformed)?;
        Ok(RequestSeen {
            kid: Kid::new(kid).ok_or(Reason::NoContext)?,
            piv,
            gid: option
                .kid_context
                .and_then(Gid::new)
                .ok_or(Reason::Malformed)?,
        })
    }
}

/// A message whose countersignature is being verified.
#[derive(Debug)]
pub struct Checking {
    ticket: u64,
    /// Only given out by [`SignatureChecker::finish`].
    sender: Member,
}

impl SignatureChecker {
    /// A checker for one group under one Gid.
    ///
    /// # Errors
    /// [`Reason::ModeUnavailable`] if the group has no group mode: the pairwise mode cannot be checked from outside
    /// (draft section 8). [`Reason::NoContext`] for a name that is empty or longer than 255 bytes.
    pub fn new(
        name: &str,
        gid: Gid,
        suite: Suite,
        signature_encryption_key: Secret,
        gm_credential: &GroupManagerCredential,
    ) -> Result<SignatureChecker, Reason> {
        if !suite.has_group_mode() {
            return Err(Reason::ModeUnavailable(Mode::Group));
        }
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Reason::NoContext);
        }
        Ok(SignatureChecker {
            name: name.into(),
            gid,
            suite,
            signature_encryption_key,
            frame: GroupFrame::new(&suite, gm_credential.as_bytes()),
            members: BTreeMap::new(),
            last_ticket: 0,
        })
    }

    /// Adds a member, in place of whoever had the ID before.
    pub fn add_member(&mut self, kid: Kid, credential: Credential) {
        self.members.insert(kid, credential);
    }

    /// Removes a member; `false` if there was none.
    pub fn remove_member(&mut self, kid: Kid) -> bool {
        self.members.remove(&kid).is_some()
    }

    /// Begins to check a message. For a response, `request` is the request that its Token belongs to, and gives what the
    /// response leaves out; `sender` is who sent it, as known otherwise, for a response that names nobody.
    ///
    /// # Errors
    /// [`Reason`]; `ModeUnavailable` for a message in pairwise mode.
    pub fn begin(
        &mut self,
        message: &Message<'_>,
        request: Option<&RequestSeen>,
        sender: Option<Kid>,
    ) -> Result<(Checking, VerifyJob), Reason> {
        let option = OscoreOption::of(message).ok().flatten();
        let raw = message.option(OptionNumber::OSCORE);
        let (option, raw) = option.zip(raw).ok_or(Reason::Malformed)?;
        if !option.group_flag {
            return Err(Reason::ModeUnavailable(Mode::Pairwise));
        }
        let own;
        let about = match request {
            Some(request) => request,
            None => {
                own = RequestSeen::of(message)?;
                &own
            }
        };
        let gid = option.kid_context.unwrap_or(about.gid.as_bytes());
        if gid != self.gid.as_bytes() {
            return Err(Reason::NoContext);
        }
        let kid = match option.kid {
            Some(kid) => Kid::new(kid),
            None => sender,
        };
        let kid = kid.ok_or(Reason::NoContext)?;
        let credential = self.members.get(&kid).ok_or(Reason::NoContext)?;
        let binding = Binding {
            request: request.is_none(),
            request_kid: about.kid,
            request_piv: about.piv,
            request_kid_context: about.gid.as_bytes(),
            option: raw,
            generator: match option.partial_iv {
                Some(_) => kid,
                None => about.kid,
            },
            piv: option.partial_iv.unwrap_or(about.piv),
        };
        self.last_ticket += 1;
        let keys = Countersigning {
            suite: &self.suite,
            gid: &self.gid,
            frame: &self.frame,
            signature_encryption_key: Some(&self.signature_encryption_key),
        };
        let ticket = self.last_ticket;
        let job = keys.job(credential, &binding, message.payload(), ticket)?;
        let sender = Member::new(&self.name, credential.bytes(), kid);
        Ok((Checking { ticket, sender }, job))
    }

    /// Who signed the message.
    ///
    /// # Errors
    /// [`Reason::NotVerified`]; [`Reason::WrongResult`].
    pub fn finish(&self, checking: Checking, checked: Checked) -> Result<Member, Reason> {
        match checked.of(checking.ticket) {
            Some(true) => Ok(checking.sender),
            Some(false) => Err(Reason::NotVerified),
            None => Err(Reason::WrongResult),
        }
    }
}

impl fmt::Debug for SignatureChecker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignatureChecker")
            .field("name", &self.name)
            .field("gid", &self.gid)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}
