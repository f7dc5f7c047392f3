//! The path of a rule: exact, a prefix (`*` at the end), or with `+` segments.

use std::cmp::Ordering;
use vault_logical::path;

/// A rule's path, checked and split. Two rules with the same [`Pattern::text`] are one rule.
///
/// A `*` before the end stands for itself, as in Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No wildcard: the path itself.
    Exact,
    /// Wildcards: everything before the first `+` or the `*`, then the rest.
    Wild { lead: String, tail: Tail },
}

/// What must follow the lead of a wildcard rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Empty for a plain prefix; else the first is [`Segment::Any`].
    segments: Vec<Segment>,
    /// Ends in `*`: the last segment is a prefix of whatever follows.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `+`: exactly one segment, whatever it holds.
    Any,
    Literal(String),
}

impl Pattern {
    /// Checks a rule's path. A leading `/` is dropped.
    ///
    /// # Errors
    /// Says what is wrong: templates, `+*`, or a path that no canonical request path can ever match (a `deny` there would protect nothing).
    pub fn parse(raw: &str) -> Result<Pattern, String> {
        let text = raw.strip_prefix('/').unwrap_or(raw);
        if text.contains("{{") || text.contains("}}") {
            return Err("templates ({{…}}) are not supported in this version".into());
        }
        let (stem, open) = match text.strip_suffix('*') {
            Some(stem) => (stem, true),
            None => (text, false),
        };
        // `+*`, `+x*`, `a+`: half a wildcard would be taken literally, and a `deny` protect nothing.
        let partial = |s: &str| s.contains('+') && s != "+";
        if stem.split('/').any(partial) || (open && (stem == "+" || stem.ends_with("/+"))) {
            return Err("\"+\" stands for one whole segment and for nothing less".into());
        }
        // A prefix may end within a segment, so one more character completes it for the check.
        let probe = if open { format!("{stem}x") } else { stem.to_owned() };
        match path::canonical(&probe) {
            Ok(p) if p == probe => {}
            Ok(_) => return Err("no request can match this path: it has an empty segment".into()),
            Err(e) => return Err(format!("no request can match this path: {e}")),
        }
        Ok(Pattern { kind: split(stem, open), text: text.to_owned() })
    }

    /// The path as written, without a leading `/`: the identity of the rule.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn into_kind(self) -> Kind {
        self.kind
    }
}

fn split(stem: &str, open: bool) -> Kind {
    let mut offset = 0;
    let first = stem.split('/').find_map(|segment| {
        let start = offset;
        offset += segment.len() + 1;
        (segment == "+").then_some(start)
    });
    match first.and_then(|at| stem.split_at_checked(at)) {
        Some((lead, rest)) => {
            let segment = |s: &str| if s == "+" { Segment::Any } else { Segment::Literal(s.to_owned()) };
            let tail = Tail { segments: rest.split('/').map(segment).collect(), open };
            Kind::Wild { lead: lead.to_owned(), tail }
        }
        None if open => Kind::Wild { lead: stem.to_owned(), tail: Tail { segments: Vec::new(), open: true } },
        None => Kind::Exact,
    }
}

impl Tail {
    /// True when the rest of a path, after this rule's lead, is covered.
    pub fn matches(&self, rest: &str) -> bool {
        let Some((last, body)) = self.segments.split_last() else {
            return true;
        };
        let mut parts = rest.split('/');
        if !body.iter().all(|s| parts.next().is_some_and(|p| s.covers(p))) {
            return false;
        }
        match (parts.next(), self.open) {
            (None, _) => false,
            (Some(p), true) => matches!(last, Segment::Literal(l) if p.starts_with(l.as_str())),
            (Some(p), false) => last.covers(p) && parts.next().is_none(),
        }
    }

    /// True when the rest of some path below `folder` could be covered, `folder` being what follows
    /// this rule's lead and ending in `/`.
    pub fn reaches(&self, folder: &str) -> bool {
        let Some((last, body)) = self.segments.split_last() else {
            return true;
        };
        let mut fixed = folder.trim_end_matches('/').split('/');
        for segment in body {
            match fixed.next() {
                None => return true,
                Some(f) if !segment.covers(f) => return false,
                Some(_) => {}
            }
        }
        match fixed.next() {
            None => true,
            Some(f) => self.open && matches!(last, Segment::Literal(l) if f.starts_with(l.as_str())),
        }
    }

    /// Orders the rules of one lead, the stronger first: without `*` at the end, fewer `+`,
    /// longer, lexicographically greater.
    pub fn strength(&self, other: &Tail) -> Ordering {
        (self.open.cmp(&other.open))
            .then_with(|| self.wildcards().cmp(&other.wildcards()))
            .then_with(|| other.text().len().cmp(&self.text().len()))
            .then_with(|| other.text().cmp(&self.text()))
    }

    fn wildcards(&self) -> usize {
        self.segments.iter().filter(|s| **s == Segment::Any).count()
    }

    fn text(&self) -> String {
        let names = self.segments.iter().map(|s| match s {
            Segment::Any => "+",
            Segment::Literal(l) => l,
        });
        names.collect::<Vec<_>>().join("/")
    }
}

impl Segment {
    fn covers(&self, part: &str) -> bool {
        match self {
            Segment::Any => true,
            Segment::Literal(l) => l == part,
        }
    }
}
