//! One instance of a component with its store, from its first call to its last.

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use wasmtime::Store;

use super::effects::Effects;
use super::guest::{self, Guest};
use super::linked::{Exports, Linked};
use super::reply::Failure;
use crate::config::{CallLimits, Form};
use crate::message::Message;
use crate::pipeline::outcome::{End, Outcome};

/// Instance of a component, which has one call at a time.
pub(super) struct Instance {
    pub(super) store: Store<Guest>,
    /// The first call makes it: its start runs under the call's limits.
    exports: Option<Exports>,
    /// Calls that it was given.
    pub(super) calls: u32,
}

impl Instance {
    /// Makes an instance that does not exist yet: the first call makes it.
    pub(super) fn new(store: Store<Guest>) -> Self {
        Self { store, exports: None, calls: 0 }
    }

    /// The same for another call.
    pub(super) fn again(mut self, effects: Effects) -> Self {
        self.store.data_mut().begin(effects);
        self
    }

    /// Handles one message, with fuel and time of its own.
    pub(super) async fn handle(
        &mut self,
        linked: &Linked,
        limits: &CallLimits,
        deadline: Instant,
        message: &Message,
        form: Form,
    ) -> Result<wasmtime::Result<Result<Outcome, Failure>>, Elapsed> {
        self.calls = self.calls.saturating_add(1);
        let Self { store, exports, .. } = self;
        let reply = async {
            guest::wind_up(store, limits, deadline)?;
            let exports = match exports {
                Some(exports) => exports,
                none @ None => none.insert(linked.instantiate(store).await?),
            };
            exports.handle(store, message, form).await
        };
        timeout_at(guest::timeout_at(deadline), reply).await
    }

    /// Tells whether it may have another call after one that ended so.
    ///
    /// After a trap or a deadline it cannot be entered again. A failure of the handler's own unwinds through its code
    /// and may leave its memory half written, and the message's next attempt must not fail of that; what only was
    /// decided does not. One that was refused something would be refused it again: its memory is full, or it is lost.
    /// What a call leaves under way ends with it, and so does what it leaves in the host.
    pub(super) fn is_sound_after(&self, end: &End) -> bool {
        let guest = self.store.data();
        let effects = &guest.effects;
        let lost = effects.lost_sql().is_some() || effects.awaited().is_some();
        let refused = guest.meter.has_refused() || effects.refused().is_some();
        let leaks = guest.in_hand.messages > 0;
        matches!(end, End::Decided(_)) && !refused && !lost && !leaks
    }

    /// Ends its last call, and it.
    pub(super) fn into_effects(self) -> Effects {
        self.store.into_data().effects
    }
}
