//! What Docker tells about a container.

use cutover_daemon::docker::container::HealthState;
use cutover_daemon::docker::events::Change;
use cutover_daemon::docker::{AnonymousVolumes, ContainerEvents};
use cutover_testkit::images::{HealthCheck, ImageSpec};

use crate::bench::{Bench, PATIENCE};

async fn next(events: &mut ContainerEvents) -> Change {
    tokio::time::timeout(PATIENCE, events.next())
        .await
        .expect("an event")
        .change
}

#[tokio::test]
async fn a_life_is_told_in_order() {
    let bench = Bench::new();
    let spec = ImageSpec::new("1").health_check(HealthCheck::default());
    let id = bench.container(&spec, &[]);
    let docker = &bench.docker;
    let mut events = docker.watch_container(&id).await.expect("subscribed");
    docker.ensure_started(&id).await.expect("started");
    assert_eq!(next(&mut events).await, Change::Started);
    assert_eq!(
        next(&mut events).await,
        Change::Health(HealthState::Healthy)
    );
    let name = format!("{}-renamed", bench.name);
    docker.ensure_name(&id, &name).await.expect("renamed");
    assert_eq!(next(&mut events).await, Change::Renamed { name });
    docker.ensure_stopped(&id, None).await.expect("stopped");
    assert_eq!(
        next(&mut events).await,
        Change::Signalled {
            signal: "15".to_owned()
        }
    );
    let Change::Died { .. } = next(&mut events).await else {
        panic!("it died");
    };
    docker
        .ensure_removed(&id, AnonymousVolumes::Remove)
        .await
        .expect("removed");
    assert_eq!(next(&mut events).await, Change::Destroyed);
}

#[tokio::test]
async fn a_start_right_after_the_subscription_is_never_missed() {
    let bench = Bench::new();
    let id = bench.container(&ImageSpec::new("1"), &[]);
    for _ in 0..10 {
        let mut events = bench.docker.watch_container(&id).await.expect("subscribed");
        bench.docker.ensure_started(&id).await.expect("started");
        assert_eq!(
            next(&mut events).await,
            Change::Started,
            "and nothing of what was before"
        );
        bench
            .docker
            .ensure_stopped(&id, None)
            .await
            .expect("stopped");
    }
}

#[tokio::test]
async fn other_containers_are_not_heard() {
    let bench = Bench::new();
    let image = bench.image(&ImageSpec::new("1"));
    let (mine, other) = (bench.create(&image, &[]), bench.create(&image, &[]));
    let mut events = bench
        .docker
        .watch_container(&mine)
        .await
        .expect("subscribed");
    bench.docker.ensure_started(&other).await.expect("started");
    bench.docker.ensure_started(&mine).await.expect("started");
    assert_eq!(next(&mut events).await, Change::Started);
    bench
        .docker
        .ensure_stopped(&other, None)
        .await
        .expect("stopped");
    bench
        .docker
        .ensure_stopped(&mine, None)
        .await
        .expect("stopped");
    let Change::Signalled { .. } = next(&mut events).await else {
        panic!("mine was told to stop");
    };
}
