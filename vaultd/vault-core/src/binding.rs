//! What lies at the place that a service names for its key, for whoever binds it: a misspelt
//! path is refused when it is written, not at the first call.

use crate::limits::MAX_NAMED_FIELDS;
use crate::mounts::Mounted;
use crate::pipeline::NoReader;
use crate::policy::{Acl, Query};
use crate::unsealed::Unsealed;
use crate::view::MountView;
use async_trait::async_trait;
use secmem::SecretString;
use vault_logical::{
    Binding, Connection, Data, ErrorKind, Operation, Request, Response, Result, SecretReader, Transport,
};

/// Answers with the caller's own ACL, for the gateway's binding check.
pub(crate) struct CallerReader<'a> {
    pub core: &'a Unsealed,
    pub acl: &'a Acl,
}

impl CallerReader<'_> {
    fn may_read(&self, path: &str) -> bool {
        let query = Query { operation: Operation::Read, path, sudo: false, method: None };
        self.acl.check(&query).allowed
    }
}

#[async_trait]
impl SecretReader for CallerReader<'_> {
    async fn caller_may_read(&self, path: &str) -> Result<bool> {
        Ok(self.may_read(vault_logical::path::canonical(path)?))
    }

    async fn bound_text(&self, binding: &Binding) -> Result<Option<SecretString>> {
        if !self.caller_may_read(&binding.path).await? {
            return Ok(None);
        }
        self.core.bound_text(binding).await
    }

    async fn spelling(&self, path: &str) -> Result<Option<String>> {
        let Some((m, rest)) = self.core.mounts.route(path) else { return Ok(None) };
        if !is_v2(&m) || rest.starts_with("data/") {
            return Ok(None);
        }
        let right = format!("{}data/{}", m.mount.path, rest.strip_prefix("metadata/").unwrap_or(rest));
        Ok(self.may_read(&right).then_some(right))
    }

    async fn missing(&self, binding: &Binding) -> Result<Option<String>> {
        let path = &binding.path;
        let Some((m, rest)) = self.core.mounts.route(path) else {
            return Ok(Some(format!("no secrets engine is mounted for \"{path}\"")));
        };
        let response = match self.core.read_secret(&m, rest, binding.version).await {
            Ok((r, _)) if !r.not_found => r,
            Ok(_) => return Ok(Some(format!("the version at \"{path}\" is deleted"))),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Some(absent(&m, rest, path))),
            Err(e) if matches!(e.kind(), ErrorKind::UnsupportedPath | ErrorKind::UnsupportedOperation) => {
                return Ok(Some(format!("\"{path}\" is nothing that can be read as a secret")));
            }
            Err(e) => return Err(e),
        };
        let data = response.data.as_ref();
        let fields = if is_v2(&m) { data.and_then(|d| d.get("data")?.as_object()) } else { data };
        Ok(fields.map_or_else(|| Some(absent(&m, rest, path)), |d| no_field(d, binding)))
    }
}

fn is_v2(m: &Mounted) -> bool {
    m.mount.type_name == "kv" && m.mount.options.get("version").is_some_and(|v| v == "2")
}

fn absent(m: &Mounted, rest: &str, path: &str) -> String {
    match rest.strip_prefix("data/") {
        Some(bare) if m.mount.type_name == "kv" && !is_v2(m) => format!(
            "there is no secret at \"{path}\"; {0} is KV version 1, whose paths have no data/: did you mean \"{0}{bare}\"?",
            m.mount.path
        ),
        _ => format!("there is no secret at \"{path}\""),
    }
}

/// The caller may read the secret, so that its fields' names tell it nothing.
fn no_field(fields: &Data, binding: &Binding) -> Option<String> {
    let (path, field) = (&binding.path, &binding.field);
    match fields.get(field) {
        Some(serde_json::Value::String(s)) if !s.trim().is_empty() => None,
        Some(serde_json::Value::String(_)) => Some(format!("field \"{field}\" of \"{path}\" is empty")),
        Some(_) => Some(format!("field \"{field}\" of \"{path}\" is not a text")),
        None => {
            let names: Vec<&str> = fields.keys().take(MAX_NAMED_FIELDS).map(String::as_str).collect();
            Some(format!("the secret at \"{path}\" has no field \"{field}\", but: {}", names.join(", ")))
        }
    }
}

impl Unsealed {
    /// A secret as its engine answers it, in a snapshot of its own, and the records that it was
    /// made of. `rest` is below the mount.
    pub(crate) async fn read_secret(
        &self,
        m: &Mounted,
        rest: &str,
        version: Option<u64>,
    ) -> Result<(Response, Vec<String>)> {
        let mut data = Data::new();
        if let Some(v) = version {
            data.insert("version".into(), v.into());
        }
        let request = Request {
            id: uuid::Uuid::new_v4(),
            operation: Operation::Read,
            path: rest.to_string(),
            data,
            caller: None,
            connection: Connection { transport: Transport::Unix, remote: None },
            merge_patch: false,
        };
        let mut txn = self.store.begin();
        let mut view = MountView::new(&mut txn, m.space);
        let response = m.engine.handle(&mut self.context(&mut view, m, &NoReader), &request, None).await?;
        Ok((response, view.looked_at()))
    }
}
