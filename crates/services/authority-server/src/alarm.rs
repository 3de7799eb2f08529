//! The timer of a connection's request heads. Hyper wants one for every request and drops it once the head is there;
//! all of a connection's share one that stays set, so that a request costs no place in the runtime's timers.

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// For one connection: its deadlines follow one another.
pub(crate) struct Alarm(Arc<Mutex<Pin<Box<tokio::time::Sleep>>>>);

impl Alarm {
    /// Rings first after `wait`, the time that every head has.
    pub(crate) fn new(wait: Duration) -> Alarm {
        Alarm(Arc::new(Mutex::new(Box::pin(tokio::time::sleep(wait)))))
    }
}

impl Timer for Alarm {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Waiting { alarm: self.0.clone(), deadline })
    }
}

struct Waiting {
    alarm: Arc<Mutex<Pin<Box<tokio::time::Sleep>>>>,
    deadline: Instant,
}

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.alarm.lock();
        loop {
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            // It rang for a head that arrived in time.
            alarm.as_mut().reset(self.deadline.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_is_kept_whatever_came_before_it() {
        let alarm = Alarm::new(Duration::from_millis(10));
        let started = Instant::now();
        drop(alarm.sleep(Duration::from_millis(10)));
        let mut second = alarm.sleep(Duration::from_millis(60));
        assert!(tokio::time::timeout(Duration::from_millis(20), second.as_mut()).await.is_err());
        second.await;
        assert!(started.elapsed() >= Duration::from_millis(60));
    }
}
