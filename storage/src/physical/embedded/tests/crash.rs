use super::*;

/// What the store must hold after each transaction, and how far it was acknowledged.
#[derive(Clone)]
struct Story {
    states: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
    riders: Vec<Vec<Vec<u8>>>,
    acknowledged: usize,
}

impl Story {
    fn new() -> Self {
        Story { states: vec![BTreeMap::new()], riders: vec![vec![]], acknowledged: 0 }
    }

    /// The next transaction, and the state it leads to.
    fn next(&mut self, rng: &mut Rng) -> Txn {
        let n = self.states.len() as u64;
        let mut state = self.states[self.states.len() - 1].clone();
        let mut riders = self.riders[self.riders.len() - 1].clone();
        let mut txn = Txn::default();
        for _ in 0..1 + rng.below(4) {
            let k = rng.below(24);
            if rng.below(4) == 0 {
                state.remove(key(k).as_bytes());
                txn.ops.push(Op::Delete { key: key(k) });
            } else {
                let value = n.to_be_bytes().repeat(1 + rng.below(20) as usize);
                txn.ops.push(put(k, &value));
                state.insert(key(k).as_bytes().to_vec(), value);
            }
        }
        if rng.below(3) == 0 {
            txn.rider = Some(n.to_be_bytes().to_vec());
            riders.push(n.to_be_bytes().to_vec());
        }
        self.states.push(state);
        self.riders.push(riders);
        txn
    }

    /// Whether `store` is where the last acknowledged transaction left it, or one further.
    async fn check(&self, store: &dyn Physical) -> Result<usize, String> {
        let found = store.scan(&[], None, usize::MAX).await.map_err(|e| e.to_string())?;
        let found: BTreeMap<Vec<u8>, Vec<u8>> =
            found.into_iter().map(|(k, r)| (k.as_bytes().to_vec(), r.value)).collect();
        let seq = store.seq() as usize;
        if seq < self.acknowledged {
            return Err(format!("{} were acknowledged, {seq} are there", self.acknowledged));
        }
        if self.states.get(seq) != Some(&found) {
            return Err(format!("not the state after {seq}"));
        }
        let riders = store.riders().await.map_err(|e| e.to_string())?;
        let riders: Vec<Vec<u8>> = riders.into_iter().map(|(_, r)| r).collect();
        // Released ones may be gone or not; those kept are the last ones, none missing between.
        if !self.riders[seq].ends_with(&riders) || riders.len() < self.riders[seq].len().min(3) {
            return Err("riders are missing".into());
        }
        Ok(seq)
    }
}

const STEPS: usize = 40;

/// Works until something fails: two lives of a store, the second after an orderly close.
async fn live<const SAFE: bool>(opener: &SimOpener<SAFE>, seed: u64) -> Story {
    let mut rng = Rng(seed);
    let mut story = Story::new();
    for _ in 0..2 {
        let Ok(store) = start(opener) else { return story };
        if let Err(e) = work(&store, &mut story, &mut rng, STEPS / 2).await {
            assert!(matches!(e, Error::Poisoned(_)), "{e}");
            return story;
        }
        if store.close().await.is_err() {
            return story;
        }
    }
    story
}

async fn work(p: &dyn Physical, story: &mut Story, rng: &mut Rng, steps: usize) -> Result<()> {
    for _ in 0..steps {
        let txn = story.next(rng);
        let out = p.apply(Fence(1), vec![txn]).await?;
        let [Outcome::Applied { seq }] = out[..] else { panic!("{out:?}") };
        story.acknowledged = seq as usize;
        assert_eq!(story.acknowledged + 1, story.states.len());
        if story.acknowledged.is_multiple_of(7) {
            // All but the last three, so that segments can go.
            let riders = p.riders().await?;
            if let Some((through, _)) = riders.len().checked_sub(4).and_then(|i| riders.get(i)) {
                p.release_riders(*through).await?;
            }
        }
    }
    Ok(())
}

fn images(seed: u64) -> [Image; 5] {
    [Image::Synced, Image::Killed, Image::Part(seed), Image::Part(seed + 1), Image::Part(seed + 2)]
}

/// Opens each image of the crash, checks it, and goes on working with it.
async fn survives<const SAFE: bool>(
    opener: &SimOpener<SAFE>,
    story: &Story,
    seed: u64,
) -> Result<(), String> {
    for image in images(seed * 8) {
        let disk = opener.disk.image(image);
        let crashed = opener.crashed(&disk, image, seed);
        // A second crash, while the first is recovered from.
        disk.cut_after(seed as usize % 9);
        let _cut = start(&crashed);
        drop(_cut);
        let disk = disk.image(image);
        let crashed = crashed.crashed(&disk, image, seed + 1);
        let store = start(&crashed).map_err(|e| format!("{image:?}: {e}"))?;
        let seq = story.check(&store).await.map_err(|e| format!("{image:?}: {e}"))?;
        // What was seen once stays, whatever happens next.
        let again = disk.image(Image::Synced);
        let seen = start(&crashed.crashed(&again, Image::Synced, seed))
            .map_err(|e| format!("{image:?}, again: {e}"))?;
        if story.check(&seen).await.map_err(|e| format!("{image:?}, again: {e}"))? < seq {
            return Err(format!("{image:?}: {seq} was readable and is gone"));
        }
        drop(seen);
        let mut story = story.clone();
        story.states.truncate(seq + 1);
        story.riders.truncate(seq + 1);
        story.acknowledged = seq;
        work(&store, &mut story, &mut Rng(seed), 6).await.map_err(|e| e.to_string())?;
        let again = disk.image(Image::Synced);
        let third = start(&crashed.crashed(&again, Image::Synced, seed));
        let third = third.map_err(|e| format!("{image:?}, later: {e}"))?;
        story.check(&third).await.map_err(|e| format!("{image:?}, later: {e}"))?;
        drop(third);
        store.close().await.map_err(|e| e.to_string())?;
        drop(store);
        let store = start(&crashed).map_err(|e| format!("{image:?}, closed: {e}"))?;
        story.check(&store).await.map_err(|e| format!("{image:?}, closed: {e}"))?;
    }
    Ok(())
}

/// Cuts the power at every call and returns the first loss.
async fn cut_everywhere<const SAFE: bool>(prepare: impl Fn(&SimDisk)) -> Result<usize, String> {
    for at in 0.. {
        let disk = SimDisk::new();
        prepare(&disk);
        disk.cut_after(at);
        let opener = SimOpener::<SAFE>::new(&disk);
        let story = live(&opener, at as u64 % 5).await;
        survives(&opener, &story, at as u64).await.map_err(|e| format!("cut at call {at}: {e}"))?;
        if disk.struck().is_none() {
            assert_eq!(story.acknowledged, STEPS);
            return Ok(at);
        }
    }
    unreachable!("the work ends")
}

#[tokio::test]
async fn no_power_cut_loses_an_acknowledged_write() {
    let calls = cut_everywhere::<true>(|_| {}).await.unwrap();
    assert!(calls > 150, "the work crossed segments and checkpoints: {calls} calls");
}

#[tokio::test]
async fn nor_with_an_index_that_a_power_cut_ruins() {
    let calls = cut_everywhere::<false>(|_| {}).await.unwrap();
    assert!(calls > 150, "the work crossed segments and bases: {calls} calls");
}

/// The check bites: on a disk whose syncs do nothing, losses are seen.
#[tokio::test]
async fn a_disk_that_lies_is_found_out() {
    cut_everywhere::<true>(SimDisk::ignore_syncs).await.unwrap_err();
    cut_everywhere::<false>(SimDisk::ignore_syncs).await.unwrap_err();
}

/// One call fails, everything after it works again: the store must not go on all the same.
async fn fail_everywhere<const SAFE: bool>() {
    for at in 0.. {
        let disk = SimDisk::new();
        let opener = SimOpener::<SAFE>::new(&disk);
        let mut story = Story::new();
        let mut rng = Rng(at as u64);
        let store = start(&opener).unwrap();
        disk.fail_after(at, ErrorKind::Other);
        let mut refused = false;
        for _ in 0..STEPS {
            let struck = disk.struck().is_some_and(|c| c != Call::Remove);
            let txn = story.next(&mut rng);
            match store.apply(Fence(1), vec![txn]).await {
                Ok(out) => {
                    assert!(!struck && !refused, "acknowledged after call {at} failed");
                    assert!(matches!(out[..], [Outcome::Applied { .. }]));
                    story.acknowledged += 1;
                }
                Err(e) => {
                    assert!(matches!(e, Error::Poisoned(_)), "{e}");
                    refused = true;
                }
            }
        }
        if refused {
            assert!(matches!(store.get(&key(1)).await, Err(Error::Poisoned(_))));
            assert!(matches!(store.riders().await, Err(Error::Poisoned(_))));
            assert!(matches!(store.close().await, Err(Error::Poisoned(_))));
        }
        drop(store);
        story.states.truncate(story.acknowledged + 2);
        story.riders.truncate(story.acknowledged + 2);
        survives(&opener, &story, at as u64).await.unwrap_or_else(|e| panic!("call {at} failed: {e}"));
        if disk.struck().is_none() {
            assert_eq!(story.acknowledged, STEPS);
            return;
        }
    }
}

#[tokio::test]
async fn after_a_failed_call_nothing_is_acknowledged() {
    fail_everywhere::<true>().await;
    fail_everywhere::<false>().await;
}

/// Concurrent callers share rounds; each transaction is there whole or not at all, and there if
/// it was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_under_concurrent_writers() {
    for at in 0..120 {
        let disk = SimDisk::new();
        disk.cut_after(at);
        let opener = SimOpener::<true>::new(&disk);
        let Ok(store) = start(&opener) else { continue };
        let store = Arc::new(store);
        let writers = (0..8u64).map(|w| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut done = 0u64;
                while done < 10 {
                    let value = (done + 1).to_be_bytes();
                    let ops = vec![put(w * 10, &value), put(w * 10 + 1, &value)];
                    match store.apply(Fence(1), vec![Txn { ops, ..Txn::default() }]).await {
                        Ok(_) => done += 1,
                        Err(_) => break,
                    }
                }
                done
            })
        });
        let mut acknowledged = Vec::new();
        for w in writers.collect::<Vec<_>>() {
            acknowledged.push(w.await.unwrap());
        }
        drop(store);
        for image in images(at as u64) {
            let disk = opener.disk.image(image);
            let store = start(&opener.crashed(&disk, image, 0)).unwrap();
            for (w, done) in (0u64..).zip(&acknowledged) {
                let a = store.get(&key(w * 10)).await.unwrap().map(|r| r.value);
                let b = store.get(&key(w * 10 + 1)).await.unwrap().map(|r| r.value);
                assert_eq!(a, b, "half a transaction");
                let there = a.map_or(0, |v| u64::from_be_bytes(v.try_into().unwrap()));
                assert!(there == *done || there == done + 1, "cut {at}: {done} acknowledged, {there} there");
            }
        }
    }
}
