//! `role/`: which tokens may log in, and as what.

use super::config::says_nothing;
use crate::limits::{JWT_DEFAULT_LEEWAY, JWT_MAX_LEEWAY, JWT_MAX_LIST};
use crate::params;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;
use vault_api::json;
use vault_logical::{
    Context, Data, Error, ErrorKind, Operation, PathName, Request, Response, Result, ViewExt, field,
};

const FORM: u8 = 1;
const FIELDS: &[&str] = &[
    "role_type",
    "bound_audiences",
    "bound_subject",
    "bound_claims",
    "bound_claims_type",
    "user_claim",
    "user_claim_json_pointer",
    "groups_claim",
    "claim_mappings",
    "clock_skew_leeway",
    "expiration_leeway",
    "not_before_leeway",
    "allowed_redirect_uris",
    "token_ttl",
    "token_max_ttl",
    "token_explicit_max_ttl",
    "token_period",
    "token_policies",
    "token_num_uses",
    "token_no_default_policy",
    "token_type",
    "ttl",
    "max_ttl",
    "period",
    "policies",
    "num_uses",
];
/// Vault's settings for what is not built here, or means nothing to a role of type `jwt`: refused
/// when they say anything.
const UNBUILT: &[&str] = &[
    "token_bound_cidrs",
    "bound_cidrs",
    "token_strictly_bind_ip",
    "oidc_scopes",
    "verbose_oidc_logging",
    "max_age",
    "oauth2_metadata",
];

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Match {
    String,
    Glob,
}

/// Durations are whole seconds.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Role {
    v: u8,
    pub bound_audiences: Vec<String>,
    pub bound_subject: String,
    #[serde(deserialize_with = "json::member")]
    pub bound_claims: Map<String, Value>,
    pub bound_claims_type: Match,
    pub user_claim: String,
    pub user_claim_json_pointer: bool,
    pub groups_claim: String,
    pub claim_mappings: BTreeMap<String, String>,
    /// 0 = the default, -1 = none.
    clock_skew_leeway: i64,
    expiration_leeway: i64,
    not_before_leeway: i64,
    /// Kept and read back for clients that send it; only the browser flow would use it.
    allowed_redirect_uris: Vec<String>,
    pub token_ttl: u64,
    pub token_max_ttl: u64,
    pub token_explicit_max_ttl: u64,
    pub token_period: u64,
    pub token_policies: Vec<String>,
    pub token_num_uses: u64,
    pub token_no_default_policy: bool,
}

/// How far the issuer's clock may differ from ours.
pub(super) struct Leeway {
    pub expiration: Duration,
    pub not_before: Duration,
}

pub(super) fn path(name: &PathName) -> String {
    format!("role/{name}")
}

/// A role's name in its one form: lower case, as in Vault.
pub(super) fn normal(name: &str) -> Result<String> {
    let lower = name.to_lowercase();
    if params::is_name(&lower, b"") { Ok(lower) } else { Err(Error::unsupported_path()) }
}

impl Role {
    fn new() -> Self {
        Role {
            v: FORM,
            bound_audiences: Vec::new(),
            bound_subject: String::new(),
            bound_claims: Map::new(),
            bound_claims_type: Match::String,
            user_claim: String::new(),
            user_claim_json_pointer: false,
            groups_claim: String::new(),
            claim_mappings: BTreeMap::new(),
            clock_skew_leeway: 0,
            expiration_leeway: 0,
            not_before_leeway: 0,
            allowed_redirect_uris: Vec::new(),
            token_ttl: 0,
            token_max_ttl: 0,
            token_explicit_max_ttl: 0,
            token_period: 0,
            token_policies: Vec::new(),
            token_num_uses: 0,
            token_no_default_policy: false,
        }
    }

    /// The role of that name, and whether it exists. Either way one record is found, one is not, and
    /// a role is decoded: what stands in for a role that does not exist costs the same.
    pub async fn load_any(cx: &mut Context<'_>, name: &PathName) -> Result<(Self, bool)> {
        static NOBODYS: LazyLock<Vec<u8>> =
            LazyLock::new(|| serde_json::to_vec(&Role::new()).unwrap_or_default());
        match Role::load(cx, name).await? {
            Some(role) => {
                cx.view.get(&format!("none/{name}")).await?;
                Ok((role, true))
            }
            None => {
                cx.view.get(super::config::PATH).await?;
                Ok((serde_json::from_slice(&NOBODYS).map_err(Error::internal)?, false))
            }
        }
    }

    pub async fn load(cx: &mut Context<'_>, name: &PathName) -> Result<Option<Self>> {
        match cx.view.get_json::<Role>(&path(name)).await? {
            Some(r) if r.v != FORM => Err(Error::internal("stored role is of a newer form")),
            r => Ok(r),
        }
    }

    /// `expiration_leeway` and `not_before_leeway` are for their own claim, `clock_skew_leeway` for
    /// both where they are not set.
    pub fn leeway(&self) -> Leeway {
        let seconds = |own: i64| match (own, self.clock_skew_leeway) {
            (0, 0) => JWT_DEFAULT_LEEWAY,
            (0, n) | (n, _) => u64::try_from(n).unwrap_or(0),
        };
        let leeway = |own| Duration::from_secs(seconds(own).min(JWT_MAX_LEEWAY));
        Leeway { expiration: leeway(self.expiration_leeway), not_before: leeway(self.not_before_leeway) }
    }
}

pub(super) async fn read(cx: &mut Context<'_>, request: &Request, name: &PathName) -> Result<Response> {
    let r = Role::load(cx, name).await?.ok_or_else(Error::not_found)?;
    let mut d = Data::new();
    let mut put = |name: &str, v: Value| d.insert(name.into(), v);
    put("role_type", "jwt".into());
    put("allowed_redirect_uris", r.allowed_redirect_uris.into());
    put("bound_audiences", r.bound_audiences.into());
    put("bound_claims", if r.bound_claims.is_empty() { Value::Null } else { Value::Object(r.bound_claims) });
    put("bound_claims_type", if r.bound_claims_type == Match::Glob { "glob" } else { "string" }.into());
    put("bound_subject", r.bound_subject.into());
    put("claim_mappings", r.claim_mappings.into_iter().map(|(k, v)| (k, Value::from(v))).collect());
    put("clock_skew_leeway", r.clock_skew_leeway.into());
    put("expiration_leeway", r.expiration_leeway.into());
    put("not_before_leeway", r.not_before_leeway.into());
    put("groups_claim", r.groups_claim.into());
    put("user_claim", r.user_claim.into());
    put("user_claim_json_pointer", r.user_claim_json_pointer.into());
    put("token_bound_cidrs", Value::Array(Vec::new()));
    put("token_explicit_max_ttl", r.token_explicit_max_ttl.into());
    put("token_max_ttl", r.token_max_ttl.into());
    put("token_no_default_policy", r.token_no_default_policy.into());
    put("token_num_uses", r.token_num_uses.into());
    put("token_period", r.token_period.into());
    put("token_policies", r.token_policies.into());
    put("token_ttl", r.token_ttl.into());
    put("token_strictly_bind_ip", false.into());
    put("token_type", "default".into());
    put("max_age", 0.into());
    put("oauth2_metadata", Value::Array(Vec::new()));
    put("oidc_scopes", Value::Array(Vec::new()));
    put("verbose_oidc_logging", false.into());
    Ok(params::check(Response::data(d), &request.data, &[], &["name"]))
}

/// Whole seconds, or -1 for none; bounded.
fn leeway(data: &Data, name: &str) -> Result<Option<i64>> {
    let none = match data.get(name) {
        Some(Value::Number(n)) => n.as_i64() == Some(-1),
        Some(Value::String(s)) => matches!(s.trim(), "-1" | "-1s"),
        _ => false,
    };
    if none {
        return Ok(Some(-1));
    }
    match field::duration(data, name)?.map(|d| d.as_secs()) {
        Some(n) if n > JWT_MAX_LEEWAY => {
            Err(Error::invalid(format!("field \"{name}\" must be at most {JWT_MAX_LEEWAY} seconds")))
        }
        n => Ok(n.and_then(|n| i64::try_from(n).ok())),
    }
}

/// A list, bounded.
fn list(data: &Data, name: &str) -> Result<Option<Vec<String>>> {
    match field::strings(data, name)? {
        Some(l) if l.len() > JWT_MAX_LIST => {
            Err(Error::invalid(format!("field \"{name}\" has more than {JWT_MAX_LIST} values")))
        }
        l => Ok(l),
    }
}

/// Takes what the body states; the rest stays.
fn apply(r: &mut Role, data: &Data) -> Result<()> {
    let set_text = |to: &mut String, name| {
        field::string(data, name).map(|v| *to = v.unwrap_or_else(|| std::mem::take(to)))
    };
    let set_bool = |to: &mut bool, name| field::boolean(data, name).map(|v| *to = v.unwrap_or(*to));
    let set_leeway = |to: &mut i64, name| leeway(data, name).map(|v| *to = v.unwrap_or(*to));
    let set_list =
        |to: &mut Vec<String>, name| list(data, name).map(|v| *to = v.unwrap_or_else(|| std::mem::take(to)));
    set_text(&mut r.bound_subject, "bound_subject")?;
    set_text(&mut r.user_claim, "user_claim")?;
    set_text(&mut r.groups_claim, "groups_claim")?;
    set_bool(&mut r.user_claim_json_pointer, "user_claim_json_pointer")?;
    set_leeway(&mut r.clock_skew_leeway, "clock_skew_leeway")?;
    set_leeway(&mut r.expiration_leeway, "expiration_leeway")?;
    set_leeway(&mut r.not_before_leeway, "not_before_leeway")?;
    set_list(&mut r.bound_audiences, "bound_audiences")?;
    set_list(&mut r.allowed_redirect_uris, "allowed_redirect_uris")?;
    match field::string(data, "bound_claims_type")?.as_deref() {
        None => {}
        Some("string") => r.bound_claims_type = Match::String,
        Some("glob") => r.bound_claims_type = Match::Glob,
        Some(_) => return Err(Error::invalid("field \"bound_claims_type\" must be \"string\" or \"glob\"")),
    }
    match data.get("bound_claims") {
        None | Some(Value::Null) => {}
        Some(Value::Object(m)) => r.bound_claims = m.clone(),
        Some(_) => return Err(Error::invalid("field \"bound_claims\" must be an object")),
    }
    if let Some(m) = field::string_map(data, "claim_mappings")? {
        r.claim_mappings = m;
    }
    apply_token(r, data)
}

/// The `token_*` fields, and their older names.
fn apply_token(r: &mut Role, data: &Data) -> Result<()> {
    let seconds = |to: &mut u64, name: &str, old: &str| -> Result<()> {
        let v = match field::duration(data, name)? {
            None if !old.is_empty() => field::duration(data, old)?,
            v => v,
        };
        *to = v.map_or(*to, |d| d.as_secs());
        Ok(())
    };
    seconds(&mut r.token_ttl, "token_ttl", "ttl")?;
    seconds(&mut r.token_max_ttl, "token_max_ttl", "max_ttl")?;
    seconds(&mut r.token_period, "token_period", "period")?;
    seconds(&mut r.token_explicit_max_ttl, "token_explicit_max_ttl", "")?;
    let uses = match field::unsigned(data, "token_num_uses")? {
        None => field::unsigned(data, "num_uses")?,
        v => v,
    };
    r.token_num_uses = uses.unwrap_or(r.token_num_uses);
    let policies = match list(data, "token_policies")? {
        None => list(data, "policies")?,
        v => v,
    };
    if let Some(p) = policies {
        let mut p: Vec<String> = p.iter().map(|s| s.trim().to_lowercase()).collect();
        p.sort();
        p.dedup();
        r.token_policies = p;
    }
    if let Some(b) = field::boolean(data, "token_no_default_policy")? {
        r.token_no_default_policy = b;
    }
    match field::string(data, "token_type")?.as_deref() {
        None | Some("" | "default" | "service" | "default-service") => Ok(()),
        Some(_) => {
            Err(Error::new(ErrorKind::InvalidRequest, "only service tokens are supported (\"token_type\")"))
        }
    }
}

fn check(r: &Role, max_ttl: Duration) -> Result<()> {
    if r.user_claim.is_empty() {
        return Err(Error::invalid("a user claim must be defined on the role"));
    }
    if r.bound_audiences.is_empty() && r.bound_subject.is_empty() && r.bound_claims.is_empty() {
        return Err(Error::invalid("must have at least one bound constraint when creating/updating a role"));
    }
    if r.bound_claims.len() > JWT_MAX_LIST || r.claim_mappings.len() > JWT_MAX_LIST {
        return Err(Error::invalid(format!("a field has more than {JWT_MAX_LIST} entries")));
    }
    for want in r.bound_claims.values() {
        let scalar = |v: &Value| match r.bound_claims_type {
            Match::String => v.is_string() || v.is_number() || v.is_boolean(),
            Match::Glob => v.is_string(),
        };
        let fine = match want {
            Value::Array(a) => !a.is_empty() && a.len() <= JWT_MAX_LIST && a.iter().all(scalar),
            v => scalar(v),
        };
        if !fine {
            return Err(Error::invalid(
                "bound claims must be strings (glob), or strings, numbers or booleans, or lists of them",
            ));
        }
    }
    let mut targets: Vec<&String> = r.claim_mappings.values().collect();
    targets.sort();
    let twice = targets.windows(2).any(|w| matches!(w, [a, b] if a == b));
    if twice || targets.iter().any(|t| t.is_empty() || *t == "role") {
        return Err(Error::invalid(
            "claim_mappings must lead to different metadata keys, none of them empty or \"role\"",
        ));
    }
    if r.token_policies.iter().any(|p| p == "root") {
        return Err(Error::invalid("a role cannot grant the root policy"));
    }
    if r.token_max_ttl > 0 && r.token_ttl > r.token_max_ttl {
        return Err(Error::invalid("'token_ttl' cannot be greater than 'token_max_ttl'"));
    }
    if r.token_period > max_ttl.as_secs() {
        return Err(Error::invalid("'token_period' cannot be greater than the mount's maximum TTL"));
    }
    Ok(())
}

pub(super) async fn write(cx: &mut Context<'_>, request: &Request, name: &PathName) -> Result<Response> {
    let data = &request.data;
    for name in UNBUILT {
        if data.get(*name).is_some_and(|v| !says_nothing(v)) {
            return Err(Error::new(ErrorKind::InvalidRequest, format!("\"{name}\" is not supported")));
        }
    }
    match field::string(data, "role_type")?.as_deref() {
        None | Some("" | "jwt") => {}
        Some("oidc") => {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "role_type \"oidc\" is not supported; use \"jwt\"",
            ));
        }
        Some(_) => return Err(Error::invalid("invalid 'role_type'")),
    }
    let mut role = match (Role::load(cx, name).await?, request.operation) {
        (Some(role), _) => role,
        (None, Operation::Create) => Role::new(),
        (None, _) => return Err(Error::invalid("role entry not found during update operation")),
    };
    apply(&mut role, data)?;
    check(&role, cx.mount.max_ttl)?;
    cx.view.put_json(&path(name), &role).await?;
    let known: Vec<&str> = FIELDS.iter().chain(UNBUILT).copied().collect();
    Ok(params::check(Response::empty(), data, &known, &["name"]))
}
