//! Who is believed to be the BMC. The certificates are made for these tests: `signed` by `ca` for 127.0.0.1, `own` by itself,
//! for a name that is not ours and a day that is over, as BMCs come from the factory.

use crate::fixture::{bmc, credentials, shape};
use redfish::fake::{Options, Server};
use redfish::{Address, Client, Error, Fault, Fingerprint, Limits, Login, Retry, Trust};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

const CA: &[u8] = include_bytes!("certificates/ca.pem");
const SIGNED: (&[u8], &[u8]) = (include_bytes!("certificates/signed.pem"), include_bytes!("certificates/signed.key"));
const OWN: (&[u8], &[u8]) = (include_bytes!("certificates/own.pem"), include_bytes!("certificates/own.key"));

async fn serve((certificate, key): (&[u8], &[u8])) -> (Arc<redfish::fake::Bmc>, Server) {
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let bmc = bmc(&Arc::new(shape().tree()), "S1");
    let options = Options { tls: Some(Arc::new(config)), ..Options::default() };
    (bmc.clone(), Server::start(vec![bmc], options).await.unwrap())
}

fn pin(certificate: &[u8]) -> Fingerprint {
    Fingerprint::of(&CertificateDer::from_pem_slice(certificate).unwrap())
}

async fn ask(server: &Server, trust: Trust) -> Result<(), Error> {
    let address = Address::new(&server.url(0), credentials(Login::Basic), trust)?;
    Client::new(&address, Limits::default())?.inventory().await.map(|_| ())
}

#[tokio::test]
async fn who_is_believed() {
    let (own_bmc, own) = serve(OWN).await;
    let (_signed_bmc, signed) = serve(SIGNED).await;
    assert_eq!(ask(&own, Trust::Pin(pin(OWN.0))).await, Ok(()), "pinned: names and dates do not matter");
    assert_eq!(ask(&signed, Trust::ca(CA).unwrap()).await, Ok(()));
    assert_eq!(ask(&signed, Trust::Pin(pin(SIGNED.0))).await, Ok(()));
    assert_eq!(ask(&own, Trust::Anything).await, Ok(()), "only who says so in words");

    let before = own_bmc.requests();
    for trust in [Trust::Pin(pin(SIGNED.0)), Trust::ca(CA).unwrap()] {
        let error = ask(&own, trust).await.unwrap_err();
        let Error::Certificate { found, .. } = &error else { panic!("{error}") };
        assert_eq!(*found, format!("{:?}", pin(OWN.0)), "a person can compare it");
        assert_eq!((error.fault(), error.retry()), (Fault::Bmc, Retry::No));
    }
    assert_eq!(own_bmc.requests(), before, "nothing was sent to it");
}

/// The CA's certificate for another machine is not this one's.
#[tokio::test]
async fn a_certificate_of_another_name() {
    let (_bmc, signed) = serve(SIGNED).await;
    let url = signed.url(0).replace("127.0.0.1", "localhost");
    let address = Address::new(&url, credentials(Login::Basic), Trust::ca(CA).unwrap()).unwrap();
    let error = Client::new(&address, Limits::default()).unwrap().inventory().await.unwrap_err();
    assert!(matches!(error, Error::Certificate { .. }), "{error}");
}
