//! One wake-up per commit for a whole thread, in place of one for each record that the commit covers.
//!
//! A future that is polled on a thread with a [`Bell`] leaves its waker in a list of that thread. The writer rings once; the
//! bell's own task then wakes, on its own thread, those whom the commit covers. Waking a task of another thread costs a
//! system call, waking one of the same thread an entry in a queue: under load a commit covers a dozen records.
//!
//! Not needed for correctness: without a bell each future is woken by the writer itself.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::queue::{Shared, lock};

/// What the writer pulls.
#[derive(Default)]
pub(crate) struct Rope {
    /// Somebody on the thread waits. Set before the thread looks at what is durable for the last time, taken after the
    /// writer has said what is: one of the two sees the other.
    waiting: AtomicBool,
    ringer: Mutex<Option<Waker>>,
}

impl Rope {
    pub(crate) fn pull(&self) {
        if self.waiting.swap(false, Ordering::SeqCst)
            && let Some(ringer) = &*lock(&self.ringer)
        {
            ringer.wake_by_ref();
        }
    }

    pub(crate) fn wait(&self) {
        self.waiting.store(true, Ordering::SeqCst);
    }
}

/// Those who wait on this thread, by the record that they wait for.
struct Waiters {
    journal: *const Shared,
    rope: Arc<Rope>,
    by_seq: VecDeque<(u64, Waker)>,
}

thread_local! {
    static WAITERS: RefCell<Option<Waiters>> = const { RefCell::new(None) };
}

/// Leaves a waker on this thread's list, if it has one for this journal. Records are waited for nearly in their order.
pub(crate) fn leave(journal: &Shared, seq: u64, waker: &Waker) -> bool {
    WAITERS.with_borrow_mut(|waiters| {
        let Some(waiters) = waiters.as_mut().filter(|waiters| std::ptr::eq(waiters.journal, journal)) else {
            return false;
        };
        let at = waiters.by_seq.partition_point(|(other, _)| *other < seq);
        match waiters.by_seq.get_mut(at) {
            Some((other, present)) if *other == seq => present.clone_from(waker),
            _ => waiters.by_seq.insert(at, (seq, waker.clone())),
        }
        waiters.rope.wait();
        true
    })
}

/// Rings for the thread on which it is first polled. Never resolves: run it as a task for as long as the thread works.
#[must_use = "a bell that nobody polls does not ring"]
pub struct Bell {
    shared: Arc<Shared>,
    rope: Arc<Rope>,
    hung: bool,
    woken: Vec<Waker>,
}

impl Bell {
    pub(crate) fn new(shared: Arc<Shared>) -> Bell {
        Bell { shared, rope: Arc::default(), hung: false, woken: Vec::new() }
    }

    fn hang(&mut self) {
        let (journal, rope) = (Arc::as_ptr(&self.shared), Arc::clone(&self.rope));
        WAITERS.set(Some(Waiters { journal, rope, by_seq: VecDeque::new() }));
        self.shared.hang(Arc::clone(&self.rope));
        self.hung = true;
    }

    /// Takes out whom this concerns; whether others still wait.
    fn gather(&mut self, durable: u64, all: bool) -> bool {
        WAITERS.with_borrow_mut(|waiters| {
            let Some(waiters) = waiters.as_mut().filter(|waiters| Arc::ptr_eq(&waiters.rope, &self.rope)) else {
                return false;
            };
            while let Some((seq, _)) = waiters.by_seq.front()
                && (all || *seq <= durable)
            {
                self.woken.extend(waiters.by_seq.pop_front().map(|(_, waker)| waker));
            }
            !waiters.by_seq.is_empty()
        })
    }
}

impl Future for Bell {
    type Output = std::convert::Infallible;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if !this.hung {
            this.hang();
        }
        {
            let mut ringer = lock(&this.rope.ringer);
            match &mut *ringer {
                Some(ringer) => ringer.clone_from(context.waker()),
                place => *place = Some(context.waker().clone()),
            }
        }
        loop {
            let (durable, ended) = (this.shared.durable(), this.shared.has_ended());
            let others = this.gather(durable, ended);
            this.woken.drain(..).for_each(Waker::wake);
            if !others {
                return Poll::Pending;
            }
            this.rope.wait();
            if this.shared.durable() == durable && !this.shared.has_ended() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        if self.hung {
            self.shared.unhang(&self.rope);
            self.gather(u64::MAX, true);
            WAITERS.with_borrow_mut(|waiters| waiters.take_if(|waiters| Arc::ptr_eq(&waiters.rope, &self.rope)));
            // They are polled again and then wait as others do.
            self.woken.drain(..).for_each(Waker::wake);
        }
    }
}
