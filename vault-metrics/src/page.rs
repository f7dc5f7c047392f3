//! What a scrape reads, in the text form of Prometheus, version 0.0.4.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use crate::meter::{BOUNDS, Reading};
use std::fmt::Write;

/// Nanoseconds of a second.
const NANOS: f64 = 1e9;
/// Vault counts its own times in milliseconds.
const NANOS_OF_A_MILLISECOND: f64 = 1e6;

/// What kind of figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Count and sum of times, in milliseconds: the form in which Vault shows its own.
    Summary,
    /// Times in buckets, in seconds.
    Histogram,
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a summary or histogram.
    Times(Reading),
}

/// One figure with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: Value,
}

/// All figures of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// As Vault writes it, with dots: `vault.core.unsealed`.
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub samples: Vec<Sample>,
}

impl Family {
    /// As Prometheus writes it: `vault_core_unsealed`.
    pub fn metric(&self) -> String {
        self.name.replace('.', "_")
    }
}

/// All figures there are.
#[derive(Debug, Default)]
pub struct Page {
    families: Vec<Family>,
}

/// Takes the figures of one name.
pub struct Series<'a> {
    families: &'a mut Vec<Family>,
    at: usize,
}

impl Series<'_> {
    /// One figure of a counter or gauge.
    pub fn put(&mut self, labels: &[(&'static str, &str)], value: f64) -> &mut Self {
        self.sample(labels, Value::Number(value))
    }

    /// The same, of a whole number.
    pub fn count(&mut self, labels: &[(&'static str, &str)], value: u64) -> &mut Self {
        self.put(labels, value as f64)
    }

    /// One figure of a summary or histogram.
    pub fn times(&mut self, labels: &[(&'static str, &str)], value: Reading) -> &mut Self {
        self.sample(labels, Value::Times(value))
    }

    fn sample(&mut self, labels: &[(&'static str, &str)], value: Value) -> &mut Self {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        if let Some(family) = self.families.get_mut(self.at) {
            family.samples.push(Sample { labels, value });
        }
        self
    }
}

impl Page {
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Series<'_> {
        self.family(name, help, Kind::Counter)
    }
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> Series<'_> {
        self.family(name, help, Kind::Gauge)
    }
    pub fn summary(&mut self, name: &'static str, help: &'static str) -> Series<'_> {
        self.family(name, help, Kind::Summary)
    }
    pub fn histogram(&mut self, name: &'static str, help: &'static str) -> Series<'_> {
        self.family(name, help, Kind::Histogram)
    }

    /// The family of this name; it is there even when it gets no figure.
    fn family(&mut self, name: &'static str, help: &'static str, kind: Kind) -> Series<'_> {
        let known = self.families.iter().position(|f| f.name == name);
        let at = known.unwrap_or(self.families.len());
        if known.is_none() {
            self.families.push(Family { name, help, kind, samples: Vec::new() });
        }
        Series { families: &mut self.families, at }
    }

    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// The text form.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for f in &self.families {
            // Writing to a string does not fail.
            let _ = write_family(&mut out, f);
        }
        out
    }
}

fn write_family(out: &mut String, f: &Family) -> std::fmt::Result {
    let name = f.metric();
    let kind = match f.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Summary => "summary",
        Kind::Histogram => "histogram",
    };
    writeln!(
        out,
        "# HELP {name} {}\n# TYPE {name} {kind}",
        f.help.replace('\\', "\\\\").replace('\n', "\\n")
    )?;
    for s in &f.samples {
        let labels = labels(&s.labels);
        match (&s.value, f.kind) {
            (Value::Number(n), _) => writeln!(out, "{name}{} {n}", braced(&labels))?,
            (Value::Times(r), Kind::Histogram) => write_buckets(out, &name, &labels, r)?,
            (Value::Times(r), _) => {
                let sum = r.nanos as f64 / NANOS_OF_A_MILLISECOND;
                let labels = braced(&labels);
                writeln!(out, "{name}_sum{labels} {sum}\n{name}_count{labels} {}", r.count)?;
            }
        }
    }
    Ok(())
}

fn write_buckets(out: &mut String, name: &str, labels: &str, r: &Reading) -> std::fmt::Result {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut within = 0;
    for (bound, n) in BOUNDS.iter().zip(&r.buckets) {
        within += n;
        writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{}\"}} {within}", *bound as f64 / NANOS)?;
    }
    writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", r.count)?;
    let sum = r.nanos as f64 / NANOS;
    let labels = braced(labels);
    writeln!(out, "{name}_sum{labels} {sum}\n{name}_count{labels} {}", r.count)
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

fn labels(labels: &[(&'static str, String)]) -> String {
    let one = |(name, value): &(&str, String)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    };
    labels.iter().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Times;
    use std::time::Duration;

    #[test]
    fn the_text_is_as_the_format_says() {
        let t = Times::default();
        t.took(Duration::from_micros(200));
        t.took(Duration::from_secs(90));
        let mut page = Page::default();
        page.gauge("vault.core.unsealed", "Whether it is.").put(&[], 1.0);
        page.counter("a.b_total", "Back\\slash\nline.").count(&[("x", "q\"u\\o\nte"), ("y", "")], 7);
        page.summary("vault.core.handle_request", "Times.").times(&[], t.read());
        page.histogram("h.seconds", "Times.").times(&[("k", "v")], t.read());
        page.counter("empty_total", "Nothing yet.");
        let text = page.text();
        for line in [
            "# HELP vault_core_unsealed Whether it is.\n# TYPE vault_core_unsealed gauge\nvault_core_unsealed 1\n",
            "# HELP a_b_total Back\\\\slash\\nline.\n",
            "a_b_total{x=\"q\\\"u\\\\o\\nte\",y=\"\"} 7\n",
            "vault_core_handle_request_sum 90000.2\nvault_core_handle_request_count 2\n",
            "h_seconds_bucket{k=\"v\",le=\"0.0001\"} 0\n",
            "h_seconds_bucket{k=\"v\",le=\"0.00025\"} 1\n",
            "h_seconds_bucket{k=\"v\",le=\"60\"} 1\nh_seconds_bucket{k=\"v\",le=\"+Inf\"} 2\n",
            "h_seconds_sum{k=\"v\"} 90.0002\nh_seconds_count{k=\"v\"} 2\n",
            "# TYPE empty_total counter\n",
        ] {
            assert!(text.contains(line), "{line}\nnot in\n{text}");
        }
    }

    #[test]
    fn a_name_has_one_family_however_often_it_is_asked_for() {
        let mut page = Page::default();
        page.counter("a", "A.").count(&[("n", "1")], 1);
        page.counter("b", "B.").count(&[], 1);
        page.counter("a", "A.").count(&[("n", "2")], 2);
        assert_eq!(page.families().len(), 2);
        assert_eq!(page.families()[0].samples.len(), 2);
    }
}
