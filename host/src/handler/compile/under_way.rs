//! Work that is under way, by what it makes: whoever wants the same meanwhile waits for it and has it too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OnceCell;

/// Things that are being made, by their digests.
pub(super) struct UnderWay<T>(Mutex<HashMap<Arc<str>, Weak<OnceCell<T>>>>);

impl<T> Default for UnderWay<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> UnderWay<T> {
    /// Gives what somebody makes under this digest at this moment, or makes it. Where that one failed or gave up, the next
    /// makes it.
    pub(super) async fn made_once<E>(
        &self,
        digest: &Arc<str>,
        make: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let cell = self.cell(digest);
        cell.get_or_try_init(|| make).await.cloned()
    }

    /// No code that can panic runs under the lock.
    fn cell(&self, digest: &Arc<str>) -> Arc<OnceCell<T>> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|_, cell| cell.strong_count() > 0);
        if let Some(cell) = cells.get(digest).and_then(Weak::upgrade) {
            return cell;
        }
        let cell = Arc::new(OnceCell::new());
        cells.insert(Arc::clone(digest), Arc::downgrade(&cell));
        cell
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn what_several_want_at_once_is_made_once_and_forgotten_then() {
        let (under_way, made) = (UnderWay::default(), AtomicUsize::new(0));
        let make = |digest: &'static str| {
            let (under_way, made) = (&under_way, &made);
            async move {
                let make = async {
                    yield_now().await;
                    Ok::<_, ()>(made.fetch_add(1, Ordering::Relaxed))
                };
                under_way.made_once(&digest.into(), make).await.unwrap()
            }
        };
        assert_eq!(join_all(["one", "two", "one", "one"].map(make)).await, [0, 1, 0, 0]);
        assert_eq!(make("one").await, 2, "nobody keeps it");
        assert_eq!(under_way.0.lock().unwrap().len(), 1, "others that have ended are forgotten");
    }

    #[tokio::test]
    async fn where_one_fails_or_gives_up_the_next_makes_it() {
        let under_way = UnderWay::<u32>::default();
        let digest = "one".into();
        let never = under_way.made_once::<()>(&digest, std::future::pending());
        let fails = under_way.made_once(&digest, async { Err("no") });
        let works = under_way.made_once::<()>(&digest, async { Ok(7) });
        let gives_up = async {
            tokio::select! {
                biased;
                _ = never => {}
                () = yield_now() => {}
            }
        };
        let ((), failed, worked) = tokio::join!(gives_up, fails, works);
        assert_eq!((failed, worked), (Err("no"), Ok(7)));
    }
}
