//! TLS of both sides: version 1.3 only, because both are ours; aws-lc-rs; time from the clock that was brought.

use crate::ca::{Authority, CaError};
use crate::clock::Clock;
use crate::token::sha256;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme, version,
};
use std::sync::Arc;
use std::time::Duration;

/// Sessions that the site can resume: every agent of the largest site, three times over, of about 2 kB each.
const SESSIONS_MAX: usize = 4_096;
/// An agent talks to one site; two sessions are one more than it needs.
const AGENT_SESSIONS_MAX: usize = 2;

/// rustls asks our clock.
#[derive(Debug)]
struct Time(Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let millis = u64::try_from(self.0.now().0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(millis)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

/// The site's side. A client may come without a certificate, to enrol; with one, it is of our authority and in time.
pub fn site(authority: &Authority, names: &[String], clock: Arc<dyn Clock>) -> Result<ServerConfig, CaError> {
    let (chain, key) = authority.issue_site(names)?;
    let mut roots = RootCertStore::empty();
    for root in authority.trusted() {
        // One that does not parse vouches for nobody.
        let _ = roots.add(root.clone());
    }
    let refuse = |error: &dyn std::fmt::Display| CaError::Request(error.to_string());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| refuse(&error))?;
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(Time(clock)))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| refuse(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| refuse(&error))?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    // One connection is kept; a second ticket would only cost.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// The agent's side before it has a certificate: it believes the authority whose hash its token names.
pub fn enrolling(pin: [u8; 32], clock: Arc<dyn Clock>) -> Result<ClientConfig, Error> {
    let config = ClientConfig::builder_with_details(provider(), Arc::new(Time(clock)))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pin }))
        .with_no_client_auth();
    Ok(config)
}

/// The agent's side from then on.
pub fn agent(
    authorities: &[CertificateDer<'static>],
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    for root in authorities {
        roots.add(root.clone())?;
    }
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(Time(clock)))
        .with_protocol_versions(&[&version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)?;
    config.resumption = Resumption::in_memory_sessions(AGENT_SESSIONS_MAX);
    Ok(config)
}

/// Believes a chain that ends in the certificate with this hash, and checks it in full under that one.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = intermediates
            .iter()
            .find(|it| sha256(it) == self.pin)
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
