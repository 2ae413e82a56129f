//! Passages numbered for a prompt, and what an answer made of them.
