use super::*;

use std::format;
use std::string::ToString;

#[test]
fn methods_are_a_set() {
    let all = [
        (Methods::GET, Code::GET),
        (Methods::POST, Code::POST),
        (Methods::PUT, Code::PUT),
        (Methods::DELETE, Code::DELETE),
        (Methods::FETCH, Code::FETCH),
        (Methods::PATCH, Code::PATCH),
        (Methods::IPATCH, Code::IPATCH),
    ];
    for (set, method) in all {
        assert_eq!(Methods::one(method), set);
        for (_, other) in all {
            assert_eq!(set.contains(other), method == other);
        }
        assert!(Methods::ALL.contains(method));
        assert!(!Methods::NONE.contains(method));
        assert!(!set.is_empty());
    }
    assert!(Methods::NONE.is_empty());
    assert_eq!(Methods::default(), Methods::NONE);
    assert_eq!(Methods::ALL.iter().count(), 7);
    let two = Methods::GET | Methods::PUT | Methods::GET;
    assert_eq!(two.iter().collect::<Vec<_>>(), [Code::GET, Code::PUT]);
    assert_eq!(format!("{two:?}"), "{0.01, 0.03}");
    for code in [Code::EMPTY, Code::from_u8(8), Code::CONTENT] {
        assert_eq!(Methods::one(code), Methods::NONE);
        assert!(!Methods::ALL.contains(code));
    }
}

#[test]
fn an_entity_tag_has_one_to_eight_bytes() {
    assert_eq!(ETag::new(b""), None);
    assert_eq!(ETag::new(b"123456789"), None);
    for bytes in [&b"1"[..], b"12345678", b"\0"] {
        assert_eq!(ETag::new(bytes).unwrap().as_bytes(), bytes);
    }
    assert_ne!(ETag::new(b"a"), ETag::new(b"a\0"));
}

#[test]
fn a_resource_starts_out_listed_verified_and_without_groups() {
    let resource = Resource::at("//a/b/");
    assert_eq!(resource.path, ["", "a", "b"]);
    assert!(resource.listed);
    assert!(!resource.sensitive && !resource.ambiguous);
    assert_eq!(resource.access, Access::Verified);
    assert_eq!(resource.group_policy, GroupPolicy::unsupported());
    assert_eq!(
        format!("{resource:?}"),
        "Resource { path: [\"\", \"a\", \"b\"], methods: {}, access: Verified, .. }"
    );
}

#[test]
fn a_method_given_twice_is_noticed_however_it_is_given() {
    let quiet = |_: &Incoming<'_>, _: &mut Response| {};
    assert!(
        !Resource::at("a")
            .get(quiet)
            .put(quiet)
            .deferred(Methods::POST)
            .ambiguous
    );
    assert!(
        Resource::at("a")
            .get(quiet)
            .deferred(Methods::GET)
            .ambiguous
    );
    assert!(
        Resource::at("a")
            .get(quiet)
            .on(Methods::ALL, quiet)
            .put(quiet)
            .ambiguous
    );
    assert!(Resource::links("a").get(quiet).ambiguous);
}

#[test]
fn errors_say_what_is_wrong() {
    for error in [
        ResourceError::PathTaken,
        ResourceError::Path,
        ResourceError::NoMethod,
        ResourceError::MethodTwice,
        ResourceError::SensitiveWithoutSecurity,
        ResourceError::UnknownApplicationGroup,
        ResourceError::HostName,
        ResourceError::Attribute,
        ResourceError::Full,
    ] {
        assert!(error.to_string().len() > 10, "{error:?}");
    }
}
