//! Several writers of one secret without losing an update: check-and-set, and again on conflict.
//!
//! ```sh
//! counter secret counters/visits
//! ```
//!
//! Adds one to the field `n` of a KV v2 secret and prints the new value.

use serde_json::json;
use std::io::Write;
use vault_client::{Builder, Client, ExposeSecret, Kind};

/// Tries before it gives up.
const ATTEMPTS: usize = 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mount, key] = args.as_slice() else { return Err("usage: counter MOUNT KEY".into()) };
    let client = Builder::from_env()?.build()?;
    let n = add_one(&client, mount, key).await?;
    writeln!(std::io::stdout(), "{n}")?;
    Ok(())
}

async fn add_one(client: &Client, mount: &str, key: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let kv = client.kv2(mount);
    for _ in 0..ATTEMPTS {
        let now = kv.get(key).await?;
        let version = now.as_ref().map_or(0, |v| v.metadata.version);
        let n = now
            .and_then(|v| v.data)
            .and_then(|d| d.secret("n"))
            .and_then(|s| s.expose_secret().parse::<u64>().ok())
            .unwrap_or(0);
        // Written only if nobody else wrote since the read: version 0 means "does not exist yet".
        match kv.put(key, &json!({ "n": (n + 1).to_string() }), Some(version)).await {
            Ok(_) => return Ok(n + 1),
            Err(e) if e.kind() == Kind::PreconditionFailed => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err("too many others write this secret".into())
}
