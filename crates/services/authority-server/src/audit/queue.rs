//! A bounded queue between the requests and one device's thread.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

/// At most this many records wait for a device, and at most this many bytes.
const MOST: usize = 4096;
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// First in, first out; full rather than growing.
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
}

struct Waiting<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Queue<T> {
        let waiting = Waiting { items: VecDeque::new(), bytes: 0, closed: false };
        Queue { waiting: Mutex::new(waiting), changed: Condvar::new() }
    }

    /// Adds `item`, which takes `bytes`. Gives it back when there is no room, or the queue is closed.
    pub(super) fn push(&self, item: T, bytes: usize) -> Result<(), T> {
        let mut waiting = self.waiting.lock();
        let full = waiting.items.len() >= MOST || waiting.bytes + bytes > MOST_BYTES;
        if waiting.closed || (full && !waiting.items.is_empty()) {
            return Err(item);
        }
        waiting.bytes += bytes;
        waiting.items.push_back((bytes, item));
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes the oldest item, waiting for one. None once the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<T> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some((bytes, item)) = waiting.items.pop_front() {
                waiting.bytes -= bytes;
                return Some(item);
            }
            if waiting.closed {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
    }

    /// Lets in no more; what is there may be taken.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn it_is_bounded_by_number_and_by_bytes() {
        let queue = Queue::new();
        for at in 0..MOST {
            assert_eq!(queue.push(at, 1), Ok(()));
        }
        assert_eq!(queue.push(7, 1), Err(7));
        assert_eq!(queue.pop(), Some(0));
        assert_eq!(queue.push(7, MOST_BYTES), Err(7));
        assert_eq!(queue.push(7, 1), Ok(()));
        let queue = Queue::new();
        assert_eq!(queue.push("larger than all", MOST_BYTES * 2), Ok(()));
        assert!(queue.push("more", 0).is_err());
    }

    #[test]
    fn a_closed_queue_is_emptied() {
        let queue = Arc::new(Queue::new());
        let taker = {
            let queue = queue.clone();
            std::thread::spawn(move || (queue.pop(), queue.pop(), queue.pop()))
        };
        std::thread::sleep(Duration::from_millis(20));
        assert!(queue.push(1, 1).is_ok() && queue.push(2, 1).is_ok());
        queue.close();
        assert_eq!(taker.join().unwrap(), (Some(1), Some(2), None));
        assert_eq!(queue.push(3, 1), Err(3));
    }
}
