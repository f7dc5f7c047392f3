//! `gateway`: which services apps may call with a key they cannot read.
//!
//! This is the control plane: it keeps [`ServiceConfig`] records at `service/<name>`. The data
//! plane (`proxy/`) is not an API of this engine.
//!
//! Binding is reading: whoever may point a service at an upstream of theirs could read its key
//! there, so every create and every change needs `read` on the credential's path with the token of
//! the same request, whatever else that token may do.

mod rules;
mod service;
mod upstream;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use crate::limits::SERVICE_MAX_NAME_BYTES;
use crate::params;
use async_trait::async_trait;
use secmem::ExposeSecret;
use vault_logical::{
    Charge, Context, Descriptor, Engine, EngineKind, Error, ErrorKind, Factory, Operation, PathHelp, Request,
    Response, Result, ServiceConfig, ViewExt, field, provider_key,
};

pub(crate) const FACTORY: Factory =
    Factory { type_name: "gateway", kind: EngineKind::Secret, make: |_, _| Ok(std::sync::Arc::new(Gateway)) };

static DESCRIPTOR: Descriptor = Descriptor {
    type_name: "gateway",
    kind: EngineKind::Secret,
    description: "services that apps call without holding their keys",
    unauthenticated: &[],
    sudo: &[],
    // Nothing of a service is secret; what an administrator changed belongs in the record.
    audit_clear: &["upstream", "allow_private", "caller_header", "caller_headers", "timeout"],
    paths: &[
        PathHelp { pattern: "services/", summary: "List services." },
        PathHelp {
            pattern: "services/:name",
            summary: "Define, read and delete a service; defining one needs read on its credential.",
        },
    ],
};

struct Gateway;

enum Route<'a> {
    Services,
    Service(&'a str),
}

fn route(path: &str) -> Result<Route<'_>> {
    match path.split_once('/') {
        None if path == "services" => Ok(Route::Services),
        Some(("services", "")) => Ok(Route::Services),
        Some(("services", name)) if params::is_name(name, b"") && name.len() <= SERVICE_MAX_NAME_BYTES => {
            Ok(Route::Service(name))
        }
        _ => Err(Error::unsupported_path()),
    }
}

fn record_path(name: &str) -> String {
    format!("service/{name}")
}

async fn write(cx: &mut Context<'_>, request: &Request, name: &str) -> Result<Response> {
    let service = service::parse(&request.data, &cx.mount.path)?;
    let force = field::boolean(&request.data, service::FORCE)?.unwrap_or(false);
    let unusable = |why: String| {
        Error::invalid(format!(
            "\"credential\" cannot be used: {why} (to write it all the same, set \"force\": true)"
        ))
    };
    if !force && let Some(right) = cx.secrets.spelling(&service.credential.path).await? {
        let path = &service.credential.path;
        return Err(unusable(format!("no secret has the path \"{path}\": did you mean \"{right}\"?")));
    }
    if !cx.secrets.caller_may_read(&service.credential.path).await? {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            "permission denied: needs read on the credential's path",
        ));
    }
    if !force && let Some(why) = cx.secrets.missing(&service.credential).await? {
        return Err(unusable(why));
    }
    let mut response = Response::empty();
    match cx.secrets.bound_text(&service.credential).await? {
        Some(key) => fit(key.expose_secret(), &service.inject_template)?,
        // Judged when it is used.
        None => {
            response = response.warn(
                "there is no text at \"credential\" now: until there is, every call of this service fails",
            )
        }
    }
    cx.view.put_json(&record_path(name), &service).await?;
    if service.allow.is_empty() {
        response = response.warn("no rule in \"allow\": every call of this service is refused");
    }
    if service.auth.is_empty() {
        response = response.warn("no method in \"auth\": every caller of this service is refused");
    }
    Ok(params::check(response, &request.data, service::FIELDS, &["name"]))
}

/// A key that could not be masked in answers is not bound.
fn fit(stored: &str, template: &str) -> Result<()> {
    let judged = provider_key::secrets(provider_key::trimmed(stored).as_bytes(), template);
    judged.map(drop).map_err(|why| Error::invalid(format!("the key at \"credential\" cannot be used: {why}")))
}

async fn read(cx: &mut Context<'_>, request: &Request, name: &str) -> Result<Response> {
    let service: ServiceConfig = cx.view.get_json(&record_path(name)).await?.ok_or_else(Error::not_found)?;
    if service.v != service::FORM {
        return Err(Error::internal("stored service is of a newer form"));
    }
    Ok(params::check(Response::data(service::describe(&service)), &request.data, &[], &["name"]))
}

#[async_trait]
impl Engine for Gateway {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    async fn exists(&self, cx: &mut Context<'_>, request: &Request) -> Result<Option<bool>> {
        match route(&request.path) {
            Ok(Route::Service(name)) => Ok(Some(cx.view.get(&record_path(name)).await?.is_some())),
            _ => Ok(None),
        }
    }

    async fn handle(
        &self,
        cx: &mut Context<'_>,
        request: &Request,
        _charge: Option<&Charge>,
    ) -> Result<Response> {
        use Operation::{Create, Delete, List, Read, Update};
        match (route(&request.path)?, request.operation) {
            (Route::Services, List) => {
                let (after, limit) = params::page(&request.data)?;
                let keys = cx.view.list("service/", after.as_deref(), limit).await?;
                Ok(params::check(Response::keys(keys), &request.data, params::LIST_FIELDS, &[]))
            }
            (Route::Service(name), Read) => read(cx, request, name).await,
            (Route::Service(name), Create | Update) => write(cx, request, name).await,
            (Route::Service(name), Delete) => {
                cx.view.delete(&record_path(name)).await?;
                Ok(Response::empty())
            }
            _ => Err(Error::unsupported_operation()),
        }
    }
}
