//! The committed corpora run through their targets, with any compiler and without the fuzzing engine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn committed(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let files = fs::read_dir(folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (
            entry.file_name().into_string().unwrap(),
            fs::read(entry.path()).unwrap(),
        )
    });
    files.collect()
}

fn run(target: &str, body: fn(&[u8])) {
    let corpus = committed(target);
    assert!(!corpus.is_empty());
    corpus.values().for_each(|bytes| body(bytes));
}

#[test]
fn message() {
    run("message", antiphon_fuzz::message);
}

#[test]
fn option_values() {
    run("option_values", antiphon_fuzz::option_values);
}

#[test]
fn multi_etag() {
    run("multi_etag", antiphon_fuzz::multi_etag);
}

#[test]
fn uri() {
    run("uri", antiphon_fuzz::uri);
}

#[test]
fn link_format() {
    run("link_format", antiphon_fuzz::link_format);
}

#[test]
fn block() {
    run("block", antiphon_fuzz::block_operations);
}

#[test]
fn endpoint_operations() {
    run("endpoint_operations", antiphon_fuzz::endpoint_operations);
}

#[test]
fn secured_operations() {
    run("secured_operations", antiphon_fuzz::secured_operations);
}

/// The sequences of operations do something: otherwise they would show nothing.
#[test]
fn endpoints_of_a_security_group_ask_answer_notify_and_get_new_keys() {
    let mut all = antiphon_fuzz::SecuredReached::default();
    for bytes in committed("secured_operations").values() {
        let reached = antiphon_fuzz::run_secured(bytes);
        all.handled += reached.handled;
        all.opened += reached.opened;
        all.challenges += reached.challenges;
        all.responses += reached.responses;
        all.answers += reached.answers;
        all.notifications += reached.notifications;
        all.installed += reached.installed;
    }
    assert!(all.handled >= 20 && all.opened >= 40, "{all:?}");
    assert!(all.responses >= 5 && all.answers >= 5, "{all:?}");
    assert!(all.challenges >= 2 && all.notifications >= 2, "{all:?}");
    assert!(all.installed >= 3, "{all:?}");
}

#[test]
fn distribution() {
    run("distribution", |bytes| {
        antiphon_fuzz::distribution(bytes);
    });
}

/// The sequences of operations do something: otherwise they would show nothing.
#[test]
fn distributions_begin_store_ask_and_end() {
    let mut all = antiphon_fuzz::DistributionReached::default();
    for bytes in committed("distribution").values() {
        let reached = antiphon_fuzz::distribution(bytes);
        all.accepted += reached.accepted;
        all.stored += reached.stored;
        all.asked += reached.asked;
        all.activated += reached.activated;
    }
    assert!(all.accepted >= 10 && all.stored >= 20, "{all:?}");
    assert!(all.asked >= 1 && all.activated >= 1, "{all:?}");
}

#[test]
fn oscore_option() {
    run("oscore_option", antiphon_fuzz::oscore_option);
}

#[test]
fn oscore_open() {
    run("oscore_open", antiphon_fuzz::oscore_open);
}

#[test]
fn credentials() {
    run("credentials", antiphon_fuzz::credentials);
}

#[test]
fn state_files() {
    run("state_files", antiphon_fuzz::state_files);
}

#[test]
fn two_members() {
    run("two_members", antiphon_fuzz::two_members);
}

/// The sequences of operations do something: otherwise they would show nothing.
#[test]
fn two_members_open_refuse_and_challenge() {
    let mut all = antiphon_fuzz::Done::default();
    for bytes in committed("two_members").values() {
        let done = antiphon_fuzz::run_two_members(bytes);
        all.opened += done.opened;
        all.refused += done.refused;
        all.challenged += done.challenged;
    }
    assert!(all.opened >= 20 && all.refused >= 20, "{all:?}");
    assert!(all.challenged >= 5, "{all:?}");
}

#[test]
fn the_listed_samples_are_committed() {
    for (target, samples) in antiphon_fuzz::corpus::all() {
        let corpus = committed(target);
        for (name, bytes) in samples {
            assert_eq!(
                corpus.get(name),
                Some(&bytes),
                "{target}/{name}: run make_corpus"
            );
        }
    }
}

/// The listed samples of a target.
fn listed(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = antiphon_fuzz::corpus::all().into_iter();
    all.find(|(name, _)| *name == target).unwrap().1
}

/// What a sample is named is what it is.
#[test]
fn samples_named_bad_are_refused_and_the_others_are_not() {
    let is_bad = |name: &str| name.starts_with("bad-");
    for (name, bytes) in listed("message") {
        assert_eq!(
            antiphon_wire::Message::parse(&bytes).is_err(),
            is_bad(name),
            "{name}"
        );
    }
    for (name, bytes) in listed("uri") {
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(
            antiphon_wire::Uri::parse(text).is_err(),
            is_bad(name),
            "{name}"
        );
    }
    for (name, bytes) in listed("link_format") {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let (query, document) = bytes.split_at(end);
        let refused = antiphon_wire::LinkFormat::parse(document).any(|link| link.is_err())
            || !query.is_empty() && antiphon_wire::Filter::parse(query).is_none();
        assert_eq!(refused, is_bad(name), "{name}");
    }
    for (name, bytes) in listed("multi_etag") {
        let read = antiphon_wire::MultiEtag::parse(&bytes);
        assert_eq!(read.is_err(), is_bad(name), "{name}");
    }
    for (name, bytes) in listed("oscore_option") {
        let option = antiphon_oscore::option::OscoreOption::parse(&bytes);
        assert_eq!(option.is_err(), is_bad(name), "{name}");
    }
    for (name, bytes) in listed("credentials") {
        let refused = !antiphon_fuzz::corpus::is_credential(&bytes);
        assert_eq!(refused, is_bad(name), "{name}");
    }
}
