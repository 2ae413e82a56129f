//! Whether a certificate is the BMC's: pinned by its SHA-256, or signed by the site's CA. There is no silent third way.

use crate::error::Error;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// Whom we believe to be the BMC.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Who shows this certificate, whatever it says of names and dates: BMCs make their own.
    Pin(Fingerprint),
    /// Who shows a certificate of the site's CA for the address that we dial.
    Ca(Arc<RootCertStore>),
    /// Anybody. For the first look at a BMC, by a person: the fingerprint that it shows is logged as a warning.
    Anything,
    /// No TLS at all: tests on loopback.
    Plain,
}

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    pub fn of(certificate: &CertificateDer<'_>) -> Fingerprint {
        let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Fingerprint(bytes)
    }

    /// Hex, with colons as openssl prints it or without.
    pub fn parse(text: &str) -> Result<Fingerprint, Error> {
        let wrong = || Error::Input(format!("{text:?} is no SHA-256 fingerprint: 64 hexadecimal digits"));
        let hex: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b':').collect();
        if hex.len() != 64 {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |one: u8| char::from(one).to_digit(16);
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(wrong()) };
            *byte = (high * 16 + low) as u8;
        }
        Ok(Fingerprint(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl Trust {
    /// A CA's certificates, PEM.
    pub fn ca(pem: &[u8]) -> Result<Trust, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| Error::Input(format!("the CA's file is no PEM: {error}")))?;
            let added = roots.add(certificate);
            added.map_err(|error| Error::Input(format!("the CA's certificate cannot be used: {error}")))?;
        }
        match roots.is_empty() {
            true => Err(Error::Input("the CA's file holds no certificate".to_owned())),
            false => Ok(Trust::Ca(Arc::new(roots))),
        }
    }

    /// `None` without TLS.
    pub(crate) fn config(&self, host: &str) -> Result<Option<ClientConfig>, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let wrong = |error: &dyn fmt::Display| Error::Input(format!("TLS cannot be set up: {error}"));
        let chain = match self {
            Trust::Plain => return Ok(None),
            Trust::Ca(roots) => Some(
                WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
                    .build()
                    .map_err(|error| wrong(&error))?,
            ),
            Trust::Pin(_) | Trust::Anything => None,
        };
        let pin = match self {
            Trust::Pin(pin) => Some(*pin),
            _ => None,
        };
        let judge = Judge { pin, chain, host: host.to_owned(), provider: provider.clone() };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge))
            .with_no_client_auth();
        Ok(Some(config))
    }
}

/// Says no with the fingerprint that was shown, so a person can compare it.
#[derive(Debug)]
struct Judge {
    pin: Option<Fingerprint>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    host: String,
    provider: Arc<CryptoProvider>,
}

/// Rides in rustls' error from [`Judge`] to [`refusal`].
#[derive(Debug)]
struct Refused {
    found: Fingerprint,
    why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.found, self.why)
    }
}

impl std::error::Error for Refused {}

impl Judge {
    fn refuse(found: Fingerprint, why: String) -> rustls::Error {
        let refused = Arc::new(Refused { found, why });
        rustls::Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(refused)))
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Fingerprint::of(certificate);
        match (&self.pin, &self.chain) {
            (Some(pin), _) if *pin != found => {
                Err(Judge::refuse(found, format!("pinned is {pin:?}; it was changed, or somebody else answers")))
            }
            (Some(_), _) => Ok(ServerCertVerified::assertion()),
            (None, Some(chain)) => chain
                .verify_server_cert(certificate, intermediates, name, ocsp, now)
                .map_err(|error| Judge::refuse(found, format!("not the site's CA's for {}: {error}", self.host))),
            (None, None) => {
                tracing::warn!(bmc = %self.host, certificate = ?found, "the BMC's certificate is not checked; pin it");
                Ok(ServerCertVerified::assertion())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What a failed handshake means to us.
pub(crate) fn refusal(error: &std::io::Error) -> Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
            match other.0.downcast_ref::<Refused>() {
                Some(refused) => Error::Certificate { found: format!("{:?}", refused.found), why: refused.why.clone() },
                None => Error::Tls(error.to_string()),
            }
        }
        Some(_) => Error::Tls(error.to_string()),
        None => Error::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints() {
        let hex = "00ff".repeat(16);
        assert_eq!(Fingerprint::parse(&hex).unwrap().to_string(), hex);
        let colons = ["00:FF"; 16].join(":");
        assert_eq!(Fingerprint::parse(&colons).unwrap().to_string(), hex);
        for wrong in ["", "00ff", &"0x".repeat(32), &"00ff".repeat(17)] {
            assert!(Fingerprint::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Trust::ca(b"nothing").is_err());
    }
}
