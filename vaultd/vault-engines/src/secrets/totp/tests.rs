use super::keys::KeyRecord;
use super::{png, qr};
use crate::limits::*;
use crate::testing::{Bench, START, data, run};
use base64::Engine as _;
use serde_json::{Value, json};
use std::time::Duration;
use totp_rs::Secret;
use vault_logical::ErrorKind;

fn bench() -> Bench {
    Bench::mount("totp", &[])
}

fn base32(raw: &[u8]) -> String {
    Secret::from(raw).to_base32()
}

async fn import(b: &Bench, name: &str, skew: u64) {
    let key = base32(b"12345678901234567890");
    b.write(&format!("keys/{name}"), json!({"key": key, "skew": skew, "account_name": "a"})).await.unwrap();
}

async fn code(b: &Bench, name: &str) -> String {
    data(&b.read(&format!("code/{name}")).await.unwrap())["code"].as_str().unwrap().to_string()
}

async fn valid(b: &Bench, name: &str, code: &str) -> Result<bool, ErrorKind> {
    let r = b.write(&format!("code/{name}"), json!({ "code": code })).await.map_err(|e| e.kind())?;
    Ok(data(&r)["valid"].as_bool().unwrap())
}

/// RFC 6238, appendix B, with the seeds of its errata: 20, 32 and 64 bytes.
#[test]
fn rfc_6238_vectors() {
    let seed = b"1234567890123456789012345678901234567890123456789012345678901234";
    let table = [
        (59, ["94287082", "46119246", "90693936"]),
        (1_111_111_109, ["07081804", "68084774", "25091201"]),
        (1_111_111_111, ["14050471", "67062674", "99943326"]),
        (1_234_567_890, ["89005924", "91819424", "93441116"]),
        (2_000_000_000, ["69279037", "90698825", "38618901"]),
        (20_000_000_000_u64, ["65353130", "77737706", "47863826"]),
    ];
    run(async {
        let b = bench();
        for (i, (algorithm, len)) in [("SHA1", 20), ("SHA256", 32), ("SHA512", 64)].into_iter().enumerate() {
            let key = base32(&seed[..len]);
            b.write(algorithm_key(i), json!({"key": key, "algorithm": algorithm, "digits": 8, "skew": 0}))
                .await
                .unwrap();
            for (time, codes) in table {
                let name = algorithm_key(i).trim_start_matches("keys/");
                let computed = b
                    .inspect(async |_, cx| {
                        KeyRecord::load(cx, name).await.unwrap().unwrap().totp().unwrap().generate(time)
                    })
                    .await;
                assert_eq!(computed.to_string(), codes[i], "{algorithm} at {time}");
                // Beyond the range of the clock (year 2262) there is only the computation.
                let Some(seconds) =
                    i64::try_from(time).ok().filter(|t| t.checked_mul(1_000_000_000).is_some())
                else {
                    continue;
                };
                b.clock.set(seconds);
                assert_eq!(code(&b, name).await, codes[i], "{algorithm} at {time}");
                assert_eq!(valid(&b, name, codes[i]).await, Ok(true));
                assert_eq!(valid(&b, name, codes[i]).await, Err(ErrorKind::InvalidRequest));
            }
        }
    });
}

fn algorithm_key(i: usize) -> &'static str {
    ["keys/one", "keys/two", "keys/three"][i]
}

#[test]
fn generated_keys_are_shown_once_as_url_and_picture() {
    run(async {
        let b = bench();
        let r = b
            .write(
                "keys/me@example.com",
                json!({"generate": true, "issuer": "My Vault", "account_name": "me@example.com"}),
            )
            .await
            .unwrap();
        let d = data(&r);
        let url = d["url"].as_str().unwrap();
        assert!(url.starts_with(
            "otpauth://totp/My%20Vault:me@example.com?algorithm=SHA1&digits=6&issuer=My%20Vault&period=30&secret="
        ));
        let secret = url.rsplit('=').next().unwrap();
        assert_eq!(Secret::try_from_base32(secret).unwrap().as_ref().len(), 20);
        let picture =
            base64::engine::general_purpose::STANDARD.decode(d["barcode"].as_str().unwrap()).unwrap();
        let (side, pixels) = png::decode(&picture);
        assert_eq!(side, 200);
        assert_eq!(modules(&pixels, side), expected_modules(url));

        let read = data(&b.read("keys/me@example.com").await.unwrap());
        assert_eq!(
            read,
            json!({"account_name": "me@example.com", "algorithm": "SHA1", "digits": 6, "issuer": "My Vault", "period": 30})
        );
        // The url of one key, imported, makes the same codes.
        b.write("keys/copy", json!({ "url": url })).await.unwrap();
        assert_eq!(code(&b, "copy").await, code(&b, "me@example.com").await);
        assert_eq!(data(&b.read("keys/copy").await.unwrap()), read);

        for (more, keys) in [(json!({"exported": false}), vec![]), (json!({"qr_size": 0}), vec!["url"])] {
            let mut body = json!({"generate": true, "issuer": "i", "account_name": "a"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let d = b.write("keys/x", body).await.unwrap().data.unwrap_or_default();
            assert_eq!(d.keys().collect::<Vec<_>>(), keys);
        }
        assert_eq!(b.list("keys/", json!({})).await.unwrap(), ["copy", "me@example.com", "x"]);
        b.delete("keys/x").await.unwrap();
        assert_eq!(b.read("keys/x").await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

/// Samples the picture at its modules, found from the top-left finder pattern.
fn modules(pixels: &[bool], side: usize) -> Vec<bool> {
    let dark = |x: usize, y: usize| !pixels[y * side + x];
    let margin = (0..side).find(|i| dark(*i, *i)).unwrap();
    let finder = (margin..side).take_while(|x| dark(*x, margin)).count();
    let scale = finder / 7;
    let width = (side - 2 * margin) / scale;
    (0..width * width).map(|i| dark(margin + i % width * scale, margin + i / width * scale)).collect()
}

fn expected_modules(url: &str) -> Vec<bool> {
    qrcode::QrCode::new(url).unwrap().into_colors().into_iter().map(|c| c == qrcode::Color::Dark).collect()
}

#[test]
fn pictures_have_bounds() {
    assert!(qr::png("text", 28).is_err());
    assert!(qr::png("text", 29).is_ok());
    assert!(qr::png(&"x".repeat(4000), 1024).is_err());
}

#[test]
fn refused_keys() {
    run(async {
        let b = bench();
        let generate = |more: Value| {
            let mut body = json!({"generate": true, "issuer": "i", "account_name": "a"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        let long = base32(&[7; TOTP_MAX_SECRET_BYTES + 1]);
        for bad in [
            json!({}),
            json!({"generate": true}),
            json!({"generate": true, "issuer": "i"}),
            json!({"generate": true, "account_name": "i"}),
            generate(json!({"key": "x"})),
            generate(json!({"url": "x"})),
            generate(json!({"key_size": 19})),
            generate(json!({"key_size": 1000})),
            generate(json!({"digits": 7})),
            generate(json!({"algorithm": "MD5"})),
            generate(json!({"algorithm": "sha1"})),
            generate(json!({"period": 0})),
            generate(json!({"period": "2h"})),
            generate(json!({"skew": 2})),
            generate(json!({"qr_size": 10})),
            generate(json!({"qr_size": 100_000})),
            generate(json!({"issuer": "a:b"})),
            generate(json!({"account_name": "a\nb"})),
            json!({"key": "not base32!"}),
            json!({"key": base32(&[1; TOTP_MIN_SECRET_BYTES - 1])}),
            json!({ "key": long }),
            json!({"url": "https://example.com/"}),
            json!({"url": "otpauth://hotp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}),
            json!({"url": "otpauth://totp/a"}),
            json!({"url": "otpauth://totp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&secret=A"}),
            json!({"url": "otpauth://totp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&digits=-6"}),
            json!({"url": "otpauth://totp/a%FF?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}),
        ] {
            let e = b.write("keys/k", bad.clone()).await.expect_err(&bad.to_string());
            assert_eq!(e.kind(), ErrorKind::InvalidRequest, "{bad}");
        }
        assert!(b.records().is_empty());
        b.write("keys/k", json!({"key": "gezd gnbv gy3t qojq gezd gnbv gy3t qojq ===="})).await.unwrap();
    });
}

#[test]
fn two_hundred_spellings_of_one_code_are_accepted_once() {
    run(async {
        let b = bench();
        import(&b, "k", 1).await;
        let right = code(&b, "k").await;
        let mut spellings = vec![right.clone()];
        for n in 1..60 {
            spellings.push(format!("{}{right}", " ".repeat(n)));
            spellings.push(format!("{right}{}", " ".repeat(n)));
            spellings.push(format!("{}{}{}", &right[..n % 6], " ".repeat(n), &right[n % 6..]));
        }
        for odd in ["+", "-", "0", "00", "\t", "\n", "\u{a0}", "\u{3000}", "'", "0x"] {
            spellings.push(format!("{odd}{right}"));
            spellings.push(format!("{right}{odd}"));
            spellings.push(
                right.chars().map(|c| char::from_u32(c as u32 + 0xFEE0).unwrap()).collect::<String>() + odd,
            );
        }
        assert!(spellings.len() >= 200);
        let mut accepted = 0;
        for s in &spellings {
            accepted += usize::from(valid(&b, "k", s).await == Ok(true));
        }
        assert_eq!(accepted, 1);
    });
}

#[test]
fn a_window_of_one_step_to_each_side_moves_forward_only() {
    run(async {
        let b = bench();
        import(&b, "wide", 1).await;
        import(&b, "narrow", 0).await;
        let mut codes = Vec::new();
        for step in -2..=2 {
            b.clock.set(START + 30 * step);
            codes.push(code(&b, "wide").await);
        }
        b.clock.set(START);
        assert_eq!(valid(&b, "wide", &codes[0]).await, Ok(false));
        assert_eq!(valid(&b, "wide", &codes[4]).await, Ok(false));
        assert_eq!(valid(&b, "wide", &codes[1]).await, Ok(true));
        assert_eq!(valid(&b, "wide", &codes[3]).await, Ok(true));
        // Older than the last accepted one: used up although it never was used.
        assert_eq!(valid(&b, "wide", &codes[2]).await, Err(ErrorKind::InvalidRequest));
        assert_eq!(valid(&b, "narrow", &codes[1]).await, Ok(false));
        assert_eq!(valid(&b, "narrow", &codes[3]).await, Ok(false));
        assert_eq!(valid(&b, "narrow", &codes[2]).await, Ok(true));
        // A clock that steps back opens nothing.
        b.clock.set(START - 30);
        assert_eq!(valid(&b, "wide", &codes[2]).await, Err(ErrorKind::InvalidRequest));
    });
}

#[test]
fn parallel_calls_accept_a_code_once_and_count_every_wrong_one() {
    run(async {
        let b = bench();
        import(&b, "k", 1).await;
        let right = code(&b, "k").await;
        let asks = (0..200).map(|_| valid(&b, "k", &right));
        let accepted = crate::testing::all(asks).await.into_iter().filter(|r| *r == Ok(true)).count();
        assert_eq!(accepted, 1);

        let wrong = if right == "000000" { "000001" } else { "000000" };
        let answers = crate::testing::all((0..200).map(|_| valid(&b, "k", wrong))).await;
        let tried = answers.iter().filter(|r| **r == Ok(false)).count();
        let locked = answers.iter().filter(|r| **r == Err(ErrorKind::RateLimited)).count();
        assert_eq!((tried, locked), (TOTP_FREE_FAILURES as usize, 200 - TOTP_FREE_FAILURES as usize));
    });
}

#[test]
fn used_codes_and_locks_outlive_a_restart() {
    run(async {
        let mut b = bench();
        import(&b, "k", 1).await;
        let right = code(&b, "k").await;
        assert_eq!(valid(&b, "k", &right).await, Ok(true));
        b.restart();
        assert_eq!(valid(&b, "k", &right).await, Err(ErrorKind::InvalidRequest));
        for _ in 0..TOTP_FREE_FAILURES {
            assert_eq!(valid(&b, "k", "000000").await, Ok(false));
        }
        b.restart();
        b.clock.advance(Duration::from_secs(29));
        let next = code(&b, "k").await;
        assert_eq!(valid(&b, "k", &next).await, Err(ErrorKind::RateLimited));
        // Attempts under the lock do not lengthen it.
        b.clock.advance(Duration::from_secs(2));
        let next = code(&b, "k").await;
        assert_eq!(valid(&b, "k", &next).await, Ok(true));
        // The right code starts the count again.
        assert_eq!(valid(&b, "k", "000000").await, Ok(false));
        assert_eq!(valid(&b, "k", "000000").await, Ok(false));
    });
}

#[test]
fn a_new_key_of_the_same_name_starts_afresh() {
    run(async {
        let b = bench();
        import(&b, "k", 0).await;
        for _ in 0..TOTP_FREE_FAILURES {
            assert_eq!(valid(&b, "k", "000000").await, Ok(false));
        }
        assert_eq!(valid(&b, "k", "000000").await, Err(ErrorKind::RateLimited));
        b.write("keys/k", json!({"key": base32(b"another secret of 22 b")})).await.unwrap();
        let right = code(&b, "k").await;
        assert_eq!(valid(&b, "k", &right).await, Ok(true));
        b.delete("keys/k").await.unwrap();
        assert!(b.records().is_empty());
        assert_eq!(valid(&b, "k", &right).await, Err(ErrorKind::InvalidRequest));
        assert!(b.records().is_empty());
    });
}

/// Bytes of a thread's stack, from what it uses when it waits downwards.
const STACK: u64 = 1024 * 1024;

#[test]
fn seeds_leave_the_stack_they_were_used_on() {
    for algorithm in ["SHA1", "SHA256", "SHA512"] {
        let mut seed = [0; 20];
        secmem::random::fill(&mut seed).unwrap();
        let mut scanner = secmem::scan::Scanner::new();
        scanner.add("seed", &seed);
        let text = totp_rs::Secret::from(seed.as_slice()).to_base32();
        let (used, wait) = std::sync::mpsc::channel();
        let (done, end) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            run(async {
                let b = Bench::mount("totp", &[]);
                let key = json!({"key": text, "account_name": "a", "issuer": "i", "algorithm": algorithm});
                b.write("keys/a", key).await.unwrap();
                b.write("code/a", json!({"code": "000000"})).await.unwrap();
                b.read("code/a").await.unwrap();
            });
            let here = 0_u8;
            used.send(std::ptr::from_ref(&here).addr() as u64).unwrap();
            // Stands still below: nothing of it is written over.
            let _ = end.recv();
        });
        let here = wait.recv().unwrap();
        let hits = scanner.scan_self().unwrap().hits;
        let left = hits.iter().filter(|h| (here - STACK..here).contains(&h.address)).count();
        assert_eq!(left, 0, "{algorithm}");
        drop(done);
        thread.join().unwrap();
    }
}
