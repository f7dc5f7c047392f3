//! The command line's shape. Flags are spelled as Vault's users know them: `-address` is
//! `--address`, `-tls-skip-verify=true` works, and every flag may stand after the command.

use crate::commands::Command;
use crate::output::Format;
use clap::{ArgAction, Args, Parser};
use std::ffi::OsString;
use std::path::PathBuf;

/// Store and fetch secrets, and operate the vault that keeps them.
#[derive(Parser)]
#[command(name = "vault-cli", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub flags: Flags,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Args, Clone, Default)]
pub struct Flags {
    /// Address of the server: https://host:port or unix:///path [env: VAULT_ADDR]
    #[arg(long, global = true, value_name = "ADDRESS", help_heading = "Connection")]
    pub address: Option<String>,
    /// PEM file of the CA that signed the server's certificate [env: VAULT_CACERT]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub ca_cert: Option<PathBuf>,
    /// Directory of CA files [env: VAULT_CAPATH]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Connection")]
    pub ca_path: Option<PathBuf>,
    /// PEM file of a client certificate [env: VAULT_CLIENT_CERT]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub client_cert: Option<PathBuf>,
    /// PEM file of the client certificate's key [env: VAULT_CLIENT_KEY]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub client_key: Option<PathBuf>,
    /// Name that the server's certificate must carry [env: VAULT_TLS_SERVER_NAME]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Connection")]
    pub tls_server_name: Option<String>,
    /// Accept any certificate: whoever answers gets the token [env: VAULT_SKIP_VERIFY]
    #[arg(long, global = true, help_heading = "Connection", action = ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub tls_skip_verify: Option<bool>,
    /// Also speak TLS 1.2
    #[arg(long, global = true, help_heading = "Connection")]
    pub allow_tls12: bool,
    /// Allow http:// to another host: the token and every secret go in clear
    #[arg(long, global = true, help_heading = "Connection")]
    pub danger_plain_http: bool,
    /// Namespace of the request [env: VAULT_NAMESPACE]
    #[arg(long, visible_alias = "ns", global = true, value_name = "NAMESPACE", help_heading = "Connection")]
    pub namespace: Option<String>,
    /// Have the answer wrapped in a one-time token for so long, such as 5m
    #[arg(long, global = true, value_name = "DURATION", help_heading = "Connection")]
    pub wrap_ttl: Option<String>,
    /// How to print: table, json or yaml [env: VAULT_FORMAT]
    #[arg(long, global = true, value_enum, value_name = "FORMAT", help_heading = "Output")]
    pub format: Option<Format>,
    /// Print only this field of the answer
    #[arg(long, global = true, value_name = "NAME", help_heading = "Output")]
    pub field: Option<String>,
    /// Send nothing: print the curl command that would do the same, values included
    #[arg(long, global = true, help_heading = "Output", conflicts_with = "output_policy")]
    pub output_curl_string: bool,
    /// Send nothing: print the policy that the command needs
    #[arg(long, global = true, help_heading = "Output")]
    pub output_policy: bool,
}

/// Rewrites `-long` to `--long`, which is what clap understands. Left alone: `-` (standard input),
/// `-h` and `-V`, what is already `--long`, and everything after `--`.
pub fn rewrite(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut literal = false;
    let rewrite = |(position, arg): (usize, OsString)| {
        if position == 0 || literal {
            return arg;
        }
        let Some(text) = arg.to_str() else { return arg };
        if text == "--" {
            literal = true;
            return arg;
        }
        let flag = text.strip_prefix('-').filter(|n| !n.starts_with('-')).unwrap_or("");
        let name = flag.split('=').next().unwrap_or("");
        let long = name.len() > 1 && name.starts_with(|c: char| c.is_ascii_alphabetic());
        if long { format!("-{text}").into() } else { arg }
    };
    args.into_iter().enumerate().map(rewrite).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(args: &[&str]) -> Vec<String> {
        rewrite(args.iter().map(OsString::from)).into_iter().map(|a| a.into_string().unwrap()).collect()
    }

    #[test]
    fn vaults_flags_become_claps() {
        assert_eq!(
            words(&[
                "vault-cli",
                "kv",
                "put",
                "-mount=secret",
                "-cas",
                "0",
                "app",
                "k=-x",
                "-",
                "-h",
                "--field=k",
                "a=-"
            ]),
            [
                "vault-cli",
                "kv",
                "put",
                "--mount=secret",
                "--cas",
                "0",
                "app",
                "k=-x",
                "-",
                "-h",
                "--field=k",
                "a=-"
            ]
        );
        assert_eq!(
            words(&["-x", "-address", "-n=1", "-1", "--", "-data"]),
            ["-x", "--address", "-n=1", "-1", "--", "-data"]
        );
    }

    #[test]
    fn every_command_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_anywhere() {
        for line in [
            &["v", "-address", "https://a", "-format=json", "status"][..],
            &["v", "status", "-address=https://a", "--format", "json"],
            &["v", "kv", "get", "-mount", "secret", "-field=k", "app", "-tls-skip-verify", "-ns=x"],
            &["v", "kv", "get", "-tls-skip-verify=false", "secret/app"],
            &["v", "operator", "init", "-key-shares=5", "-key-threshold", "3"],
            &["v", "token", "create", "-policy=a", "-policy", "b", "-ttl=1h", "-orphan"],
            &["v", "secrets", "enable", "-path=kv", "-version=2", "kv"],
            &["v", "write", "-f", "sys/rotate"],
        ] {
            let parsed = Cli::try_parse_from(rewrite(line.iter().map(OsString::from)));
            assert!(parsed.is_ok(), "{line:?}: {}", parsed.err().unwrap());
        }
    }
}
