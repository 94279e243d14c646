//! Comparisons of secrets take the same time whatever they compare (threat 30): measured in the manner of dudect.

use std::hint::black_box;
use std::time::Instant;

use crate::floor::*;
use crate::hand::Recipe;

const LENGTH: usize = 4096;
const SAMPLES: usize = 1500;

/// Mean and variance of the faster part of the samples: what takes longer was interrupted.
fn cropped(samples: &mut [f64]) -> (f64, f64, f64) {
    samples.sort_by(f64::total_cmp);
    let kept = &samples[..samples.len() * 3 / 4];
    let count = kept.len() as f64;
    let mean = kept.iter().sum::<f64>() / count;
    let variance = kept.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance, count)
}

/// Whether the time of `work` tells which of two inputs it had: a large t of Welch's test *and* means that are clearly apart,
/// because on a busy machine tiny differences can be significant.
fn tells_apart(mut work: impl FnMut(bool)) -> bool {
    let mut times = [vec![], vec![]];
    let mut random = 0x2545_f491_u32;
    for _ in 0..SAMPLES * 2 {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let class = random & 0x100 != 0;
        let start = Instant::now();
        work(class);
        times[usize::from(class)].push(start.elapsed().as_nanos() as f64);
    }
    let [(one, of_one, n_one), (two, of_two, n_two)] = times.each_mut().map(|it| cropped(it));
    let t = (one - two)
        / (of_one / n_one + of_two / n_two)
            .sqrt()
            .max(f64::MIN_POSITIVE);
    t.abs() > 20.0 && (one - two).abs() > 0.2 * one.min(two)
}

/// In three measurements out of three: one that is disturbed does not count.
fn leaks(mut work: impl FnMut(bool)) -> bool {
    (0..3).all(|_| tells_apart(&mut work))
}

#[test]
fn threat_30_comparisons_of_secrets_do_not_tell_where_they_differ() {
    let secret = vec![0x5a; LENGTH];
    let mut early = secret.clone();
    early[0] ^= 1;
    let late = {
        let mut late = secret.clone();
        late[LENGTH - 1] ^= 1;
        late
    };
    let guess = |class: bool| if class { &early } else { &late };
    let (kept, guesses) = (
        Secret::copy_of(&secret),
        [Secret::copy_of(&late), Secret::copy_of(&early)],
    );
    assert!(!leaks(|class| {
        black_box(black_box(&kept) == black_box(&guesses[usize::from(class)]));
    }));
    // The control: a comparison that stops at the first difference.
    let stops = |one: &[u8], two: &[u8]| one.iter().zip(two).all(|(one, two)| one == two);
    let leaked = (0..3).any(|_| {
        tells_apart(|class| {
            black_box(stops(black_box(&secret), black_box(guess(class))));
        })
    });
    assert!(leaked);
}

#[test]
fn threat_30_a_wrong_signature_and_a_wrong_tag_get_the_same_reply() {
    let mut members = floor(2);
    let (signed, _) = members[0].ask(To::Group, &get(1));
    let (paired, _) = members[0].ask(To::Member(kid(1)), &get(1));
    // Signed by its sender, and wrong inside.
    let mut recipe = Recipe::new(Suite::default());
    recipe.wrong_tag = true;
    let wrong_tag = recipe.request(0, 9);
    let replies = [spoiled(&signed), wrong_tag, spoiled(&paired)]
        .map(|forged| members[1].refuses(&forged))
        .map(|reason| (reason, reason.answer(false), reason.answer(true)));
    assert_eq!(replies[0], replies[1]);
    assert_eq!(replies[0], replies[2]);
    assert_eq!(replies[0].2, None);
    // The control: other reasons do differ.
    members[1].hear(&signed).unwrap();
    let replayed = members[1].refuses(&signed);
    assert_ne!(replayed.answer(false), replies[0].1);
}
