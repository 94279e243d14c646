//! Sending a request: to a group, with a table of answers, or to one member.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use antiphon::error::ResolveError;
use antiphon::proto::{Larger, LinkProfile, SIXLOWPAN_BUDGET, SendError};
use antiphon::{
    Client, Completion, EndpointConfig, Expectation, FurtherBlocks, GroupMember, NoSec, OneError,
    Repeat, Request, SecurityGroup, Signed,
};
use antiphon_wire::uri::Host;
use antiphon_wire::{Code, Message, OptionNumber};

use super::{IdSource, LinkChoice, Plan};
use crate::cbor;
use crate::collecting::{self, print_line};
use crate::decode::code_name;
use crate::failure::Failure;
use crate::members::{Member, MemberAddress};
use crate::outcome::{Reporter, Shown};
use crate::progress::Progress;
use crate::secured::{self, Keys, SignedBy, With};
use crate::terminal::{self, Style};
use crate::watch::Watch;
use crate::{duration, exit, render};

/// Sends the request and waits for what comes: the exit code.
pub(super) fn run(plan: &Plan<'_>) -> Result<u8, Failure> {
    let security = Security::of(plan)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = client(plan).await?;
        let watch = security.watch();
        let asked = match is_group(plan, &client).await? {
            true => ask_group(plan, &client, &security).await,
            false => ask_one(plan, &client, &security).await,
        };
        // What was counted is written down exactly, however the question ended.
        drop(watch);
        client.close().await;
        let closed = security.close();
        asked.and_then(|code| closed.map(|()| code))
    })
}

/// How the request is protected: stated in any case.
pub(super) enum Security {
    Unsecured(NoSec),
    Secured(Keys),
}

impl Security {
    pub(super) fn of(plan: &Plan<'_>) -> Result<Self, Failure> {
        let protection = &plan.question.whom.protection;
        match &protection.group {
            Some(path) => Ok(Self::Secured(Keys::open(
                path,
                protection.group_name.as_deref(),
            )?)),
            None => unsecured(plan).map(Self::Unsecured),
        }
    }

    /// The security group, if it is one.
    pub(super) fn group(&self) -> Option<&SecurityGroup> {
        match self {
            Self::Unsecured(_) => None,
            Self::Secured(keys) => keys.group(),
        }
    }

    /// New keys come into effect while the command waits.
    pub(super) fn watch(&self) -> Option<Watch> {
        match self {
            Self::Unsecured(_) => None,
            Self::Secured(keys) => keys.watch(false, |news| eprintln!("antiphon: {news}")),
        }
    }

    pub(super) fn close(self) -> Result<(), Failure> {
        match self {
            Self::Unsecured(_) => Ok(()),
            Self::Secured(keys) => keys.close(),
        }
    }
}

/// The stated choice to send without security. Discovery is an unsecured step by its nature.
fn unsecured(plan: &Plan<'_>) -> Result<NoSec, Failure> {
    if plan.question.whom.protection.unsecured {
        return Ok(NoSec::Accepted);
    }
    let mut path = plan.uri.path_segments();
    let discovers = path.next().is_some_and(|s| s == *".well-known")
        && path.next().is_some_and(|s| s == *"core")
        && path.next().is_none();
    if discovers && matches!(plan.method, Code::GET | Code::FETCH) {
        return Ok(NoSec::Discovery);
    }
    Err(Failure::usage(
        "the request would travel without security: anyone on its way can read, change and repeat it.\n\
         Protect it with --group FILE (`antiphon oscore new-group` makes one). If it is meant to be open, say --unsecured (-u), or \
         set ANTIPHON_UNSECURED=1.",
    ))
}

pub(super) async fn client(plan: &Plan<'_>) -> Result<Client, Failure> {
    let q = plan.question;
    let mut config = EndpointConfig::default();
    config.collections.link = match q.link {
        LinkChoice::Any => LinkProfile::Unconstrained,
        LinkChoice::SixLowpan => LinkProfile::SIXLOWPAN,
        LinkChoice::SixLowpanStrict => LinkProfile::SixLowpan {
            budget: SIXLOWPAN_BUDGET,
            larger: Larger::Refuse,
        },
    };
    config.transfers.size = q.block_size;
    let mut builder = Client::builder().endpoint(config).hops(q.whom.hops);
    for interface in &q.whom.interface {
        builder = builder.interface(interface);
    }
    if let Some(local) = q.whom.bind {
        builder = builder.bind(local);
    }
    builder
        .build()
        .await
        .map_err(|error| Failure::local(terminal::line(&error.to_string())))
}

/// Is the URI about a group? An address says so itself, a name by what it resolves to.
pub(super) async fn is_group(plan: &Plan<'_>, client: &Client) -> Result<bool, Failure> {
    if !matches!(plan.uri.host, Host::Name(_)) {
        return Ok(plan.uri.is_multicast());
    }
    let Ok(call) = client.group(&plan.question.whom.uri) else {
        return Ok(false);
    };
    match call.groups().await {
        Ok(_) => Ok(true),
        Err(ResolveError::NotAGroup { .. }) => Ok(false),
        Err(error) => Err(Failure::local(terminal::line(&error.to_string()))),
    }
}

pub(super) fn request(plan: &Plan<'_>) -> Request {
    let mut request = Request::new(plan.method);
    for (number, value) in &plan.options {
        request.options.push(*number, value);
    }
    request.payload.clone_from(&plan.payload.bytes);
    request
}

async fn ask_group(plan: &Plan<'_>, client: &Client, security: &Security) -> Result<u8, Failure> {
    let q = plan.question;
    if q.whom.to.is_some() {
        return Err(Failure::usage(format!(
            "{} is a group, so --to has no meaning; --expect says whose answers are awaited",
            terminal::line(&q.whom.uri)
        )));
    }
    let (members, expected) = expected(plan, security.group())?;
    let call = client
        .group(&q.whom.uri)
        .map_err(|error| Failure::usage(terminal::line(&error.to_string())))?
        .request(request(plan))
        .expect(expected);
    let mut call = match security {
        Security::Unsecured(reason) => call.unsecured(*reason),
        Security::Secured(Keys {
            with: With::Group(group),
            ..
        }) => call.secure(group),
        Security::Secured(_) => {
            return Err(Failure::usage(
                "an OSCORE context is for one peer; a group is asked with a security group",
            ));
        }
    };
    if let Some(time) = q.collect_for {
        call = call.collect_for(time);
    }
    if let Some(count) = q.count {
        call = call.count(count as usize);
    }
    let repeats = u8::try_from(q.repeat).unwrap_or(u8::MAX);
    if repeats > 0 {
        call = call.repeat(match q.same_message {
            true => Repeat::SameMessage(repeats),
            false => Repeat::NewMessageId(repeats),
        });
    }
    if let Some(at_once) = q.complete {
        call = call.complete(Completion::Unicast {
            at_once: usize::from(at_once),
            within: q.complete_within,
        });
    }
    if q.blocks_by_group {
        call = call.further_blocks(FurtherBlocks::Group);
    }
    if q.idempotent {
        call = call.idempotent();
    }
    if let Some(time) = q.leisure {
        call = call.leisure(time);
    }
    if let Some(time) = q.rtt {
        call = call.rtt(time);
    }
    if let Some(time) = q.late {
        call = call.late(time);
    }
    if plan.silent {
        call = call.silent();
    }
    let collection = call.send().await.map_err(|error| match &error {
        antiphon::AskError::Collect(antiphon::CollectError::NotIdempotent(_)) => Failure::usage(
            format!("{error}; if it does no harm twice, say --idempotent"),
        ),
        other => collecting::not_asked(other),
    })?;

    let names: Vec<&str> = members.iter().map(String::as_str).collect();
    let group = security.group();
    let signed = group.is_some();
    let mut reporter = match q.json {
        true => Reporter::json(),
        false => Reporter::text(&names, signed, q.full, Style::stdout(), terminal::width()),
    };
    let followed = collecting::follow(collection, &names, group, &mut reporter, q.json).await?;
    let summary = collecting::summary(&followed, plan.silent);
    print_line(&reporter.summary(&summary))?;
    match followed.outcome.ended_by {
        antiphon::EndedBy::Failed(error) => {
            Err(Failure::local(format!("nothing could be sent: {error}")))
        }
        antiphon::EndedBy::NotProtected(why) => {
            Err(Failure::local(format!("nothing was sent: {why}")))
        }
        _ => Ok(summary.exit_code()),
    }
}

/// Who is expected, by name and as the endpoint recognises them: by their proven identities where a security group has them.
pub(super) fn expected(
    plan: &Plan<'_>,
    group: Option<&SecurityGroup>,
) -> Result<(Vec<String>, Expectation), Failure> {
    let q = plan.question;
    let Some(group) = group else {
        let names = plan.members.iter().map(|m| m.name.clone()).collect();
        return Ok((names, expectation(&plan.members, q.whom.id_from.as_ref())?));
    };
    if q.whom.id_from.is_some() || plan.members.iter().any(|member| member.id.is_some()) {
        return Err(Failure::usage(
            "with --group members are recognised by what is proven; ids that they say of themselves have no meaning",
        ));
    }
    let mut names = Vec::new();
    let mut expectation = Expectation::nobody();
    let mut taken = Vec::new();
    for member in &plan.members {
        let known = secured::member(group, &member.name)?;
        let mut expected = antiphon::Member::named(&member.name).identity(known.identity());
        for address in &member.addresses {
            expected = expected.at(endpoint_address(address)?);
        }
        expectation.add(expected);
        names.push(member.name.clone());
        taken.push(known.kid());
    }
    if q.whom.everyone {
        for member in group
            .members()
            .filter(|member| !taken.contains(&member.kid()))
        {
            names.push(member.name());
            expectation.add(member.expected());
        }
    }
    Ok((names, expectation))
}

/// The member that a request to one address is for: named, or that of this address in the members file.
pub(super) fn addressee(
    plan: &Plan<'_>,
    group: &SecurityGroup,
    address: Option<IpAddr>,
) -> Result<GroupMember, Failure> {
    if let Some(name) = &plan.question.whom.to {
        return secured::member(group, name);
    }
    let has_address = |member: &&Member| {
        member.addresses.iter().any(|known| {
            Some(known.ip) == address
                && known
                    .port
                    .is_none_or(|port| port == plan.uri.effective_port())
        })
    };
    match plan.members.iter().find(has_address) {
        Some(member) => secured::member(group, &member.name),
        None => Err(Failure::usage(format!(
            "say which member of {} is at {}: --to NAME, or --members FILE with its address",
            terminal::line(group.name()),
            terminal::line(&plan.question.whom.uri)
        ))),
    }
}

/// The expected members as the endpoint recognises them.
pub(crate) fn expectation(
    members: &[Member],
    id_from: Option<&IdSource>,
) -> Result<Expectation, Failure> {
    let mut expectation = Expectation::nobody();
    for member in members {
        let mut expected = antiphon::Member::named(&member.name);
        for address in &member.addresses {
            expected = expected.at(endpoint_address(address)?);
        }
        match (&member.id, id_from) {
            (Some(id), Some(_)) => expected = expected.id(id.as_bytes()),
            (Some(_), None) => {
                return Err(Failure::usage(
                    "members have ids: say where an answer states its id (--id-from)",
                ));
            }
            (None, _) => {}
        }
        expectation.add(expected);
    }
    match id_from.cloned() {
        Some(IdSource::Option(number)) => {
            expectation.identified_by_option(number);
        }
        Some(IdSource::Payload(pointer)) => {
            expectation.identified_by(Box::new(move |message| id_in(message, &pointer)));
        }
        None => {}
    }
    Ok(expectation)
}

/// The value at a JSON pointer of a JSON or CBOR payload; with the empty pointer, the payload as it is.
fn id_in(message: &Message<'_>, pointer: &str) -> Option<Vec<u8>> {
    if pointer.is_empty() {
        return Some(message.payload().to_vec());
    }
    let json = match crate::decode::content_format(message) {
        Some(format) if render::is_cbor(format) => cbor::read(message.payload()).ok()?,
        _ => cbor::Value::from_json(message.payload()).ok()?,
    }
    .to_json();
    Some(match json.pointer(pointer)? {
        serde_json::Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    })
}

pub(crate) fn endpoint_address(address: &MemberAddress) -> Result<SocketAddr, Failure> {
    let port = address.port.unwrap_or(0);
    match (address.ip, &address.zone) {
        (IpAddr::V6(ip), Some(zone)) => {
            let interface = antiphon::interfaces::resolve(zone)
                .map_err(|error| Failure::local(format!("{address}: {error}")))?;
            Ok(SocketAddrV6::new(ip, port, 0, interface.index).into())
        }
        (ip, _) => Ok(SocketAddr::new(ip, port)),
    }
}

async fn ask_one(plan: &Plan<'_>, client: &Client, security: &Security) -> Result<u8, Failure> {
    let q = plan.question;
    plan.refuse_group_only()?;
    let mut request = request(plan);
    if plan.silent {
        let all = antiphon_wire::NoResponse::ALL.encode();
        request
            .options
            .set(OptionNumber::NO_RESPONSE, all.as_bytes());
    }
    let call = client
        .one(&q.whom.uri)
        .map_err(|error| Failure::usage(terminal::line(&error.to_string())))?
        .request(request)
        .confirmable(!q.non && !plan.silent);
    let mut call = match security {
        Security::Unsecured(reason) => call.unsecured(*reason),
        Security::Secured(Keys {
            with: With::Pair(context),
            ..
        }) => call.secure(context),
        Security::Secured(Keys {
            with: With::Group(group),
            ..
        }) => call.secure(&addressee(plan, group, plan.uri.host.ip())?),
    };
    if let Some(time) = q.collect_for {
        call = call.timeout(time);
    }
    if let Some(interface) = q.whom.interface.first() {
        call = call.interface(interface);
    }
    let mut progress = Progress::new(!q.json);
    if progress.is_enabled() {
        call = call.on_progress(move |body| progress.show(&transfer(&body)));
    }
    let answer = tokio::select! {
        answer = call.send() => answer,
        signal = tokio::signal::ctrl_c() => {
            signal?;
            Err(OneError::Failed(antiphon::Failure::Cancelled))
        }
    };
    let reply = match answer {
        Ok(reply) => reply,
        Err(OneError::Failed(failure)) => return no_reply(plan, failure),
        Err(error) => return Err(collecting::not_sent(&error)),
    };
    let response = &reply.response;
    let code = match response.code.response_class() {
        Some(antiphon_wire::Class::Success) => exit::ALL,
        _ => exit::REFUSED,
    };
    let format = collecting::content_format(&response.options);
    let shown = Shown {
        member: None,
        from: reply.from,
        signer: reply
            .signer()
            .map(|signer| SignedBy::of(&signer, security.group())),
        code: response.code,
        after: reply.after,
        how: "unicast".into(),
        sequence: 1,
        format,
        payload: &response.payload,
        truncated: collecting::is_truncated(&response.options),
    };
    if q.json {
        print_line(&Reporter::json().answer(&shown))?;
        return Ok(code);
    }
    let to_file = q.output.is_some() && code == exit::ALL;
    let style = match q.raw || to_file {
        true => Style::stderr(),
        false => Style::stdout(),
    };
    let head = one_line(&shown, style);
    if let Some(path) = q.output.as_ref().filter(|_| to_file) {
        std::fs::write(path, &response.payload)
            .map_err(|error| Failure::local(format!("{}: {error}", path.display())))?;
        eprintln!("{head}");
        return Ok(code);
    }
    if q.raw {
        use std::io::Write;
        eprintln!("{head}");
        let mut out = std::io::stdout().lock();
        out.write_all(&response.payload)?;
        out.flush()?;
        return Ok(code);
    }
    print_line(&head)?;
    let rendered = render::payload(format, &response.payload);
    if let Some(complaint) = rendered.complaint {
        print_line(&style.warn(&complaint))?;
    }
    if !rendered.block.is_empty() {
        print_line(&rendered.block)?;
    }
    Ok(code)
}

/// `received 3072 of 5000 bytes`.
fn transfer(body: &antiphon::BodyProgress) -> String {
    let what = match body.sending {
        true => "sent",
        false => "received",
    };
    match body.total {
        Some(total) => format!("{what} {} of {total} bytes", body.bytes),
        None => format!("{what} {} bytes", body.bytes),
    }
}

/// `2.05 Content from 10.0.0.7:5683 in 3.1 ms, application/cbor, 5 bytes`.
fn one_line(shown: &Shown<'_>, style: Style) -> String {
    let code = code_name(shown.code);
    let code = match shown.code.response_class() {
        Some(antiphon_wire::Class::Success) => style.good(&code),
        _ => style.bad(&code),
    };
    let who = match &shown.signer {
        Some(signer) => format!("{} at ", terminal::line(&signer.name)),
        None => String::new(),
    };
    let mut head = format!(
        "{code} from {who}{} in {}",
        shown.from,
        duration::show(shown.after)
    );
    if !shown.payload.is_empty() {
        let format = shown
            .format
            .map_or_else(|| "no Content-Format".into(), render::format_name);
        head.push_str(&format!(", {format}, {} bytes", shown.payload.len()));
    }
    if shown.truncated {
        head.push_str(&style.warn(" (the first block only)"));
    }
    head
}

/// Nothing came back from the one member that was asked.
fn no_reply(plan: &Plan<'_>, failure: antiphon::Failure) -> Result<u8, Failure> {
    use antiphon::Failure as Why;
    if plan.silent && failure == Why::TimedOut {
        return Ok(exit::ALL);
    }
    let text = failure.to_string();
    if plan.question.json {
        print_line(
            &serde_json::json!({"event": "failure", "uri": plan.question.whom.uri, "reason": text})
                .to_string(),
        )?;
    }
    match failure {
        Why::Unreachable(SendError::PortUnreachable | SendError::NoRoute)
        | Why::TimedOut
        | Why::Reset
        | Why::Rejected
        | Why::OnlyUnprotected(_)
        | Why::Body(_)
        | Why::Cancelled => Err(Failure {
            message: format!("{}: {text}", plan.question.whom.uri),
            code: exit::NONE,
        }),
        Why::Unreachable(_) | Why::NotProtected(_) => Err(Failure::local(format!(
            "{}: {text}",
            plan.question.whom.uri
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use antiphon_wire::{ContentFormat, MessageId, Token, Type, Writer};

    fn with_message<T>(
        format: ContentFormat,
        payload: &[u8],
        check: impl FnOnce(&Message<'_>) -> T,
    ) -> T {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(
            &mut buffer,
            Type::Non,
            Code::CONTENT,
            MessageId(1),
            Token::EMPTY,
        )
        .unwrap();
        writer
            .uint_option(OptionNumber::CONTENT_FORMAT, u32::from(format.0))
            .unwrap();
        writer.payload(payload).unwrap();
        let len = writer.finish();
        check(&Message::parse(&buffer[..len]).unwrap())
    }

    #[test]
    fn ids_are_found_in_payloads() {
        let id = |format, payload: &[u8], pointer: &str| {
            with_message(format, payload, |message| {
                id_in(message, pointer).map(|id| String::from_utf8(id).unwrap())
            })
        };
        assert_eq!(
            id(ContentFormat::TEXT, b"lamp-1", "").as_deref(),
            Some("lamp-1")
        );
        assert_eq!(
            id(ContentFormat::JSON, b"{\"dev\":{\"id\":\"x\"}}", "/dev/id").as_deref(),
            Some("x")
        );
        assert_eq!(
            id(ContentFormat::JSON, b"{\"n\":7}", "/n").as_deref(),
            Some("7")
        );
        assert_eq!(id(ContentFormat::JSON, b"{\"n\":7}", "/m"), None);
        assert_eq!(id(ContentFormat::JSON, b"{", "/m"), None);
        assert_eq!(
            id(ContentFormat::CBOR, &[0xa1, 0x61, 0x6e, 0x61, 0x78], "/n").as_deref(),
            Some("x")
        );
    }
}
