//! The limit for durable writes: writers that append records to one file and share an `fdatasync`.
//!
//! `bench-append FILE MODE WRITERS BYTES SECONDS` prints one line of JSON with the rate (records a
//! second), the latencies (microseconds) and the syncs. MODE is `grow` (an empty file that gets
//! longer) or `overwrite` (zeros written before, so that a sync has no metadata to write).

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Length of the file in the mode `overwrite`, in bytes; writing starts anew at its end.
const PREPARED: u64 = 64 * 1024 * 1024;

/// What waits, and how far the disk is.
#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    empty: Vec<u8>,
    /// Records handed in, and of these durable.
    taken: u64,
    durable: u64,
    offset: u64,
    syncs: u64,
    syncing: bool,
    failed: Option<String>,
}

struct Log {
    file: File,
    wraps: bool,
    state: Mutex<State>,
    changed: Condvar,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the record is durable. The first who finds nobody syncing does it for all.
    fn append(&self, record: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        state.waiting.extend_from_slice(record);
        state.taken += 1;
        let mine = state.taken;
        while state.durable < mine {
            if let Some(why) = &state.failed {
                return Err(io::Error::other(why.clone()));
            }
            if state.syncing {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.syncing = true;
            let upto = state.taken;
            let empty = std::mem::take(&mut state.empty);
            let mut batch = std::mem::replace(&mut state.waiting, empty);
            if self.wraps && state.offset + batch.len() as u64 > PREPARED {
                state.offset = 0;
            }
            let offset = state.offset;
            drop(state);
            let written = self.file.write_all_at(&batch, offset).and_then(|()| self.file.sync_data());
            state = self.lock();
            state.offset += batch.len() as u64;
            batch.clear();
            state.empty = batch;
            state.syncing = false;
            state.syncs += 1;
            match written {
                Ok(()) => state.durable = upto,
                Err(e) => state.failed = Some(e.to_string()),
            }
            self.changed.notify_all();
        }
        Ok(())
    }
}

fn prepare(path: &str, wraps: bool) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    if wraps {
        let zeros = vec![0; 1024 * 1024];
        for at in (0..PREPARED).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
    }
    file.sync_all()?;
    Ok(file)
}

/// The latencies of one writer, in microseconds.
fn writer(log: &Log, record: &[u8], until: Instant) -> io::Result<Vec<u64>> {
    let mut took = Vec::new();
    loop {
        let began = Instant::now();
        if began >= until {
            return Ok(took);
        }
        log.append(record)?;
        took.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, mode, writers, bytes, seconds] = args.as_slice() else {
        return Err("usage: bench-append FILE grow|overwrite WRITERS BYTES SECONDS".into());
    };
    let (writers, bytes, seconds): (usize, usize, f64) = (writers.parse()?, bytes.parse()?, seconds.parse()?);
    let wraps = match mode.as_str() {
        "grow" => false,
        "overwrite" => true,
        _ => return Err("the mode is grow or overwrite".into()),
    };
    let file = prepare(path, wraps)?;
    let log = Log { file, wraps, state: Mutex::default(), changed: Condvar::new() };
    let record = vec![b'x'; bytes];
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(seconds);
    let mut took = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers).map(|_| scope.spawn(|| writer(&log, &record, until))).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a writer panicked")??);
        }
        Ok::<_, Box<dyn Error>>(all)
    })?;
    let elapsed = began.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or_default();
    let line = format!(
        "{{\"rate\": {:.1}, \"p50\": {}, \"p99\": {}, \"requests\": {}, \"syncs\": {}}}",
        took.len() as f64 / elapsed,
        at(0.50),
        at(0.99),
        took.len(),
        log.lock().syncs
    );
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}
