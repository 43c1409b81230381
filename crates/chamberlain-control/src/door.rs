//! The one door for operators, whoever stands behind it: a running server or the opened store.

use std::sync::Arc;

use chamberlain_core::audit::record::Principal;
use serde_json::Value;

use crate::command::{Ask, Command};
use crate::error::CommandError;

/// Does what commands ask, for whoever asks.
pub trait Execute: Send + Sync + 'static {
    /// Does what `command` asks on behalf of `actor`, and gives the reply as JSON
    /// ([`crate::reply`] has the types).
    ///
    /// # Errors
    /// [`CommandError`], with the reason and the next step. Then nothing was changed, unless the
    /// message says that something is on record but not in force yet.
    fn execute(&self, actor: &Principal, command: Command) -> Result<Value, CommandError>;
}

/// Takes commands from somebody in particular.
pub trait Door {
    /// Has the command done.
    ///
    /// # Errors
    /// [`CommandError`], as [`Execute::execute`].
    fn execute(&self, command: Command) -> Result<Value, CommandError>;
}

/// A door without a server: commands are done in this process.
pub struct Inside {
    /// Who asks.
    pub actor: Principal,
    /// Who does it.
    pub executor: Arc<dyn Execute>,
}

impl Door for Inside {
    fn execute(&self, command: Command) -> Result<Value, CommandError> {
        self.executor.execute(&self.actor, command)
    }
}

/// Asks through a door and reads the reply.
///
/// # Errors
/// As [`Door::execute`]; also when the reply is not of the expected form, which means that the
/// server is of another version.
pub fn ask<A: Ask>(door: &dyn Door, question: A) -> Result<A::Reply, CommandError> {
    let value = door.execute(question.into())?;
    serde_json::from_value(value).map_err(|error| {
        CommandError::failed(format!("the reply is not of the expected form: {error}"))
            .hint("the running server may be of another version; restart it")
    })
}
