//! An instance is deleted at the broker's door, and what its project stored is gone with its data key: nobody's key works, and neither
//! we with the site's secret nor a copy of the rows gives a word of it back. Beside it another instance, whose documents stay.

use crate::broker::{Manager, expect};
use crate::client::Client;
use crate::site::{Site, text};
use aws_lc_rs::hmac;
use http::Method;
use knowledge::{Knowledge, KnowledgeError, ReaderProgram};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{DataKeyRow, Store};
use types::{CollectionId, FileId, ProjectId, UnixMillis};

const PLAN: &str = "grounded-answers";

/// A key of a customer, with the documents that were put in with it.
struct Customer {
    project: ProjectId,
    key: String,
    word: &'static str,
    collection: CollectionId,
    file: FileId,
}

async fn call(site: &Site, key: &str, path: &str, body: &Value) -> (u16, Value) {
    let reply = Client::new().post(&site.path(path), key, body).await;
    (reply.status, reply.json())
}

impl Customer {
    /// Orders, binds, uploads a document and has it read.
    async fn new(site: &Site, platform: &Manager, instance: &str, word: &'static str) -> Customer {
        let context = json!({ "platform": "service-manager", "subaccount_id": "sub" });
        let order = platform.order(PLAN, context, json!({}));
        expect(platform.put(instance, &order).await, 201);
        let bind = json!({ "service_id": order["service_id"], "plan_id": order["plan_id"] });
        let bound = expect(platform.bind(instance, "b", &bind).await, 201);
        let key = text(&bound["credentials"]["openai"]["api_key"]);
        let form = format!(
            "--B\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n--B\r\nContent-Disposition: form-data; \
             name=\"file\"; filename=\"plan.txt\"\r\nContent-Type: text/plain\r\n\r\nDas Vorhaben {word} beginnt im Mai.\r\n--B--\r\n"
        );
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "multipart/form-data; boundary=B")];
        let uploaded = Client::new().try_send(Method::POST, &site.path("/v1/files"), &headers, &form).await.unwrap();
        let file = text(&expect(uploaded, 200)["id"]);
        let (_, made) = call(site, &key, "/v1/vector_stores", &json!({ "name": "Pläne" })).await;
        let collection = text(&made["id"]);
        let path = format!("/v1/vector_stores/{collection}/files");
        let (_, attached) = call(site, &key, &path, &json!({ "file_id": file })).await;
        assert_eq!(attached["status"], "completed", "{attached}");
        let project = text(&bound["credentials"]["appname"]).parse().unwrap();
        Customer { project, key, word, collection: collection.parse().unwrap(), file: file.parse().unwrap() }
    }

    async fn search(&self, site: &Site) -> (u16, Value) {
        let path = format!("/v1/vector_stores/{}/search", self.collection);
        call(site, &self.key, &path, &json!({ "query": "Wann beginnt das Vorhaben?" })).await
    }

    /// What stands in the rows, opened with the site's secret: as an operator would read them, without any key of a customer.
    async fn read(&self, documents: &Knowledge) -> Result<String, KnowledgeError> {
        let passages = documents.passages(self.project, self.collection, self.file).await?;
        Ok(passages.into_iter().map(|passage| passage.text).collect())
    }
}

/// The store in a folder, and the site's documents in it.
async fn documents(folder: &Path, pepper: &[u8; 32]) -> (Store, Knowledge) {
    let store = Store::open(&format!("sqlite://{}", folder.join("hoheit.db").display())).await.unwrap();
    let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, pepper), b"hoheit documents v1");
    let documents = Knowledge::new(knowledge::Parts {
        store: store.clone(),
        kek: key.as_ref().try_into().unwrap(),
        clock: Arc::new(|| UnixMillis(0)),
        random: Arc::new(|bytes| bytes.fill(0)),
        reader: ReaderProgram { path: "/nowhere".into(), args: Vec::new() },
        limits: knowledge::Limits::default(),
    });
    (store, documents)
}

fn pepper(site: &Site) -> [u8; 32] {
    let hex = std::fs::read_to_string(site.data().join("keys/pepper.key")).unwrap();
    let byte = |at: usize| u8::from_str_radix(&hex.trim()[2 * at..2 * at + 2], 16).unwrap();
    std::array::from_fn(byte)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Whether any file of the data folder holds these bytes.
fn holds(site: &Site, needle: &[u8]) -> bool {
    files(&site.data()).iter().any(|path| memchr::memmem::find(&std::fs::read(path).unwrap(), needle).is_some())
}

async fn wrapped(store: &Store, project: ProjectId) -> Vec<u8> {
    match store.knowledge_key(project).await.unwrap() {
        DataKeyRow::Wrapped(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_instance_takes_the_text_of_its_documents_along() {
    let mut site = Site::start(&["--no-model"]);
    let (platform, _) = Manager::register(&site, &["--any-subaccount", "--signature", "off"]).await;
    let one = Customer::new(&site, &platform, "one", "Zugvogel-4711-canary").await;
    let two = Customer::new(&site, &platform, "two", "Standvogel-4712-canary").await;
    for customer in [&one, &two] {
        let (status, found) = customer.search(&site).await;
        assert_eq!(status, 200);
        assert!(found["data"][0]["content"][0]["text"].as_str().unwrap().contains(customer.word), "{found}");
    }

    // A copy of everything, as a backup is.
    assert_eq!(site.stop(), Some(0));
    let backup = site.scratch("backup");
    std::fs::create_dir(&backup).unwrap();
    for path in files(&site.data()).iter().filter(|path| path.to_str().unwrap().contains("hoheit.db")) {
        std::fs::copy(path, backup.join(path.file_name().unwrap())).unwrap();
    }
    site.boot();
    let platform = platform.at(&site);
    expect(platform.delete("one", PLAN).await, 200);
    assert_eq!(one.search(&site).await.1["error"]["code"], "key_revoked");
    let another = site.run(&["key", "create", "--project", &one.project.to_string()]);
    assert!(!another.status.success() && String::from_utf8_lossy(&another.stderr).contains("closed"), "{another:?}");
    assert_eq!(two.search(&site).await.0, 200);
    assert_eq!(site.stop(), Some(0));

    let secret = pepper(&site);
    let (before, readable) = documents(&backup, &secret).await;
    let (after, left) = documents(&site.data(), &secret).await;
    // The way of reading is right: it reads the backup, which has the wrapped key, and the other instance.
    for customer in [&one, &two] {
        assert!(customer.read(&readable).await.unwrap().contains(customer.word));
    }
    assert!(two.read(&left).await.unwrap().contains(two.word));
    // The rows are all there, byte for byte, and do not open.
    let content = async |store: &Store| store.knowledge_file_content(one.project, one.file).await.unwrap().unwrap();
    assert_eq!(content(&after).await, content(&before).await);
    let rows = async |store: &Store| store.knowledge_passages(one.project, one.collection, one.file).await.unwrap();
    assert_eq!(rows(&after).await, rows(&before).await);
    let gone = one.read(&left).await;
    assert!(matches!(gone, Err(KnowledgeError::Destroyed)), "{gone:?}");
    let gone = left.file_content(one.project, one.file).await;
    assert!(matches!(gone, Err(KnowledgeError::Destroyed)), "{gone:?}");
    // Nor is the wrapped key in any file any more, as the other one's is; nor was a word of either ever there.
    let keys = (wrapped(&before, one.project).await, wrapped(&before, two.project).await);
    assert_eq!(after.knowledge_key(one.project).await.unwrap(), DataKeyRow::Destroyed);
    before.close().await;
    after.close().await;
    assert!(holds(&site, &keys.1), "the search finds what is there");
    assert!(!holds(&site, &keys.0));
    assert!(!holds(&site, one.word.as_bytes()) && !holds(&site, two.word.as_bytes()));
}
