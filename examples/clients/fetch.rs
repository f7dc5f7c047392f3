//! Fetches one field of a KV v2 secret and hands it to a program, on standard input:
//!
//! ```sh
//! fetch secret app password | psql-login
//! ```
//!
//! Settings come from VAULT_ADDR, VAULT_CACERT and VAULT_TOKEN. The secret goes to standard
//! output and nowhere else.

use std::io::Write;
use std::process::ExitCode;
use vault_client::{Builder, ExposeSecret};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mount, key, field] = args.as_slice() else {
        complain("usage: fetch MOUNT KEY FIELD");
        return ExitCode::from(1);
    };
    match fetch(mount, key, field).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            complain("there is no such secret or field");
            ExitCode::from(2)
        }
        Err(e) => {
            complain(&e.to_string());
            ExitCode::from(2)
        }
    }
}

async fn fetch(mount: &str, key: &str, field: &str) -> Result<bool, Box<dyn std::error::Error>> {
    let client = Builder::from_env()?.build()?;
    let version = client.kv2(mount).get(key).await?;
    let Some(secret) = version.and_then(|v| v.data).and_then(|d| d.secret(field)) else { return Ok(false) };
    let mut out = std::io::stdout().lock();
    out.write_all(secret.expose_secret().as_bytes())?;
    out.flush()?;
    Ok(true)
}

fn complain(text: &str) {
    // A closed standard error is no reason to fail differently.
    let _ = writeln!(std::io::stderr(), "fetch: {text}");
}
