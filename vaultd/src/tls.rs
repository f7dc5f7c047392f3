//! TLS: the one module that knows rustls. One provider (aws-lc-rs), TLS 1.3 unless asked
//! otherwise, certificates replaced without dropping connections.

use crate::limits::MAX_PEM_BYTES;
use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{
    RootCertStore, ServerConfig, SignatureAlgorithm, SignatureScheme, SupportedProtocolVersion, version,
};
use secmem::{Arena, Key, Zeroize, Zeroizing};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use vault_logical::Timestamp;

/// Lowest protocol version of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    Tls12,
    #[default]
    Tls13,
}

/// Where a listener's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the leaf first, then intermediates.
    pub cert: PathBuf,
    /// PEM: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// PEM roots that client certificates must chain to. `None`: no certificate is asked for.
    pub client_ca: Option<PathBuf>,
    /// Refuse clients without a certificate.
    pub require_client_cert: bool,
    pub min_version: MinVersion,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} holds no usable {what}", path.display())]
    Pem { path: PathBuf, what: &'static str },
    #[error("the certificate in {} does not belong to the key in {}", cert.display(), key.display())]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("TLS set-up: {0}")]
    Setup(#[from] rustls::Error),
    #[error("client certificates: {0}")]
    ClientAuth(#[from] rustls::server::VerifierBuilderError),
    #[error("key memory: {0}")]
    Arena(#[from] secmem::ArenaError),
}

/// The provider: aws-lc-rs, hybrid post-quantum key exchange first.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

/// A listener's TLS settings, replaceable while it runs.
pub struct ServerTls {
    files: TlsFiles,
    arena: Arena,
    current: ArcSwap<Current>,
}

/// What new connections are served with.
struct Current {
    config: Arc<ServerConfig>,
    /// Of the leaf; `None` where it cannot be told.
    expires: Option<Timestamp>,
}

impl ServerTls {
    /// Reads the files; the private key is kept in `arena` only.
    pub fn load(files: TlsFiles, arena: Arena) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(server_config(&files, &arena)?);
        Ok(ServerTls { files, arena, current })
    }

    /// Reads the files again. On an error the certificate in use stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(server_config(&self.files, &self.arena)?));
        Ok(())
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load().config.clone())
    }

    /// Until when the certificate in use is valid.
    pub fn expires(&self) -> Option<Timestamp> {
        self.current.load().expires
    }

    pub fn files(&self) -> &TlsFiles {
        &self.files
    }
}

/// True for a failed handshake of a client that offers no protocol version of this listener's.
pub fn lacks_our_version(e: &std::io::Error) -> bool {
    use rustls::PeerIncompatible as P;
    matches!(
        e.get_ref().and_then(|e| e.downcast_ref()),
        Some(rustls::Error::PeerIncompatible(
            P::SupportedVersionsExtensionRequired | P::Tls12NotOfferedOrEnabled | P::Tls13RequiredForQuic
        ))
    )
}

fn server_config(files: &TlsFiles, arena: &Arena) -> Result<Current, TlsError> {
    let versions: &[&'static SupportedProtocolVersion] = match files.min_version {
        MinVersion::Tls13 => &[&version::TLS13],
        MinVersion::Tls12 => &[&version::TLS13, &version::TLS12],
    };
    let key = certified_key(files, arena)?;
    let expires = key.cert.first().and_then(|leaf| crate::certificate::read(leaf)).map(|f| f.not_after);
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
    let builder = match client_verifier(files)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // No resumption: nothing of a closed session stays in memory, and there is no early data.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Current { config: Arc::new(config), expires })
}

fn client_verifier(files: &TlsFiles) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(path) = &files.client_ca else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for cert in certificates(path)? {
        roots.add(cert)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = if files.require_client_cert { builder } else { builder.allow_unauthenticated() };
    Ok(Some(builder.build()?))
}

/// Checks that the files hold a certificate, its key and usable client roots.
pub fn check(files: &TlsFiles) -> Result<(), TlsError> {
    read_pair(files)?;
    client_verifier(files).map(drop)
}

/// A certificate chain and its private key, encoded and parsed.
struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    parsed: Arc<dyn SigningKey>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

fn read_pair(files: &TlsFiles) -> Result<Pair, TlsError> {
    let chain = certificates(&files.cert)?;
    let pem = read_bounded(&files.key)?;
    let bad_key = || TlsError::Pem { path: files.key.clone(), what: "private key" };
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| bad_key())?;
    let parsed = any_supported_type(&key).map_err(|_| bad_key())?;
    CertifiedKey::new(chain.clone(), Arc::clone(&parsed)).keys_match().map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { cert: files.cert.clone(), key: files.key.clone() }
        }
        other => TlsError::Setup(other),
    })?;
    Ok(Pair { chain, key, parsed })
}

fn certified_key(files: &TlsFiles, arena: &Arena) -> Result<CertifiedKey, TlsError> {
    let mut pair = read_pair(files)?;
    let key = ArenaKey::new(&*pair.parsed, arena.from_slice(pair.key.secret_der())?);
    Ok(CertifiedKey::new(std::mem::take(&mut pair.chain), Arc::new(key)))
}

/// The certificates of a PEM file, at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = || TlsError::Pem { path: path.to_owned(), what: "certificate" };
    let pem = read_bounded(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| bad())?;
    if chain.is_empty() { Err(bad()) } else { Ok(chain) }
}

fn read_bounded(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let capacity = usize::try_from(size).unwrap_or(MAX_PEM_BYTES).min(MAX_PEM_BYTES) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(MAX_PEM_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_PEM_BYTES {
        return Err(failed(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            "larger than a PEM file may be",
        )));
    }
    Ok(bytes)
}

/// A private key that lies encoded in the key arena and is parsed for each signature: a live key
/// object would keep a readable copy of itself in the C library's memory.
struct ArenaKey {
    key: Key,
    /// In order of preference.
    schemes: Vec<SignatureScheme>,
    algorithm: SignatureAlgorithm,
    public: Option<SubjectPublicKeyInfoDer<'static>>,
}

/// Every scheme a server key of ours can sign with, best first.
const SCHEMES: [SignatureScheme; 10] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

impl ArenaKey {
    fn new(parsed: &dyn SigningKey, key: Key) -> Self {
        ArenaKey {
            key,
            schemes: SCHEMES.into_iter().filter(|s| parsed.choose_scheme(&[*s]).is_some()).collect(),
            algorithm: parsed.algorithm(),
            public: parsed.public_key().map(|p| SubjectPublicKeyInfoDer::from(p.to_vec())),
        }
    }
}

impl std::fmt::Debug for ArenaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArenaKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl SigningKey for ArenaKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self.schemes.iter().find(|s| offered.contains(s))?;
        Some(Box::new(ArenaSigner { key: self.key.clone(), scheme: *scheme }))
    }
    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.public.clone()
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

struct ArenaSigner {
    key: Key,
    scheme: SignatureScheme,
}

impl std::fmt::Debug for ArenaSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArenaSigner").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl Signer for ArenaSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let unusable = || rustls::Error::General("the private key cannot be used".into());
        let sign = |der: &[u8]| -> Result<Vec<u8>, rustls::Error> {
            let der = PrivateKeyDer::try_from(der).map_err(|_| unusable())?;
            let key = any_supported_type(&der)?;
            key.choose_scheme(&[self.scheme]).ok_or_else(unusable)?.sign(message)
        };
        self.key.with(sign).map_err(|_| unusable())?
    }
    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
