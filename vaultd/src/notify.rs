//! Telling the service manager how the daemon is: sd_notify(3), without its library.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Where the manager listens, and how often it wants to hear that the daemon lives.
pub struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// What the manager set in the environment; `None` where there is no manager.
    pub fn from_env() -> Option<Notifier> {
        let address = std::env::var_os("NOTIFY_SOCKET")?;
        let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros);
        match Self::new(&address, watchdog) {
            Ok(notifier) => Some(notifier),
            Err(error) => {
                tracing::warn!(%error, "the service manager's NOTIFY_SOCKET cannot be used");
                None
            }
        }
    }

    /// `address`: a path, or a name with `@` in front (an abstract socket).
    fn new(address: &OsStr, watchdog: Option<Duration>) -> io::Result<Notifier> {
        let manager = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not listen is not waited for.
        socket.set_nonblocking(true)?;
        Ok(Notifier { socket, manager, watchdog })
    }

    /// How often to call [`Notifier::alive`]: twice in the time after which the manager acts.
    pub fn beat(&self) -> Option<Duration> {
        self.watchdog.map(|after| after / 2)
    }

    /// Serving, at start or after a reload.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// Reading the config again; [`Notifier::ready`] follows.
    pub fn reloading(&self) {
        match monotonic_usec() {
            Ok(usec) => self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={usec}")),
            Err(error) => tracing::warn!(%error, "the clock cannot be read"),
        }
    }

    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, text: &str) {
        if let Err(error) = self.socket.send_to_addr(text.as_bytes(), &self.manager) {
            tracing::warn!(%error, "the service manager was not told");
        }
    }
}

fn monotonic_usec() -> nix::Result<i128> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(i128::from(now.tv_sec()) * 1_000_000 + i128::from(now.tv_nsec()) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(manager: &UnixDatagram) -> String {
        let mut text = [0; 256];
        let n = manager.recv(&mut text).expect("a message");
        String::from_utf8_lossy(&text[..n]).into_owned()
    }

    #[test]
    fn both_kinds_of_addresses_are_reached() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("notify");
        let abstract_name = format!("vaultd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).expect("name");
        let at = format!("@{abstract_name}");
        for (manager, name) in [
            (UnixDatagram::bind(&path).expect("bind"), path.as_os_str()),
            (UnixDatagram::bind_addr(&address).expect("bind"), OsStr::new(&at)),
        ] {
            let notifier = Notifier::new(name, Some(Duration::from_secs(20))).expect("notifier");
            assert_eq!(notifier.beat(), Some(Duration::from_secs(10)));
            notifier.ready("sealed");
            assert_eq!(receive(&manager), "READY=1\nSTATUS=sealed");
            notifier.reloading();
            let said = receive(&manager);
            let usec = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("with the time");
            assert!(usec.parse::<u64>().is_ok_and(|n| n > 0));
            notifier.alive();
            notifier.stopping();
            assert_eq!((receive(&manager), receive(&manager)), ("WATCHDOG=1".into(), "STOPPING=1".into()));
        }
        // Nobody listens any more: nothing waits, nothing ends.
        let gone = Notifier::new(path.as_os_str(), None).expect("notifier");
        gone.ready("sealed");
    }
}
