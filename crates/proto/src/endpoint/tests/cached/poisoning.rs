//! What somebody off the path, or beside it, can put into the cache without security: nothing, and nothing of others.

use super::*;
use crate::observation::ObserveRequest;
use crate::rng::Rng;

/// A response with this token.
fn forged(kind: Type, mid: u16, token: &[u8], options: &[(OptionNumber, &[u8])]) -> Vec<u8> {
    let mut bytes = [0; 256];
    let token = Token::new(token).unwrap();
    let mut writer = Writer::new(&mut bytes, kind, Code::CONTENT, MessageId(mid), token).unwrap();
    for (number, value) in options {
        writer.option(*number, value).unwrap();
    }
    writer.payload(b"forged").unwrap();
    let len = writer.finish();
    bytes[..len].to_vec()
}

#[test]
fn an_attacker_off_the_path_who_guesses_tokens_poisons_nothing() {
    let mut bench = bench(fast());
    let mut rng = Rng::from_seed([9; 32]);
    bench.group(&[], &[(1, b"genuine")]);
    let target = to_group(get_r()).targets[0];
    let security = Security::Unsecured(NoSec::Accepted);
    let observe = ObserveRequest {
        cached: true,
        ..ObserveRequest::group(get_r(), target, security)
    };
    bench.endpoint.observe(bench.now, observe).unwrap();
    bench.sent();
    bench.pass(Duration::from_secs(10));
    bench
        .endpoint
        .collect(bench.now, to_group(get_r()))
        .unwrap();
    bench
        .endpoint
        .request_cached(bench.now, to(2, get_r()))
        .unwrap();
    bench.sent();
    bench.events();
    let observe: [(OptionNumber, &[u8]); 1] = [(OptionNumber::OBSERVE, &[200])];
    for n in 0..10_000_u16 {
        let mut token = [0; 8];
        rng.fill(&mut token);
        let options: &[(OptionNumber, &[u8])] = if n % 2 == 0 { &[] } else { &observe };
        let kind = [Type::Non, Type::Con, Type::Ack][usize::from(n % 3)];
        let bytes = forged(kind, n, &token[..usize::from(n % 9)], options);
        bench.hear(from(1 + n % 2), &bytes);
    }
    assert!(bench.events().is_empty());
    let cache = bench.endpoint.client.collections.cache();
    assert_eq!(cache.len(), 1);
    bench.pass(Duration::from_secs(20));
    bench.events();
    let (_, sent) = bench.cached(to(1, get_r()));
    assert_eq!(sent, []);
    assert_eq!(bench.given_from_cache().1.payload, b"genuine");
}

#[test]
fn who_has_seen_the_token_poisons_its_own_address_only() {
    let mut bench = bench(fast());
    bench.group(&[(ETAG, b"t")], &[(1, b"genuine")]);
    bench
        .endpoint
        .collect(bench.now, to_group(get_r()))
        .unwrap();
    let asked = bench.sent()[0].1.clone();
    // With the token, from an address of its own and from another port of the victim's host.
    let answer = response(&asked, Code::CONTENT, &[(ETAG, b"t")], b"forged");
    bench.hear(from(66), &answer);
    let mut beside = from(1);
    beside.peer.set_port(6_000);
    bench.hear(beside, &answer);
    // A confirmation of the victim's tag by somebody else.
    let valid = response(
        &asked,
        Code::VALID,
        &[(ETAG, b"t"), (MAX_AGE, &[255; 4])],
        b"",
    );
    bench.hear(from(67), &valid);
    bench.pass(Duration::from_secs(10));
    bench.events();
    let (_, sent) = bench.cached(to(1, get_r()));
    assert_eq!(sent, []);
    let (_, response, ..) = bench.given_from_cache();
    assert_eq!(response.payload, b"genuine");
    let left = response
        .options
        .get(MAX_AGE)
        .and_then(antiphon_wire::decode_uint);
    assert_eq!(left, Some(45), "15 s after it came, and not renewed");
}

#[test]
fn a_response_to_one_server_is_kept_only_if_that_has_sent_it() {
    let mut bench = bench(fast());
    let (_, sent) = bench.cached(to(1, get_r()));
    let asked = sent[0].1.clone();
    let answer = response(&asked, Code::CONTENT, &[], b"forged");
    bench.hear(from(66), &answer);
    let mut beside = from(1);
    beside.peer.set_port(6_000);
    bench.hear(beside, &answer);
    let mut wrong = answer.clone();
    wrong[4] ^= 1;
    bench.hear(from(1), &wrong);
    assert_eq!(bench.endpoint.client.collections.cache().len(), 0);
    let genuine = response(&asked, Code::CONTENT, &[], b"genuine");
    bench.hear(from(1), &genuine);
    assert_eq!(bench.answered().payload, b"genuine");
    let (_, sent) = bench.cached(to(1, get_r()));
    assert_eq!(sent, []);
    assert_eq!(bench.given_from_cache().1.payload, b"genuine");
}
