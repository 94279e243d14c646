use std::format;

use super::*;

fn import_cwt(text: &str) -> Result<Credential, CredentialRefused> {
    Credential::import(CredentialFormat::Cwt, &hex(text))
}

/// A COSE_Sign1 over this payload.
fn token(payload: &str) -> String {
    let len = hex(payload).len();
    format!(
        "84 43 a10127 a1 04 41 01 58 {len:02x} {payload} 58 40 {}",
        "5a".repeat(64)
    )
}

#[test]
fn the_key_of_a_token_is_in_its_claims() {
    let text = token(&ed25519_ccs());
    let credential = import_cwt(&text).unwrap();
    assert_eq!(
        (credential.bytes(), credential.subject()),
        (hex(&text).as_slice(), Some("client"))
    );
    assert_eq!(credential.public_key().coordinates().0, hex(ED25519_X));
    let odd = format!(
        "9f 5f 40 ff bf ff 5f 58 {:02x} {} ff 40 ff",
        hex(&p256_ccs()).len(),
        p256_ccs()
    );
    let credential = import_cwt(&odd).unwrap();
    assert_eq!(
        (credential.bytes(), credential.public_key().curve()),
        (hex(&odd).as_slice(), Curve::P256)
    );
}

// Covers: GO-2.4-06
#[test]
fn only_the_untagged_token_of_the_end_entity_is_kept() {
    let text = token(&ed25519_ccs());
    for tags in ["d2", "d8 3d d2", "d9d9f7 d8 3d d2"] {
        assert_eq!(
            import_cwt(&format!("{tags} {text}")).unwrap().bytes(),
            hex(&text)
        );
    }
    for chain in [
        format!("82 {text} {}", token(&p256_ccs())),
        format!("81 d2 {text}"),
    ] {
        assert_eq!(import_cwt(&chain).unwrap().bytes(), hex(&text));
    }
    assert_eq!(
        import_cwt(&format!("d1 {text}")),
        Err(Malformed),
        "a COSE_Mac0"
    );
}

#[test]
fn what_is_no_token_is_malformed() {
    let text = token(&ed25519_ccs());
    for bad in [
        ed25519_ccs(),
        format!("{text} 00"),
        text.replacen("84", "85", 1),
        format!("85 {} 40", &text[2..]),
        text.replacen("84", "83", 1),
        token("a0").replacen("a1 04", "81 04", 1),
        String::from("84 f6 a0 41 a0 40"),
        token("f6"),
        String::from("84 40 a0 f6 40"),
        String::from("84 40 a0 41 a0"),
        String::from("80"),
    ] {
        assert_eq!(import_cwt(&bad), Err(Malformed), "{bad}");
    }
    assert_eq!(import_cwt(&token("a0")), Err(NoKey));
    let bytes = hex(&text);
    for len in 0..bytes.len() {
        assert!(
            Credential::import(CredentialFormat::Cwt, &bytes[..len]).is_err(),
            "{len}"
        );
    }
}
