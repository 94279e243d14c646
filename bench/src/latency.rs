//! How closely together the members of a group act on one request, and how their answers spread.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use antiphon::{
    Access, Client, ContentFormat, EndpointConfig, Expectation, GroupPolicy, Incoming, Leisure,
    Member, Membership, NoSec, Resource, Response, Server,
};

use crate::group::{free_group, member};

const MEMBERS: usize = 100;
const ROUNDS: usize = 40;
const LEISURE: Duration = Duration::from_millis(150);

/// When the handlers ran.
type Acted = Arc<Mutex<Vec<Instant>>>;

fn light(acted: &Acted) -> Resource {
    let acted = Arc::clone(acted);
    Resource::at("/light")
        .put(move |_: &Incoming<'_>, _: &mut Response| {
            if let Ok(mut acted) = acted.lock() {
                acted.push(Instant::now());
            }
        })
        .group_policy(GroupPolicy::respond())
        .access(Access::Unsecured)
}

/// The time between the first and the last of these.
fn spread(times: &[Instant]) -> f64 {
    match (times.iter().min(), times.iter().max()) {
        (Some(first), Some(last)) => (*last - *first).as_secs_f64() * 1e3,
        _ => f64::NAN,
    }
}

/// Prints what was seen.
pub(crate) fn run() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let group = free_group(3)?;
    let acted = Acted::default();
    let mut running = Vec::new();
    for n in 0..MEMBERS {
        let mut endpoint = EndpointConfig::default();
        endpoint.server.leisure = Some(Leisure::Fixed(LEISURE));
        endpoint.server.discoverable = antiphon::Discoverable::Groups;
        let server = Server::builder()
            .endpoint(endpoint)
            .unicast(member(n, group.port()))
            .interface("lo")
            .unsecured(NoSec::Accepted)
            .join(Membership::new(group).unsecured())
            .resource(light(&acted));
        running.push(server.build().await?.spawn());
    }
    let client = Client::builder()
        .interface("lo")
        .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .build()
        .await?;
    let (mut actions, mut answered, mut missing) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let mut expected = Expectation::nobody();
        for n in 0..MEMBERS {
            expected.add(Member::named(format!("m{n}")).at(member(n, group.port())));
        }
        let mut answers = client
            .group(&format!("coap://{group}/light"))?
            .put(ContentFormat::TEXT, "on")
            .unsecured(NoSec::Accepted)
            .expect(expected)
            .leisure(LEISURE)
            .collect_for(Duration::from_secs(3))
            .send()
            .await?;
        let mut arrived = Vec::new();
        while answers.answer().await.is_some() {
            arrived.push(Instant::now());
        }
        missing += answers.finish().await?.missing().count();
        let times = acted.lock().map(|mut times| std::mem::take(&mut *times));
        actions.push(spread(&times.unwrap_or_default()));
        answered.push(spread(&arrived));
    }
    actions.sort_by(f64::total_cmp);
    answered.sort_by(f64::total_cmp);
    // The 99th of a hundred; of fewer rounds than that it is the last.
    let p99 = |sorted: &[f64]| sorted[(sorted.len() * 99 / 100).min(sorted.len() - 1)];
    println!(
        "latency: one PUT to {MEMBERS} members, {ROUNDS} rounds, leisure {} ms",
        LEISURE.as_millis()
    );
    println!("| between the first and the last | p50 ms | p99 ms |");
    println!("| --- | ---: | ---: |");
    println!(
        "| handler that ran (bound: p99 50 ms) | {:.2} | {:.2} |",
        actions[ROUNDS / 2],
        p99(&actions)
    );
    println!(
        "| answer that came | {:.2} | {:.2} |",
        answered[ROUNDS / 2],
        p99(&answered)
    );
    println!("missing: {missing} of {}", MEMBERS * ROUNDS);
    Ok(())
}
