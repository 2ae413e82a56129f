//! Where on a BMC something lies. A path comes from the BMC, so it is checked: it stays on the BMC that named it.

use crate::error::Error;
use crate::limits::PATH_CHARS_MAX;
use std::fmt;

/// A path with its query, without a fragment: safe to put into a request to the BMC that named it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Path(String);

impl Path {
    pub const ROOT: &str = "/redfish/v1/";

    pub fn root() -> Path {
        Path(Path::ROOT.to_owned())
    }

    /// What `from` points to; `authority` is the BMC's, so its own absolute URLs count as paths.
    pub fn new(text: &str, from: &str, authority: &str) -> Result<Path, Error> {
        let outside = || Error::Outside { path: from.to_owned(), to: text.chars().take(120).collect() };
        let mut path = text.split('#').next().unwrap_or_default();
        for scheme in ["https://", "http://"] {
            if let Some(rest) = path.strip_prefix(scheme) {
                let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
                let bare = authority.rsplit_once(':').map(|(bare, _)| bare);
                if host != authority && Some(host) != bare {
                    return Err(outside());
                }
                path = &rest[host.len()..];
            }
        }
        let plain = path.chars().all(|letter| letter.is_ascii_graphic() && !matches!(letter, '\\' | '"' | '<' | '>'));
        let before_query = path.split('?').next().unwrap_or_default();
        let climbs = before_query.split('/').any(|part| matches!(part, "." | ".."));
        if !path.starts_with('/') || path.starts_with("//") || !plain || climbs || path.len() > PATH_CHARS_MAX {
            return Err(outside());
        }
        Ok(Path(path.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part: what Redfish calls an id, where a resource has none.
    pub fn name(&self) -> &str {
        let path = self.0.split('?').next().unwrap_or_default().trim_end_matches('/');
        path.rsplit('/').next().unwrap_or_default()
    }

    /// With this query, if it has none yet.
    pub fn query(&self, query: &str) -> Path {
        match self.0.contains('?') {
            true => self.clone(),
            false => Path(format!("{}?{query}", self.0)),
        }
    }

    /// The same resource, whether or not a slash ends it.
    pub fn same(&self, other: &Path) -> bool {
        self.0.trim_end_matches('/') == other.0.trim_end_matches('/')
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_on_its_bmc() {
        let check = |text: &str| Path::new(text, "/redfish/v1", "10.0.3.7:443").map(|path| path.0).ok();
        let long = format!("/{}", "a".repeat(PATH_CHARS_MAX - 1));
        for good in ["/redfish/v1/Systems/1", "/redfish/v1/Systems?$skip=75", "/redfish/v1/Chassis(1)", &long] {
            assert_eq!(check(good).as_deref(), Some(good));
        }
        assert_eq!(check("https://10.0.3.7:443/redfish/v1/x").as_deref(), Some("/redfish/v1/x"));
        assert_eq!(check("https://10.0.3.7/redfish/v1/x").as_deref(), Some("/redfish/v1/x"));
        assert_eq!(check("/redfish/v1/Power#/PowerSupplies/0").as_deref(), Some("/redfish/v1/Power"));
        let longer = format!("/{}", "a".repeat(PATH_CHARS_MAX));
        for bad in [
            "",
            "redfish/v1",
            "//evil.example/redfish",
            "https://evil.example/redfish",
            "https://10.0.3.7.evil.example/redfish",
            "https://10.0.3.7@evil.example/x",
            "/redfish/../../etc",
            "/a b",
            "/a\r\nHost: evil",
            "/ä",
            &longer,
        ] {
            assert_eq!(check(bad), None, "{bad:?}");
        }
    }
}
