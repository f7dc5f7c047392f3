//! KV version 2: which endpoint serves which path.

use super::{data, metadata, record, settings, versions};
use async_trait::async_trait;
use std::collections::BTreeMap;
use vault_logical::{
    Charge, Context, Descriptor, Engine, EngineKind, Error, ErrorKind, Operation, PathHelp, Request,
    Response, Result,
};

static DESCRIPTOR: Descriptor = Descriptor {
    type_name: "kv",
    kind: EngineKind::Secret,
    description: "key-value secrets, version 2: versioned",
    unauthenticated: &[],
    sudo: &[],
    // Nothing: a secret's own fields may have any name.
    audit_clear: &[],
    paths: &[
        PathHelp { pattern: "config", summary: "Settings of the whole mount." },
        PathHelp {
            pattern: "data/:path",
            summary: "Write, patch, read and delete the current version; read any version.",
        },
        PathHelp {
            pattern: "metadata/:path",
            summary: "A key's versions and settings; list keys; remove a key for good.",
        },
        PathHelp { pattern: "delete/:path", summary: "Mark versions as deleted; they can be undeleted." },
        PathHelp { pattern: "undelete/:path", summary: "Restore deleted versions." },
        PathHelp { pattern: "destroy/:path", summary: "Remove the data of versions for good." },
        PathHelp { pattern: "subkeys/:path", summary: "The structure of a secret without its values." },
    ],
};

pub(super) struct KvV2;

/// What a path below the mount names.
enum Route<'a> {
    Config,
    Data(&'a str),
    /// The key, or the folder of a LIST.
    Metadata(&'a str),
    Delete(&'a str),
    Undelete(&'a str),
    Destroy(&'a str),
    Subkeys(&'a str),
    /// `data`, `metadata`, … without a key.
    Root,
    Unknown,
}

impl<'a> Route<'a> {
    fn of(request: &'a Request) -> Self {
        let path = request.path.as_str();
        if path == "config" {
            return Route::Config;
        }
        let (head, key) = path.split_once('/').unwrap_or((path, ""));
        let listing = request.operation == Operation::List;
        match head {
            "metadata" if listing => Route::Metadata(key),
            "data" | "metadata" | "delete" | "undelete" | "destroy" | "subkeys"
                if key.is_empty() && !listing =>
            {
                Route::Root
            }
            "data" => Route::Data(key),
            "metadata" => Route::Metadata(key),
            "delete" => Route::Delete(key),
            "undelete" => Route::Undelete(key),
            "destroy" => Route::Destroy(key),
            "subkeys" => Route::Subkeys(key),
            _ => Route::Unknown,
        }
    }

    fn key(&self) -> &'a str {
        match self {
            Route::Data(k)
            | Route::Metadata(k)
            | Route::Delete(k)
            | Route::Undelete(k)
            | Route::Destroy(k)
            | Route::Subkeys(k) => k,
            Route::Config | Route::Root | Route::Unknown => "",
        }
    }
}

/// 404 with the warning that tells a user of version 1 paths where to look.
fn misplaced(route: &Route<'_>, operation: Operation) -> Response {
    let text = match route {
        Route::Root => "Non-listing operations on the root of a K/V v2 mount are not supported.".to_string(),
        _ => {
            let command = match operation {
                Operation::Create | Operation::Update => "put",
                Operation::Patch => "patch",
                Operation::Read | Operation::Invoke => "get",
                Operation::List => "list",
                Operation::Delete => "delete",
            };
            format!(
                "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints \
                 to use. If using the Vault CLI, use 'vault kv {command}' for this operation."
            )
        }
    };
    Response { not_found: true, ..Response::empty() }.warn(text)
}

#[async_trait]
impl Engine for KvV2 {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn check_options(&self, options: &BTreeMap<String, String>) -> Result<()> {
        super::check_options(options, super::Version::Two)
    }

    fn only_looks_up(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Read | Operation::List)
    }

    fn is_plain_write(&self, request: &Request) -> bool {
        request.operation != Operation::Delete
            && matches!(Route::of(request), Route::Data(_) | Route::Undelete(_))
    }

    async fn exists(&self, cx: &mut Context<'_>, request: &Request) -> Result<Option<bool>> {
        match Route::of(request) {
            Route::Data(key) | Route::Metadata(key) => {
                Ok(Some(cx.view.get(&record::meta_path(key)).await?.is_some()))
            }
            _ => Ok(None),
        }
    }

    async fn handle(
        &self,
        cx: &mut Context<'_>,
        request: &Request,
        _charge: Option<&Charge>,
    ) -> Result<Response> {
        use Operation::{Create, Delete, List, Patch, Read, Update};
        let route = Route::of(request);
        let operation = request.operation;
        if matches!(operation, Create | Update | Patch) && route.key().ends_with('/') {
            return Err(Error::invalid("cannot write to a path ending in '/'"));
        }
        if operation == Patch && matches!(route, Route::Data(_) | Route::Metadata(_)) && !request.merge_patch
        {
            return Err(Error::new(
                ErrorKind::UnsupportedMediaType,
                "PATCH requires Content-Type of application/merge-patch+json",
            ));
        }
        match (&route, operation) {
            (Route::Config, Read) => settings::read(cx).await,
            (Route::Config, Create | Update) => settings::write(cx, request).await,
            (Route::Data(key), Read) => data::read(cx, request, key).await,
            (Route::Data(key), Create | Update) => data::write(cx, request, key).await,
            (Route::Data(key), Patch) => data::patch(cx, request, key).await,
            (Route::Data(key), Delete) => versions::delete_current(cx, key).await,
            (Route::Metadata(folder), List) => metadata::list(cx, request, folder).await,
            (Route::Metadata(key), Read) => metadata::read(cx, request, key).await,
            (Route::Metadata(key), Create | Update) => metadata::write(cx, request, key).await,
            (Route::Metadata(key), Patch) => metadata::patch(cx, request, key).await,
            (Route::Metadata(key), Delete) => metadata::delete(cx, key).await,
            (Route::Delete(key), Create | Update) => versions::delete(cx, request, key).await,
            (Route::Undelete(key), Create | Update) => versions::undelete(cx, request, key).await,
            (Route::Destroy(key), Create | Update) => versions::destroy(cx, request, key).await,
            (Route::Subkeys(key), Read) => data::subkeys(cx, request, key).await,
            (Route::Root | Route::Unknown, _) => Ok(misplaced(&route, operation)),
            _ => Err(Error::unsupported_operation()),
        }
    }
}
