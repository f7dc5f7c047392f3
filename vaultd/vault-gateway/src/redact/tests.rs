use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use proptest::prelude::*;

const KEY: &[u8] = b"sk-test/Key+with\"odd\\chars=42&%<>_";
/// Nothing that could be read as a part of the key in any spelling.
const NOISE: &[u8] = b"!*()~ ,:";

fn patterns() -> Arc<Patterns> {
    Patterns::new(KEY, "Bearer {{credential}}").unwrap()
}

fn run_with(patterns: &Arc<Patterns>, body: &[u8], cuts: &[usize]) -> (Vec<u8>, u64) {
    let mut s = Scanner::new(patterns.clone());
    let mut out = Vec::new();
    let mut from = 0;
    for cut in cuts.iter().copied().chain([body.len()]) {
        let cut = cut.clamp(from, body.len());
        out.extend_from_slice(&s.push(Bytes::copy_from_slice(&body[from..cut])));
        from = cut;
    }
    out.extend_from_slice(&s.finish());
    (out, s.hits)
}

fn run(body: &[u8], cuts: &[usize]) -> (Vec<u8>, u64) {
    run_with(&patterns(), body, cuts)
}

/// Every spelling of one character that this test knows, by writing them (the code under test reads).
fn spellings(b: u8) -> Vec<Vec<u8>> {
    let mut all = vec![vec![b], vec![0, b], vec![0, 0, 0, b]];
    let mut add = |s: String| all.push(s.into_bytes());
    let c = char::from(b);
    if b.is_ascii_punctuation() {
        add(format!("\\{c}"));
        add(format!("\\\\\\{c}"));
    }
    let cases = [format!("{b:02x}"), format!("{b:02X}")];
    for h in &cases {
        for text in
            ["\\u00H", "\\\\u00H", "\\xH", "%H", "%25H", "%2525H", "&#xH;", "&#XH;", "&#x00H;", "&amp;#xH;"]
        {
            add(text.replace('H', h));
        }
    }
    for text in ["&#D;", "&#0D;", "&#0000D;", "&amp;#D;"] {
        add(text.replace('D', &b.to_string()));
    }
    for (byte, names) in [
        (b'&', ["amp", "AMP"]),
        (b'<', ["lt", "LT"]),
        (b'>', ["gt", "GT"]),
        (b'"', ["quot", "QUOT"]),
        (b'/', ["sol", "sol"]),
        (b'\\', ["bsol", "bsol"]),
        (b'+', ["plus", "plus"]),
        (b'=', ["equals", "equals"]),
        (b'_', ["lowbar", "UnderBar"]),
        (b'%', ["percnt", "percnt"]),
    ] {
        if byte == b {
            names.iter().for_each(|n| add(format!("&{n};")));
        }
    }
    all
}

/// The key, each character in the spelling that `choose` picks.
fn spelled(text: &[u8], mut choose: impl FnMut(usize) -> usize) -> Vec<u8> {
    text.iter()
        .flat_map(|b| {
            let all = spellings(*b);
            let n = choose(all.len()) % all.len();
            all[n].clone()
        })
        .collect()
}

fn hex(key: &[u8], mut upper: impl FnMut() -> bool) -> Vec<u8> {
    let digit =
        |n: u8, upper| char::from_digit(n.into(), 16).map(|c| if upper { c.to_ascii_uppercase() } else { c });
    key.iter().flat_map(|b| [b >> 4, b & 15]).map(|n| digit(n, upper()).unwrap() as u8).collect()
}

/// As MIME and PEM break lines, or JSON shows them.
fn wrapped(text: &str, width: usize, line: &str) -> Vec<u8> {
    text.as_bytes().chunks(width).collect::<Vec<_>>().join(line.as_bytes())
}

/// Whole keys in every shape, at every alignment.
fn shapes() -> Vec<Vec<u8>> {
    let mut all = vec![KEY.to_vec(), hex(KEY, || false), hex(KEY, || true)];
    let mut flip = false;
    all.push(hex(KEY, || {
        flip = !flip;
        flip
    }));
    for n in 0..40 {
        all.push(spelled(KEY, |_| n));
    }
    for before in ["", "x", "xy"] {
        for after in ["", "z", "zz"] {
            let text = [before.as_bytes(), KEY, after.as_bytes()].concat();
            let standard = STANDARD.encode(&text);
            all.push(URL_SAFE.encode(&text).into_bytes());
            all.push(standard.replace('/', "\\/").into_bytes());
            all.push(standard.replace('/', "%2F").replace('+', "%2b").replace('=', "%3D").into_bytes());
            for (width, line) in [
                (76, "\r\n"),
                (64, "\n"),
                (19, "\n  "),
                (5, "\\r\\n"),
                (7, "\\n"),
                (11, "&#10;"),
                (9, "%0D%0A"),
            ] {
                all.push(wrapped(&standard, width, line));
            }
            all.push(standard.into_bytes());
        }
    }
    all
}

/// What a reader of the answer could still get: nothing of the shape from its public part on.
fn leaks(out: &[u8], shape: &[u8]) -> bool {
    let part = shape.len() / 2;
    shape.windows(part).any(|w| out.windows(part).any(|o| o == w))
}

#[test]
fn every_shape_is_masked_at_every_split() {
    let p = patterns();
    let run = |body: &[u8], cuts: &[usize]| run_with(&p, body, cuts);
    for shape in shapes() {
        let body = [b"data: {\"echo\": \"".as_slice(), &shape, b"\"}\n\n"].concat();
        let (whole, hits) = run(&body, &[]);
        assert_eq!((whole.len(), hits), (body.len(), 1), "{}", String::from_utf8_lossy(&body));
        assert!(!leaks(&whole, &shape), "{}", String::from_utf8_lossy(&whole));
        for cut in 0..=body.len() {
            assert_eq!(run(&body, &[cut]), (whole.clone(), 1), "split at {cut}");
        }
        let bytes: Vec<usize> = (0..body.len()).collect();
        assert_eq!(run(&body, &bytes), (whole, 1), "byte by byte");
    }
}

#[test]
fn a_key_without_its_end_is_masked_from_eight_bytes_on() {
    for (key, prefix) in
        [("sk-proj-abcdefgh12345678", 8), ("sk_live_abcdefgh12345678", 8), ("abcdefgh12345678", 0)]
    {
        let p = Patterns::new(key.as_bytes(), "Bearer {{credential}}").unwrap();
        for len in 1..=key.len() {
            let part = &key[..len];
            let secret = len >= prefix + 8;
            for (text, is_plain) in [
                (part.to_string(), true),
                (hex(part.as_bytes(), || false).iter().map(|b| char::from(*b)).collect(), false),
                (spelled(part.as_bytes(), |_| 7).iter().map(|b| char::from(*b)).collect(), false),
            ] {
                // In the middle of an answer, and where the upstream ends it.
                for body in [format!("\"{text}\" and more"), format!("x {text}")] {
                    for cut in [0, body.len() / 2, body.len() - 1] {
                        let (out, hits) = run_with(&p, body.as_bytes(), &[cut]);
                        assert_eq!(hits, u64::from(secret), "{body}");
                        assert_eq!(out.len(), body.len());
                        if secret {
                            assert!(!String::from_utf8_lossy(&out).contains(text.as_str()), "{body}");
                        } else if is_plain {
                            assert_eq!(out, body.as_bytes(), "{body}");
                        }
                    }
                }
            }
            // As base64, nothing stays but what the last bytes share with their neighbours.
            let text = STANDARD_NO_PAD.encode(format!("u:{part}"));
            let (out, hits) = run_with(&p, text.as_bytes(), &[3]);
            assert_eq!(hits, u64::from(secret), "{part}");
            if secret {
                assert!(out.iter().filter(|b| **b != b'*').count() <= 5, "{}", String::from_utf8_lossy(&out));
            }
        }
    }
}

#[test]
fn a_user_and_a_password_are_masked_beside_what_they_were_sent_as() {
    let key = STANDARD.encode("account-0123:hunter2/hunter2");
    let p = Patterns::new(key.as_bytes(), "Basic {{credential}}").unwrap();
    for echo in [
        key.as_str(),
        "account-0123",
        "hunter2/hunter2",
        "hunter2\\/hunter2",
        "account-0123:hunter2%2Fhunter2",
    ] {
        let body = format!("you are <{echo}>");
        let (out, hits) = run_with(&p, body.as_bytes(), &[9]);
        assert_eq!(hits, 1, "{echo}");
        assert_eq!(String::from_utf8(out).unwrap(), format!("you are <{}>", "*".repeat(echo.len())));
    }
}

#[test]
fn an_event_is_not_held_back() {
    let mut s = Scanner::new(patterns());
    for event in [
        "data: {\"delta\":\"hello\"}\n\n",
        "data: c\n\n",
        "data: c2s\r\n\r\n",
        "s\n",
        "sk-test\n",
        "{\"a\":\"\\n\"}\n",
    ] {
        let event = Bytes::from(event);
        assert_eq!(s.push(event.clone()), event);
    }
    // Only a beginning of the key waits for its end.
    assert_eq!(&s.push(Bytes::from_static(b"data: sk-te"))[..], b"data: ");
    assert_eq!(&s.push(Bytes::from_static(b"a\n\n"))[..], b"sk-tea\n\n");
    assert_eq!(s.hits, 0);
}

#[test]
fn what_does_not_hold_the_key_is_not_copied() {
    let mut s = Scanner::new(patterns());
    let text =
        Bytes::from("a sky, a skill: sk-tes, c2st, 736b, %73, \\u0073, &amp;lt; sk-test/Kez. ".repeat(100));
    let out = s.push(text.clone());
    assert_eq!((out.as_ptr(), out.len(), s.hits), (text.as_ptr(), text.len(), 0));
}

#[test]
fn names_of_headers_come_in_lower_case() {
    let p = Patterns::new(b"sk-AbCdEfGh12345678", "{{credential}}").unwrap();
    assert!(p.is_named(b"x-sk-abcdefgh12345678") && p.is_named(b"sk-abcdefgh"));
    assert!(p.is_named(b"736b2d41624364456647683132333435"));
    assert!(!p.is_named(b"x-sk-abcdefg") && !p.is_named(b""));
}

#[test]
fn a_key_of_escape_characters_costs_little() {
    for key in ["\\".repeat(500), "%25".repeat(200), "&amp;".repeat(100)] {
        let p = Patterns::new(key.as_bytes(), "{{credential}}").unwrap();
        let body = "\\%25&amp;".repeat(50) + &key.repeat(4);
        let (out, hits) = run_with(&p, body.as_bytes(), &[100, 1000]);
        assert!(hits > 0 && out.len() == body.len());
        assert!(!String::from_utf8_lossy(&out).contains(&key));
    }
}

#[test]
fn nothing_is_looked_for_without_a_key() {
    let text = Bytes::from_static(b"\\ % & sk-test");
    assert_eq!(Scanner::new(Patterns::none()).push(text.clone()), text);
    assert!(Patterns::new(b"sk-proj-1234567", "{{credential}}").is_err());
}

/// A part of an answer: what it looks like, and what is to become of it.
#[derive(Clone, Debug)]
enum Part {
    Noise(Vec<u8>),
    Secret(Vec<u8>),
    /// Too little of the key to matter.
    Little(Vec<u8>),
}

fn part() -> impl Strategy<Value = Part> {
    let choices = prop::collection::vec(any::<usize>(), KEY.len());
    let spelled_key = (choices.clone(), 11..=KEY.len()).prop_map(|(c, len)| {
        let mut c = c.into_iter();
        Part::Secret(spelled(&KEY[..len], |_| c.next().unwrap_or(0)))
    });
    let hex_key =
        (prop::collection::vec(any::<bool>(), 2 * KEY.len()), 11..=KEY.len()).prop_map(|(c, len)| {
            let mut c = c.into_iter();
            Part::Secret(hex(&KEY[..len], || c.next().unwrap_or(false)))
        });
    let little = (0..11usize).prop_map(|len| Part::Little(KEY[..len].to_vec()));
    let noise = prop::collection::vec(prop::sample::select(NOISE), 1..20).prop_map(Part::Noise);
    prop_oneof![2 => noise, 3 => spelled_key, 1 => hex_key, 1 => little]
}

proptest! {
    /// What is to be masked is known from how the answer was made; splits change nothing.
    #[test]
    fn exactly_the_key_is_masked(parts in prop::collection::vec(part(), 0..8), cuts in prop::collection::vec(0usize..2000, 0..8)) {
        let (mut body, mut expected, mut expected_hits) = (Vec::new(), Vec::new(), 0);
        for part in &parts {
            // Noise in between: two parts do not become one.
            body.push(b'!');
            expected.push(b'!');
            match part {
                Part::Noise(text) | Part::Little(text) => {
                    body.extend_from_slice(text);
                    expected.extend_from_slice(text);
                }
                Part::Secret(text) => {
                    body.extend_from_slice(text);
                    expected.resize(expected.len() + text.len(), b'*');
                    expected_hits += 1;
                }
            }
        }
        let mut cuts = cuts;
        cuts.sort_unstable();
        let (out, hits) = run(&body, &cuts);
        prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
        prop_assert_eq!(hits, expected_hits);
    }

    /// Any bytes whatever, and pieces of the key's spellings: nothing panics, lengths stay, every
    /// split gives what the whole gives.
    #[test]
    fn splits_do_not_matter(parts in prop::collection::vec(prop_oneof![
        Just(KEY.to_vec()), Just(KEY[..9].to_vec()), Just(KEY[3..].to_vec()), Just(STANDARD.encode(KEY).into_bytes()),
        prop::sample::select(vec!["\\", "%", "&#", "&am", "\\u00", "\\\\u00", "%25", "sk-", "\0", "c2st\r\n"]).prop_map(|s| s.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..20)], 0..12), cuts in prop::collection::vec(0usize..400, 0..8)) {
        let body = parts.concat();
        let mut cuts = cuts;
        cuts.sort_unstable();
        let (out, hits) = run(&body, &cuts);
        let mut whole = body.clone();
        let whole_hits = patterns().mask(&mut whole);
        prop_assert_eq!(&out, &whole);
        prop_assert_eq!(hits, whole_hits);
        prop_assert!(!out.windows(11).any(|w| w == &KEY[..11]));
    }
}
