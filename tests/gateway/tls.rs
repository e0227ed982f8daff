//! Handshakes: what is spoken, by whose certificate, and how it changes under way.

use std::sync::Arc;

use portcullis::tls::authority::Authority;
use rustls::{
    ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{House, soon, wire};

async fn shake(
    house: &House,
    config: ClientConfig,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(house.address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    soon(
        "TLS",
        TlsConnector::from(Arc::new(config)).connect(name, tcp),
    )
    .await
}

fn only(
    house: &House,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(house.ca.as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
    config
}

#[tokio::test]
async fn both_versions_both_protocols_and_a_key_exchange_that_outlives_quantum_computers() {
    let house = House::open().await;
    let (tls12, tls13) = (&rustls::version::TLS12, &rustls::version::TLS13);
    let stream = shake(
        &house,
        only(&house, &[tls13], &[b"h2", b"http/1.1"]),
        "a.example.test",
    )
    .await
    .unwrap();
    let session = stream.get_ref().1;
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
    let group = session.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);

    let stream = shake(
        &house,
        only(&house, &[tls12], &[b"http/1.1"]),
        "a.example.test",
    )
    .await
    .unwrap();
    let session = stream.get_ref().1;
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    house.close().await;
}

#[tokio::test]
async fn p7_a_name_without_a_certificate_gets_no_handshake() {
    let house = House::open().await;
    let config = only(&house, &[&rustls::version::TLS13], &[b"http/1.1"]);
    let refused = shake(&house, config, "elsewhere.test").await;
    assert!(
        refused.is_err(),
        "there is no default certificate, and none is made up"
    );
    house.close().await;
}

#[tokio::test]
async fn d9_certificates_change_under_way_and_a_broken_pair_changes_nothing() {
    let house = House::open().await;
    let dir = &house.config.certificates.dir;
    let fresh = Authority::generate("example.test").unwrap();
    let (chain, key) = fresh.issue(&["example.test", "*.example.test"]).unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(dir.join(format!("example.test.{name}")), text).unwrap();
    };

    // The key of a certificate that is not there yet.
    write("key", &key);
    house.gateway.house.certificates.reload(dir);
    let old = only(&house, &[&rustls::version::TLS13], &[b"http/1.1"]);
    shake(&house, old, "a.example.test")
        .await
        .expect("the former pair stays in force");

    write("crt", &chain);
    house.gateway.house.certificates.reload(dir);
    let stale = only(&house, &[&rustls::version::TLS13], &[b"http/1.1"]);
    assert!(
        shake(&house, stale, "a.example.test").await.is_err(),
        "signed by another CA now"
    );
    let trust = wire::trusting(fresh.certificate_pem(), &[b"http/1.1"]);
    shake(&house, (*trust).clone(), "a.example.test")
        .await
        .expect("the new pair");
    house.close().await;
}

/// How a handshake was done, after an answer was read: with it come the tickets of TLS 1.3.
async fn kind(house: &House, config: &ClientConfig) -> HandshakeKind {
    let mut stream = shake(house, config.clone(), "a.example.test")
        .await
        .unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", house.authority("a"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 256];
    let read = soon("an answer", stream.read(&mut answer)).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 "));
    stream.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn sessions_are_resumed_by_any_core_but_not_past_a_change_of_certificates() {
    let house = House::open().await;
    let dir = &house.config.certificates.dir;
    let crt = dir.join("example.test.crt");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = only(&house, &[version], &[b"http/1.1"]);
        assert_eq!(kind(&house, &config).await, HandshakeKind::Full);
        for _ in 0..8 {
            assert_eq!(kind(&house, &config).await, HandshakeKind::Resumed);
        }
        // Read again and found the same: nothing changes.
        house.gateway.house.certificates.reload(dir);
        assert_eq!(kind(&house, &config).await, HandshakeKind::Resumed);
        // The same certificate twice is another chain.
        let chain = std::fs::read_to_string(&crt).unwrap();
        std::fs::write(&crt, format!("{chain}\n{chain}")).unwrap();
        house.gateway.house.certificates.reload(dir);
        assert_ne!(
            kind(&house, &config).await,
            HandshakeKind::Resumed,
            "{version:?}"
        );
        std::fs::write(&crt, chain).unwrap();
        house.gateway.house.certificates.reload(dir);
    }
    house.close().await;
}
