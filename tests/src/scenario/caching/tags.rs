//! Entity tags that must not count, and those that two servers use.

use std::net::IpAddr;

use super::*;

/// The value of a Multi-ETag with a null port, byte for byte.
fn null_port(server: IpAddr, tag: &[u8]) -> Vec<u8> {
    let mut value = vec![0x83, 0x01, 0xd9, 0x01, 0x04];
    match server {
        IpAddr::V4(v4) => {
            value.push(0x44);
            value.extend_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            value.push(0x50);
            value.extend_from_slice(&v6.octets());
        }
    }
    value.push(0xf6);
    value.push(0x40 + tag.len() as u8);
    value.extend_from_slice(tag);
    value
}

// Covers: GC-3.2.2.3-01, GC-3.2.2.3-02, GC-3.2.2.3-03, GC-3.2.2.3-04, GC-3.2.2.3-05
#[test]
fn multi_etags_that_do_not_count_are_ignored_and_the_answer_is_full() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, Profile::Current);
        cast.ask();
        let tag = cast.said(0)[0].1.clone().unwrap();
        let stranger = cast.stage.stranger(98, 50_000);
        let write = |server: SocketAddr, tag: &[u8]| {
            let mut value = [0; 40];
            let length = MultiEtag::write(server, &[tag], &mut value).unwrap();
            value[..length].to_vec()
        };
        let here = cast.address(81);
        let own = write(here, &tag);
        let [mut port, mut elsewhere] = [here; 2];
        port.set_port(5685);
        elsewhere.set_ip(ground.address(84));
        let cut = &own[..own.len() - 1];
        let null = null_port(here.ip(), &tag);
        let other = write(here, b"other");
        let no_more = |code, options: Vec<(OptionNumber, Vec<u8>)>| (Code::GET, code, options);
        let path = (OptionNumber::URI_PATH, b"status".to_vec());
        let multi = |value: &[u8]| (MULTI_ETAG, value.to_vec());
        let cases = [
            (
                "its own",
                no_more(Code::VALID, vec![path.clone(), multi(&own)]),
            ),
            (
                "its own, port null",
                no_more(Code::VALID, vec![path.clone(), multi(&null)]),
            ),
            (
                "another tag",
                no_more(Code::CONTENT, vec![path.clone(), multi(&other)]),
            ),
            (
                "twice",
                no_more(Code::CONTENT, vec![path.clone(), multi(&own), multi(&own)]),
            ),
            (
                "twice, null",
                no_more(Code::CONTENT, vec![path.clone(), multi(&own), multi(&null)]),
            ),
            (
                "with ETag",
                no_more(
                    Code::CONTENT,
                    vec![(ETAG, tag.clone()), path.clone(), multi(&own)],
                ),
            ),
            (
                "cut short",
                no_more(Code::CONTENT, vec![path.clone(), multi(cut)]),
            ),
            (
                "nothing",
                no_more(Code::CONTENT, vec![path.clone(), multi(b"")]),
            ),
            (
                "another port",
                no_more(Code::CONTENT, vec![path.clone(), multi(&write(port, &tag))]),
            ),
            (
                "another address",
                no_more(
                    Code::CONTENT,
                    vec![path.clone(), multi(&write(elsewhere, &tag))],
                ),
            ),
            (
                "PUT",
                (Code::PUT, Code::CHANGED, vec![path.clone(), multi(&own)]),
            ),
        ];
        for (mid, (what, (method, code, options))) in (0x5000_u16..).zip(&cases) {
            let options: Vec<_> = options.iter().map(|(n, value)| (*n, &value[..])).collect();
            let request = Datagram {
                kind: Type::Non,
                code: *method,
                mid,
                token: b"t",
                options: &options,
                payload: b"",
            };
            let heard = cast
                .stage
                .provoke(stranger, ground.all_nodes(), request.bytes());
            let of_s1 = heard.iter().filter(|d| number_of(d.src.ip()) == 81);
            let of_s1: Vec<_> = of_s1.map(|d| parse(&d.bytes)).collect();
            assert_eq!(of_s1.len(), 1, "{ground:?} {what}");
            assert_eq!(of_s1[0].code(), *code, "{ground:?} {what}");
            if *code == Code::VALID {
                assert_eq!(of_s1[0].option(ETAG), Some(&tag[..]));
                assert_eq!(of_s1[0].payload(), b"");
            }
            // The others are not meant, and never confirm.
            let others = heard.iter().filter(|d| number_of(d.src.ip()) != 81);
            let others: Vec<_> = others.map(|d| parse(&d.bytes).code()).collect();
            let full = if *method == Code::PUT {
                Code::CHANGED
            } else {
                Code::CONTENT
            };
            assert_eq!(others, [full; 2], "{ground:?} {what}");
        }
    }
}

// Covers: GN-3.2.2-03, GN-3.2.2-04
#[test]
fn a_server_that_confirms_the_tag_of_another_is_asked_again_without_it() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 11);
        let client = stage.client();
        // Two servers that give the same tag to different representations.
        let servers = [81, 82].map(|n| {
            let host = stage.member(n);
            let resource = Resource::at("/status")
                .get(move |request: &Incoming<'_>, r: &mut Response| {
                    r.options.push(OptionNumber::MAX_AGE, &[5]);
                    r.options.push(ETAG, b"same");
                    let mut options = request.message.options();
                    if options.any(|o| (o.number, o.value) == (ETAG, &b"same"[..])) {
                        r.code = Code::VALID;
                    } else {
                        r.payload.extend_from_slice(n.to_string().as_bytes());
                    }
                })
                .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO)));
            stage.offer(host, resource);
            host
        });
        stage.settle();
        let mut cast = Cast {
            stage,
            client,
            servers: servers.to_vec(),
            states: Vec::new(),
        };
        let question = |cast: &Cast| {
            let mut question = cast.question();
            question.expect = Expectation::nobody();
            question
        };
        // Only S1 is heard at first, and its answer kept.
        cast.mute(1, true);
        let first = question(&cast);
        let done = cast.stage.collect(client, first);
        assert_eq!(done.texts(), [(81, "81".to_owned())], "{ground:?}");
        cast.mute(1, false);
        cast.sent(ETAG);
        cast.until(20);
        let second = question(&cast);
        let done = cast.stage.collect(client, second);
        let both = [(81, "81".to_owned()), (82, "82".to_owned())];
        assert_eq!(done.texts(), both, "each its own");
        let sent = cast.sent(ETAG);
        assert_eq!(
            sent,
            [vec![b"same".to_vec()], vec![]],
            "S2 once more, without"
        );
        // From now on the tag names nothing: it is not sent to the group any more.
        cast.until(60);
        let third = question(&cast);
        assert_eq!(cast.stage.collect(client, third).texts(), both);
        let sent = cast.sent(ETAG);
        assert_eq!(sent, [Vec::<Vec<u8>>::new()]);
    }
}
