//! How close together the members of a group act, and how far apart they answer.

use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use antiphon::{Access, ContentFormat, EndedBy, GroupPolicy, Leisure, Membership, NoSec, Resource};

use crate::place::{PATIENCE, Place};

const MEMBERS: u8 = 100;
const ROUNDS: usize = 10;
const LEISURE: Duration = Duration::from_millis(200);
/// The longest time between the first handler of a round and 99 of 100 of all others.
const CLOSE: Duration = Duration::from_millis(50);
/// A machine that is busy with something else gets so many chances.
const ATTEMPTS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_lights_switch_together_and_answer_spread_over_the_leisure() {
    let place = Place::new();
    let switched = Arc::new(Mutex::new(Vec::new()));
    let mut servers = Vec::new();
    for n in 1..=MEMBERS {
        let switched = Arc::clone(&switched);
        let light = Resource::at("/light")
            .access(Access::Unsecured)
            .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(LEISURE)))
            .put(move |_, _| switched.lock().unwrap().push(Instant::now()));
        let server = place
            .server(n)
            .join(Membership::new(place.group(1)).unsecured())
            .resource(light);
        servers.push(server.build().await.unwrap().spawn());
    }
    let client = place.client().build().await.unwrap();

    let mut slowest = Vec::new();
    for _ in 0..ATTEMPTS {
        let mut behind_the_first = Vec::new();
        for _ in 0..ROUNDS {
            let mut answers = client
                .group(&place.group_uri(1, "/light"))
                .unwrap()
                .put(ContentFormat::TEXT, "on")
                .unsecured(NoSec::Accepted)
                .expect(place.expected(1..=MEMBERS))
                .collect_for(PATIENCE)
                .send()
                .await
                .unwrap();
            let mut after = Vec::new();
            while let Some(answer) = answers.answer().await {
                after.push(answer.after);
            }
            assert_eq!(
                answers.finish().await.unwrap().ended_by,
                EndedBy::AllExpected
            );
            after.sort_unstable();
            // A hundred random times: the first is early, the last is late.
            let (first, last) = (after[0], after[after.len() - 1]);
            assert!(last - first > LEISURE * 7 / 8, "{first:?} to {last:?}");

            let mut moments = core::mem::take(&mut *switched.lock().unwrap());
            assert_eq!(moments.len(), usize::from(MEMBERS), "each handler ran once");
            moments.sort_unstable();
            behind_the_first.extend(moments[1..].iter().map(|at| *at - moments[0]));
        }
        behind_the_first.sort_unstable();
        let p99 = behind_the_first[behind_the_first.len() * 99 / 100];
        println!("99 of 100 handlers ran within {p99:?} of the first");
        if p99 < CLOSE {
            return;
        }
        slowest.push(p99);
    }
    panic!("99 of 100 handlers ran within {slowest:?} of the first, not within {CLOSE:?}");
}
