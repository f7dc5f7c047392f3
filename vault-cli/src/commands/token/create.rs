//! `token create`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::values;
use clap::ArgAction;
use vault_api::auth::token::Create;
use vault_client::{Call, SecretMap};

#[derive(clap::Args)]
pub struct Args {
    /// A policy of the token; may be repeated. Without any: those of the caller
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// Time to live, such as 1h
    #[arg(long)]
    ttl: Option<String>,
    /// Renewable for ever, for so long at a time
    #[arg(long)]
    period: Option<String>,
    /// Longest life, whatever renewals
    #[arg(long)]
    explicit_max_ttl: Option<String>,
    /// For people
    #[arg(long)]
    display_name: Option<String>,
    /// Kept beside the token and in the audit log, key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// How often it may be used; 0 is without limit
    #[arg(long, default_value_t = 0)]
    use_limit: u64,
    /// Not revoked with the caller's token
    #[arg(long)]
    orphan: bool,
    /// Without the policy "default"
    #[arg(long)]
    no_default_policy: bool,
    /// Whether it can be renewed
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    renewable: Option<bool>,
    /// A role at auth/token/roles that says what the token is
    #[arg(long, value_name = "NAME", conflicts_with = "orphan")]
    role: Option<String>,
    /// service or batch
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let body = Create {
            id: None,
            policies: self.policies,
            meta: values::pairs(&self.metadata)?,
            no_parent: self.orphan,
            no_default_policy: self.no_default_policy,
            renewable: self.renewable,
            ttl: self.ttl,
            explicit_max_ttl: self.explicit_max_ttl,
            period: self.period,
            display_name: self.display_name,
            num_uses: self.use_limit,
            token_type: self.kind,
        };
        let client = cx.client()?;
        let path = match &self.role {
            Some(role) => format!("auth/token/create/{role}"),
            None if self.orphan => "auth/token/create-orphan".to_owned(),
            None => "auth/token/create".to_owned(),
        };
        let call = cx.wrap(Call::write(&client, &path).json(&body))?;
        match call.send::<SecretMap>().await? {
            Some(answer) => cx.answer(&answer)?,
            None => return Err(Failure::local("the server gave no token")),
        }
        Ok(OK)
    }
}
