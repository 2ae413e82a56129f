//! The site's authority for machines: one key, made once, that signs the certificates of agents and of the site's own listener.
//!
//! It is no public authority and none is asked: an agent trusts exactly it, by the hash in its token. A certificate of an agent
//! says two things, the machine's id (`urn:hoheit:machine:mach_…`) and the chassis serial at the time (common name).
//!
//! Rotation: the new authority signs, `trusted.pem` holds the certificates of those before, and every answer with a certificate
//! names all of them; after one life of a certificate every agent has one of the new authority, and the old line may go.
//!
//! If we crash while it is made: `ca.pem` appears whole by a rename or not at all, and without it the next start makes another.
//! No agent can know the lost one, because tokens are made after the file is there.

use crate::clock::Clock;
use crate::token::{hex, sha256};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use types::{MachineId, UnixMillis};

const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// An agent's certificate. Renewed at two thirds of it: a machine may be off for ten days and still come back by itself.
pub const AGENT_LIFE_MS: i64 = 30 * DAY_MS;
/// The listener's. Made anew at each start, its key never on a disk; a controller does not run for two years.
pub const SITE_LIFE_MS: i64 = 730 * DAY_MS;
/// The authority's: the life of the hardware and of its contract.
pub const AUTHORITY_LIFE_MS: i64 = 20 * 365 * DAY_MS;
/// Certificates begin in the past, so that a machine whose clock is wrong by a day can still enrol and be told so.
pub const BACKDATED_MS: i64 = 2 * DAY_MS;
/// What a certificate calls its machine.
pub const URN: &str = "urn:hoheit:machine:";

#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("the authority's file {path}: {source}")]
    File { path: String, source: io::Error },
    #[error(
        "the authority's file {path} holds no certificate with its key: put the copy back, or every machine enrols anew"
    )]
    Damaged { path: String },
    #[error("the request for a certificate is not one: {0}")]
    Request(String),
    #[error("signing failed: {0}")]
    Sign(#[from] rcgen::Error),
}

/// Signs. Clone is cheap.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// Those before, still believed.
    before: Vec<CertificateDer<'static>>,
    clock: Arc<dyn Clock>,
}

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    pub machine: MachineId,
    /// The certificate's serial number, hex.
    pub number: String,
    /// SHA-256 of the public key, hex.
    pub key: String,
    pub not_after: UnixMillis,
    /// PEM.
    pub certificate: String,
}

/// Who holds a certificate of ours, as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub machine: MachineId,
    /// The chassis serial when it was issued.
    pub serial: String,
    pub number: String,
    pub not_before: UnixMillis,
    pub not_after: UnixMillis,
}

impl Authority {
    /// Makes one that lives in memory only.
    pub fn make(name: &str, clock: Arc<dyn Clock>) -> Result<(Authority, String), CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(name, &*clock, AUTHORITY_LIFE_MS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        let text = format!("{}{}", certificate.pem(), key.serialize_pem());
        let inner = Inner {
            issuer: Issuer::new(params, key),
            certificate: certificate.der().clone(),
            before: Vec::new(),
            clock,
        };
        Ok((Authority(Arc::new(inner)), text))
    }

    /// Reads what `make` wrote, and the certificates of authorities before it.
    pub fn parse(text: &str, before: &str, clock: Arc<dyn Clock>) -> Option<Authority> {
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()?;
        let key = KeyPair::try_from(&key).ok()?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).ok()?;
        let before = CertificateDer::pem_slice_iter(before.as_bytes()).collect::<Result<Vec<_>, _>>().ok()?;
        Some(Authority(Arc::new(Inner { issuer, certificate, before, clock })))
    }

    /// The authority of this folder, made if there is none. The folder is the caller's and closed to others.
    pub fn open(folder: &Path, name: &str, clock: Arc<dyn Clock>) -> Result<Authority, CaError> {
        let path = folder.join("ca.pem");
        let shown = || path.display().to_string();
        let before = match std::fs::read_to_string(folder.join("trusted.pem")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                return Err(CaError::File { path: folder.join("trusted.pem").display().to_string(), source });
            }
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Authority::parse(&text, &before, clock).ok_or_else(|| CaError::Damaged { path: shown() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (_, text) = Authority::make(name, clock.clone())?;
                crate::enrol::write_secret(&path, &text).map_err(|source| CaError::File { path: shown(), source })?;
                Authority::parse(&text, &before, clock).ok_or_else(|| CaError::Damaged { path: shown() })
            }
            Err(source) => Err(CaError::File { path: shown(), source }),
        }
    }

    /// SHA-256 of the certificate: what tokens carry.
    pub fn pin(&self) -> [u8; 32] {
        sha256(&self.0.certificate)
    }

    /// Everything that is believed, this one first.
    pub fn trusted(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        std::iter::once(&self.0.certificate).chain(&self.0.before)
    }

    pub fn trusted_pem(&self) -> String {
        self.trusted().map(|it| pem("CERTIFICATE", it)).collect()
    }

    /// Reads a request (DER) and says whose key it is; the signature in it shows that the asker has the private half.
    pub fn read_request(csr: &[u8]) -> Result<Request, CaError> {
        let der = CertificateSigningRequestDer::from(csr);
        let params =
            CertificateSigningRequestParams::from_der(&der).map_err(|error| CaError::Request(error.to_string()))?;
        let key = hex(&sha256(rcgen::PublicKeyData::der_bytes(&params.public_key)));
        Ok(Request { params, key })
    }

    /// Signs for a machine. Of the request only the key is used: what else it asks for is ours to say.
    pub fn issue(&self, request: Request, machine: MachineId, serial: &str) -> Result<Issued, CaError> {
        let clock = &*self.0.clock;
        let mut wanted = params(serial, clock, AGENT_LIFE_MS);
        let number = wanted.serial_number.as_ref().map(|it| hex(&it.to_bytes())).unwrap_or_default();
        wanted.subject_alt_names = vec![SanType::URI(format!("{URN}{machine}").try_into()?)];
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let signed = CertificateSigningRequestParams { params: wanted, public_key: request.params.public_key };
        let certificate = signed.signed_by(&self.0.issuer)?.pem();
        let not_after = UnixMillis(clock.now().0 + AGENT_LIFE_MS);
        Ok(Issued { machine, number, key: request.key, not_after, certificate })
    }

    /// A certificate for the site's listener, with its chain, and its key.
    pub fn issue_site(
        &self,
        names: &[String],
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut wanted = params("hoheit site", &*self.0.clock, SITE_LIFE_MS);
        wanted.subject_alt_names = CertificateParams::new(names.to_vec())?.subject_alt_names;
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = wanted.signed_by(&key, &self.0.issuer)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((vec![certificate.der().clone(), self.0.certificate.clone()], private))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", hex(&self.pin()))
    }
}

/// A request whose signature is right.
#[derive(Debug)]
pub struct Request {
    params: CertificateSigningRequestParams,
    /// SHA-256 of the public key, hex.
    pub key: String,
}

fn params(name: &str, clock: &dyn Clock, life_ms: i64) -> CertificateParams {
    let now = clock.now().0;
    let mut number = [0u8; 16];
    clock.random(&mut number);
    // A positive number that does not begin with zero, as RFC 5280 wants.
    number[0] = (number[0] & 0x7f) | 0x40;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.serial_number = Some(SerialNumber::from_slice(&number));
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(positive(now - BACKDATED_MS));
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(positive(now + life_ms));
    params.use_authority_key_identifier_extension = true;
    params
}

fn positive(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0)
}

/// Whose certificate this is; `None` if it says nothing of the kind. The chain is TLS's to check.
pub fn holder(certificate: &CertificateDer<'_>) -> Option<Holder> {
    use x509_parser::extensions::GeneralName;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut machines = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(text) => text.strip_prefix(URN)?.parse::<MachineId>().ok(),
        _ => None,
    });
    let (Some(machine), None) = (machines.next(), machines.next()) else { return None };
    let serial = parsed.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    let validity = parsed.validity();
    Some(Holder {
        machine,
        serial,
        number: hex(parsed.raw_serial()),
        not_before: UnixMillis(validity.not_before.timestamp() * 1_000),
        not_after: UnixMillis(validity.not_after.timestamp() * 1_000),
    })
}

impl Holder {
    /// Whether two thirds of what the certificate was issued for are over.
    pub fn is_due(&self, now: UnixMillis) -> bool {
        let life = self.not_after.0 - (self.not_before.0 + BACKDATED_MS);
        now.0 >= self.not_after.0 - life / 3
    }
}

/// DER as PEM.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}
