//! The dev folder: private, marked, with its own certificates and config.

use super::DevError;
use crate::run::DEV_MARK;
use crate::tls::{MinVersion, TlsFiles};
use secmem::{SecretString, Zeroizing};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Longest file of ours that is read back.
const MAX_KEPT_BYTES: u64 = 1024;

/// A small private file.
pub(super) struct Kept {
    path: PathBuf,
    file: File,
}

impl Kept {
    pub(super) fn open(path: PathBuf) -> Result<Kept, DevError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        match options.open(&path) {
            Ok(file) => Ok(Kept { path, file }),
            Err(source) => Err(DevError::File { path, source }),
        }
    }

    fn failed(&self, source: io::Error) -> DevError {
        DevError::File { path: self.path.clone(), source }
    }

    pub(super) fn read(&self) -> Result<Option<SecretString>, DevError> {
        io::Seek::rewind(&mut &self.file).map_err(|e| self.failed(e))?;
        let mut text = Zeroizing::new(String::new());
        (&self.file).take(MAX_KEPT_BYTES).read_to_string(&mut text).map_err(|e| self.failed(e))?;
        Ok(Some(text.trim()).filter(|t| !t.is_empty()).map(SecretString::from))
    }

    pub(super) fn write(&self, secret: &str) -> Result<(), DevError> {
        let put = || {
            self.file.set_len(0)?;
            io::Seek::rewind(&mut &self.file)?;
            (&self.file).write_all(secret.as_bytes())?;
            self.file.sync_all()
        };
        put().map_err(|e| self.failed(e))
    }
}

/// The marked folder, mode 0700, as an absolute path.
pub(super) fn private_folder(dir: &Path) -> Result<PathBuf, DevError> {
    let failed = |source| DevError::File { path: dir.to_owned(), source };
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            if !dir.join(DEV_MARK).is_file() && entries.next().is_some() {
                return Err(DevError::Foreign(dir.to_owned()));
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        }
        Err(e) => return Err(failed(e)),
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    let dir = dir.canonicalize().map_err(failed)?;
    write(&dir.join(DEV_MARK), b"made by `vaultd dev`; its keys lie beside it\n")?;
    // Most often it lies in somebody's source tree: its keys are not to be committed by accident.
    write(&dir.join(".gitignore"), b"*\n")?;
    let audit = dir.join("audit");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&audit)
        .map_err(|source| DevError::File { path: audit, source })?;
    Ok(dir)
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), DevError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let put = || options.open(path)?.write_all(bytes);
    put().map_err(|source| DevError::File { path: path.to_owned(), source })
}

pub(super) fn tls_files(dir: &Path) -> TlsFiles {
    TlsFiles {
        cert: dir.join("server.pem"),
        key: dir.join("server-key.pem"),
        client_ca: None,
        require_client_cert: false,
        min_version: MinVersion::Tls13,
    }
}

/// A CA whose key is forgotten at once, and one certificate of it for this machine.
pub(super) fn certificates(dir: &Path) -> Result<(), DevError> {
    let files = tls_files(dir);
    if crate::tls::check(&files).is_ok() && dir.join("ca.pem").is_file() {
        return Ok(());
    }
    let ca_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut ca = rcgen::CertificateParams::new(Vec::new())?;
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    ca.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(rcgen::DnType::CommonName, "vaultd dev CA");
    let ca_cert = ca.self_signed(&ca_key)?;
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let mut leaf = rcgen::CertificateParams::new(names)?;
    leaf.distinguished_name.push(rcgen::DnType::CommonName, "vaultd dev");
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let cert = leaf.signed_by(&key, &issuer)?;
    write(&files.key, Zeroizing::new(key.serialize_pem()).as_bytes())?;
    write(&files.cert, cert.pem().as_bytes())?;
    write(&dir.join("ca.pem"), ca_cert.pem().as_bytes())
}

pub(super) fn config_text(dir: &Path, api: SocketAddr, gateway: SocketAddr) -> String {
    let dir = dir.display();
    let tls = format!("  tls_cert_file = \"{dir}/server.pem\"\n  tls_key_file = \"{dir}/server-key.pem\"\n");
    format!(
        "# Written by `vaultd dev` at each start.
storage \"sled\" {{
  path = \"{dir}/data\"
}}
listener \"tcp\" {{
  address = \"{api}\"
{tls}}}
listener \"unix\" {{
  address = \"{dir}/vaultd.sock\"
}}
gateway {{
  address = \"{gateway}\"
{tls}}}
audit \"file\" \"file\" {{
  path = \"{dir}/audit/audit.log\"
}}
audit_dirs = [\"{dir}/audit\"]
egress_allow = [\"127.0.0.0/8\", \"::1/128\"]
log_level = \"warn\"
"
    )
}
