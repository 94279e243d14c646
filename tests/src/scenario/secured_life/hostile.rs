//! What an attacker comes to, on the path and off it; what is open to whom; and for how long answers are spread.

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
use antiphon_oscore::sequence::{Sequence, SequenceSettings};
use antiphon_oscore::suite::{Aead, Hkdf, KeyAgreement, Suite};
use antiphon_oscore::{Own, Parameters};
use antiphon_proto::{
    Access, MembershipError, Methods, NoSecPolicy, Permissions, ResourceError, ResourceId,
};

use super::*;

#[test]
fn replays_and_forgeries_are_not_processed_and_draw_nothing() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        assert_eq!(cast.ask_all(get("/r")), [11, 12, 13]);
        let recorded = cast.stage.sent(cast.client)[0].clone();
        cast.is_silent_at("a replay", &again(&recorded));
        assert_eq!(cast.count(|all| all.replayed), 2 * 3);
        let mut sealer = Sealer::new(ASKER, SERVERS);
        let genuine = sealer.seal(&of(1, Code::GET, "r"));
        for bit in [1, SIGNATURE / 2, SIGNATURE] {
            cast.is_silent_at("a flipped bit of the signature", &flipped(&genuine, bit));
        }
        assert_eq!(cast.count(|all| all.not_verified), 2 * 3 * 3);
        cast.is_silent_at("a wrong kid context", &with_gid(&genuine, 1, 9));
        assert_eq!(cast.count(|all| all.no_context), 2 * 3);
        // The genuine one is served, whatever was said in its name.
        let group = cast.to_all();
        assert_eq!(cast.provoke(group, &genuine).len(), 3);
        cast.rekey(2, &[CLIENT, 11, 12, 13], &[]);
        let stale = sealer.seal(&of(2, Code::GET, "r"));
        cast.is_silent_at("a stale Gid", &stale);
        assert_eq!(cast.count(|all| all.no_context), 2 * 2 * 3);
        assert_eq!(cast.ask_all(get("/r")), [11, 12, 13]);
    }
}

/// Adds a resource that anyone may use to all servers.
fn offer(cast: &mut Cast, path: &str, size: usize, policy: &GroupPolicy) -> Vec<ResourceId> {
    let hosts = cast.hosts();
    let text = "x".repeat(size);
    let offered = hosts.into_iter().map(|host| {
        let diary = Diary::new();
        let resource = Resource::at(path).get(diary.handler(Code::CONTENT, &text));
        let resource = resource.observable().group_policy(policy.clone());
        cast.stage.offer(host, resource)
    });
    offered.collect()
}

#[test]
fn a_spoofed_address_gets_a_challenge_or_nothing() {
    use Reachability::{Assumed, Required, WhenAmplified};
    for ground in Ground::ALL {
        for (reachability, challenges) in [(Assumed, 0), (WhenAmplified, 3), (Required, 3)] {
            let mut config = trusting();
            config.server.unproven_reachability = reachability;
            let mut cast = cast_with(ground, &config);
            let group = cast.open_group();
            offer(&mut cast, "/o", 600, &GroupPolicy::respond().limit(1_024));
            let request = of(1, Code::GET, "o");
            let heard = cast.spoof(group, request.clone());
            assert_eq!(
                heard.len(),
                challenges,
                "{ground:?} {reachability:?}: {heard:?}"
            );
            for challenge in heard {
                let message = parse(&challenge.bytes);
                assert_eq!(message.code(), Code::UNAUTHORIZED);
                assert!(message.option(OptionNumber::ECHO).is_some());
                assert!(challenge.bytes.len() <= 3 * request.len());
            }
            // Whoever is there, and shows it, gets the large answer.
            if reachability == Assumed {
                continue;
            }
            let server = cast.address(11);
            let heard = cast.provoke(server, &request);
            let message = parse(&heard[0].bytes);
            let value = message.option(OptionNumber::ECHO).unwrap().to_vec();
            let path = (OptionNumber::URI_PATH, &b"o"[..]);
            let echoing = datagram(2, Code::GET, &[path, (OptionNumber::ECHO, &value)]);
            let heard = cast.provoke(server, &echoing);
            assert_eq!(parse(&heard[0].bytes).payload().len(), 600);
        }
    }
}

#[test]
fn a_spoofed_observation_stops_after_one_confirmable_notification() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let group = cast.open_group();
        let ids = offer(&mut cast, "/o", 2, &at_once());
        let hosts = cast.hosts();
        let of_all = |cast: &mut Cast| -> Vec<usize> {
            let each = hosts.iter().zip(&ids);
            each.map(|(host, id)| cast.stage.server(*host).observers_of(*id))
                .collect()
        };
        let changed = |cast: &mut Cast| {
            let now = cast.stage.world.now();
            for (host, id) in hosts.iter().zip(&ids) {
                cast.stage.world.endpoint(*host).changed(now, *id);
            }
            cast.run(300);
            cast.stage.heard(cast.victim)
        };
        let path = (OptionNumber::URI_PATH, &b"o"[..]);
        let request = datagram(1, Code::GET, &[(OptionNumber::OBSERVE, &[]), path]);
        cast.stage.forge(cast.address(VICTIM), group, request);
        cast.run(10);
        assert_eq!(
            cast.stage.heard(cast.victim).len(),
            3,
            "one first answer each"
        );
        assert_eq!(of_all(&mut cast), [1, 1, 1]);
        // One notification each, sent MAX_RETRANSMIT times more, which nobody acknowledges.
        let heard = changed(&mut cast);
        let mut notified = BTreeMap::new();
        for notification in &heard {
            let message = parse(&notification.bytes);
            assert_eq!(message.kind(), Type::Con);
            let which = (notification.src, message.message_id().0);
            *notified.entry(which).or_insert(0) += 1;
        }
        assert_eq!(notified.into_values().collect::<Vec<_>>(), [5, 5, 5]);
        assert_eq!(of_all(&mut cast), [0, 0, 0], "{ground:?}");
        assert!(changed(&mut cast).is_empty());
    }
}

#[test]
fn no_response_0_makes_servers_talk_to_members_only() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let group = cast.open_group();
        offer(
            &mut cast,
            "/q",
            2,
            &GroupPolicy::silent().consider_no_response(),
        );
        let path = (OptionNumber::URI_PATH, &b"q"[..]);
        let wants = (OptionNumber::NO_RESPONSE, &[][..]);
        let bytes = datagram(1, Code::GET, &[path, wants]);
        assert_eq!(cast.provoke(group, &bytes).len(), 0, "{ground:?}");
        assert_eq!(cast.spoof(group, again(&bytes)).len(), 0);
        let mut sealer = Sealer::new(ASKER, SERVERS);
        let sealed = sealer.seal(&datagram(2, Code::GET, &[path, wants]));
        assert_eq!(cast.provoke(group, &sealed).len(), 3, "{ground:?}");
        let plain = sealer.seal(&of(3, Code::GET, "q"));
        assert_eq!(cast.provoke(group, &plain).len(), 0);
    }
}

#[test]
fn nothing_is_open_in_the_strict_profile_and_no_group_is_called_nosec() {
    for name in ["nosec", "NoSec", "NOSEC"] {
        let refused = SecurityGroupName::new(name);
        assert_eq!(refused, Err(MembershipError::ReservedName));
    }
    let secret = antiphon_oscore::secret::Secret::new(vec![1; 16]);
    let group = antiphon::SecurityGroup::builder("nosec").gid([1]);
    let group = group.master_secret(secret).volatile();
    assert!(matches!(group, Err(antiphon::SecurityError::Name)));
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let open = cast.open_group();
        let (secured, server) = (cast.to_all(), cast.address(11));
        for host in cast.hosts() {
            let server = cast.stage.server(host);
            server.set_nosec(NoSecPolicy::default());
            let diary = Diary::new();
            let resource = Resource::at("/o").get(diary.handler(Code::CONTENT, ""));
            let added = server.add(resource.access(Access::Unsecured));
            assert_eq!(added, Err(ResourceError::UnsecuredNotStated));
        }
        for (mid, code) in [(1, Code::GET), (2, Code::PUT)] {
            let heard = cast.provoke(server, &of(mid, code, "r"));
            assert_eq!(heard.len(), 1, "{ground:?}");
            let message = parse(&heard[0].bytes);
            assert_eq!(message.code(), Code::UNAUTHORIZED);
            assert_eq!(message.option(OptionNumber::ECHO), None, "no way in");
            assert!(cast.provoke(open, &of(mid + 10, code, "r")).is_empty());
            assert!(cast.provoke(secured, &of(mid + 20, code, "r")).is_empty());
        }
        assert_eq!(cast.handled(), 0);
        // Discovery is exempt.
        let (path, core) = (OptionNumber::URI_PATH, &b"core"[..]);
        let bytes = datagram(30, Code::GET, &[(path, b".well-known"), (path, core)]);
        let heard = cast.provoke(server, &bytes);
        assert_eq!(parse(&heard[0].bytes).code(), Code::CONTENT);
        assert_eq!(cast.ask_all(get("/r")), [11, 12, 13]);
    }
}

#[test]
fn a_member_without_permission_gets_no_access() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let permissions = Permissions::none()
            .grant_all(Methods::GET)
            .grant(Methods::ALL, [secure::identity(CLIENT)]);
        for (n, host) in cast.servers.clone() {
            let diary = cast.diaries[&n].clone();
            let resource = Resource::at("/p")
                .get(diary.handler(Code::CONTENT, "p"))
                .put(diary.handler(Code::CHANGED, "ok"))
                .access(Access::Only(permissions.clone()))
                .group_policy(at_once());
            cast.stage.server(host).add(resource).unwrap();
        }
        let (group, server) = (cast.to_all(), cast.address(11));
        let mut sealer = Sealer::new(ASKER, SERVERS);
        let asked = sealer.seal_for(11, &of(1, Code::PUT, "p"));
        let heard = cast.provoke(server, &asked);
        assert_eq!(heard.len(), 1);
        let inner = sealer.open(&heard[0].bytes).unwrap();
        assert_eq!(parse(&inner).code(), Code::FORBIDDEN);
        let asked = sealer.seal(&of(2, Code::PUT, "p"));
        assert_eq!(cast.provoke(group, &asked).len(), 0, "{ground:?}");
        assert_eq!(cast.handled(), 0);
        // What it is permitted it may do, and who is permitted more may do more.
        let asked = sealer.seal(&of(3, Code::GET, "p"));
        assert_eq!(cast.provoke(group, &asked).len(), 3);
        assert_eq!(cast.ask_all(put("/p", "on")), [11, 12, 13]);
        assert_eq!(cast.handled(), 6);
    }
}

/// The key of a member of a group that has these algorithms, and its credential.
fn key_for(n: u8, suite: &Suite) -> (SoftwareKey, Credential) {
    let key = match suite.has_group_mode() {
        true => secure::key(n),
        false => SoftwareKey::from_x25519(&[n + 1; 32]).unwrap(),
    };
    let bytes = Credential::build_ccs(&format!("member {n}"), &key.public());
    let credential = Credential::import(CredentialFormat::Ccs, &bytes).unwrap();
    (key, credential)
}

/// The shortest and the longest time that a server takes to answer a group's request, of 60.
fn leisure(ground: Ground, suite: &Suite) -> (Duration, Duration) {
    let group = |me, peer| {
        let keys = Parameters {
            suite: *suite,
            ..secure::parameters(1)
        };
        let own = Own {
            sender_id: secure::kid(me),
            credential: key_for(me, suite).1,
            sequence: Sequence::exact(0, 1_000, SequenceSettings::default()),
        };
        let settings = Settings::default();
        let mut group = Group::new(secure::NAME, keys, Some(own), settings, None).unwrap();
        let credential = key_for(peer, suite).1;
        group.add_peer(secure::kid(peer), credential).unwrap();
        group
    };
    let mut cast = cast(ground);
    cast.server(20, trusting(), group(20, ASKER));
    let host = cast.host(20);
    cast.stage.world.node(host).key = Some(key_for(20, suite).0);
    let resource = Resource::at("/l").get(Diary::new().handler(Code::CONTENT, "l"));
    let resource = resource.group_policy(GroupPolicy::respond());
    cast.stage.server(host).add(resource).unwrap();
    cast.stage.settle();
    let pairwise = !suite.has_group_mode();
    let mut sealer = Sealer::of(key_for(ASKER, suite).0, group(ASKER, 20));
    let all = cast.to_all();
    let taken = (0..60).map(|mid| {
        let bytes = of(mid, Code::GET, "l");
        let sealed = match pairwise {
            true => sealer.seal_for(20, &bytes),
            false => sealer.seal(&bytes),
        };
        let said = cast.stage.world.sim.now();
        let heard = cast.provoke(all, &sealed);
        assert_eq!(heard.len(), 1, "{ground:?}");
        heard[0].at.as_micros() - said.as_micros()
    });
    let taken: Vec<_> = taken.map(Duration::from_micros).collect();
    (*taken.iter().min().unwrap(), *taken.iter().max().unwrap())
}

#[test]
fn the_leisure_is_20_seconds_and_13_where_there_is_no_group_mode() {
    let aead = Some(Aead::AesCcm16_128_128);
    let agreement = Some(KeyAgreement::EcdhSsHkdf256);
    let pairwise = Suite::new(Hkdf::Sha256, aead, None, None, agreement).unwrap();
    for ground in Ground::ALL {
        for (suite, seconds) in [(secure::suite(), 20), (pairwise, 13)] {
            let limit = Duration::from_secs(seconds);
            let (least, most) = leisure(ground, &suite);
            assert!(least < limit / 5, "{least:?}");
            // and the way there and back
            assert!(most < limit + Duration::from_millis(10), "{most:?}");
            assert!(most > limit * 9 / 10, "{most:?}");
        }
    }
}
