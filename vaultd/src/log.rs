//! The operational log: lines to stderr through a bounded queue and a thread of its own, so that
//! a pipe nobody reads never holds up a request. Secrets never come here.

use crate::config::LogFormat;
use crate::limits::{LOG_FLUSH_DEADLINE, MAX_LOG_LINE_BYTES, MAX_LOG_LINES};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Crates whose lines follow `log_level`; all others speak from `warn` on.
const OURS: [&str; 6] = ["vaultd", "vault_core", "vault_engines", "vault_gateway", "storage", "secmem"];

enum Message {
    Line(Vec<u8>),
    /// Answered when every line before it is written.
    Flush(SyncSender<()>),
}

/// The way into the log's queue.
#[derive(Clone)]
struct Queue {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    /// Starts the thread that writes to `sink`.
    fn start(sink: impl Write + Send + 'static) -> io::Result<Queue> {
        let (lines, received) = sync_channel(MAX_LOG_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(sink, received, counter))?;
        Ok(Queue { lines, dropped })
    }

    fn push(&self, line: &[u8]) {
        let mut line = line.to_vec();
        if line.len() > MAX_LOG_LINE_BYTES {
            line.truncate(MAX_LOG_LINE_BYTES);
            line.push(b'\n');
        }
        if self.lines.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.lines.try_send(Message::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(LOG_FLUSH_DEADLINE);
        }
    }
}

fn write_lines(mut sink: impl Write, received: Receiver<Message>, dropped: Arc<AtomicU64>) {
    for message in received {
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(sink, "{lost} log lines were dropped: stderr was not read in time");
        }
        match message {
            Message::Line(line) => {
                let _ = sink.write_all(&line);
            }
            Message::Flush(done) => {
                let _ = sink.flush();
                let _ = done.try_send(());
            }
        }
    }
}

/// One event on its way into the queue.
struct Line<'a>(&'a Queue);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;
    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot start the log thread: {0}")]
    Thread(#[from] io::Error),
    #[error("a log is already in place: {0}")]
    Taken(#[from] TryInitError),
}

/// The running log.
pub struct Log {
    queue: Queue,
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Log {
    /// Takes over the process's log and its panics' reports.
    pub fn start(level: Level, format: LogFormat) -> Result<Log, LogError> {
        let queue = Queue::start(io::stderr())?;
        let (filter, handle) = reload::Layer::new(filter(level));
        let registry = tracing_subscriber::registry().with(filter);
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(queue.clone());
        match format {
            LogFormat::Standard => registry.with(layer).try_init()?,
            LogFormat::Json => registry.with(layer.json()).try_init()?,
        }
        // A panic's message may quote what the code held at that moment: only its place is told.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(place, "panic");
        }));
        Ok(Log { queue, filter: handle })
    }

    /// Changes the level (SIGHUP).
    pub fn set_level(&self, level: Level) {
        let _ = self.filter.reload(filter(level));
    }

    /// Gives the last lines a moment to leave.
    pub fn flush(&self) {
        self.queue.flush();
    }
}

fn filter(level: Level) -> EnvFilter {
    let level = level.as_str().to_ascii_lowercase();
    let others = if level == "error" { "error" } else { "warn" };
    let ours = OURS.iter().map(|c| format!(",{c}={level}")).collect::<String>();
    EnvFilter::new(format!("{others}{ours}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::mpsc::channel;

    /// A sink that blocks until it is let go, like a full pipe.
    struct Stuck {
        go: Receiver<()>,
        out: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            self.out.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_reading_costs_lines_and_not_time() {
        let (go, stuck) = channel();
        let out = Arc::new(Mutex::new(Vec::new()));
        let queue = Queue::start(Stuck { go: stuck, out: Arc::clone(&out) }).expect("thread");
        let extra = 500;
        for n in 0..MAX_LOG_LINES + extra {
            queue.push(format!("line {n}\n").as_bytes()); // returns although nothing is taken
        }
        queue.push(&vec![b'x'; 2 * MAX_LOG_LINE_BYTES]);
        assert!(queue.dropped.load(Ordering::Relaxed) >= extra as u64 - 1);
        drop(go); // the reader is back
        let mut tries = 0;
        while queue.lines.try_send(Message::Flush(sync_channel(1).0)).is_err() {
            std::thread::yield_now();
            tries += 1;
            assert!(tries < 100_000_000);
        }
        queue.flush();
        let text = String::from_utf8(out.lock().clone()).expect("text");
        assert!(text.contains("line 0\n") && text.contains("line 100\n"));
        assert!(text.contains(" log lines were dropped"), "the loss is told");
    }

    #[test]
    fn other_crates_are_quiet() {
        assert!(filter(Level::TRACE).to_string().contains("vaultd=trace"));
        assert!(filter(Level::TRACE).to_string().split(',').any(|d| d == "warn"));
    }
}
