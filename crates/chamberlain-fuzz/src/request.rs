//! The inspector of requests: what it lets pass, another parser reads in the same way, and the
//! bound of it is either refused or no overflow.

use chamberlain_core::anthropic::request::{InspectLimits, RequestFacts, inspect};
use chamberlain_core::ledger::bound::{BoundContext, bound};
use chamberlain_core::ledger::price::PriceBook;
use chamberlain_core::money::Money;
use chamberlain_core::time::Timestamp;
use serde_json::Value;

/// Two days after the day of the newest built-in prices.
const AT: Timestamp = Timestamp::from_ms(1_795_435_200_000);

pub(crate) fn holds(body: &[u8]) {
    let Ok(facts) = inspect(body, InspectLimits { depth_max: 64 }) else { return };
    let other: Value = serde_json::from_slice(body).expect("the inspector takes only valid JSON");
    agrees(&facts, &other);
    assert!(facts.prompt_bytes <= facts.body_bytes, "escapes only ever get shorter");
    let context = BoundContext {
        at: AT,
        assume_us_geo: true,
        counted_prompt: None,
        batch: false,
        fields_allowed: &[],
    };
    let prices = PriceBook::builtin();
    let Ok(first) = bound(&facts, &prices, context) else { return };
    assert!(first.cost >= Money::ZERO);
    let counted_prompt = Some(first.prompt_tokens);
    let counted = bound(&facts, &prices, BoundContext { counted_prompt, ..context });
    assert!(counted.expect("a count never makes a bound fail").cost <= first.cost);
}

/// What policy and money read is what any other reader of the same bytes sees.
fn agrees(facts: &RequestFacts, other: &Value) {
    assert_eq!(Some(facts.model.as_str()), other["model"].as_str());
    assert_eq!(facts.max_tokens, other["max_tokens"].as_u64());
    assert_eq!(facts.stream, other["stream"].as_bool().unwrap_or(false));
    assert_eq!(facts.service_tier.as_deref(), other["service_tier"].as_str());
    assert_eq!(facts.inference_geo.as_deref(), other["inference_geo"].as_str());
}
