//! Somebody types something in the middle of a deployment: what they made runs on, and the record names it.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Ended, PROMPT_PROBE, Scene, Wishes};

use crate::{CUTOVER, identity, said};

#[test]
fn what_somebody_created_anew_in_a_failing_trial_runs_on_and_is_named_by_the_record() {
    let wishes = Wishes {
        service: PROMPT_PROBE,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let good = scene.push(&ImageSpec::new("old"));
    let bad = scene.push(&ImageSpec::new("bad").env("NEVER_HEALTHY", "1"));
    drop(scene.deploy(&good).expect("succeeded"));
    let client = scene.begin(&bad);
    scene.wait_until("the new release is being verified", || {
        scene.history()[0]["status"] == "verifying"
    });
    // The env file names the old release. Compose removes the old container and the new one.
    scene.compose(&["up", "-d", "--force-recreate"]);
    let made = identity(&scene);
    let ended = Ended::of(&client.wait_with_output().expect("an end"));
    let outcomes = ["rollback_failed", "rolled_back"];
    assert!(outcomes.contains(&ended.outcome()), "{ended:#?}");
    let said = said(ended.deployment());
    let (_, runs) = said.rsplit_once("what runs now: ").unwrap_or_default();
    let name = format!("{}-app-1", scene.project());
    assert!(runs.contains(&name), "what runs is not named: {said}");
    assert_eq!(identity(&scene), made);
    assert_eq!(scene.serves(), "old");
}
