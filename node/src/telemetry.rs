//! Logs: readable on a terminal, one JSON object a line elsewhere, always on standard error.
//!
//! Every line says which node wrote it: its name from the start, its node id as soon as the disk has
//! told it. Both stand beside the event's own fields and not in a span, because spans do not follow
//! work that is handed to another task or thread.

use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use std::sync::OnceLock;

use dsync_core::types::{NodeId, NodeName};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use crate::config::{LogConfig, LogFormat};

/// The id of the node of this process, known once its disk is open.
static NODE_ID: OnceLock<NodeId> = OnceLock::new();

/// Starts logging for this process.
///
/// # Errors
/// If the filter cannot be read, or logging has been started before.
pub fn start(config: &LogConfig, name: &NodeName) -> anyhow::Result<()> {
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let line = match is_json(config.format, terminal) {
        true => Line::Json { name: name.clone() },
        false => Line::Text { name: name.clone() },
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&config.filter)?)
        .with_writer(|| Forgiving(std::io::stderr()))
        .with_ansi(colour)
        .event_format(line)
        .try_init()
        .map_err(anyhow::Error::from_boxed)
}

/// Lines from now on carry this node id. Only the first call counts.
pub fn identify(id: NodeId) {
    let _ = NODE_ID.set(id);
}

fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

/// Standard error, whose failures are nobody's business: a line that cannot be written (full disk,
/// closed pipe) would otherwise be reported to the same place, by a macro that panics.
struct Forgiving(std::io::Stderr);

impl std::io::Write for Forgiving {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// How an event becomes a line.
enum Line {
    Text { name: NodeName },
    Json { name: NodeName },
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match self {
            Self::Text { name } => write_text(name, context, writer, event),
            Self::Json { name } => writeln!(writer, "{}", json(name, context, event)),
        }
    }
}

fn write_text<S, N>(
    name: &NodeName,
    context: &FmtContext<'_, S, N>,
    mut writer: Writer<'_>,
    event: &Event<'_>,
) -> fmt::Result
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    SystemTime.format_time(&mut writer)?;
    let (on, off) = if writer.has_ansi_escapes() {
        (colour(*event.metadata().level()), "\x1b[0m")
    } else {
        ("", "")
    };
    write!(writer, " {on}{:>5}{off} {name}", event.metadata().level())?;
    if let Some(id) = NODE_ID.get() {
        write!(writer, "/{id}")?;
    }
    write!(writer, " {}: ", event.metadata().target())?;
    for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
        let extensions = span.extensions();
        let fields = extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.as_str());
        write!(writer, "{}{{{fields}}}: ", span.name())?;
    }
    context.format_fields(writer.by_ref(), event)?;
    writeln!(writer)
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}

/// The event's own fields come first, so none of them can pass for the time, the level or the node.
fn json<S, N>(name: &NodeName, context: &FmtContext<'_, S, N>, event: &Event<'_>) -> Value
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let mut fields = Fields::default();
    event.record(&mut fields);
    let mut line = fields.0;
    let mut put = |key: &str, value: String| line.insert(key.to_owned(), Value::String(value));
    let mut timestamp = String::new();
    if SystemTime.format_time(&mut Writer::new(&mut timestamp)).is_ok() {
        put("timestamp", timestamp);
    }
    put("level", event.metadata().level().to_string());
    put("target", event.metadata().target().to_owned());
    put("node", name.to_string());
    if let Some(id) = NODE_ID.get() {
        put("node_id", id.to_string());
    }
    let spans = span_texts(context);
    if !spans.is_empty() {
        put("spans", spans);
    }
    Value::Object(line)
}

fn span_texts<S, N>(context: &FmtContext<'_, S, N>) -> String
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let mut text = String::new();
    for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
        let extensions = span.extensions();
        let fields = extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.as_str());
        let separator = if text.is_empty() { "" } else { ":" };
        let _ = write!(text, "{separator}{}{{{fields}}}", span.name());
    }
    text
}

/// An event's fields as JSON values.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.put(field, text);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What one line says when it is logged within a span.
    fn logged(line: Line) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .event_format(line)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("request", id = 7).entered();
            tracing::warn!(bytes = 12, node = "liar", "disk \"slow\"");
        });
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_for_machines_is_one_object_that_names_the_node() {
        let text = logged(Line::Json { name: NodeName("n1".into()) });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["node"], "n1", "an event cannot pass for another node's");
        assert_eq!(line["message"], "disk \"slow\"");
        assert_eq!(line["bytes"], 12);
        assert_eq!(line["spans"], "request{id=7}");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_line_for_people_names_the_node_and_the_span() {
        let text = logged(Line::Text { name: NodeName("n1".into()) });
        assert!(text.contains(" WARN n1"), "{text}");
        assert!(text.contains("request{id=7}: disk \"slow\" bytes=12"), "{text}");
        assert!(text.ends_with('\n') && text.lines().count() == 1);
    }

    #[test]
    fn without_a_terminal_lines_are_json_unless_asked_otherwise() {
        assert!(is_json(LogFormat::Auto, false) && !is_json(LogFormat::Auto, true));
        assert!(is_json(LogFormat::Json, true) && !is_json(LogFormat::Text, false));
    }
}
