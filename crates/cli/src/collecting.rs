//! Following a question to a group: answers are printed when they come, Ctrl-C ends it, and the outcome is told either way.

use std::io::Write;
use std::time::Duration;

use antiphon::error::ResolveError;
use antiphon::{
    Answer, AskError, Collection, CollectionEvent, EndedBy, How, OneError, Outcome, SecurityGroup,
    Signed,
};
use antiphon_wire::{BlockValue, ContentFormat, OptionNumber};

use crate::failure::Failure;
use crate::outcome::{Reporter, Shown, Summary};
use crate::progress::Progress;
use crate::secured::SignedBy;
use crate::terminal;

/// How a collection was followed to its end.
pub(crate) struct Followed {
    pub(crate) outcome: Outcome,
    /// The user ended it.
    pub(crate) interrupted: bool,
}

/// Follows a collection: prints each answer by `reporter`, shows progress, closes it on Ctrl-C.
pub(crate) async fn follow(
    mut collection: Collection,
    names: &[&str],
    group: Option<&SecurityGroup>,
    reporter: &mut Reporter,
    json: bool,
) -> Result<Followed, Failure> {
    let mut progress = Progress::new(!json);
    let started = std::time::Instant::now();
    let mut fetching = String::new();
    let mut answered = 0usize;
    let mut interrupted = false;
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            event = collection.next() => {
                let Some(event) = event else { break };
                progress.clear();
                match event {
                    CollectionEvent::Answer(answer) | CollectionEvent::LateAnswer(answer) => {
                        if answer.sequence == 1 {
                            answered += 1;
                        }
                        print_line(&reporter.answer(&shown(&answer, names, group)))?;
                    }
                    CollectionEvent::Held(_, held) if json => {
                        let remaining = held.remaining.as_micros() as f64 / 1e3;
                        print_line(
                            &serde_json::json!({"event": "held", "reason": held.reason.to_string(), "remaining_ms": remaining})
                                .to_string(),
                        )?;
                    }
                    CollectionEvent::Held(_, held) => {
                        eprintln!("antiphon: waits {}: {}", crate::duration::show(held.remaining), held.reason);
                    }
                    CollectionEvent::SendFailed { group, error, .. } => {
                        eprintln!("antiphon: sending to {group} failed: {error}");
                    }
                    CollectionEvent::Warning(_, over) => eprintln!("antiphon: {over}"),
                    CollectionEvent::Progress(body) => {
                        let bytes = body.progress.bytes;
                        fetching = format!("; {bytes} bytes from {}", body.from);
                    }
                    _ => {}
                }
            }
            signal = tokio::signal::ctrl_c(), if !interrupted => {
                signal?;
                interrupted = true;
                collection.close();
            }
            _ = tick.tick(), if progress.is_enabled() => {
                let of = match names.len() {
                    0 => String::new(),
                    n => format!(" of {n}"),
                };
                let seconds = started.elapsed().as_secs_f64();
                progress.show(&format!("{answered}{of} answered, {seconds:.1} s{fetching}; Ctrl-C ends it"));
            }
        }
    }
    progress.clear();
    let outcome = collection
        .finish()
        .await
        .map_err(|error| Failure::local(error.to_string()))?;
    Ok(Followed {
        outcome,
        interrupted,
    })
}

/// Prints a line at once. A reader that has gone away is a local failure, not a panic.
pub(crate) fn print_line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// What is shown of an answer.
pub(crate) fn shown<'a>(
    answer: &'a Answer,
    names: &[&'a str],
    group: Option<&SecurityGroup>,
) -> Shown<'a> {
    let response = &answer.response;
    Shown {
        member: answer.member.and_then(|m| names.get(m.0 as usize).copied()),
        from: answer.from.peer,
        signer: answer.signer().map(|signer| SignedBy::of(&signer, group)),
        code: response.code,
        after: answer.after,
        how: how_name(answer.how),
        sequence: answer.sequence,
        format: content_format(&response.options),
        payload: &response.payload,
        truncated: is_truncated(&response.options),
    }
}

/// The Content-Format of a response.
pub(crate) fn content_format(options: &antiphon::Options) -> Option<ContentFormat> {
    let value = options.get(OptionNumber::CONTENT_FORMAT)?;
    let number = antiphon_wire::decode_uint(value)?;
    u16::try_from(number).ok().map(ContentFormat)
}

/// Does the response hold only the first block of its representation?
pub(crate) fn is_truncated(options: &antiphon::Options) -> bool {
    options
        .get(OptionNumber::BLOCK2)
        .and_then(BlockValue::decode)
        .is_some_and(|block| block.more())
}

fn how_name(how: How) -> String {
    match how {
        How::Multicast => "multicast".into(),
        How::Repeat(n) => format!("repeat {n}"),
        How::Unicast => "unicast".into(),
        How::Late => "late".into(),
        How::Cached { .. } => "cached".into(),
    }
}

/// The outcome in the words of the command line.
pub(crate) fn summary(followed: &Followed, silent: bool) -> Summary {
    let outcome = &followed.outcome;
    let owned = |name: &str| name.to_owned();
    Summary {
        answered: outcome.answered().map(|(name, _)| owned(name)).collect(),
        missing: outcome
            .missing()
            .map(|(name, reason)| (owned(name), reason.to_string()))
            .collect(),
        late: outcome.late().map(owned).collect(),
        rejected: outcome
            .rejected()
            .map(|(name, why)| (owned(name), why.to_string()))
            .collect(),
        unexpected: outcome
            .unexpected
            .iter()
            .filter(|other| other.answers > 0)
            .map(|other| other.address)
            .collect(),
        transmissions: outcome.transmissions,
        bytes: outcome.bytes,
        took: outcome.took,
        ended_by: ended_by(outcome.ended_by),
        silent,
        interrupted: followed.interrupted,
    }
}

fn ended_by(ended: EndedBy) -> &'static str {
    match ended {
        EndedBy::Deadline => "deadline",
        EndedBy::Count => "count",
        EndedBy::AllExpected => "all-expected",
        EndedBy::Closed => "closed",
        EndedBy::Sent => "sent",
        EndedBy::Failed(_) => "failed",
        EndedBy::NotProtected(_) => "not-protected",
    }
}

/// A question that could not be put: whose fault it is decides the exit code.
pub(crate) fn not_asked(error: &AskError) -> Failure {
    let text = terminal::line(&error.to_string());
    match error {
        AskError::Resolve(ResolveError::NotAGroup { .. } | ResolveError::IsAGroup { .. }) => {
            Failure::usage(text)
        }
        AskError::Resolve(_)
        | AskError::Security(_)
        | AskError::Interface(_)
        | AskError::Family(_)
        | AskError::Closed(_) => Failure::local(text),
        _ => Failure::usage(text),
    }
}

/// The same for a question to one member that never left.
pub(crate) fn not_sent(error: &OneError) -> Failure {
    let text = terminal::line(&error.to_string());
    match error {
        OneError::SecurityNotStated
        | OneError::Scheme(_)
        | OneError::TooLong
        | OneError::Refused(_)
        | OneError::Resolve(ResolveError::IsAGroup { .. }) => Failure::usage(text),
        _ => Failure::local(text),
    }
}
