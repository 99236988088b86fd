//! Locks of the server's state.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// No code under these locks panics between two dependent changes, so a poisoned lock is used like any other.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
