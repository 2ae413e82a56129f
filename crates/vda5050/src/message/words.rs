//! Words of closed lists, read openly: one that the standard does not know is kept as text and becomes a finding.

macro_rules! open_words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
            /// Not of the standard; read, never written.
            Other(String),
        }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            pub fn as_str(&self) -> &str {
                match self {
                    $($name::$variant => $text,)*
                    $name::Other(text) => text,
                }
            }

            /// The foreign word, for the finding.
            pub fn unknown(&self) -> Option<&str> {
                match self {
                    $name::Other(text) => Some(text),
                    _ => None,
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Ok($name::ALL.iter().find(|one| one.as_str() == text).cloned().unwrap_or($name::Other(text)))
            }
        }
    };
}

open_words! {
    /// What else may happen while an action runs.
    BlockingType {
        /// Everything, driving included.
        None = "NONE",
        /// Other actions, not driving.
        Soft = "SOFT",
        /// Driving, no other action. New in 3.0; a robot of 2.1 is told HARD, which allows less.
        Single = "SINGLE",
        /// Nothing.
        Hard = "HARD",
    }
}

open_words! {
    ActionStatus {
        Waiting = "WAITING",
        Initializing = "INITIALIZING",
        Running = "RUNNING",
        /// New in 3.0.
        Paused = "PAUSED",
        /// New in 3.0: failed, and may be begun anew.
        Retriable = "RETRIABLE",
        Finished = "FINISHED",
        Failed = "FAILED",
    }
}

impl ActionStatus {
    pub fn ended(&self) -> bool {
        matches!(self, ActionStatus::Finished | ActionStatus::Failed)
    }
}

open_words! {
    OperatingMode {
        Startup = "STARTUP",
        Automatic = "AUTOMATIC",
        Semiautomatic = "SEMIAUTOMATIC",
        Intervened = "INTERVENED",
        Manual = "MANUAL",
        Service = "SERVICE",
        TeachIn = "TEACH_IN",
    }
}

open_words! {
    EmergencyStop {
        Manual = "MANUAL",
        Remote = "REMOTE",
        None = "NONE",
    }
}

open_words! {
    ErrorLevel {
        Warning = "WARNING",
        Urgent = "URGENT",
        Critical = "CRITICAL",
        Fatal = "FATAL",
    }
}

open_words! {
    ConnectionState {
        Online = "ONLINE",
        Offline = "OFFLINE",
        Hibernating = "HIBERNATING",
        /// Only ever sent by the broker: the robot's last will.
        ConnectionBroken = "CONNECTION_BROKEN",
    }
}

open_words! {
    GrantType {
        Granted = "GRANTED",
        Queued = "QUEUED",
        Revoked = "REVOKED",
        Rejected = "REJECTED",
    }
}

open_words! {
    RequestStatus {
        Requested = "REQUESTED",
        Granted = "GRANTED",
        Revoked = "REVOKED",
        Expired = "EXPIRED",
    }
}

open_words! {
    ActionScope {
        Instant = "INSTANT",
        Node = "NODE",
        Edge = "EDGE",
        Zone = "ZONE",
    }
}

open_words! {
    ValueType {
        Bool = "BOOL",
        Number = "NUMBER",
        Integer = "INTEGER",
        Text = "STRING",
        Object = "OBJECT",
        Array = "ARRAY",
    }
}

open_words! {
    /// The kinds of zone that need no further fields; the others are not ours to make.
    ZoneType {
        Blocked = "BLOCKED",
        LineGuided = "LINE_GUIDED",
        Release = "RELEASE",
        CoordinatedReplanning = "COORDINATED_REPLANNING",
    }
}
