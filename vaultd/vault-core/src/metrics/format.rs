//! The two forms of `sys/metrics`: Prometheus's text, and Vault's JSON.
//! <https://developer.hashicorp.com/vault/api-docs/system/metrics>

use serde_json::{Map, Value as Json, json};
use std::time::Duration;
use vault_logical::{Error, RawBody, Result, Timestamp};
use vault_metrics::{Kind, Page, Sample, Value};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// A form of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

impl Format {
    /// As the `format` parameter says.
    ///
    /// # Errors
    /// 400 for one that there is not.
    pub fn named(name: Option<&str>) -> Result<Format> {
        match name {
            None | Some("") => Ok(Format::Json),
            Some("prometheus") => Ok(Format::Text),
            Some(_) => {
                Err(Error::invalid("metric response format is unknown: there are prometheus and none"))
            }
        }
    }

    /// The page as a body; `up`: how long there has been something to count.
    pub fn write(self, page: &Page, now: Timestamp, up: Duration) -> RawBody {
        match self {
            Format::Text => RawBody { content_type: TEXT, body: page.text().into_bytes() },
            Format::Json => {
                RawBody { content_type: JSON, body: json(page, now, up).to_string().into_bytes() }
            }
        }
    }
}

/// Vault's form. It tells of one interval; this one began with the process.
fn json(page: &Page, now: Timestamp, up: Duration) -> Json {
    let (mut gauges, mut counters, mut samples) = (Vec::new(), Vec::new(), Vec::new());
    let rate = |n: f64| n / up.as_secs_f64().max(1.0);
    for f in page.families() {
        for s in &f.samples {
            let mut one = head(f.name, s);
            match (s.value, f.kind) {
                (Value::Number(n), Kind::Gauge) => {
                    one.insert("Value".into(), json!(n));
                    gauges.push(Json::Object(one));
                }
                (Value::Number(n), _) => {
                    one.extend([("Count".into(), json!(n)), ("Sum".into(), json!(n))]);
                    one.insert("Rate".into(), json!(rate(n)));
                    counters.push(Json::Object(one));
                }
                (Value::Times(r), kind) => {
                    let unit = if kind == Kind::Summary { 1e6 } else { 1e9 };
                    let sum = r.nanos as f64 / unit;
                    let mean = if r.count == 0 { 0.0 } else { sum / r.count as f64 };
                    one.extend([("Count".into(), json!(r.count)), ("Sum".into(), json!(sum))]);
                    one.extend([("Mean".into(), json!(mean)), ("Rate".into(), json!(rate(sum)))]);
                    samples.push(Json::Object(one));
                }
            }
        }
    }
    json!({
        "Timestamp": now.rfc3339().to_string(),
        "Gauges": gauges,
        "Points": [],
        "Counters": counters,
        "Samples": samples,
    })
}

fn head(name: &str, s: &Sample) -> Map<String, Json> {
    let labels: Map<String, Json> =
        s.labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    Map::from_iter([("Name".to_owned(), json!(name)), ("Labels".to_owned(), Json::Object(labels))])
}
