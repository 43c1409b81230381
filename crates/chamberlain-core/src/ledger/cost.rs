//! What a call did cost, exactly.

use super::price::{PriceBook, Unpriced};
use crate::money::Money;
use crate::time::Timestamp;
use crate::usage::{Tokens, Usage};

/// Facts beside the usage that decide the price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CostContext<'a> {
    /// When the request began.
    pub at: Timestamp,
    /// The model asked for.
    pub requested_model: &'a str,
    /// The model that served.
    pub served_model: &'a str,
    /// `stop_reason`.
    pub stop_reason: Option<&'a str>,
    /// The workspace may run in the US geography although usage does not say so.
    pub assume_us_geo: bool,
}

/// The exact cost, and the tokens it is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// The money.
    pub money: Money,
    /// Billed tokens, summed over iterations.
    pub tokens: Tokens,
}

/// Prices what was used.
///
/// # Errors
/// [`Unpriced`], when a model that served is not in the book.
pub fn cost(_: &Usage, _: CostContext<'_>, _: &PriceBook) -> Result<Cost, Unpriced> {
    unimplemented!("being written")
}

/// Prices at the dearest active model, for usage that cannot be priced otherwise. Unknown is
/// never free.
pub fn dearest_cost(_: &Usage, _: CostContext<'_>, _: &PriceBook) -> Option<Cost> {
    unimplemented!("being written")
}

/// An upper estimate for an answer that broke off: what was metered, with output raised to what
/// was delivered (one token per 2.5 characters), or to `max_tokens` when thinking was hidden.
pub fn estimate(
    _: &crate::anthropic::meter::Metered,
    _: CostContext<'_>,
    _max_tokens: u64,
    _reserved: Money,
    _: &PriceBook,
) -> Cost {
    unimplemented!("being written")
}
