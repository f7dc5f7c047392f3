//! A second evaluator, for tests only: slow, literal, and sharing nothing with the real one but
//! the shape of its input. It follows the prose of the policy documentation sentence by sentence.

use std::collections::{BTreeMap, BTreeSet};

/// One rule as an author writes it.
#[derive(Clone, Debug)]
pub struct Written {
    pub path: String,
    pub capabilities: Vec<&'static str>,
    pub methods: Vec<&'static str>,
}

/// A named policy as an author writes it.
#[derive(Clone, Debug)]
pub struct Document {
    pub name: String,
    pub rules: Vec<Written>,
}

/// What the naive evaluator says.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    pub granting: Vec<String>,
}

/// "The same path string in several policies is one rule."
fn merge(documents: &[Document]) -> BTreeMap<String, Vec<(String, Written)>> {
    let mut all: BTreeMap<String, Vec<(String, Written)>> = BTreeMap::new();
    for d in documents {
        for r in &d.rules {
            let path = r.path.strip_prefix('/').unwrap_or(&r.path).to_string();
            all.entry(path).or_default().push((d.name.clone(), r.clone()));
        }
    }
    all
}

fn is_exact(rule: &str) -> bool {
    !rule.ends_with('*') && !rule.split('/').any(|s| s == "+")
}

/// "`*` only at the end: any continuation. `+`: exactly one segment."
fn covers(rule: &str, path: &str) -> bool {
    fn segments(rule: &[&str], path: &[&str], open: bool) -> bool {
        match (rule, path) {
            ([], []) => true,
            ([last], [first, ..]) if open => first.starts_with(last),
            ([r, rs @ ..], [p, ps @ ..]) => (*r == "+" || r == p) && segments(rs, ps, open),
            _ => false,
        }
    }
    let (stem, open) = match rule.strip_suffix('*') {
        Some(s) => (s, true),
        None => (rule, false),
    };
    segments(&stem.split('/').collect::<Vec<_>>(), &path.split('/').collect::<Vec<_>>(), open)
}

/// "Lower priority: (a) first `+`/`*` earlier, (b) ends in `*`, (c) more `+`, (d) shorter,
/// (e) lexicographically smaller." True when `a` has lower priority than `b`.
fn weaker(a: &str, b: &str) -> bool {
    fn first_wildcard(rule: &str) -> usize {
        let mut position = 0;
        for segment in rule.split('/') {
            if segment == "+" {
                return position;
            }
            if let Some(star) = segment.find('*') {
                return position + star;
            }
            position += segment.len() + 1;
        }
        usize::MAX
    }
    let pluses = |r: &str| r.split('/').filter(|s| *s == "+").count();
    let stem = |r: &str| r.strip_suffix('*').unwrap_or(r).to_string();
    if first_wildcard(a) != first_wildcard(b) {
        return first_wildcard(a) < first_wildcard(b);
    }
    if a.ends_with('*') != b.ends_with('*') {
        return a.ends_with('*');
    }
    if pluses(a) != pluses(b) {
        return pluses(a) > pluses(b);
    }
    if stem(a).len() != stem(b).len() {
        return stem(a).len() < stem(b).len();
    }
    stem(a) < stem(b)
}

fn strongest<'a>(rules: &[&'a String], path: &str) -> Option<&'a String> {
    let mut best: Option<&'a String> = None;
    for rule in rules.iter().filter(|r| !is_exact(r) && covers(r, path)) {
        match best {
            Some(b) if !weaker(b, rule) => {}
            _ => best = Some(rule),
        }
    }
    best
}

fn winner<'a>(
    all: &'a BTreeMap<String, Vec<(String, Written)>>,
    operation: &str,
    path: &str,
) -> Option<&'a String> {
    let rules: Vec<&String> = all.keys().collect();
    let exact = |p: &str| rules.iter().find(|r| is_exact(r) && *r == &p).copied();
    // "Exact; LIST also tries exact without the trailing slash."
    if let Some(r) = exact(path) {
        return Some(r);
    }
    let folder = if matches!(operation, "list" | "invoke") { path.strip_suffix('/') } else { None };
    // "A gateway call to a folder is only ever denied by the name without the slash."
    let reaches = |r: &&String| operation == "list" || denies(&all[*r]);
    if let Some(r) = folder.and_then(exact).filter(|r| reaches(r)) {
        return Some(r);
    }
    // "Otherwise the strongest; LIST then retries without the trailing slash", and a stronger
    // deny on the name without its slash also stops the LIST.
    let first = strongest(&rules, path);
    let second = folder.and_then(|f| strongest(&rules, f)).filter(|r| reaches(r));
    match (first, second) {
        (Some(a), Some(b)) if weaker(a, b) && denies(&all[b]) => Some(b),
        (Some(a), _) => Some(a),
        (None, b) => b,
    }
}

fn denies(rules: &[(String, Written)]) -> bool {
    rules.iter().any(|(_, w)| w.capabilities.contains(&"deny"))
}

/// "Only the winner is evaluated. Deny wins. Sudo paths need sudo in addition."
pub fn decide(
    documents: &[Document],
    operation: &str,
    path: &str,
    sudo: bool,
    method: Option<&str>,
) -> Verdict {
    let refused = Verdict { allowed: false, granting: Vec::new() };
    let all = merge(documents);
    let Some(rules) = winner(&all, operation, path).map(|w| &all[w]) else {
        return refused;
    };
    if denies(rules) {
        return refused;
    }
    if sudo && !rules.iter().any(|(_, w)| w.capabilities.contains(&"sudo")) {
        return refused;
    }
    let gives = |w: &Written| {
        w.capabilities.contains(&operation)
            && (operation != "invoke"
                || w.methods.is_empty()
                || method.is_some_and(|m| w.methods.contains(&m)))
    };
    let granting: BTreeSet<String> =
        rules.iter().filter(|(_, w)| gives(w)).map(|(name, _)| name.clone()).collect();
    Verdict { allowed: !granting.is_empty(), granting: granting.into_iter().collect() }
}

/// "`capabilities` answers as a LIST of that path would be looked up; invoke has no LIST fallback."
pub fn capabilities(documents: &[Document], path: &str) -> Vec<String> {
    let all = merge(documents);
    let Some(rule) = winner(&all, "list", path) else {
        return vec!["deny".into()];
    };
    let direct = winner(&all, "invoke", path) == Some(rule);
    if denies(&all[rule]) {
        return vec!["deny".into()];
    }
    let names: BTreeSet<String> = all[rule]
        .iter()
        .flat_map(|(_, w)| w.capabilities.iter())
        .filter(|c| **c != "invoke" || direct)
        .map(|c| c.to_string())
        .collect();
    if names.is_empty() { vec!["deny".into()] } else { names.into_iter().collect() }
}
