//! SAP AI Core's dialect: orchestration v2, embeddings, foundation models, and what its API shows of deployments and models.
//!
//! Each request is read strictly and refused where something is not known, so that no module is skipped in silence. The steps of
//! orchestration are [`attempt`]'s; the way back is [`answer`]'s, also event by event.
//!
//! What it is not: it holds no token, keeps no deployment and asks no model; that is the shell's, in `partners`.

mod answer;
mod attempt;
mod catalogue;
mod chat;
mod deployments;
mod embeddings;
mod error;
mod grounding;
mod groups;
mod masking;
mod messages;
mod read;
mod request;
mod stream;
mod template;
#[cfg(test)]
mod tests;

pub use crate::time::timestamp;
pub use answer::Answer;
pub use attempt::{Attempt, Prepared};
pub use catalogue::{Executable, FOUNDATION_MODELS, MODEL_VERSION, Model, executables, list, meta, models, scenarios};
pub use chat::body_for;
pub use deployments::{
    Configuration, Deployment, ModelFilter, Modification, NewConfiguration, Purpose, Target, configuration_json,
    new_deployment,
};
pub use embeddings::{Embeddings, EmbeddingsAnswer, PreparedEmbeddings};
pub use error::{ApiError, Failure, Location};
pub use grounding::{PASSAGES_MAX, Retrieval, united};
pub use groups::{ResourceGroup, labels};
pub use request::Completion;
