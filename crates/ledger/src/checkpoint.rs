//! tlog-checkpoint: the log's signed statement of its size and root. Three lines, origin, size and root; extension
//! lines are refused, because nothing here would check what they say.

use crate::hash::Hash;
use crate::note::{Note, NoteError, NoteSigner, Vkey, is_name};
use crate::tree::TreeHead;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, a URL without scheme; also the name of its key.
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

/// Why a text is not a checkpoint of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("not a checkpoint: three lines, origin, size and base64 root")]
    Form,
    #[error("the checkpoint is of log \"{found}\", not of \"{wanted}\"")]
    Origin { found: String, wanted: String },
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl Checkpoint {
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root }
    }

    /// What is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.b64())
    }

    /// Reads the text of a note; says nothing about signatures.
    pub fn parse(text: &str) -> Result<Checkpoint, CheckpointError> {
        let mut lines = text.split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::Form);
        let (origin, size, root) = (line()?, line()?, line()?);
        let checkpoint = Checkpoint {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| CheckpointError::Form)?,
            root: Hash::from_b64(root).ok_or(CheckpointError::Form)?,
        };
        // One spelling: this also refuses leading zeros, plus signs, extension lines and a missing line end.
        if is_name(origin) && checkpoint.text() == text { Ok(checkpoint) } else { Err(CheckpointError::Form) }
    }

    /// The signed note. If we crash before it is published, the same size is signed again with the same bytes.
    pub fn sign(&self, signer: &NoteSigner) -> Result<String, CheckpointError> {
        if signer.vkey.name() != self.origin {
            let wanted = signer.vkey.name().to_owned();
            return Err(CheckpointError::Origin { found: self.origin.clone(), wanted });
        }
        let mut note = Note::new(&self.text())?;
        signer.sign(&mut note);
        Ok(note.to_string())
    }

    /// Reads a signed note and believes it if the log's key signed it for the log's origin.
    pub fn open(note: &str, log: &Vkey) -> Result<Checkpoint, CheckpointError> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != log.name() {
            return Err(CheckpointError::Origin { found: checkpoint.origin, wanted: log.name().to_owned() });
        }
        note.verify(&[log])?;
        Ok(checkpoint)
    }
}
