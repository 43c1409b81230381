//! Commands about sinks: where keys are delivered to.

use crate::error::CommandError;
use crate::sink::{self, Sink};

use super::Commander;

impl Commander {
    /// The sink of that name, ready to be called.
    ///
    /// # Errors
    /// When none of that name is configured.
    pub fn sink(&self, name: &str) -> Result<Box<dyn Sink>, CommandError> {
        let ruling = self.settings.read().clone();
        let settings = ruling.settings.sink(name).ok_or_else(|| {
            let names: Vec<&str> =
                ruling.settings.sinks.iter().map(|sink| sink.name.as_str()).collect();
            CommandError::not_found(format!("there is no sink {name:?}")).hint(match names.len() {
                0 => "none is configured; docs/sinks.md says how".to_owned(),
                _ => format!("there are {}", names.join(", ")),
            })
        })?;
        Ok(sink::open(settings, &self.web, &self.entropy))
    }
}
