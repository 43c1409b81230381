//! The one door for operators, whoever stands behind it: a running server or the opened store.

use serde_json::Value;

use crate::command::{Ask, Command};
use crate::error::CommandError;

/// Executes commands.
pub trait Door {
    /// Does what the command asks and gives its reply as JSON ([`crate::reply`] has the types).
    ///
    /// # Errors
    /// [`CommandError`], with the reason and the next step. Then nothing was changed.
    fn execute(&self, command: &Command) -> Result<Value, CommandError>;
}

/// Asks through a door and reads the reply.
///
/// # Errors
/// As [`Door::execute`]; also when the reply is not of the expected form, which means that the
/// server is of another version.
pub fn ask<A: Ask>(door: &dyn Door, question: A) -> Result<A::Reply, CommandError> {
    let value = door.execute(&question.into())?;
    serde_json::from_value(value).map_err(|error| {
        CommandError::failed(format!("the reply is not of the expected form: {error}"))
            .hint("the running server may be of another version; restart it")
    })
}
