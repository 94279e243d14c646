//! What responses to a request are bound to, for a request that was seen and not sent.

use antiphon_wire::{Message, OptionNumber};

use super::{Asked, Intended, Servers, option_of};
use crate::context::CredentialHash;
use crate::contexts::Contexts;
use crate::identity::{Gid, Kid, Mode};
use crate::refused::{Reason, Refused};

impl Contexts {
    /// What a response to this protected request is bound to, whoever sent the request: for tools that look at recorded messages. The
    /// request itself is not verified. `server` is whom it was for, where that is known: a response in pairwise mode need not name
    /// its sender.
    ///
    /// Responses in group mode are opened by whoever is in the group; those in pairwise mode only where the sender of the
    /// request has its private key.
    ///
    /// # Errors
    /// [`Reason::Malformed`]; [`Reason::NoContext`], also if `server` is not known.
    pub fn overheard(
        &mut self,
        request: &Message<'_>,
        server: Option<Kid>,
    ) -> Result<Asked, Refused> {
        let (option, _) = option_of(request)?;
        let (piv, kid) = option
            .check_request(option.group_flag)
            .map_err(|_| Reason::Malformed)?;
        let kid = Kid::new(kid).ok_or(Reason::NoContext)?;
        let mut asked = Asked {
            ticket: self.ticket(),
            place: crate::contexts::ContextId::Pair(crate::contexts::PairId(0)),
            context: 0,
            kid,
            piv,
            kid_context: option.kid_context.and_then(Gid::new),
            mode: Mode::Plain,
            intended: None,
            observe: request.option(OptionNumber::OBSERVE).is_some(),
            answered: false,
            oldest: 0,
            servers: Servers::default(),
            limit: 1,
        };
        let group = self
            .groups
            .iter()
            .find(|(_, group)| Some(group.current.common.gid.as_bytes()) == option.kid_context);
        if let Some((id, group)) = group {
            asked.place = (*id).into();
            asked.context = group.current.serial;
            asked.mode = match option.group_flag {
                true => Mode::Group,
                false => Mode::Pairwise,
            };
            if let Some(server) = server {
                let peer = group.current.recipients.get(server);
                asked.intended = Some(Intended {
                    kid: server,
                    credential: peer.ok_or(Reason::NoContext)?.hash,
                });
            }
            return Ok(asked);
        }
        let pair = self.pairs.iter().find(|(_, pair)| pair.sender_id == kid);
        let (id, pair) = pair
            .filter(|_| !option.group_flag)
            .ok_or(Reason::NoContext)?;
        asked.place = (*id).into();
        asked.context = crate::pair::Pair::SERIAL;
        asked.intended = Some(Intended {
            kid: pair.recipient_id,
            credential: CredentialHash::NONE,
        });
        Ok(asked)
    }
}
