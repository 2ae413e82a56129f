//! From a one-time token to an identity, and from one certificate to the next.
//!
//! The key pair is made here and never leaves. Two files, both 0600, each written whole by a rename and flushed:
//!
//! - `pending.pem`: the key, before the site is asked;
//! - `identity.pem`: key, certificate and the authorities to believe; whoever has it is the machine.
//!
//! What happens if we crash here. Before `pending.pem`: nothing happened. After it, before the site answered or after its answer
//! was lost: the token may be spent, but it was spent *by this key*, and the site gives a certificate for the same token and key
//! as often as it is asked while the token lives; so the next start asks again with `pending.pem`. After `identity.pem`: done;
//! a `pending.pem` left behind is removed by the next start. A renewal makes its key in memory and replaces `identity.pem` in one
//! rename: before it the old identity is good for another ten days, after it the new one is.

use crate::ca::{Holder, holder, pem};
use crate::clock::Clock;
use crate::link::{Address, Link, LinkError};
use crate::tls;
use crate::token::Token;
use crate::wire::{Certified, ENROL, Enrol, NAME_MAX, RENEW, Renew};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

const PENDING: &str = "pending.pem";
const IDENTITY: &str = "identity.pem";

#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("{0} is damaged: remove it and enrol with a new token")]
    Damaged(String),
    #[error("a key was not made: {0}")]
    Key(#[from] rcgen::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the site's certificate is not for our key, or not for a machine")]
    Foreign,
}

/// Who this machine is.
pub struct Identity {
    pub holder: Holder,
    key: PrivateKeyDer<'static>,
    certificate: CertificateDer<'static>,
    authorities: Vec<CertificateDer<'static>>,
}

impl Identity {
    /// The identity in this folder, if there is one.
    pub fn open(folder: &Path) -> Result<Option<Identity>, EnrolError> {
        let path = folder.join(IDENTITY);
        let Some(text) = read(&path)? else { return Ok(None) };
        let identity = Identity::parse(&text).ok_or_else(|| EnrolError::Damaged(path.display().to_string()))?;
        // Left by a crash after the identity was written.
        let _ = fs::remove_file(folder.join(PENDING));
        Ok(Some(identity))
    }

    fn parse(text: &str) -> Option<Identity> {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()?;
        let mut certificates = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>().ok()?;
        if certificates.len() < 2 {
            return None;
        }
        let certificate = certificates.remove(0);
        Some(Identity { holder: holder(&certificate)?, key, certificate, authorities: certificates })
    }

    /// Of a key and what the site answered; both must fit.
    fn of(key: &KeyPair, answer: &Certified) -> Result<(Identity, String), EnrolError> {
        let certificate =
            CertificateDer::from_pem_slice(answer.certificate.as_bytes()).map_err(|_| EnrolError::Foreign)?;
        let text = format!("{}{}{}", key.serialize_pem(), pem("CERTIFICATE", &certificate), answer.authorities);
        let identity = Identity::parse(&text).ok_or(EnrolError::Foreign)?;
        if identity.holder.machine != answer.machine {
            return Err(EnrolError::Foreign);
        }
        Ok((identity, text))
    }

    /// For connections as this machine. Fails if key and certificate do not belong together.
    pub fn tls(&self, clock: Arc<dyn Clock>) -> Result<Arc<ClientConfig>, EnrolError> {
        let config = tls::agent(&self.authorities, self.certificate.clone(), self.key.clone_key(), clock)?;
        Ok(Arc::new(config))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("holder", &self.holder).finish_non_exhaustive()
    }
}

/// What the machine says of itself when it enrols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub serial: String,
    pub hostname: String,
}

/// Enrols: asks the site for a certificate and keeps it. Repeatable after a crash anywhere.
pub async fn enrol(
    folder: &Path,
    address: &Address,
    token: &Token,
    claim: &Claim,
    clock: Arc<dyn Clock>,
) -> Result<Identity, EnrolError> {
    let key = pending(folder)?;
    let (identity, text) = ask(&key, address, token, claim, clock).await?;
    write_secret(&folder.join(IDENTITY), &text).map_err(|source| file(&folder.join(IDENTITY), source))?;
    let _ = fs::remove_file(folder.join(PENDING));
    Ok(identity)
}

/// The same without a folder, for machines that are simulated.
pub async fn enrol_in_memory(
    address: &Address,
    token: &Token,
    claim: &Claim,
    clock: Arc<dyn Clock>,
) -> Result<Identity, EnrolError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok(ask(&key, address, token, claim, clock).await?.0)
}

async fn ask(
    key: &KeyPair,
    address: &Address,
    token: &Token,
    claim: &Claim,
    clock: Arc<dyn Clock>,
) -> Result<(Identity, String), EnrolError> {
    let mut link = Link::new(address.clone(), Arc::new(tls::enrolling(token.pin, clock.clone())?));
    let short = |text: &str| text.chars().take(NAME_MAX).collect::<String>();
    let message = Enrol {
        token: token.text(),
        csr: request(key)?,
        serial: short(&claim.serial),
        hostname: short(&claim.hostname),
    };
    let answer: Certified = link.post(ENROL, &message).await?;
    let (identity, text) = Identity::of(key, &answer)?;
    identity.tls(clock)?;
    Ok((identity, text))
}

/// The next certificate, with a new key, over the present connection. The caller goes on with what this answers.
pub async fn renew(folder: Option<&Path>, link: &mut Link, clock: Arc<dyn Clock>) -> Result<Identity, EnrolError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let answer: Certified = link.post(RENEW, &Renew { csr: request(&key)? }).await?;
    let (identity, text) = Identity::of(&key, &answer)?;
    let config = identity.tls(clock)?;
    if let Some(folder) = folder {
        write_secret(&folder.join(IDENTITY), &text).map_err(|source| file(&folder.join(IDENTITY), source))?;
    }
    link.replace(config);
    Ok(identity)
}

/// The key that asks: from before a crash, or new.
fn pending(folder: &Path) -> Result<KeyPair, EnrolError> {
    let path = folder.join(PENDING);
    if let Some(text) = read(&path)? {
        return KeyPair::from_pem(&text).map_err(|_| EnrolError::Damaged(path.display().to_string()));
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    write_secret(&path, &key.serialize_pem()).map_err(|source| file(&path, source))?;
    Ok(key)
}

fn request(key: &KeyPair) -> Result<String, EnrolError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(STANDARD.encode(params.serialize_request(key)?.der()))
}

fn read(path: &Path) -> Result<Option<String>, EnrolError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(file(path, source)),
    }
}

fn file(path: &Path, source: io::Error) -> EnrolError {
    EnrolError::File { path: path.display().to_string(), source }
}

/// Writes a file that only its owner reads, whole or not at all, and returns when it is durable.
pub(crate) fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let next = path.with_extension("new");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}
