//! Serving what the configuration describes, until Ctrl-C or SIGTERM.

use std::io;
use std::sync::Arc;

use antiphon::distribution::OpenDevice;
use antiphon::proto::{GroupPolicy, Profile as ProtoProfile};
use antiphon::security_group::NewsReceiver;
use antiphon::{
    Asked, AsyncResource, Attributes, BuildError, Code, Incoming, Membership, Methods,
    Naming as NetNaming, NoSec, Provided, Resource as NetResource, Response, Server, Signed,
};
use antiphon_wire::ContentFormat;
use serde_json::json;
use tokio::sync::mpsc;

use super::config::{
    Application, Config, Discoverable, Echo, GroupAddress, GroupMode, Naming, OnGroup, Profile,
    Resource, Source, net_access,
};
use super::value::{self, PATIENCE, Reply, Stored};
use super::{images, observe, report};
use crate::collecting::print_line;
use crate::decode::code_name;
use crate::exit;
use crate::failure::Failure;
use crate::secured::{Keys, NEEDS_NEW_KEYS, SignedBy, With};
use crate::terminal::{self, Style};
use crate::watch::{News, Watch};

/// Requests that wait to be printed. When printing is slower than the network, further ones are only counted.
const LOG_LINES: usize = 1_024;

/// Programs that run at once, over all resources.
const PROGRAMS: usize = 8;

/// Serves until it is told to stop: the exit code.
pub(super) fn run(config: &Config, json: bool) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(serve(config, json))
}

async fn serve(config: &Config, json: bool) -> Result<u8, Failure> {
    // Before the keys are in use: whoever ends it from now on has it ended in order.
    let mut stop = StopSignal::new()?;
    let (log, mut lines) = mpsc::channel::<Served>(LOG_LINES);
    let mut keys = Vec::new();
    for file in &config.security {
        keys.extend(Keys::open_all(&file.path)?);
    }
    for group in keys.iter().filter_map(Keys::group) {
        if group.needs_new_keys() {
            eprintln!(
                "antiphon: {}: {}",
                terminal::line(group.name()),
                NEEDS_NEW_KEYS
            );
        }
    }
    let devices = images::open(config, &keys, json)?;
    let server = build(config, &keys, &log, &devices).await?;
    drop(log);
    if json {
        let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
        print_line(
            &json!({"event": "serving", "addresses": addresses, "config": report::as_json(config)})
                .to_string(),
        )?;
    } else {
        print_line(report::as_text(config, Style::stdout()).trim_end())?;
        print_line("\nserving; Ctrl-C ends it")?;
    }
    let printer = tokio::spawn(async move {
        while let Some(served) = lines.recv().await {
            let line = if json {
                served.json().to_string()
            } else {
                served.text()
            };
            if print_line(&line).is_err() {
                return;
            }
        }
    });
    let tell = move |news: News| {
        let line = match json {
            true => news.json().to_string(),
            false => news.to_string(),
        };
        let _ = print_line(&line); // nobody reads any more: the server goes on
    };
    let watches: Vec<Watch> = keys
        .iter()
        .filter_map(|keys| keys.watch(true, tell))
        .collect();
    for group in keys.iter().filter_map(Keys::group) {
        tokio::spawn(tell_news(group.name().to_owned(), group.news(), json));
    }
    let handle = server.handle();
    observe::watch(config, &server);
    for device in devices {
        tokio::spawn(device.run(&server));
    }
    let mut counted = None;
    server
        .run(async {
            stop.wait().await;
            counted = handle.counters().await.ok();
        })
        .await;
    drop(watches);
    for keys in keys {
        keys.close()?;
    }
    // The handlers are gone, and with them the senders.
    let _ = printer.await;
    if let Some(counted) = counted {
        let server = counted.server;
        if json {
            print_line(&json!({
                "event": "stopped", "requests": server.requests, "group_requests": server.group_requests, "responses": server.responses,
            }).to_string())?;
        } else {
            print_line(&format!(
                "\nstopped: {} requests, {} of them through groups; {} responses",
                server.requests, server.group_requests, server.responses
            ))?;
        }
    }
    Ok(exit::ALL)
}

/// Prints what whoever manages a group should know, as it comes.
async fn tell_news(group: String, mut news: NewsReceiver, json: bool) {
    while let Some(news) = news.next().await {
        let line = match json {
            true => json!({
                "event": "security", "group": group, "news": news.name(), "kid": news.kid().map(|kid| kid.to_string()),
                "text": news.to_string(),
            })
            .to_string(),
            false => format!("{}: {news}", terminal::line(&group)),
        };
        if print_line(&line).is_err() {
            return;
        }
    }
}

/// Ctrl-C, or SIGTERM where there is such a thing. From its making on they do not end the process by themselves.
#[cfg(unix)]
struct StopSignal {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl StopSignal {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct StopSignal;

#[cfg(not(unix))]
impl StopSignal {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn wait(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

pub(super) async fn build(
    config: &Config,
    keys: &[Keys],
    log: &mpsc::Sender<Served>,
    devices: &[OpenDevice],
) -> Result<Server, Failure> {
    let mut builder = Server::builder().endpoint(endpoint_config(config));
    for keys in keys {
        builder = match &keys.with {
            With::Group(group) => builder.secure(group),
            With::Pair(context) => builder.secure(context),
        };
    }
    if config.server.mark_protected {
        builder = builder.mark_protected();
    }
    if config.server.address_discovery {
        builder = builder.address_discovery();
    }
    if config.server.unsecured {
        builder = builder.unsecured(NoSec::Accepted);
    }
    for address in &config.server.listen {
        builder = builder.unicast(*address);
    }
    for interface in &config.server.interfaces {
        builder = builder.interface(interface);
    }
    for interface in &config.server.sixlowpan {
        builder = builder.sixlowpan(interface);
    }
    for application in &config.applications {
        builder = builder
            .application(&application.name, naming(application), Attributes::new())
            .application_security(&application.name, application.secured_by.clone());
    }
    for (index, group) in config.groups.iter().enumerate() {
        let mut membership = match &group.address {
            GroupAddress::Literal(address) => Membership::new(*address),
            GroupAddress::Name { host, port } => Membership::uri(&format!("coap://{host}:{port}/"))
                .map_err(|error| Failure::usage(terminal::line(&error.to_string())))?,
        };
        if group.secured_by.is_empty() {
            membership = membership.unsecured();
        }
        for by in &group.secured_by {
            membership = membership.secured(by.clone());
        }
        for interface in &group.interfaces {
            membership = membership.on(interface);
        }
        if let Some(time) = group.leisure {
            membership = membership.leisure(antiphon::Leisure::Fixed(time));
        }
        for application in &config.applications {
            if application.groups.contains(&index) {
                membership = membership.application(&application.name);
            }
        }
        builder = builder.join(membership);
    }
    let programs = Arc::new(tokio::sync::Semaphore::new(PROGRAMS));
    for resource in &config.resources {
        builder = builder.resource(provided(config, resource, log, &programs));
    }
    for device in devices {
        builder = builder.resource(device.resource());
    }
    builder.build().await.map_err(|error| {
        let text = terminal::line(&error.to_string());
        match error {
            BuildError::Membership { .. } | BuildError::Resource { .. } => Failure::usage(text),
            _ => Failure::local(text),
        }
    })
}

fn endpoint_config(config: &Config) -> antiphon::EndpointConfig {
    let mut endpoint = antiphon::EndpointConfig::default();
    endpoint.server.discoverable = match config.server.discoverable {
        Discoverable::All => antiphon::Discoverable::All,
        Discoverable::Groups => antiphon::Discoverable::Groups,
        Discoverable::Off => antiphon::Discoverable::Off,
    };
    endpoint.server.profile = match config.server.profile {
        Profile::Current => ProtoProfile::Current,
        Profile::Seed03 => ProtoProfile::Seed03,
    };
    if let Some(time) = config.server.leisure {
        endpoint.server.leisure = Some(antiphon::Leisure::Fixed(time));
    }
    endpoint.server.unproven_reachability = match config.server.echo {
        Echo::Never => antiphon::Reachability::Assumed,
        Echo::WhenAmplified => antiphon::Reachability::WhenAmplified,
        Echo::Always => antiphon::Reachability::Required,
    };
    endpoint.server.group_mode_by_unicast = match config.server.group_mode_by_unicast {
        GroupMode::Serve => antiphon::GroupModeByUnicast::Serve,
        GroupMode::ReadOnly => antiphon::GroupModeByUnicast::ReadOnly,
        GroupMode::Refuse => antiphon::GroupModeByUnicast::Refuse,
    };
    endpoint.server.group_answer_limit = config.server.group_answer_limit;
    endpoint
}

fn naming(application: &Application) -> NetNaming {
    match application.naming.clone() {
        Naming::Path { base, delimiter } => NetNaming::Path { base, delimiter },
        Naming::QueryName => NetNaming::QueryName,
        Naming::Query { indicator } => NetNaming::Query { indicator },
        Naming::Authority => NetNaming::Authority,
        Naming::HostLabel { domain } => NetNaming::HostLabel { domain },
        Naming::Port => NetNaming::Port,
        Naming::Implied => NetNaming::Implied,
    }
}

fn group_policy(resource: &Resource) -> GroupPolicy {
    let mut policy = match resource.on_group {
        OnGroup::Ignore => GroupPolicy::unsupported(),
        OnGroup::Silent => GroupPolicy::silent(),
        OnGroup::Respond => GroupPolicy::respond(),
    };
    for class in &resource.suppress {
        policy = policy.suppress(*class);
    }
    for class in &resource.answer {
        policy = policy.answer(*class);
    }
    if resource.consider_no_response {
        policy = policy.consider_no_response();
    }
    if let Some(leisure) = resource.leisure {
        policy = policy.leisure(leisure.net());
    }
    if let Some(limit) = resource.limit {
        policy = policy.limit(limit);
    }
    policy
}

fn provided(
    config: &Config,
    resource: &Resource,
    log: &mpsc::Sender<Served>,
    programs: &Arc<tokio::sync::Semaphore>,
) -> Provided {
    let mut attributes = Attributes::new();
    if !resource.rt.is_empty() {
        attributes = attributes.rt(&resource.rt.join(" "));
    }
    if !resource.interfaces.is_empty() {
        attributes = attributes.interface(&resource.interfaces.join(" "));
    }
    if let Some(title) = &resource.title {
        attributes = attributes.title(title);
    }
    let format = resource.format;
    let mut net = NetResource::at(&resource.path)
        .attributes(attributes)
        .produces(format)
        .group_policy(group_policy(resource))
        .access(net_access(resource.access, &resource.allow))
        .fresh(resource.fresh);
    for group in &resource.secured_by {
        net = net.secured(group.clone());
    }
    if resource.writable && matches!(resource.source, Source::Fixed(_) | Source::File(_)) {
        net = net.consumes(format);
    }
    if resource.hidden {
        net = net.hidden();
    }
    if resource.observable {
        net = net.observable();
    }
    if resource.etag {
        net = net.tagged();
    }
    if let Some(index) = resource.application
        && let Some(application) = config.applications.get(index)
    {
        net = net.in_group(&application.name);
    }
    let methods = report::methods(resource)
        .into_iter()
        .filter_map(method)
        .fold(Methods::NONE, |all, one| all | Methods::one(one));
    let path = config.full_path(resource);
    let stored = match &resource.source {
        Source::Command(words) => return program(net, methods, words, path, format, log, programs),
        Source::Fixed(bytes) => Stored::Bytes(bytes.clone()),
        Source::File(file) => Stored::File(file.clone()),
        Source::Counter(count) => Stored::Counter {
            count: *count,
            writable: resource.writable,
        },
    };
    let log = log.clone();
    let mut stored = stored;
    net.on(
        methods,
        move |request: &Incoming<'_>, response: &mut Response| {
            let reply = stored.handle(request.method(), request.payload());
            answer(response, &reply, format);
            Served::tell(&log, request, &path, &reply);
        },
    )
    .into()
}

/// A resource whose representation a program writes, in its own time.
fn program(
    net: NetResource,
    methods: Methods,
    words: &[String],
    path: String,
    format: ContentFormat,
    log: &mpsc::Sender<Served>,
    programs: &Arc<tokio::sync::Semaphore>,
) -> Provided {
    let words: Arc<[String]> = words.into();
    let path: Arc<str> = path.into();
    let (log, programs) = (log.clone(), Arc::clone(programs));
    net.on_async(methods, move |asked: Asked| {
        let (words, path, log, programs) = (
            Arc::clone(&words),
            Arc::clone(&path),
            log.clone(),
            Arc::clone(&programs),
        );
        async move {
            let method = asked.request.method;
            let reply = match programs.try_acquire() {
                Ok(_running) => {
                    value::run(&words, method, &path, &asked.request.payload, PATIENCE).await
                }
                Err(_) => Reply {
                    code: Code::SERVICE_UNAVAILABLE,
                    payload: b"too many programs run already".to_vec(),
                },
            };
            let mut response = Response::new(reply.code);
            answer(&mut response, &reply, format);
            Served::tell_of(&log, false, method, &path, &asked.arrival, &reply);
            response
        }
    })
}

/// The code and the payload: of a success in the resource's format, of an error as diagnostic text.
fn answer(response: &mut Response, reply: &Reply, format: ContentFormat) {
    response.code = reply.code;
    if reply.payload.is_empty() {
        return;
    }
    if reply.code.response_class() == Some(antiphon::Class::Success) {
        response.set_payload(format, &reply.payload);
    } else {
        response.payload.clone_from(&reply.payload);
    }
}

fn method(name: &str) -> Option<Code> {
    [Code::GET, Code::POST, Code::PUT]
        .into_iter()
        .find(|code| code.name() == Some(name))
}

/// One request that was processed, for the log.
pub(super) struct Served {
    /// It was asked again, to notify who observes.
    notification: bool,
    method: Code,
    path: String,
    from: std::net::SocketAddr,
    group: Option<std::net::SocketAddr>,
    signer: Option<SignedBy>,
    code: Code,
}

impl Served {
    fn tell(log: &mpsc::Sender<Self>, request: &Incoming<'_>, path: &str, reply: &Reply) {
        let (method, arrival) = (request.method(), request.arrival);
        Self::tell_of(log, request.notification, method, path, arrival, reply);
    }

    fn tell_of(
        log: &mpsc::Sender<Self>,
        notification: bool,
        method: Code,
        path: &str,
        arrival: &antiphon::Arrival,
        reply: &Reply,
    ) {
        // A full log loses lines, never requests.
        let _ = log.try_send(Self {
            notification,
            method,
            path: path.to_owned(),
            from: arrival.path.peer,
            group: arrival.is_group().then_some(arrival.path.local),
            signer: arrival.signer().map(|signer| SignedBy::of(&signer, None)),
            code: reply.code,
        });
    }

    fn text(&self) -> String {
        let through = match self.group {
            Some(group) => format!(" through {group}"),
            None => String::new(),
        };
        let who = match &self.signer {
            Some(signer) => format!("{} at ", terminal::line(&signer.name)),
            None => String::new(),
        };
        let again = if self.notification {
            "again, to notify: "
        } else {
            ""
        };
        format!(
            "{again}{} {} from {who}{}{through}: {}",
            self.method.name().unwrap_or("?"),
            terminal::line(&self.path),
            self.from,
            code_name(self.code)
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "event": if self.notification { "notification" } else { "request" },
            "method": self.method.name(),
            "path": self.path,
            "from": self.from.to_string(),
            "signer": self.signer.as_ref().map(SignedBy::json),
            "group": self.group.map(|g| g.to_string()),
            "code": format!("{}.{:02}", self.code.class(), self.code.detail()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_report_is_one() {
        for name in ["GET", "PUT", "POST"] {
            assert_eq!(method(name).and_then(Code::name), Some(name));
        }
    }
}
