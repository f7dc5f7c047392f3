//! What commands print.

pub mod preview;
pub mod shown;
pub mod table;
mod yaml;

use crate::context::Context;
use crate::failure::Failure;
use serde_json::{Value, json};
use vault_api::{Auth, Envelope, ExposeSecret, Map, WrapInfo};
use vault_client::SecretMap;

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// JSON, for programs.
    Json,
    /// YAML, for programs.
    #[value(alias = "yml")]
    Yaml,
}

/// One column pair.
pub type Row = (String, Value);

impl Context<'_> {
    /// A sentence for people; programs get none.
    pub fn say(&mut self, text: &str) -> Result<(), Failure> {
        if self.format == Format::Table && self.flags.field.is_none() {
            writeln!(self.io.out, "{text}")?;
        }
        Ok(())
    }

    /// A remark beside the answer, on the error stream.
    pub fn remark(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.io.err, "{text}")?;
        Ok(())
    }

    /// A value for programs, in the format they asked for.
    pub fn document(&mut self, value: &Value) -> Result<(), Failure> {
        let text = match self.format {
            Format::Yaml => yaml::render(value),
            _ => format!("{value:#}\n"),
        };
        self.io.out.write_all(text.as_bytes())?;
        Ok(())
    }

    /// Key and value pairs. Programs get `document` instead; `-field` picks a pair by name.
    pub fn pairs(&mut self, rows: &[Row], document: &Value) -> Result<(), Failure> {
        if self.flags.field.is_some() {
            return self.field(|name| rows.iter().find(|(k, _)| k == name).map(|(_, v)| v));
        }
        if self.format != Format::Table {
            return self.document(document);
        }
        let text = self.pair_table(rows);
        self.io.out.write_all(text.as_bytes())?;
        Ok(())
    }

    /// The table of key and value pairs as text.
    pub fn pair_table(&self, rows: &[Row]) -> String {
        let rows: Vec<Vec<String>> = rows.iter().map(|(k, v)| vec![k.clone(), table::cell(k, v)]).collect();
        table::render(&["Key", "Value"], &rows)
    }

    /// A table with its own columns. Programs get `document` instead.
    pub fn rows(&mut self, heads: &[&str], rows: &[Vec<String>], document: &Value) -> Result<(), Failure> {
        if self.format != Format::Table {
            return self.document(document);
        }
        let text = table::render(heads, rows);
        self.io.out.write_all(text.as_bytes())?;
        Ok(())
    }

    /// Prints the one field that `-field` names: text as it is, without quotes.
    pub fn field<'v>(&mut self, find: impl Fn(&str) -> Option<&'v Value>) -> Result<(), Failure> {
        let name = self.flags.field.clone().unwrap_or_default();
        let value = find(&name).ok_or_else(|| Failure::local(format!("the answer has no field {name:?}")))?;
        if self.format != Format::Table {
            return self.document(value);
        }
        let text = match value {
            Value::String(s) => s.clone(),
            other => other.to_string(),
        };
        self.io.out.write_all(text.as_bytes())?;
        // A program that reads the value wants it as it is; a terminal wants its prompt on a new line.
        if self.io.terminal {
            self.io.out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Names, one a line.
    pub fn keys(&mut self, keys: &[String]) -> Result<(), Failure> {
        let rows: Vec<Vec<String>> =
            keys.iter().map(|k| vec![table::cell("", &Value::from(k.as_str()))]).collect();
        self.rows(&["Keys"], &rows, &json!(keys))
    }

    /// A whole answer: its data, its token or its wrapping, and its warnings.
    pub fn answer(&mut self, answer: &Envelope<SecretMap>) -> Result<(), Failure> {
        self.warn(&answer.warnings)?;
        if let Some(auth) = &answer.auth {
            return self.auth(auth, answer);
        }
        if let Some(wrap) = &answer.wrap_info {
            return self.wrapped(wrap);
        }
        let empty = Map::new();
        let data = answer.data.as_ref().map_or(&empty, SecretMap::expose);
        let mut rows: Vec<Row> = Vec::new();
        if !answer.lease_id.is_empty() {
            rows.push(("lease_id".into(), json!(answer.lease_id)));
            rows.push(("lease_duration".into(), json!(answer.lease_duration)));
            rows.push(("lease_renewable".into(), json!(answer.renewable)));
        } else if answer.lease_duration > 0 {
            rows.push(("refresh_interval".into(), json!(answer.lease_duration)));
        }
        rows.extend(data.iter().map(|(k, v)| (k.clone(), v.clone())));
        self.pairs(&rows, &envelope(answer))
    }

    /// A new token.
    pub fn auth(&mut self, auth: &Auth, answer: &Envelope<SecretMap>) -> Result<(), Failure> {
        let mut rows: Vec<Row> = vec![
            ("token".into(), json!(auth.client_token.expose_secret())),
            ("token_accessor".into(), json!(auth.accessor)),
            (
                "token_duration".into(),
                if auth.lease_duration == 0 { json!("∞") } else { json!(auth.lease_duration) },
            ),
            ("token_renewable".into(), json!(auth.renewable)),
            ("token_policies".into(), json!(auth.token_policies)),
            ("identity_policies".into(), json!(auth.identity_policies)),
            ("policies".into(), json!(auth.policies)),
        ];
        rows.extend(auth.metadata.iter().map(|(k, v)| (format!("token_meta_{k}"), json!(v))));
        self.pairs(&rows, &envelope(answer))
    }

    fn wrapped(&mut self, wrap: &WrapInfo) -> Result<(), Failure> {
        let rows: Vec<Row> = vec![
            ("wrapping_token".into(), json!(wrap.token.expose_secret())),
            ("wrapping_accessor".into(), json!(wrap.accessor)),
            ("wrapping_token_ttl".into(), json!(wrap.ttl)),
            ("wrapping_token_creation_time".into(), json!(wrap.creation_time)),
            ("wrapping_token_creation_path".into(), json!(wrap.creation_path)),
        ];
        let document = json!({ "wrap_info": {
            "token": wrap.token.expose_secret(), "accessor": wrap.accessor, "ttl": wrap.ttl,
            "creation_time": wrap.creation_time, "creation_path": wrap.creation_path,
        }});
        self.pairs(&rows, &document)
    }

    /// The server's warnings, on the error stream.
    pub fn warn(&mut self, warnings: &[String]) -> Result<(), Failure> {
        for w in warnings {
            let text = format!("WARNING! {}", table::cell("", &Value::from(w.as_str())));
            self.remark(&text)?;
        }
        Ok(())
    }
}

/// An answer as the API gave it.
pub fn envelope(answer: &Envelope<SecretMap>) -> Value {
    let auth = answer.auth.as_ref().map(|a| {
        json!({
            "client_token": a.client_token.expose_secret(), "accessor": a.accessor, "policies": a.policies,
            "token_policies": a.token_policies, "identity_policies": a.identity_policies,
            "metadata": a.metadata, "lease_duration": a.lease_duration, "renewable": a.renewable,
            "entity_id": a.entity_id, "token_type": a.token_type, "orphan": a.orphan, "num_uses": a.num_uses,
        })
    });
    let mut out = json!({
        "request_id": answer.request_id,
        "lease_id": answer.lease_id,
        "lease_duration": answer.lease_duration,
        "renewable": answer.renewable,
        "data": answer.data.as_ref().map(SecretMap::expose),
        "warnings": if answer.warnings.is_empty() { Value::Null } else { json!(answer.warnings) },
    });
    if let (Some(auth), Some(map)) = (auth, out.as_object_mut()) {
        map.insert("auth".into(), auth);
    }
    out
}
