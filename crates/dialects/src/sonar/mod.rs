//! Perplexity's Sonar: answers with citations, search.
