//! How a command fails: what happened, what to do next, and the exit code.

use std::fmt;
use vault_client::{Error, Kind};

/// Exit code of success.
pub const OK: u8 = 0;
/// Exit code of errors on this side: flags, values, no terminal.
pub const LOCAL: u8 = 1;
/// Exit code of errors from the server or on the way to it (as in Vault: an unusable address too), and of a sealed vault.
pub const SERVER: u8 = 2;

/// What a command ends with: an exit code, or a failure to print.
pub type Outcome = Result<u8, Failure>;

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub message: String,
    /// What to do about it.
    pub advice: Option<String>,
    /// The server refused for lack of permission.
    pub denied: bool,
}

impl Failure {
    /// A failure that the server's answer amounts to.
    pub fn remote(message: impl Into<String>) -> Failure {
        Failure { code: SERVER, message: message.into(), advice: None, denied: false }
    }

    /// A failure on this side.
    pub fn local(message: impl Into<String>) -> Failure {
        Failure { code: LOCAL, message: message.into(), advice: None, denied: false }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Failure {
        self.advice = Some(advice.into());
        self
    }

    /// Nothing is stored at a path.
    pub fn nothing_at(path: &str) -> Failure {
        Failure::remote(format!("No value found at {path}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let denied = error.kind() == Kind::PermissionDenied;
        Failure { code: SERVER, advice: advice(&error), message: error.to_string(), denied }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::local(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error: {}", self.message)?;
        match &self.advice {
            Some(advice) => write!(f, "\n\n{advice}"),
            None => Ok(()),
        }
    }
}

fn advice(error: &Error) -> Option<String> {
    let text = match error.kind() {
        Kind::InvalidRequest if error.messages().iter().any(|m| m.contains("not yet initialized")) => {
            "Initialise the vault first: vault-cli operator init".to_owned()
        }
        Kind::Sealed => "The vault is sealed. Unseal it with: vault-cli operator unseal".to_owned(),
        Kind::Connect => connect_advice(error),
        Kind::PermissionDenied => {
            let path = match error {
                Error::Server { path, .. } => path,
                _ => "<path>",
            };
            format!(
                "Is the token still valid? See: vault-cli token lookup (permission denied: it is expired, revoked or unknown)\n\
                 What may it do there? See: vault-cli token capabilities {path}"
            )
        }
        Kind::PreconditionFailed => {
            "Somebody wrote it in the meantime, or it exists already. Read it, then write with -cas=<its version>."
                .to_owned()
        }
        Kind::Unsupported => "This server does not offer that.".to_owned(),
        Kind::RateLimited => "Too many requests: try again later.".to_owned(),
        Kind::Timeout => "A write may have happened all the same: look before you repeat it. \
             VAULT_CLIENT_TIMEOUT sets the bound."
            .to_owned(),
        Kind::Config if error.to_string().contains("no scheme") => {
            "Name the server's address with -address or VAULT_ADDR, such as https://vault.example:8200.".to_owned()
        }
        Kind::NotFound => "Is something mounted there? See: vault-cli secrets list".to_owned(),
        _ => return None,
    };
    Some(text)
}

fn connect_advice(error: &Error) -> String {
    let text = error.to_string();
    let address = match error {
        Error::Connect { address, .. } => address.as_str(),
        _ => "",
    };
    let is = |parts: &[&str]| parts.iter().any(|p| text.contains(p));
    if is(&["UnknownIssuer", "BadSignature"]) {
        return "The server's certificate is not signed by a CA that is known here. Name that CA with -ca-cert or \
                VAULT_CACERT."
            .to_owned();
    }
    if is(&["not valid for name", "NotValidForName"]) {
        return "The server's certificate is for another name. Use a name from it as the address, or say which one to \
                expect with -tls-server-name."
            .to_owned();
    }
    if is(&["expired", "Expired"]) {
        return "The server's certificate has expired: its operator must renew it (SIGHUP loads a new one)."
            .to_owned();
    }
    if is(&["certificate"]) {
        return "Name the CA that signed the server's certificate with -ca-cert or VAULT_CACERT.".to_owned();
    }
    if is(&["InvalidContentType", "corrupt message", "handshake eof"]) {
        return "What answers there does not speak TLS. Is it the right port? (http:// is for trials on this machine.)"
            .to_owned();
    }
    if is(&["ProtocolVersion", "HandshakeFailure"]) {
        return "Client and server have no TLS version in common: -allow-tls12 admits an old server."
            .to_owned();
    }
    if let Some(rest) = address.strip_prefix("http://")
        && is(&["connection closed", "reset", "incomplete", "invalid HTTP", "message head"])
    {
        return format!("The server may speak TLS there: try -address=https://{rest}");
    }
    if let Some(path) = address.strip_prefix("unix://") {
        return format!("Is the server running, and may this user open {path}?");
    }
    "Is the server running there? Name its address with -address or VAULT_ADDR.".to_owned()
}
