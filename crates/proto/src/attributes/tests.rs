use super::*;

use std::vec;

#[test]
fn attributes_keep_their_order() {
    let attributes = Attributes::new()
        .rt("g.light")
        .interface("core.a")
        .sz(12)
        .title("Lamp")
        .with("gpt", "light")
        .flag("obs")
        .rt("second");
    let found: Vec<_> = attributes.iter().collect();
    assert_eq!(
        found,
        vec![
            ("rt", Some("g.light")),
            ("if", Some("core.a")),
            ("sz", Some("12")),
            ("title", Some("Lamp")),
            ("gpt", Some("light")),
            ("obs", None),
            ("rt", Some("second")),
        ]
    );
    assert_eq!(attributes.get("rt"), Some(Some("g.light")));
    assert_eq!(attributes.get("obs"), Some(None));
    assert_eq!(attributes.get("ct"), None);
    assert!(attributes.is_well_formed());
}

#[test]
fn what_cannot_be_written_is_not_well_formed() {
    for name in ["", "*", "a b", "a=b", "a;b", "ü", "a**"] {
        assert!(!Attributes::new().flag(name).is_well_formed(), "{name}");
        assert!(
            !Attributes::new().rt("ok").with(name, "x").is_well_formed(),
            "{name}"
        );
    }
    for name in ["title*", "x-y", "A9", "!#$&+-.^_`|~"] {
        assert!(Attributes::new().flag(name).is_well_formed(), "{name}");
    }
    assert!(!Attributes::new().title("a\nb").is_well_formed());
    assert!(!Attributes::new().title("a\u{0}").is_well_formed());
    assert!(Attributes::new().title("a \"b\" \\ ü").is_well_formed());
}
