//! The members: each a server of its own.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use antiphon::{
    Access, Attributes, Code, ContentFormat, Discoverable, GroupPolicy, Incoming, Leisure,
    Membership, NoSec, Resource, Response, Running, SecurityGroup, Server,
};

use super::plan::{Member, Plan, Role};
use crate::failure::Failure;
use crate::terminal;

/// A lamp.
#[derive(Debug, Default)]
struct Light {
    on: bool,
    /// When it was last switched, and whether the group did it.
    switched: Option<(Instant, bool)>,
}

/// The servers that run.
pub(super) struct Stage {
    running: Vec<Running>,
    lights: Vec<Arc<Mutex<Light>>>,
}

/// How the lamps are, as they are: not as the client was told.
pub(super) struct Lights {
    pub(super) on: usize,
    /// From the first to the last lamp that the group switched.
    pub(super) spread: Duration,
}

impl Stage {
    /// Starts all members that are not dead: secured with these groups, in the order of the plan, or open.
    pub(super) async fn set(
        plan: &Plan,
        leisure: Duration,
        keys: Option<&[SecurityGroup]>,
    ) -> Result<Self, Failure> {
        let mut stage = Self {
            running: Vec::new(),
            lights: Vec::new(),
        };
        for (index, member) in (0u16..).zip(&plan.members) {
            if member.role == Role::Dead {
                continue;
            }
            let light = Arc::new(Mutex::new(Light::default()));
            let group = keys.and_then(|keys| keys.get(usize::from(index)));
            let server = server(plan, index, member, &light, leisure, group).await?;
            stage.running.push(server.spawn());
            stage.lights.push(light);
        }
        Ok(stage)
    }

    pub(super) fn lights(&self) -> Lights {
        let mut on = 0;
        let mut by_group = Vec::new();
        for light in &self.lights {
            let light = locked(light);
            on += usize::from(light.on);
            if let Some((when, true)) = light.switched {
                by_group.push(when);
            }
        }
        let spread = match (by_group.iter().min(), by_group.iter().max()) {
            (Some(first), Some(last)) => *last - *first,
            _ => Duration::ZERO,
        };
        Lights { on, spread }
    }

    /// Shuts all members down.
    pub(super) async fn strike(self) {
        for member in self.running {
            member.stop().await;
        }
    }
}

/// A handler that panicked has left a lamp as it was: that is its state.
fn locked(light: &Mutex<Light>) -> std::sync::MutexGuard<'_, Light> {
    light
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn server(
    plan: &Plan,
    index: u16,
    member: &Member,
    light: &Arc<Mutex<Light>>,
    leisure: Duration,
    group: Option<&SecurityGroup>,
) -> Result<Server, Failure> {
    let access = match group {
        Some(_) => Access::Verified,
        None => Access::Unsecured,
    };
    let mut builder = Server::builder()
        .unicast(member.address)
        .interface("127.0.0.1")
        .discoverable(Discoverable::Groups);
    builder = match group {
        // Its Echo values are nobody's to foretell.
        Some(group) => builder.secure(group),
        None => {
            let builder = builder.seed(plan.seed_of(index));
            builder.unsecured(NoSec::Accepted)
        }
    };
    builder = builder
        .resource(lamp(light, leisure).access(access.clone()))
        .resource(status(&member.name, light, leisure).access(access));
    if member.role == Role::Hearing {
        let membership = Membership::new(plan.group)
            .on("127.0.0.1")
            .leisure(Leisure::Fixed(leisure));
        builder = builder.join(match group {
            Some(group) => membership.secure(group),
            None => membership.unsecured(),
        });
    }
    builder.build().await.map_err(|error| {
        Failure::local(format!(
            "{}: {}",
            member.name,
            terminal::line(&error.to_string())
        ))
    })
}

/// `/light`: GET says on or off, PUT switches.
fn lamp(light: &Arc<Mutex<Light>>, leisure: Duration) -> Resource {
    let (seen, switched) = (Arc::clone(light), Arc::clone(light));
    open(Resource::at("/light"), leisure)
        .attributes(Attributes::new().rt("light").interface("core.a"))
        .consumes(ContentFormat::TEXT)
        .get(move |_: &Incoming<'_>, response: &mut Response| {
            let word = if locked(&seen).on { "on" } else { "off" };
            response.set_payload(ContentFormat::TEXT, word.as_bytes());
        })
        .put(move |request: &Incoming<'_>, response: &mut Response| {
            let on = match request.payload() {
                b"on" => true,
                b"off" => false,
                _ => {
                    response.code = Code::BAD_REQUEST;
                    response.payload = b"on or off".to_vec();
                    return;
                }
            };
            let mut light = locked(&switched);
            light.on = on;
            light.switched = Some((Instant::now(), request.arrival.is_group()));
        })
}

/// `/status`: a line for people.
fn status(name: &str, light: &Arc<Mutex<Light>>, leisure: Duration) -> Resource {
    let light = Arc::clone(light);
    let name = name.to_owned();
    open(Resource::at("/status"), leisure)
        .attributes(Attributes::new().rt("status"))
        .get(move |_: &Incoming<'_>, response: &mut Response| {
            let word = if locked(&light).on { "on" } else { "off" };
            response.set_payload(ContentFormat::TEXT, format!("{name} is {word}").as_bytes());
        })
}

/// Answers to the group are spread over the leisure.
fn open(resource: Resource, leisure: Duration) -> Resource {
    resource
        .produces(ContentFormat::TEXT)
        .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(leisure)))
}
