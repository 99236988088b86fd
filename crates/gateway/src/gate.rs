//! Polls a future again at once if it wakes its own task, instead of going through the runtime's scheduler.
//!
//! Within a connection hyper's halves communicate through channels, and each message wakes the task that is already
//! running. The runtime treats that as new work: it queues the task and wakes an idle thread to steal it, which costs more
//! than the work itself.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Maximum number of polls in a row before the task yields to the runtime.
const ROUNDS: usize = 4;

/// Not being polled: a wake goes to the task.
const IDLE: u8 = 0;
/// The inner future is being polled.
const POLLING: u8 = 1;
/// The inner future was woken while it was polled.
const WOKEN: u8 = 2;

/// Intercepts the wake-ups between a task and a future that it polls.
#[derive(Debug)]
pub(crate) struct Gate {
    wakes: Arc<Wakes>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Wakes {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.state.compare_exchange(POLLING, WOKEN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(WOKEN) => {}
            Err(_) => self.task.wake(),
        }
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        let wakes = Arc::new(Wakes::default());
        Self { waker: Waker::from(Arc::clone(&wakes)), wakes }
    }

    /// Calls `poll`, and again at once if it was woken during the call and is still pending.
    ///
    /// A wake during a call that returns ready is dropped, since the caller polls again before it waits.
    pub(crate) fn poll<T>(
        &self,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Wakes { state, task } = &*self.wakes;
        task.register(cx.waker());
        for _ in 0..ROUNDS {
            state.store(POLLING, Ordering::Release);
            let polled = poll(&mut Context::from_waker(&self.waker));
            if polled.is_ready() {
                state.store(IDLE, Ordering::Release);
                return polled;
            }
            if state.compare_exchange(POLLING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        state.store(IDLE, Ordering::Release);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Runs a future behind a gate.
pub(crate) async fn gated<F: Future>(future: F) -> F::Output {
    let gate = Gate::new();
    let mut future = pin!(future);
    poll_fn(|cx| gate.poll(cx, |cx| future.as_mut().poll(cx))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_that_wakes_itself_progresses() {
        let mut left = 100;
        let polls = gated(poll_fn(|cx| {
            left -= 1;
            cx.waker().wake_by_ref();
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        }));
        polls.await;
        assert_eq!(left, 0);
    }

    #[tokio::test]
    async fn a_wake_from_another_task_arrives() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(gated(receiver));
        tokio::task::yield_now().await;
        sender.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn only_the_woken_future_is_polled_again() {
        let (gate, mut inner, mut outer) = (Gate::new(), 0, 0);
        let polls = poll_fn(|cx| {
            outer += 1;
            gate.poll(cx, |cx| {
                inner += 1;
                cx.waker().wake_by_ref();
                if inner == ROUNDS { Poll::Ready(()) } else { Poll::Pending }
            })
        });
        polls.await;
        assert_eq!((inner, outer), (ROUNDS, 1));
    }

    #[tokio::test]
    async fn a_wake_after_a_ready_poll_arrives() {
        let (gate, mut waker) = (Gate::new(), None);
        let first = poll_fn(|cx| {
            gate.poll(cx, |cx| {
                waker = Some(cx.waker().clone());
                Poll::Ready(())
            })
        });
        first.await;
        let waker = waker.unwrap();
        let mut polls = 0;
        let second = poll_fn(|cx| {
            polls += 1;
            if polls == 1 {
                gate.wakes.task.register(cx.waker());
                waker.wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        });
        second.await;
        assert_eq!(polls, 2);
    }
}
