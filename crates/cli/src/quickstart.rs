//! `antiphon quickstart`: a whole group on this machine, asked and switched before the user's eyes.
//!
//! The group is secured: its keys are made for the show, and kept in memory only. `--nosec` shows the same without security.
//!
//! Every member is a server of its own, with its own address in 127.0.0.0/8, its own sockets and its own random
//! state; all traffic is real and stays on the loopback interface.

mod eavesdropper;
mod keys;
mod plan;
mod stage;

use std::time::{Duration, Instant};

use antiphon::{
    Client, Completion, ContentFormat, EndedBy, GroupCall, MissingReason, NoSec, Outcome,
    SecurityGroup, Transmission,
};
use clap::Args;
use serde_json::json;

use crate::collecting::{self, Followed, print_line};
use crate::failure::Failure;
use crate::outcome::Reporter;
use crate::terminal::{self, Style};
use crate::{duration, exit};

use eavesdropper::Eavesdropper;
use keys::Keys;
use plan::{Plan, Role};
use stage::Stage;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  antiphon quickstart
  antiphon quickstart --members 50 --deaf 5 --dead 3
  antiphon quickstart --seed 7 --json
  antiphon quickstart --nosec       the same without security: what an eavesdropper sees then
  antiphon quickstart --nosec --keep
                                    the members stay until Ctrl-C, for experiments of your own

Needs IPv4 and nothing else: no privileges, no set-up. Nothing leaves this machine.")]
pub(crate) struct QuickstartArgs {
    /// How many members the group has
    #[arg(short, long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=200))]
    members: u16,

    /// How many of them never hear multicast (they answer when they are asked in person) [default: 1, if there are enough members]
    #[arg(long, value_name = "K")]
    deaf: Option<u16>,

    /// How many of them are not there at all [default: 1, if there are enough members]
    #[arg(long, value_name = "J")]
    dead: Option<u16>,

    /// The same addresses, roles and random choices again
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// Without security: everybody can read, forge and repeat
    #[arg(long)]
    nosec: bool,

    /// Leave the members running until Ctrl-C
    #[arg(long)]
    keep: bool,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// How long the members spread their answers, and how long these are collected.
#[derive(Clone, Copy)]
struct Pace {
    leisure: Duration,
    /// The leisure, and some more for a busy machine.
    collect: Duration,
}

impl Pace {
    const OPEN: Pace = Pace {
        leisure: Duration::from_millis(800),
        collect: Duration::from_millis(1_300),
    };
    /// In a security group it would be 20 s. A member that does not know the client's address yet challenges it first.
    const SECURED: Pace = Pace {
        leisure: Duration::from_secs(1),
        collect: Duration::from_millis(1_800),
    };
}

/// How long a member that stays silent is asked in person, all in all.
const IN_PERSON: Duration = Duration::from_millis(2_500);

impl QuickstartArgs {
    /// Runs the subcommand.
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(self.play())
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let members = self.members;
        // With one or two members the defaults would leave nobody to hear.
        let deaf = self.deaf.unwrap_or(u16::from(members >= 3));
        let dead = self.dead.unwrap_or(u16::from(members >= 2));
        if deaf.saturating_add(dead) > members {
            return Err(Failure::usage(format!(
                "{deaf} deaf and {dead} dead members are more than {members}"
            )));
        }
        let seed = match self.seed {
            Some(seed) => seed,
            None => random_seed()?,
        };
        Plan::new(seed, members, deaf, dead)
    }

    async fn play(&self) -> Result<u8, Failure> {
        let plan = self.plan()?;
        let started = Instant::now();
        let keys = match self.nosec {
            true => None,
            false => Some(Keys::make(&plan)?),
        };
        let pace = match keys {
            None => Pace::OPEN,
            Some(_) => Pace::SECURED,
        };
        let of_members = keys.as_ref().map(|keys| keys.members.as_slice());
        let stage = Stage::set(&plan, pace.leisure, of_members).await?;
        let mut eavesdropper = Eavesdropper::join(&plan)?;
        let client = client(&plan).await?;
        let show = Show {
            plan: &plan,
            pace,
            group: keys.as_ref().map(|keys| &keys.client),
            json: self.json,
            style: Style::stdout(),
        };
        show.opening(&client)?;

        let found = show.discovery(&client).await?;
        let status = show.status(&client).await?;
        eavesdropper.listen();
        let switched = show.switch(&client).await?;
        eavesdropper.listen();
        show.eavesdropped(&eavesdropper)?;
        let lights = stage.lights();
        let took = started.elapsed();
        let verdict = Verdict {
            found: found.outcome.servers(),
            status: &status.outcome,
            switched: &switched.outcome,
            lights_on: lights.on,
            spread: lights.spread,
        };
        show.summary(&verdict, took)?;
        client.close().await;
        let interrupted = found.interrupted || status.interrupted || switched.interrupted;
        if self.keep && !interrupted {
            show.keeping()?;
            tokio::signal::ctrl_c().await?;
        }
        stage.strike().await;
        Ok(verdict.exit_code(&plan))
    }
}

/// The seed of a run that names none, small enough to be typed again.
fn random_seed() -> Result<u64, Failure> {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds its hash keys from the operating system.
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    Ok(hasher.finish() % 1_000_000)
}

/// A client with the patience of a show: a dead member is given up after seconds, not after a minute and a half.
async fn client(plan: &Plan) -> Result<Client, Failure> {
    let mut transmission = Transmission::default();
    transmission
        .set_ack_timeout(Duration::from_millis(200))
        .and_then(|t| t.set_max_retransmit(2))
        .and_then(|t| t.set_probing_rate(100_000))
        .map_err(|error| Failure::local(error.to_string()))?;
    Client::builder()
        .bind(plan.client)
        .transmission(transmission)
        .seed(plan.seed_of(u16::MAX))
        .build()
        .await
        .map_err(|error| Failure::local(terminal::line(&error.to_string())))
}

/// Prints what happens.
struct Show<'a> {
    plan: &'a Plan,
    pace: Pace,
    /// What the client holds of the security group.
    group: Option<&'a SecurityGroup>,
    json: bool,
    style: Style,
}

impl Show<'_> {
    fn opening(&self, client: &Client) -> Result<(), Failure> {
        let plan = self.plan;
        if self.json {
            let members: Vec<_> = plan
                .members
                .iter()
                .map(|m| json!({"name": m.name, "address": m.address.to_string(), "role": m.role.name()}))
                .collect();
            return print_line(
                &json!({
                    "event": "start", "seed": plan.seed, "group": plan.group.to_string(),
                    "client": client.local_addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
                    "members": members,
                    "secured": self.group.map(|group| json!({
                        "group": group.name(), "gid": crate::hex::plain(&group.gid()), "leisure_ms": self.pace.leisure.as_millis() as u64,
                    })),
                })
                .to_string(),
            );
        }
        let first = plan
            .members
            .first()
            .map(|m| m.address.to_string())
            .unwrap_or_default();
        let last = plan
            .members
            .last()
            .map(|m| m.address.ip().to_string())
            .unwrap_or_default();
        print_line(&format!(
            "{}, from {first} to {last}, in the group {} on the loopback interface (seed {})",
            count(plan.members.len(), "member", "members"),
            plan.group,
            plan.seed
        ))?;
        let of = |role: Role, words: &str| -> Result<(), Failure> {
            let names: Vec<&str> = plan.names_of(role).collect();
            match names.is_empty() {
                true => Ok(()),
                false => print_line(&format!("  {}: {words}", names.join(", "))),
            }
        };
        of(
            Role::Deaf,
            "deaf to multicast, as a node that sleeps or sits behind a bad link",
        )?;
        of(Role::Dead, "not there at all")?;
        let leisure = duration::show(self.pace.leisure);
        match self.group {
            Some(group) => print_line(&format!(
                "Secured: the group {} (Gid {}) with a fresh secret, and a key for each member. Leisure is set to {leisure} for the demonstration; by \
                 default members of a security group take up to 20 s.",
                group.name(),
                crate::hex::plain(&group.gid())
            )),
            None => {
                print_line(&self.style.warn(
                    "Not secured (--nosec): anyone can read, forge and repeat every message.",
                ))
            }
        }
    }

    /// What somebody saw who has no keys.
    fn eavesdropped(&self, eavesdropper: &Eavesdropper) -> Result<(), Failure> {
        if self.json {
            return print_line(&eavesdropper.json().to_string());
        }
        print_line(&format!(
            "\n{}",
            self.style
                .bold("What an eavesdropper saw of the last request")
        ))?;
        for line in eavesdropper.text(self.style) {
            print_line(&line)?;
        }
        print_line(match self.group {
            Some(_) => {
                "  Not path, payload, nor the real code; the answers look the same, and each is signed by its lamp."
            }
            None => "  Everything: and it could have sent the same itself.",
        })
    }

    fn step(&self, name: &str, words: &str, command: &str) -> Result<(), Failure> {
        if self.json {
            return print_line(&json!({"event": "step", "step": name}).to_string());
        }
        print_line(&format!("\n{}", self.style.bold(words)))?;
        print_line(&self.style.dim(&format!("$ {command}")))
    }

    fn reporter(&self, named: bool) -> Reporter {
        if self.json {
            return Reporter::json();
        }
        let names: Vec<&str> = match named {
            true => self.plan.members.iter().map(|m| m.name.as_str()).collect(),
            false => Vec::new(),
        };
        let signed = named && self.group.is_some();
        Reporter::text(&names, signed, false, self.style, terminal::width())
    }

    async fn collect(&self, call: antiphon::GroupCall, named: bool) -> Result<Followed, Failure> {
        let collection = call
            .send()
            .await
            .map_err(|error| collecting::not_asked(&error))?;
        let names: Vec<&str> = match named {
            true => self.plan.members.iter().map(|m| m.name.as_str()).collect(),
            false => Vec::new(),
        };
        let mut reporter = self.reporter(named);
        let followed =
            collecting::follow(collection, &names, self.group, &mut reporter, self.json).await?;
        let summary = collecting::summary(&followed, false);
        print_line(reporter.summary(&summary).trim_start())?;
        if let EndedBy::Failed(error) = followed.outcome.ended_by {
            return Err(Failure::local(format!("nothing could be sent: {error}")));
        }
        Ok(followed)
    }

    /// Who is there? Nobody in particular is expected.
    async fn discovery(&self, client: &Client) -> Result<Followed, Failure> {
        let uri = format!("coap://{}/.well-known/core?rt=light", self.plan.group);
        self.step(
            "discovery",
            "1. Who is there? One request, every light answers.",
            &format!("antiphon get '{uri}' -i lo"),
        )?;
        let call = self
            .call(client, &uri)?
            .get()
            .unsecured(NoSec::Discovery)
            .collect_for(self.pace.collect);
        self.collect(call, false).await
    }

    /// How are they? All members are expected; those that stay silent are asked in person.
    async fn status(&self, client: &Client) -> Result<Followed, Failure> {
        let uri = format!("coap://{}/status", self.plan.group);
        self.step(
            "status",
            "2. How are they? All are expected, and who stays silent is asked in person.",
            &format!(
                "antiphon get {uri} {} -i lo --members FILE --complete",
                self.flag()
            ),
        )?;
        if self.group.is_some() && !self.json {
            print_line(
                "  A lamp that has not heard of the client yet lets it prove first that it is at its address: these answers come by unicast.",
            )?;
        }
        let call = self.expecting(self.call(client, &uri)?.get())?;
        self.collect(call, true).await
    }

    /// Lights on.
    async fn switch(&self, client: &Client) -> Result<Followed, Failure> {
        let uri = format!("coap://{}/light", self.plan.group);
        self.step(
            "switch",
            "3. Lights on, all at once.",
            &format!(
                "antiphon put {uri} on {} -i lo --members FILE --complete",
                self.flag()
            ),
        )?;
        let call = self.expecting(self.call(client, &uri)?.put(ContentFormat::TEXT, "on"))?;
        self.collect(call, true).await
    }

    fn flag(&self) -> &'static str {
        match self.group {
            Some(_) => "--group FILE",
            None => "-u",
        }
    }

    fn call(&self, client: &Client, uri: &str) -> Result<antiphon::GroupCall, Failure> {
        let call = client
            .group(uri)
            .map_err(|error| Failure::local(error.to_string()))?;
        Ok(call
            .leisure(self.pace.leisure)
            .rtt(Duration::from_millis(200)))
    }

    /// All members are expected: by what they prove, or without security by their addresses.
    fn expecting(&self, call: GroupCall) -> Result<GroupCall, Failure> {
        let mut expected = antiphon::Expectation::nobody();
        for planned in &self.plan.members {
            let member = match self.group {
                Some(group) => crate::secured::member(group, &planned.name)?.expected(),
                None => antiphon::Member::named(&planned.name),
            };
            expected.add(member.at(planned.address));
        }
        let call = match self.group {
            Some(group) => call.secure(group),
            None => call.unsecured(NoSec::Accepted),
        };
        Ok(call
            .collect_for(self.pace.collect)
            .expect(expected)
            .complete(Completion::Unicast {
                at_once: 8,
                within: Some(IN_PERSON),
            }))
    }

    fn summary(&self, verdict: &Verdict<'_>, took: Duration) -> Result<(), Failure> {
        let plan = self.plan;
        if self.json {
            return print_line(
                &json!({
                    "event": "summary",
                    "seed": plan.seed,
                    "members": plan.members.len(),
                    "found": verdict.found,
                    "answered": verdict.switched.answered().count(),
                    "missing": verdict.switched.missing().map(|(name, _)| name).collect::<Vec<_>>(),
                    "lights_on": verdict.lights_on,
                    "spread_ms": verdict.spread.as_micros() as f64 / 1e3,
                    "took_ms": took.as_micros() as f64 / 1e3,
                    "as_planned": verdict.is_as_planned(plan),
                    "exit": verdict.exit_code(plan),
                })
                .to_string(),
            );
        }
        let deaf = plan.names_of(Role::Deaf).count();
        let hearing = plan.names_of(Role::Hearing).count();
        let style = self.style;
        print_line(&format!("\n{}", style.bold("What happened")))?;
        print_line(&format!(
            "  {} of {} found by one multicast request",
            verdict.found,
            count(plan.members.len(), "member", "members")
        ))?;
        let on = count(verdict.lights_on, "light is on", "lights are on");
        let spread = match hearing {
            0 | 1 => String::new(),
            n => format!(
                "; the {n} that heard the group switched within {} of each other",
                duration::show(verdict.spread)
            ),
        };
        print_line(&format!("  {on}{spread}"))?;
        if deaf > 0 {
            let members = count(
                deaf,
                "member did not hear the group and was",
                "members did not hear the group and were",
            );
            print_line(&format!("  {members} asked in person"))?;
        }
        let missing: Vec<&str> = verdict.switched.missing().map(|(name, _)| name).collect();
        if !missing.is_empty() {
            print_line(&format!(
                "  missing, and known to be: {}",
                style.bad(&missing.join(", "))
            ))?;
        }
        let as_planned = match verdict.is_as_planned(plan) {
            true => style.good("as planned"),
            false => style.bad("not as planned: this machine lost datagrams, or is very busy"),
        };
        print_line(&format!("  {as_planned}, in {}", duration::show(took)))?;
        print_line(&format!("\n{}", style.bold("What to try next")))?;
        print_line("  antiphon quickstart --members 50 --deaf 5 --dead 3")?;
        print_line("  antiphon quickstart --nosec           the same without security")?;
        print_line(
            "  antiphon quickstart --nosec --keep    and, in another terminal, the commands above",
        )?;
        print_line("  antiphon oscore new-group --help      secure a group of your own")?;
        print_line("  antiphon discover -i eth0             what is in your own network")?;
        print_line("  antiphon serve --help                 be a member yourself")
    }

    fn keeping(&self) -> Result<(), Failure> {
        if self.json {
            return print_line(&json!({"event": "keeping"}).to_string());
        }
        let (path, flag) = match self.group {
            // The keys are in this process alone.
            Some(_) => ("/.well-known/core", ""),
            None => ("/status", " -u"),
        };
        print_line(&format!(
            "\nThe members stay until Ctrl-C. Try, in another terminal:\n  antiphon get coap://{}{path}{flag} -i lo -t 2s",
            self.plan.group
        ))
    }
}

fn count(n: usize, one: &str, many: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    }
}

/// What came of it.
struct Verdict<'a> {
    found: usize,
    status: &'a Outcome,
    switched: &'a Outcome,
    lights_on: usize,
    /// From the first to the last light that heard the group.
    spread: Duration,
}

impl Verdict<'_> {
    /// Hearing members found and answering, deaf ones reached in person, exactly the dead ones missing.
    fn is_as_planned(&self, plan: &Plan) -> bool {
        let hearing = plan.names_of(Role::Hearing).count();
        let alive = hearing + plan.names_of(Role::Deaf).count();
        let dead: Vec<&str> = plan.names_of(Role::Dead).collect();
        let missing = |outcome: &Outcome| {
            let missing: Vec<(&str, MissingReason)> = outcome.missing().collect();
            missing
                .iter()
                .map(|(name, _)| *name)
                .eq(dead.iter().copied())
        };
        self.found == hearing
            && missing(self.status)
            && missing(self.switched)
            && self.lights_on == alive
    }

    fn exit_code(&self, plan: &Plan) -> u8 {
        match self.is_as_planned(plan) {
            true => exit::ALL,
            false => exit::SOME_MISSING,
        }
    }
}
