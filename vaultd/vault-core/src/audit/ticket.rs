//! What a record's sender waits on: the answers of the devices it was offered to.

use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What is done with the outcome where nobody waits for it.
type Then = Box<dyn FnOnce(bool) + Send>;

/// One record's answers.
pub(super) struct Ticket(Mutex<State>);

struct State {
    /// Devices that have not answered yet.
    left: usize,
    /// One of them took the record.
    taken: bool,
    told: Told,
}

enum Told {
    Nobody,
    Task(Waker),
    Then(Then),
}

/// Who is to be told of an outcome, once no lock is held.
pub(super) struct News(Told, bool);

impl Ticket {
    /// For somebody who waits with [`Ticket::taken`].
    pub fn new(devices: usize) -> Arc<Ticket> {
        Ticket::with(devices, Told::Nobody)
    }

    /// For nobody: `then` is called with the outcome, on the thread that knows it.
    pub fn then(devices: usize, then: impl FnOnce(bool) + Send + 'static) -> Arc<Ticket> {
        Ticket::with(devices, Told::Then(Box::new(then)))
    }

    fn with(left: usize, told: Told) -> Arc<Ticket> {
        Arc::new(Ticket(Mutex::new(State { left, taken: false, told })))
    }

    /// One device's answer. The last one says who is to be told.
    pub fn answer(&self, taken: bool) -> Option<News> {
        let mut s = self.0.lock();
        s.taken |= taken;
        s.left = s.left.saturating_sub(1);
        if s.left > 0 {
            return None;
        }
        match std::mem::replace(&mut s.told, Told::Nobody) {
            Told::Nobody => None,
            told => Some(News(told, s.taken)),
        }
    }

    /// Resolves when every device has answered: whether one took the record.
    pub fn taken(self: Arc<Ticket>) -> Taken {
        Taken(self)
    }
}

impl News {
    pub fn tell(self) {
        match self.0 {
            Told::Nobody => {}
            Told::Task(waker) => waker.wake(),
            Told::Then(then) => then(self.1),
        }
    }
}

/// See [`Ticket::taken`].
#[must_use]
pub(super) struct Taken(Arc<Ticket>);

impl Future for Taken {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let mut s = self.0.0.lock();
        if s.left == 0 {
            return Poll::Ready(s.taken);
        }
        s.told = Told::Task(cx.waker().clone());
        Poll::Pending
    }
}
