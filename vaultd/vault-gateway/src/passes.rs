//! Headers by which providers' own SDKs name versions, betas, projects and themselves. They pass
//! by default: none is a credential, and without them the SDKs do not work.

/// Lower-case names, one provider a line.
const PROVIDER: &[&str] = &[
    // Several.
    "idempotency-key",
    "x-client-request-id",
    // Anthropic.
    "anthropic-version",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    // OpenAI.
    "openai-organization",
    "openai-project",
    "openai-beta",
    // Stripe. Not `stripe-account` and `stripe-context`: they choose whose account is used, which
    // a service must list.
    "stripe-version",
    "x-stripe-client-user-agent",
    "x-stripe-client-telemetry",
    // Google.
    "x-goog-api-client",
    // GitHub.
    "x-github-api-version",
    // Notion.
    "notion-version",
    // OpenRouter: the app's name and page.
    "x-title",
    "http-referer",
];

/// Beginnings of names: what generated SDKs say of their language, platform and retries.
const PROVIDER_PREFIXES: &[&str] = &["x-stainless-"];

/// True for a header that providers' SDKs send and need.
pub fn is_provider(name: &str) -> bool {
    PROVIDER.contains(&name) || PROVIDER_PREFIXES.iter().any(|p| name.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::CREDENTIAL_HEADERS;

    #[test]
    fn no_credential_and_nothing_of_the_connection_passes() {
        for name in PROVIDER {
            assert_eq!(*name, name.to_ascii_lowercase());
            assert!(!CREDENTIAL_HEADERS.contains(name), "{name}");
            assert!(!vault_logical::header::never_forwarded(name), "{name}");
            assert!(
                include_str!("../SERVICE.md").contains(&format!("`{name}`")),
                "{name} is not on the page"
            );
        }
        for name in
            ["cookie", "authorization", "stripe-account", "x-stainless", "x-forwarded-for", "forwarded"]
        {
            assert!(!is_provider(name), "{name}");
        }
        assert!(is_provider("x-stainless-retry-count"));
    }
}
