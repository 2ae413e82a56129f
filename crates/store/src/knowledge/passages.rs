//! Passages: written by [`super::attachments`], read here.

use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{CollectionId, FileId, ProjectId};

statements! {
    INSERT = "INSERT INTO knowledge_passages (collection, file, number, project, sealed, vector)
              VALUES ($1, $2, $3, $4, $5, $6)";
    DELETE_OF = "DELETE FROM knowledge_passages WHERE project = $1 AND collection = $2 AND file = $3";
    OF_FILE = "SELECT file, number, sealed, vector FROM knowledge_passages
               WHERE project = $1 AND collection = $2 AND file = $3 ORDER BY number";
    WITHOUT_VECTOR = "SELECT COUNT(*) FROM knowledge_passages
                      WHERE project = $1 AND collection = $2 AND file = $3 AND LENGTH(vector) = 0";
    ONE = "SELECT file, number, sealed, vector FROM knowledge_passages
           WHERE project = $1 AND collection = $2 AND file = $3 AND number = $4";
}

/// A passage to store.
#[derive(Debug, Clone)]
pub struct NewPassage {
    pub number: u32,
    pub sealed: Vec<u8>,
    /// Empty: none.
    pub vector: Vec<u8>,
}

/// A passage as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassageRow {
    pub file: FileId,
    pub number: u32,
    pub sealed: Vec<u8>,
    /// Empty: none.
    pub vector: Vec<u8>,
}

fn passage(mut c: Columns<'_>) -> Result<PassageRow, StoreError> {
    let (file, number) = (c.parsed()?, c.count()?);
    let number =
        u32::try_from(number).map_err(|_| StoreError::Corrupt { what: "the number of a passage".to_owned() })?;
    Ok(PassageRow { file, number, sealed: c.bytes()?, vector: c.bytes()? })
}

impl Store {
    pub async fn knowledge_passages(
        &self,
        project: ProjectId,
        collection: CollectionId,
        file: FileId,
    ) -> Result<Vec<PassageRow>, StoreError> {
        let rows = self.database.rows(OF_FILE, values![project, collection, file]).await?;
        rows.iter().map(|row| passage(row.columns())).collect()
    }

    /// How many passages of a file have no vector.
    pub async fn knowledge_without_vector(
        &self,
        project: ProjectId,
        (collection, file): (CollectionId, FileId),
    ) -> Result<u64, StoreError> {
        let rows = self.database.rows(WITHOUT_VECTOR, values![project, collection, file]).await?;
        rows.first().map_or(Ok(0), |row| row.columns().count())
    }

    pub async fn knowledge_passage(
        &self,
        project: ProjectId,
        (collection, file): (CollectionId, FileId),
        number: u32,
    ) -> Result<Option<PassageRow>, StoreError> {
        let rows = self.database.rows(ONE, values![project, collection, file, number]).await?;
        rows.first().map(|row| passage(row.columns())).transpose()
    }
}
