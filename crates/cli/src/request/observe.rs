//! `antiphon observe`: what a member, or every member of a group, says of a resource, for as long as it is wanted.

mod show;

use std::time::Duration;

use antiphon::{
    Client, FollowUp, MemberEnd, Observation, ObservationEnd, ObservationEvent, Observing,
    OneError, Repeat, SecurityGroup,
};
use antiphon_wire::{Code, OptionNumber};
use clap::Args;

use super::ask::{self, Security};
use super::whom::Whom;
use super::{LinkChoice, Plan, Question, dry_run, parse_option};
use crate::collecting::{self, print_line};
use crate::failure::Failure;
use crate::payload::{self, Form, FormatChoice, Payload};
use crate::secured::{Keys, With};
use crate::{duration, exit, terminal};
use show::{Ended, Screen};

/// Whom to observe, and for how long.
#[derive(Debug, Args)]
pub(crate) struct ObserveArgs {
    #[command(flatten)]
    whom: Whom,

    /// Observe with FETCH and this payload instead of GET: text, `@FILE`, or `-` for standard input
    #[arg(
        long,
        value_name = "PAYLOAD",
        allow_hyphen_values = true,
        help_heading = "Request"
    )]
    fetch: Option<String>,

    /// Format of the payload: a name (text, json, cbor, senml-cbor, ...), a number, or none
    #[arg(short = 'f', long, value_name = "FORMAT", requires = "fetch", value_parser = FormatChoice::parse, help_heading = "Request")]
    content_format: Option<FormatChoice>,

    /// How the payload is written down
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        default_value_t,
        help_heading = "Request"
    )]
    payload_as: Form,

    /// Format wanted of the notifications: a name (json, cbor, ...) or number
    #[arg(long, value_name = "FORMAT", value_parser = FormatChoice::parse, help_heading = "Request")]
    accept: Option<FormatChoice>,

    /// Another option, such as `ETag=0xcafe` or `2049=0xcafe`; repeatable
    #[arg(long, value_name = "OPTION=VALUE", value_parser = parse_option, help_heading = "Request")]
    option: Vec<(OptionNumber, Vec<u8>)>,

    /// Kind of network: 6lowpan warns about requests that do not fit one frame, 6lowpan-strict refuses them
    #[arg(
        long,
        value_name = "LINK",
        value_enum,
        default_value_t,
        help_heading = "Request"
    )]
    link: LinkChoice,

    /// End by itself after this time
    #[arg(
        long = "for",
        value_name = "TIME",
        value_parser = duration::parse,
        help_heading = "How long"
    )]
    time: Option<Duration>,

    /// End by itself after this many notifications
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "How long")]
    count: Option<u32>,

    /// Register again after this time, so that members that joined are heard; 0 for never
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration::parse, help_heading = "How long")]
    every: Duration,

    /// Send each registration of a group again this many times, so that members that lost it hear it
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16), help_heading = "Losses")]
    repeat: u32,

    /// Repeat the same message (members that have it ignore it) instead of a fresh one
    #[arg(long, requires = "repeat", help_heading = "Losses")]
    same_message: bool,

    /// Ask silent members of a group one by one, at most N at once; 0 for not at all
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(0..=256), help_heading = "Losses")]
    complete: u16,

    /// A member is silent so long after the end of its Max-Age [default: the leisure, and 5s to 15s at random]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "Losses")]
    margin: Option<Duration>,

    /// The longest time that members wait before they notify [default: 5s; with --group 20s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "Losses")]
    leisure: Option<Duration>,

    /// The longest way to a member and back [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "Losses")]
    rtt: Option<Duration>,

    /// One JSON object a line
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Send nothing: show the options, the sizes, and whether the request fits a 6LoWPAN frame
    #[arg(long, help_heading = "Output")]
    dry_run: bool,
}

impl ObserveArgs {
    /// Runs `observe`.
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let question = self.question();
        let (method, payload) = self.body()?;
        let mut plan = Plan::new(&question, method, payload)?;
        let observe = OptionNumber::OBSERVE;
        if self.option.iter().any(|(number, _)| *number == observe) {
            return Err(Failure::usage("Observe is said by the command observe"));
        }
        if self.dry_run {
            plan.options.push((observe, Vec::new()));
            plan.options.sort_by_key(|(number, _)| *number);
            return dry_run::run(&plan);
        }
        let security = Security::of(&plan)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let client = ask::client(&plan).await?;
            let watch = security.watch();
            let observed = self.observe(&plan, &client, &security).await;
            drop(watch);
            client.close().await;
            let closed = security.close();
            observed.and_then(|code| closed.map(|()| code))
        })
    }

    /// The same as for a single question, as far as it is the same.
    fn question(&self) -> Question {
        Question {
            whom: self.whom.clone(),
            accept: self.accept,
            option: self.option.clone(),
            non: false,
            collect_for: None,
            count: None,
            repeat: self.repeat,
            same_message: self.same_message,
            complete: None,
            complete_within: None,
            idempotent: false,
            leisure: self.leisure,
            rtt: self.rtt,
            late: None,
            json: self.json,
            full: false,
            raw: false,
            output: None,
            block_size: None,
            blocks_by_group: false,
            link: self.link,
            dry_run: self.dry_run,
        }
    }

    fn body(&self) -> Result<(Code, Payload), Failure> {
        match &self.fetch {
            Some(text) => Ok((
                Code::FETCH,
                payload::read(text, self.payload_as, self.content_format)?,
            )),
            None => Ok((
                Code::GET,
                Payload {
                    bytes: Vec::new(),
                    format: None,
                },
            )),
        }
    }

    fn how(&self) -> Observing {
        let mut how = match self.every.is_zero() {
            true => Observing::new().once(),
            false => Observing::new().every(self.every),
        };
        if let Some(margin) = self.margin {
            how = how.margin(margin);
        }
        how.follow_up(match self.complete {
            0 => FollowUp::None,
            at_once => FollowUp::Unicast {
                at_once: usize::from(at_once),
            },
        })
    }

    async fn observe(
        &self,
        plan: &Plan<'_>,
        client: &Client,
        security: &Security,
    ) -> Result<u8, Failure> {
        let (names, observation) = match ask::is_group(plan, client).await? {
            true => self.group(plan, client, security).await?,
            false => (Vec::new(), self.one(plan, client, security).await?),
        };
        self.follow(observation, names, security.group()).await
    }

    async fn group(
        &self,
        plan: &Plan<'_>,
        client: &Client,
        security: &Security,
    ) -> Result<(Vec<String>, Observation), Failure> {
        if self.whom.to.is_some() {
            return Err(Failure::usage(format!(
                "{} is a group, so --to has no meaning; --expect says whose notifications are awaited",
                terminal::line(&self.whom.uri)
            )));
        }
        let (names, expected) = ask::expected(plan, security.group())?;
        let call = client
            .group(&self.whom.uri)
            .map_err(|error| Failure::usage(terminal::line(&error.to_string())))?
            .request(ask::request(plan))
            .expect(expected);
        let mut call = match security {
            Security::Unsecured(reason) => call.unsecured(*reason),
            Security::Secured(Keys {
                with: With::Group(group),
                ..
            }) => call.secure(group),
            Security::Secured(_) => {
                return Err(Failure::usage(
                    "an OSCORE context is for one peer; a group is observed with a security group",
                ));
            }
        };
        let repeats = u8::try_from(self.repeat).unwrap_or(u8::MAX);
        if repeats > 0 {
            call = call.repeat(match self.same_message {
                true => Repeat::SameMessage(repeats),
                false => Repeat::NewMessageId(repeats),
            });
        }
        if let Some(time) = self.leisure {
            call = call.leisure(time);
        }
        if let Some(time) = self.rtt {
            call = call.rtt(time);
        }
        let observation = call.observe(self.how()).await;
        Ok((
            names,
            observation.map_err(|error| collecting::not_asked(&error))?,
        ))
    }

    async fn one(
        &self,
        plan: &Plan<'_>,
        client: &Client,
        security: &Security,
    ) -> Result<Observation, Failure> {
        plan.refuse_group_only()?;
        let call = client
            .one(&self.whom.uri)
            .map_err(|error| Failure::usage(terminal::line(&error.to_string())))?
            .request(ask::request(plan));
        let mut call = match security {
            Security::Unsecured(reason) => call.unsecured(*reason),
            Security::Secured(Keys {
                with: With::Pair(context),
                ..
            }) => call.secure(context),
            Security::Secured(Keys {
                with: With::Group(group),
                ..
            }) => call.secure(&ask::addressee(plan, group, plan.uri.host.ip())?),
        };
        if let Some(interface) = self.whom.interface.first() {
            call = call.interface(interface);
        }
        call.observe(self.how())
            .await
            .map_err(|error: OneError| collecting::not_sent(&error))
    }

    /// Shows what happens until it is over: by Ctrl-C, by itself, or because there is nobody left.
    async fn follow(
        &self,
        mut observation: Observation,
        names: Vec<String>,
        group: Option<&SecurityGroup>,
    ) -> Result<u8, Failure> {
        let mut screen = Screen::new(self.json, names, group);
        let mut ending = false;
        let mut interrupted = false;
        let mut left = self.count;
        let end = tokio::time::sleep(self.time.unwrap_or_default());
        tokio::pin!(end);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                event = observation.next() => {
                    let Some(event) = event else { break };
                    let counts = matches!(event, ObservationEvent::Notification(_));
                    if ending && counts {
                        continue;
                    }
                    screen.event(&event)?;
                    if counts {
                        left = left.map(|left| left.saturating_sub(1));
                        if left == Some(0) {
                            ending = true;
                            observation.end();
                        }
                    }
                }
                () = &mut end, if self.time.is_some() && !ending => {
                    ending = true;
                    observation.end();
                }
                signal = tokio::signal::ctrl_c() => {
                    signal?;
                    if core::mem::replace(&mut interrupted, true) {
                        break; // who was not reached hears of it when it notifies next
                    }
                    ending = true;
                    observation.end();
                    screen.ending()?;
                }
                _ = tick.tick(), if screen.is_live() => screen.redraw()?,
            }
        }
        screen.leave()?;
        let Some(outcome) = observation.outcome() else {
            return Err(Failure {
                message: "ended before its members had confirmed it".into(),
                code: exit::SOME_MISSING,
            });
        };
        let ended = Ended::of(outcome, interrupted);
        print_line(&screen.outcome(&ended))?;
        match outcome.ended_by {
            ObservationEnd::NotRegistered(why) => Err(Failure::local(format!(
                "nothing was observed: {}",
                show::not_registered(why)
            ))),
            ObservationEnd::Failed(failure) => Err(Failure {
                message: format!("{}: {failure}", terminal::line(&self.whom.uri)),
                code: exit::NONE,
            }),
            ObservationEnd::ByServer(MemberEnd::Error(_)) => Ok(exit::REFUSED),
            _ => Ok(ended.exit_code()),
        }
    }
}
