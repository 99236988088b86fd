//! The timer of a scheduler: the times that it asked to be woken at, and the task that waits for them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pointsman_core::{Event, Time};
use tokio::sync::Notify;

use super::SchedulerHandle;
use crate::clock::Clock;

/// The times at which a scheduler asked to be woken. Asking twice is the same as asking once.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    due: Mutex<BTreeSet<Time>>,
    changed: Notify,
}

impl Timer {
    pub(super) fn wake_at(&self, time: Time) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let is_next = due.first().is_none_or(|next| time < *next);
        due.insert(time);
        drop(due);
        if is_next {
            self.changed.notify_one();
        }
    }

    fn next(&self) -> Option<Time> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).first().copied()
    }

    /// Removes the times that are due. Returns whether there were any.
    fn take(&self, now: Time) -> bool {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let later = due.split_off(&Time::from_nanos(now.as_nanos().saturating_add(1)));
        !std::mem::replace(&mut *due, later).is_empty()
    }

    /// Wakes the scheduler at these times, until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, scheduler: Weak<SchedulerHandle>, clock: Clock) {
        while scheduler.strong_count() > 0 {
            match self.next() {
                Some(time) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(clock.instant(time).into()) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
            if self.take(clock.now()) {
                let Some(scheduler) = scheduler.upgrade() else { return };
                scheduler.tell(Event::Timer);
            }
        }
    }
}

impl Drop for SchedulerHandle {
    fn drop(&mut self) {
        self.timer.changed.notify_one();
    }
}
