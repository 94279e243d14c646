use alloc::vec::Vec;
use std::collections::BTreeSet;
use std::format;

use super::*;

const START: Duration = Duration::from_secs(1000);
const NOTE_A: EchoNote = *b"note";

fn at(seconds: u64) -> Duration {
    START + Duration::from_secs(seconds)
}

fn client(kid: u8, serial: u64) -> Client {
    Client {
        kid: Kid::new(&[kid]).unwrap(),
        serial,
    }
}

fn echoes() -> Echoes {
    Echoes::new(EchoSettings::default())
}

/// One client, and what is remembered of it.
struct One {
    client: Client,
    challenges: Challenges,
}

fn one(kid: u8) -> One {
    One {
        client: client(kid, u64::from(kid)),
        challenges: Challenges::default(),
    }
}

impl One {
    fn challenge(&mut self, by: &mut Echoes, now: Duration) -> Vec<u8> {
        let value = by.challenge(self.client, &mut self.challenges, now, || [7; 32], NOTE_A);
        value.unwrap().to_vec()
    }

    fn verify(&mut self, by: &Echoes, value: &[u8], now: Duration) -> bool {
        let note = by.verify(self.client, &mut self.challenges, value, now);
        assert!(note.is_none_or(|note| note == NOTE_A));
        note.is_some()
    }
}

#[test]
fn defaults() {
    assert_eq!(EchoSettings::default().lifetime, Duration::from_secs(60));
    assert_eq!(ECHO_LEN, 23);
    assert!((1..=40).contains(&ECHO_LEN), "RFC 9175 section 2.2.1");
}

// Covers: GO-9-05
#[test]
fn a_value_counts_for_the_client_and_the_group_that_it_was_made_for() {
    // Each Security Context, so each Gid, has its secret.
    let (mut lights, mut doors) = (echoes(), echoes());
    let [mut a, mut b, mut a_at_doors] = [one(1), one(2), one(1)];
    let for_a = a.challenge(&mut lights, START);
    let for_b = b.challenge(&mut lights, START);
    let at_doors = doors
        .challenge(
            a.client,
            &mut a_at_doors.challenges,
            START,
            || [8; 32],
            NOTE_A,
        )
        .unwrap();
    assert!(!a.verify(&lights, &for_b, START));
    assert!(!b.verify(&lights, &for_a, START));
    assert!(!a.verify(&lights, &at_doors, START));
    assert!(!a_at_doors.verify(&doors, &for_a, START));
    assert!(a.verify(&lights, &for_a, START) && b.verify(&lights, &for_b, START));
    assert!(a_at_doors.verify(&doors, &at_doors, START));
    // A Recipient Context that is made anew for the same kid has never been challenged.
    let again = a.challenge(&mut lights, START);
    let mut anew = Challenges::default();
    assert_eq!(lights.verify(client(1, 99), &mut anew, &again, START), None);
    assert!(a.verify(&lights, &again, START));
}

// Covers: GO-9-12
#[test]
fn a_value_matches_whole_or_not_at_all() {
    let mut echoes = echoes();
    let mut a = one(1);
    let right = a.challenge(&mut echoes, START);
    for len in 0..right.len() {
        assert!(!a.verify(&echoes, &right[..len], START), "{len} bytes");
    }
    let longer = [&right[..], &[0]].concat();
    assert!(!a.verify(&echoes, &longer, START), "one byte more");
    for bit in 0..8 * right.len() {
        let mut wrong = right.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(!a.verify(&echoes, &wrong, START), "bit {bit}");
    }
    assert!(a.verify(&echoes, &right, START));
}

#[test]
fn a_value_counts_once_and_what_waited_with_it_is_used_up() {
    let mut echoes = echoes();
    let [mut a, mut b] = [one(1), one(2)];
    let first = a.challenge(&mut echoes, START);
    assert!(a.challenges.are_waiting(START) && !b.challenges.are_waiting(START));
    let second = a.challenge(&mut echoes, at(1));
    let of_b = b.challenge(&mut echoes, at(1));
    assert!(a.verify(&echoes, &first, at(2)), "challenges that cross");
    assert!(!a.challenges.are_waiting(at(2)));
    assert!(!a.verify(&echoes, &first, at(2)));
    assert!(!a.verify(&echoes, &second, at(2)));
    assert!(b.verify(&echoes, &of_b, at(2)), "another client's is not");
    // The next one, of the same moment.
    let third = a.challenge(&mut echoes, at(2));
    assert!(a.verify(&echoes, &third, at(2)));
}

#[test]
fn no_number_of_challenges_puts_an_earlier_one_out_of_use() {
    let mut echoes = echoes();
    let mut a = one(1);
    let genuine = a.challenge(&mut echoes, START);
    for n in 0..1000 {
        a.challenge(&mut echoes, at(n % 60));
    }
    // Nor do challenges of others.
    for kid in 2..200 {
        one(kid).challenge(&mut echoes, at(1));
    }
    assert!(a.verify(&echoes, &genuine, at(59)));
}

#[test]
fn a_value_expires() {
    let mut echoes = echoes();
    let [mut a, mut b] = [one(1), one(2)];
    let for_a = a.challenge(&mut echoes, START);
    let for_b = b.challenge(&mut echoes, START);
    let last = at(60) - Duration::from_nanos(1);
    assert!(a.challenges.are_waiting(last) && !a.challenges.are_waiting(at(60)));
    assert!(!b.verify(&echoes, &for_b, at(60)));
    assert!(a.verify(&echoes, &for_a, last));
    // Each has its own end, and what waits ends with the last.
    let early = a.challenge(&mut echoes, START);
    let late = a.challenge(&mut echoes, at(30));
    assert!(a.challenges.are_waiting(at(90) - Duration::from_nanos(1)));
    assert!(!a.verify(&echoes, &early, at(60)));
    assert!(a.verify(&echoes, &late, at(60)));
    // Parts of a millisecond are cut off: a value is never good for longer.
    let odd = START + Duration::from_micros(1_999);
    let value = a.challenge(&mut echoes, odd);
    assert!(!a.verify(&echoes, &value, odd + Duration::from_secs(60)));
    assert!(!a.verify(&echoes, &value, at(60) + Duration::from_millis(1)));
    assert!(a.verify(&echoes, &value, at(60) + Duration::from_micros(999)));
}

// Covers: GO-9-03, GO-9-04
#[test]
fn no_value_comes_twice_not_even_after_a_restart() {
    let mut seen = BTreeSet::new();
    for start in 0..2 {
        // The same numbers, times and clients, under a secret of its own.
        let mut echoes = echoes();
        for n in 0..10_000_u64 {
            let client = client((n % 250) as u8, 1);
            let mut challenges = Challenges::default();
            let random = [start; 32];
            let value = echoes.challenge(client, &mut challenges, START, || random, NOTE_A);
            let value = value.unwrap();
            let (_, seal) = value.split_last_chunk::<8>().unwrap();
            assert!(seen.insert(*seal), "8 bytes that nobody can foresee");
        }
    }
    assert_eq!(seen.len(), 20_000);
}

#[test]
fn what_is_forgotten_is_good_no_more_and_the_next_secret_is_another_one() {
    let mut echoes = echoes();
    let mut a = one(1);
    assert!(echoes.is_empty());
    assert!(!a.verify(&echoes, &[0; ECHO_LEN], START), "none was made");
    let value = a.challenge(&mut echoes, START);
    // The secret is drawn once.
    let never = || panic!("drawn again");
    let other = echoes.challenge(a.client, &mut a.challenges, START, never, NOTE_A);
    assert!(!echoes.is_empty());
    echoes.forget();
    assert!(echoes.is_empty());
    assert!(!a.verify(&echoes, &value, START));
    let next = echoes.challenge(a.client, &mut a.challenges, START, || [9; 32], NOTE_A);
    assert!(!a.verify(&echoes, &value, START));
    assert!(!a.verify(&echoes, &other.unwrap(), START));
    assert!(a.verify(&echoes, &next.unwrap(), START));
}

#[test]
fn numbers_and_times_that_do_not_fit_make_no_value() {
    let mut echoes = echoes();
    let made = |echoes: &mut Echoes, now| {
        let mut a = one(1);
        let value = echoes.challenge(a.client, &mut a.challenges, now, || [7; 32], NOTE_A);
        value.is_some_and(|value| a.verify(echoes, &value, now))
    };
    let last = Duration::from_millis((1 << 48) - 1);
    assert!(made(&mut echoes, last));
    assert!(!made(&mut echoes, last + Duration::from_millis(1)));
    assert!(!made(&mut echoes, Duration::MAX));
    echoes.next = (1 << 40) - 1;
    assert!(made(&mut echoes, START));
    assert!(!made(&mut echoes, START));
    let forever = EchoSettings {
        lifetime: Duration::MAX,
    };
    assert!(made(&mut Echoes::new(forever), last));
}

#[test]
fn the_secret_is_absent_from_debug() {
    let mut echoes = echoes();
    let mut a = one(1);
    let random = || [0xab; 32];
    echoes.challenge(a.client, &mut a.challenges, START, random, NOTE_A);
    let shown = format!("{echoes:?}");
    assert!(!shown.contains("171") && !shown.contains("ab"), "{shown}");
}
