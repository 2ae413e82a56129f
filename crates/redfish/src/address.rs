//! Where a BMC is, who we are to it, and how it proves itself.

use crate::error::Error;
use crate::trust::Trust;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use std::fmt;

/// One BMC.
#[derive(Debug, Clone)]
pub struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credentials: Credentials,
    pub(crate) trust: Trust,
}

/// Name and password at a BMC.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub user: String,
    pub password: Password,
    pub login: Login,
}

/// How they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Login {
    /// With every request: nothing is left behind at the BMC if we crash. BMCs have few sessions (36 at a DGX).
    #[default]
    Basic,
    /// For a session token, once.
    Session,
}

/// A password; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    pub fn new(text: impl Into<String>) -> Password {
        Password(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a password)")
    }
}

impl Credentials {
    pub fn new(user: impl Into<String>, password: Password) -> Credentials {
        Credentials { user: user.into(), password, login: Login::Basic }
    }

    pub(crate) fn basic(&self) -> Result<HeaderValue, Error> {
        if self.user.contains(':') {
            return Err(Error::Input("a user's name at a BMC holds no colon".to_owned()));
        }
        let pair = format!("{}:{}", self.user, self.password.as_str());
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
            .map_err(|_| Error::Input("user and password do not fit into a header".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Address {
    /// `https://host[:port]`. `http` only if [`Trust::Plain`] says so: then anybody on the way reads the password.
    pub fn new(url: &str, credentials: Credentials, trust: Trust) -> Result<Address, Error> {
        let wrong = |why: &str| Error::Input(format!("{url:?} is no BMC's address: {why}"));
        let uri: Uri = url.trim().parse().map_err(|_| wrong("it is like https://10.0.3.7"))?;
        let authority = uri.authority().ok_or_else(|| wrong("it is like https://10.0.3.7"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("user and password are given apart, not in the URL"));
        }
        if !matches!(uri.path(), "" | "/" | "/redfish" | "/redfish/v1" | "/redfish/v1/") || uri.query().is_some() {
            return Err(wrong("give the host only; the path is always /redfish/v1"));
        }
        let port = match (uri.scheme_str(), &trust) {
            (Some("https"), Trust::Plain) => return Err(wrong("it is https; plain HTTP was asked for")),
            (Some("https"), _) => 443,
            (Some("http"), Trust::Plain) => 80,
            (Some("http"), _) => return Err(wrong("without TLS its password would be read on the way; use https")),
            _ => return Err(wrong("it begins with https://")),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Address { host, port: authority.port_u16().unwrap_or(port), credentials, trust })
    }

    /// As a `Host` header has it.
    pub(crate) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |url: &str, trust: Trust| {
            let credentials = Credentials::new("root", Password::new("secret"));
            Address::new(url, credentials, trust).map(|address| address.authority()).map_err(|error| error.to_string())
        };
        assert_eq!(check("https://10.0.3.7", Trust::Anything).as_deref(), Ok("10.0.3.7:443"));
        assert_eq!(check("https://[fe80::1]:8443/", Trust::Anything).as_deref(), Ok("[fe80::1]:8443"));
        assert_eq!(check("http://127.0.0.1:9/redfish/v1", Trust::Plain).as_deref(), Ok("127.0.0.1:9"));
        for (url, trust, why) in [
            ("http://10.0.3.7", Trust::Anything, "without TLS"),
            ("https://10.0.3.7", Trust::Plain, "plain HTTP was asked for"),
            ("https://root:secret@10.0.3.7", Trust::Anything, "given apart"),
            ("https://10.0.3.7/redfish/v1/Systems", Trust::Anything, "the host only"),
            ("10.0.3.7", Trust::Anything, "https://"),
            ("ftp://10.0.3.7", Trust::Anything, "https://"),
        ] {
            let error = check(url, trust).unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn passwords_are_not_printed() {
        let credentials = Credentials::new("root", Password::new("hunter2"));
        assert!(!format!("{credentials:?} {:?}", credentials.basic()).contains("hunter2"));
    }
}
