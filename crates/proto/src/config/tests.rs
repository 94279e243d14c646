use alloc::string::ToString;

use super::*;

#[test]
fn the_derived_times_are_those_of_rfc_7252() {
    let t = Transmission::default();
    assert_eq!(t.max_transmit_span(), Duration::from_secs(45));
    assert_eq!(t.max_transmit_wait(), Duration::from_secs(93));
    assert_eq!(t.exchange_lifetime(), Duration::from_secs(247));
    assert_eq!(t.non_lifetime(), Duration::from_secs(145));
    assert_eq!(t.ack_timeout_max(), Duration::from_secs(3));
}

#[test]
fn min_token_reuse_is_the_larger_of_the_formula_and_the_stated_250_s_and_the_delay() {
    let mut t = Transmission::default();
    assert_eq!(
        t.min_token_reuse(Some(Duration::from_secs(10))),
        Duration::from_secs(260)
    );
    assert_eq!(t.min_token_reuse(None), Duration::from_secs(500));
    t.set_max_latency(Duration::from_secs(200)).unwrap();
    assert_eq!(
        t.min_token_reuse(Some(Duration::ZERO)),
        Duration::from_secs(45 + 200 + 200)
    );
}

#[test]
fn every_parameter_is_refused_outside_of_its_limits_and_taken_at_them() {
    let mut t = Transmission::default();
    let ms = Duration::from_millis;
    let s = Duration::from_secs;
    let below = "is below its lower limit";
    let above = "is above its upper limit";
    assert_eq!(
        t.set_ack_timeout(Duration::from_micros(999))
            .unwrap_err()
            .problem,
        below
    );
    assert_eq!(t.set_ack_timeout(s(61)).unwrap_err().problem, above);
    assert_eq!(t.set_ack_timeout(ms(1)).unwrap().ack_timeout(), ms(1));
    assert_eq!(
        t.set_ack_random_permille(999).unwrap_err().parameter,
        "ACK_RANDOM_FACTOR"
    );
    assert_eq!(
        t.set_ack_random_permille(10_001).unwrap_err().problem,
        above
    );
    assert_eq!(t.set_max_retransmit(21).unwrap_err().problem, above);
    assert_eq!(t.set_max_retransmit(20).unwrap().max_retransmit(), 20);
    assert_eq!(t.set_nstart(0).unwrap_err().problem, below);
    assert_eq!(t.set_nstart(3).unwrap().nstart(), 3);
    assert_eq!(t.set_probing_rate(0).unwrap_err().problem, below);
    assert_eq!(t.set_probing_rate(9).unwrap().probing_rate(), 9);
    assert_eq!(t.set_default_leisure(s(3_601)).unwrap_err().problem, above);
    assert_eq!(
        t.set_default_leisure(Duration::ZERO)
            .unwrap()
            .default_leisure(),
        Duration::ZERO
    );
    assert_eq!(
        t.set_max_latency(Duration::ZERO).unwrap_err().problem,
        below
    );
    assert_eq!(t.set_max_latency(s(7)).unwrap().max_latency(), s(7));
    assert_eq!(t.set_processing_delay(s(61)).unwrap_err().problem, above);
    t.set_processing_delay(Duration::ZERO).unwrap();
    assert_eq!(
        t.set_nstart(9_999).unwrap_err().to_string(),
        "NSTART is above its upper limit"
    );
}

#[test]
fn both_limits_of_every_parameter_are_taken_and_what_lies_beyond_is_not() {
    let us = Duration::from_micros;
    let s = Duration::from_secs;
    fn of<T>(
        name: &str,
        (low, high): (T, T),
        beyond: (Option<T>, T),
        mut set: impl FnMut(T) -> Result<(), ConfigError>,
    ) {
        set(low).unwrap();
        set(high).unwrap();
        if let Some(below) = beyond.0 {
            let error = set(below).unwrap_err();
            assert_eq!(
                error.to_string(),
                alloc::format!("{name} is below its lower limit")
            );
        }
        let error = set(beyond.1).unwrap_err();
        assert_eq!(
            error.to_string(),
            alloc::format!("{name} is above its upper limit")
        );
    }
    let mut t = Transmission::default();
    let most = s(60) + us(1);
    of(
        "ACK_TIMEOUT",
        (us(1_000), s(60)),
        (Some(us(999)), most),
        |v| t.set_ack_timeout(v).map(drop),
    );
    assert_eq!(t.ack_timeout(), s(60), "what was refused changes nothing");
    of(
        "ACK_RANDOM_FACTOR",
        (1_000, 10_000),
        (Some(999), 10_001),
        |v| t.set_ack_random_permille(v).map(drop),
    );
    assert_eq!(t.ack_timeout_max(), s(600));
    of("MAX_RETRANSMIT", (0, 20), (None, 21), |v| {
        t.set_max_retransmit(v).map(drop)
    });
    of("NSTART", (1, 1_024), (Some(0), 1_025), |v| {
        t.set_nstart(v).map(drop)
    });
    of(
        "PROBING_RATE",
        (1, 1_000_000_000),
        (Some(0), 1_000_000_001),
        |v| t.set_probing_rate(v).map(drop),
    );
    let hour = s(3_600);
    of("DEFAULT_LEISURE", (s(0), hour), (None, hour + us(1)), |v| {
        t.set_default_leisure(v).map(drop)
    });
    of(
        "MAX_LATENCY",
        (us(1_000), hour),
        (Some(us(999)), hour + us(1)),
        |v| t.set_max_latency(v).map(drop),
    );
    of("PROCESSING_DELAY", (s(0), s(60)), (None, most), |v| {
        t.set_processing_delay(v).map(drop)
    });
}

#[test]
fn the_derived_times_follow_from_each_parameter() {
    let s = Duration::from_secs;
    let mut t = Transmission::default();
    assert_eq!(
        (t.nstart(), t.max_retransmit(), t.probing_rate()),
        (1, 4, 1)
    );
    assert_eq!((t.default_leisure(), t.max_latency()), (s(5), s(100)));
    t.set_ack_timeout(s(1)).unwrap();
    t.set_ack_random_permille(2_000).unwrap();
    t.set_max_retransmit(2).unwrap();
    t.set_max_latency(s(10)).unwrap();
    t.set_processing_delay(s(3)).unwrap();
    assert_eq!(t.ack_timeout_max(), s(2));
    assert_eq!(t.max_transmit_span(), s(6));
    assert_eq!(t.max_transmit_wait(), s(14));
    assert_eq!(t.exchange_lifetime(), s(29));
    assert_eq!(t.non_lifetime(), s(16));
    t.set_max_retransmit(0).unwrap();
    assert_eq!((t.max_transmit_span(), t.max_transmit_wait()), (s(0), s(2)));
}
