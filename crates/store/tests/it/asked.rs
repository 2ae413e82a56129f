//! Questions whose answers are fetched later: one under each name, one end each, and none that hangs for ever.

use crate::Bed;
use crate::site::{entry, project as project_of, tenant};
use store::{AskedRow, AskedStatus, AskedTaken, NewAsked, Store};
use types::{AsyncId, ProjectId, UnixMillis};

const MANY: u64 = 10;

async fn bed_with_projects(bed: &Bed) -> (Store, ProjectId, ProjectId) {
    let store = bed.open().await;
    store.tenant_create(&tenant(1), &entry("tenant.create")).await.unwrap();
    for n in [1, 2] {
        store.project_create(&project_of(n, 1), &entry("project.create")).await.unwrap();
    }
    (store, ProjectId(1), ProjectId(2))
}

fn new(project: ProjectId, id: u128, name: Option<u8>) -> NewAsked {
    NewAsked {
        id: AsyncId(id),
        project,
        model: "sonar".to_owned(),
        created_at: UnixMillis(100),
        expires_at: UnixMillis(1_000),
        alive_until: UnixMillis(200),
        name: name.map(|name| [name; 32]),
        request: [7; 32],
    }
}

async fn one(store: &Store, project: ProjectId, id: u128) -> AskedRow {
    store.asked(project, AsyncId(id), UnixMillis(150)).await.unwrap().unwrap()
}

pub async fn a_question_is_taken_once_under_its_name(bed: &Bed) {
    let (store, project, other) = bed_with_projects(bed).await;
    let take = async |new: &NewAsked, max| store.asked_take(new, max).await.unwrap();
    assert_eq!(take(&new(project, 1, Some(1)), MANY).await, AskedTaken::New);
    let AskedTaken::Known(known) = take(&new(project, 2, Some(1)), MANY).await else { panic!("it was taken twice") };
    assert_eq!((known.id, known.status, known.request), (AsyncId(1), AskedStatus::Created, [7; 32]));
    assert_eq!(take(&new(other, 3, Some(1)), MANY).await, AskedTaken::New, "a name is a project's own");
    assert_eq!(take(&new(project, 4, None), MANY).await, AskedTaken::New);
    assert_eq!(take(&new(project, 5, None), MANY).await, AskedTaken::New);
    // Three are open: to the edge, and not beyond.
    assert_eq!(take(&new(project, 6, None), 3).await, AskedTaken::Full);
    assert_eq!(take(&new(project, 6, None), 4).await, AskedTaken::New);
    // After its time a name is free.
    let late = NewAsked { created_at: UnixMillis(1_000), ..new(project, 7, Some(1)) };
    assert_eq!(take(&late, MANY).await, AskedTaken::New);
}

pub async fn many_at_once_are_taken_to_the_edge_and_not_beyond(bed: &Bed) {
    let (store, project, _) = bed_with_projects(bed).await;
    let mut tasks = tokio::task::JoinSet::new();
    for id in 1..=24 {
        let store = store.clone();
        tasks.spawn(async move { store.asked_take(&new(project, id, None), 5).await.unwrap() });
    }
    let taken = tasks.join_all().await;
    assert_eq!(taken.iter().filter(|it| **it == AskedTaken::New).count(), 5, "{taken:?}");
    assert_eq!(store.asked_list(project, None, UnixMillis(150), 100).await.unwrap().len(), 5);
}

pub async fn what_ended_does_not_end_again(bed: &Bed) {
    let (store, project, other) = bed_with_projects(bed).await;
    store.asked_take(&new(project, 1, None), MANY).await.unwrap();
    let id = AsyncId(1);
    assert!(!store.asked_begin(other, id, UnixMillis(110), UnixMillis(210)).await.unwrap());
    assert!(store.asked_begin(project, id, UnixMillis(110), UnixMillis(210)).await.unwrap());
    assert!(!store.asked_begin(project, id, UnixMillis(111), UnixMillis(211)).await.unwrap(), "somebody else has it");
    assert!(store.asked_alive(project, id, UnixMillis(300)).await.unwrap());
    assert_eq!(one(&store, project, 1).await.status, AskedStatus::Running);
    assert_eq!(store.asked_answer(project, id, UnixMillis(150)).await.unwrap(), None);
    assert!(store.asked_end(project, id, UnixMillis(120), Ok(b"sealed".to_vec())).await.unwrap());
    assert!(!store.asked_end(project, id, UnixMillis(130), Err("late".to_owned())).await.unwrap());
    assert!(!store.asked_alive(project, id, UnixMillis(400)).await.unwrap());
    let ended = one(&store, project, 1).await;
    assert_eq!(
        (ended.status, ended.started_at, ended.ended_at),
        (AskedStatus::Completed, Some(UnixMillis(110)), Some(UnixMillis(120)))
    );
    assert_eq!(store.asked_answer(project, id, UnixMillis(150)).await.unwrap().as_deref(), Some(&b"sealed"[..]));
}

pub async fn what_nobody_speaks_for_is_failed(bed: &Bed) {
    let (store, project, _) = bed_with_projects(bed).await;
    for id in 1..=3 {
        store.asked_take(&new(project, id, None), MANY).await.unwrap();
    }
    store.asked_begin(project, AsyncId(2), UnixMillis(110), UnixMillis(300)).await.unwrap();
    store.asked_end(project, AsyncId(3), UnixMillis(120), Ok(Vec::new())).await.unwrap();
    assert_eq!(store.asked_abandon(UnixMillis(199), "died").await.unwrap(), 0);
    assert_eq!(store.asked_abandon(UnixMillis(200), "died").await.unwrap(), 1);
    let failed = one(&store, project, 1).await;
    assert_eq!(
        (failed.status, failed.ended_at, failed.error.as_deref()),
        (AskedStatus::Failed, Some(UnixMillis(200)), Some("died"))
    );
    assert_eq!(one(&store, project, 2).await.status, AskedStatus::Running);
    assert!(
        !store.asked_end(project, AsyncId(1), UnixMillis(210), Ok(Vec::new())).await.unwrap(),
        "its answer comes too late"
    );
}

pub async fn a_foreign_project_sees_nothing_and_time_forgets(bed: &Bed) {
    let (store, project, other) = bed_with_projects(bed).await;
    for id in 1..=3 {
        store.asked_take(&new(project, id, None), MANY).await.unwrap();
    }
    let list = async |project, before, limit| {
        let rows = store.asked_list(project, before, UnixMillis(150), limit).await.unwrap();
        rows.into_iter().map(|row| row.id.0).collect::<Vec<_>>()
    };
    assert_eq!(list(project, None, 10).await, [3, 2, 1]);
    assert_eq!(list(project, Some(AsyncId(3)), 1).await, [2]);
    assert!(list(other, None, 10).await.is_empty());
    assert_eq!(store.asked(other, AsyncId(1), UnixMillis(150)).await.unwrap(), None);
    assert!(store.asked(project, AsyncId(1), UnixMillis(999)).await.unwrap().is_some());
    assert_eq!(store.asked(project, AsyncId(1), UnixMillis(1_000)).await.unwrap(), None);
    assert_eq!(store.asked_sweep(UnixMillis(999)).await.unwrap(), 0);
    assert_eq!(store.asked_sweep(UnixMillis(1_000)).await.unwrap(), 3);
}
