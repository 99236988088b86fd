//! Keeps a task that wakes itself from going round through the scheduler.
//!
//! Within one connection's task hyper's halves talk through channels, and each message wakes the task that is already
//! running. The runtime takes that for new work: it queues the task again and wakes an idle thread to steal it, which
//! costs more than the work. Here the task is simply polled again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// How often a future is polled in a row before the scheduler has its turn.
const ROUNDS: usize = 4;

/// Nobody polls: a wake goes to the task.
const IDLE: u8 = 0;
/// The future is being polled.
const POLLING: u8 = 1;
/// It was woken meanwhile.
const WOKEN: u8 = 2;

#[derive(Debug, Default)]
struct Gate {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Gate {
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

/// Runs a future; where it wakes itself while it is polled, it is polled again at once.
pub(crate) async fn gated<F: Future>(future: F) -> F::Output {
    let gate = Arc::new(Gate::default());
    let waker = Waker::from(Arc::clone(&gate));
    let mut future = pin!(future);
    poll_fn(|cx| {
        gate.task.register(cx.waker());
        for _ in 0..ROUNDS {
            gate.state.store(POLLING, Ordering::Release);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(output);
            }
            if gate.state.compare_exchange(POLLING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        gate.state.store(IDLE, Ordering::Release);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_that_wakes_itself_goes_on() {
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
    async fn a_wake_from_elsewhere_arrives() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(gated(receiver));
        tokio::task::yield_now().await;
        sender.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));
    }
}
