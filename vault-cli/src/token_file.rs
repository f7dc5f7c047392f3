//! `~/.vault-token`, where a login leaves its token for the next command. It is a regular file of
//! this user with mode 0600; links are never followed and never written through.

use crate::failure::Failure;
use crate::limits::MAX_SECRET_BYTES;
use nix::fcntl::OFlag;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use vault_api::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

const NAME: &str = ".vault-token";

/// The file's path below the home directory.
pub fn path(home: &Path) -> PathBuf {
    home.join(NAME)
}

/// Reads the token. `None` when there is no file.
///
/// # Errors
/// When it is a link, somebody else's, or readable by others.
pub fn read(home: &Path) -> Result<Option<SecretString>, Failure> {
    let path = path(home);
    let fail = |e: io::Error| Failure::local(format!("{}: {e}", path.display()));
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(&path);
    let mut file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.raw_os_error() == Some(nix::libc::ELOOP) => {
            return Err(Failure::local(format!("{}: is a link, which is not followed", path.display())));
        }
        Err(e) => return Err(fail(e)),
    };
    check(&file, &path)?;
    let mut text = Zeroizing::new(String::with_capacity(MAX_SECRET_BYTES));
    Read::by_ref(&mut file).take(MAX_SECRET_BYTES as u64).read_to_string(&mut text).map_err(fail)?;
    let token = text.trim();
    Ok((!token.is_empty()).then(|| SecretString::from(token)))
}

fn check(file: &File, path: &Path) -> Result<(), Failure> {
    let meta = file.metadata()?;
    let path = path.display();
    if !meta.is_file() {
        return Err(Failure::local(format!("{path}: is not a regular file")));
    }
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(Failure::local(format!("{path}: belongs to somebody else")));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(Failure::local(format!("{path}: others may read it")).advise(format!(
            "Close it with: chmod 600 {path}\nand revoke the token if others use this machine."
        )));
    }
    Ok(())
}

/// Writes the token: a new file with mode 0600, renamed into place, so that a link or a file with
/// another mode is replaced, never written to.
///
/// # Errors
/// When the directory cannot be written.
pub fn write(home: &Path, token: &SecretString) -> Result<(), Failure> {
    let target = path(home);
    let fresh = home.join(format!("{NAME}.{}", std::process::id()));
    let fail = |e: io::Error| Failure::local(format!("{}: {e}", target.display()));
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail(e)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(&fresh)
        .map_err(fail)?;
    let written = file.write_all(token.expose_secret().as_bytes()).and_then(|()| fs::rename(&fresh, &target));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written.map_err(fail)
}

/// Removes the file, if it is there.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(home: &Path) -> Result<(), Failure> {
    match fs::remove_file(path(home)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_token_is_kept_for_its_user_only() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        assert!(read(home).unwrap().is_none());
        write(home, &"hvs.one".into()).unwrap();
        assert_eq!(read(home).unwrap().unwrap().expose_secret(), "hvs.one");
        assert_eq!(fs::metadata(path(home)).unwrap().permissions().mode() & 0o777, 0o600);

        // Any bit of the group's or of others', alone and with more.
        for mode in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o660, 0o644, 0o777] {
            fs::set_permissions(path(home), fs::Permissions::from_mode(mode)).unwrap();
            let refused = read(home).map(|_| ()).expect_err(&format!("{mode:o}"));
            assert!(refused.advice.unwrap().contains("chmod 600") && !refused.message.contains("hvs."));
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(path(home), fs::Permissions::from_mode(mode)).unwrap();
            assert!(read(home).unwrap().is_some(), "{mode:o}");
        }
        write(home, &"hvs.two".into()).unwrap();
        assert_eq!(read(home).unwrap().unwrap().expose_secret(), "hvs.two", "a new file has the right mode");
        assert_eq!(fs::read_dir(home).unwrap().count(), 1, "nothing is left beside it");
        remove(home).unwrap();
        remove(home).unwrap();
        assert!(read(home).unwrap().is_none());
    }

    #[test]
    fn links_are_neither_followed_nor_written_through() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let victim = home.join("victim");
        fs::write(&victim, "precious").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&victim, path(home)).unwrap();
        assert!(read(home).unwrap_err().message.contains("link"));
        write(home, &"hvs.x".into()).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(read(home).unwrap().unwrap().expose_secret(), "hvs.x");
        fs::remove_file(path(home)).unwrap();
        fs::create_dir(path(home)).unwrap();
        assert!(read(home).is_err(), "a directory is no token");
    }
}
