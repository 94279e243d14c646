//! `--dry-run`: the message as it would be sent, byte for byte but for Message ID and Token, and its sizes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use antiphon::proto::SIXLOWPAN_BUDGET;
use antiphon_wire::uri::Host;
use antiphon_wire::{
    Message, MessageId, NoResponse, Opt, OptionNumber, Scope, Token, Type, Writer,
};
use serde_json::json;

use super::{LinkChoice, Plan};
use crate::decode;
use crate::failure::Failure;
use crate::offline::{self, Sizes as Protected};
use crate::terminal::{self, Style};
use crate::{duration, exit, hex, render};

/// Tokens of this length are unguessable; that many the endpoint chooses.
const TOKEN_LEN: usize = 8;

/// Where the Message ID and Token stand in the datagram.
const CHOSEN_LATER: core::ops::Range<usize> = 2..4 + TOKEN_LEN;

/// Shows the plan; sends nothing.
pub(super) fn run(plan: &Plan<'_>) -> Result<u8, Failure> {
    let datagram = datagram(plan)?;
    let message = Message::parse(&datagram).map_err(|error| Failure::usage(error.to_string()))?;
    let sizes = Sizes::of(&message);
    let budget = FrameBudget::towards(plan.uri.host.ip());
    let protected = protected(plan, &message)?;
    let total = protected.as_ref().map_or(sizes.total, |sizes| sizes.total);
    if plan.question.json {
        println!("{}", as_json(plan, &message, &sizes, protected, budget));
    } else {
        print!(
            "{}",
            as_text(plan, &message, &sizes, protected, budget, Style::stdout())
        );
    }
    let strict = plan.question.link == LinkChoice::SixLowpanStrict && plan.uri.is_multicast();
    if strict && total > SIXLOWPAN_BUDGET {
        return Err(Failure::usage(format!(
            "it would be refused: --link 6lowpan-strict allows {SIXLOWPAN_BUDGET} bytes, and these are {total}"
        )));
    }
    Ok(exit::ALL)
}

/// What the protection of --group makes of it.
fn protected(plan: &Plan<'_>, message: &Message<'_>) -> Result<Option<Protected>, Failure> {
    let protection = &plan.question.whom.protection;
    let Some(path) = &protection.group else {
        return Ok(None);
    };
    let keys = offline::read(path, protection.group_name.as_deref())?;
    let [keys] = keys.as_slice() else {
        return Err(Failure::usage(format!(
            "{} holds several: say which with --group-name",
            path.display()
        )));
    };
    let to = plan.question.whom.to.as_deref();
    let next = offline::next_number(path, keys);
    offline::measure(keys, message, plan.uri.is_multicast(), to, next).map(Some)
}

/// The whole message; zeros stand for what is chosen when it is sent.
fn datagram(plan: &Plan<'_>) -> Result<Vec<u8>, Failure> {
    let kind = match plan.uri.is_multicast() || plan.question.non {
        true => Type::Non,
        false => Type::Con,
    };
    // A name gives Uri-Host whatever it resolves to.
    let ip = plan
        .uri
        .host
        .ip()
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let destination = SocketAddr::new(ip, plan.uri.effective_port());
    let mut options = plan.options.clone();
    if plan.silent
        && !options
            .iter()
            .any(|(number, _)| *number == OptionNumber::NO_RESPONSE)
    {
        options.push((
            OptionNumber::NO_RESPONSE,
            NoResponse::ALL.encode().as_bytes().to_vec(),
        ));
        options.sort_by_key(|(number, _)| *number);
    }
    let others: Vec<Opt<'_>> = options
        .iter()
        .map(|(number, value)| Opt {
            number: *number,
            value,
        })
        .collect();
    // The URI is at most 8 KiB; the rest is measured.
    let room =
        16_384 + plan.payload.bytes.len() + others.iter().map(|o| o.value.len() + 5).sum::<usize>();
    let mut buffer = vec![0; room];
    let fail = |error: antiphon_wire::EncodeError| Failure::usage(error.to_string());
    let mut writer = Writer::new(
        &mut buffer,
        kind,
        plan.method,
        MessageId(0),
        Token::full([0; TOKEN_LEN]),
    )
    .map_err(fail)?;
    plan.uri
        .write_options_among(&mut writer, destination, &others)
        .map_err(fail)?;
    writer.payload(&plan.payload.bytes).map_err(fail)?;
    let len = writer.finish();
    buffer.truncate(len);
    Ok(buffer)
}

/// What the datagram consists of, in bytes.
struct Sizes {
    options: usize,
    payload: usize,
    total: usize,
}

impl Sizes {
    fn of(message: &Message<'_>) -> Self {
        let total = message.as_bytes().len();
        let payload = match message.payload().len() {
            0 => 0,
            len => len + 1,
        };
        Self {
            options: total - 4 - TOKEN_LEN - payload,
            payload,
            total,
        }
    }
}

/// How many bytes of UDP payload one IEEE 802.15.4 frame of 127 bytes carries after 6LoWPAN compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameBudget {
    open: usize,
    /// With link-layer security.
    secured: usize,
}

impl FrameBudget {
    /// RFC 4944 section 4: 127 bytes, of which the MAC takes at most 25, and AES-CCM-128 another 21.
    /// RFC 6282: IPHC 2, context 1, hop limit 1, source 8 (prefix by context), UDP 1 + 4 + 2.
    const MAC: usize = 127 - 25;
    const LINK_SECURITY: usize = 21;
    const IP_AND_UDP: usize = 2 + 1 + 1 + 8 + 7;

    /// Towards this address; 6LoWPAN carries IPv6 only.
    fn towards(ip: Option<IpAddr>) -> Option<Self> {
        let destination = match ip {
            Some(IpAddr::V4(_)) => return None,
            Some(IpAddr::V6(ip)) => compressed(ip),
            None => 16,
        };
        let open = Self::MAC - Self::IP_AND_UDP - destination;
        Some(Self {
            open,
            secured: open - Self::LINK_SECURITY,
        })
    }
}

/// The bytes that RFC 6282 section 3.1.1 leaves of a destination address without a context.
fn compressed(ip: Ipv6Addr) -> usize {
    let [first, scope, rest @ ..] = ip.octets();
    if first != 0xff {
        // A member of the same network: the prefix by context.
        return 8;
    }
    let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
    match (scope, zeros) {
        (2, 13..) => 1,
        (_, 11..) => 4,
        (_, 9..) => 6,
        _ => 16,
    }
}

fn where_to(plan: &Plan<'_>) -> String {
    let port = plan.uri.effective_port();
    match plan.uri.host {
        Host::Name(name) => format!(
            "{} port {port}, resolved when it is sent",
            terminal::line(name)
        ),
        Host::V4(ip) if ip.is_multicast() => format!("the group {ip} port {port}"),
        Host::V6 { addr, zone } if addr.is_multicast() => {
            let scope =
                Scope::of(addr).map_or_else(|| "unassigned".into(), |scope| scope.to_string());
            let zone = zone.map(|zone| format!(" on {zone}")).unwrap_or_default();
            format!("the group {addr}{zone} port {port}, {scope} scope")
        }
        Host::V4(ip) => format!("{ip} port {port}"),
        Host::V6 { addr, .. } => format!("{addr} port {port}"),
    }
}

fn as_text(
    plan: &Plan<'_>,
    message: &Message<'_>,
    sizes: &Sizes,
    protected: Option<Protected>,
    budget: Option<FrameBudget>,
    style: Style,
) -> String {
    let mut out = format!(
        "{}  {}\n",
        style.bold(&format!(
            "{} {}",
            decode::type_name(message.kind()),
            decode::code_name(message.code())
        )),
        terminal::line(&plan.question.whom.uri)
    );
    let mut say = |what: &str, text: &str| out.push_str(&format!("  {what:<9} {text}\n"));
    say("to", &where_to(plan));
    let q = plan.question;
    if !plan.silent {
        if let Some(time) = q.collect_for {
            say(
                "collects",
                &format!("{} after the last transmission", duration::show(time)),
            );
        }
        if !plan.members.is_empty() {
            let names: Vec<String> = plan
                .members
                .iter()
                .map(|m| terminal::line(&m.name))
                .collect();
            say(
                "expects",
                &format!("{} members: {}", names.len(), names.join(", ")),
            );
        }
    }
    if q.repeat > 0 {
        say("repeats", &q.repeat.to_string());
    }
    if message.options().next().is_some() {
        out.push_str(&decode::options_text(message, style));
    }
    if !plan.payload.bytes.is_empty() {
        let shown = render::payload(plan.payload.format, &plan.payload.bytes);
        out.push_str(&format!(
            "  payload   {}\n",
            terminal::fit(&shown.line, 100)
        ));
        if let Some(complaint) = shown.complaint {
            out.push_str(&format!("            {}\n", style.warn(&complaint)));
        }
    }
    let ip_header = match plan.uri.host.ip() {
        Some(IpAddr::V6(_)) => Some((48, "IPv6")),
        Some(IpAddr::V4(_)) => Some((28, "IPv4")),
        None => None,
    };
    let mut size = format!(
        "{} bytes: header 4, token {TOKEN_LEN}, options {}, payload {}",
        sizes.total, sizes.options, sizes.payload
    );
    let total = protected.map_or(sizes.total, |protected| protected.total);
    let with = match ip_header {
        Some((header, name)) => format!("; {} with UDP and {name}", total + header),
        None => String::new(),
    };
    match protected {
        None => size.push_str(&with),
        Some(of) => {
            size.push_str(", before protection\n");
            let signature = match of.signature {
                0 => String::new(),
                signature => format!(", signature {signature}"),
            };
            size.push_str(&format!(
                "  protected {total} bytes: header 4, token {TOKEN_LEN}, options outside {}, OSCORE option {}, ciphertext {}, tag {}{signature}{with}",
                of.outer, of.option, of.ciphertext, of.tag
            ));
        }
    }
    out.push_str(&format!("  size      {size}\n"));
    out.push_str(&format!(
        "  6LoWPAN   {}\n",
        frame(total, protected, budget, style)
    ));
    match protected {
        // What is encrypted is never shown under two keystreams, and a dry run has no number of its own.
        Some(of) => {
            let numbers = match of.number {
                Some(next) => format!("sequence number {next} is next"),
                None => "measured with the first ones; up to 4 bytes more as numbers grow".into(),
            };
            out.push_str(&format!("  numbers   {numbers}\n"));
            out.push_str("  Nothing was sent, and no sequence number was used.\n");
        }
        None => {
            out.push_str(&format!("  datagram  {}\n", template(message)));
            out.push_str(
                "  Nothing was sent. Message ID (mm) and token (tt) are chosen anew each time.\n",
            );
        }
    }
    out
}

/// Whether so many bytes fit one frame, and what the signature has to do with it.
fn frame(
    total: usize,
    protected: Option<Protected>,
    budget: Option<FrameBudget>,
    style: Style,
) -> String {
    let Some(budget) = budget else {
        return "carries IPv6 only".to_owned();
    };
    if total <= budget.secured {
        return format!(
            "fits one frame: {total} of {} bytes, of {} with link-layer security",
            budget.open, budget.secured
        );
    }
    if total <= budget.open {
        return style.warn(&format!(
            "fits one frame ({total} of {} bytes), but not with link-layer security ({} bytes)",
            budget.open, budget.secured
        ));
    }
    let why = match protected.map_or(0, |sizes| sizes.signature) {
        0 => "Fragments of a multicast are lost together.".to_owned(),
        signature if total - signature <= budget.open => format!(
            "Without its signature of {signature} bytes it would: to single members, in pairwise mode, it has none."
        ),
        signature => format!("Its signature alone takes {signature}."),
    };
    style.warn(&format!(
        "does not fit one frame: {total} of {} bytes. {why}",
        budget.open
    ))
}

/// The datagram in hexadecimal with letters where bytes are chosen later.
fn template(message: &Message<'_>) -> String {
    let parts: Vec<String> = message
        .as_bytes()
        .iter()
        .enumerate()
        .map(|(i, byte)| match i {
            2 | 3 => "mm".into(),
            _ if CHOSEN_LATER.contains(&i) => "tt".into(),
            _ => format!("{byte:02x}"),
        })
        .collect();
    parts.join(" ")
}

fn as_json(
    plan: &Plan<'_>,
    message: &Message<'_>,
    sizes: &Sizes,
    protected: Option<Protected>,
    budget: Option<FrameBudget>,
) -> serde_json::Value {
    let total = protected.map_or(sizes.total, |protected| protected.total);
    let mut shown = decode::message_json(message);
    if let Some(object) = shown.as_object_mut() {
        object.remove("ok");
        object.remove("message_id");
        object.remove("token");
        object.remove("note");
        object.remove("bytes");
        object.insert("event".into(), json!("dry-run"));
        object.insert("uri".into(), json!(plan.question.whom.uri));
        object.insert("group".into(), json!(plan.uri.is_multicast()));
        object.insert("size".into(), json!({
            "header": 4, "token": TOKEN_LEN, "options": sizes.options, "payload": sizes.payload, "total": sizes.total,
        }));
        object.insert("protected".into(), match protected {
            Some(p) => json!({
                "header": 4, "token": TOKEN_LEN, "outer_options": p.outer, "oscore_option": p.option,
                "ciphertext": p.ciphertext, "tag": p.tag, "signature": p.signature, "total": p.total, "sequence_number": p.number,
            }),
            None => json!(null),
        });
        object.insert("frame".into(), match budget {
            Some(b) => json!({"open": b.open, "secured": b.secured, "fits": total <= b.open, "fits_secured": total <= b.secured}),
            None => json!(null),
        });
        let options_and_payload = hex::plain(message.options_and_payload());
        object.insert("options_and_payload_hex".into(), json!(options_and_payload));
        object.insert(
            "expected".into(),
            plan.members.iter().map(|m| m.name.as_str()).collect(),
        );
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_shrink_by_rfc_6282() {
        for (ip, bytes) in [
            ("ff02::fd", 1),
            ("ff02::1:fd", 4),
            ("ff05::fd", 4),
            ("ff05::1:8000:1", 6),
            ("ff35:30:2001:db8:f1::8000:1", 16),
            ("2001:db8::1", 8),
        ] {
            assert_eq!(compressed(ip.parse().unwrap()), bytes, "{ip}");
        }
    }

    #[test]
    fn the_frame_budget_follows_the_address() {
        let towards = |ip: &str| FrameBudget::towards(Some(ip.parse().unwrap()));
        assert_eq!(
            towards("ff02::fd"),
            Some(FrameBudget {
                open: 82,
                secured: 61
            })
        );
        assert_eq!(
            towards("ff35:30:2001:db8:f1::8000:1"),
            Some(FrameBudget {
                open: 67,
                secured: 46
            })
        );
        assert_eq!(towards("224.0.1.187"), None);
        assert_eq!(
            FrameBudget::towards(None),
            Some(FrameBudget {
                open: 67,
                secured: 46
            })
        );
    }
}
