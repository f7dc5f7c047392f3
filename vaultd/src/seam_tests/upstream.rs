//! Calls through the gateway as its listener gets them back, with a vault behind it and an upstream of
//! the test's own.

use super::*;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use vault_gateway::{CallCaps, Gateway, Settings};
use vault_logical::{RefusedCall, ServiceConfig};

/// The vault's word on a call, with another upstream: one that no service may be stored with.
struct Elsewhere {
    inner: LocalDispatch,
    upstream: String,
    allow_private: bool,
}

#[async_trait]
impl Dispatch for Elsewhere {
    async fn service(&self, mount: &str, service: &str) -> vault_logical::Result<Option<Arc<ServiceConfig>>> {
        self.inner.service(mount, service).await
    }
    async fn authorize(&self, call: Call) -> vault_logical::Result<Grant> {
        let mut grant = self.inner.authorize(call).await?;
        let mut service = (*grant.service).clone();
        service.upstream.clone_from(&self.upstream);
        service.allow_private = self.allow_private;
        grant.service = Arc::new(service);
        Ok(grant)
    }
    async fn refuse(&self, call: RefusedCall<'_>) -> vault_logical::Result<()> {
        self.inner.refuse(call).await
    }
}

/// `GET /openai/v1/x` with this upstream: status, headers, body.
async fn get(v: &Vault, upstream: String, allow_private: bool) -> (u16, HeaderMap, String) {
    let token = v.token(&v.root, json!({"policies": ["app"]})).await;
    let gateway = Gateway::new(Settings {
        dispatch: Arc::new(Elsewhere { inner: LocalDispatch(v.core.clone()), upstream, allow_private }),
        mount: "gateway/".into(),
        system_roots: Arc::new(rustls::RootCertStore::empty()),
        caps: CallCaps { total: 8, per_service: 8, per_caller: 8, sockets: 8 },
    });
    let request = Request::get("/openai/v1/x")
        .header("authorization", format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())
        .expect("request");
    let (head, body) = gateway.serve(request, "", &here()).await.into_parts();
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    (head.status.as_u16(), head.headers, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_connected_to() {
    let v = Vault::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    // Neither is an address in its written form: the resolver makes one of it, as of any other name.
    for name in ["127.1", "2130706433"] {
        let (status, _, body) = get(&v, format!("https://{name}:{port}"), false).await;
        assert!(status >= 400 && body.contains("upstream_address_refused"), "{name}: {status} {body}");
        let came = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(came.is_err(), "{name} was connected to");
    }
    // The control: where the service says so, it is.
    let (call, came) = tokio::join!(get(&v, format!("https://127.1:{port}"), true), async {
        tokio::time::timeout(SOON, listener.accept()).await.is_ok_and(|a| a.is_ok())
    });
    assert!(came && !call.2.contains("upstream_address_refused"), "{}", call.2);
}

/// What hyper would take off again, and so hide from a caller of the process.
#[tokio::test]
async fn an_upstreams_transfer_coding_ends_at_the_gateway() {
    let v = Vault::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("accept");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.expect("request"));
        }
        let answer =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Theirs: yes\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        tcp.write_all(answer.as_bytes()).await.expect("answer");
    });
    let (status, headers, body) = get(&v, format!("http://{address}"), true).await;
    assert_eq!((status, body.as_str()), (200, "{}"), "{headers:?}");
    assert_eq!(headers["x-theirs"], "yes");
    assert!(!headers.contains_key("transfer-encoding"), "{headers:?}");
}
