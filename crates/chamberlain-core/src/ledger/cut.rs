//! When a stream that was admitted with less than its bound must be ended.
//!
//! What it has used so far is bounded from above by what was seen of it: its prompt as upstream
//! told it, and no more tokens of output than bytes. It is ended while what upstream may write
//! before it notices can still be paid. What cannot be seen, or has no price, ends it at once. One
//! that ends before that, because its client left or upstream broke off, costs no more than the
//! same reckoning says of it.

use super::cost::{Cost, CostContext, cost};
use super::price::PriceBook;
use crate::anthropic::meter::SoFar;
use crate::money::Money;

/// A stream that may be cut is ended while so many tokens of output could still be paid: what
/// upstream writes before it notices that nobody reads on.
pub const CUT_MARGIN_TOKENS: u64 = 1_024;

/// What upstream bills at the most for a stream of which no more was seen than this, if it stops
/// within the margin of being hung up on. `None` where that cannot be said: some of its output was
/// not seen, or has no price.
pub fn spent_at_most(so_far: SoFar, context: CostContext<'_>, prices: &PriceBook) -> Option<Cost> {
    let SoFar { mut usage, served_model, hidden } = so_far;
    usage.totals.output = usage.totals.output.saturating_add(CUT_MARGIN_TOKENS);
    let served_model = served_model.as_deref().unwrap_or(context.served_model);
    let spent = cost(&usage, CostContext { served_model, ..context }, prices);
    spent.ok().filter(|_| !hidden)
}

/// Whether `reserved` may be used up before upstream notices that nobody reads on.
pub fn may_be_used_up(
    so_far: SoFar,
    reserved: Money,
    context: CostContext<'_>,
    prices: &PriceBook,
) -> bool {
    spent_at_most(so_far, context, prices).is_none_or(|spent| spent.money > reserved)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::anthropic::meter::Meter;
    use crate::anthropic::request::RequestFacts;
    use crate::ledger::bound::{BoundContext, bound};
    use crate::time::Timestamp;
    use crate::usage::{Tokens, Usage};

    const MODEL: &str = "claude-haiku-4-5-20251001";

    fn at() -> Timestamp {
        Timestamp::from_rfc3339("2026-11-23T09:00:00Z").unwrap()
    }

    fn context() -> CostContext<'static> {
        CostContext {
            at: at(),
            requested_model: MODEL,
            served_model: MODEL,
            stop_reason: None,
            assume_us_geo: false,
            batch: false,
        }
    }

    fn bill(input: u64, output: u64) -> Money {
        let totals = Tokens { input, output, ..Tokens::default() };
        let usage = Usage { totals, ..Usage::default() };
        cost(&usage, context(), &PriceBook::builtin()).unwrap().money
    }

    fn begin(meter: &mut Meter, input: u64) {
        let event = format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"m\",\
             \"model\":\"{MODEL}\",\"usage\":{{\"input_tokens\":{input},\"output_tokens\":1}}}}}}\n\n\
             event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\
             \"content_block\":{{\"type\":\"text\",\"text\":\"\"}}}}\n\n"
        );
        meter.push(event.as_bytes());
    }

    fn write(meter: &mut Meter, text: &str) {
        let event = format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
        );
        meter.push(event.as_bytes());
    }

    fn is_used_up(meter: &Meter, reserved: Money) -> bool {
        let so_far = meter.so_far().unwrap();
        may_be_used_up(so_far, reserved, context(), &PriceBook::builtin())
    }

    fn spent_of(meter: &Meter) -> Money {
        let so_far = meter.so_far().unwrap();
        spent_at_most(so_far, context(), &PriceBook::builtin()).unwrap().money
    }

    proptest! {
        /// Upstream writes on after it was hung up on, as long as the margin says, and a token may
        /// be a single byte: its bill stays within what was left.
        #[test]
        fn what_upstream_bills_stays_within_what_was_left(
            input in 1u64..2_000,
            left in 0u64..60_000,
            texts in prop::collection::vec("[a-z\u{e4}\u{4e16}]{1,40}", 0..400),
            late in 0..=CUT_MARGIN_TOKENS,
            taken in 0usize..500,
        ) {
            let facts = RequestFacts {
                model: MODEL.to_owned(),
                max_tokens: Some(1_000_000),
                prompt_bytes: input,
                plain: true,
                stream: true,
                ..RequestFacts::default()
            };
            let context = BoundContext {
                at: at(),
                assume_us_geo: false,
                counted_prompt: None,
                batch: false,
                fields_allowed: &[],
            };
            let bound = bound(&facts, &PriceBook::builtin(), context).unwrap();
            let least = bound.least_to_cut.unwrap();
            let reserved = least.checked_add(Money::from_pico(i128::from(left) * 1_000_000)).unwrap();
            let mut meter = Meter::for_stream();
            begin(&mut meter, input);
            let mut written = 0;
            for text in texts.iter().take(taken) {
                if is_used_up(&meter, reserved) {
                    break;
                }
                write(&mut meter, text);
                written += text.len() as u64;
                // Before each event it was not used up: this one is all that can be above it.
                prop_assert!(bill(input, written) <= reserved || is_used_up(&meter, reserved));
            }
            // However it ends: what is reckoned of its end is what upstream bills, or more.
            let spent = spent_of(&meter);
            prop_assert!(bill(input, written + late) <= spent);
            prop_assert_eq!(spent > reserved, is_used_up(&meter, reserved));
            let last = texts.iter().map(String::len).max().unwrap_or(0) as u64;
            let late = late.saturating_sub(last);
            if is_used_up(&meter, reserved) {
                prop_assert!(bill(input, written + late) <= reserved);
            }
        }
    }

    #[test]
    fn what_cannot_be_seen_ends_it_at_once() {
        let plenty = Money::from_usd(1_000);
        let mut meter = Meter::for_stream();
        assert_eq!(meter.so_far(), None, "before the first usage nothing is known");
        begin(&mut meter, 10);
        assert!(!is_used_up(&meter, plenty));
        meter.push(
            b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\
              \"content_block\":{\"type\":\"thinking\",\"thinking\":\"\"}}\n\n",
        );
        assert!(is_used_up(&meter, plenty), "thinking is billed and may be hidden");
        assert_eq!(Meter::for_json(10).so_far(), None);
    }

    #[test]
    fn a_model_without_a_price_ends_it_at_once() {
        let usage = Usage::default();
        let so_far = SoFar { usage, served_model: Some("claude-nine".to_owned()), hidden: false };
        let plenty = Money::from_usd(1_000);
        assert!(may_be_used_up(so_far, plenty, context(), &PriceBook::builtin()));
    }
}
