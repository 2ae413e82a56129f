//! A site of two projects in a temporary folder, with a clock that stands until it is moved, and randomness that only counts.

use knowledge::{
    Attached, Attributes, Embed, FillRandom, Knowledge, Limits, NewCollection, NewFile, Parts, ReaderProgram,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use store::Store;
use types::audit::AuditEntry;
use types::snapshot::{Project, Tenant};
use types::{AuditId, CollectionId, DataClass, FileId, ProjectId, TenantId, UnixMillis};

pub const OURS: ProjectId = ProjectId(1);
pub const THEIRS: ProjectId = ProjectId(2);
pub const KEK: [u8; 32] = [9; 32];

pub struct Bed {
    pub dir: tempfile::TempDir,
    pub store: Store,
    pub now: Arc<AtomicI64>,
}

fn entry(number: u128) -> AuditEntry {
    AuditEntry {
        id: AuditId(number),
        at: UnixMillis(0),
        actor: "test".to_owned(),
        action: "test".to_owned(),
        object: "test".to_owned(),
        tenant: None,
        detail: "{}".to_owned(),
    }
}

pub fn reader() -> ReaderProgram {
    ReaderProgram { path: env!("CARGO_BIN_EXE_read-document").into(), args: Vec::new() }
}

impl Bed {
    pub async fn new() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let tenant = Tenant { id: TenantId(1), name: "tenant".to_owned(), budget: None };
        store.tenant_create(&tenant, &entry(1)).await.unwrap();
        for n in [1, 2] {
            let project = Project {
                id: ProjectId(n),
                tenant: TenantId(1),
                name: format!("project {n}"),
                class: DataClass::Confidential,
                country: None,
                budget: None,
                limits: types::snapshot::Limits::default(),
                commitment_key: "ab".repeat(32),
            };
            store.project_create(&project, &entry(1 + n)).await.unwrap();
        }
        Bed { dir, store, now: Arc::new(AtomicI64::new(1_790_000_000_000)) }
    }

    pub fn knowledge(&self) -> Knowledge {
        self.knowledge_with(|_| {})
    }

    /// Another process on the same database, as it were.
    pub fn knowledge_with(&self, change: impl FnOnce(&mut Parts)) -> Knowledge {
        let now = self.now.clone();
        let mut parts = Parts {
            store: self.store.clone(),
            kek: KEK,
            clock: Arc::new(move || UnixMillis(now.load(Ordering::Relaxed))),
            random: counting(),
            reader: reader(),
            limits: Limits::default(),
        };
        change(&mut parts);
        Knowledge::new(parts)
    }

    /// Whether any file of the database holds these bytes.
    pub fn holds(&self, needle: &[u8]) -> bool {
        assert!(needle.len() >= 8, "a shorter one is there by chance");
        let mut files = std::fs::read_dir(self.dir.path()).unwrap();
        files.any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(needle.len()).any(|window| window == needle)
        })
    }
}

pub async fn open(dir: &Path) -> Store {
    Store::open(&format!("sqlite://{}/hoheit.db", dir.display())).await.unwrap()
}

/// Never the same bytes twice, in this process: ids and nonces must differ.
fn counting() -> FillRandom {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Arc::new(|bytes| {
        for chunk in bytes.chunks_mut(8) {
            let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&number.to_le_bytes()[..chunk.len()]);
        }
    })
}

pub async fn collection(knowledge: &Knowledge, project: ProjectId, name: &str) -> CollectionId {
    let new = NewCollection { name: name.to_owned(), ..NewCollection::default() };
    knowledge.collection_create(project, new).await.unwrap().id
}

pub async fn put(knowledge: &Knowledge, project: ProjectId, name: &str, bytes: &[u8]) -> FileId {
    let new = NewFile { name: name.to_owned(), content_type: None, purpose: "assistants".to_owned() };
    knowledge.file_put(project, new, bytes).await.unwrap().id
}

/// Puts a file and attaches it.
pub async fn add(
    knowledge: &Knowledge,
    project: ProjectId,
    collection: CollectionId,
    (name, bytes): (&str, &[u8]),
    embed: Option<Embed<'_>>,
) -> Attached {
    let file = put(knowledge, project, name, bytes).await;
    knowledge.attach(project, collection, file, Attributes::default(), embed).await.unwrap()
}
