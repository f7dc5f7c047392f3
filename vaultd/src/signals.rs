//! What the operating system asks of the daemon.

use tokio::signal::unix::{self, SignalKind};

/// A request by signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: finish what was begun and end.
    Stop,
    /// SIGHUP: read certificates and the log level again, open audit files anew.
    Reload,
    /// A signal that has no meaning here, and would end a process that does not expect it.
    Ignored(&'static str),
}

/// Signals as they arrive. Once made, none of them ends the process by itself any more.
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    user_1: unix::Signal,
    user_2: unix::Signal,
}

impl Signals {
    pub fn new() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
            user_1: unix::signal(SignalKind::user_defined1())?,
            user_2: unix::signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.user_1.recv() => Signal::Ignored("SIGUSR1"),
            _ = self.user_2.recv() => Signal::Ignored("SIGUSR2"),
        }
    }
}
