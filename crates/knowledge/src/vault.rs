//! Data keys. Each project has one; what is stored of its content is sealed with it: AES-256-GCM, the project and the row's name as
//! associated data, so that no sealed text can be laid into another row or another project. The data key lies in the database,
//! wrapped by a key that is derived from the site's secret (HKDF-SHA256), which is not in the database.
//!
//! Destroying a data key destroys the content wherever copies of the rows are, but for a copy that holds the wrapped key: a backup
//! of the database still opens for whoever has the site's secret. No key is kept in memory between calls, so a destroyed one is
//! gone in every process at once.
//!
//! If we crash while a key is made: either it is stored or the next call makes another; nothing was sealed with it before.

use crate::find::shelf::Shelf;
use crate::{FillRandom, KnowledgeError, Now, Parts};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use std::sync::Arc;
use store::{DataKeyRow, Store};
use types::ProjectId;

/// How sealed bytes begin. Then the nonce, the text, and 16 bytes of tag.
///
/// Nonces are 96 random bits: of 2^32 seals under one key, two share one with a probability of 2^-33. A full collection is 100,000
/// seals, so a project may fill forty thousand of them.
const FORM: u8 = 1;

const TAG_LEN: usize = 16;

/// What sealing adds to a text.
#[cfg(test)]
const OVERHEAD: usize = 1 + NONCE_LEN + TAG_LEN;

pub struct Vault {
    store: Store,
    wrapping: LessSafeKey,
    clock: Now,
    random: FillRandom,
    /// What is in memory of projects whose key is destroyed goes, too.
    shelf: Arc<Shelf>,
}

/// A project's key, for the length of one call.
pub struct DataKey {
    key: LessSafeKey,
    project: ProjectId,
    random: FillRandom,
}

fn aes(bytes: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("an AES-256 key has 32 bytes"))
}

fn seal(key: &LessSafeKey, random: &FillRandom, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce);
    let mut sealed = Vec::with_capacity(1 + NONCE_LEN + bytes.len() + TAG_LEN);
    sealed.push(FORM);
    sealed.extend_from_slice(&nonce);
    let mut text = bytes.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(name.as_bytes()), &mut text)
        .expect("AES-GCM seals 64 GiB, and a file is smaller");
    sealed.append(&mut text);
    sealed
}

fn open(key: &LessSafeKey, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (form, rest) = sealed.split_first()?;
    let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
    let mut text = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut text).ok()?.len();
    text.truncate(length);
    (*form == FORM).then_some(text)
}

impl Vault {
    pub(crate) fn new(parts: &Parts, shelf: Arc<Shelf>) -> Vault {
        let mut wrapping = [0; 32];
        Salt::new(HKDF_SHA256, b"hoheit knowledge")
            .extract(&parts.kek)
            .expand(&[b"wraps data keys of projects, 1"], HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut wrapping))
            .expect("HKDF gives 32 bytes");
        let (store, clock, random) = (parts.store.clone(), parts.clock.clone(), parts.random.clone());
        Vault { store, wrapping: aes(&wrapping), clock, random, shelf }
    }

    /// Seals under the project's key, which is made if there is none. `name` says what and where it is: only under the same name
    /// it opens.
    pub async fn seal(&self, project: ProjectId, name: &str, bytes: &[u8]) -> Result<Vec<u8>, KnowledgeError> {
        Ok(self.key_or_new(project).await?.seal(name, bytes))
    }

    pub async fn open(&self, project: ProjectId, name: &str, sealed: &[u8]) -> Result<Vec<u8>, KnowledgeError> {
        let key = self.key(project).await?.ok_or(KnowledgeError::Unreadable { what: "what is stored" })?;
        key.open("what is stored", name, sealed)
    }

    /// Destroys a project's key, for good: whatever it sealed cannot be read any more, wherever it lies.
    pub async fn destroy(&self, project: ProjectId) -> Result<(), KnowledgeError> {
        self.store.knowledge_key_destroy(project, (self.clock)()).await?;
        self.shelf.forget(project);
        Ok(())
    }

    /// The project's key, for many rows. None: it has none yet, so nothing of it is sealed.
    pub async fn key(&self, project: ProjectId) -> Result<Option<DataKey>, KnowledgeError> {
        self.unwrap(project, self.store.knowledge_key(project).await?)
    }

    /// The same for one who wants to seal.
    pub async fn key_or_new(&self, project: ProjectId) -> Result<DataKey, KnowledgeError> {
        if let Some(key) = self.key(project).await? {
            return Ok(key);
        }
        let mut fresh = [0; 32];
        (self.random)(&mut fresh);
        let wrapped = seal(&self.wrapping, &self.random, &wrapping_name(project), &fresh);
        let stored = self.store.knowledge_key_make(project, wrapped, (self.clock)()).await?;
        self.unwrap(project, stored)?.ok_or(KnowledgeError::Unreadable { what: "the project's key" })
    }

    fn unwrap(&self, project: ProjectId, row: DataKeyRow) -> Result<Option<DataKey>, KnowledgeError> {
        let wrapped = match row {
            DataKeyRow::Missing => return Ok(None),
            DataKeyRow::Destroyed => {
                // Perhaps by another process: what is in memory here goes as soon as we hear of it.
                self.shelf.forget(project);
                return Err(KnowledgeError::Destroyed);
            }
            DataKeyRow::Wrapped(wrapped) => wrapped,
        };
        let bytes = open(&self.wrapping, &wrapping_name(project), &wrapped);
        let bytes =
            bytes.filter(|bytes| bytes.len() == 32).ok_or(KnowledgeError::Unreadable { what: "the project's key" })?;
        Ok(Some(DataKey { key: aes(&bytes), project, random: self.random.clone() }))
    }
}

fn wrapping_name(project: ProjectId) -> String {
    format!("data key/{project}")
}

impl DataKey {
    pub fn seal(&self, name: &str, bytes: &[u8]) -> Vec<u8> {
        seal(&self.key, &self.random, &self.named(name), bytes)
    }

    /// `what` is for the error alone.
    pub fn open(&self, what: &'static str, name: &str, sealed: &[u8]) -> Result<Vec<u8>, KnowledgeError> {
        open(&self.key, &self.named(name), sealed).ok_or(KnowledgeError::Unreadable { what })
    }

    pub(crate) fn seal_json<T: serde::Serialize>(&self, name: &str, value: &T) -> Vec<u8> {
        self.seal(name, &serde_json::to_vec(value).expect("our own types have a form in JSON"))
    }

    pub(crate) fn open_json<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        name: &str,
        sealed: &[u8],
    ) -> Result<T, KnowledgeError> {
        serde_json::from_slice(&self.open(what, name, sealed)?).map_err(|_| KnowledgeError::Unreadable { what })
    }

    fn named(&self, name: &str) -> String {
        format!("{}/{name}", self.project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_under_the_same_name_and_key_open() {
        let random: FillRandom = Arc::new(|bytes| bytes.fill(7));
        let key = aes(&[1; 32]);
        let sealed = seal(&key, &random, "a/1", b"text");
        assert_eq!(sealed.len(), 4 + OVERHEAD);
        assert_eq!(open(&key, "a/1", &sealed), Some(b"text".to_vec()));
        assert_eq!(open(&key, "a/2", &sealed), None);
        assert_eq!(open(&aes(&[2; 32]), "a/1", &sealed), None);
        for place in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[place] ^= 1;
            assert_eq!(open(&key, "a/1", &damaged), None, "{place}");
            assert_eq!(open(&key, "a/1", &sealed[..place]), None, "{place}");
        }
    }
}
