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
