//! State as stores with numbers and pages: what `wasi:keyvalue` has beyond reading and writing one value.

use tokio::task::coop::consume_budget;

use super::{Effects, StateError, length, refused};
use crate::settle::Scope;

/// Names of one page, which state gives at once.
const PAGE: u32 = 1000;

/// Reason why a store did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::handler) enum StoreError {
    /// The state below refuses.
    #[error(transparent)]
    State(#[from] StateError),
    /// No store has that name.
    #[error("there is no such store; there are `keyed`, which is the default, and `shared`")]
    Unknown,
    /// The value that stands there cannot be incremented.
    #[error("the value of {0} is not a whole number in decimal digits")]
    NoNumber(String),
    /// The sum would be more than a number can be.
    #[error("the value of {0} would be more than {max}", max = u64::MAX)]
    TooHigh(String),
    /// The answer would be larger than so many bytes.
    #[error("an answer may have {0} bytes; ask for fewer values, or raise limits.state-bytes")]
    TooLarge(u64),
    /// The cursor comes from another call, or from nowhere.
    #[error("cursor {0} was not given in this call")]
    UnknownCursor(u64),
}

impl Effects {
    /// Returns whose values the store of that name has.
    pub(in crate::handler) fn open_store(&mut self, name: &str) -> Result<Scope, StoreError> {
        let scope = match name {
            "" | "default" | "keyed" => Ok(Scope::Keyed),
            "shared" => Ok(Scope::Shared),
            _ => Err(StoreError::Unknown),
        };
        let opened = scope.and_then(|scope| Ok(self.granted().map(|()| scope)?));
        if let Err(error) = &opened {
            let grant = matches!(error, StoreError::State(_)).then_some("grants.state");
            self.note(|| refused(format!("open store {name}"), grant, error));
        }
        opened
    }

    /// Adds to a number, which is 0 where there is none, and gives the sum. Whoever else adds to it meanwhile makes
    /// this call run again, as with any value.
    pub(in crate::handler) async fn increment(
        &mut self,
        scope: Scope,
        name: &str,
        delta: u64,
    ) -> Result<u64, StoreError> {
        let number = match self.get(scope, name).await? {
            None => 0,
            Some(value) => std::str::from_utf8(&value)
                .ok()
                .and_then(|digits| digits.parse::<u64>().ok())
                .ok_or_else(|| StoreError::NoNumber(name.to_owned()))?,
        };
        let sum = number.checked_add(delta).ok_or_else(|| StoreError::TooHigh(name.to_owned()))?;
        self.set(scope, name, sum.to_string().into_bytes()).await?;
        Ok(sum)
    }

    /// The names behind a cursor, and the cursor of the next page where there may be one. A page begins behind a
    /// name: what is written or removed between two pages moves nothing.
    pub(in crate::handler) async fn page_of_names(
        &mut self,
        scope: Scope,
        cursor: Option<u64>,
    ) -> Result<(Vec<String>, Option<u64>), StoreError> {
        let after = cursor.map(|cursor| {
            let end = usize::try_from(cursor).ok().and_then(|place| self.page_ends.get(place));
            let end = end.filter(|(of, _)| *of == scope).map(|(_, name)| name.clone());
            end.ok_or(StoreError::UnknownCursor(cursor))
        });
        let names = self.names(scope, "", after.transpose()?.as_deref(), PAGE).await?;
        let full = usize::try_from(PAGE).is_ok_and(|page| names.len() >= page);
        let next = names.last().filter(|_| full).map(|last| self.page_end(scope, last));
        Ok((names, next))
    }

    /// A page that is asked for again has the same cursor: there are no more of them than names.
    fn page_end(&mut self, scope: Scope, name: &str) -> u64 {
        let known = self.page_ends.iter().position(|(of, end)| *of == scope && end == name);
        let place = known.unwrap_or_else(|| {
            self.page_ends.push((scope, name.to_owned()));
            self.page_ends.len() - 1
        });
        length(place)
    }

    /// Several values with their names; names without one are `None`. A name may come again and again, so that
    /// the answer has a bound of its own.
    pub(in crate::handler) async fn get_many(
        &mut self,
        scope: Scope,
        names: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, StoreError> {
        let most = self.manifest.limits.state_bytes;
        let (mut values, mut bytes) = (Vec::new(), 0);
        for name in names {
            // The deadline ends only what gives way.
            consume_budget().await;
            let value = self.get(scope, &name).await?;
            bytes += value.as_ref().map_or(0, |value| length(name.len() + value.len()));
            if bytes > most {
                self.refuse(|| format!("an answer of {bytes} bytes, limits.state-bytes = {most}"));
                return Err(StoreError::TooLarge(most));
            }
            values.push(value.map(|value| (name, value)));
        }
        Ok(values)
    }

    /// Sets them in their order; what comes before an error stays set.
    pub(in crate::handler) async fn set_many(
        &mut self,
        scope: Scope,
        values: Vec<(String, Vec<u8>)>,
    ) -> Result<(), StateError> {
        for (name, value) in values {
            consume_budget().await;
            self.set(scope, &name, value).await?;
        }
        Ok(())
    }

    /// Removes them; those that are not there are no error.
    pub(in crate::handler) async fn remove_many(
        &mut self,
        scope: Scope,
        names: Vec<String>,
    ) -> Result<(), StateError> {
        for name in names {
            consume_budget().await;
            self.remove(scope, &name).await?;
        }
        Ok(())
    }
}
