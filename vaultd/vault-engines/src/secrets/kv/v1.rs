//! KV version 1: one value a path.
//!
//! Records lie at `data/<path>`.

use super::record::{self, Stored};
use crate::params;
use async_trait::async_trait;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use vault_logical::{
    Charge, Context, Data, Descriptor, Engine, EngineKind, Error, Operation, PathHelp, Request, Response,
    Result, ViewExt, field,
};

static DESCRIPTOR: Descriptor = Descriptor {
    type_name: "kv",
    kind: EngineKind::Secret,
    description: "key-value secrets, version 1",
    unauthenticated: &[],
    sudo: &[],
    audit_clear: &[],
    paths: &[PathHelp { pattern: ":path", summary: "Read, write, list and delete secrets." }],
};

pub(super) struct KvV1;

fn stored_at(path: &str) -> String {
    format!("data/{path}")
}

/// The writer's hint of when to read again: field `ttl` or `lease`, else the mount's default.
fn lease(data: &Data, default: Duration) -> Duration {
    let stated = data.get("ttl").or_else(|| data.get("lease"));
    match stated {
        Some(Value::String(s)) => field::parse_duration(s).unwrap_or(default),
        Some(Value::Number(n)) => field::parse_duration(&n.to_string()).unwrap_or(default),
        _ => default,
    }
}

#[async_trait]
impl Engine for KvV1 {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn check_options(&self, options: &BTreeMap<String, String>) -> Result<()> {
        super::check_options(options, super::Version::One)
    }

    fn only_looks_up(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Read | Operation::List)
    }

    fn is_plain_write(&self, request: &Request) -> bool {
        request.operation != Operation::Delete
    }

    async fn exists(&self, cx: &mut Context<'_>, request: &Request) -> Result<Option<bool>> {
        Ok(Some(cx.view.get(&stored_at(&request.path)).await?.is_some()))
    }

    async fn handle(
        &self,
        cx: &mut Context<'_>,
        request: &Request,
        _charge: Option<&Charge>,
    ) -> Result<Response> {
        match request.operation {
            Operation::Read => match cx.view.get_json::<Stored>(&stored_at(&request.path)).await? {
                None => Err(Error::not_found()),
                Some(s) => {
                    let data = s.into_data()?;
                    let lease_duration = lease(&data, cx.mount.default_ttl);
                    Ok(Response { lease_duration, ..Response::data(data) })
                }
            },
            Operation::Create | Operation::Update => {
                if request.path.is_empty() {
                    return Err(Error::invalid("missing path"));
                }
                if request.path.ends_with('/') {
                    return Err(Error::invalid("cannot write to a path ending in '/'"));
                }
                if request.data.is_empty() {
                    return Err(Error::invalid("missing data fields"));
                }
                let raw = record::encode(&request.data)?;
                cx.view.put_json(&stored_at(&request.path), &Stored::new(raw)).await?;
                Ok(Response::empty())
            }
            Operation::Delete => {
                cx.view.delete(&stored_at(&request.path)).await?;
                Ok(Response::empty())
            }
            Operation::List => {
                let (after, limit) = params::page(&request.data)?;
                let keys =
                    cx.view.list(&params::folder("data/", &request.path), after.as_deref(), limit).await?;
                Ok(params::check(Response::keys(keys), &request.data, params::LIST_FIELDS, &[]))
            }
            Operation::Patch | Operation::Invoke => Err(Error::unsupported_operation()),
        }
    }
}
