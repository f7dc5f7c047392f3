//! Lays out an HCL policy: two blanks for each open brace or bracket, no blanks at line ends, at most one empty line in
//! a row, one blank between words
//! and around `=`. Nothing else is touched, comments and heredocs least of all.

use crate::failure::Failure;

/// What the scanner is inside of at the start of a line.
#[derive(Default)]
struct State {
    depth: usize,
    /// `/* ... */`
    comment: bool,
    /// The word that ends a heredoc.
    heredoc: Option<String>,
}

/// The same policy, laid out.
///
/// # Errors
/// When braces, strings or comments do not end.
pub fn hcl(text: &str) -> Result<String, Failure> {
    let mut out = String::with_capacity(text.len() + 64);
    let mut state = State::default();
    let mut empty = true;
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| Failure::local(format!("line {}: {what}", number + 1));
        if let Some(end) = &state.heredoc {
            out.push_str(line);
            out.push('\n');
            if line.trim() == end {
                state.heredoc = None;
            }
            continue;
        }
        let inside_comment = state.comment;
        let trimmed = if inside_comment { line.trim_end() } else { line.trim() };
        if trimmed.is_empty() {
            if !empty {
                out.push('\n');
            }
            empty = true;
            continue;
        }
        empty = false;
        let closes_first = !inside_comment && trimmed.starts_with(['}', ']']);
        let before = state.depth;
        let code = scan(trimmed, &mut state).map_err(wrong)?;
        let indent = if closes_first { before.saturating_sub(1) } else { before };
        if !inside_comment {
            out.extend(std::iter::repeat_n("  ", indent));
        }
        out.push_str(&code);
        out.push('\n');
    }
    if state.depth > 0 || state.comment || state.heredoc.is_some() {
        return Err(Failure::local("the policy ends inside a block, a comment or a heredoc"));
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
    Ok(out)
}

/// Follows one line, and gives it back with one blank on each side of `=`.
fn scan(line: &str, state: &mut State) -> Result<String, &'static str> {
    let mut out = String::with_capacity(line.len() + 4);
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if state.comment {
            let end = rest.find("*/").map_or(rest.len(), |at| at + 2);
            state.comment = !rest.contains("*/");
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        if c == '#' || rest.starts_with("//") {
            out.push_str(rest);
            break;
        }
        let taken = match c {
            '/' if rest.starts_with("/*") => {
                state.comment = true;
                2
            }
            '"' => string(rest)?,
            '<' if rest.starts_with("<<") => {
                state.heredoc = Some(rest[2..].trim_start_matches('-').trim().to_owned());
                rest.len()
            }
            '{' | '[' => {
                state.depth += 1;
                if c == '{' && out.ends_with(|p: char| !p.is_whitespace()) {
                    out.push(' ');
                }
                1
            }
            '}' | ']' => {
                state.depth = state.depth.checked_sub(1).ok_or("a brace closes nothing")?;
                1
            }
            '=' => {
                out.truncate(out.trim_end().len());
                out.push_str(" = ");
                rest = rest[1..].trim_start();
                continue;
            }
            ' ' | '\t' => {
                rest = rest.trim_start();
                out.push(' ');
                continue;
            }
            c => c.len_utf8(),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out.truncate(out.trim_end().len());
    Ok(out)
}

/// Length of the string that begins here, quotes included.
fn string(text: &str) -> Result<usize, &'static str> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Ok(at + 1),
            _ => {}
        }
    }
    Err("a string does not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_laid_out_and_nothing_else_changes() {
        let rough = "\n\n# all of it\npath   \"a/*\"{\ncapabilities=[\"read\",\n\"list\" ]  # = { not code\n\n\n  }\n/* a\n   b */\npath \"x\" {\n      policy   =   \"a = {\" }\n\n";
        let neat = hcl(rough).unwrap();
        assert_eq!(
            neat,
            "# all of it\npath \"a/*\" {\n  capabilities = [\"read\",\n    \"list\" ] # = { not code\n\n}\n/* a\n   b */\npath \"x\" {\n  policy = \"a = {\" }\n"
        );
        assert_eq!(hcl(&neat).unwrap(), neat, "what is neat stays");
        let heredoc = "comment = <<EOT\n  as {  it = is\nEOT\npath \"x\" { }\n";
        assert_eq!(hcl(heredoc).unwrap(), heredoc);
        for broken in ["path \"x\" {", "}", "path \"x", "/* x", "a = <<E\n"] {
            assert!(hcl(broken).is_err(), "{broken}");
        }
    }
}
