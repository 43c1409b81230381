//! A simulation of the money, moved by hand and decided by one seed. Never shipped.
//!
//! The gate is core's own. Around it stand models: a durable journal that one node or several share,
//! clients, upstream, a clock, people who change limits, kills and power losses. After every step an auditor with simpler
//! books of its own looks whether the invariants I1 to I4 of ARCHITECTURE.md hold; the hash of the
//! history shows I10. It knows no network, no disk, no threads and no time but its own.

mod auditor;
mod calls;
mod chance;
mod dice;
mod history;
mod journal;
mod node;
mod record;
mod recovery;
mod script;
mod upstream;
mod weather;
mod world;

use crate::chance::Chance;
pub use crate::script::{ScriptError, tell};

/// What one history came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// The same for the same seed and steps, always.
    pub hash: u64,
    /// Things that happened.
    pub events: u64,
    /// Calls that upstream billed or refused.
    pub sent: u64,
}

/// An invariant does not hold.
#[derive(Clone, Debug, thiserror::Error)]
#[error("seed {seed}, step {step}: {what}\nthe last events:\n{history}")]
pub struct Violation {
    /// Tells the history again.
    pub seed: u64,
    /// The step after which it was seen.
    pub step: u64,
    /// Which invariant, and the amounts.
    pub what: String,
    /// The last events, one a line.
    pub history: String,
}

/// Lives one history.
///
/// # Errors
/// The first violation.
pub fn run(seed: u64, steps: u64) -> Result<Summary, Box<Violation>> {
    let mut chance = Chance::new(seed);
    for step in 0..steps {
        chance.step().map_err(|what| {
            let history = chance.world.history.to_string();
            Box::new(Violation { seed, step, what, history })
        })?;
    }
    let Chance { world, .. } = chance;
    Ok(Summary {
        hash: world.history.hash(),
        events: world.history.count(),
        sent: world.bills.len() as u64,
    })
}
