//! Interleaved rounds and the median, so that a change of clock or a noisy neighbour hits all alike.

use std::time::{Duration, Instant};

/// One thing to be timed.
pub(crate) struct Candidate<'a> {
    /// Does it `n` times.
    pub(crate) run: Box<dyn FnMut(u64) + 'a>,
}

/// Times all candidates in turn, `rounds` times, each turn for about `turn`. Returns the median
/// nanoseconds of one operation for each.
pub(crate) fn interleaved(
    candidates: &mut [Candidate<'_>],
    rounds: usize,
    turn: Duration,
) -> Vec<f64> {
    let repeats: Vec<u64> = candidates.iter_mut().map(|c| calibrate(c, turn)).collect();
    let mut times = vec![Vec::with_capacity(rounds); candidates.len()];
    for _ in 0..rounds {
        for (i, candidate) in candidates.iter_mut().enumerate() {
            let start = Instant::now();
            (candidate.run)(repeats[i]);
            times[i].push(start.elapsed().as_nanos() as f64 / repeats[i] as f64);
        }
    }
    times.into_iter().map(median).collect()
}

/// How often it must be done to take about `turn`.
fn calibrate(candidate: &mut Candidate<'_>, turn: Duration) -> u64 {
    let mut repeats = 64;
    loop {
        let start = Instant::now();
        (candidate.run)(repeats);
        if start.elapsed() >= turn {
            return repeats;
        }
        repeats *= 2;
    }
}

/// The middle value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
