//! Bodies in blocks with an attacker between client and server, made up from seeds; the fuzzer makes up others.

use antiphon_netsim::{Rng, seed_from_env};

/// The body of the fuzz target.
#[allow(
    unreachable_pub,
    reason = "the package of the fuzz targets publishes it"
)]
#[path = "../../../fuzz/src/block.rs"]
mod body;

use body::Reached;

#[test]
fn bodies_are_whole_or_not_there_and_tables_keep_to_their_limits() {
    let first = seed_from_env(1);
    let mut all = Reached::default();
    for seed in first..first + 100 {
        println!("seed {seed}"); // seen when it fails
        let mut rng = Rng::new(seed);
        let mut data = vec![0; 1_000];
        rng.fill(&mut data);
        // In a part of the runs nothing is forged, so that everything must be whole.
        if seed % 3 == 0 {
            for byte in &mut data {
                if matches!(*byte % 16, 8 | 9) {
                    *byte = 15;
                }
            }
        }
        let Reached { ended, put, forged } = body::run(&data);
        all.ended[0] += ended[0];
        all.ended[1] += ended[1];
        all.put += put;
        all.forged += forged;
    }
    // They reach what they are meant to reach.
    let Reached { ended, put, forged } = all;
    assert!(ended.iter().all(|n| *n > 50), "{ended:?}");
    assert!(put > 20 && forged > 50, "{put} put, {forged} forged");
}
