//! `GET /metrics`, in the form that the reader asks for.
//!
//! The registry writes OpenMetrics. The older Prometheus text differs in small ways that a strict
//! reader trips over: a counter's `TYPE` carries the sample's name (with `_total`), there is no
//! `UNIT`, no `info` type and no `EOF`. So it is rewritten line by line, and so is the JSON form,
//! which is for people and scripts without a parser: one place where metrics are made, three faces.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Map, Value, json};

use super::Site;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    OpenMetrics,
    Prometheus,
    Json,
}

/// On the client port: Prometheus text unless the reader asks for something else.
pub async fn for_clients(State(site): State<Site>, headers: HeaderMap) -> Response {
    draw(&site, asked(&headers).unwrap_or(Form::Prometheus))
}

/// On the admin port: OpenMetrics unless the reader asks for something else.
pub async fn for_scrapers(State(site): State<Site>, headers: HeaderMap) -> Response {
    draw(&site, asked(&headers).unwrap_or(Form::OpenMetrics))
}

fn draw(site: &Site, form: Form) -> Response {
    site.metrics.raft.record(&site.node.status());
    let (machine, queues) = (site.node.machine(), site.node.queues());
    let problems = queues.redis_problems();
    site.metrics.queues.record(&machine.queues(), queues.waiting(), &problems);
    site.caches.measure();
    let text = site.metrics.open_metrics();
    let (media_type, body) = match form {
        Form::OpenMetrics => (OPEN_METRICS, text),
        Form::Prometheus => (PROMETHEUS, prometheus(&text)),
        Form::Json => (JSON, json_text(&text)),
    };
    ([(CONTENT_TYPE, media_type)], body).into_response()
}

/// The first form with the highest quality among those that `Accept` names. Wildcards name none.
fn asked(headers: &HeaderMap) -> Option<Form> {
    let accept = headers.get(ACCEPT)?.to_str().ok()?;
    let mut best: Option<(u16, Form)> = None;
    for part in accept.split(',') {
        let mut parameters = part.split(';').map(str::trim);
        let form = match parameters.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/openmetrics-text" => Form::OpenMetrics,
            "text/plain" => Form::Prometheus,
            "application/json" => Form::Json,
            _ => continue,
        };
        let quality = parameters.find_map(|p| p.strip_prefix("q=")).map_or(1000, per_mille);
        if quality > 0 && best.is_none_or(|(highest, _)| quality > highest) {
            best = Some((quality, form));
        }
    }
    best.map(|(_, form)| form)
}

/// A quality value in thousandths; 0 if it is not one.
fn per_mille(quality: &str) -> u16 {
    let (whole, fraction) = quality.split_once('.').unwrap_or((quality, ""));
    let digits = format!("{fraction:0<3}");
    let thousandths: u16 = digits.get(..3).and_then(|d| d.parse().ok()).unwrap_or(0);
    if whole == "1" { 1000 } else { thousandths }
}

fn prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut counters_help = None;
    for line in open_metrics.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            // Held back: only the TYPE line after it says under which name it goes.
            counters_help = Some(help);
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap_or((typed, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, help)) = counters_help.take().and_then(|help| help.split_once(' ')) {
                text.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            }
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// `{name: {type, help, samples: [{name, labels, value}]}}`
fn json_text(open_metrics: &str) -> String {
    let mut families: Map<String, Value> = Map::new();
    let mut current = String::new();
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), help) => {
                current = name.to_owned();
                let help = help.unwrap_or_default();
                families.insert(current.clone(), json!({ "help": help, "samples": [] }));
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                if let Some(family) = families.get_mut(name) {
                    family["type"] = json!(kind);
                }
            }
            (Some("#"), ..) => {}
            _ => {
                let samples = families.get_mut(&current).and_then(|f| f["samples"].as_array_mut());
                if let (Some(samples), Some(sample)) = (samples, sample(line)) {
                    samples.push(sample);
                }
            }
        }
    }
    Value::Object(families).to_string()
}

fn sample(line: &str) -> Option<Value> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, self::labels(labels.strip_suffix('}')?)?),
        None => (series, Map::new()),
    };
    let number: f64 = value.parse().ok()?;
    // Infinities and NaN have no JSON number.
    let value = if number.is_finite() { json!(number) } else { json!(value) };
    Some(json!({ "name": name, "labels": labels, "value": value }))
}

/// `a="x",b="y"`, where a value may contain `\"`, `\\` and `\n`.
fn labels(text: &str) -> Option<Map<String, Value>> {
    let mut labels = Map::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"")?;
        let (mut value, mut escaped, mut end) = (String::new(), false, None);
        for (at, c) in after.char_indices() {
            match (escaped, c) {
                (true, 'n') => value.push('\n'),
                (true, other) => value.push(other),
                (false, '\\') => {}
                (false, '"') => {
                    end = Some(at + 1);
                    break;
                }
                (false, other) => value.push(other),
            }
            escaped = !escaped && c == '\\';
        }
        labels.insert(key.to_owned(), Value::String(value));
        rest = after.get(end?..)?.trim_start_matches(',');
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "# HELP dsync_build The running program.\n# TYPE dsync_build info\n\
        dsync_build_info{version=\"1\"} 1\n\
        # HELP dsync_grants Acquires answered as held.\n# TYPE dsync_grants counter\n\
        dsync_grants_total 3\n\
        # HELP dsync_sync_seconds Time.\n# TYPE dsync_sync_seconds histogram\n\
        # UNIT dsync_sync_seconds seconds\ndsync_sync_seconds_bucket{le=\"+Inf\"} 2\n\
        # EOF\n";

    #[test]
    fn prometheus_text_types_counters_under_their_sample_names() {
        let expected = "# HELP dsync_build_info The running program.\n\
            # TYPE dsync_build_info gauge\ndsync_build_info{version=\"1\"} 1\n\
            # HELP dsync_grants_total Acquires answered as held.\n\
            # TYPE dsync_grants_total counter\ndsync_grants_total 3\n\
            # HELP dsync_sync_seconds Time.\n# TYPE dsync_sync_seconds histogram\n\
            dsync_sync_seconds_bucket{le=\"+Inf\"} 2\n";
        assert_eq!(prometheus(SOURCE), expected);
    }

    #[test]
    fn json_keeps_types_labels_and_values() {
        let view: Value = serde_json::from_str(&json_text(SOURCE)).unwrap();
        assert_eq!(view["dsync_grants"]["type"], "counter");
        assert_eq!(view["dsync_grants"]["samples"][0]["value"], 3.0);
        let bucket = &view["dsync_sync_seconds"]["samples"][0];
        assert_eq!(bucket["labels"]["le"], "+Inf");
    }

    #[test]
    fn label_values_may_contain_quotes_and_commas() {
        let labels = labels(r#"a="x,\"y\"\\",b="}""#).unwrap();
        assert_eq!(labels["a"], "x,\"y\"\\");
        assert_eq!(labels["b"], "}");
    }

    #[test]
    fn the_accepted_form_with_the_highest_quality_wins() {
        let asked = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            asked(&headers)
        };
        assert_eq!(asked("*/*"), None);
        assert_eq!(asked("application/json"), Some(Form::Json));
        assert_eq!(asked("text/plain;q=0.5, application/json;q=0.25"), Some(Form::Prometheus));
        assert_eq!(asked("application/json;q=0"), None);
        let scraper = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(asked(scraper), Some(Form::OpenMetrics));
    }
}
