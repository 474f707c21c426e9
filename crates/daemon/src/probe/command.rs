//! A command in the container itself, for services that nothing outside of it reaches: on a unix socket, or without a
//! network.
//!
//! Healthy is exit code 0 within the time that is allowed. Docker cannot end a command that hangs, so the next one is
//! started only when it has ended.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::{ProbeFailure, Seconds};
use crate::docker::Docker;
use crate::docker::exec::Exec;
use crate::settings::CommandProbe;

/// Between two looks whether the command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One probe, ready to be run any number of times.
#[derive(Debug)]
pub struct CommandProber {
    docker: Docker,
    container: String,
    probe: CommandProbe,
    /// The last command, if it did not end in time.
    hanging: Mutex<Option<Exec>>,
}

impl CommandProber {
    /// Prepares a probe in `container`.
    #[must_use]
    pub fn new(docker: &Docker, container: &str, probe: &CommandProbe) -> Self {
        Self {
            docker: docker.clone(),
            container: container.to_owned(),
            probe: probe.clone(),
            hanging: Mutex::new(None),
        }
    }

    /// Runs the command once.
    ///
    /// # Errors
    /// Why the container is not healthy, in words.
    pub async fn probe(&self) -> Result<(), ProbeFailure> {
        let failed = |why: String| {
            let program = self.probe.command.first().map_or("", String::as_str);
            ProbeFailure::new(format!("`{program}` in the container: {why}"))
        };
        let mut hanging = self.hanging.lock().await;
        if let Some(exec) = &*hanging {
            let ended = self.docker.exit_code(exec).await;
            if ended.map_err(|error| failed(error.to_string()))?.is_none() {
                return Err(failed("the command before still runs".to_owned()));
            }
            *hanging = None;
        }
        let exec = self
            .docker
            .start_command(&self.container, &self.probe.command)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let ends = Instant::now() + self.probe.timeout;
        loop {
            let code = self.docker.exit_code(&exec).await;
            match code.map_err(|error| failed(error.to_string()))? {
                Some(0) => return Ok(()),
                Some(code) => return Err(failed(format!("exit code {code}"))),
                None if Instant::now() >= ends => {
                    *hanging = Some(exec);
                    let bound = Seconds(self.probe.timeout);
                    return Err(failed(format!("it did not end within {bound}")));
                }
                None => sleep(LOOK_EVERY).await,
            }
        }
    }
}
