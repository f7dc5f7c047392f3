use super::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, NamedGroup, ProtocolVersion, ServerConnection};
use std::fs;

struct Pair {
    cert: String,
    key: String,
}

fn self_signed(alg: &'static rcgen::SignatureAlgorithm) -> Pair {
    let key = rcgen::KeyPair::generate_for(alg).expect("key");
    let cert = rcgen::CertificateParams::new(vec!["localhost".into()])
        .expect("name")
        .self_signed(&key)
        .expect("cert");
    Pair { cert: cert.pem(), key: key.serialize_pem() }
}

fn write(dir: &Path, pair: &Pair) -> TlsFiles {
    let files = TlsFiles {
        cert: dir.join("cert.pem"),
        key: dir.join("key.pem"),
        client_ca: None,
        require_client_cert: false,
        min_version: MinVersion::Tls13,
    };
    fs::write(&files.cert, &pair.cert).expect("write");
    fs::write(&files.key, &pair.key).expect("write");
    files
}

fn client(cert: &str, versions: &[&'static SupportedProtocolVersion]) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cert.as_bytes()).expect("pem")).expect("root");
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").expect("name")).expect("client")
}

/// Runs a handshake in memory.
fn handshake(mut client: ClientConnection, server: &ServerTls) -> Result<ClientConnection, rustls::Error> {
    let mut server = ServerConnection::new(server.current.load().config.clone())?;
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory");
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("memory");
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory");
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory");
            client.process_new_packets()?;
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(client);
        }
    }
    Err(rustls::Error::General("no end".into()))
}

#[test]
fn every_key_kind_signs_from_the_arena() {
    let arena = Arena::open(None).expect("arena");
    for alg in [
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let dir = tempfile::tempdir().expect("dir");
        let pair = self_signed(alg);
        let server = ServerTls::load(write(dir.path(), &pair), arena.clone()).expect("load");
        let done = handshake(client(&pair.cert, &[&version::TLS13]), &server).expect("handshake");
        assert_eq!(done.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let group = done.negotiated_key_exchange_group().map(|g| g.name());
        assert_eq!(group, Some(NamedGroup::X25519MLKEM768), "post-quantum by default");
    }
}

#[test]
fn older_versions_only_when_asked_for() {
    let arena = Arena::open(None).expect("arena");
    let dir = tempfile::tempdir().expect("dir");
    let pair = self_signed(&rcgen::PKCS_ECDSA_P256_SHA256);
    let mut files = write(dir.path(), &pair);
    let strict = ServerTls::load(files.clone(), arena.clone()).expect("load");
    assert!(handshake(client(&pair.cert, &[&version::TLS12]), &strict).is_err());
    files.min_version = MinVersion::Tls12;
    let lax = ServerTls::load(files, arena).expect("load");
    let done = handshake(client(&pair.cert, &[&version::TLS12]), &lax).expect("1.2 by option");
    assert_eq!(done.protocol_version(), Some(ProtocolVersion::TLSv1_2));
}

#[test]
fn a_bad_certificate_keeps_the_old_one() {
    let arena = Arena::open(None).expect("arena");
    let dir = tempfile::tempdir().expect("dir");
    let (old, new) =
        (self_signed(&rcgen::PKCS_ECDSA_P256_SHA256), self_signed(&rcgen::PKCS_ECDSA_P256_SHA256));
    let files = write(dir.path(), &old);
    let server = ServerTls::load(files.clone(), arena).expect("load");
    let serves = |p: &Pair| handshake(client(&p.cert, &[&version::TLS13]), &server).is_ok();
    assert!(serves(&old) && !serves(&new));

    fs::write(&files.cert, &new.cert).expect("write"); // the key does not match yet
    assert!(matches!(server.reload(), Err(TlsError::Mismatch { .. })));
    assert!(serves(&old), "half a renewal changes nothing");
    fs::write(&files.key, "not a key").expect("write");
    assert!(matches!(server.reload(), Err(TlsError::Pem { .. })));
    fs::remove_file(&files.key).expect("remove");
    assert!(matches!(server.reload(), Err(TlsError::Read { .. })));
    assert!(serves(&old));

    fs::write(&files.key, &new.key).expect("write");
    server.reload().expect("both halves");
    assert!(serves(&new) && !serves(&old));

    let key = rcgen::KeyPair::generate().expect("key");
    let mut short = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("names");
    short.not_after = rcgen::date_time_ymd(2040, 5, 6);
    fs::write(&files.cert, short.self_signed(&key).expect("certificate").pem()).expect("write");
    fs::write(&files.key, key.serialize_pem()).expect("write");
    let before = server.expires().expect("it has an end").unix_secs();
    server.reload().expect("reload");
    let after = server.expires().expect("it has an end");
    assert!(after.rfc3339() == "2040-05-06T00:00:00Z" && after.unix_secs() != before);
}

#[test]
fn client_certificates_are_asked_for_by_ca() {
    let arena = Arena::open(None).expect("arena");
    let dir = tempfile::tempdir().expect("dir");
    let pair = self_signed(&rcgen::PKCS_ECDSA_P256_SHA256);
    let mut files = write(dir.path(), &pair);
    files.client_ca = Some(files.cert.clone());
    let optional = ServerTls::load(files.clone(), arena.clone()).expect("load");
    assert!(handshake(client(&pair.cert, &[&version::TLS13]), &optional).is_ok());
    files.require_client_cert = true;
    let required = ServerTls::load(files, arena).expect("load");
    assert!(handshake(client(&pair.cert, &[&version::TLS13]), &required).is_err());
}
