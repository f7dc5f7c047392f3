//! Listing a folder: storage order says nothing, so every name is decrypted and the smallest are kept.

use super::shared::Shared;
use crate::limits::{INLINE_LIST_NAMES, LIST_PAGE, MAX_LIST_NAMES, MAX_LIST_WORKERS};
use crate::names::Named;
use crate::physical::{Child, Key as StorageKey};
use crate::{Error, Space};
use std::collections::BinaryHeap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Over the process: a large listing must not take every core.
static WORKERS: Semaphore = Semaphore::const_new(MAX_LIST_WORKERS);

/// The names in a folder, as [`Store::list`](super::Store::list).
pub async fn names(
    shared: &Arc<Shared>,
    space: Space,
    dir: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, Error> {
    let folder = shared.names.folder(space, dir)?;
    let mut smallest = Smallest::new(after, limit.min(MAX_LIST_NAMES));
    let (mut from, mut seen) = (None, 0);
    loop {
        let page = shared.physical.children(&folder, from.as_deref(), LIST_PAGE).await?;
        let last_page = page.len() < LIST_PAGE;
        from = page.last().map(|child| child.segment.clone());
        seen += page.len();
        for name in open(shared, space, &folder, page, seen).await? {
            smallest.offer(name);
        }
        if last_page {
            return Ok(smallest.into_sorted());
        }
    }
}

/// How many records there are below a folder, `most` at most, as [`Store::count`](super::Store::count).
pub async fn count(shared: &Arc<Shared>, space: Space, dir: &str, most: u64) -> Result<u64, Error> {
    let mut folders = vec![shared.names.folder(space, dir)?];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        let mut from: Option<Vec<u8>> = None;
        loop {
            let page = shared.physical.children(&folder, from.as_deref(), LIST_PAGE).await?;
            shared.check_open()?;
            found += page.iter().filter(|child| child.record).count() as u64;
            folders.extend(page.iter().filter(|child| child.folder).map(|c| folder.join(&c.segment)));
            if found >= most {
                return Ok(most);
            }
            if page.len() < LIST_PAGE {
                break;
            }
            from = page.last().map(|child| child.segment.clone());
        }
    }
    Ok(found)
}

/// Decrypts a page, off the async threads once it is worth the way.
async fn open(
    shared: &Arc<Shared>,
    space: Space,
    folder: &StorageKey,
    page: Vec<Child>,
    seen: usize,
) -> Result<Vec<Named>, Error> {
    if seen <= INLINE_LIST_NAMES {
        return shared.names.open(space, folder, &page);
    }
    let _permit = WORKERS.acquire().await.map_err(|e| Error::Worker(e.to_string()))?;
    let (shared, folder) = (shared.clone(), folder.clone());
    let work = tokio::task::spawn_blocking(move || shared.names.open(space, &folder, &page));
    work.await.map_err(|_| Error::Worker("a listing ended early".into()))?
}

/// Keeps the `limit` smallest names after `after`.
struct Smallest<'a> {
    after: Option<&'a str>,
    limit: usize,
    heap: BinaryHeap<String>,
}

impl<'a> Smallest<'a> {
    fn new(after: Option<&'a str>, limit: usize) -> Smallest<'a> {
        Smallest { after, limit, heap: BinaryHeap::new() }
    }

    fn offer(&mut self, named: Named) {
        if named.folder {
            self.keep(format!("{}/", named.name));
        }
        if named.record {
            self.keep(named.name);
        }
    }

    fn keep(&mut self, name: String) {
        if self.after.is_some_and(|after| name.as_str() <= after) {
            return;
        }
        if self.heap.len() < self.limit {
            self.heap.push(name);
        } else if let Some(mut greatest) = self.heap.peek_mut()
            && name < *greatest
        {
            *greatest = name;
        }
    }

    fn into_sorted(self) -> Vec<String> {
        self.heap.into_sorted_vec()
    }
}
