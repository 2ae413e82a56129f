//! Small writes of many callers, committed together. SQLite has one writer and each commit is a sync of the disk: alone, a
//! person's deed waits for the deeds of everybody before it, 5 ms each on a plain disk. Whoever comes while a commit is under
//! way goes with the next one.
//!
//! Each caller's write stands by itself, behind a savepoint: one that is refused takes nothing of the others with it. It is
//! answered after the commit and never before. PostgreSQL gathers commits by itself and has many writers, so there each write
//! is a transaction of its own, as it would be without this.
//!
//! If we crash here: nothing of a batch exists, and nobody of it was answered; or all of it does.

use crate::database::{Database, Session, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

statements! {
    BEGIN = "SAVEPOINT one";
    KEEP = "RELEASE SAVEPOINT one";
    UNDO = "ROLLBACK TO SAVEPOINT one";
}

/// Writes in one transaction: 128 of about five statements of 30 µs are 20 ms, so that whoever needs the writer otherwise
/// (a reconciler, a shipped batch) waits no longer than for one of those.
pub(crate) const GATHERED_MAX: usize = 128;

/// What a write comes to.
pub(crate) type Writing<'s, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 's>>;

/// A caller's write, and how the caller is answered.
type Job = Box<dyn for<'s> FnOnce(&'s mut Session) -> Pin<Box<dyn Future<Output = Ended> + Send + 's>> + Send>;

struct Ended {
    /// Nothing of it may stay otherwise.
    fits: bool,
    /// Tells the caller, with an error if the commit failed.
    answer: Box<dyn FnOnce(Option<StoreError>) + Send>,
}

/// Writes that wait.
#[derive(Default)]
pub(crate) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    jobs: Vec<Job>,
    /// Somebody takes them.
    taken: bool,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more; true if nobody is at work.
    fn put(&self, job: Job) -> bool {
        let mut waiting = self.waiting();
        waiting.jobs.push(job);
        !std::mem::replace(&mut waiting.taken, true)
    }

    /// Whether somebody waits; if not, the next write finds nobody at work.
    fn goes_on(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.taken = !waiting.jobs.is_empty();
        waiting.taken
    }

    /// The next batch.
    fn next(&self) -> Vec<Job> {
        let mut waiting = self.waiting();
        let count = waiting.jobs.len().min(GATHERED_MAX);
        waiting.jobs.drain(..count).collect()
    }
}

/// Whoever waits is told if the work ends before its time, by a panic or because the runtime ends.
struct Taker {
    queue: Arc<Queue>,
    /// Nobody waited any more. From then on the queue is somebody else's, who may be at work already.
    done: bool,
}

impl Taker {
    fn new(queue: Arc<Queue>) -> Taker {
        Taker { queue, done: false }
    }

    fn goes_on(&mut self) -> bool {
        self.done = !self.queue.goes_on();
        !self.done
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        if !self.done {
            let mut waiting = self.queue.waiting();
            waiting.taken = false;
            waiting.jobs.clear();
        }
    }
}

impl Store {
    /// Makes a write true, together with others that come at the same time. It is made even if the caller does not wait.
    pub(crate) async fn gathered<T, W>(&self, write: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'s> FnOnce(&'s mut Session) -> Writing<'s, T> + Send + 'static,
    {
        if let Database::Postgres(_) = &self.database {
            let mut session = self.database.write().await?;
            let done = write(&mut session).await?;
            session.commit().await?;
            return Ok(done);
        }
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            Box::pin(async move {
                let done = write(session).await;
                let fits = done.is_ok();
                let answer = Box::new(move |failed: Option<StoreError>| {
                    // A caller that has gone hears nothing.
                    let _gone = tell.send(match (done, failed) {
                        (Ok(_), Some(error)) => Err(error),
                        (done, _) => done,
                    });
                });
                Ended { fits, answer }
            })
        });
        if self.gathering.put(job) {
            tokio::spawn(take(self.database.clone(), Taker::new(self.gathering.clone())));
        }
        told.await.unwrap_or_else(|_| Err(StoreError::Unavailable(sqlx::Error::WorkerCrashed)))
    }
}

/// Writes batch after batch until nobody waits.
async fn take(database: Database, mut taker: Taker) {
    while taker.goes_on() {
        let mut ended = Vec::new();
        let error = batch(&database, &taker.queue, &mut ended).await.err();
        for one in ended {
            (one.answer)(error.as_ref().map(told));
        }
    }
}

/// Whoever waits by the time that the writer is free goes with it. Those that were not begun when something breaks are told by
/// their dropped channel.
async fn batch(database: &Database, queue: &Queue, ended: &mut Vec<Ended>) -> Result<(), StoreError> {
    let session = database.write().await;
    let jobs = queue.next();
    let mut session = session?;
    let alone = jobs.len() == 1;
    for job in jobs {
        if !alone {
            session.run(BEGIN, values![]).await?;
        }
        let one = job(&mut session).await;
        let fits = one.fits;
        ended.push(one);
        match (alone, fits) {
            // Dropped, nothing of it stays.
            (true, false) => return Ok(()),
            (true, true) => {}
            (false, true) => {
                session.run(KEEP, values![]).await?;
            }
            (false, false) => {
                session.run(UNDO, values![]).await?;
                session.run(KEEP, values![]).await?;
            }
        }
    }
    session.commit().await
}

/// The same error for one more caller; what class it is of stays.
fn told(error: &StoreError) -> StoreError {
    let text = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    match error {
        StoreError::Unavailable(_) => StoreError::Unavailable(sqlx::Error::Io(std::io::Error::other(text))),
        _ => StoreError::Refused(sqlx::Error::Protocol(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: &str = "UPDATE counters SET value = value + 1 WHERE name = 'incidents'";
    const READ: &str = "SELECT value FROM counters WHERE name = 'incidents'";
    /// What is refused by the commit and not before it: a reference to a project that is not there.
    const LATE: &str = "PRAGMA defer_foreign_keys = ON";
    const DANGLING: &str = "INSERT INTO knowledge_keys (project, wrapped, made_at) VALUES ('nobody', x'00', 0)";
    /// The name is there already.
    const DOUBLED: &str = "INSERT INTO counters (name, value) VALUES ('incidents', 0)";

    async fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}/hoheit.db", dir.path().display())).await.unwrap();
        (dir, store)
    }

    async fn count(store: &Store) -> u64 {
        store.database.rows(READ, values![]).await.unwrap()[0].columns().count().unwrap()
    }

    /// Counts, and then fails if it is told to.
    async fn write(store: &Store, fails: bool) -> Result<(), StoreError> {
        let writing = store.gathered(move |session| {
            Box::pin(async move {
                session.run(PUT, values![]).await?;
                if fails { session.run(DOUBLED, values![]).await.map(drop) } else { Ok(()) }
            })
        });
        writing.await
    }

    /// The writer is held until so many wait, so that they are one batch and not as many as chance makes.
    async fn at_once(store: &Store, count: usize, fails: impl Fn(usize) -> bool) -> Vec<Result<(), StoreError>> {
        let writer = store.database.write().await.unwrap();
        let mut tasks = Vec::new();
        for n in 0..count {
            let (store, fails) = (store.clone(), fails(n));
            tasks.push(tokio::spawn(async move { write(&store, fails).await }));
        }
        while store.gathering.waiting().jobs.len() < count {
            tokio::task::yield_now().await;
        }
        drop(writer);
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    }

    #[tokio::test]
    async fn one_that_is_refused_takes_nothing_of_the_others_with_it() {
        let (_dir, store) = store().await;
        let results = at_once(&store, 40, |n| n % 4 == 0).await;
        for (n, result) in results.iter().enumerate() {
            match n % 4 {
                0 => assert!(matches!(result, Err(StoreError::Conflict { .. })), "{n}: {result:?}"),
                _ => assert!(result.is_ok(), "{n}: {result:?}"),
            }
        }
        assert_eq!(count(&store).await, 30, "what a refused one had counted is taken back");
        // And alone.
        assert!(write(&store, true).await.is_err());
        write(&store, false).await.unwrap();
        assert_eq!(count(&store).await, 31);
    }

    #[tokio::test]
    async fn more_than_one_batch_holds_are_several() {
        let (_dir, store) = store().await;
        let results = at_once(&store, 2 * GATHERED_MAX + 2, |_| false).await;
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(count(&store).await, 2 * GATHERED_MAX as u64 + 2);
        assert!(store.gathering.waiting().jobs.is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_told_and_the_next_one_is_taken() {
        let (_dir, store) = store().await;
        let broken = store.gathered::<(), _>(|_| Box::pin(async { panic!("as a test wants") })).await;
        assert!(matches!(broken, Err(StoreError::Unavailable(_))), "{broken:?}");
        write(&store, false).await.unwrap();
        assert_eq!(count(&store).await, 1);
    }

    #[tokio::test]
    async fn a_commit_that_fails_is_told_to_all() {
        let (_dir, store) = store().await;
        let writer = store.database.write().await.unwrap();
        let dangling = store.gathered::<u64, _>(|session| {
            Box::pin(async move {
                session.run(LATE, values![]).await?;
                session.run(DANGLING, values![]).await
            })
        });
        let both_wait = async {
            while store.gathering.waiting().jobs.len() < 2 {
                tokio::task::yield_now().await;
            }
            drop(writer);
        };
        let (one, other, ()) = tokio::join!(dangling, write(&store, false), both_wait);
        assert!(
            matches!((&one, &other), (Err(StoreError::Refused(_)), Err(StoreError::Refused(_)))),
            "{one:?} {other:?}"
        );
        assert_eq!(count(&store).await, 0, "nothing of the batch is there");
        write(&store, false).await.unwrap();
        // That there is no writer any more is told to all, too.
        store.close().await;
        let (one, other) = tokio::join!(write(&store, false), write(&store, false));
        assert!(
            matches!((&one, &other), (Err(StoreError::Unavailable(_)), Err(StoreError::Unavailable(_)))),
            "{one:?}"
        );
    }

    /// Between the end of one who found nobody waiting and its being dropped, another may come and be at work.
    #[tokio::test]
    async fn who_comes_while_the_last_one_leaves_is_not_told_that_it_failed() {
        let (_dir, store) = store().await;
        let mut leaving = Taker::new(store.gathering.clone());
        assert!(!leaving.goes_on());
        let writer = store.database.write().await.unwrap();
        let writing = tokio::spawn({
            let store = store.clone();
            async move { write(&store, false).await }
        });
        while store.gathering.waiting().jobs.is_empty() {
            tokio::task::yield_now().await;
        }
        drop(leaving);
        assert!(store.gathering.waiting().taken, "one is at work, and no second one begins");
        drop(writer);
        writing.await.unwrap().unwrap();
        assert_eq!(count(&store).await, 1);
    }

    /// The caller's request broke off: what it asked for is made all the same.
    #[tokio::test]
    async fn who_does_not_wait_is_not_forgotten() {
        let (_dir, store) = store().await;
        let writer = store.database.write().await.unwrap();
        {
            let left = write(&store, false);
            tokio::pin!(left);
            assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(left.as_mut().poll(cx).is_pending())).await);
        }
        drop(writer);
        write(&store, false).await.unwrap();
        assert_eq!(count(&store).await, 2);
    }
}
