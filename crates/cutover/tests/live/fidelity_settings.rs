//! Settings of a project, and Docker Engines, to which Compose has an answer of its own.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{SERVICE, Scene, Wishes};

use crate::CUTOVER;
use crate::fidelity::{BOTH, expect_up_to_date};

#[test]
fn two_networks_with_aliases_survive_on_a_docker_that_connects_them_one_by_one() {
    let compose = format!(
        "{SERVICE}    networks: {{ front: {{ aliases: [web] }}, back: {{ aliases: [inner] }} }}\nnetworks: {{ front: {{}}, back: {{}} }}\n"
    );
    for version in BOTH {
        let wishes = Wishes {
            compose: &compose,
            version,
            ..Wishes::default()
        };
        let mut scene = Scene::new(CUTOVER, &wishes);
        // Engine 24: before 1.44, a container is created in one network only.
        scene.docker.become_api("1.43");
        let one = scene.push(&ImageSpec::new("one"));
        let two = scene.push(&ImageSpec::new("two"));
        drop(scene.deploy(&one).expect("succeeded"));
        drop(scene.deploy(&two).expect("succeeded"));
        assert_eq!(scene.serves(), "two");
        let connected = scene.docker.calls();
        assert!(
            connected.iter().any(|call| call.ends_with("/connect")),
            "{connected:#?}"
        );
        let networks = scene.container()["NetworkSettings"]["Networks"].clone();
        for (network, alias) in [("front", "web"), ("back", "inner")] {
            let aliases = &networks[format!("{}_{network}", scene.project())]["Aliases"];
            assert!(aliases.to_string().contains(alias), "{networks:#}");
        }
        expect_up_to_date(&scene, &[]);
    }
}
