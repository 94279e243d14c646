//! A request for one member is delivered to another (threat 19).

use super::*;

#[test]
fn threat_19_a_request_for_one_member_says_nothing_to_another() {
    let mut scene = Scene::new(2, EndpointConfig::default());
    let (first, second) = (scene.server(0), scene.server(1));
    // For server 0, captured and sent to server 1.
    let paired = scene.sealer.seal_for(2, &get(1, "r"));
    scene.stage.say(scene.asker, second, paired.clone());
    scene.stage.run(Duration::from_secs(5));
    assert_eq!(scene.diaries[1].len(), 0);
    scene.stage.say(scene.asker, first, paired);
    scene.stage.run(Duration::from_secs(5));
    assert_eq!(scene.diaries[0].len(), 1);
    // The control: in group mode by unicast, which is not used where there is the pairwise mode.
    let signed = scene.sealer.seal(&get(2, "r"));
    scene.stage.say(scene.asker, second, signed);
    scene.stage.run(Duration::from_secs(5));
    assert_eq!(scene.diaries[1].len(), 1);
}
