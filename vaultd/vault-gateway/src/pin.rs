//! Whom an upstream's TLS certificate is checked against: the system's roots, or the service's
//! own `ca_cert`, where a certificate that signed itself counts as what it is.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Why a `ca_cert` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("\"ca_cert\" is not PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    #[error("\"ca_cert\" holds no certificate")]
    Empty,
    #[error("a certificate in \"ca_cert\" cannot be a root")]
    Root(#[source] Error),
    #[error("no verifier for these roots")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
    #[error("no TLS configuration")]
    Config(#[source] Error),
}

/// A TLS client without certificates of its own. `ca_pem` replaces `system` where it is given.
///
/// # Errors
/// When `ca_pem` holds anything but certificates that can be roots.
pub fn client_config(system: &Arc<RootCertStore>, ca_pem: Option<&str>) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Config)?;
    let Some(pem) = ca_pem else {
        return Ok(builder.with_root_certificates(system.clone()).with_no_client_auth());
    };
    let verifier = Pinned::new(pem, provider)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// The usual verification against the roots of a `ca_cert`, and one thing more: a server may
/// present one of these very certificates although it says of itself that it is a CA, as what
/// `openssl req -x509` makes does. webpki refuses it as a server's certificate; but whoever has
/// its key could sign any other certificate for this service, so that nothing is given away.
#[derive(Debug)]
struct Pinned {
    usual: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl Pinned {
    fn new(pem: &str, provider: Arc<CryptoProvider>) -> Result<Self, TrustError> {
        let own: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(TrustError::Pem)?;
        if own.is_empty() {
            return Err(TrustError::Empty);
        }
        let mut roots = RootCertStore::empty();
        for cert in &own {
            roots.add(cert.clone()).map_err(TrustError::Root)?;
        }
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(TrustError::Verifier)?;
        Ok(Pinned { usual, own })
    }
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
        let usual = self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match usual {
            // Its dates are judged before this, and have errors of their own.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if self.own.contains(end_entity) => {
                named(end_entity, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            usual => usual,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// A certificate that names hosts is for these. One that names none (`openssl req -x509` without
/// `-addext subjectAltName`) is for the upstream of the service that holds it.
fn named(cert: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    match rustls::client::verify_server_name(&ParsedCertificate::try_from(cert)?, name) {
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }))
            if presented.is_empty() =>
        {
            Ok(())
        }
        other => other,
    }
}
