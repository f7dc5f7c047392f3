//! TLS settings. The only module that names rustls' configuration types.

use crate::error::{Error, Result};
use crate::limits::{MAX_CA_FILES, MAX_PEM_BYTES};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What a [`crate::Builder`] was told about TLS.
#[derive(Default)]
pub(crate) struct TlsOptions {
    pub ca_files: Vec<PathBuf>,
    pub ca_dir: Option<PathBuf>,
    pub ca_pem: Vec<Vec<u8>>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    pub server_name: Option<String>,
    pub tls12: bool,
    pub danger_skip_verify: bool,
}

/// TLS 1.3 (1.2 by option), HTTP/2 and HTTP/1.1. Named CAs replace the system's.
pub(crate) fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>> {
    let versions: &[_] = if options.tls12 {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    } else {
        &[&rustls::version::TLS13]
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|e| Error::Config(format!("TLS: {e}")))?;
    let builder = if options.danger_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(danger::AnyCertificate::new()))
    } else {
        builder.with_root_certificates(roots(options)?)
    };
    let mut config = match (&options.client_cert, &options.client_key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(&read(cert)?, cert)?;
            let key = PrivateKeyDer::from_pem_slice(&read(key)?)
                .map_err(|e| Error::Config(format!("{}: {e}", key.display())))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| Error::Config(format!("client certificate: {e}")))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => {
            let message = "a client certificate needs both the certificate and its key";
            return Err(Error::Config(message.into()));
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(options: &TlsOptions) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let mut named = false;
    let mut add = |certs: Vec<CertificateDer<'static>>, from: &str| {
        named = true;
        certs.into_iter().try_for_each(|c| {
            store.add(c).map_err(|e| Error::Config(format!("{from}: not a usable CA certificate: {e}")))
        })
    };
    for path in &options.ca_files {
        add(certificates(&read(path)?, path)?, &path.display().to_string())?;
    }
    for pem in &options.ca_pem {
        add(certificates(pem, Path::new("CA"))?, "CA")?;
    }
    if let Some(dir) = &options.ca_dir {
        for path in directory(dir)? {
            add(certificates(&read(&path)?, &path)?, &path.display().to_string())?;
        }
    }
    if !named {
        let system = rustls_native_certs::load_native_certs();
        for e in &system.errors {
            tracing::debug!(error = %e, "a system CA file was skipped");
        }
        let (added, skipped) = store.add_parsable_certificates(system.certs);
        tracing::debug!(added, skipped, "system CAs");
    }
    if store.is_empty() {
        let message = "no CA certificate: the system has none, so name the server's (VAULT_CACERT)";
        return Err(Error::Config(message.into()));
    }
    Ok(store)
}

fn directory(dir: &Path) -> Result<Vec<PathBuf>> {
    let fail = |e: std::io::Error| Error::Config(format!("{}: {e}", dir.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let pem = path.extension().is_some_and(|e| e == "pem" || e == "crt" || e == "cer");
        if pem && path.is_file() {
            files.push(path);
        }
        if files.len() > MAX_CA_FILES {
            return Err(Error::Config(format!("{}: more than {MAX_CA_FILES} CA files", dir.display())));
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a PEM file; it may be a private key, so it is wiped.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let fail = |e: std::io::Error| Error::Config(format!("{}: {e}", path.display()));
    if std::fs::metadata(path).map_err(fail)?.len() > MAX_PEM_BYTES {
        return Err(Error::Config(format!("{}: larger than {MAX_PEM_BYTES} bytes", path.display())));
    }
    std::fs::read(path).map(Zeroizing::new).map_err(fail)
}

fn certificates(pem: &[u8], from: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certs {
        Ok(certs) if !certs.is_empty() => Ok(certs),
        Ok(_) => Err(Error::Config(format!("{}: holds no PEM certificate", from.display()))),
        Err(e) => Err(Error::Config(format!("{}: {e}", from.display()))),
    }
}

/// What switches protection off.
mod danger {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{
        WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
    };
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    /// Takes any certificate; still checks that the server holds its key.
    #[derive(Debug)]
    pub(super) struct AnyCertificate(WebPkiSupportedAlgorithms);

    impl AnyCertificate {
        pub fn new() -> Self {
            AnyCertificate(aws_lc_rs::default_provider().signature_verification_algorithms)
        }
    }

    impl ServerCertVerifier for AnyCertificate {
        fn verify_server_cert(
            &self,
            _end_entity: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            _server_name: &ServerName<'_>,
            _ocsp: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, dss, &self.0)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &self.0)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.supported_schemes()
        }
    }
}
