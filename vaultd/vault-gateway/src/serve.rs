//! One call, from head to completion record.

use crate::body::{Account, BodyError, BoxError, Closing, Download, GatewayBody, Stop, Upload};
use crate::error::{Code, GatewayError};
use crate::limits::{CUT_POLL, MAX_REQUEST_BODY, MAX_USER_AGENT_BYTES, MIN_SECRET_WORD};
use crate::path::Target;
use crate::rate::{Limiter, Verdict};
use crate::redact::Patterns;
use crate::report::{CallLog, Report};
use crate::slots::{CallCaps, Slots};
use crate::upstream::{ConnectError, UpstreamClient, Upstreams};
use crate::{caller, head, path};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy::connect::capture_connection;
use rustls::RootCertStore;
use secmem::ExposeSecret;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use vault_logical::{
    Call, CallerCredential, Connection, Dispatch, Grant, Over, RefusedCall, RequestId, ServiceConfig,
};

/// What the data plane is built from.
pub struct Settings {
    pub dispatch: Arc<dyn Dispatch>,
    /// Path of the gateway mount: `gateway/`.
    pub mount: String,
    /// Roots for upstreams without a `ca_cert` of their own.
    pub system_roots: Arc<RootCertStore>,
    /// How many calls and connections it may have.
    pub caps: CallCaps,
}

/// What the gateway has under way, and may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    pub calls: usize,
    pub calls_max: usize,
    /// Connections to upstreams, the idle ones too.
    pub sockets: usize,
    pub sockets_max: usize,
    /// Services that have a pool of connections.
    pub pools: usize,
}

/// The data plane.
pub struct Gateway {
    dispatch: Arc<dyn Dispatch>,
    mount: String,
    upstreams: Upstreams,
    limiter: Limiter,
    slots: Arc<Slots>,
    report: Arc<Report>,
    closing: watch::Sender<u64>,
    active: Arc<AtomicUsize>,
}

/// Methods that are never forwarded: a tunnel, and an echo of the head we made.
const REFUSED_METHODS: &[Method] = &[Method::CONNECT, Method::TRACE];

/// Names the call in our records. `x-request-id` stays the upstream's, for its support desk.
const REQUEST_ID: &str = "x-gateway-request-id";

impl Gateway {
    pub fn new(settings: Settings) -> Self {
        Gateway {
            dispatch: settings.dispatch,
            mount: settings.mount,
            upstreams: Upstreams::new(settings.system_roots, settings.caps.sockets),
            limiter: Limiter::default(),
            slots: Slots::new(settings.caps),
            report: Arc::default(),
            closing: watch::Sender::new(0),
            active: Arc::default(),
        }
    }

    /// Ends every call and closes every upstream connection: the vault seals. Waits for at most
    /// `bound`; `false` when a call was still there.
    pub async fn cut(&self, bound: Duration) -> bool {
        self.closing.send_modify(|n| *n += 1);
        let gone = async {
            while self.active.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(CUT_POLL).await;
            }
        };
        let clean = tokio::time::timeout(bound, gone).await.is_ok();
        self.upstreams.close();
        clean
    }

    pub(crate) fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// What it has under way.
    pub fn figures(&self) -> Figures {
        let caps = self.slots.caps();
        Figures {
            calls: self.active.load(Ordering::Acquire),
            calls_max: caps.total,
            sockets: caps.sockets.saturating_sub(self.upstreams.free()),
            sockets_max: caps.sockets,
            pools: self.upstreams.count(),
        }
    }

    /// What ends a call before its time: the vault seals, or the caller's credential is over.
    pub(crate) fn closing(&self, over: Over) -> Closing {
        let mut signal = self.closing.subscribe();
        Box::pin(async move {
            tokio::select! {
                // An error means that the gateway itself is gone: that closes, too.
                _ = signal.changed() => Code::Sealed,
                () = over => Code::CredentialEnded,
            }
        })
    }

    /// Serves one call. `prefix` is what precedes `/<service>/…` in the path (empty on the
    /// gateway's own listener).
    pub async fn serve<B>(
        &self,
        request: Request<B>,
        prefix: &str,
        connection: &Connection,
    ) -> Response<GatewayBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let id = RequestId::new_v4();
        let started = Instant::now();
        // For the log, which may name it once its name is known to be one.
        let mut log = CallLog::new(self.report.clone(), id);
        let mut response = match self.call(&mut log, started, request, prefix, connection).await {
            Ok(response) => response,
            Err(e) => {
                if let Some(cause) = &e.cause {
                    match e.code.is_upstream() {
                        true => log.failed(e.code.as_str(), e.phase, &**cause),
                        false => log.refused(e.code.as_str(), e.phase, &**cause),
                    }
                }
                e.response(id)
            }
        };
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(HeaderName::from_static(REQUEST_ID), value);
        }
        response
    }

    async fn call<B>(
        &self,
        log: &mut CallLog,
        started: Instant,
        request: Request<B>,
        prefix: &str,
        connection: &Connection,
    ) -> Result<Response<GatewayBody>, GatewayError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let asked = self.understand(&parts, prefix, log).await;
        let (target, credential) = match asked {
            Ok(x) => x,
            Err(e) => {
                // Refused before anyone could be identified: on record under the mount, since the
                // path itself may be what is wrong.
                let refused = RefusedCall {
                    request_id: log.id,
                    path: &format!("{}proxy/", self.mount),
                    method: parts.method.as_str(),
                    user_agent: &user_agent(&parts.headers),
                    connection,
                    reason: e.code.as_str(),
                    status: e.code.status().as_u16(),
                };
                self.dispatch.refuse(refused).await?;
                return Err(e);
            }
        };
        // Kept to look for it in what goes upstream.
        let own = credential.clone();
        let call = Call {
            request_id: log.id,
            mount: self.mount.clone(),
            service: target.service.clone(),
            method: parts.method.as_str().to_string(),
            path: target.path.clone(),
            credential: CallerCredential(credential),
            connection: connection.clone(),
            user_agent: user_agent(&parts.headers),
            started,
        };
        let grant = self.dispatch.authorize(call).await?;
        self.forward(log, &parts, body, target, own, grant).await
    }

    /// Everything that can be checked before the caller is known.
    async fn understand(
        &self,
        parts: &http::request::Parts,
        prefix: &str,
        log: &mut CallLog,
    ) -> Result<(Target, secmem::SecretString), GatewayError> {
        if REFUSED_METHODS.contains(&parts.method) {
            return Err(Code::MethodNotAllowed.into());
        }
        // `X-Vault-*` headers would be instructions to the vault, not to the upstream.
        let strange = |n: &HeaderName| {
            n.as_str().starts_with("x-vault-")
                && !matches!(n.as_str(), "x-vault-token" | "x-vault-namespace" | "x-vault-request")
        };
        if parts.headers.keys().any(strange) {
            return Err(Code::BadRequest.into());
        }
        let namespace = parts.headers.get("x-vault-namespace").map(http::HeaderValue::as_bytes);
        if !matches!(namespace, None | Some(b"" | b"root" | b"root/")) {
            return Err(Code::NoSuchService.into());
        }
        let raw = parts.uri.path().strip_prefix(prefix).ok_or(Code::BadPath)?;
        let target = path::parse(raw, parts.uri.query())?;
        let service =
            self.dispatch.service(&self.mount, &target.service).await?.ok_or(Code::NoSuchService)?;
        log.service = target.service.as_str().into();
        let names = service.caller_headers();
        match caller::credential(&parts.headers, names) {
            Ok(credential) => Ok((target, credential)),
            Err(Code::MissingCredential) => {
                let detail = Some(format!("looked for in {}", names.join(", ")));
                Err(GatewayError { detail, ..Code::MissingCredential.into() })
            }
            Err(code) => Err(code.into()),
        }
    }

    async fn forward<B>(
        &self,
        log: &CallLog,
        parts: &http::request::Parts,
        body: B,
        target: Target,
        credential: secmem::SecretString,
        grant: Grant,
    ) -> Result<Response<GatewayBody>, GatewayError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let sent = Arc::new(AtomicU64::new(0));
        let service = grant.service.clone();
        let mut closing = self.closing(grant.over);
        let mut account = Account::new(
            grant.guard,
            grant.credential_version,
            sent.clone(),
            self.active.clone(),
            log.clone(),
        );
        let verdict = match self.limited(&target, &service, &grant.caller_id) {
            Ok(v) => v,
            Err(v) => {
                account.refuse(Code::RateLimited);
                return Ok(limited_response(log.id, v));
            }
        };
        match self.slots.take(&target.service, &grant.caller_id) {
            Ok(slot) => account.hold(slot),
            Err(code) => {
                account.refuse(code);
                return Err(code.into());
            }
        }
        let prepared: Result<_, GatewayError> = (|| {
            if body.size_hint().lower() > MAX_REQUEST_BODY {
                return Err(Code::BodyTooLarge.into());
            }
            let mut headers = head::forwarded(&parts.headers, &service);
            let text = target.query.as_ref().map_or(target.path.clone(), |q| format!("{}?{q}", target.path));
            if head::leaks(&headers, &text, credential.expose_secret().as_bytes()) {
                return Err(Code::CredentialInRequest.into());
            }
            let uri: Uri = format!("{}{text}", service.upstream.trim_end_matches('/'))
                .parse()
                .map_err(|_| Code::BadPath)?;
            let way = self.upstreams.way(
                &self.mount,
                &target.service,
                grant.config_epoch,
                &service,
                &grant.credential,
            )?;
            let patterns = grant.credential.with(|key| {
                // What cannot be masked on its way back is not sent.
                let patterns =
                    Patterns::new(key, &service.inject_template).map_err(|_| Code::CredentialUnfit)?;
                let sent = way.stand_in.as_ref().map_or(key, |s| s.bytes());
                head::inject(&mut headers, &service, sent).map(|()| patterns)
            });
            let patterns = patterns.map_err(|_| Code::Sealed)??;
            Ok((headers, uri, patterns, way.client))
        })();
        let (headers, uri, patterns, client) = match prepared {
            Ok(p) => p,
            Err(e) => {
                account.refuse(e.code);
                return Err(e);
            }
        };
        log.hide(patterns.clone());
        let (upload, stop) = Upload::new(body, sent);
        let request = upstream_request(&parts.method, uri, headers, upload);
        let answer = tokio::select! {
            code = &mut closing => Err(code.into()),
            answer = send(&client, request, service.timeout) => answer,
        };
        let answer = match answer {
            Ok(a) => a,
            Err(e) => {
                account.refuse(e.code);
                return Err(e);
            }
        };
        let bodiless = parts.method == Method::HEAD;
        respond(answer, &patterns, account, &service, Limits { verdict, closing, stop, bodiless })
    }

    fn limited(
        &self,
        target: &Target,
        service: &ServiceConfig,
        caller: &str,
    ) -> Result<Option<Verdict>, Verdict> {
        let Some(rule) = service.rate_limit else { return Ok(None) };
        match self.limiter.count(&target.service, caller, rule, Instant::now()) {
            Some(v) if v.allowed => Ok(Some(v)),
            Some(v) => Err(v),
            // The table is full of active callers: what cannot be counted is not let through.
            None => Err(Verdict {
                allowed: false,
                limit: rule.requests,
                remaining: 0,
                reset: rule.window,
                retry: rule.window,
            }),
        }
    }
}

fn upstream_request<B>(method: &Method, uri: Uri, headers: HeaderMap, body: Upload<B>) -> Request<GatewayBody>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let empty = body.is_end_stream();
    let body: GatewayBody =
        if empty { Empty::new().map_err(|never| match never {}).boxed_unsync() } else { body.boxed_unsync() };
    let mut request = Request::new(body);
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

/// The upstream kept silent; how far the call had come.
#[derive(Debug, thiserror::Error)]
#[error("no answer within the service's timeout of {0:?}")]
struct Silent(Duration);

/// The upstream answered with what no caller may have.
#[derive(Debug, thiserror::Error)]
#[error("the upstream answered {0}")]
struct Answered(StatusCode);

async fn send(
    client: &UpstreamClient,
    mut request: Request<GatewayBody>,
    timeout: Duration,
) -> Result<Response<Incoming>, GatewayError> {
    let connected = capture_connection(&mut request);
    match tokio::time::timeout(timeout, client.request(request)).await {
        Err(_) => {
            let phase = if connected.connection_metadata().is_some() { "answer head" } else { "connect" };
            Err(GatewayError::caused(Code::UpstreamTimeout, phase, Silent(timeout)))
        }
        Ok(Ok(response)) => Ok(response),
        Ok(Err(e)) => {
            let (code, phase) = failure(&e);
            Err(GatewayError::caused(code, phase, e))
        }
    }
}

/// Finds the connector's own error in the chain; everything else is an unreachable upstream.
fn failure(e: &(dyn std::error::Error + 'static)) -> (Code, &'static str) {
    let mut cause = Some(e);
    while let Some(c) = cause {
        match c.downcast_ref::<BodyError>() {
            Some(BodyError::TooLarge) => return (Code::BodyTooLarge, "request body"),
            Some(BodyError::Caller(_)) => return (Code::BadRequest, "request body"),
            _ => {}
        }
        if let Some(e) = c.downcast_ref::<ConnectError>() {
            let code = match e {
                ConnectError::Refused(..) => Code::UpstreamAddressRefused,
                ConnectError::Timeout(_) => Code::UpstreamTimeout,
                _ => Code::UpstreamUnreachable,
            };
            return (code, e.phase());
        }
        cause = c.source();
    }
    (Code::UpstreamUnreachable, "exchange")
}

/// The caller's `User-Agent` for the record: bounded, and not a place for what another header
/// keeps to itself.
fn user_agent(headers: &HeaderMap) -> String {
    let text = headers.get(header::USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let holds = |(name, value): (&HeaderName, &HeaderValue)| {
        let word = value.to_str().unwrap_or_default().rsplit(' ').next().unwrap_or_default();
        let secret = caller::CREDENTIAL_HEADERS.contains(&name.as_str()) || word.len() >= MIN_SECRET_WORD;
        secret && !word.is_empty() && name != header::USER_AGENT && text.contains(word)
    };
    if headers.iter().any(holds) {
        return "(holds another header's value)".into();
    }
    let mut end = text.len().min(MAX_USER_AGENT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().into()
}

/// What an answer is subject to on its way back.
struct Limits {
    verdict: Option<Verdict>,
    closing: Closing,
    /// Of the upload, which may go on beside the answer and after it.
    stop: Stop,
    /// An answer to HEAD has no body, whatever its head says.
    bodiless: bool,
}

/// The upstream's answer for the caller.
fn respond(
    answer: Response<Incoming>,
    patterns: &Arc<Patterns>,
    mut account: Account,
    service: &ServiceConfig,
    limits: Limits,
) -> Result<Response<GatewayBody>, GatewayError> {
    let (parts, body) = answer.into_parts();
    let upstream = parts.status.as_u16();
    account.statuses(upstream, upstream);
    let refused = if service.credential_rejected_status.contains(&upstream) {
        // Our key was refused, not the caller's: its words are for nobody but the operator.
        Some(Code::UpstreamCredentialRejected)
    } else if head::encoded(&parts.headers) {
        Some(Code::UpstreamEncoded)
    } else if parts.status.is_informational() {
        Some(Code::UpstreamInvalid)
    } else {
        None
    };
    if let Some(code) = refused {
        account.refuse(code);
        return Err(GatewayError::caused(code, "answer head", Answered(parts.status)));
    }
    let (mut headers, hits) = head::returned(parts.headers, patterns);
    account.redacted(hits);
    if let Some(v) = limits.verdict {
        rate_headers(&mut headers, v);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let bodiless =
        limits.bodiless || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut download = Download::new(body, patterns.clone(), account, service.timeout);
    if bodiless || download.is_empty() {
        download.complete_empty();
    }
    download.end_on(limits.closing, limits.stop);
    let mut response = Response::new(download.boxed_unsync());
    *response.status_mut() = parts.status;
    *response.version_mut() = Version::HTTP_11;
    *response.headers_mut() = headers;
    Ok(response)
}

fn rate_headers(headers: &mut HeaderMap, v: Verdict) {
    let round_up = |d: Duration| d.as_secs() + u64::from(d.subsec_nanos() > 0);
    for (name, value) in [
        ("x-ratelimit-limit", v.limit),
        ("x-ratelimit-remaining", v.remaining),
        ("x-ratelimit-reset", round_up(v.reset)),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
    if !v.allowed {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(round_up(v.retry).max(1)));
    }
}

fn limited_response(id: RequestId, v: Verdict) -> Response<GatewayBody> {
    let mut response = GatewayError::from(Code::RateLimited).response(id);
    rate_headers(response.headers_mut(), v);
    response
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
