//! `antiphon discover`: who is here, and what do they offer?

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use antiphon::{
    Answer, Client, CollectionEvent, EndedBy, GroupCall, NoSec, Repeat, SecurityGroup, Signed,
};
use antiphon_wire::link::{LinkFormat, SecurityHint};
use antiphon_wire::{ALL_COAP_NODES_V4, Scope, all_coap_nodes_v6};
use clap::Args;
use serde_json::json;

use crate::collecting::{self, print_line};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::secured::{Keys, SignedBy};
use crate::terminal::{self, Style};
use crate::{duration, exit, render};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  antiphon discover -i eth0
  antiphon discover --rt light -i eth0 --repeat 2
  antiphon discover --rt 'temp*' --scope link,realm,site -i wpan0
  antiphon discover --groups -i eth0
  antiphon discover --json | jq -r '.links[]?.target'
  antiphon discover --json | jq -r '.links[]? | select(.security == \"gosc\").target'   # needs a security group

Discovery travels without security, as the documents have it: it is the step before there is any. With --group it is protected, and only
members of that group answer, with proof of who they are.")]
pub(crate) struct DiscoverArgs {
    /// Only resources of this type; `*` at the end stands for anything
    #[arg(long, value_name = "TYPE", group = "wanted")]
    rt: Option<String>,

    /// Only resources with this interface description
    #[arg(long = "if", value_name = "INTERFACE", group = "wanted")]
    interface_description: Option<String>,

    /// Only resources whose path is this; `*` at the end stands for anything
    #[arg(long, value_name = "PATH", group = "wanted")]
    href: Option<String>,

    /// Only links with this attribute, such as `ct=60`
    #[arg(long, value_name = "NAME=VALUE", group = "wanted")]
    filter: Option<String>,

    /// Only application groups (`rt=g.*`)
    #[arg(long, group = "wanted")]
    groups: bool,

    /// Whom to ask: All CoAP Nodes by IPv4 (ipv4) and by IPv6 of these scopes (link, realm, admin, site)
    #[arg(short, long, value_name = "SCOPE", value_delimiter = ',', value_parser = Reach::parse, default_values = ["ipv4", "link"])]
    scope: Vec<Reach>,

    /// Another port than 5683
    #[arg(short, long, value_name = "PORT", default_value_t = antiphon_wire::DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Ask by this interface (name, number or address); repeatable for several
    #[arg(short, long, value_name = "INTERFACE")]
    interface: Vec<String>,

    /// How long to wait for answers after the last transmission [default: 6s; with --group 25s]
    #[arg(short = 't', long, value_name = "TIME", value_parser = duration::parse)]
    collect_for: Option<Duration>,

    /// Ask again this many times
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=16))]
    repeat: u8,

    /// How many routers multicast may pass, 1 for none
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    hops: u8,

    /// Protect with this security group: its description in TOML, or a state file
    #[arg(long, value_name = "FILE")]
    group: Option<std::path::PathBuf>,

    /// Which group, where a state file holds several
    #[arg(long, value_name = "NAME", requires = "group")]
    group_name: Option<String>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// The leisure of discovery without security, and a second for the way.
const UNSECURED_WAIT: Duration = Duration::from_secs(6);

/// How far, and by which address family, All CoAP Nodes are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Ipv4,
    Ipv6(Scope),
}

impl Reach {
    fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("ipv4") {
            return Ok(Self::Ipv4);
        }
        match Scope::from_name(text) {
            Some(scope @ (Scope::Link | Scope::Realm | Scope::Admin | Scope::Site)) => {
                Ok(Self::Ipv6(scope))
            }
            Some(scope) => Err(format!(
                "discovery in {scope} scope is not offered: ipv4, link, realm, admin or site"
            )),
            None => Err(format!(
                "{text:?} is no scope: ipv4, link, realm, admin or site"
            )),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Ipv4 => "ipv4".into(),
            Self::Ipv6(scope) => scope.to_string(),
        }
    }

    fn group(self, port: u16) -> SocketAddr {
        match self {
            Self::Ipv4 => (ALL_COAP_NODES_V4, port).into(),
            Self::Ipv6(scope) => (all_coap_nodes_v6(scope), port).into(),
        }
    }
}

impl DiscoverArgs {
    /// Runs the subcommand.
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let keys = match &self.group {
            Some(path) => Some(Keys::open(path, self.group_name.as_deref())?),
            None => None,
        };
        let group = keys.as_ref().and_then(Keys::group);
        if keys.is_some() && group.is_none() {
            return Err(Failure::usage(
                "an OSCORE context is for one peer; discovery is protected by a security group",
            ));
        }
        let code = runtime.block_on(async {
            let _watch = keys
                .as_ref()
                .and_then(|keys| keys.watch(false, |news| eprintln!("antiphon: {news}")));
            self.discover(group).await
        });
        let closed = keys.map_or(Ok(()), Keys::close);
        code.and_then(|code| closed.map(|()| code))
    }

    /// How long answers are collected; `None`: as long as for every question to a security group, which is its leisure and 5 s.
    fn waits(&self, secured: bool) -> Option<Duration> {
        self.collect_for.or((!secured).then_some(UNSECURED_WAIT))
    }

    /// The query, percent-encoded, with its question mark; empty without a filter.
    fn query(&self) -> Result<String, Failure> {
        let (name, value) = if let Some(rt) = &self.rt {
            ("rt", rt.as_str())
        } else if let Some(description) = &self.interface_description {
            ("if", description.as_str())
        } else if let Some(href) = &self.href {
            ("href", href.as_str())
        } else if self.groups {
            ("rt", "g.*")
        } else if let Some(filter) = &self.filter {
            match filter.split_once('=') {
                Some((name, value)) if !name.is_empty() => (name, value),
                _ => return Err(Failure::usage("--filter is NAME=VALUE")),
            }
        } else {
            return Ok(String::new());
        };
        let encode = |text: &str| -> String {
            text.bytes()
                .map(|byte| match byte {
                    b'a'..=b'z'
                    | b'A'..=b'Z'
                    | b'0'..=b'9'
                    | b'-'
                    | b'.'
                    | b'_'
                    | b'~'
                    | b'*'
                    | b'/'
                    | b':' => char::from(byte).to_string(),
                    other => format!("%{other:02X}"),
                })
                .collect()
        };
        Ok(format!("?{}={}", encode(name), encode(value)))
    }

    /// The question to one group; those to the others are the same.
    fn call(&self, client: &Client, reach: Reach, query: &str) -> Result<GroupCall, Failure> {
        let uri = format!("coap://{}/.well-known/core{query}", reach.group(self.port));
        let call = client
            .group(&uri)
            .map_err(|error| Failure::usage(terminal::line(&error.to_string())))?;
        Ok(call.get())
    }

    /// The groups, each once, for which this host has a socket and an interface, and why it has none for the others.
    async fn reachable(&self, client: &Client, query: &str) -> (Vec<Reach>, Vec<(Reach, String)>) {
        let (mut reachable, mut failures) = (Vec::new(), Vec::new());
        for (at, reach) in self.scope.iter().copied().enumerate() {
            if self.scope[..at].contains(&reach) {
                continue;
            }
            let targets = match self.call(client, reach, query) {
                Ok(call) => call
                    .targets()
                    .await
                    .map_err(|error| collecting::not_asked(&error)),
                Err(failure) => Err(failure),
            };
            match targets {
                Ok(_) => reachable.push(reach),
                Err(failure) => failures.push((reach, failure.message)),
            }
        }
        (reachable, failures)
    }

    async fn discover(&self, group: Option<&SecurityGroup>) -> Result<u8, Failure> {
        let query = self.query()?;
        let mut builder = Client::builder().hops(self.hops);
        for interface in &self.interface {
            builder = builder.interface(interface);
        }
        let client = builder
            .build()
            .await
            .map_err(|error| Failure::local(terminal::line(&error.to_string())))?;

        let (asked, mut failures) = self.reachable(&client, &query).await;
        let Some((first, others)) = asked.split_first() else {
            client.close().await;
            tell(&failures);
            return Err(Failure::local("nobody could be asked"));
        };
        let call = self
            .call(&client, *first, &query)?
            .also(others.iter().map(|reach| reach.group(self.port)));
        let call = match group {
            Some(group) => call.secure(group),
            None => call.unsecured(NoSec::Discovery),
        };
        let call = match self.waits(group.is_some()) {
            Some(time) => call.collect_for(time),
            None => call,
        };
        let mut collection = call
            .repeat(match self.repeat {
                0 => Repeat::None,
                n => Repeat::NewMessageId(n),
            })
            .send()
            .await
            .map_err(|error| collecting::not_asked(&error))?;

        let style = Style::stdout();
        let mut progress = Progress::new(!self.json);
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let started = std::time::Instant::now();
        let (mut devices, mut resources) = (HashSet::new(), 0);
        let mut printed = HashSet::new();
        let mut interrupted = false;
        loop {
            tokio::select! {
                event = collection.next() => match event {
                    None => break,
                    Some(CollectionEvent::SendFailed { group, error, .. }) => {
                        let of_group = |reach: &&Reach| reach.group(self.port) == group;
                        if let Some(reach) = asked.iter().find(of_group) {
                            failures.push((*reach, error.to_string()));
                        }
                    }
                    Some(CollectionEvent::Answer(answer)) => {
                        // A device that hears the question in several scopes, or twice, says the same again.
                        let key = (answer.from.peer, answer.response.payload.clone());
                        if !printed.insert(key) {
                            continue;
                        }
                        devices.insert(answer.from.peer);
                        resources += LinkFormat::parse(&answer.response.payload).filter(Result::is_ok).count();
                        progress.clear();
                        print_line(&match self.json {
                            true => device_json(heard_in(&asked, answer.from.peer), &answer, group).to_string(),
                            false => device_text(&answer, group, style),
                        })?;
                    }
                    Some(_) => {}
                },
                signal = tokio::signal::ctrl_c(), if !interrupted => {
                    signal?;
                    interrupted = true;
                    collection.close();
                }
                _ = tick.tick(), if progress.is_enabled() => {
                    let seconds = started.elapsed().as_secs_f64();
                    progress.show(&format!("{} devices, {seconds:.1} s; Ctrl-C ends it", devices.len()));
                }
            }
        }
        let ended = collection.finish().await.map(|outcome| outcome.ended_by);
        progress.clear();
        client.close().await;
        tell(&failures);
        match ended {
            Ok(EndedBy::Failed(_)) => return Err(Failure::local("nobody could be asked")),
            Ok(_) => {}
            Err(error) => return Err(Failure::local(error.to_string())),
        }
        let code = match devices.len() {
            0 => exit::NONE,
            _ => exit::ALL,
        };
        if self.json {
            print_line(
                &json!({
                    "event": "outcome", "devices": devices.len(), "resources": resources,
                    "took_ms": started.elapsed().as_secs_f64() * 1e3, "exit": code,
                })
                .to_string(),
            )?;
        } else {
            let took = duration::show(started.elapsed());
            print_line(&match devices.len() {
                0 => style.bad(&format!("nobody answered in {took}")),
                n => format!(
                    "{n} {}, {resources} {} in {took}",
                    if n == 1 { "device" } else { "devices" },
                    if resources == 1 { "link" } else { "links" }
                ),
            })?;
        }
        Ok(code)
    }
}

/// Whom the question did not reach, each once.
fn tell(failures: &[(Reach, String)]) {
    for (at, (reach, text)) in failures.iter().enumerate() {
        if !failures[..at].contains(&failures[at]) {
            eprintln!("antiphon: {}: {text}", reach.name());
        }
    }
}

/// The scope in which a device heard the question, if only one of those asked leads to its address family.
fn heard_in(asked: &[Reach], device: SocketAddr) -> Option<Reach> {
    let mut possible = asked
        .iter()
        .filter(|reach| (**reach == Reach::Ipv4) == device.is_ipv4());
    let first = possible.next().copied();
    first.filter(|_| possible.next().is_none())
}

/// The address of a device, and its links below.
fn device_text(answer: &Answer, group: Option<&SecurityGroup>, style: Style) -> String {
    let response = &answer.response;
    let shown = render::payload(
        collecting::content_format(&response.options),
        &response.payload,
    );
    let mut out = format!(
        "{}  {}",
        style.bold(&answer.from.peer.to_string()),
        style.dim(&format!("after {}", duration::show(answer.after)))
    );
    if let Some(signer) = answer.signer() {
        let signer = SignedBy::of(&signer, group);
        out.push_str(&format!("  signed by {}", terminal::line(&signer.name)));
    }
    if let Some(complaint) = shown.complaint {
        out.push_str(&format!("  {}", style.warn(&complaint)));
    }
    if collecting::is_truncated(&response.options) {
        out.push_str(&style.warn("  (the first block only)"));
    }
    for line in shown.block.lines() {
        out.push_str(&format!("\n  {line}"));
    }
    out
}

fn device_json(
    reach: Option<Reach>,
    answer: &Answer,
    group: Option<&SecurityGroup>,
) -> serde_json::Value {
    let response = &answer.response;
    let mut problem = None;
    let mut links = Vec::new();
    for link in LinkFormat::parse(&response.payload) {
        match link {
            Ok(link) => {
                let attributes: serde_json::Map<String, serde_json::Value> = link
                    .attributes()
                    .map(|a| {
                        let value = a.value.map_or(json!(true), |v| json!(v.to_string()));
                        (a.name.to_owned(), value)
                    })
                    .collect();
                let security = link.security().map(SecurityHint::attribute);
                links.push(
                    json!({"target": link.target, "attributes": attributes, "security": security}),
                );
            }
            Err(error) => problem = Some(error.to_string()),
        }
    }
    json!({
        "event": "device",
        "address": answer.from.peer.to_string(),
        "signer": answer.signer().map(|signer| SignedBy::of(&signer, group).json()),
        "scope": reach.map(Reach::name),
        "after_ms": answer.after.as_micros() as f64 / 1e3,
        "links": links,
        "problem": problem,
        "truncated": collecting::is_truncated(&response.options),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DiscoverArgs,
    }

    fn args(line: &[&str]) -> DiscoverArgs {
        Line::try_parse_from([&["discover"], line].concat())
            .unwrap()
            .args
    }

    #[test]
    fn one_filter_becomes_the_query() {
        for (line, query) in [
            (&[][..], ""),
            (&["--rt", "light"], "?rt=light"),
            (&["--rt", "te*"], "?rt=te*"),
            (&["--if", "a b&c"], "?if=a%20b%26c"),
            (&["--href", "/gp/*"], "?href=/gp/*"),
            (&["--filter", "ct=60"], "?ct=60"),
            (&["--groups"], "?rt=g.*"),
        ] {
            assert_eq!(args(line).query().unwrap(), query);
        }
        assert!(args(&["--filter", "ct"]).query().is_err());
        assert!(Line::try_parse_from(["discover", "--rt", "a", "--href", "/"]).is_err());
    }

    #[test]
    fn members_of_a_security_group_have_their_leisure_to_answer() {
        let (none, given) = (args(&[]), args(&["-t", "2s"]));
        assert_eq!(none.waits(false), Some(Duration::from_secs(6)));
        assert_eq!(none.waits(true), None, "the library knows the leisure");
        for secured in [false, true] {
            assert_eq!(given.waits(secured), Some(Duration::from_secs(2)));
        }
    }

    #[test]
    fn the_scope_of_a_device_is_told_where_it_is_certain() {
        let [v4, v6]: [SocketAddr; 2] =
            ["10.0.0.1:5683", "[fe80::1]:5683"].map(|a| a.parse().unwrap());
        let (link, site) = (Reach::Ipv6(Scope::Link), Reach::Ipv6(Scope::Site));
        assert_eq!(heard_in(&[Reach::Ipv4, link], v4), Some(Reach::Ipv4));
        assert_eq!(heard_in(&[Reach::Ipv4, link], v6), Some(link));
        assert_eq!(heard_in(&[link, site], v6), None);
        assert_eq!(heard_in(&[link, site], v4), None);
    }

    #[test]
    fn scopes_are_read_by_name() {
        let groups = |line: &[&str]| -> Vec<String> {
            args(line)
                .scope
                .iter()
                .map(|reach| reach.group(5683).to_string())
                .collect()
        };
        assert_eq!(groups(&[]), ["224.0.1.187:5683", "[ff02::fd]:5683"]);
        assert_eq!(
            groups(&["--scope", "link,realm,admin,site"]),
            [
                "[ff02::fd]:5683",
                "[ff03::fd]:5683",
                "[ff04::fd]:5683",
                "[ff05::fd]:5683"
            ]
        );
        for text in ["global", "organisation", "nowhere", ""] {
            assert!(Reach::parse(text).is_err(), "{text}");
        }
    }
}
