//! At rest: no word of a document, its name, what was said of it or its vector is in the database in clear; sealed rows open only
//! where they belong; a destroyed key opens nothing, anywhere; what is deleted is gone.

use crate::bed::{Bed, OURS, THEIRS, collection};
use knowledge::{Attributes, BoxFuture, EmbedError, Knowledge, KnowledgeError, NewFile, Query, Status};
use std::collections::BTreeMap;
use types::{Code, CollectionId, FileId};

const CANARY_TEXT: &str = "Zaunkönigprojekt-4711-canary";
const CANARY_NAME: &str = "canary-name-umlagerung.txt";
const CANARY_TITLE: &str = "canary-title-vorstand";
const CANARY_URL: &str = "https://canary-url.example.com/x";
const CANARY_COLLECTION: &str = "canary-collection-strategie";
const VECTOR: [f32; 4] = [0.123_456, 0.518_273, -0.618_034, 0.577_216];

fn vectors(texts: Vec<String>) -> BoxFuture<'static, Result<Vec<Vec<f32>>, EmbedError>> {
    Box::pin(async move { Ok(texts.iter().map(|_| VECTOR.to_vec()).collect()) })
}

/// The vector as it is kept: of length 1.
fn vector_bytes() -> Vec<u8> {
    let length = VECTOR.iter().map(|x| x * x).sum::<f32>().sqrt();
    VECTOR.iter().flat_map(|x| (x / length).to_le_bytes()).collect()
}

async fn canaries(knowledge: &Knowledge) -> (CollectionId, FileId) {
    let collection = collection(knowledge, OURS, CANARY_COLLECTION).await;
    let new = NewFile { name: CANARY_NAME.to_owned(), content_type: None, purpose: "assistants".to_owned() };
    let text = format!("{CANARY_TEXT} wird im Mai entschieden.");
    let file = knowledge.file_put(OURS, new, text.as_bytes()).await.unwrap().id;
    let said = Attributes {
        title: Some(CANARY_TITLE.to_owned()),
        url: Some(CANARY_URL.to_owned()),
        metadata: BTreeMap::from([("canary-key-abc".to_owned(), "canary-value-abc".to_owned())]),
        ..Attributes::default()
    };
    let done = knowledge.attach(OURS, collection, file, said, Some(&vectors)).await.unwrap();
    assert_eq!(done.status, Status::Completed);
    (collection, file)
}

fn query() -> Query {
    Query { text: CANARY_TEXT.to_owned(), top: 5, ..Query::default() }
}

#[tokio::test]
async fn the_database_holds_no_word_of_a_document() {
    let bed = Bed::new().await;
    let knowledge = bed.knowledge();
    canaries(&knowledge).await;
    let found = knowledge.retrieve(OURS, &query(), Some(&vectors)).await.unwrap();
    assert!(found[0].passage.text.starts_with(CANARY_TEXT));
    // The search does find what is there in clear.
    assert!(bed.holds(b"completed") && bed.holds(OURS.to_string().as_bytes()));
    for canary in
        [CANARY_TEXT, CANARY_NAME, CANARY_TITLE, CANARY_URL, CANARY_COLLECTION, "canary-key-abc", "canary-value-abc"]
    {
        assert!(!bed.holds(canary.as_bytes()), "{canary}");
        // Nor one word of it, nor in two bytes a letter.
        assert!(!bed.holds(&canary.as_bytes()[..8]), "{canary}");
        let wide: Vec<u8> = canary.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(!bed.holds(&wide), "{canary}");
    }
    assert!(!bed.holds(&vector_bytes()) && !bed.holds(&vector_bytes()[..8]));
}

#[tokio::test]
async fn a_destroyed_key_opens_nothing_anywhere() {
    let bed = Bed::new().await;
    let (knowledge, beside) = (bed.knowledge(), bed.knowledge());
    let (ours, file) = canaries(&knowledge).await;
    let answer = knowledge.vault().seal(OURS, "async/1", b"an answer").await.unwrap();
    assert_eq!(knowledge.vault().open(OURS, "async/1", &answer).await.unwrap(), b"an answer");
    // Both have it in memory.
    for it in [&knowledge, &beside] {
        assert_eq!(it.retrieve(OURS, &query(), None).await.unwrap().len(), 1);
    }
    knowledge.vault().destroy(OURS).await.unwrap();
    let destroyed = |error: KnowledgeError| assert!(matches!(error, KnowledgeError::Destroyed), "{error:?}");
    // In this process, in another, and after a start.
    for it in [&knowledge, &beside, &bed.knowledge()] {
        destroyed(it.retrieve(OURS, &query(), None).await.unwrap_err());
        destroyed(it.collections(OURS).await.unwrap_err());
        destroyed(it.collection(OURS, ours).await.unwrap_err());
        destroyed(it.files(OURS).await.unwrap_err());
        destroyed(it.file(OURS, file).await.unwrap_err());
        destroyed(it.file_content(OURS, file).await.unwrap_err());
        destroyed(it.passages(OURS, ours, file).await.unwrap_err());
        destroyed(it.vault().open(OURS, "async/1", &answer).await.unwrap_err());
        destroyed(it.vault().seal(OURS, "async/2", b"new").await.unwrap_err());
        destroyed(it.file_put(OURS, NewFile { name: "a".to_owned(), ..NewFile::default() }, b"a").await.unwrap_err());
    }
    // Others are untouched, and what is left can be thrown away.
    assert!(knowledge.vault().seal(THEIRS, "x", b"x").await.is_ok());
    knowledge.collection_delete(OURS, ours).await.unwrap();
    knowledge.file_delete(OURS, file).await.unwrap();
}

/// The key goes while a question is asked, and in another process: nothing is found, and nothing stays in memory.
#[tokio::test]
async fn a_key_destroyed_in_the_middle_of_a_question_finds_nothing() {
    let bed = Bed::new().await;
    let (knowledge, beside) = (bed.knowledge(), bed.knowledge());
    canaries(&knowledge).await;
    let destroying = |texts: Vec<String>| -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> {
        let beside = &beside;
        Box::pin(async move {
            beside.vault().destroy(OURS).await.unwrap();
            vectors(texts).await
        })
    };
    let asked = knowledge.retrieve(OURS, &query(), Some(&destroying)).await;
    assert!(matches!(asked, Err(KnowledgeError::Destroyed)), "{asked:?}");
    assert!(!knowledge.in_memory(OURS));
}

/// A process in which nobody asks any more hears of it when it tidies up.
#[tokio::test]
async fn what_another_process_destroyed_is_forgotten() {
    let bed = Bed::new().await;
    let (knowledge, beside) = (bed.knowledge(), bed.knowledge());
    canaries(&knowledge).await;
    assert_eq!(beside.retrieve(OURS, &query(), None).await.unwrap().len(), 1);
    beside.sweep().await.unwrap();
    assert!(beside.in_memory(OURS));
    knowledge.vault().destroy(OURS).await.unwrap();
    beside.sweep().await.unwrap();
    assert!(!beside.in_memory(OURS));
}

/// What is sealed opens under its own project, its own name and the site's own secret only.
#[tokio::test]
async fn sealed_bytes_open_where_they_belong() {
    let bed = Bed::new().await;
    let knowledge = bed.knowledge();
    let vault = knowledge.vault();
    let sealed = vault.seal(OURS, "async/1", b"an answer").await.unwrap();
    vault.seal(THEIRS, "async/1", b"theirs").await.unwrap();
    let unreadable = |result: Result<Vec<u8>, KnowledgeError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, KnowledgeError::Unreadable { .. }) && error.code() == Code::Internal, "{error:?}");
    };
    unreadable(vault.open(OURS, "async/2", &sealed).await);
    unreadable(vault.open(THEIRS, "async/1", &sealed).await);
    unreadable(vault.open(OURS, "async/1", &sealed[1..]).await);
    unreadable(vault.open(OURS, "async/1", b"").await);
    let other_secret = bed.knowledge_with(|parts| parts.kek = [8; 32]);
    unreadable(other_secret.vault().open(OURS, "async/1", &sealed).await);
    assert_eq!(vault.open(OURS, "async/1", &sealed).await.unwrap(), b"an answer");
}

#[tokio::test]
async fn a_deleted_document_leaves_no_row() {
    let bed = Bed::new().await;
    let knowledge = bed.knowledge();
    let (ours, file) = canaries(&knowledge).await;
    let content = bed.store.knowledge_file_content(OURS, file).await.unwrap().unwrap();
    let passage = bed.store.knowledge_passages(OURS, ours, file).await.unwrap().remove(0);
    for sealed in [&content, &passage.sealed, &passage.vector] {
        assert!(bed.holds(sealed), "the search finds what is there");
    }
    knowledge.file_delete(OURS, file).await.unwrap();
    for sealed in [&content, &passage.sealed, &passage.vector] {
        assert!(!bed.holds(sealed));
    }
    assert_eq!(knowledge.retrieve(OURS, &query(), None).await.unwrap(), []);
}
