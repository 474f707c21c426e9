//! Where a deployment stands.

/// Where a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Recorded, not begun.
    Queued,
    /// The image is being fetched.
    Pulling,
    /// Compose creates the new container; it is not started.
    Staging,
    /// The old container is being stopped and the new one started.
    Switching,
    /// The new container runs and is being watched.
    Verifying,
    /// The new release is final; only clean-up is left.
    Committed,
    /// The old container is being put back.
    RollingBack,
    /// Ended: the requested image runs.
    Succeeded,
    /// Ended: the requested image already ran.
    Unchanged,
    /// Ended: nothing was changed.
    Failed,
    /// Ended: the previous release runs again.
    RolledBack,
    /// Ended: an operator is needed.
    RollbackFailed,
    /// Ended before anything was changed.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: &[Self] = &[
        Self::Queued,
        Self::Pulling,
        Self::Staging,
        Self::Switching,
        Self::Verifying,
        Self::Committed,
        Self::RollingBack,
        Self::Succeeded,
        Self::Unchanged,
        Self::Failed,
        Self::RolledBack,
        Self::RollbackFailed,
        Self::Cancelled,
    ];

    /// Whether nothing follows.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(
            self,
            Self::Succeeded
                | Self::Unchanged
                | Self::Failed
                | Self::RolledBack
                | Self::RollbackFailed
                | Self::Cancelled
        )
    }

    /// Whether no container of the service has been stopped or started yet, nor will be.
    #[must_use]
    pub fn is_before_switch(self) -> bool {
        matches!(
            self,
            Self::Queued
                | Self::Pulling
                | Self::Staging
                | Self::Unchanged
                | Self::Failed
                | Self::Cancelled
        )
    }

    /// The word in the journal, on the wire and in texts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Pulling => "pulling",
            Self::Staging => "staging",
            Self::Switching => "switching",
            Self::Verifying => "verifying",
            Self::Committed => "committed",
            Self::RollingBack => "rolling_back",
            Self::Succeeded => "succeeded",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::RollbackFailed => "rollback_failed",
            Self::Cancelled => "cancelled",
        }
    }
}
