//! How many event streams are open, in all and by each holder: a watch token may be in the log of a public CI run, so it
//! does not get more than its share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::auth::Caller;
use super::error::{ApiError, RequestCode};
use super::limits::{
    EVENT_STREAMS_MAX, EVENT_STREAMS_OF_OPERATOR_MAX, EVENT_STREAMS_OF_WATCHER_MAX,
};

/// The event streams that are open.
#[derive(Debug, Clone, Default)]
pub(super) struct EventStreams(Arc<Mutex<BTreeMap<String, usize>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct EventStream {
    holder: String,
    streams: EventStreams,
}

impl EventStreams {
    /// Another one for `caller`.
    ///
    /// # Errors
    /// [`RequestCode::Overloaded`] if the caller has its share already, or if all are taken.
    pub(super) fn open(&self, caller: &Caller) -> Result<EventStream, ApiError> {
        let (holder, share) = match caller {
            Caller::Watcher(id) => (format!("watcher {id}"), EVENT_STREAMS_OF_WATCHER_MAX),
            Caller::Operator { actor } => (actor.clone(), EVENT_STREAMS_OF_OPERATOR_MAX),
        };
        let mut open = self.lock();
        let own = open.get(&holder).copied().unwrap_or(0);
        let refused = if own >= share {
            Some(format!(
                "{own} event streams are open with this token already"
            ))
        } else if open.values().sum::<usize>() >= EVENT_STREAMS_MAX {
            Some("too many event streams are open".to_owned())
        } else {
            None
        };
        if let Some(detail) = refused {
            return Err(ApiError::new(RequestCode::Overloaded, detail)
                .with_hint("ask for the deployment itself every few seconds instead"));
        }
        open.insert(holder.clone(), own + 1);
        Ok(EventStream {
            holder,
            streams: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        // Nothing in here panics halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if let Some(own) = open.get_mut(&self.holder) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cutover_core::names::DeploymentId;

    use super::*;

    fn watcher(last: char) -> Caller {
        let id = format!("01938f3e-7c1a-7abc-8def-0123456789a{last}");
        Caller::Watcher(DeploymentId::new(&id).expect("an id"))
    }

    fn operator(actor: String) -> Caller {
        Caller::Operator { actor }
    }

    fn open(streams: &EventStreams, caller: &Caller) -> Vec<EventStream> {
        (0..EVENT_STREAMS_MAX * 2)
            .map_while(|_| streams.open(caller).ok())
            .collect()
    }

    #[test]
    fn nobody_takes_the_streams_of_all() {
        let streams = EventStreams::default();
        let one = open(&streams, &watcher('a'));
        assert_eq!(one.len(), EVENT_STREAMS_OF_WATCHER_MAX);
        let loud = open(&streams, &operator("operator:loud".to_owned()));
        assert_eq!(loud.len(), EVENT_STREAMS_OF_OPERATOR_MAX);
        let other = streams.open(&watcher('b'));
        drop(other.expect("there is room for another"));
        drop(one);
        assert_eq!(
            open(&streams, &watcher('a')).len(),
            EVENT_STREAMS_OF_WATCHER_MAX
        );
    }

    #[test]
    fn all_together_have_a_bound() {
        let streams = EventStreams::default();
        let held: Vec<EventStream> = (0..9)
            .flat_map(|number| open(&streams, &operator(format!("operator:{number}"))))
            .collect();
        assert_eq!(held.len(), EVENT_STREAMS_MAX);
        let refused = streams.open(&watcher('a')).expect_err("all are taken");
        assert_eq!(refused.code(), RequestCode::Overloaded);
        drop(held);
        assert!(streams.lock().is_empty());
    }
}
