//! Configuration in two stages: what was written, with its place (`typed`), and what it means
//! (`settings`). Nobody else in the house reads configuration files or `CHAMBERLAIN_` variables.

pub(crate) mod advice;
pub(crate) mod keys;
pub(crate) mod locate;
pub(crate) mod mistake;
pub(crate) mod sample;
pub(crate) mod settings;
pub(crate) mod suggest;
pub(crate) mod typed;
pub(crate) mod value;

use chamberlain_core::time::Timestamp;

use mistake::Mistakes;
use settings::Config;
use typed::{Sources, Typed};

/// A configuration that was read: what it means, and what is strange about it.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// What it means.
    pub(crate) config: Config,
    /// Warnings.
    pub(crate) warnings: Mistakes,
}

/// Reads a configuration.
///
/// # Errors
/// All mistakes at once, warnings among them.
pub(crate) fn load(sources: &Sources, now: Timestamp) -> Result<Loaded, Mistakes> {
    let (typed, mut mistakes) = Typed::read(sources);
    let (config, more) = settings::resolve(&typed, now);
    mistakes.extend(more);
    let mistakes = Mistakes(mistakes);
    if mistakes.usable() { Ok(Loaded { config, warnings: mistakes }) } else { Err(mistakes) }
}

#[cfg(test)]
mod tests;
