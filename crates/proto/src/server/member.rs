//! Where a member of a security group is reached, for those who know its Sender ID alone
//! (draft-ietf-core-oscore-groupcomm-28 section 8.1).
//!
//! A client has the credential and the Sender ID of each member as soon as it has joined, and no address. It asks the group,
//! `GET /member-address?kid=0a`, and the member of that Sender ID answers with a link to itself, from its unicast address:
//! `<coap://192.0.2.7:5683>;kid="0a"`. All others are silent. `kid` is hexadecimal and may be given several times; without
//! it, a request in pairwise mode is meant for whoever can open it.

use alloc::string::String;
use core::fmt::{self, Write as _};
use core::net::SocketAddr;

use antiphon_wire::link::LinkWriter;
use antiphon_wire::{ContentFormat, Message, OptionNumber};

use crate::identity::{SecurityMode, Standing};
use crate::message::Response;
use crate::path::Path;
use crate::resource::{Operation, Resource};

/// The path at which address discovery is offered unless another one is chosen.
pub const MEMBER_ADDRESS: &str = "/member-address";

/// Its resource type.
pub const MEMBER_ADDRESS_TYPE: &str = "antiphon.member-address";

/// Is this a request for the address of a member, and not for that of this one?
pub(super) fn is_for_others(
    resource: &Resource,
    message: &Message<'_>,
    standing: &Standing<'_>,
) -> bool {
    let asks = resource.operations.iter().any(|(methods, operation)| {
        methods.contains(message.code()) && matches!(operation, Operation::MemberAddress)
    });
    asks && !is_for_me(message, standing)
}

fn is_for_me(message: &Message<'_>, standing: &Standing<'_>) -> bool {
    let Some(own) = standing.own_id else {
        return false;
    };
    let mut wanted = message
        .options_of(OptionNumber::URI_QUERY)
        .filter_map(|item| item.strip_prefix(b"kid="))
        .peekable();
    match wanted.peek() {
        None => matches!(standing.mode, SecurityMode::Pairwise { .. }),
        Some(_) => wanted.any(|kid| is_hexadecimal(kid, own)),
    }
}

/// Are these the digits of the bytes?
fn is_hexadecimal(digits: &[u8], bytes: &[u8]) -> bool {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    digits.len() == 2 * bytes.len()
        && digits.chunks_exact(2).zip(bytes).all(|(pair, byte)| {
            let value = pair
                .iter()
                .try_fold(0, |value, next| Some(16 * value + digit(next)?));
            value == Some(u32::from(*byte))
        })
}

/// Answers with a link to this endpoint. Where its address is not known, the link is relative: to where the answer comes from.
pub(super) fn write(path: &Path, standing: &Standing<'_>, response: &mut Response) {
    let own = match path.is_multicast() {
        true => standing.own_address,
        false => Some(path.local),
    };
    let mut links = String::new();
    // Writing to memory does not fail.
    let _ = link(&mut links, own, standing.own_id.unwrap_or_default());
    response.set_payload(ContentFormat::LINK_FORMAT, links.as_bytes());
}

fn link(out: &mut String, own: Option<SocketAddr>, kid: &[u8]) -> fmt::Result {
    let mut target = String::new();
    match own.filter(|own| !own.ip().is_unspecified()) {
        // The zone of a link-local address means nothing to others.
        Some(SocketAddr::V6(own)) => write!(target, "coap://[{}]:{}", own.ip(), own.port())?,
        Some(own) => write!(target, "coap://{own}")?,
        None => target.push('/'),
    }
    let mut digits = String::new();
    for byte in kid {
        write!(digits, "{byte:02x}")?;
    }
    let mut link = LinkWriter::new(out);
    link.link(&target)?.attribute("kid", &digits)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_id_is_two_digits_a_byte() {
        for (digits, bytes) in [
            (&b"0a"[..], &[10][..]),
            (b"0A", &[10]),
            (b"", &[]),
            (b"00ff10", &[0, 255, 16]),
        ] {
            assert!(is_hexadecimal(digits, bytes), "{bytes:?}");
        }
        for (digits, bytes) in [
            (&b"0b"[..], &[10][..]),
            (b"1a", &[10]),
            (b"a", &[10]),
            (b"0a0", &[10]),
            (b"0a0a", &[10]),
            (b"0g", &[16]),
            (b"+a", &[10]),
            (b"", &[0]),
            (b"00", &[]),
        ] {
            assert!(!is_hexadecimal(digits, bytes), "{bytes:?}");
        }
    }

    #[test]
    fn the_link_leads_to_an_address_that_others_can_use() {
        let show = |own: Option<&str>, kid: &[u8]| {
            let mut out = String::new();
            link(&mut out, own.map(|own| own.parse().unwrap()), kid).unwrap();
            out
        };
        let kid = &[0, 0xa1];
        assert_eq!(
            show(Some("192.0.2.7:5683"), kid),
            "<coap://192.0.2.7:5683>;kid=\"00a1\""
        );
        assert_eq!(
            show(Some("[fe80::7%3]:61616"), kid),
            "<coap://[fe80::7]:61616>;kid=\"00a1\""
        );
        for unknown in [None, Some("0.0.0.0:5683"), Some("[::]:5683")] {
            assert_eq!(show(unknown, kid), "</>;kid=\"00a1\"");
        }
        assert_eq!(show(None, &[]), "</>;kid=\"\"");
    }
}
