//! Which of a caller's headers no service may pass on.

/// Headers of the caller that never go upstream, listed or not: credentials, what names the caller
/// or its way here, what changes the method, and what the gateway sets itself.
const NEVER_FORWARDED: &[&str] = &[
    "authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "forwarded",
    "via",
    "x-real-ip",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "accept-encoding",
    "remote-user",
];

/// The same by their beginnings. `x-tenant`, `x-role` and `x-user` are what applications behind a
/// gateway take the caller's rights from: only a service's own `inject` may set one.
const NEVER_FORWARDED_PREFIXES: &[&str] = &[
    "x-forwarded-",
    "x-vault-",
    "proxy-",
    "sec-",
    "x-tenant",
    "x-role",
    "x-user",
    "x-remote-user",
    "x-auth-request-",
    "x-authenticated-",
];

/// Headers with which a caller picks a part of the answer. Needs `forward_range`: whoever may cut an
/// answer anywhere may cut an echoed key into parts too short to be recognised.
const RANGES: &[&str] = &["range", "if-range"];

/// True for a header that is never taken over from a caller. Any character but letters and digits
/// counts as `-`: to whatever reads headers as CGI variables (`HTTP_X_USER`) they are one.
pub fn never_forwarded(name: &str) -> bool {
    let normal = normal(name);
    NEVER_FORWARDED.contains(&normal.as_str())
        || NEVER_FORWARDED_PREFIXES.iter().any(|p| normal.starts_with(p))
}

/// True for a header that asks for a part of the answer, in any spelling.
pub fn asks_for_range(name: &str) -> bool {
    RANGES.contains(&normal(name).as_str())
}

fn normal(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_headers_in_any_spelling() {
        for name in [
            "X-Tenant-Id",
            "x-tenant",
            "x_tenant_id",
            "X_Tenant-Id",
            "x.tenant.id",
            "x-role",
            "X-Roles",
            "x_role",
            "x-user",
            "X-User-Id",
            "x_user_email",
            "x-username",
            "x_forwarded_for",
            "X_Api_Key",
            "x_vault_token",
            "Remote_User",
            "sec_fetch_mode",
            "x~user",
        ] {
            assert!(never_forwarded(name), "{name}");
        }
        for name in ["user-agent", "x-goog-user-project", "anthropic-version", "x-request-role", "tenant"] {
            assert!(!never_forwarded(name), "{name}");
        }
        assert!(asks_for_range("Range") && asks_for_range("if_range") && !asks_for_range("accept-ranges"));
    }
}
