//! Columns as Vault's CLI prints them: padded with spaces, dashes below the heads.

use crate::limits::MAX_RULE_WIDTH;
use crate::output::shown::printable;
use serde_json::Value;
use std::fmt::Write as _;

const GAP: usize = 4;

/// Columns with heads.
pub fn render(heads: &[&str], rows: &[Vec<String>]) -> String {
    let dashes: Vec<String> = heads.iter().map(|h| "-".repeat(h.chars().count())).collect();
    let heads: Vec<String> = heads.iter().map(|h| (*h).to_owned()).collect();
    let all: Vec<Vec<String>> = [&heads, &dashes].into_iter().chain(rows).map(|row| one_line(row)).collect();
    let width = |column: usize| {
        all.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut out = String::new();
    for row in &all {
        for (i, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if i + 1 < row.len() {
                let pad = widths.get(i).copied().unwrap_or(0) + GAP - cell.chars().count();
                let _ = write!(out, "{:pad$}", "");
            }
        }
        out.push('\n');
    }
    out
}

/// A name does not begin a row of its own; a last value may be of several lines.
fn one_line(row: &[String]) -> Vec<String> {
    let mut row = row.to_vec();
    if let Some((_, names)) = row.split_last_mut() {
        names.iter_mut().for_each(|name| *name = printable(name).replace('\n', "\\n"));
    }
    row
}

/// A heading as wide as the table below it.
pub fn heading(title: &str, table: &str) -> String {
    let width = table.lines().map(|l| l.trim_end().chars().count()).max().unwrap_or(0).min(MAX_RULE_WIDTH);
    let side = "=".repeat(width.saturating_sub(title.chars().count() + 2).div_ceil(2).max(2));
    format!("{side} {title} {side}\n")
}

/// A value for people: durations in words, no quotes around text, nothing that a terminal would
/// take for a command.
pub fn cell(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(s) => printable(s),
        Value::Number(n) if is_duration(key) => n.as_u64().map_or_else(|| n.to_string(), duration),
        other => printable(&other.to_string()),
    }
}

/// Seconds as `768h`, `1h30m`, `45s`.
pub fn duration(seconds: u64) -> String {
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut out = String::new();
    for (n, unit) in [(h, "h"), (m, "m"), (s, "s")] {
        if n > 0 {
            let _ = write!(out, "{n}{unit}");
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

fn is_duration(key: &str) -> bool {
    ["ttl", "period", "duration", "interval"].iter().any(|w| key == *w || key.ends_with(&format!("_{w}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_vaults() {
        let rows = vec![
            vec!["Sealed".to_owned(), "true".to_owned()],
            vec!["Total Shares".to_owned(), "5".to_owned()],
        ];
        assert_eq!(
            render(&["Key", "Value"], &rows),
            "Key             Value\n---             -----\nSealed          true\nTotal Shares    5\n"
        );
        assert_eq!(heading("Data", "Key    Value\nabcdefghij    x\n"), "===== Data =====\n");
    }

    #[test]
    fn a_name_begins_no_row_and_a_last_value_may_be_long() {
        let rows = vec![vec!["a\nb\u{1b}".to_owned(), "one\ntwo".to_owned()]];
        assert_eq!(
            render(&["Key", "Value"], &rows),
            "Key           Value\n---           -----\na\\nb\\u{1b}    one\ntwo\n"
        );
    }

    #[test]
    fn cells_are_for_people_and_safe_for_terminals() {
        assert_eq!(cell("ttl", &json!(2_764_800)), "768h");
        assert_eq!(cell("token_duration", &json!(5445)), "1h30m45s");
        assert_eq!(cell("max_versions", &json!(0)), "0");
        assert_eq!((cell("ttl", &json!(0)), cell("x", &Value::Null)), ("0s".into(), "<nil>".into()));
        assert_eq!(cell("policies", &json!(["a", "b"])), r#"["a","b"]"#);
        assert_eq!(cell("x", &json!("a\u{1b}[2Jb\n")), "a\\u{1b}[2Jb\n");
    }
}
