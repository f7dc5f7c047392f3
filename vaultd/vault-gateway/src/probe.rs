//! One call of a service made by its operator, step by step: what each came to, and what to do
//! about the one that failed. No body of the answer is shown, and none of its headers' values.

use crate::body::BoxError;
use crate::error::Code;
use crate::head;
use crate::limits::{CONNECT_DEADLINE, PROBE_DEADLINE};
use crate::path;
use crate::redact::Patterns;
use crate::report::told;
use crate::serve::Gateway;
use crate::upstream::{ConnectError, Connector, Place, UpstreamStream};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::Arc;
use tokio::time::{Instant, timeout};
use vault_logical::{ProbeCall, ProbeOutcome, ProbeStep, ServiceConfig, chain};

/// The steps so far, and what none of them may tell once it is known.
#[derive(Default)]
struct Steps {
    list: Vec<ProbeStep>,
    patterns: Option<Arc<Patterns>>,
}

/// A step failed, and is on the list: nothing follows.
struct Stopped;

impl Steps {
    fn add(&mut self, step: &'static str, outcome: ProbeOutcome, detail: impl Into<String>) {
        let detail = told(&detail.into(), self.patterns.as_deref());
        self.list.push(ProbeStep { step, outcome, detail });
    }
    fn ok(&mut self, step: &'static str, detail: impl Into<String>) {
        self.add(step, ProbeOutcome::Ok, detail);
    }
    fn fail(&mut self, step: &'static str, detail: impl Into<String>) -> Stopped {
        self.add(step, ProbeOutcome::Failed, detail);
        Stopped
    }
    fn connecting(&mut self, e: &ConnectError) -> Stopped {
        let text = match advice(e) {
            None => chain(e),
            Some(advice) => format!("{}; {advice}", chain(e)),
        };
        self.fail(e.phase(), text)
    }
}

/// What an operator does about a connection that failed.
fn advice(e: &ConnectError) -> Option<&'static str> {
    match e {
        ConnectError::Refused(..) => Some("set \"allow_private\" if this upstream is meant to be inside"),
        ConnectError::Resolve(..) | ConnectError::NoAddress(_) => {
            Some("check the name in \"upstream\" and the resolver of the vault's machine")
        }
        ConnectError::Tcp(..) => Some("check the port in \"upstream\" and the firewall"),
        ConnectError::Tls(io) => tls_advice(io),
        ConnectError::NoHost | ConnectError::NoPlace | ConnectError::Timeout(_) => None,
    }
}

fn tls_advice(e: &std::io::Error) -> Option<&'static str> {
    use rustls::CertificateError as C;
    let e = e.get_ref()?.downcast_ref::<rustls::Error>()?;
    match e {
        rustls::Error::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => Some(
            "put the CA that signed the upstream's certificate, or that very certificate, into \"ca_cert\"",
        ),
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            Some("the upstream must renew its certificate")
        }
        rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            Some("write a name that the upstream's certificate has into \"upstream\"")
        }
        _ => None,
    }
}

impl Gateway {
    /// Makes one call of a service and tells what became of each step. Takes
    /// [`CONNECT_DEADLINE`] and [`PROBE_DEADLINE`] at most, and ends when the vault seals.
    pub async fn probe(&self, call: ProbeCall) -> Vec<ProbeStep> {
        let mut steps = Steps::default();
        let sealing = self.closing(Box::pin(std::future::pending()));
        let sealed = tokio::select! {
            _ = sealing => true,
            _ = self.walk(&call, &mut steps) => false,
        };
        if sealed {
            steps.fail("request", "the vault was sealed");
        }
        steps.list
    }

    async fn walk(&self, call: &ProbeCall, steps: &mut Steps) -> Result<(), Stopped> {
        let service = &call.service;
        let (headers, patterns) = prepare(call, steps)?;
        let connector = match self.upstreams().connector(service) {
            Ok(c) => c,
            Err(e) => return Err(steps.fail("ca_cert", chain(&e))),
        };
        let (place, stream) = connect(&connector, service, steps).await?;
        let Some(target) = &call.target else {
            steps.add(
                "request",
                ProbeOutcome::Skipped,
                "no rule in \"allow\" grants a GET of a path without '+': name one that it grants",
            );
            return Ok(());
        };
        let target = match path::parse(&format!("/x{target}"), None) {
            Ok(t) if t.path == *target => t.path,
            Ok(t) => {
                return Err(
                    steps.fail("request", format!("write the path in its canonical form: {}", t.path))
                );
            }
            Err(_) => return Err(steps.fail("request", "the path is not in canonical form")),
        };
        let request = Outgoing { method: &call.method, target: &target, place: &place, headers };
        let limit = service.timeout.min(PROBE_DEADLINE);
        let began = Instant::now();
        let answer = match timeout(limit, exchange(stream, request)).await {
            Err(_) => return Err(steps.fail("request", format!("no answer within {limit:?}"))),
            Ok(Err(e)) => return Err(steps.fail("request", chain(&*e))),
            Ok(Ok(answer)) => answer,
        };
        steps.ok(
            "request",
            format!(
                "{} {target} answered over {} after {} ms",
                call.method,
                version(answer.version()),
                began.elapsed().as_millis()
            ),
        );
        judge(steps, answer.status(), service);
        returned(steps, answer.headers(), &patterns);
        Ok(())
    }
}

/// The head that goes upstream, with the key in it.
fn prepare(call: &ProbeCall, steps: &mut Steps) -> Result<(HeaderMap, Arc<Patterns>), Stopped> {
    let service = &call.service;
    let mut given = HeaderMap::new();
    for (name, value) in &call.headers {
        let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
        else {
            return Err(steps.fail("headers", "a given header is not one"));
        };
        given.append(name, value);
    }
    let mut headers = head::forwarded(&given, service);
    let made = call.credential.with(|key| {
        let patterns = Patterns::new(key, &service.inject_template).map_err(|why| why.to_string())?;
        let injected = head::inject(&mut headers, service, key);
        injected.map_err(|_| "it has characters that no header can carry".to_string())?;
        Ok::<_, String>(patterns)
    });
    let patterns = match made {
        Ok(Ok(p)) => p,
        Ok(Err(why)) => return Err(steps.fail("masking", format!("the key cannot be used: {why}"))),
        Err(_) => return Err(steps.fail("masking", "the vault was sealed")),
    };
    steps.patterns = Some(patterns.clone());
    steps.ok("masking", format!("goes into \"{}\" and is masked in answers", service.inject_header));
    request_headers(steps, &given, service);
    Ok((headers, patterns))
}

/// Which of the given headers go upstream.
fn request_headers(steps: &mut Steps, given: &HeaderMap, service: &ServiceConfig) {
    let (pass, drop): (Vec<&str>, Vec<&str>) =
        given.keys().map(HeaderName::as_str).partition(|n| head::passes(n, service));
    match (pass.is_empty(), drop.is_empty()) {
        (true, true) => {}
        (_, true) => steps.ok("headers", format!("forwarded: {}", pass.join(", "))),
        (_, false) => {
            let forwarded = if pass.is_empty() { "none".into() } else { pass.join(", ") };
            let text = format!(
                "forwarded: {forwarded}; dropped: {} (list what the upstream needs in \"request_headers\")",
                drop.join(", ")
            );
            steps.add("headers", ProbeOutcome::Warning, text);
        }
    }
}

async fn connect(
    connector: &Connector,
    service: &ServiceConfig,
    steps: &mut Steps,
) -> Result<(Place, UpstreamStream), Stopped> {
    let uri: Uri = match service.upstream.parse() {
        Ok(uri) => uri,
        Err(_) => return Err(steps.fail("resolve", "\"upstream\" is not a URL")),
    };
    let place = Place::of(&uri).map_err(|e| steps.connecting(&e))?;
    let until = Instant::now() + CONNECT_DEADLINE;
    let found = connector.resolve(&place, until).await.map_err(|e| steps.connecting(&e))?;
    let list: Vec<String> = found.iter().map(|a| a.ip().to_string()).collect();
    steps.ok("resolve", list.join(", "));
    connector.check(&place, &found).map_err(|e| steps.connecting(&e))?;
    steps.ok("address", if service.allow_private { "any address is allowed" } else { "all are public" });
    let dialled = connector.tcp(&place, &found, until).await.map_err(|e| steps.connecting(&e))?;
    steps.ok("connect", dialled.peer());
    let stream = if place.is_secure() {
        let stream = connector.tls(&place, dialled, until).await.map_err(|e| steps.connecting(&e))?;
        steps.ok("tls", spoken(&stream));
        stream
    } else {
        steps.add("tls", ProbeOutcome::Skipped, "\"upstream\" is http://");
        dialled.plain()
    };
    Ok((place, stream))
}

/// The versions that the handshake agreed on.
fn spoken(stream: &UpstreamStream) -> String {
    let UpstreamStream::Tls { io, .. } = stream else { return String::new() };
    let tls = io.inner().get_ref().1;
    let version = tls.protocol_version().and_then(|v| v.as_str()).unwrap_or("TLS");
    format!("{}, {}", version.replace("TLSv1_", "TLS 1."), if stream.is_h2() { "HTTP/2" } else { "HTTP/1.1" })
}

struct Outgoing<'a> {
    method: &'a str,
    target: &'a str,
    place: &'a Place,
    headers: HeaderMap,
}

/// One request on a connection of its own, which ends with the answer's head.
async fn exchange(stream: UpstreamStream, out: Outgoing<'_>) -> Result<Response<Incoming>, BoxError> {
    let h2 = stream.is_h2();
    let uri = match h2 {
        true => format!("{}{}", out.place.origin(), out.target),
        false => out.target.to_string(),
    };
    let mut request =
        Request::builder().method(Method::try_from(out.method)?).uri(uri).body(Empty::<Bytes>::new())?;
    *request.headers_mut() = out.headers;
    if h2 {
        *request.version_mut() = Version::HTTP_2;
        let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .header_table_size(0)
            .handshake(stream)
            .await?;
        let driver = Driver(tokio::spawn(async move { connection.await.is_ok() }));
        let answer = sender.send_request(request).await;
        drop(driver);
        return Ok(answer?);
    }
    request.headers_mut().insert(header::HOST, HeaderValue::try_from(out.place.authority())?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let driver = Driver(tokio::spawn(async move { connection.await.is_ok() }));
    let answer = sender.send_request(request).await;
    drop(driver);
    Ok(answer?)
}

/// The task that moves a connection's bytes; it ends with this.
struct Driver(tokio::task::JoinHandle<bool>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn version(v: Version) -> &'static str {
    if v == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" }
}

/// What the status says of the key.
fn judge(steps: &mut Steps, status: StatusCode, service: &ServiceConfig) {
    let text = format!("{status}");
    if service.credential_rejected_status.contains(&status.as_u16()) {
        let code = Code::UpstreamCredentialRejected;
        let text =
            format!("{text}: the upstream rejects the key; apps get {} {}", code.status(), code.as_str());
        steps.fail("status", text);
        return;
    }
    match status.as_u16() {
        401 | 403 => steps.add(
            "status",
            ProbeOutcome::Warning,
            format!("{text}: the key may not do this, or is not accepted"),
        ),
        404 | 405 => steps.add(
            "status",
            ProbeOutcome::Warning,
            format!("{text}: the upstream is reached, and has nothing for this method and path"),
        ),
        429 => steps.add("status", ProbeOutcome::Warning, format!("{text}: the upstream's own rate limit")),
        400.. => steps.add("status", ProbeOutcome::Warning, text),
        _ => steps.ok("status", text),
    }
}

/// Which of the answer's headers a caller would not get.
fn returned(steps: &mut Steps, upstream: &HeaderMap, patterns: &Arc<Patterns>) {
    let (out, hits) = head::returned(upstream.clone(), patterns);
    let renamed = |n: &str| out.contains_key(format!("x-upstream-{}", n.trim_start_matches("x-")));
    let mut dropped: Vec<&str> = Vec::new();
    for name in upstream.keys().map(HeaderName::as_str).filter(|n| !out.contains_key(*n) && !renamed(n)) {
        let repeats = patterns.is_named(name.as_bytes());
        dropped.push(if repeats { "(a name with the key in it)" } else { name });
    }
    let gone = if dropped.is_empty() {
        "no header dropped".into()
    } else {
        format!("dropped: {}", dropped.join(", "))
    };
    if hits > 0 {
        let text = format!("{gone}; the upstream repeats the key in its headers: masked {hits} times");
        steps.add("answer", ProbeOutcome::Warning, text);
    } else {
        steps.ok("answer", gone);
    }
}
