//! `login`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::{token_file, values};
use serde_json::{Value, json};
use vault_api::{Auth, Envelope, ExposeSecret, SecretString};
use vault_client::{Call, Client, Kind, SecretMap};

#[derive(clap::Args)]
pub struct Args {
    /// Login method: token or jwt
    #[arg(long, default_value = "token")]
    method: String,
    /// Where the method is mounted, when not at its own name
    #[arg(long)]
    path: Option<String>,
    /// Do not keep the token in ~/.vault-token
    #[arg(long)]
    no_store: bool,
    /// Do not print the token
    #[arg(long)]
    no_print: bool,
    /// Print only the token, and do not keep it
    #[arg(long)]
    token_only: bool,
    /// For token: the token, or - for standard input (asked for without echo when absent). For jwt: role=name jwt=@file
    data: Vec<String>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.anonymous()?;
        client.clear_token();
        let answer = match self.method.as_str() {
            "token" => self.token(cx, &client).await?,
            "jwt" | "oidc" => self.jwt(cx, &client).await?,
            other => {
                let message = format!("login method {other:?} is not built in");
                return Err(Failure::local(message)
                    .advise(format!("Write to it directly: vault-cli write auth/{other}/login …")));
            }
        };
        let token = answer
            .auth
            .as_ref()
            .map(|a| a.client_token.clone())
            .ok_or_else(|| Failure::local("the server gave no token"))?;
        if self.token_only {
            write!(cx.io.out, "{}", token.expose_secret())?;
            if cx.io.terminal {
                writeln!(cx.io.out)?;
            }
            return Ok(OK);
        }
        if self.no_store {
            cx.say("The token was not kept: set VAULT_TOKEN to use it.\n")?;
        } else {
            let home = cx.io.home()?;
            token_file::write(&home, &token)?;
            cx.say("Success! You are now authenticated. The next commands use this token.\n")?;
            if cx.io.var("VAULT_TOKEN").is_some() {
                cx.remark("WARNING! VAULT_TOKEN is set and wins over the token just kept. Unset it.")?;
            }
        }
        if !self.no_print {
            cx.answer(&answer)?;
        }
        Ok(OK)
    }

    /// Proves a token by looking it up, and shows it as a login's answer.
    async fn token(&self, cx: &mut Context<'_>, client: &Client) -> Result<Envelope<SecretMap>, Failure> {
        let given = match self.data.as_slice() {
            [] => None,
            [one] => Some(one.strip_prefix("token=").unwrap_or(one)),
            _ => return Err(Failure::local("one token at a time")),
        };
        let token = cx.io.secret(given, "Token (will be hidden): ")?;
        client.set_token(token.clone())?;
        let found = client.tokens().lookup_self().await.map_err(|e| match e.kind() {
            Kind::PermissionDenied => Failure::from(e)
                .advise("The server does not know this token: it is mistyped, expired or revoked."),
            _ => e.into(),
        })?;
        Ok(Envelope {
            request_id: String::new(),
            lease_id: String::new(),
            renewable: false,
            lease_duration: 0,
            data: None,
            wrap_info: None,
            warnings: Vec::new(),
            mount_type: String::new(),
            auth: Some(Auth {
                client_token: token,
                accessor: found.accessor,
                token_policies: found.policies.clone(),
                policies: found.policies,
                identity_policies: found.identity_policies,
                metadata: found.meta,
                lease_duration: found.ttl,
                renewable: found.renewable,
                entity_id: found.entity_id,
                token_type: found.token_type,
                orphan: found.orphan,
                num_uses: found.num_uses,
            }),
        })
    }

    async fn jwt(&self, cx: &mut Context<'_>, client: &Client) -> Result<Envelope<SecretMap>, Failure> {
        let mut data = values::parse(&self.data, &mut cx.io)?;
        if let Some(Value::String(s)) = data.get_mut("jwt") {
            // A file usually ends in a line break.
            let trimmed = s.trim().to_owned();
            *s = trimmed;
        } else {
            let jwt: SecretString = cx.io.secret(None, "JWT (will be hidden): ")?;
            data.insert("jwt".into(), json!(jwt.expose_secret()));
        }
        let data = SecretMap::from(data);
        let mount = self.path.as_deref().unwrap_or(&self.method).trim_matches('/');
        let path = format!("auth/{mount}/login");
        let answer = Call::write(client, &path).anonymous().json(data.expose()).send::<SecretMap>().await?;
        answer.ok_or_else(|| Failure::local("the server gave no token"))
    }
}
