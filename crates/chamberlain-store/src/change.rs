//! A change of the control plane, while it is being made: one transaction, on record or not at all.
//!
//! The methods that change a noun stand in the noun's file.

use chamberlain_core::audit::record::{self, Principal};
use chamberlain_core::record::Notice;
use chamberlain_core::time::Timestamp;
use rusqlite::Connection;
use serde_json::Value;

use crate::fault::StoreFault;
use crate::writer::state::State;

/// What an audit record says about a change. Never a secret.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Facts {
    /// Why, in the words of whoever did it.
    pub reason: Option<String>,
    /// How it was; `None` where there was nothing.
    pub before: Option<Value>,
    /// How it is now; `None` where nothing is left.
    pub after: Option<Value>,
}

/// A change being made.
pub struct Change<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) state: &'a mut State,
    actor: &'a Principal,
    now: Timestamp,
    recorded: bool,
}

impl<'a> Change<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        state: &'a mut State,
        actor: &'a Principal,
        now: Timestamp,
    ) -> Change<'a> {
        Change { connection, state, actor, now, recorded: false }
    }

    /// The moment of the change; the same for everything in it.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Who changes.
    pub fn actor(&self) -> &Principal {
        self.actor
    }

    /// Writes the audit record of what is being changed and gives its number. A change without one
    /// is undone.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn audit(&mut self, kind: &str, subject: &str, facts: &Facts) -> Result<u64, StoreFault> {
        let change = record::Change {
            at: self.now,
            actor: self.actor,
            kind,
            subject,
            reason: facts.reason.as_deref(),
            before: facts.before.as_ref(),
            after: facts.after.as_ref(),
        };
        let written = self.state.log.change(self.connection, &change)?;
        self.recorded = true;
        Ok(written.seq)
    }

    /// Writes a notice with the change; what is urgent or asks for it goes to the outbox as well. A
    /// notice is a record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn notice(&mut self, notice: &Notice) -> Result<(), StoreFault> {
        self.state.note(self.connection, notice).map_err(|trouble| trouble.into_fault())?;
        self.recorded = true;
        Ok(())
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded
    }
}

impl std::fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change").field("actor", self.actor).field("now", &self.now).finish()
    }
}
