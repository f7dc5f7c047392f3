//! Long work on a thread of its own, so that no request waits behind it.

use crate::Error;
use tokio::sync::oneshot;

/// Runs `work` on a thread of this name, with a runtime of its own, and waits for it.
pub async fn apart<T: Send + 'static>(
    name: &str,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Error> {
    let failed = |e: std::io::Error| Error::Worker(e.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
    let (done, result) = oneshot::channel();
    let run = move || {
        // Whoever gave up waiting has no use for it.
        let _ = done.send(runtime.block_on(work));
    };
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(failed)?;
    result.await.map_err(|_| Error::Worker("the work ended early".into()))
}
