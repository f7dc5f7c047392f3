//! `totp`: time-based one-time passwords (RFC 6238), as generator and as verifier.
//!
//! <https://developer.hashicorp.com/vault/api-docs/secret/totp>
//!
//! Records: `key/<name>` holds the shared secret and is written by its owner; `used/<name>` holds
//! the last accepted step and the wrong codes, and is written only by the charge of a validation;
//! `floor` holds when the store was last set back: codes of that time and before are used up.

mod code;
mod keys;
mod otpauth;
mod png;
mod qr;

#[cfg(test)]
mod tests;

use crate::params;
use async_trait::async_trait;
use vault_logical::{
    Charge, Context, Descriptor, Engine, EngineKind, Error, Factory, Operation, PathHelp, Request, Response,
    Result,
};

pub(crate) const FACTORY: Factory =
    Factory { type_name: "totp", kind: EngineKind::Secret, make: |_, _| Ok(std::sync::Arc::new(Totp)) };

static DESCRIPTOR: Descriptor = Descriptor {
    type_name: "totp",
    kind: EngineKind::Secret,
    description: "time-based one-time passwords",
    unauthenticated: &[],
    sudo: &[],
    audit_clear: &[],
    paths: &[
        PathHelp { pattern: "keys/", summary: "List keys." },
        PathHelp {
            pattern: "keys/:name",
            summary: "Generate or import, read and delete a key; its secret is never read back.",
        },
        PathHelp {
            pattern: "code/:name",
            summary: "Read the current code (GET) or validate a code, once (POST).",
        },
    ],
};

struct Totp;

enum Route<'a> {
    Keys,
    Key(&'a str),
    Code(&'a str),
}

fn route(path: &str) -> Result<Route<'_>> {
    let name = |n| if params::is_name(n, b"@") { Ok(n) } else { Err(Error::unsupported_path()) };
    match path.split_once('/') {
        Some(("keys", "")) => Ok(Route::Keys),
        Some(("keys", n)) => name(n).map(Route::Key),
        Some(("code", n)) => name(n).map(Route::Code),
        None if path == "keys" => Ok(Route::Keys),
        _ => Err(Error::unsupported_path()),
    }
}

fn validates(request: &Request) -> Option<&str> {
    match (route(&request.path), request.operation) {
        (Ok(Route::Code(name)), Operation::Create | Operation::Update) => Some(name),
        _ => None,
    }
}

#[async_trait]
impl Engine for Totp {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    /// Validations of one key run one at a time, whoever asks.
    fn charge_key(&self, request: &Request) -> Option<String> {
        validates(request).map(str::to_string)
    }

    async fn rolled_back(&self, cx: &mut Context<'_>) -> Result<()> {
        code::use_up_all(cx).await
    }

    async fn charge(&self, cx: &mut Context<'_>, request: &Request) -> Result<Charge> {
        let name = validates(request).ok_or_else(Error::unsupported_path)?;
        let valid = code::validate(cx, request, name).await?;
        Ok(Charge(Box::new(valid)))
    }

    async fn handle(
        &self,
        cx: &mut Context<'_>,
        request: &Request,
        charge: Option<&Charge>,
    ) -> Result<Response> {
        use Operation::{Create, Delete, List, Read, Update};
        match (route(&request.path)?, request.operation) {
            (Route::Keys, List) => {
                let (after, limit) = params::page(&request.data)?;
                let keys = cx.view.list("key/", after.as_deref(), limit).await?;
                Ok(params::check(Response::keys(keys), &request.data, params::LIST_FIELDS, &[]))
            }
            (Route::Key(name), Create | Update) => keys::write(cx, request, name).await,
            (Route::Key(name), Read) => keys::read(cx, request, name).await,
            (Route::Key(name), Delete) => keys::delete(cx, name).await,
            (Route::Code(name), Read) => code::generate(cx, request, name).await,
            (Route::Code(_), Create | Update) => code::answer(request, charge),
            _ => Err(Error::unsupported_operation()),
        }
    }
}
