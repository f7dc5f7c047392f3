//! HCL policies. The syntax tree is walked by hand: deserialising into a map would fail on, or
//! lose, two `path` blocks with the same label. Nothing is evaluated.

use super::document::{Entry, Fault, Item, Value};
use hcl::edit::Span;
use hcl::edit::expr::{Expression, ObjectKey, ObjectValue};
use hcl::edit::parser::parse_body;
use hcl::edit::structure::{Block, Body, Structure};

/// Reads an HCL document. Nesting is bounded by the parser (64).
pub(super) fn document(text: &str) -> Result<Item, Fault> {
    let parsed = parse_body(text).or_else(|first| match unquote_keywords(text) {
        Some(changed) => parse_body(&changed),
        None => Err(first),
    });
    match parsed {
        Ok(body) => Ok(Item { at: None, value: entries(&body)? }),
        Err(e) => {
            // The parser's messages span lines.
            let message = e.message().replace('\n', "; ");
            Err(Fault::new(Some(e.location().offset()), format!("HCL: {message}")))
        }
    }
}

/// The first HCL allowed `"path" "secret/*" { … }`. Drops those quotes, keeping every offset.
fn unquote_keywords(text: &str) -> Option<String> {
    let mut changed = false;
    let rewrite = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        let quoted = line.trim_start().strip_prefix("\"path\"");
        match quoted.filter(|rest| rest.trim_start().starts_with('"')) {
            Some(rest) => {
                changed = true;
                format!("{} path {rest}", " ".repeat(indent))
            }
            None => line.to_owned(),
        }
    };
    let out: String = text.split_inclusive('\n').map(rewrite).collect();
    changed.then_some(out)
}

fn start(node: &impl Span) -> Option<usize> {
    node.span().map(|s| s.start)
}

fn entries(body: &Body) -> Result<Value, Fault> {
    let entry = |s: &Structure| match s {
        Structure::Attribute(a) => {
            Ok(Entry { key: a.key.as_str().to_owned(), at: start(&a.key), value: item(&a.value)? })
        }
        Structure::Block(b) => block(b),
    };
    body.iter().map(entry).collect::<Result<_, _>>().map(Value::Map)
}

/// `path "a" { … }` and `path = { "a" = { … } }` are the same document.
fn block(b: &Block) -> Result<Entry, Fault> {
    let at = start(&b.ident);
    let mut value = Item { at, value: entries(&b.body)? };
    for label in b.labels.iter().rev() {
        let at = start(label);
        let inner = Entry { key: label.as_str().to_owned(), at, value };
        value = Item { at, value: Value::Map(vec![inner]) };
    }
    Ok(Entry { key: b.ident.as_str().to_owned(), at, value })
}

fn item(expr: &Expression) -> Result<Item, Fault> {
    let value = match expr {
        Expression::String(s) => Value::Text(s.as_str().to_owned()),
        Expression::Array(a) => a.iter().map(item).collect::<Result<_, _>>().map(Value::List)?,
        Expression::Object(o) => {
            let entry = |(k, v): (&ObjectKey, &ObjectValue)| {
                Ok(Entry { key: key(k)?, at: start(k), value: item(v.expr())? })
            };
            o.iter().map(entry).collect::<Result<_, _>>().map(Value::Map)?
        }
        Expression::Null(_) => Value::Other("null"),
        Expression::Bool(_) => Value::Other("a boolean"),
        Expression::Number(_) => Value::Other("a number"),
        Expression::StringTemplate(_) | Expression::HeredocTemplate(_) => Value::Other("a template"),
        _ => Value::Other("an expression"),
    };
    Ok(Item { at: start(expr), value })
}

fn key(k: &ObjectKey) -> Result<String, Fault> {
    match k {
        ObjectKey::Ident(i) => Ok(i.as_str().to_owned()),
        ObjectKey::Expression(Expression::String(s)) => Ok(s.as_str().to_owned()),
        ObjectKey::Expression(_) => {
            Err(Fault::new(start(k), "a key must be a plain string: templates are not supported"))
        }
    }
}
