//! Trees of tokens against a model that is as naive as possible: a list of tokens with their
//! parents, looked through on every question.

use super::*;
use proptest::prelude::*;
use serde_json::json;

#[derive(Clone, Debug)]
enum Step {
    Create { parent: usize, ttl: u64, orphan: bool },
    Revoke(usize),
    RevokeOrphan(usize),
    Renew { token: usize, increment: u64 },
    Advance(u64),
    Sweep,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0usize..40, 1u64..400, prop::bool::weighted(0.15))
            .prop_map(|(parent, ttl, orphan)| Step::Create { parent, ttl, orphan }),
        2 => (0usize..40).prop_map(Step::Revoke),
        2 => (0usize..40).prop_map(Step::RevokeOrphan),
        2 => (0usize..40, 1u64..400).prop_map(|(token, increment)| Step::Renew { token, increment }),
        2 => (1u64..200).prop_map(Step::Advance),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

struct Modelled {
    id: SecretString,
    parent: Option<usize>,
    expires: u64,
    revoked: bool,
}

#[derive(Default)]
struct Model {
    now: u64,
    tokens: Vec<Modelled>,
}

impl Model {
    fn lives(&self, i: usize) -> bool {
        let t = &self.tokens[i];
        !t.revoked && self.now < t.expires && t.parent.is_none_or(|p| self.lives(p))
    }
}

async fn compare(b: &Bench, m: &Model) {
    for (i, t) in m.tokens.iter().enumerate() {
        assert_eq!(b.lives(&t.id).await, m.lives(i), "token {i}");
        let described = b.describe(&t.id).await;
        assert_eq!(described.is_ok(), m.lives(i), "lookup of token {i}");
        if let Ok(d) = described {
            assert_eq!(d["orphan"], json!(t.parent.is_none()), "token {i}");
            assert_eq!(d["ttl"], json!(t.expires - m.now), "token {i}");
        }
    }
}

async fn run(script: Vec<Step>) {
    let mut b = Bench::new().await;
    let empty = b.records().await;
    let mut m = Model::default();
    for step in script {
        let count = m.tokens.len();
        let chosen = |i: usize| (count > 0).then(|| i % count);
        match step {
            Step::Create { parent, ttl, orphan } => {
                let parent = chosen(parent).filter(|&p| m.lives(p) || p % 5 == 0);
                let by = parent.map_or(&b.root, |p| &m.tokens[p].id);
                let path = if orphan || parent.is_none() { "create-orphan" } else { "create" };
                let made = b.call(by, path, json!({"ttl": ttl, "policies": ["a"]})).await;
                assert_eq!(made.is_ok(), parent.is_none_or(|p| m.lives(p)));
                if let Ok((_, auth)) = made {
                    let parent = parent.filter(|_| !orphan);
                    let id = auth.unwrap().client_token;
                    m.tokens.push(Modelled { id, parent, expires: m.now + ttl, revoked: false });
                }
            }
            Step::Revoke(i) => {
                let Some(i) = chosen(i) else { continue };
                b.call(&b.root, "revoke", json!({"token": m.tokens[i].id.expose_secret()})).await.unwrap();
                // Revoking what has ended already does nothing, and nothing comes back from it.
                m.tokens[i].revoked |= m.lives(i);
            }
            Step::RevokeOrphan(i) => {
                let Some(i) = chosen(i) else { continue };
                let done =
                    b.call(&b.root, "revoke-orphan", json!({"token": m.tokens[i].id.expose_secret()})).await;
                assert_eq!(done.is_ok(), m.lives(i));
                if done.is_ok() {
                    m.tokens[i].revoked = true;
                    m.tokens.iter_mut().filter(|t| t.parent == Some(i)).for_each(|t| t.parent = None);
                }
            }
            Step::Renew { token, increment } => {
                let Some(i) = chosen(token) else { continue };
                let done = b.call(&m.tokens[i].id, "renew-self", json!({"increment": increment})).await;
                assert_eq!(done.is_ok(), m.lives(i));
                if done.is_ok() {
                    m.tokens[i].expires = m.now + increment;
                }
            }
            Step::Advance(s) => {
                m.now += s;
                b.clock.advance(Duration::from_secs(s));
            }
            Step::Sweep => {
                b.sweep().await;
            }
            Step::Restart => b.tokens = b.restarted(),
        }
        compare(&b, &m).await;
    }
    // When all have expired and the sweeper has been, nothing is left.
    b.clock.advance(Duration::from_secs(1000));
    b.sweep().await;
    b.clock.advance(crate::limits::JOB_DELAY);
    b.sweep().await;
    assert_eq!(b.records().await, empty);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn trees_behave_as_the_model(script in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(script));
    }
}
