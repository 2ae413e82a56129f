//! SAP AI Core: orchestration, foundation models, embeddings, the two shapes of errors.
