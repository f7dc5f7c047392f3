use super::*;
use proptest::prelude::*;
use vsss_rs::Gf256;

fn recover(shares: &[SecretBytes], len: usize) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; len];
    combine(shares, &mut out).map(|()| out)
}

/// Every subset of `shares` as a bit mask.
fn subset(shares: &[SecretBytes], mask: u32) -> Vec<SecretBytes> {
    shares.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, s)| s.clone()).collect()
}

#[test]
fn every_subset_of_threshold_size_recovers_and_smaller_ones_do_not() {
    let secret = random::array::<32>().unwrap();
    for n in 1..=10u8 {
        for t in 1..=n {
            if t == 1 && n > 1 {
                continue;
            }
            let shares = split(&secret, n, t).unwrap();
            for mask in 1..1u32 << n {
                let some = subset(&shares, mask);
                let got = recover(&some, 32).unwrap();
                assert_eq!(got == secret, mask.count_ones() >= u32::from(t), "{t} of {n}, subset {mask:b}");
            }
        }
    }
}

#[test]
fn many_shares_work() {
    let secret = random::array::<32>().unwrap();
    for t in [2, 100, 255] {
        let shares = split(&secret, 255, t).unwrap();
        let mut xs: Vec<u8> = shares.iter().map(|s| s.as_slice()[32]).collect();
        assert_eq!(recover(&shares[255 - usize::from(t)..], 32).unwrap(), secret);
        xs.sort_unstable();
        assert_eq!(xs, (1..=255).collect::<Vec<u8>>());
    }
}

#[test]
fn counts_out_of_range_are_refused() {
    for (n, t) in [(0, 0), (1, 0), (0, 1), (2, 3), (5, 1), (254, 255)] {
        assert!(matches!(split(b"secret", n, t), Err(Error::Shares(_))), "{t} of {n}");
    }
    assert!(matches!(split(b"", 3, 2), Err(Error::Shares(_))));
}

#[test]
fn malformed_share_sets_are_refused_with_one_text() {
    let shares = split(b"a secret", 3, 2).unwrap();
    let [a, b, c] = [0, 1, 2].map(|i| shares[i].as_slice().to_vec());
    let share = |bytes: &[u8]| SecretBytes::from(bytes.to_vec());
    let mut zero = a.clone();
    zero[8] = 0;
    let sets = [
        vec![],
        vec![share(&a), share(&a)],
        vec![share(&a), share(&b), share(&a)],
        vec![share(&zero), share(&b)],
        vec![share(&a[..8]), share(&b)],
        vec![share(&a[1..]), share(&b[1..])],
        vec![share(&[]), share(&c)],
        vec![share(&[a.as_slice(), &[7]].concat()), share(&c)],
    ];
    for set in sets {
        let e = recover(&set, 8).unwrap_err();
        assert_eq!(e.to_string(), "shares: the shares do not fit together");
    }
}

proptest! {
    /// vsss-rs has `x` first; apart from that the two agree in both directions.
    #[test]
    fn agrees_with_the_oracle(secret in prop::collection::vec(any::<u8>(), 1..64), n in 2u8..12, t in 2u8..12) {
        prop_assume!(t <= n);
        let ours = split(&secret, n, t).unwrap();
        let moved: Vec<Vec<u8>> = ours.iter().take(usize::from(t)).map(|s| {
            let (x, y) = s.as_slice().split_last().unwrap();
            [&[*x], y].concat()
        }).collect();
        prop_assert_eq!(Gf256::combine_bytes(&moved).unwrap(), secret.clone());
        let theirs = oracle_split(t, n, &secret);
        let back: Vec<SecretBytes> =
            theirs.iter().map(|s| SecretBytes::from([&s[1..], &s[..1]].concat())).collect();
        prop_assert_eq!(recover(&back[usize::from(n - t)..], secret.len()).unwrap(), secret);
    }
}

/// Shares made by the oracle's own arithmetic: one polynomial per byte, evaluated with its field type.
fn oracle_split(t: u8, n: u8, secret: &[u8]) -> Vec<Vec<u8>> {
    let rows: Vec<Vec<u8>> = secret
        .iter()
        .map(|b| {
            let mut row = vec![*b];
            row.extend((1..t).map(|_| random::array::<1>().unwrap()[0]));
            row
        })
        .collect();
    let eval = |row: &[u8], x: u8| row.iter().rev().fold(Gf256(0), |sum, c| sum * Gf256(x) + Gf256(*c)).0;
    (1..=n).map(|x| std::iter::once(x).chain(rows.iter().map(|row| eval(row, x))).collect()).collect()
}

/// Chi-square of byte counts against uniform; with 255 degrees of freedom 396 is passed once in 10^7.
fn chi_square(counts: &[u64; 256]) -> f64 {
    let total: u64 = counts.iter().sum();
    let expected = total as f64 / 256.0;
    counts.iter().map(|c| (*c as f64 - expected).powi(2) / expected).sum()
}
const CHI_SQUARE_LIMIT: f64 = 396.0;

#[test]
fn shares_and_coefficients_are_uniform() {
    // 2 of 2 over a constant secret: the slope (y - secret) / x is the coefficient itself.
    let secret = [0x5au8; 500];
    let (mut ys, mut slopes) = ([0u64; 256], [0u64; 256]);
    for _ in 0..500 {
        let shares = split(&secret, 2, 2).unwrap();
        let (x, y) = shares[0].as_slice().split_last().unwrap();
        for byte in y {
            ys[usize::from(*byte)] += 1;
            slopes[usize::from(gf256::mul(gf256::add(*byte, 0x5a), gf256::inverse(*x)))] += 1;
        }
    }
    assert!(chi_square(&ys) < CHI_SQUARE_LIMIT, "share bytes: {}", chi_square(&ys));
    assert!(chi_square(&slopes) < CHI_SQUARE_LIMIT, "coefficients: {}", chi_square(&slopes));
}

#[test]
fn one_share_too_few_says_nothing_about_the_secret() {
    // Candidates from t-1 shares of a fixed secret are spread evenly.
    let secret = [0u8; 500];
    let mut counts = [0u64; 256];
    for _ in 0..400 {
        let shares = split(&secret, 4, 3).unwrap();
        for byte in recover(&shares[..2], 500).unwrap() {
            counts[usize::from(byte)] += 1;
        }
    }
    assert!(chi_square(&counts) < CHI_SQUARE_LIMIT, "{}", chi_square(&counts));
}

#[test]
fn x_coordinates_are_uniform() {
    let mut counts = [0f64; 256];
    let rounds = 20_000;
    for _ in 0..rounds {
        for x in distinct(5).unwrap() {
            counts[usize::from(x)] += 1.0;
        }
    }
    let expected = f64::from(rounds * 5) / 255.0;
    assert!(counts[0] < 0.5, "x = 0 would be the secret itself");
    let chi: f64 = counts.iter().skip(1).map(|c| (c - expected).powi(2) / expected).sum();
    assert!(chi < CHI_SQUARE_LIMIT, "{chi}");
}
