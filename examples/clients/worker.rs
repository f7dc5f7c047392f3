//! A service that lives for long: logs in with a JWT, keeps its token alive, logs in again when
//! it ends, and reads its secret from a cache that knows about leases.
//!
//! ```sh
//! worker /run/identity/jwt app secret/data/app
//! ```
//!
//! Arguments: the file with the JWT, the role of the `jwt` method, the path to read. Settings come
//! from VAULT_ADDR and VAULT_CACERT. Ends when the JWT is refused.

use std::io::Write;
use std::time::Duration;
use vault_client::{Builder, Cache, Client, SecretString, TokenState};

/// How often the worker needs its secret.
const WORK_INTERVAL: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [jwt_file, role, path] = args.as_slice() else {
        return Err("usage: worker JWT_FILE ROLE PATH".into());
    };
    let client = Builder::from_env()?.build()?;
    let cache = Cache::new(client.clone()).max_age(Duration::from_secs(30));
    loop {
        let jwt = SecretString::from(std::fs::read_to_string(jwt_file)?.trim().to_string());
        client.login_jwt("jwt", role, jwt).await?;
        cache.clear();
        work(&client, &cache, path).await?;
    }
}

/// Works until the token ends.
async fn work(client: &Client, cache: &Cache, path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut renewal = client.keep_token_alive();
    let mut tick = tokio::time::interval(WORK_INTERVAL);
    loop {
        tokio::select! {
            state = renewal.changed() => match state {
                None | Some(TokenState::Gone) => return Ok(()),
                Some(_) => {}
            },
            _ = tick.tick() => {
                let found = cache.get(path).await?.is_some();
                writeln!(std::io::stdout(), "worker: the secret is {}", if found { "there" } else { "absent" })?;
            }
        }
    }
}
