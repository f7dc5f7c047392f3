//! Where things stand in a config file, and what somebody meant who misspelled one.

/// Most edits between a word and what was meant by it.
const MAX_EDITS: usize = 3;

/// `; did you mean "x"?`, or nothing.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|k| format!("; did you mean \"{k}\"?")).unwrap_or_default()
}

/// The known word that takes the fewest edits, if they are few for its length.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let scored = known.into_iter().map(|k| (edits(&word, k), k));
    scored.filter(|(n, k)| *n <= MAX_EDITS.min(k.len().max(3) / 3)).min_by_key(|(n, _)| *n).map(|(_, k)| k)
}

/// Insertions, deletions, changes and swaps of neighbours that lead from `a` to `b`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let at = |v: &[usize], i: usize| v.get(i).copied().unwrap_or(usize::MAX - 1);
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let change = at(&last, j) + usize::from(x != y);
            let mut best = change.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let crossed = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if crossed {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

/// The lines of an HCL file, each with how deep in blocks it begins.
pub(super) struct Outline<'a>(Vec<(usize, &'a str)>);

impl<'a> Outline<'a> {
    pub(super) fn of(text: &'a str) -> Outline<'a> {
        let mut depth = 0_usize;
        let lines = text.lines().map(|line| {
            let begins = depth;
            let (mut quoted, mut escaped) = (false, false);
            for (n, c) in line.char_indices() {
                match c {
                    '"' if !escaped => quoted = !quoted,
                    '#' if !quoted => break,
                    '/' if !quoted && line.get(n + 1..).is_some_and(|r| r.starts_with('/')) => break,
                    '{' if !quoted => depth += 1,
                    '}' if !quoted => depth = depth.saturating_sub(1),
                    _ => {}
                }
                escaped = c == '\\' && !escaped;
            }
            (begins, line)
        });
        Outline(lines.collect())
    }

    /// The line of a key outside any block.
    pub(super) fn root_key(&self, key: &str) -> Option<usize> {
        let mut lines = self.0.iter().enumerate();
        lines.find(|(_, (depth, line))| *depth == 0 && names(line, key)).map(|(n, _)| n + 1)
    }

    /// The line of a key in the block that `ordinal` blocks of these kinds stand before; the
    /// block's own where the key is not in it, or on the same line.
    pub(super) fn key(&self, kinds: &[&str], ordinal: usize, key: &str) -> Option<usize> {
        let heads = self.0.iter().enumerate();
        let mut heads = heads.filter(|(_, (d, line))| *d == 0 && kinds.iter().any(|k| names(line, k)));
        let (head, _) = heads.nth(ordinal)?;
        let inside = self.0.iter().enumerate().skip(head + 1).take_while(|(_, (depth, _))| *depth > 0);
        let found = inside.filter(|(_, (_, line))| names(line, key)).map(|(n, _)| n).next();
        Some(found.unwrap_or(head) + 1)
    }
}

/// True for a line that begins with this key or block, quoted or not.
fn names(line: &str, key: &str) -> bool {
    let rest = line.trim_start();
    let rest = rest.strip_prefix('"').unwrap_or(rest);
    rest.strip_prefix(key).is_some_and(|after| {
        !after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-')
            && after.trim_start_matches('"').trim_start().starts_with(['=', '{', ':', '"'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let known = ["tls_cert_file", "tls_key_file", "address", "ui", "log_level", "listener"];
        for (word, want) in [
            ("tls_cret_file", Some("tls_cert_file")),
            ("tls_key_fiel", Some("tls_key_file")),
            ("adress", Some("address")),
            ("ADDRESS", Some("address")),
            ("listner", Some("listener")),
            ("loglevel", Some("log_level")),
            ("xy", None),
            ("something_else", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), want, "{word}");
        }
        assert_eq!(edits("ab", "ba"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
    }

    #[test]
    fn a_key_is_found_in_its_own_block() {
        let text = "ui = true\nlistener \"tcp\" { # {\n  address = \"{\"\n  x {\n    address = 1\n  }\n}\n\nlistener \"unix\" {\n  mode = 1\n}\nlistener \"tcp\" { address = 3 }\naddress = 4\n";
        let outline = Outline::of(text);
        assert_eq!(outline.root_key("ui"), Some(1));
        assert_eq!(outline.root_key("address"), Some(13));
        assert_eq!(outline.key(&["listener"], 0, "address"), Some(3));
        assert_eq!(outline.key(&["listener"], 1, "address"), Some(9), "the block's own line");
        assert_eq!(outline.key(&["listener"], 2, "address"), Some(12), "on the same line");
        assert_eq!(outline.key(&["listener"], 3, "address"), None);
    }
}
