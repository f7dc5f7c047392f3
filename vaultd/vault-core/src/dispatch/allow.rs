//! A service's allow-list: deny by default.

use vault_logical::AllowRule;

/// True when one rule names the method and matches the whole canonical path.
pub fn allowed(rules: &[AllowRule], method: &str, path: &str) -> bool {
    rules.iter().any(|r| {
        (r.methods.is_empty() || r.methods.iter().any(|m| m == method)) && path_matches(&r.path, path)
    })
}

/// `+` is exactly one segment, a final `*` is any rest of the path.
fn path_matches(pattern: &str, path: &str) -> bool {
    let (pattern, open) = match pattern.strip_suffix('*') {
        Some(p) => (p, true),
        None => (pattern, false),
    };
    let mut want = pattern.split('/').peekable();
    let mut have = path.split('/');
    while let Some(w) = want.next() {
        let Some(h) = have.next() else { return false };
        let last = want.peek().is_none();
        if last && open {
            return w == "+" || h.starts_with(w);
        }
        if w != h && (w != "+" || h.is_empty()) {
            return false;
        }
    }
    have.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path, want) in [
            ("/v1/chat", "/v1/chat", true),
            ("/v1/chat", "/v1/chat/", false),
            ("/v1/chat", "/v1/chatter", false),
            ("/v1/*", "/v1/chat/completions", true),
            ("/v1/*", "/v1/", true),
            ("/v1/*", "/v1", false),
            ("/v1/ch*", "/v1/chat/x", true),
            ("/v1/+/x", "/v1/a/x", true),
            ("/v1/+/x", "/v1/a/b/x", false),
            ("/v1/+/x", "/v1//x", false),
            ("/*", "/anything/at/all", true),
            ("*", "/anything", true),
            ("/", "/", true),
            ("/", "/a", false),
        ] {
            assert_eq!(path_matches(pattern, path), want, "{pattern} on {path}");
        }
    }

    #[test]
    fn methods_are_exact_and_nothing_is_allowed_by_default() {
        let rule = AllowRule { methods: vec!["GET".into()], path: "/a".into() };
        assert!(allowed(std::slice::from_ref(&rule), "GET", "/a"));
        assert!(!allowed(&[rule], "POST", "/a"));
        assert!(!allowed(&[], "GET", "/a"));
    }
}
