//! `cubbyhole`: storage private to one token, gone with it.
//!
//! Records lie at `<cubbyhole id>/<path>`; the id is the token's, never its name or value, and the
//! core removes the folder when the token ends.

use crate::limits::CUBBYHOLE_LIST;
use crate::params;
use crate::secrets::kv::record::{self, Stored};
use async_trait::async_trait;
use vault_logical::{
    Charge, Context, Descriptor, Engine, EngineKind, Error, Factory, Operation, PathHelp, Request, Response,
    Result, ViewExt,
};

pub(crate) const FACTORY: Factory = Factory {
    type_name: "cubbyhole",
    kind: EngineKind::Secret,
    make: |_, _| Ok(std::sync::Arc::new(Cubbyhole)),
};

static DESCRIPTOR: Descriptor = Descriptor {
    type_name: "cubbyhole",
    kind: EngineKind::Secret,
    description: "per-token private secret storage",
    unauthenticated: &[],
    sudo: &[],
    audit_clear: &[],
    paths: &[PathHelp {
        pattern: ":path",
        summary: "Read, write, list and delete secrets that only this token sees.",
    }],
};

struct Cubbyhole;

/// The caller's own prefix, `<id>/`.
fn prefix(request: &Request) -> Result<String> {
    let id = request.caller.as_ref().and_then(|c| c.cubbyhole.as_deref()).unwrap_or_default();
    // An id with a slash, or none, could name another token's folder.
    if id.is_empty() || id.contains('/') { Err(Error::denied()) } else { Ok(format!("{id}/")) }
}

#[async_trait]
impl Engine for Cubbyhole {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn is_plain_write(&self, request: &Request) -> bool {
        request.operation != Operation::Delete
    }

    async fn exists(&self, cx: &mut Context<'_>, request: &Request) -> Result<Option<bool>> {
        let path = format!("{}{}", prefix(request)?, request.path);
        Ok(Some(cx.view.get(&path).await?.is_some()))
    }

    async fn handle(
        &self,
        cx: &mut Context<'_>,
        request: &Request,
        _charge: Option<&Charge>,
    ) -> Result<Response> {
        let prefix = prefix(request)?;
        let path = format!("{prefix}{}", request.path);
        match request.operation {
            Operation::Read => match cx.view.get_json::<Stored>(&path).await? {
                None => Err(Error::not_found()),
                Some(s) => Ok(Response::data(s.into_data()?)),
            },
            Operation::Create | Operation::Update => {
                if request.path.is_empty() || request.path.ends_with('/') {
                    return Err(Error::invalid("missing path"));
                }
                if request.data.is_empty() {
                    return Err(Error::invalid("missing data fields"));
                }
                let raw = record::encode(&request.data)?;
                cx.view.put_json(&path, &Stored::new(raw)).await?;
                Ok(Response::empty())
            }
            Operation::Delete => {
                cx.view.delete(&path).await?;
                Ok(Response::empty())
            }
            Operation::List => {
                let (after, limit) = params::page(&request.data)?;
                let dir = params::folder(&prefix, &request.path);
                let keys = cx.view.list(&dir, after.as_deref(), limit.min(CUBBYHOLE_LIST)).await?;
                Ok(params::check(Response::keys(keys), &request.data, params::LIST_FIELDS, &[]))
            }
            Operation::Patch | Operation::Invoke => Err(Error::unsupported_operation()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, caller, data, run};
    use serde_json::json;
    use vault_logical::ErrorKind;

    #[test]
    fn each_token_sees_only_its_own() {
        run(async {
            let b = Bench::mount("cubbyhole", &[]);
            b.write("a/k", json!({"v": 1})).await.unwrap();
            assert_eq!(data(&b.read("a/k").await.unwrap()), json!({"v": 1}));
            assert_eq!(b.list("", json!({})).await.unwrap(), ["a/"]);

            *b.caller.lock() = caller(Some("other"));
            assert_eq!(b.read("a/k").await.unwrap_err().kind(), ErrorKind::NotFound);
            assert!(b.list("", json!({})).await.unwrap().is_empty());
            b.delete("a/k").await.unwrap();

            for id in [None, Some(""), Some("hole/a")] {
                *b.caller.lock() = caller(id);
                assert_eq!(b.read("a/k").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
                assert_eq!(
                    b.write("k", json!({"v": 1})).await.unwrap_err().kind(),
                    ErrorKind::PermissionDenied
                );
                assert_eq!(b.list("", json!({})).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
            }
            *b.caller.lock() = caller(Some("hole"));
            assert_eq!(data(&b.read("a/k").await.unwrap()), json!({"v": 1}));
        });
    }
}
