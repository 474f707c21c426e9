//! What services look like to an operator, and what an operator sets: paused, resumed.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use cutover_api::service::{Member, Running};
use cutover_core::names::{DeploymentId, ServiceName};

use super::record::now;
use super::{Deployer, Readiness, Refused, ServiceView, journal_refused};
use crate::docker::Container;
use crate::settings;

/// Asking Docker whether it answers must not keep a client waiting that would rather hear "no".
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long Docker's answer stands for its next one where anybody may ask: short for whoever watches, and
/// strangers do not make the daemon call Docker more often than that.
const PINGED_FOR: Duration = Duration::from_secs(1);

/// What Docker said to the last ping on behalf of [`Deployer::readiness`], and when.
#[derive(Debug)]
pub(super) struct Pinged {
    at: Instant,
    answered: Result<(), String>,
}

impl Deployer {
    /// Refuses deployments of `service` from now on; what runs or waits goes on.
    ///
    /// # Errors
    /// [`Refused::NotFound`], or [`Refused::JournalUnavailable`].
    pub async fn pause(
        &self,
        service: &ServiceName,
        why: Option<String>,
    ) -> Result<ServiceView, Refused> {
        self.turn(service)?;
        self.inner
            .journal
            .set_paused(service, why.as_deref(), now())
            .await
            .map_err(journal_refused)?;
        self.service(service).await
    }

    /// Accepts deployments of `service` again, and takes back that it needs an operator: what is still tried to put
    /// it back is called off, and what runs is left as it is.
    ///
    /// # Errors
    /// [`Refused::NotFound`], or [`Refused::JournalUnavailable`].
    pub async fn resume(&self, service: &ServiceName) -> Result<ServiceView, Refused> {
        self.turn(service)?;
        self.stop_trying(service).await;
        self.inner
            .journal
            .clear_paused(service)
            .await
            .map_err(journal_refused)?;
        self.inner
            .journal
            .set_needs_operator(service, None)
            .await
            .map_err(journal_refused)?;
        self.service(service).await
    }

    /// What `service` looks like right now.
    ///
    /// # Errors
    /// [`Refused::NotFound`] or [`Refused::JournalUnavailable`]. Without Docker, only what runs is not known.
    pub async fn service(&self, service: &ServiceName) -> Result<ServiceView, Refused> {
        let (current, waiting) = {
            let turn = self.turn(service)?.lock().await;
            (
                turn.current.clone(),
                turn.waiting.as_ref().map(|waiting| waiting.id.clone()),
            )
        };
        let journal = &self.inner.journal;
        let flags = journal.flags(service).await.map_err(journal_refused)?;
        let last = journal.last_ended(service).await.map_err(journal_refused)?;
        let view = |id: Option<DeploymentId>| async {
            match id {
                Some(id) => journal.deployment(&id).await.map_err(journal_refused),
                None => Ok(None),
            }
        };
        let container = self.running(service).await;
        let services = match &container {
            Ok(_) => self.members(service).await,
            Err(_) => Vec::new(),
        };
        Ok(ServiceView {
            name: service.clone(),
            container: container.map(|running| running.as_ref().map(as_running)),
            services,
            paused: flags.paused,
            needs_operator: flags.needs_operator,
            // One that has its end is still cleaned up behind.
            current: view(current)
                .await?
                .filter(|current| !current.status().is_end()),
            waiting: view(waiting).await?,
            last,
        })
    }

    /// Whether work can be taken: Docker answers, and recovery is done.
    pub async fn readiness(&self) -> Readiness {
        let readiness = self
            .inner
            .readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if readiness != Readiness::Ready {
            return readiness;
        }
        match self.docker_answered().await {
            Ok(()) => Readiness::Ready,
            Err(why) => Readiness::NotReady { why },
        }
    }

    /// [`Self::docker_answers`], asked once for all who ask within [`PINGED_FOR`] or while it is being asked.
    async fn docker_answered(&self) -> Result<(), String> {
        let now = Instant::now();
        let mut pinged = self.inner.pinged.lock().await;
        if let Some(last) = &*pinged
            && now.saturating_duration_since(last.at) < PINGED_FOR
        {
            return last.answered.clone();
        }
        let answered = self.docker_answers().await;
        *pinged = Some(Pinged {
            at: Instant::now(),
            answered: answered.clone(),
        });
        answered
    }

    /// Whether Docker answers now, for whoever is about to rely on it.
    pub(super) async fn docker_answers(&self) -> Result<(), String> {
        match tokio::time::timeout(READY_TIMEOUT, self.driver().docker().ping()).await {
            Ok(answered) => answered.map_err(|error| error.to_string()),
            Err(_) => Err(format!(
                "docker did not answer within {} s",
                READY_TIMEOUT.as_secs()
            )),
        }
    }

    /// The service's container, as Docker has it now; or why that is not known.
    pub(super) async fn running(&self, name: &ServiceName) -> Result<Option<Container>, String> {
        let Some(service) = self.configured(name) else {
            return Ok(None);
        };
        self.running_of(&service, &service.compose_service).await
    }

    /// Each Compose service of the release with its container, or with each of its replicas.
    async fn members(&self, name: &ServiceName) -> Vec<Member> {
        let Some(service) = self.configured(name) else {
            return Vec::new();
        };
        let mut members = Vec::new();
        for one in self.driver().switched(&service).await {
            // Docker answered a moment ago.
            let Ok(all) = self.containers_of(&service, &one).await else {
                return Vec::new();
            };
            let running: Vec<_> = all.iter().filter(|one| one.state.running).collect();
            let shown = match running.is_empty() {
                true => all.iter().take(1).collect(),
                false => running,
            };
            let member = |container: Option<&Container>| Member {
                service: one.clone(),
                container: container.map(as_running),
            };
            match shown.is_empty() {
                true => members.push(member(None)),
                false => members.extend(shown.into_iter().map(|one| member(Some(one)))),
            }
        }
        members
    }

    /// The container that the service runs in, or the first that it has.
    async fn running_of(
        &self,
        service: &settings::Service,
        compose_service: &str,
    ) -> Result<Option<Container>, String> {
        let all = self.containers_of(service, compose_service).await?;
        // In the middle of a switch there are two of one number, of which one runs, or none.
        let running = all.iter().find(|container| container.state.running);
        Ok(running.or(all.first()).cloned())
    }

    async fn containers_of(
        &self,
        service: &settings::Service,
        compose_service: &str,
    ) -> Result<Vec<Container>, String> {
        let project = self.driver().project_of(service).await;
        let project = project.map_err(|cause| cause.detail)?;
        let present = self.driver().present(&project, compose_service).await;
        let present = present.map_err(|error| error.to_string())?;
        Ok(present.all())
    }
}

fn as_running(container: &Container) -> Running {
    Running {
        container: container.id.clone(),
        name: container.name.clone(),
        image: container.image_ref.clone(),
        condition: container.condition().as_str().to_owned(),
        restarts: u64::try_from(container.state.restart_count).unwrap_or(0),
        started_at: container.state.started_at.map(|at| at.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::Docker;
    use crate::docker::fake::{FakeDocker, Reply};
    use crate::driver::command::Compose;
    use crate::driver::{ComposeDriver, Driver};
    use crate::journal::Journal;
    use crate::settings::{DockerSettings, Server, Settings};

    /// A deployer without services, ready as far as it knows.
    async fn ready(fake: &FakeDocker, directory: &std::path::Path) -> Deployer {
        let docker = DockerSettings {
            // Not run here; it only has to be there.
            compose: Some(std::env::current_exe().expect("this test")),
            ..DockerSettings::default()
        };
        let compose = Compose::find(&docker).expect("a program");
        let driver = ComposeDriver::new(Docker::new(&fake.socket()), compose, directory);
        let (journal, _) = Journal::open(directory).await.expect("a journal");
        let settings = Settings {
            path: directory.join("cutover.toml"),
            server: Server::default(),
            keys: Vec::new(),
            operator_tokens: Vec::new(),
            docker,
            services: std::collections::BTreeMap::new(),
        };
        let driver = Driver::Compose(driver.expect("a directory"));
        let deployer = Deployer::new(&settings, driver, journal);
        deployer.set_readiness(Readiness::Ready);
        deployer
    }

    /// Lets the last ping be older than it is, or of a moment to come.
    async fn date_last_ping(deployer: &Deployer, at: Instant) {
        let mut pinged = deployer.inner.pinged.lock().await;
        pinged.as_mut().expect("there was one").at = at;
    }

    #[tokio::test]
    async fn many_who_ask_whether_it_is_ready_are_one_ping_of_docker() {
        let fake = FakeDocker::start(|_| Reply::Cut);
        let directory = tempfile::tempdir().expect("a directory");
        let deployer = ready(&fake, directory.path()).await;
        let all = futures_util::future::join_all((0..20).map(|_| deployer.readiness())).await;
        assert_eq!(all, vec![Readiness::Ready; 20]);
        assert_eq!(fake.count("/_ping"), 1, "those who waited share it");

        date_last_ping(&deployer, Instant::now() + Duration::from_secs(3600)).await;
        assert_eq!(deployer.readiness().await, Readiness::Ready);
        assert_eq!(fake.count("/_ping"), 1, "it is remembered");
        let old = Instant::now().checked_sub(PINGED_FOR).expect("a past");
        date_last_ping(&deployer, old).await;
        assert_eq!(deployer.readiness().await, Readiness::Ready);
        assert_eq!(fake.count("/_ping"), 2, "but not for ever");

        deployer.docker_answers().await.expect("it answers");
        assert_eq!(fake.count("/_ping"), 3, "whoever relies on it asks anew");
    }
}
