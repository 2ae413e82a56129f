//! Topics: `vda5050/v3/{manufacturer}/{serialNumber}/{topic}` and `uagv/v2/…`. The first word is the interface's name, which
//! a site may choose.

use crate::robot::RobotId;
use crate::version::Version;
use serde::{Deserialize, Serialize};

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Topic {
    Order,
    InstantActions,
    Responses,
    ZoneSet,
    State,
    Connection,
    Factsheet,
}

impl Topic {
    pub const ALL: [Topic; 7] = [
        Topic::Order,
        Topic::InstantActions,
        Topic::Responses,
        Topic::ZoneSet,
        Topic::State,
        Topic::Connection,
        Topic::Factsheet,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Topic::Order => "order",
            Topic::InstantActions => "instantActions",
            Topic::Responses => "responses",
            Topic::ZoneSet => "zoneSet",
            Topic::State => "state",
            Topic::Connection => "connection",
            Topic::Factsheet => "factsheet",
        }
    }

    /// From robots to us.
    pub fn from_robot(self) -> bool {
        matches!(self, Topic::State | Topic::Connection | Topic::Factsheet)
    }

    /// 0 everywhere, 1 for the connection: a lost "offline" would be believed to be there for hours.
    pub fn qos(self) -> u8 {
        u8::from(self == Topic::Connection)
    }

    /// Kept by the broker for whoever subscribes later.
    pub fn retained(self) -> bool {
        matches!(self, Topic::Connection | Topic::Factsheet)
    }
}

/// The first word of topics, per version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    pub v3: String,
    pub v2: String,
}

impl Default for Names {
    fn default() -> Names {
        Names { v3: "vda5050".to_owned(), v2: "uagv".to_owned() }
    }
}

impl Names {
    fn interface(&self, version: Version) -> &str {
        match version {
            Version::V2 => &self.v2,
            Version::V3 => &self.v3,
        }
    }

    pub fn write(&self, version: Version, robot: &RobotId, topic: Topic) -> String {
        let (name, major) = (self.interface(version), version.major());
        format!("{name}/{major}/{}/{}/{}", robot.manufacturer(), robot.serial(), topic.as_str())
    }

    /// None for what is not a topic of ours.
    pub fn read(&self, text: &str) -> Option<(Version, RobotId, Topic)> {
        let (version, rest) = [Version::V3, Version::V2].into_iter().find_map(|version| {
            let rest = text.strip_prefix(self.interface(version))?.strip_prefix('/')?;
            Some((version, rest.strip_prefix(version.major())?.strip_prefix('/')?))
        })?;
        let mut words = rest.split('/');
        let robot = RobotId::new(words.next()?, words.next()?).ok()?;
        let topic = words.next()?;
        let topic = Topic::ALL.into_iter().find(|it| it.as_str() == topic)?;
        words.next().is_none().then_some((version, robot, topic))
    }

    /// What the fleet's side subscribes to.
    pub fn filters(&self) -> Vec<(String, u8)> {
        let topics = Topic::ALL.into_iter().filter(|topic| topic.from_robot());
        let of = |version: Version| {
            let (name, major) = (self.interface(version), version.major());
            topics.clone().map(move |topic| (format!("{name}/{major}/+/+/{}", topic.as_str()), topic.qos()))
        };
        of(Version::V3).chain(of(Version::V2)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_as_they_are_written() {
        let names = Names::default();
        let robot = RobotId::new("acme", "r1").unwrap();
        for version in [Version::V2, Version::V3] {
            for topic in Topic::ALL {
                let text = names.write(version, &robot, topic);
                assert_eq!(names.read(&text), Some((version, robot.clone(), topic)), "{text}");
            }
        }
        assert_eq!(names.write(Version::V3, &robot, Topic::State), "vda5050/v3/acme/r1/state");
        assert_eq!(names.write(Version::V2, &robot, Topic::InstantActions), "uagv/v2/acme/r1/instantActions");
        for foreign in ["", "vda5050", "vda5050/v2/acme/r1/state", "vda5050/v3/acme/r1/state/x", "x/v3/a/b/state"] {
            assert_eq!(names.read(foreign), None, "{foreign}");
        }
        assert_eq!(names.filters().len(), 6);
    }
}
