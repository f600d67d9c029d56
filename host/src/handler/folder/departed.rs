//! Handlers whose files went away in a look that found new files too: perhaps one of these is the same
//! component under another name. What became of them is told once that is known.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::HandlerName;

/// Handlers whose files went, and of whom it is not known yet whether they have another name now.
#[derive(Default)]
pub(super) struct Departed(Vec<Gone>);

struct Gone {
    name: HandlerName,
    digest: Arc<str>,
    /// Stems of new files that are not loaded yet.
    may_be: BTreeSet<String>,
}

impl Departed {
    /// A handler is gone that ran this; `new` files came.
    pub(super) fn add(&mut self, name: HandlerName, digest: Option<Arc<str>>, new: &BTreeSet<String>) {
        match digest {
            Some(digest) if !new.is_empty() => self.0.push(Gone { name, digest, may_be: new.clone() }),
            Some(_) | None => tell_removal(&name),
        }
    }

    /// A new file was loaded, or not: `digest` is `None` where nothing came of it. Gives the name under which it
    /// ran before.
    pub(super) fn settle(&mut self, stem: &str, digest: Option<&str>) -> Option<HandlerName> {
        let same = |gone: &Gone| gone.may_be.contains(stem) && digest == Some(&*gone.digest);
        let before = self.0.iter().position(same).map(|place| self.0.remove(place).name);
        for gone in &mut self.0 {
            gone.may_be.remove(stem);
        }
        self.0.retain(|gone| {
            if gone.may_be.is_empty() {
                tell_removal(&gone.name);
            }
            !gone.may_be.is_empty()
        });
        before
    }
}

fn tell_removal(name: &HandlerName) {
    tracing::info!(handler.name = %name, "Handler {name} is removed; its messages wait");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HandlerName {
        HandlerName::parse(text).unwrap()
    }

    #[test]
    fn a_component_that_comes_back_under_another_name_is_known_by_its_digest() {
        let mut departed = Departed::default();
        let new = BTreeSet::from(["b".to_owned(), "c".to_owned()]);
        departed.add(name("a"), Some("one".into()), &new);
        departed.add(name("z"), Some("two".into()), &new);
        assert_eq!(departed.settle("c", Some("three")), None);
        assert_eq!(departed.settle("b", Some("one")), Some(name("a")));
        assert!(departed.0.is_empty(), "nothing new is left that the other could be");
        departed.add(name("a"), Some("one".into()), &BTreeSet::new());
        assert_eq!(departed.settle("d", Some("one")), None, "it was gone before");
    }
}
