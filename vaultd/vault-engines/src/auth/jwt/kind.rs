//! What a token is for: calling (access), telling who somebody is (id), or getting new tokens
//! (refresh). Issuers say it in claims of several names, whatever the header's `typ` says.

use super::token::{Claims, Refused};
use serde_json::Value;

/// Where issuers say it: `typ` (Keycloak), `token_use` (Cognito), `token_type` and `type`
/// (libraries for web frameworks).
const CLAIMS: [&str; 5] = ["type", "typ", "token_type", "token_use", "token_kind"];

/// Which kinds a mount accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Accepted {
    /// All but tokens that say they are for refreshing.
    #[default]
    NoRefresh,
    /// Only tokens that say they are for access.
    Access,
    /// No token that says it is for access.
    Id,
}

impl Accepted {
    pub fn parse(s: &str) -> Option<Self> {
        Some(match s {
            "" => Accepted::NoRefresh,
            "access" => Accepted::Access,
            "id" => Accepted::Id,
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Access,
    Id,
    Refresh,
    Other,
}

/// What a word means, whatever its case and punctuation.
fn kind(word: &str) -> Kind {
    let word: String =
        word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    match word.as_str() {
        "offline" | "offlineaccess" | "rt" | "rtjwt" => Kind::Refresh,
        w if w.contains("refresh") => Kind::Refresh,
        "access" | "accesstoken" | "bearer" | "at" | "atjwt" => Kind::Access,
        "id" | "idtoken" => Kind::Id,
        _ => Kind::Other,
    }
}

/// Refuses a token that says it is of a kind the mount does not accept. `typed_access`: its
/// header says `at+jwt` (RFC 9068).
pub(super) fn check(claims: &Claims, typed_access: bool, accepted: Accepted) -> Result<(), Refused> {
    let said = claims.iter().filter(|(name, _)| CLAIMS.iter().any(|c| name.eq_ignore_ascii_case(c)));
    let words = said.flat_map(|(_, value)| match value {
        Value::Array(many) => many.as_slice(),
        one => std::slice::from_ref(one),
    });
    let (mut access, mut id) = (typed_access, false);
    for word in words.filter_map(Value::as_str) {
        match kind(word) {
            Kind::Refresh => return Err(Refused("a refresh token")),
            Kind::Access => access = true,
            Kind::Id => id = true,
            Kind::Other => {}
        }
    }
    match accepted {
        Accepted::NoRefresh => Ok(()),
        Accepted::Access if access && !id => Ok(()),
        Accepted::Id if !access => Ok(()),
        Accepted::Access => Err(Refused("not an access token")),
        Accepted::Id => Err(Refused("not an id token")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_by_every_name_and_spelling() {
        use Accepted::{Access, Id, NoRefresh};
        let none = (true, false, true);
        for (claims, typed, (any, access, id)) in [
            (json!({}), false, none),
            (json!({}), true, (true, true, false)),
            (json!({"type": "user"}), false, none),
            (json!({"type": 7, "typ": null, "token_use": {"a": "refresh"}}), false, none),
            (json!({"type": "refresh"}), false, (false, false, false)),
            (json!({"type": "refresh"}), true, (false, false, false)),
            (json!({"Type": "Refresh_Token"}), true, (false, false, false)),
            (json!({"typ": "Refresh"}), false, (false, false, false)),
            (json!({"typ": "Offline"}), false, (false, false, false)),
            (json!({"token_type": "refresh-token"}), false, (false, false, false)),
            (json!({"token_use": ["access", "refresh"]}), false, (false, false, false)),
            (json!({"token_type": "access", "typ": "REFRESH "}), false, (false, false, false)),
            (json!({"token_type": "rt+jwt"}), false, (false, false, false)),
            (json!({"typ": "Bearer"}), false, (true, true, false)),
            (json!({"token_use": "access"}), false, (true, true, false)),
            (json!({"token_use": "id"}), false, none),
            (json!({"token_use": "id"}), true, (true, false, false)),
            (json!({"typ": "ID"}), false, none),
        ] {
            let c = claims.as_object().unwrap();
            for (accepted, want) in [(NoRefresh, any), (Access, access), (Id, id)] {
                assert_eq!(check(c, typed, accepted).is_ok(), want, "{claims} {typed} {accepted:?}");
            }
        }
    }
}
