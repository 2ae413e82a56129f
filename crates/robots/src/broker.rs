//! Where the broker is and how it is trusted: `mqtt://host:1883`, `mqtts://host:8883`, with or without credentials.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::sync::Arc;

/// A broker, ready to connect to.
#[derive(Clone)]
pub struct Broker {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(crate) credentials: Option<(String, String)>,
}

/// Why a broker's URL cannot be used: the configuration's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    #[error("a broker is mqtt://HOST[:PORT] or mqtts://HOST[:PORT], \"{0}\" is not")]
    Url(String),
    #[error("credentials belong into a file or variable, not into the URL, which is shown and logged")]
    Credentials,
    #[error("credentials would cross the network unencrypted; use mqtts://, or a broker on this machine")]
    Plain,
    #[error("the CA file holds no certificate in PEM")]
    Ca,
}

impl Broker {
    /// `ca_pem`: who signs the broker's certificate; without it the web's authorities.
    pub fn new(url: &str, credentials: Option<(String, String)>, ca_pem: Option<&[u8]>) -> Result<Broker, BrokerError> {
        let wrong = || BrokerError::Url(url.to_owned());
        let (tls, rest) = match url.split_once("://") {
            Some(("mqtt", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        if rest.contains('@') {
            return Err(BrokerError::Credentials);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let usual = if tls { 8_883 } else { 1_883 };
        let (host, port) = match rest.strip_prefix('[').and_then(|it| it.split_once(']')) {
            Some((host, "")) => (host, usual),
            Some((host, port)) => (host, port.strip_prefix(':').and_then(|it| it.parse().ok()).ok_or_else(wrong)?),
            None => match rest.split_once(':') {
                Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
                None => (rest, usual),
            },
        };
        let bad = |c: char| c.is_whitespace() || c == '/' || c == '?' || c == '#';
        if host.is_empty() || host.contains(bad) {
            return Err(wrong());
        }
        let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if credentials.is_some() && !tls && !here {
            return Err(BrokerError::Plain);
        }
        let tls = match tls {
            true => Some((client_config(ca_pem)?, ServerName::try_from(host.to_owned()).map_err(|_| wrong())?)),
            false => None,
        };
        Ok(Broker { host: host.to_owned(), port, tls, credentials })
    }
}

fn client_config(ca_pem: Option<&[u8]>) -> Result<Arc<ClientConfig>, BrokerError> {
    let mut roots = RootCertStore::empty();
    match ca_pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(|_| BrokerError::Ca)?).map_err(|_| BrokerError::Ca)?;
            }
            if roots.is_empty() {
                return Err(BrokerError::Ca);
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|_| BrokerError::Ca)?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}

/// Never with the password.
impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "mqtts" } else { "mqtt" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_and_how() {
        let check = |url: &str, expect: Result<&str, BrokerError>| {
            assert_eq!(Broker::new(url, None, None).map(|it| it.to_string()), expect.map(str::to_owned), "{url}");
        };
        let wrong = |url: &str| Err(BrokerError::Url(url.to_owned()));
        check("mqtt://broker", Ok("mqtt://broker:1883"));
        check("mqtts://broker/", Ok("mqtts://broker:8883"));
        check("mqtts://10.0.0.1:99", Ok("mqtts://10.0.0.1:99"));
        check("mqtt://[::1]:99", Ok("mqtt://[::1]:99"));
        check("mqtts://[::1]", Ok("mqtts://[::1]:8883"));
        check("mqtt://user:word@broker", Err(BrokerError::Credentials));
        for url in ["broker", "http://broker", "mqtt://", "mqtt://a:b", "mqtt://a/b", "mqtt://a b", "mqtt://[::1"] {
            check(url, wrong(url));
        }
    }

    #[test]
    fn passwords_do_not_leave_unencrypted_and_are_not_shown() {
        let credentials = || Some(("site".to_owned(), "secret".to_owned()));
        assert_eq!(Broker::new("mqtt://broker", credentials(), None).unwrap_err(), BrokerError::Plain);
        let broker = Broker::new("mqtt://127.0.0.1", credentials(), None).unwrap();
        assert!(!format!("{broker:?}").contains("secret"));
        assert_eq!(Broker::new("mqtts://broker", None, Some(b"no pem")).unwrap_err(), BrokerError::Ca);
    }
}
