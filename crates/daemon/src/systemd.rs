//! Tells systemd how the daemon is; without systemd all of this does nothing.

use sd_notify::NotifyState;
use tokio::task::JoinHandle;

/// The listeners are open.
pub(crate) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The daemon has begun to stop.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// What `systemctl status` shows beside the state: one line.
pub(crate) fn status(text: &str) {
    let line = text.lines().next().unwrap_or_default();
    notify(&[NotifyState::Status(line)]);
}

/// Feeds the watchdog, if one is set, as long as the runtime turns, whatever Docker does.
pub(crate) fn feed_watchdog() -> JoinHandle<()> {
    tokio::spawn(async {
        let Some(timeout) = sd_notify::watchdog_enabled() else {
            return;
        };
        let mut ticks = tokio::time::interval(timeout / 3);
        loop {
            ticks.tick().await;
            notify(&[NotifyState::Watchdog]);
        }
    })
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
