//! Rows of knowledge: a foreign project finds nothing and changes nothing, passages and their state are one thing, versions move,
//! destroyed keys stay destroyed, and what is deleted is in no file any more.

use crate::Bed;
use crate::site::{entry, project, tenant};
use store::{
    AttachedAs, DataKeyRow, FileRoom, FileRow, FileStored, NewPassage, ProjectWrite, ReadFile, ReadStored, Store,
    StoreError,
};
use tokio::task::JoinSet;
use types::{CollectionId, FileId, KeyId, ProjectId, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
const OURS: ProjectId = ProjectId(1);
const THEIRS: ProjectId = ProjectId(2);
const COLLECTION: CollectionId = CollectionId(1);
const FILE: FileId = FileId(1);
const BOTH: (CollectionId, FileId) = (COLLECTION, FILE);

/// Long enough to fill pages of their own, so that a trace of it would be seen.
fn sealed(mark: u8) -> Vec<u8> {
    [b"sealed-", &[mark; 40][..]].concat().repeat(800)
}

fn passages(count: u32) -> Vec<NewPassage> {
    (0..count).map(|number| NewPassage { number, sealed: sealed(b'p'), vector: vec![7; 12] }).collect()
}

const MANY: u64 = 1_000;
const ROOM: FileRoom = FileRoom { files_max: MANY, bytes_max: 1 << 30 };

async fn made(store: &Store, project: ProjectId, id: CollectionId) {
    assert!(store.knowledge_collection_create(project, id, (NOW, None), sealed(b'c'), MANY).await.unwrap());
}

/// Whether it was stored.
async fn complete(
    store: &Store,
    project: ProjectId,
    of: (CollectionId, FileId),
    (bytes, sealed): (u64, Vec<u8>),
    passages: Vec<NewPassage>,
) -> bool {
    let read = ReadFile { bytes, sealed, passages, again: false };
    store.knowledge_complete(project, of, read, MANY).await.unwrap() == ReadStored::Stored
}

/// Two projects; the first has a collection with a file in it, in two passages.
async fn site(bed: &Bed) -> Store {
    let store = bed.open().await;
    store.tenant_create(&tenant(1), &entry("tenant.create")).await.unwrap();
    for n in [1, 2] {
        store.project_create(&project(n, 1), &entry("project.create")).await.unwrap();
    }
    made(&store, OURS, COLLECTION).await;
    let file = FileRow { id: FILE, created_at: NOW, bytes: 9, sealed: sealed(b'n') };
    assert_eq!(store.knowledge_file_create(OURS, &file, sealed(b'f'), ROOM).await.unwrap(), FileStored::Stored);
    assert_eq!(store.knowledge_attach(OURS, BOTH, (NOW, None), sealed(b'a')).await.unwrap(), None);
    assert!(complete(&store, OURS, BOTH, (18, sealed(b'a')), passages(2)).await);
    store
}

fn not_found<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::NotFound { .. })), "{result:?}");
}

pub async fn a_foreign_project_finds_and_changes_nothing(bed: &Bed) {
    let store = site(bed).await;
    let before = store.knowledge_collection(OURS, COLLECTION, NOW).await.unwrap().unwrap();
    assert_eq!((before.completed, before.passages, before.bytes, before.version), (1, 2, 18, 1));
    assert_eq!(store.knowledge_collections(THEIRS, NOW).await.unwrap(), []);
    assert_eq!(store.knowledge_collection(THEIRS, COLLECTION, NOW).await.unwrap(), None);
    assert_eq!(store.knowledge_files(THEIRS).await.unwrap(), []);
    assert_eq!(store.knowledge_file(THEIRS, FILE).await.unwrap(), None);
    assert_eq!(store.knowledge_file_content(THEIRS, FILE).await.unwrap(), None);
    assert_eq!(store.knowledge_files_held(THEIRS).await.unwrap(), (0, 0));
    assert_eq!(store.knowledge_attachments(THEIRS, COLLECTION).await.unwrap(), []);
    assert_eq!(store.knowledge_attachment(THEIRS, COLLECTION, FILE).await.unwrap(), None);
    assert_eq!(store.knowledge_passages(THEIRS, COLLECTION, FILE).await.unwrap(), []);
    assert_eq!(store.knowledge_passage(THEIRS, BOTH, 0).await.unwrap(), None);
    not_found(store.knowledge_attach(THEIRS, BOTH, (NOW, None), sealed(b'x')).await);
    not_found(store.knowledge_collection_update(THEIRS, COLLECTION, sealed(b'x'), NOW, None).await);
    not_found(store.knowledge_attachment_update(THEIRS, BOTH, sealed(b'x')).await);
    not_found(store.knowledge_detach(THEIRS, COLLECTION, FILE).await);
    not_found(store.knowledge_file_delete(THEIRS, FILE).await);
    not_found(store.knowledge_collection_delete(THEIRS, COLLECTION).await);
    store.knowledge_collection_touch(THEIRS, COLLECTION, UnixMillis(1), Some(UnixMillis(2))).await.unwrap();
    assert!(!complete(&store, THEIRS, BOTH, (1, sealed(b'z')), passages(1)).await);
    assert!(!store.knowledge_fail(THEIRS, BOTH, "x", "x").await.unwrap());
    // A collection of theirs takes no file of ours.
    let theirs = (CollectionId(2), FILE);
    made(&store, THEIRS, theirs.0).await;
    for project in [OURS, THEIRS] {
        not_found(store.knowledge_attach(project, theirs, (NOW, None), sealed(b'x')).await);
    }
    assert_eq!(store.knowledge_collection(OURS, COLLECTION, NOW).await.unwrap().unwrap(), before);
    assert_eq!(store.knowledge_file_content(OURS, FILE).await.unwrap(), Some(sealed(b'f')));
    assert_eq!(store.knowledge_passage(OURS, BOTH, 1).await.unwrap().unwrap().sealed, sealed(b'p'));
}

pub async fn a_file_is_read_once_and_its_state_and_passages_are_one(bed: &Bed) {
    let store = site(bed).await;
    // Attached again: what there is stays.
    let known = store.knowledge_attach(OURS, BOTH, (NOW, None), sealed(b'x')).await.unwrap().unwrap();
    assert_eq!((known.status, known.passages, known.sealed), (AttachedAs::Completed, 2, sealed(b'a')));
    // A second reader comes too late.
    assert!(!complete(&store, OURS, BOTH, (1, sealed(b'z')), passages(1)).await);
    assert!(!store.knowledge_fail(OURS, BOTH, "late", "late").await.unwrap());
    assert_eq!(store.knowledge_passages(OURS, COLLECTION, FILE).await.unwrap().len(), 2);
    // Failed, it may be tried again; unfinished, it is found at the next start.
    let second = CollectionId(3);
    made(&store, OURS, second).await;
    store.knowledge_attach(OURS, (second, FILE), (NOW, None), sealed(b'a')).await.unwrap();
    assert_eq!(bed.open().await.knowledge_unfinished().await.unwrap(), [(OURS, second, FILE, None)]);
    assert!(store.knowledge_fail(OURS, (second, FILE), "encrypted", "It is encrypted.").await.unwrap());
    assert_eq!(store.knowledge_unfinished().await.unwrap(), []);
    let failed = AttachedAs::Failed { code: "encrypted".to_owned(), message: "It is encrypted.".to_owned() };
    assert_eq!(store.knowledge_attachment(OURS, second, FILE).await.unwrap().unwrap().status, failed);
    let known = store.knowledge_attach(OURS, (second, FILE), (NOW, None), sealed(b'b')).await.unwrap();
    assert_eq!(known.unwrap().status, failed);
    let again = store.knowledge_attachment(OURS, second, FILE).await.unwrap().unwrap();
    assert_eq!((again.status, again.sealed), (AttachedAs::Processing, sealed(b'b')));
    // Of a batch of passages that contradicts itself nothing is stored, and the file is as it was.
    let doubled = [passages(1), passages(1)].concat();
    let read = ReadFile { bytes: 1, sealed: sealed(b'z'), passages: doubled, again: false };
    assert!(store.knowledge_complete(OURS, (second, FILE), read, MANY).await.is_err());
    assert_eq!(store.knowledge_passages(OURS, second, FILE).await.unwrap(), []);
    assert_eq!(store.knowledge_unfinished().await.unwrap(), [(OURS, second, FILE, None)]);
    // Deleted meanwhile: nothing comes back.
    store.knowledge_file_delete(OURS, FILE).await.unwrap();
    assert!(!complete(&store, OURS, (second, FILE), (1, sealed(b'z')), passages(1)).await);
}

pub async fn each_change_of_passages_moves_the_version(bed: &Bed) {
    let store = site(bed).await;
    let version = async || store.knowledge_collection(OURS, COLLECTION, NOW).await.unwrap().unwrap().version;
    assert_eq!(version().await, 1);
    store.knowledge_attachment_update(OURS, BOTH, sealed(b'u')).await.unwrap();
    assert_eq!(version().await, 2);
    store.knowledge_detach(OURS, COLLECTION, FILE).await.unwrap();
    assert_eq!(version().await, 3);
    store.knowledge_attach(OURS, BOTH, (NOW, None), sealed(b'a')).await.unwrap();
    assert_eq!(version().await, 3);
    assert!(complete(&store, OURS, BOTH, (18, sealed(b'a')), passages(1)).await);
    store.knowledge_file_delete(OURS, FILE).await.unwrap();
    assert_eq!(version().await, 5);
}

pub async fn a_collection_whose_time_is_over_is_as_good_as_deleted(bed: &Bed) {
    let store = site(bed).await;
    let until = UnixMillis(NOW.0 + 10);
    store.knowledge_collection_touch(OURS, COLLECTION, NOW, Some(until)).await.unwrap();
    assert!(store.knowledge_collection(OURS, COLLECTION, NOW).await.unwrap().is_some());
    assert_eq!(store.knowledge_collection(OURS, COLLECTION, until).await.unwrap(), None);
    assert_eq!(store.knowledge_collections(OURS, until).await.unwrap(), []);
    assert_eq!(store.knowledge_collections_expired(NOW).await.unwrap(), []);
    assert_eq!(store.knowledge_collections_expired(until).await.unwrap(), [(OURS, COLLECTION)]);
    store.knowledge_collection_delete(OURS, COLLECTION).await.unwrap();
    assert_eq!(store.knowledge_collections_count(OURS).await.unwrap(), 0);
    assert_eq!(store.knowledge_files_held(OURS).await.unwrap(), (1, 9));
}

pub async fn a_data_key_is_made_once_and_destroyed_for_good(bed: &Bed) {
    let store = site(bed).await;
    let wrapped = |mark: u8| vec![mark; 60];
    assert_eq!(store.knowledge_key(OURS).await.unwrap(), DataKeyRow::Missing);
    for _ in 0..2 {
        let made = store.knowledge_key_make(OURS, wrapped(b'1'), NOW).await.unwrap();
        assert_eq!(made, DataKeyRow::Wrapped(wrapped(b'1')));
    }
    assert_eq!(store.knowledge_key_make(OURS, wrapped(b'2'), NOW).await.unwrap(), DataKeyRow::Wrapped(wrapped(b'1')));
    // Theirs never had one: it gets none later either.
    for project in [OURS, THEIRS] {
        store.knowledge_key_destroy(project, NOW).await.unwrap();
        assert_eq!(store.knowledge_key(project).await.unwrap(), DataKeyRow::Destroyed);
        let made = store.knowledge_key_make(project, wrapped(b'3'), NOW).await.unwrap();
        assert_eq!(made, DataKeyRow::Destroyed);
    }
    not_found(store.knowledge_key_make(ProjectId(9), wrapped(b'1'), NOW).await);
}

/// Many at once come to the limit and not beyond it, in whatever order they come.
pub async fn limits_hold_when_many_come_at_once(bed: &Bed) {
    let store = site(bed).await;
    let mut files = JoinSet::new();
    for n in 0..24 {
        let store = store.clone();
        files.spawn(async move {
            let file = FileRow { id: FileId(100 + n), created_at: NOW, bytes: 9, sealed: vec![1] };
            // One of them is there already.
            let room = FileRoom { files_max: 6, bytes_max: if n % 2 == 0 { 45 } else { 1_000 } };
            store.knowledge_file_create(OURS, &file, vec![1], room).await.unwrap()
        });
    }
    let files = files.join_all().await;
    assert_eq!(files.iter().filter(|it| **it == FileStored::Stored).count(), 5, "{files:?}");
    assert_eq!(store.knowledge_files_held(OURS).await.unwrap(), (6, 54));
    let file = FileRow { id: FileId(200), created_at: NOW, bytes: 1, sealed: vec![1] };
    let room = FileRoom { files_max: 7, bytes_max: 54 };
    assert_eq!(store.knowledge_file_create(OURS, &file, vec![1], room).await.unwrap(), FileStored::TooManyBytes);
    let room = FileRoom { bytes_max: 55, ..room };
    assert_eq!(store.knowledge_file_create(OURS, &file, vec![1], room).await.unwrap(), FileStored::Stored);

    let mut collections = JoinSet::new();
    for n in 0..24 {
        let store = store.clone();
        let id = CollectionId(100 + n);
        collections
            .spawn(async move { store.knowledge_collection_create(OURS, id, (NOW, None), vec![1], 6).await.unwrap() });
    }
    assert_eq!(collections.join_all().await.into_iter().filter(|made| *made).count(), 5);

    // Four files of three passages beside the two that are there, in a collection of eight.
    let mut reads = JoinSet::new();
    for row in store.knowledge_files(OURS).await.unwrap().into_iter().filter(|row| row.id != FILE).take(4) {
        let store = store.clone();
        let of = (COLLECTION, row.id);
        store.knowledge_attach(OURS, of, (NOW, None), vec![1]).await.unwrap();
        reads.spawn(async move {
            let read = ReadFile { bytes: 1, sealed: vec![1], passages: passages(3), again: false };
            store.knowledge_complete(OURS, of, read, 8).await.unwrap()
        });
    }
    let reads = reads.join_all().await;
    assert_eq!(reads.iter().filter(|it| **it == ReadStored::Stored).count(), 2, "{reads:?}");
    assert_eq!(store.knowledge_collection(OURS, COLLECTION, NOW).await.unwrap().unwrap().passages, 8);
}

/// A delete and the end of reading the same file, at once, again and again: one of both is first, each says so, and nothing is left.
pub async fn a_delete_beside_a_file_that_completes_is_a_delete(bed: &Bed) {
    let store = site(bed).await;
    for round in 0..40 {
        let file = FileId(300 + round);
        let row = FileRow { id: file, created_at: NOW, bytes: 9, sealed: vec![1] };
        store.knowledge_file_create(OURS, &row, vec![1], ROOM).await.unwrap();
        let of = (COLLECTION, file);
        store.knowledge_attach(OURS, of, (NOW, None), vec![1]).await.unwrap();
        let completes = tokio::spawn({
            let store = store.clone();
            async move { complete(&store, OURS, of, (1, vec![1]), passages(8)).await }
        });
        let deletes = tokio::spawn({
            let store = store.clone();
            async move {
                match round % 3 {
                    0 => store.knowledge_file_delete(OURS, file).await,
                    1 => store.knowledge_detach(OURS, COLLECTION, file).await,
                    _ => {
                        let beside = CollectionId(300 + round);
                        made(&store, OURS, beside).await;
                        let attach = store.knowledge_attach(OURS, (beside, file), (NOW, None), vec![1]);
                        let (attached, deleted) = tokio::join!(attach, store.knowledge_file_delete(OURS, file));
                        assert!(
                            attached.is_ok() || matches!(attached, Err(StoreError::NotFound { .. })),
                            "{attached:?}"
                        );
                        deleted
                    }
                }
            }
        });
        let (_, deleted) = (completes.await.unwrap(), deletes.await.unwrap());
        assert!(deleted.is_ok(), "{round}: {deleted:?}");
        assert_eq!(store.knowledge_passages(OURS, COLLECTION, file).await.unwrap(), []);
        assert_eq!(store.knowledge_attachment(OURS, COLLECTION, file).await.unwrap(), None);
    }
    assert_eq!(store.knowledge_unfinished().await.unwrap(), []);
}

/// What was read without vectors is read again with them, and stays as it is if that comes to nothing.
pub async fn a_file_that_was_read_gets_other_passages(bed: &Bed) {
    let store = site(bed).await;
    assert_eq!(store.knowledge_without_vector(OURS, BOTH).await.unwrap(), 0);
    let read = |count: u32, again| {
        let bare = passages(count).into_iter().map(|passage| NewPassage { vector: Vec::new(), ..passage });
        ReadFile { bytes: 5, sealed: sealed(b'u'), passages: bare.collect(), again }
    };
    assert_eq!(store.knowledge_complete(OURS, BOTH, read(3, false), MANY).await.unwrap(), ReadStored::Late);
    assert_eq!(store.knowledge_complete(OURS, BOTH, read(3, true), 2).await.unwrap(), ReadStored::Full);
    let before = store.knowledge_collection(OURS, COLLECTION, NOW).await.unwrap().unwrap();
    assert_eq!((before.passages, before.version), (2, 1));
    assert_eq!(store.knowledge_complete(OURS, BOTH, read(3, true), 3).await.unwrap(), ReadStored::Stored);
    let after = store.knowledge_collection(OURS, COLLECTION, NOW).await.unwrap().unwrap();
    assert_eq!((after.passages, after.bytes, after.version), (3, 5, 2));
    assert_eq!(store.knowledge_without_vector(OURS, BOTH).await.unwrap(), 3);
    // On whose key, for a start after a crash.
    let second = CollectionId(3);
    made(&store, OURS, second).await;
    store.knowledge_attach(OURS, (second, FILE), (NOW, Some(KeyId(7))), sealed(b'a')).await.unwrap();
    assert_eq!(store.knowledge_unfinished().await.unwrap(), [(OURS, second, FILE, Some(KeyId(7)))]);
    store.knowledge_attach(OURS, (second, FILE), (NOW, Some(KeyId(8))), sealed(b'a')).await.unwrap();
    assert_eq!(store.knowledge_unfinished().await.unwrap(), [(OURS, second, FILE, Some(KeyId(8)))]);
}

/// In a closed project nothing new is stored; what is there can be thrown away.
pub async fn a_closed_project_takes_nothing_and_gives_up_what_it_has(bed: &Bed) {
    let store = site(bed).await;
    let other = CollectionId(77);
    store.knowledge_collection_create(OURS, other, (NOW, None), vec![1], MANY).await.unwrap();
    store.knowledge_attach(OURS, (other, FILE), (NOW, None), vec![1]).await.unwrap();
    assert_eq!(store.knowledge_unfinished().await.unwrap(), [(OURS, other, FILE, None)]);
    crate::broker::close(&store, OURS, &ProjectWrite::End(OURS)).await;
    let file = FileRow { id: FileId(9), created_at: NOW, bytes: 1, sealed: vec![1] };
    not_found(store.knowledge_file_create(OURS, &file, vec![1], ROOM).await);
    not_found(store.knowledge_collection_create(OURS, CollectionId(9), (NOW, None), vec![1], MANY).await);
    not_found(store.knowledge_attach(OURS, BOTH, (NOW, None), vec![1]).await);
    // What was cut off in it is not begun again.
    assert_eq!(store.knowledge_unfinished().await.unwrap(), []);
    store.knowledge_collection_delete(OURS, COLLECTION).await.unwrap();
    store.knowledge_file_delete(OURS, FILE).await.unwrap();
    assert_eq!(store.knowledge_files_held(OURS).await.unwrap(), (0, 0));
}

/// On SQLite, where the files are ours: neither the database nor its side files hold what was deleted.
#[tokio::test]
async fn what_is_deleted_is_in_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed { url: format!("sqlite://{}/hoheit.db", dir.path().display()) };
    let store = site(&bed).await;
    store.knowledge_key_make(OURS, sealed(b'k'), NOW).await.unwrap();
    let holds = |mark: u8| {
        let needle = &sealed(mark)[..40];
        std::fs::read_dir(dir.path()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(needle.len()).any(|window| window == needle)
        })
    };
    for mark in *b"cnfapk" {
        assert!(holds(mark), "{}: the search finds what is there", char::from(mark));
    }
    store.knowledge_detach(OURS, COLLECTION, FILE).await.unwrap();
    assert!(!holds(b'p') && !holds(b'a'));
    assert!(holds(b'f'));
    store.knowledge_file_delete(OURS, FILE).await.unwrap();
    assert!(!holds(b'f') && !holds(b'n'));
    store.knowledge_collection_delete(OURS, COLLECTION).await.unwrap();
    assert!(!holds(b'c'));
    store.knowledge_key_destroy(OURS, NOW).await.unwrap();
    assert!(!holds(b'k'));
}
