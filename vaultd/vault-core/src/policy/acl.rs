//! The compiled policies of one token.

use super::capability::Caps;
use super::name::ROOT;
use super::pattern::{Kind, Tail};
use super::{Policy, Rule};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use vault_logical::Operation;

/// Names of policies, sorted and shared.
type Names = Arc<[Arc<str>]>;

/// What a request wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub operation: Operation,
    /// Canonical, below `/v1/`; a LIST path ends in `/`.
    pub path: &'a str,
    /// The path is one of those that need `sudo` beside the operation's own capability.
    pub sudo: bool,
    /// The HTTP method of a gateway call, upper-case; ignored for other operations. `None` is
    /// allowed only by rules without `methods`.
    pub method: Option<&'a str>,
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, Default)]
pub struct Decision {
    pub allowed: bool,
    /// Names of the policies that gave the capability, sorted; empty when refused.
    pub granting: Arc<[Arc<str>]>,
    /// Allowed by the root policy.
    pub root: bool,
}

/// The union of a token's policies, compiled. Build it once, keep it with the token.
///
/// Exact rules are one hash look-up. Wildcard rules hang in a tree by what stands before their
/// first wildcard: the longest such lead is the first priority of Vault's order, so walking from
/// the longest lead to shorter ones meets the strongest rule first.
pub struct Acl {
    root: bool,
    rules: Vec<Compiled>,
    exact: HashMap<Box<str>, usize>,
    /// Sorted by `lead`.
    leads: Vec<Lead>,
    /// The rules with `invoke`: exact paths, and leads with what follows them.
    invokes: Vec<(Box<str>, Option<Tail>)>,
    nobody: Names,
    root_only: Names,
}

struct Compiled {
    caps: Caps,
    /// For sets of capabilities, who granted them.
    grants: Box<[(Caps, Names)]>,
}

struct Lead {
    lead: Box<str>,
    /// The longest other lead that this one begins with.
    parent: Option<usize>,
    /// The strongest first.
    candidates: Vec<(Tail, usize)>,
}

/// The winning wildcard rule, with its place in the order of priorities (greater is stronger).
#[derive(Clone, Copy)]
struct Winner {
    rule: usize,
    priority: (usize, Reverse<usize>),
}

/// What a slash at the end of a path means to the rules for the name without it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slash {
    /// It is part of the name: they are about something else.
    Named,
    /// LIST: they hold for the folder too.
    Optional,
    /// A gateway call: most upstreams serve both alike, so they deny the folder too, and grant
    /// nothing on it.
    Denies,
}

/// The rule that decides, and whether it was reached by dropping the slash of a LIST.
struct Verdict<'a> {
    rule: &'a Compiled,
    fallback: bool,
}

#[derive(Default)]
struct Merged {
    caps: Caps,
    by: Vec<(Caps, Arc<str>)>,
}

impl Acl {
    /// Compiles the union of some policies: the same path in several of them is one rule with all
    /// their capabilities, and one `deny` among them takes all away.
    pub fn new(policies: &[Arc<Policy>]) -> Acl {
        let mut merged: BTreeMap<&str, (&Rule, Merged)> = BTreeMap::new();
        for policy in policies {
            let name: Arc<str> = policy.name.as_str().into();
            for rule in &policy.rules {
                let (_, m) = merged.entry(rule.pattern.text()).or_insert_with(|| (rule, Merged::default()));
                m.caps |= rule.caps;
                m.by.push((rule.caps, name.clone()));
            }
        }
        let mut acl = Acl::empty(false);
        let mut sets = NameSets::default();
        let mut leads: BTreeMap<String, Vec<(Tail, usize)>> = BTreeMap::new();
        for (text, (rule, m)) in merged {
            let id = acl.rules.len();
            acl.rules.push(m.compile(&mut sets));
            let invokes = acl.rules.last().is_some_and(|r| r.caps.intersects(Caps::INVOKE));
            match rule.pattern.clone().into_kind() {
                Kind::Exact => {
                    if invokes {
                        acl.invokes.push((text.into(), None));
                    }
                    acl.exact.insert(text.into(), id);
                }
                Kind::Wild { lead, tail } => {
                    if invokes {
                        acl.invokes.push((lead.as_str().into(), Some(tail.clone())));
                    }
                    leads.entry(lead).or_default().push((tail, id));
                }
            }
        }
        acl.leads = link(leads);
        acl
    }

    /// The ACL of the root policy: everything but `invoke`.
    pub fn root() -> Acl {
        Acl::empty(true)
    }

    fn empty(root: bool) -> Acl {
        Acl {
            root,
            rules: Vec::new(),
            exact: HashMap::new(),
            leads: Vec::new(),
            invokes: Vec::new(),
            nobody: Arc::from([]),
            root_only: Arc::from([Arc::from(ROOT)]),
        }
    }

    /// Decides one request. Allocates nothing.
    pub fn check(&self, query: &Query<'_>) -> Decision {
        if self.root {
            // A provider's key is used by callers that were granted its use, never by an administrator's token.
            let allowed = query.operation != Operation::Invoke;
            let granting = if allowed { &self.root_only } else { &self.nobody };
            return Decision { allowed, granting: granting.clone(), root: allowed };
        }
        let needed = Caps::needed(query.operation, query.method);
        let slash = match query.operation {
            Operation::List => Slash::Optional,
            Operation::Invoke => Slash::Denies,
            _ => Slash::Named,
        };
        let granted = self.decide(query.path, slash).and_then(|v| {
            let sudo = !query.sudo || v.rule.caps.contains(Caps::SUDO);
            (sudo && v.rule.caps.contains(needed)).then(|| v.rule.granting(needed)).flatten()
        });
        Decision {
            allowed: granted.is_some(),
            granting: granted.unwrap_or(&self.nobody).clone(),
            root: false,
        }
    }

    /// The capabilities on a path by name, sorted: `["root"]` for the root policy, `["deny"]` when
    /// there are none. As in Vault, a path ending in `/` is looked at as a LIST would.
    pub fn capabilities(&self, path: &str) -> Vec<&'static str> {
        if self.root {
            return vec![ROOT];
        }
        let caps = self
            .decide(path, Slash::Optional)
            .map_or(Caps::NONE, |v| if v.fallback { v.rule.caps.without(Caps::INVOKE) } else { v.rule.caps });
        if caps.is_deny() || caps == Caps::NONE {
            return vec!["deny"];
        }
        Caps::NAMED.iter().filter(|(_, c)| caps.intersects(*c)).map(|(n, _)| *n).collect()
    }

    /// True when the rule that decides for a path says `deny`, rather than that there is none.
    pub fn denies(&self, path: &str) -> bool {
        !self.root && self.decide(path, Slash::Named).is_some_and(|v| v.rule.caps.is_deny())
    }

    /// True when some rule gives anything at or below `folder` (which ends in `/`), or covers it:
    /// may the holder know that the mount exists?
    pub fn touches(&self, folder: &str) -> bool {
        let gives = |id: usize| self.rules.get(id).is_some_and(|r| !r.caps.is_deny() && r.caps != Caps::NONE);
        self.root
            // The name without its slash counts, as a LIST of the folder falls back to it.
            || folder.strip_suffix('/').and_then(|f| self.exact.get(f)).is_some_and(|id| gives(*id))
            || self.exact.iter().any(|(path, id)| path.starts_with(folder) && gives(*id))
            || self.leads.iter().any(|l| {
                let near = l.lead.starts_with(folder) || folder.starts_with(&*l.lead);
                near && l.candidates.iter().any(|(_, id)| gives(*id))
            })
    }

    /// True when some rule gives `invoke` for something below `folder` (which ends in `/`).
    pub fn invokes_below(&self, folder: &str) -> bool {
        // A rule that covers the folder gives nothing where a stronger one denies it.
        let probe = format!("{folder}x");
        let denied = self.wild(&probe).and_then(|w| self.rules.get(w.rule)).is_some_and(|r| r.caps.is_deny());
        self.invokes.iter().any(|(lead, tail)| match tail {
            None => lead.starts_with(folder),
            Some(_) if lead.starts_with(folder) => true,
            Some(tail) => !denied && folder.strip_prefix(&**lead).is_some_and(|rest| tail.reaches(rest)),
        })
    }

    /// The rule that decides for a path. Only that one is looked at: there is no falling through
    /// to a weaker rule that would grant more.
    fn decide(&self, path: &str, slash: Slash) -> Option<Verdict<'_>> {
        let folder = if slash == Slash::Named { None } else { path.strip_suffix('/') };
        let denies = |id: usize| self.rules.get(id).is_some_and(|r| r.caps.is_deny());
        let reaches = |id: usize| slash == Slash::Optional || denies(id);
        if let Some(id) = self.exact.get(path) {
            return self.verdict(*id, false);
        }
        if let Some(id) = folder.and_then(|f| self.exact.get(f)).filter(|id| reaches(**id)) {
            return self.verdict(*id, true);
        }
        let with_slash = self.wild(path);
        let without = folder.and_then(|f| self.wild(f)).filter(|w| reaches(w.rule));
        match (with_slash, without) {
            (None, None) => None,
            (Some(w), None) => self.verdict(w.rule, false),
            (None, Some(w)) => self.verdict(w.rule, true),
            // The rule for the folder itself decides, but a stronger `deny` on the same name
            // without its slash is meant for the folder too.
            (Some(w), Some(f)) => {
                let denied = f.priority > w.priority && denies(f.rule);
                if denied { self.verdict(f.rule, true) } else { self.verdict(w.rule, false) }
            }
        }
    }

    fn verdict(&self, id: usize, fallback: bool) -> Option<Verdict<'_>> {
        self.rules.get(id).map(|rule| Verdict { rule, fallback })
    }

    /// The strongest wildcard rule that covers a path.
    fn wild(&self, path: &str) -> Option<Winner> {
        // Every lead that `path` begins with also begins the greatest lead not above `path`, so
        // it is that one or one of its ancestors.
        let below = self.leads.partition_point(|l| *l.lead <= *path);
        let mut at = below.checked_sub(1);
        while let Some(lead) = at.and_then(|i| self.leads.get(i)) {
            if let Some(rest) = path.strip_prefix(&*lead.lead) {
                let found = lead.candidates.iter().enumerate().find(|(_, (tail, _))| tail.matches(rest));
                if let Some((place, (_, rule))) = found {
                    return Some(Winner { rule: *rule, priority: (lead.lead.len(), Reverse(place)) });
                }
            }
            at = lead.parent;
        }
        None
    }
}

impl Compiled {
    fn granting(&self, needed: Caps) -> Option<&Names> {
        self.grants.iter().find(|(caps, _)| caps.contains(needed)).map(|(_, names)| names)
    }
}

impl Merged {
    fn compile(self, sets: &mut NameSets) -> Compiled {
        if self.caps.is_deny() {
            return Compiled { caps: Caps::DENY, grants: Box::new([]) };
        }
        let mut grants: BTreeMap<Vec<Arc<str>>, Caps> = BTreeMap::new();
        for bit in self.caps.bits() {
            let mut names: Vec<Arc<str>> =
                self.by.iter().filter(|(caps, _)| caps.contains(bit)).map(|(_, n)| n.clone()).collect();
            names.sort();
            names.dedup();
            *grants.entry(names).or_default() |= bit;
        }
        let grants = grants.into_iter().map(|(names, caps)| (caps, sets.share(names))).collect();
        Compiled { caps: self.caps, grants }
    }
}

/// Equal sets of policy names are stored once: most ACLs have as many as policies.
#[derive(Default)]
struct NameSets(HashMap<Vec<Arc<str>>, Names>);

impl NameSets {
    fn share(&mut self, names: Vec<Arc<str>>) -> Names {
        self.0.entry(names).or_insert_with_key(|n| n.as_slice().into()).clone()
    }
}

/// Orders the candidates of every lead and points each lead at the next shorter one.
fn link(leads: BTreeMap<String, Vec<(Tail, usize)>>) -> Vec<Lead> {
    let mut out: Vec<Lead> = Vec::with_capacity(leads.len());
    // Leads that the current one may still begin with, the longest last.
    let mut open: Vec<usize> = Vec::new();
    for (lead, mut candidates) in leads {
        candidates.sort_by(|(a, _), (b, _)| a.strength(b));
        while let Some(top) = open.last() {
            if out.get(*top).is_some_and(|l| lead.starts_with(&*l.lead)) {
                break;
            }
            open.pop();
        }
        let parent = open.last().copied();
        open.push(out.len());
        out.push(Lead { lead: lead.into(), parent, candidates });
    }
    out
}
