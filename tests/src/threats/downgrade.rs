//! Security is left out (threat 28).

use antiphon_tests::stage::parse;

use super::*;

#[test]
fn threat_28_what_is_not_protected_does_not_reach_a_protected_resource() {
    let mut scene = Scene::new(1, EndpointConfig::default());
    let (server, group) = (scene.server(0), scene.group());
    let mut ask = |to, bytes: Vec<u8>| {
        scene.stage.say(scene.asker, to, bytes);
        scene.stage.run(Duration::from_secs(60));
        let heard = scene.stage.heard(scene.asker);
        let codes = heard.iter().map(|answer| parse(&answer.bytes).code());
        codes.collect::<Vec<_>>()
    };
    assert_eq!(ask(server, get(1, "r")), [Code::UNAUTHORIZED]);
    assert_eq!(ask(group, get(2, "r")), []);
    // The control: the resource for which it is stated that anybody may use it.
    assert_eq!(ask(server, get(3, "open")), [Code::CONTENT]);
    assert_eq!(ask(group, get(4, "open")), [Code::CONTENT]);
    assert_eq!(scene.delivered(), 2);
}
