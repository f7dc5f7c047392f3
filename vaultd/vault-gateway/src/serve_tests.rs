//! The data plane on real sockets, behind a vault that grants whatever the path says.

use super::*;
use async_trait::async_trait;
use secmem::Arena;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use vault_logical::{Binding, Completion, InvokeGuard, Result as VaultResult, Transport};

const SOON: Duration = Duration::from_secs(30);
const CAPS: CallCaps = CallCaps { total: 6, per_service: 4, per_caller: 2, sockets: 8 };

/// Knows every service; the caller is who its credential says.
struct Vault {
    upstream: String,
    allow_private: bool,
    key: secmem::Key,
    done: Arc<Mutex<Vec<&'static str>>>,
    over: Mutex<Option<oneshot::Receiver<()>>>,
}

struct Noted(Arc<Mutex<Vec<&'static str>>>);

impl InvokeGuard for Noted {
    fn complete(&self, completion: Completion) {
        self.0.lock().unwrap().push(completion.error.unwrap_or("none"));
    }
}

impl Vault {
    fn config(&self) -> Arc<ServiceConfig> {
        Arc::new(ServiceConfig {
            v: 1,
            upstream: self.upstream.clone(),
            ca_cert: None,
            credential: Binding { path: "secret/x".into(), field: "key".into(), version: None },
            inject_header: "x-key".into(),
            inject_template: "{{credential}}".into(),
            allow: Vec::new(),
            auth: Vec::new(),
            caller_header: "authorization".into(),
            caller_headers: Vec::new(),
            rate_limit: None,
            timeout: SOON,
            allow_private: self.allow_private,
            request_headers: Vec::new(),
            forward_range: false,
            credential_rejected_status: vec![401],
        })
    }
}

#[async_trait]
impl Dispatch for Vault {
    async fn service(&self, _: &str, _: &str) -> VaultResult<Option<Arc<ServiceConfig>>> {
        Ok(Some(self.config()))
    }
    async fn authorize(&self, call: Call) -> VaultResult<Grant> {
        let over: Over = match self.over.lock().unwrap().take() {
            Some(end) => Box::pin(async { drop(end.await) }),
            None => Box::pin(std::future::pending()),
        };
        Ok(Grant {
            service: self.config(),
            credential: self.key.clone(),
            credential_version: 1,
            config_epoch: (1, 1),
            caller_id: call.credential.0.expose_secret().to_owned(),
            over,
            guard: Box::new(Noted(self.done.clone())),
        })
    }
    async fn refuse(&self, _: RefusedCall<'_>) -> VaultResult<()> {
        Ok(())
    }
}

struct Stage {
    gateway: Arc<Gateway>,
    vault: Arc<Vault>,
    _arena: Arena,
}

impl Stage {
    fn new(upstream: String, allow_private: bool, caps: CallCaps) -> Stage {
        let arena = Arena::open(None).unwrap();
        let vault = Arc::new(Vault {
            upstream,
            allow_private,
            key: arena.from_slice(b"provider-key-0123456789").unwrap(),
            done: Arc::default(),
            over: Mutex::default(),
        });
        let settings = Settings {
            dispatch: vault.clone(),
            mount: "gateway/".into(),
            system_roots: Arc::new(RootCertStore::empty()),
            caps,
        };
        Stage { gateway: Arc::new(Gateway::new(settings)), vault, _arena: arena }
    }

    fn call(
        &self,
        service: &str,
        caller: &str,
    ) -> impl Future<Output = Response<GatewayBody>> + Send + use<> {
        let request = Request::get(format!("/{service}/v1/x"))
            .header("authorization", format!("Bearer credential-of-{caller}"))
            .body(Empty::<Bytes>::new())
            .unwrap();
        let gateway = self.gateway.clone();
        let peer = Connection { transport: Transport::Tls, remote: None };
        async move { gateway.serve(request, "", &peer).await }
    }

    fn done(&self) -> Vec<&'static str> {
        self.vault.done.lock().unwrap().clone()
    }
}

async fn code(response: Response<GatewayBody>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, json["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// Accepts, counts, and answers with `answer` (nothing at all when it is empty).
async fn upstream(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let open = Arc::new(AtomicUsize::new(0));
    let count = open.clone();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::AcqRel);
            let count = count.clone();
            tokio::spawn(async move {
                let mut buf = [0; 4096];
                while let Ok(n) = tcp.read(&mut buf).await {
                    if n == 0 || tcp.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
                count.fetch_sub(1, Ordering::AcqRel);
            });
        }
    });
    (address, open)
}

async fn until(what: &str, mut f: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !f() {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn calls_to_a_silent_upstream_are_capped_and_leave_nothing() {
    let (address, open) = upstream("").await;
    let s = Stage::new(format!("http://{address}"), true, CAPS);
    let mut waiting = Vec::new();
    for (service, caller) in [("a", "x"), ("a", "x"), ("a", "y"), ("a", "y"), ("b", "z"), ("b", "z")] {
        waiting.push(tokio::spawn(s.call(service, caller)));
    }
    until("six calls wait", || open.load(Ordering::Acquire) == 6).await;
    let refused = s.call("c", "new").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(code(refused).await, (503, "gateway_busy".into()));
    for (service, caller, want) in [("c", "x", (503, "gateway_busy")), ("b", "z", (503, "gateway_busy"))] {
        assert_eq!(code(s.call(service, caller).await).await, (want.0, want.1.into()));
    }
    // One ends: its place is free for a caller with room, not for one without.
    waiting.pop().unwrap().abort();
    until("a place is free", || open.load(Ordering::Acquire) == 5).await;
    let refused = s.call("c", "x").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(code(refused).await, (429, "too_many_calls".into()));
    assert_eq!(code(s.call("a", "new").await).await, (503, "gateway_busy".into()), "one service's share");
    waiting.push(tokio::spawn(s.call("c", "new")));
    until("six calls wait", || open.load(Ordering::Acquire) == 6).await;
    assert!(s.gateway.cut(SOON).await);
    for call in waiting {
        if let Ok(response) = call.await {
            assert_eq!(code(response).await, (503, "sealed".into()));
        }
    }
    until("no connection is left", || open.load(Ordering::Acquire) == 0).await;
    assert_eq!(s.gateway.upstreams.free(), CAPS.sockets, "every place came back");
}

#[tokio::test]
async fn idle_connections_give_way_to_a_call_that_needs_one() {
    let (address, _) = upstream("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let s = Stage::new(format!("http://{address}"), true, CallCaps { sockets: 1, ..CAPS });
    for service in ["a", "b", "a"] {
        let response = s.call(service, "x").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
}

/// `127.1` is no address literal, but every resolver makes 127.0.0.1 of it.
#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_refused() {
    let (address, open) = upstream("").await;
    let s = Stage::new(format!("https://127.1:{}", address.port()), false, CAPS);
    assert_eq!(code(s.call("a", "x").await).await, (502, "upstream_address_refused".into()));
    assert_eq!(open.load(Ordering::Acquire), 0, "a connection was made");
    assert_eq!(s.done(), ["upstream_address_refused"]);
}

#[tokio::test]
async fn a_stream_and_a_call_end_with_their_callers_credential() {
    let (address, _) = upstream("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart").await;
    let s = Stage::new(format!("http://{address}"), true, CAPS);
    let (end, over) = oneshot::channel();
    *s.vault.over.lock().unwrap() = Some(over);
    let response = s.call("a", "x").await;
    assert_eq!(response.status(), 200);
    let rest = tokio::spawn(response.into_body().collect());
    assert!(s.done().is_empty(), "it runs");
    end.send(()).unwrap();
    let cut = tokio::time::timeout(SOON, rest).await.expect("it ends").unwrap();
    assert!(cut.is_err(), "a cut stream is no whole answer");
    assert_eq!(s.done(), ["credential_ended"]);

    let (address, open) = upstream("").await;
    let s = Stage::new(format!("http://{address}"), true, CAPS);
    let (end, over) = oneshot::channel();
    *s.vault.over.lock().unwrap() = Some(over);
    let call = tokio::spawn(s.call("a", "x"));
    until("the upstream has it", || open.load(Ordering::Acquire) == 1).await;
    end.send(()).unwrap();
    let response = tokio::time::timeout(SOON, call).await.expect("it ends").unwrap();
    assert_eq!(code(response).await, (401, "credential_ended".into()));
}
