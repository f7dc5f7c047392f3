//! `gateway enable|list|read|write|delete|test`

use super::auth::with_slash;
use crate::context::Context;
use crate::failure::{Failure, OK, Outcome, SERVER};
use crate::output::Row;
use crate::values;
use serde_json::{Map, Value, json};
use vault_api::sys::EnableMount;
use vault_client::{Error, Kind, SecretMap};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Mount the gateway
    Enable {
        /// For people
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        mount: Mount,
    },
    /// Names of all services
    List {
        #[command(flatten)]
        mount: Mount,
    },
    /// A service; -format=json prints what write takes
    Read {
        /// Name of the service
        name: String,
        #[command(flatten)]
        mount: Mount,
    },
    /// Create or replace a service; needs the right to read its credential
    Write {
        /// Name of the service: apps call /NAME/… at the gateway's address
        name: String,
        /// File with the service as JSON, or - for standard input
        file: String,
        #[command(flatten)]
        mount: Mount,
    },
    /// Make one call of a service step by step (exit code 0: it works, 2: a step failed)
    Test(Box<Test>),
    /// Delete a service
    Delete {
        /// Name of the service
        name: String,
        #[command(flatten)]
        mount: Mount,
    },
}

#[derive(clap::Args)]
pub struct Test {
    /// Name of the service
    name: String,
    /// GET, HEAD or OPTIONS: a test changes nothing upstream
    #[arg(long, default_value = "GET")]
    method: String,
    /// Path below the service, such as /v1/models; the first that "allow" grants when absent
    #[arg(long = "path", value_name = "PATH")]
    target: Option<String>,
    /// Header as an app would send it, as NAME:VALUE (more than once): is it forwarded?
    #[arg(long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
    #[command(flatten)]
    mount: Mount,
}

/// The engine's place.
#[derive(clap::Args)]
pub struct Mount {
    /// Path of the mount; vaultd forwards the calls of gateway/ only
    #[arg(long = "mount", value_name = "PATH", default_value = "gateway")]
    path: String,
}

impl Command {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        match self {
            Command::Enable { description, mount } => {
                let body =
                    EnableMount { mount_type: "gateway".into(), description, ..EnableMount::default() };
                cx.client()?.sys().enable_mount(&mount.path, &body).await?;
                cx.say(&format!("Success! Enabled the gateway at: {}", with_slash(&mount.path)))?;
            }
            Command::List { mount } => {
                let client = cx.client()?;
                let names = client.gateway(&mount.path).services().await.map_err(|e| mount.explain(e))?;
                if names.is_empty() {
                    return Err(Failure::nothing_at(&mount.services()));
                }
                cx.keys(&names)?;
            }
            Command::Read { name, mount } => read(cx, &name, &mount).await?,
            Command::Write { name, file, mount } => {
                let service = SecretMap::from(service(cx, &file)?);
                let client = cx.client()?;
                let path = format!("{}/{name}", mount.services());
                let answer = client.write(&path, service.expose()).await.map_err(|e| mount.explain(e))?;
                cx.warn(answer.as_ref().map_or(&[], |a| a.warnings.as_slice()))?;
                cx.say(&format!("Success! Uploaded service: {name}"))?;
            }
            Command::Test(test) => return test.run(cx).await,
            Command::Delete { name, mount } => {
                let client = cx.client()?;
                client.gateway(&mount.path).delete(&name).await.map_err(|e| mount.explain(e))?;
                cx.say(&format!("Success! Deleted service (if it existed): {name}"))?;
            }
        }
        Ok(OK)
    }
}

async fn read(cx: &mut Context<'_>, name: &str, mount: &Mount) -> Result<(), Failure> {
    let path = format!("{}/{name}", mount.services());
    let answer = cx.client()?.read(&path).await.map_err(|e| mount.explain(e))?;
    let Some(service) = answer.and_then(|a| a.data) else {
        let advice = "Which services are there? See: vault-cli gateway list";
        return Err(Failure::remote(format!("No service named: {name}")).advise(advice));
    };
    let service = service.expose();
    let exact = cx.flags.field.is_some();
    let cell = |(k, v): (&String, &Value)| (k.clone(), if exact { v.clone() } else { summary(k, v) });
    let rows: Vec<Row> = service.iter().map(cell).collect();
    cx.pairs(&rows, &json!(service))
}

/// Certificates fill a screen and break its columns; a bare number does not say that it is seconds.
fn summary(key: &str, value: &Value) -> Value {
    match (key, value) {
        ("ca_cert", Value::String(pem)) if pem.is_empty() => json!("n/a"),
        ("ca_cert", Value::String(pem)) => {
            let n = pem.matches("-----BEGIN CERTIFICATE-----").count();
            json!(format!("{n} certificate{}; see -field=ca_cert", if n == 1 { "" } else { "s" }))
        }
        ("timeout", Value::Number(n)) => json!(format!("{n}s")),
        _ => value.clone(),
    }
}

/// A service as JSON: a file (with or without `@`), or standard input.
fn service(cx: &mut Context<'_>, file: &str) -> Result<Map<String, Value>, Failure> {
    let source = if file == "-" || file.starts_with('@') { file.to_owned() } else { format!("@{file}") };
    values::parse(&[source], &mut cx.io)
}

impl Test {
    async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let mut headers = Map::new();
        for text in &self.headers {
            let Some((name, value)) = text.split_once(':') else {
                return Err(Failure::local(format!("not a header: {text}")).advise("Write it as NAME:VALUE."));
            };
            headers.insert(name.trim().to_ascii_lowercase(), json!(value.trim()));
        }
        let body = json!({
            "mount": self.mount.path, "method": self.method, "path": self.target, "headers": headers,
        });
        let path = format!("sys/gateway/test/{}", self.name);
        let answer = cx.client()?.write(&path, &body).await?;
        let Some(data) = answer.and_then(|a| a.data) else {
            return Err(Failure::remote("the server answered without the test's steps"));
        };
        let data = json!(data.expose());
        let text = |step: &Value, name: &str| step[name].as_str().unwrap_or_default().to_string();
        let rows: Vec<Vec<String>> = data["steps"]
            .as_array()
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(|s| vec![text(s, "step"), text(s, "outcome"), text(s, "detail")])
            .collect();
        cx.rows(&["Step", "Outcome", "Detail"], &rows, &data)?;
        Ok(if data["ok"] == json!(true) { OK } else { SERVER })
    }
}

impl Mount {
    fn services(&self) -> String {
        format!("{}/services", self.path.trim_matches('/'))
    }

    /// Says what to do about a gateway that is not mounted.
    fn explain(&self, error: Error) -> Failure {
        let absent = error.messages().iter().any(|m| m.contains("no handler for route"));
        if error.kind() == Kind::NotFound && !absent {
            let advice = "A service's name has letters, digits, '-', '_' and '.', and no '/'.";
            return Failure::from(error).advise(advice);
        }
        if error.kind() != Kind::NotFound {
            return error.into();
        }
        let mount = match self.path.trim_matches('/') {
            "gateway" => String::new(),
            other => format!(" -mount={other}"),
        };
        Failure::from(error).advise(format!("Mount the gateway with: vault-cli gateway enable{mount}"))
    }
}
