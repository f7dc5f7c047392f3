use super::PublicKey;

#[test]
fn what_is_no_key_is_refused_and_never_panics() {
    for text in [
        "",
        "not base64 at all!",
        "aGVsbG8=",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----",
        &"A".repeat(1 << 20),
    ] {
        let e = PublicKey::parse(text).err().unwrap();
        assert!(e.message().starts_with("unusable PGP key"), "{}", e.message());
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_a_key_or_an_error(bytes in proptest::collection::vec(0u8.., 0..600), tag in 0u8..64) {
        use base64::Engine as _;
        // Begins as a key does, so that the parser gets past its first step.
        let mut packet = vec![0xc0 | tag, u8::try_from(bytes.len().min(190)).unwrap()];
        packet.extend_from_slice(&bytes);
        let _ = PublicKey::parse(&base64::engine::general_purpose::STANDARD.encode(&packet));
    }
}
