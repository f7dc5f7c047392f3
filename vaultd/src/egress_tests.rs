use super::*;
use crate::tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

fn network(text: &str) -> Network {
    let (address, prefix) = text.split_once('/').expect("prefix");
    Network { address: address.parse().expect("address"), prefix: prefix.parse().expect("prefix") }
}

fn egress(allow: &[&str]) -> HttpEgress {
    HttpEgress::new(Arc::new(RootCertStore::empty()), allow.iter().map(|n| network(n)).collect())
}

/// A server that gives one fixed answer and returns the request it saw.
async fn server(answer: Vec<u8>) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("request"));
        }
        let _ = stream.write_all(&answer).await;
        String::from_utf8_lossy(&head).into_owned()
    });
    (port, seen)
}

async fn get(egress: &HttpEgress, url: &str) -> Result<EgressResponse> {
    egress.get(EgressRequest { url: url.to_owned(), ca_pem: None }).await
}

#[test]
fn networks() {
    for (net, inside, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
        ("127.0.0.1/32", "127.0.0.1", "127.0.0.2"),
        ("0.0.0.0/0", "8.8.8.8", "::1"),
        ("fd00::/8", "fdff::1", "fe00::1"),
        ("::/0", "::1", "127.0.0.1"),
        ("192.168.1.128/25", "192.168.1.200", "192.168.1.127"),
    ] {
        assert!(network(net).contains(inside.parse().expect("ip")), "{net} {inside}");
        assert!(!network(net).contains(outside.parse().expect("ip")), "{net} {outside}");
    }
}

#[test]
fn addresses_inside_are_refused_unless_allowed() {
    let strict = egress(&[]);
    for ip in ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "fe80::1", "0.0.0.0"] {
        assert!(!strict.permits(ip.parse().expect("ip"), true), "{ip}");
    }
    assert!(strict.permits("1.1.1.1".parse().expect("ip"), true));
    assert!(!strict.permits("1.1.1.1".parse().expect("ip"), false), "never without TLS");
    let lax = egress(&["10.0.0.0/8", "127.0.0.0/8"]);
    assert!(lax.permits("::ffff:10.0.0.1".parse().expect("ip"), true));
    assert!(!lax.permits("10.0.0.1".parse().expect("ip"), false));
    assert!(lax.permits("127.0.0.1".parse().expect("ip"), false));
}

#[tokio::test]
async fn only_plain_urls() {
    let e = egress(&["127.0.0.0/8"]);
    for url in [
        "",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://user@127.0.0.1/",
        "/jwks",
        "https://",
        "127.0.0.1/x",
    ] {
        let refused = get(&e, url).await.map(|r| r.status);
        assert!(matches!(&refused, Err(x) if x.kind() == ErrorKind::InvalidRequest), "{url}: {refused:?}");
    }
    let inside = get(&egress(&[]), "https://localhost:1/").await.map(|r| r.status);
    assert!(matches!(inside, Err(x) if x.kind() == ErrorKind::InvalidRequest));
}

#[tokio::test]
async fn one_get_without_redirects() {
    let e = egress(&["127.0.0.0/8"]);
    let (port, seen) =
        server(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\nhi".to_vec()).await;
    let got = get(&e, &format!("http://127.0.0.1:{port}/keys?a=b")).await.expect("answer");
    assert_eq!((got.status, got.body.as_slice()), (302, &b"hi"[..]));
    let seen = seen.await.expect("one request");
    assert!(seen.starts_with("GET /keys?a=b HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{seen}");
}

#[tokio::test]
async fn answers_are_capped_and_breaks_are_errors() {
    let e = egress(&["127.0.0.0/8"]);
    let mut large = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    large.extend(vec![b'x'; MAX_EGRESS_BODY + 1]);
    for answer in [
        large,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort".to_vec(),
        b"nonsense\r\n\r\n".to_vec(),
        vec![],
    ] {
        let (port, _) = server(answer).await;
        let got = get(&e, &format!("http://127.0.0.1:{port}/")).await.map(|r| r.body.len());
        assert!(matches!(&got, Err(x) if x.kind() == ErrorKind::Upstream), "{got:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up() {
    let e = egress(&["127.0.0.0/8"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let hold = tokio::spawn(async move {
        let held = listener.accept().await;
        std::future::pending::<()>().await;
        drop(held);
    });
    let got = get(&e, &format!("http://127.0.0.1:{port}/")).await.map(|r| r.status);
    assert!(matches!(got, Err(x) if x.kind() == ErrorKind::Upstream));
    hold.abort();
}

#[tokio::test]
async fn tls_trusts_the_given_roots_only() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("key");
    let cert = rcgen::CertificateParams::new(vec!["127.0.0.1".into()])
        .expect("name")
        .self_signed(&key)
        .expect("cert");
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], der.into())
        .expect("cert");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("https://{}/", listener.local_addr().expect("address"));
    let serve = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
                let _ = tls.read(&mut [0; 1024]).await;
            }
        }
    });
    let e = egress(&["127.0.0.0/8"]);
    assert!(get(&e, &url).await.is_err(), "unknown issuer");
    let request = EgressRequest { url: url.clone(), ca_pem: Some(cert.pem()) };
    assert_eq!(e.get(request).await.map(|r| r.status).ok(), Some(200));
    let request = EgressRequest { url, ca_pem: Some("no pem".to_owned()) };
    assert!(matches!(e.get(request).await, Err(x) if x.kind() == ErrorKind::InvalidRequest));
    serve.abort();
}
