//! What `vaultd dev` prints: commands to copy into another terminal, each of which works there.

use std::ffi::OsStr;
use std::path::Path;

const CLI: &str = "vault-cli";

/// Where everything is.
pub(super) struct Notice<'a> {
    pub dir: &'a Path,
    /// Addresses of the API and of the gateway.
    pub api: String,
    pub gateway: String,
    /// From [`reach_cli`].
    pub reach_cli: &'a [String],
}

impl Notice<'_> {
    pub(super) fn text(&self) -> String {
        let Notice { dir, api, gateway, .. } = self;
        let file = |name: &str| quoted(&dir.join(name));
        let (ca, root, app) = (file("ca.pem"), file("root-token"), file("app-token"));
        let reach: String = self.reach_cli.iter().map(|line| format!("  {line}\n")).collect();
        format!(
            "
A vault for trying things out, in {}. Its keys lie there in the clear: keep nothing real in it.
In another terminal:

{reach}  export VAULT_ADDR=https://{api} VAULT_CACERT={ca}
  export VAULT_TOKEN=$(cat {root})
  vault-cli status
  vault-cli kv put -mount=secret hello who=world
  vault-cli kv get -mount=secret demo

An app has a token of its own. It may read that secret, and is refused the next one, a provider's key:

  export APP=$(cat {app})
  VAULT_TOKEN=$APP vault-cli kv get -mount=secret demo
  VAULT_TOKEN=$APP vault-cli kv get -mount=secret provider

It may use that key all the same, through the gateway. The provider gets the key; where the answer
repeats it, the app sees stars:

  curl --cacert \"$VAULT_CACERT\" -H \"Authorization: Bearer $APP\" https://{gateway}/demo/hello
  vault-cli gateway read demo

Ctrl-C stops it; the same command starts it again with everything in it.",
            dir.display()
        )
    }
}

/// The commands after which a shell finds `vault-cli`: none where it is on the path already. One
/// that is not built yet is built from the sources that `exe` was built from.
pub(super) fn reach_cli(exe: Option<&Path>, path: Option<&OsStr>) -> Vec<String> {
    if path.is_some_and(|p| std::env::split_paths(p).any(|d| d.join(CLI).is_file())) {
        return Vec::new();
    }
    let Some(dir) = exe.and_then(Path::parent) else { return Vec::new() };
    let mut lines = Vec::new();
    if !dir.join(CLI).is_file() {
        // <root>/target/<profile>/vaultd
        let manifest = dir.parent().and_then(Path::parent).map(|root| root.join("Cargo.toml"));
        let Some(manifest) = manifest.filter(|m| m.is_file()) else { return Vec::new() };
        let release = if dir.ends_with("release") { "--release " } else { "" };
        lines.push(format!("cargo build {release}-p {CLI} --manifest-path {}", quoted(&manifest)));
    }
    lines.push(format!("export PATH={}:$PATH", quoted(dir)));
    lines
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@%:,".contains(&b);
    if text.bytes().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    /// What the variables are after some lines of a shell, and what `curl` was given.
    fn after(lines: &str) -> String {
        let script = format!(
            "say() {{ printf '<%s>' \"$@\"; }}\ncurl() {{ say \"$@\"; }}\n{lines}\nsay \"$VAULT_CACERT\" \"$VAULT_TOKEN\" \"$APP\""
        );
        let out = Command::new("sh").arg("-c").arg(script).env_clear().env("PATH", "/usr/bin:/bin").output();
        let out = out.expect("sh");
        assert!(out.status.success() && out.stderr.is_empty(), "{lines}: {out:?}");
        String::from_utf8(out.stdout).expect("text")
    }

    #[test]
    fn every_command_can_be_copied_whatever_the_folder_is_called() {
        let home = tempfile::tempdir().expect("dir");
        for name in ["plain", "two words", "it's $HOME"] {
            let dir = home.path().join(name);
            fs::create_dir(&dir).expect("mkdir");
            fs::write(dir.join("root-token"), "root").expect("token");
            fs::write(dir.join("app-token"), "app").expect("token");
            let notice = Notice {
                dir: &dir,
                api: "127.0.0.1:1".into(),
                gateway: "127.0.0.1:2".into(),
                reach_cli: &[],
            };
            let text = notice.text();
            let commands: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("  ")).collect();
            assert!(commands.len() > 8, "{text}");
            // A shell for people may not know comments.
            assert!(!commands.iter().any(|c| c.contains('#')));
            let ours = |c: &&str| c.starts_with("export ") || c.starts_with("curl ");
            let got = after(&commands.iter().copied().filter(ours).collect::<Vec<_>>().join("\n"));
            let ca = dir.join("ca.pem");
            let ca = ca.display();
            let curl =
                format!("<--cacert><{ca}><-H><Authorization: Bearer app><https://127.0.0.1:2/demo/hello>");
            assert_eq!(got, format!("{curl}<{ca}><root><app>"));
        }
    }

    #[test]
    fn the_cli_is_found_beside_the_daemon_or_built() {
        let home = tempfile::tempdir().expect("dir");
        let bin = home.path().join("target/release");
        fs::create_dir_all(&bin).expect("mkdir");
        let exe = bin.join("vaultd");
        let at = bin.display();
        assert!(reach_cli(Some(&exe), None).is_empty(), "no sources: nothing that would fail");
        fs::write(home.path().join("Cargo.toml"), "").expect("manifest");
        let build = format!(
            "cargo build --release -p vault-cli --manifest-path {}",
            home.path().join("Cargo.toml").display()
        );
        assert_eq!(reach_cli(Some(&exe), None), [build, format!("export PATH={at}:$PATH")]);
        fs::write(bin.join(CLI), "").expect("cli");
        let other = OsStr::new("/nonexistent:/");
        assert_eq!(reach_cli(Some(&exe), Some(other)), [format!("export PATH={at}:$PATH")]);
        assert!(reach_cli(Some(&exe), Some(bin.as_os_str())).is_empty(), "on the path already");
    }
}
