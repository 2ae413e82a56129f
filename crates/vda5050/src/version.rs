//! Which VDA 5050.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// 2.1.0
    #[serde(rename = "2.1.0")]
    V2,
    /// 3.0.0
    #[serde(rename = "3.0.0")]
    V3,
}

impl Version {
    /// What stands in a message that we write.
    pub fn text(self) -> &'static str {
        match self {
            Version::V2 => "2.1.0",
            Version::V3 => "3.0.0",
        }
    }

    /// What stands in a topic.
    pub fn major(self) -> &'static str {
        match self {
            Version::V2 => "v2",
            Version::V3 => "v3",
        }
    }

    /// Minor versions of one major version are read alike.
    pub fn from_text(text: &str) -> Option<Version> {
        match text.split('.').next()? {
            "2" => Some(Version::V2),
            "3" => Some(Version::V3),
            _ => None,
        }
    }
}
