//! What a batch did cost: every succeeded result at the model that served it.
//!
//! It refuses to guess. A result of a kind that is not known, usage that cannot be read, a model
//! without a price, or another number of results than there were items: then there is no bill,
//! and the batch stays charged at its reservation.

use crate::ledger::cost::{CostContext, cost};
use crate::ledger::price::{PriceBook, Unpriced};
use crate::money::Money;
use crate::time::Timestamp;
use crate::usage::Tokens;

use super::object::RequestCounts;
use super::results::ResultLine;

/// What the price of a result depends on besides the result.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// When the batch was submitted.
    pub submitted_at: Timestamp,
    /// The workspace may run in the US geography although usage does not say so.
    pub assume_us_geo: bool,
    /// The prices.
    pub prices: &'a PriceBook,
}

/// The results so far, added up.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Bill {
    /// What they cost.
    pub cost: Money,
    /// Their billed tokens.
    pub tokens: Tokens,
    /// The model that served them all; `None` while there is none, or when there were several.
    pub served_model: Option<String>,
    /// How they ended.
    pub counts: RequestCounts,
    several: bool,
}

/// Why there is no bill.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoBill {
    /// A line is no result.
    #[error("a result cannot be read")]
    Unreadable,
    /// The last line has no end, and is no result.
    #[error("its results end in the middle of a line")]
    CutOff,
    /// A result ended in a way that this version does not know.
    #[error("a result ended in a way that is not known here: {0:?}")]
    UnknownKind(String),
    /// A succeeded result says nothing of what it used.
    #[error("a result has no usage that can be read")]
    Unmetered,
    /// There is no price.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// Not as many results as items.
    #[error("there are {results} results of {items} items")]
    Incomplete {
        /// Results that came.
        results: u64,
        /// Items that were submitted.
        items: u64,
    },
}

impl NoBill {
    /// Whether a connection that broke could be the reason, so that reading once more could help.
    pub fn may_be_cut_off(&self) -> bool {
        matches!(self, NoBill::CutOff | NoBill::Incomplete { .. })
    }
}

impl Bill {
    /// Adds one result.
    ///
    /// # Errors
    /// [`NoBill`], and then there will be none.
    pub fn add(&mut self, line: ResultLine, terms: Terms<'_>) -> Result<(), NoBill> {
        match line {
            ResultLine::Succeeded(metered) => {
                let usage = metered.usage.filter(|_| metered.is_final).ok_or(NoBill::Unmetered)?;
                let served = metered.served_model.ok_or(NoBill::Unmetered)?;
                let context = CostContext {
                    at: terms.submitted_at,
                    // A batch has no fallbacks, so what was asked for is what served.
                    requested_model: &served,
                    served_model: &served,
                    stop_reason: metered.stop_reason.as_deref(),
                    assume_us_geo: terms.assume_us_geo,
                    batch: true,
                };
                let one = cost(&usage, context, terms.prices)?;
                let sum = self.cost.checked_add(one.money);
                let in_range = sum.filter(|sum| i64::try_from(sum.pico()).is_ok());
                self.cost = in_range.ok_or(Unpriced::Overflow)?;
                self.tokens = self.tokens.plus(one.tokens);
                self.served_by(served);
                self.counts.succeeded += 1;
            }
            ResultLine::Errored => self.counts.errored += 1,
            ResultLine::Canceled => self.counts.canceled += 1,
            ResultLine::Expired => self.counts.expired += 1,
            ResultLine::Unknown(kind) => return Err(NoBill::UnknownKind(kind)),
            ResultLine::Unreadable => return Err(NoBill::Unreadable),
        }
        Ok(())
    }

    /// The bill, when all results have come.
    ///
    /// # Errors
    /// [`NoBill::Incomplete`].
    pub fn whole(self, items: u64) -> Result<Bill, NoBill> {
        let results = self.counts.ended();
        if results == items { Ok(self) } else { Err(NoBill::Incomplete { results, items }) }
    }

    fn served_by(&mut self, model: String) {
        match &self.served_model {
            None if !self.several => self.served_model = Some(model),
            Some(one) if *one != model => {
                self.several = true;
                self.served_model = None;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
