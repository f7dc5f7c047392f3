//! `sys/gateway/test/:service`: one call of a service, step by step, for its operator.
//!
//! The call is made with the service's key, so that nobody may make it who could not have it made
//! otherwise: besides `update` on this path it takes `invoke` on the path that is called, or
//! `read` on the credential.

use super::{After, Call, Done};
use crate::dispatch;
use crate::limits::{MAX_PROBE_HEADERS, PROBE_METHODS};
use crate::policy::Query;
use crate::unsealed::Unsealed;
use serde_json::{Value, json};
use std::sync::Arc;
use vault_logical::{
    Data, Error, ErrorKind, Operation, ProbeCall, ProbeOutcome, ProbeStep, Response, Result, ServiceConfig,
    field,
};

/// A test that may be made, once its request's transaction is over.
pub struct ServiceTest {
    name: String,
    service: Arc<ServiceConfig>,
    method: String,
    target: Option<String>,
    headers: Vec<(String, String)>,
}

pub async fn handle(core: &Unsealed, call: &Call<'_>, name: &str) -> Result<Done> {
    let data = call.data();
    let mount = field::string(data, "mount")?.unwrap_or_else(|| "gateway".into());
    let mount = format!("{}/", mount.trim_matches('/'));
    let service = dispatch::configured(core, &mount, name).await?;
    let service =
        service.ok_or_else(|| Error::new(ErrorKind::UnsupportedPath, "there is no such service"))?;
    let method = field::string(data, "method")?.unwrap_or_else(|| "GET".into()).to_ascii_uppercase();
    if !PROBE_METHODS.contains(&method.as_str()) {
        return Err(Error::invalid(format!(
            "field \"method\" must be one of {}: a test changes nothing upstream",
            PROBE_METHODS.join(", ")
        )));
    }
    let given = field::string(data, "path")?.filter(|p| !p.is_empty());
    let target = given.or_else(|| first_path(&service, &method));
    let called = format!("{mount}proxy/{name}{}", target.as_deref().unwrap_or("/"));
    let may = |operation, path: &str| {
        call.acl.check(&Query { operation, path, sudo: false, method: Some(&method) }).allowed
    };
    if !may(Operation::Read, &service.credential.path) && !may(Operation::Invoke, &called) {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            "permission denied: a test needs invoke on the path that it calls, or read on the service's credential",
        ));
    }
    let headers = headers(data)?;
    let test = ServiceTest { name: name.into(), service, method, target, headers };
    Ok(Done { after: After::TestService(Box::new(test)), ..Done::default() })
}

/// The first path that the allow-list grants in full.
fn first_path(service: &ServiceConfig, method: &str) -> Option<String> {
    let granted = |m: &Vec<String>| m.is_empty() || m.iter().any(|x| x == method);
    let paths = service.allow.iter().filter(|r| granted(&r.methods));
    paths.map(|r| r.path.trim_end_matches('*')).find(|p| !p.split('/').any(|s| s == "+")).map(str::to_string)
}

/// `headers`: an object of names and values, as an app would send them.
fn headers(data: &Data) -> Result<Vec<(String, String)>> {
    let bad = || Error::invalid("field \"headers\" must be an object of names and texts");
    match data.get("headers") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(m)) if m.len() <= MAX_PROBE_HEADERS => {
            m.iter().map(|(k, v)| Ok((k.clone(), v.as_str().ok_or_else(bad)?.to_string()))).collect()
        }
        Some(Value::Object(_)) => {
            Err(Error::invalid(format!("field \"headers\" has more than {MAX_PROBE_HEADERS} names")))
        }
        Some(_) => Err(bad()),
    }
}

impl Unsealed {
    /// Makes the test: no transaction is open, and the request is on record.
    pub(crate) async fn test_service(&self, test: &ServiceTest) -> Response {
        let service = &test.service;
        let mut steps = vec![config_step(service)];
        let credential = match self.credential(&service.credential).await {
            Ok(c) => c,
            Err(e) => {
                steps.push(step("credential", ProbeOutcome::Failed, e.message()));
                return answer(&test.name, steps);
            }
        };
        let version = match credential.version {
            0 => String::new(),
            n => format!(", version {n}"),
        };
        let found = format!("\"{}\" of {}{version}", service.credential.field, service.credential.path);
        steps.push(step("credential", ProbeOutcome::Ok, found));
        if let Some(target) = &test.target
            && !dispatch::allowed(&service.allow, &test.method, target)
        {
            let text = format!("no rule in \"allow\" grants {} {target}: apps get 403", test.method);
            steps.push(step("allow", ProbeOutcome::Failed, text));
            return answer(&test.name, steps);
        }
        let call = ProbeCall {
            service: service.clone(),
            credential: credential.key,
            method: test.method.clone(),
            target: test.target.clone(),
            headers: test.headers.clone(),
        };
        match self.hooks.probe(call).await {
            Some(more) => steps.extend(more),
            None => steps.push(step("gateway", ProbeOutcome::Failed, "this server has no gateway")),
        }
        answer(&test.name, steps)
    }
}

fn step(step: &'static str, outcome: ProbeOutcome, detail: impl Into<String>) -> ProbeStep {
    ProbeStep { step, outcome, detail: detail.into() }
}

fn config_step(service: &ServiceConfig) -> ProbeStep {
    let text = format!("{}, {} rules in \"allow\"", service.upstream, service.allow.len());
    match (service.allow.is_empty(), service.auth.is_empty()) {
        (true, _) => step("config", ProbeOutcome::Warning, format!("{text}: every call is refused")),
        (_, true) => step(
            "config",
            ProbeOutcome::Warning,
            format!("{text}, none in \"auth\": every caller is refused"),
        ),
        _ => step("config", ProbeOutcome::Ok, text),
    }
}

fn answer(name: &str, steps: Vec<ProbeStep>) -> Response {
    let ok = !steps.iter().any(|s| s.outcome == ProbeOutcome::Failed);
    let steps: Vec<Value> = steps
        .into_iter()
        .map(|s| json!({"step": s.step, "outcome": s.outcome.as_str(), "detail": s.detail}))
        .collect();
    Response::data(super::object(json!({"service": name, "ok": ok, "steps": steps})))
}
