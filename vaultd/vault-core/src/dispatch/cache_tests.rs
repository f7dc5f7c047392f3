use super::*;
use secmem::Arena;
use std::time::Duration;

fn now() -> Timestamp {
    Timestamp::from_unix_secs(1_000)
}

fn later() -> Timestamp {
    now().plus(Duration::from_secs(60))
}

fn binding(field: &str) -> Binding {
    Binding { path: "secret/data/openai".into(), field: field.into(), version: None }
}

fn service() -> Arc<ServiceConfig> {
    let json = serde_json::json!({
        "v": 1, "upstream": "https://x.example", "credential": binding("key"), "inject_header": "a",
        "inject_template": "{{credential}}", "allow": [], "auth": [], "caller_header": "b",
        "timeout": {"secs": 1, "nanos": 0},
    });
    Arc::new(serde_json::from_value(json).unwrap())
}

fn identity() -> CachedIdentity {
    CachedIdentity { auth: Arc::new(Auth::default()), until: later(), epoch: 0 }
}

struct World {
    cache: InvokeCache,
    arena: Arena,
    mount: Uuid,
}

impl World {
    fn new() -> World {
        World { cache: InvokeCache::default(), arena: Arena::open(None).unwrap(), mount: Uuid::new_v4() }
    }

    fn keep(&self, key: &str, until: Timestamp, during: impl FnOnce()) -> u64 {
        let fill = self.cache.fill(self.mount);
        during();
        let key = self.arena.from_slice(key.as_bytes()).unwrap();
        let made_of = vec!["meta/openai".into(), "data/openai/1".into()];
        self.cache.keep_credential(&fill, &binding("key"), key, 0, until, made_of).epoch
    }

    fn kept(&self) -> Option<u64> {
        self.cache.credential(self.mount, &binding("key"), now()).map(|c| c.epoch)
    }
}

#[test]
fn a_write_to_a_neighbour_drops_nothing_and_a_write_to_the_secret_drops_it() {
    let w = World::new();
    let epoch = w.keep("one", later(), || w.cache.forget(w.mount, "data/neighbour/1"));
    assert_eq!(w.kept(), Some(epoch), "kept although a neighbour changed meanwhile");
    w.cache.forget(w.mount, "meta/neighbour");
    w.cache.forget(Uuid::new_v4(), "meta/openai");
    w.cache.forget_mount(Uuid::new_v4());
    assert_eq!(w.kept(), Some(epoch));
    w.cache.forget(w.mount, "meta/openai");
    assert_eq!(w.kept(), None);
    // Changed while it was read: used once, never kept.
    w.keep("two", later(), || w.cache.forget(w.mount, "data/openai/1"));
    assert_eq!(w.kept(), None);
    w.keep("two", later(), || w.cache.forget_mount(w.mount));
    assert_eq!(w.kept(), None);
    w.keep("two", later(), || (0..=MAX_FILL_CHANGES).for_each(|n| w.cache.forget(w.mount, &format!("n{n}"))));
    assert_eq!(w.kept(), None, "more changes than are told apart");
}

#[test]
fn the_same_key_read_again_keeps_its_connections_and_another_does_not() {
    let w = World::new();
    let first = w.keep("one", now(), || ());
    assert_eq!(w.kept(), None, "its time is up");
    assert_eq!(w.keep("one", now(), || ()), first);
    let other = w.keep("another", later(), || ());
    assert_ne!(other, first);
    assert_eq!(w.kept(), Some(other));
}

#[test]
fn a_service_falls_with_its_own_record_only() {
    let w = World::new();
    let cached = || w.cache.service(w.mount, "openai").map(|(_, epoch)| epoch);
    let keep = || w.cache.keep_service(&w.cache.fill(w.mount), "openai", service());
    let epoch = keep();
    assert_eq!(keep(), epoch, "read twice at once: one epoch");
    w.cache.forget(w.mount, "service/other");
    assert_eq!(cached(), Some(epoch));
    w.cache.forget(w.mount, "service/openai");
    assert_eq!(cached(), None);
    let fill = w.cache.fill(w.mount);
    w.cache.forget(w.mount, "service/openai");
    w.cache.keep_service(&fill, "openai", service());
    assert_eq!(cached(), None);
}

#[test]
fn an_identity_falls_with_anything_of_its_mount() {
    let w = World::new();
    let cached = || w.cache.identity(w.mount, &[1; 32], now()).is_some();
    w.cache.keep_identity(&w.cache.fill(w.mount), [1; 32], identity());
    assert!(cached());
    assert!(w.cache.identity(w.mount, &[1; 32], later()).is_none(), "its time is up");
    w.cache.forget(w.mount, "config");
    assert!(!cached());
    let fill = w.cache.fill(w.mount);
    w.cache.forget(w.mount, "role/app");
    w.cache.keep_identity(&fill, [1; 32], identity());
    assert!(!cached());
}

#[test]
fn nothing_stays_of_names_that_do_not_exist() {
    let w = World::new();
    for n in 0..100 {
        let fill = w.cache.fill(Uuid::from_u128(n));
        assert!(w.cache.service(Uuid::from_u128(n), "x").is_none());
        drop(fill);
    }
    assert!(w.cache.parts.read().is_empty());
    w.keep("one", later(), || ());
    w.cache.clear();
    assert!(w.kept().is_none());
}
