//! The operational log: lines to stderr through a bounded queue and a thread of its own, so that
//! a pipe nobody reads never holds up a request. Secrets never come here.

use crate::config::LogFormat;
use crate::limits::{LOG_FLUSH_DEADLINE, MAX_LOG_LINE_BYTES, MAX_LOG_LINES};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Crates whose lines follow `log_level`; all others speak from `warn` on.
const OURS: [&str; 6] = ["vaultd", "vault_core", "vault_engines", "vault_gateway", "storage", "secmem"];

/// The way into the log's queue.
#[derive(Clone)]
struct Queue {
    shared: Arc<Shared>,
    /// Each line starts with its priority, for the journal.
    priorities: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Told when there is something to write.
    filled: Condvar,
    /// Told when something was written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Entry>,
    /// Lines taken and lines dropped since the start.
    taken: u64,
    lost: u64,
    /// Of those, written to the end and told of.
    written: u64,
    told: u64,
}

struct Entry {
    line: Vec<u8>,
    /// How many lines had been dropped when this one was taken: they are told of before it.
    lost_before: u64,
}

impl Queue {
    /// Starts the thread that writes to `sink`.
    fn start(sink: impl Write + Send + 'static, priorities: bool) -> io::Result<Queue> {
        let shared =
            Arc::new(Shared { state: Mutex::default(), filled: Condvar::new(), written: Condvar::new() });
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(sink, &theirs, priorities))?;
        Ok(Queue { shared, priorities })
    }

    fn push(&self, line: &[u8], level: Level) {
        let mut line = if self.priorities { prioritised(line, level) } else { line.to_vec() };
        if line.len() > MAX_LOG_LINE_BYTES {
            line.truncate(MAX_LOG_LINE_BYTES);
            line.push(b'\n');
        }
        let mut state = self.shared.state.lock();
        if state.lines.len() < MAX_LOG_LINES {
            state.taken += 1;
            let lost_before = state.lost;
            state.lines.push_back(Entry { line, lost_before });
        } else {
            state.lost += 1;
        }
        drop(state);
        self.shared.filled.notify_one();
    }

    /// Waits until everything that was pushed before is written, or told of as lost; at most
    /// `deadline`. `true` when that is so.
    fn flush(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        let mut state = self.shared.state.lock();
        let (taken, lost) = (state.taken, state.lost);
        while state.written < taken || state.told < lost {
            if self.shared.written.wait_until(&mut state, until).timed_out() {
                return state.written >= taken && state.told >= lost;
            }
        }
        true
    }
}

fn write_lines(mut sink: impl Write, shared: &Shared, priorities: bool) -> ! {
    loop {
        let mut state = shared.state.lock();
        while state.lines.is_empty() && state.told == state.lost {
            shared.filled.wait(&mut state);
        }
        let entry = state.lines.pop_front();
        // Told of where they are missing: before the first line that was taken again.
        let lost = entry.as_ref().map_or(state.lost, |e| e.lost_before);
        let untold = lost - state.told;
        drop(state);
        if untold > 0 {
            let text = format!("{untold} log lines were dropped: stderr was not read in time\n");
            let line = if priorities { prioritised(text.as_bytes(), Level::WARN) } else { text.into_bytes() };
            let _ = sink.write_all(&line);
        }
        if let Some(entry) = &entry {
            let _ = sink.write_all(&entry.line);
        }
        let _ = sink.flush();
        let mut state = shared.state.lock();
        state.told = lost;
        state.written += u64::from(entry.is_some());
        drop(state);
        shared.written.notify_all();
    }
}

/// The priority of a level, as syslog counts them.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// `<4>` before each line: the journal reads it off (sd-daemon(3)).
pub fn prioritised(text: &[u8], level: Level) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    for line in text.split_inclusive(|b| *b == b'\n') {
        out.extend_from_slice(format!("<{}>", priority(level)).as_bytes());
        out.extend_from_slice(line);
    }
    out
}

/// True when stderr goes to the journal, which says so by its device and inode.
pub fn stderr_is_journal() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return false };
        let found = io::stderr().as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).metadata());
        found.is_ok_and(|m| named.to_str() == Some(&format!("{}:{}", m.dev(), m.ino())))
    })
}

/// One event on its way into the queue.
struct Line<'a>(&'a Queue, Level);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line, self.1);
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;
    fn make_writer(&'a self) -> Line<'a> {
        Line(self, Level::INFO)
    }
    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line(self, *meta.level())
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
        let queue = Queue::start(io::stderr(), stderr_is_journal())?;
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
}

/// The last lines leave before the process does, however it ends.
impl Drop for Log {
    fn drop(&mut self) {
        self.queue.flush(LOG_FLUSH_DEADLINE);
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
    use std::sync::mpsc::{Receiver, Sender, channel};

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

    const SOON: Duration = Duration::from_secs(90);

    fn stuck() -> (Queue, Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (go, stuck) = channel();
        let out = Arc::new(Mutex::new(Vec::new()));
        let queue = Queue::start(Stuck { go: stuck, out: Arc::clone(&out) }, false).expect("thread");
        (queue, go, out)
    }

    #[test]
    fn a_reader_that_stops_reading_costs_lines_and_not_time() {
        let (queue, go, out) = stuck();
        let extra = 500;
        for n in 0..MAX_LOG_LINES + extra {
            queue.push(format!("line {n}\n").as_bytes(), Level::INFO); // returns although nothing is taken
        }
        // The thread holds at most one line besides the queue's.
        let lost = queue.shared.state.lock().lost;
        assert!((extra as u64 - 1..=extra as u64).contains(&lost), "{lost}");
        drop(go); // the reader is back
        queue.push(b"late\n", Level::INFO);
        assert!(queue.flush(SOON));
        let text = String::from_utf8(out.lock().clone()).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.first(), Some(&"line 0"));
        let told: u64 = lines
            .iter()
            .filter_map(|l| l.strip_suffix(" log lines were dropped: stderr was not read in time"))
            .map(|n| n.parse::<u64>().expect("a number"))
            .sum();
        let kept = lines.iter().filter(|l| l.starts_with("line ") || **l == "late").count() as u64;
        assert_eq!(kept + told, (MAX_LOG_LINES + extra) as u64 + 1, "every line is there or told of");
        assert!(told >= lost);
    }

    #[test]
    fn what_is_lost_at_the_very_end_is_told_too() {
        let (queue, go, out) = stuck();
        for n in 0..MAX_LOG_LINES + 7 {
            queue.push(format!("line {n}\n").as_bytes(), Level::INFO);
        }
        let lost = queue.shared.state.lock().lost;
        drop(go);
        assert!(queue.flush(SOON));
        let text = String::from_utf8(out.lock().clone()).expect("text");
        assert!(text.ends_with(&format!("{lost} log lines were dropped: stderr was not read in time\n")));
    }

    #[test]
    fn flush_waits_for_the_last_line_even_when_the_queue_is_full() {
        let (queue, go, out) = stuck();
        for n in 0..MAX_LOG_LINES {
            queue.push(format!("line {n}\n").as_bytes(), Level::INFO);
        }
        assert!(!queue.flush(Duration::ZERO), "nothing is written yet, and it says so");
        let waiting = {
            let queue = queue.clone();
            std::thread::spawn(move || queue.flush(SOON))
        };
        drop(go);
        assert!(waiting.join().expect("flush"));
        let text = String::from_utf8(out.lock().clone()).expect("text");
        assert!(text.ends_with(&format!("line {}\n", MAX_LOG_LINES - 1)), "the last line left");
    }

    #[test]
    fn long_lines_are_cut_and_every_line_has_its_priority() {
        let out = Arc::new(Mutex::new(Vec::new()));
        let (go, free) = channel();
        drop(go);
        let queue = Queue::start(Stuck { go: free, out: Arc::clone(&out) }, true).expect("thread");
        for (level, text) in
            [(Level::ERROR, "a"), (Level::WARN, "b\nc"), (Level::INFO, "d"), (Level::DEBUG, "e")]
        {
            queue.push(format!("{text}\n").as_bytes(), level);
        }
        queue.push(&vec![b'x'; 2 * MAX_LOG_LINE_BYTES], Level::TRACE);
        assert!(queue.flush(SOON));
        let text = String::from_utf8(out.lock().clone()).expect("text");
        assert!(text.starts_with("<3>a\n<4>b\n<4>c\n<6>d\n<7>e\n<7>xxx"), "{}", &text[..40]);
        assert_eq!(text.lines().last().map(str::len), Some(MAX_LOG_LINE_BYTES));
    }

    #[test]
    fn other_crates_are_quiet() {
        assert!(filter(Level::TRACE).to_string().contains("vaultd=trace"));
        assert!(filter(Level::TRACE).to_string().split(',').any(|d| d == "warn"));
    }
}
