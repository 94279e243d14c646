//! Three lamps and one who asks, in one security group on this machine: `cargo run -p antiphon --example secured`.

use core::time::Duration;

use antiphon::oscore::crypto::PrivateKey as _;
use antiphon::security_group::{Credential, Secret, SecurityGroupBuilder, SoftwareKey};
use antiphon::{
    Client, ContentFormat, Discoverable, EndpointConfig, GroupPolicy, Leisure, Membership,
    Resource, SecurityGroup, Server, Signed as _,
};

const SECOND: Duration = Duration::from_secs(1);

/// The group as member `me` sees it. The keys are for this program alone: real ones are random and live in a store.
fn lights(me: u8) -> SecurityGroupBuilder {
    let key = |n: u8| SoftwareKey::from_ed25519_seed(&[n + 1; 32]);
    let credential = |n: u8| Credential::build_ccs(&format!("member-{n}"), &key(n).public());
    let group = SecurityGroup::builder("lights")
        .gid(*b"demo")
        .master_secret(Secret::copy_of(&[7; 16]));
    let others = (0..=3).filter(|n| *n != me);
    others.fold(group.member([me], credential(me), key(me)), |group, n| {
        group.peer([n], credential(n))
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place = "239.255.7.7:5683".parse()?;
    let mut config = EndpointConfig::default();
    config.server.leisure = Some(Leisure::Fixed(SECOND)); // 20 s where a group may be large
    config.server.discoverable = Discoverable::Groups;
    for n in 1..=3u8 {
        let state = Resource::at("/state").group_policy(GroupPolicy::respond());
        let state = state.get(|_, response| response.set_payload(ContentFormat::TEXT, b"on"));
        let server = Server::builder()
            .endpoint(config.clone())
            .unicast(([127, 0, 7, n], 5683).into())
            .interface("lo");
        let server = server
            .join(Membership::new(place).secure(&lights(n).volatile()?))
            .resource(state);
        tokio::spawn(server.build().await?.run(core::future::pending()));
    }
    let group = lights(0).volatile()?;
    let client = Client::builder()
        .interface("lo")
        .bind("127.0.0.1:0".parse()?)
        .build()
        .await?;
    let call = client
        .group(&format!("coap://{place}/state"))?
        .get()
        .secure(&group);
    let mut answers = call
        .expect(group.expect_all())
        .leisure(SECOND)
        .send()
        .await?;
    while let Some(answer) = answers.answer().await {
        let signer = answer.signer().ok_or("only what is proven gets here")?;
        println!(
            "{signer}: {}",
            String::from_utf8_lossy(&answer.response.payload)
        );
    }
    println!("complete: {}", answers.finish().await?.is_complete());
    Ok(())
}
