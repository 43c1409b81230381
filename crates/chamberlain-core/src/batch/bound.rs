//! What a batch may cost at the most: the sum of what its items may.

use crate::anthropic::request::RequestFacts;
use crate::ledger::bound::{Bound, BoundContext, NoBound, bound};
use crate::ledger::price::{PriceBook, Unpriced};
use crate::money::Money;

/// The bounds of the items so far, added up.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct BatchBound {
    cost: Money,
    input_tokens: u64,
    output_tokens: u64,
}

impl BatchBound {
    /// Adds an item, bounded at the prices of a batch.
    ///
    /// # Errors
    /// [`NoBound`], when the item has no bound or the books cannot hold the sum.
    pub fn add(
        &mut self,
        facts: &RequestFacts,
        prices: &PriceBook,
        context: BoundContext<'_>,
    ) -> Result<(), NoBound> {
        let item = bound(facts, prices, BoundContext { batch: true, ..context })?;
        self.cost = self
            .cost
            .checked_add(item.cost)
            // Ledger rows are 64 bits wide.
            .filter(|cost| i64::try_from(cost.pico()).is_ok())
            .ok_or(Unpriced::Overflow)?;
        self.input_tokens = self.input_tokens.saturating_add(item.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(item.output_tokens);
        Ok(())
    }

    /// The bound of the whole batch.
    pub fn whole(self) -> Bound {
        Bound {
            cost: self.cost,
            prompt_tokens: self.input_tokens,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cost_per_output_token: Money::ZERO,
            refinable: false,
            least_to_cut: None,
        }
    }
}
