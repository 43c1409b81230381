//! Refine: near a budget's end, count the prompt with Anthropic's free `count_tokens`, so that a
//! call is refused for what it may cost and not for what its bytes might.
//!
//! The count is a request of our own, with its own record; the client's bytes stay as they are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::admission::breaker::Health;
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::anthropic::meter::{Meter, Metered};
use chamberlain_core::money::Money;
use chamberlain_core::record::Route;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::bound::Bounded;
use crate::decide::Decided;
use crate::ending::{End, Seen};
use crate::gateway::Inner;
use crate::headers;
use crate::identify::Call;
use crate::permit::Permit;
use crate::record::Subject;
use crate::stopwatch::Stopwatch;

const PATH: &str = "/v1/messages/count_tokens";
const ANSWER_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// `count_tokens` is an estimate: what is charged may differ by a little.
const SLACK_TOKENS_MIN: u64 = 8;
const SLACK_PERCENT: u64 = 2;

/// The fields that `count_tokens` takes. Values pass as they were written.
#[derive(Serialize, Deserialize)]
struct Countable<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
    #[serde(borrow)]
    messages: &'a RawValue,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    system: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    output_config: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    output_format: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    cache_control: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    speed: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    context_management: Option<&'a RawValue>,
}

/// Whether a counted prompt could turn this refusal: money is short, the prompt was bounded by
/// its bytes, and the output alone would fit.
pub(crate) fn could_help(bounded: &Bounded, refusal: &Refusal) -> bool {
    let Refusal::Budget { left, reserved, .. } = refusal else { return false };
    let Some(bound) = bounded.pass.bound.filter(|bound| bound.refinable) else { return false };
    let max_tokens = bounded.pass.max_tokens.unwrap_or(0);
    let output = bound.cost_per_output_token.checked_mul(max_tokens);
    let at_most = left.checked_add(*reserved).unwrap_or(Money::ZERO);
    !bounded.pass.counted && output.is_some_and(|output| output <= at_most)
}

impl Inner {
    /// Counts the prompt's tokens, slack added; `None` when it could not be counted. A call is
    /// counted once at the most.
    pub(crate) async fn count_prompt(self: &Arc<Self>, bounded: &mut Bounded) -> Option<u64> {
        bounded.pass.counted = true;
        let Decided { call, content, destination, subject, head, .. } = &*bounded.decided;
        let body = countable(&content.decoded)?;
        let now = self.now();
        let watch = Stopwatch::start();
        let call = Call { id: self.mint_call(now), at: now, watch, ..call.clone() };
        let subject = Arc::new(Subject {
            route: Route::CountTokens,
            max_tokens: 0,
            stream: false,
            samples_again: false,
            ..Subject::clone(subject)
        });
        let (base, credential) = self.address(destination).ok()?;
        let target = match head.uri.query() {
            Some(query) => format!("{PATH}?{query}").parse().ok()?,
            None => PATH.parse().ok()?,
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = base.join(&target).ok()?;
        *request.headers_mut() = headers(&head.headers, credential);
        let pending = self.admit_aside(&call, &subject, destination)?;
        let permit = pending.recorded().await.ok()?;
        let breaker = call.snapshot.settings.breaker;
        let (gateway, destination) = (self.clone(), destination.clone());
        let (tell, told) = tokio::sync::oneshot::channel();
        // Beside, so that a client that leaves does not leave this without an end.
        self.aside(async move {
            if gateway.standings.pass(&destination, breaker, now).is_err() {
                return;
            }
            let (counted, health) = gateway.ask_count(permit, request).await;
            gateway.report_health(&destination, breaker, health);
            let _ = tell.send(counted);
        });
        told.await.ok().flatten().map(with_slack)
    }

    async fn ask_count(
        &self,
        mut permit: Permit,
        request: Request<Full<Bytes>>,
    ) -> (Option<u64>, Health) {
        permit.expose();
        let (sending, _place) = self.connections.send(request);
        let answering = async {
            let response = sending.await.ok()?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.ok()?;
            Some((status, body.to_bytes()))
        };
        let Ok(Some((status, body))) = timeout(ANSWER_MAX, answering).await else {
            permit.settle(End::new(Seen::Silent, 0));
            return (None, Health::Failure);
        };
        let mut meter = Meter::for_json(ANSWER_BYTES_MAX);
        meter.push(&body);
        let metered = meter.finish();
        let counted = metered.counted_tokens.filter(|_| status == 200);
        permit.settle(End::new(end_of_count(status, metered), status));
        (counted, if status >= 500 { Health::Failure } else { Health::Success })
    }
}

fn end_of_count(status: u16, metered: Metered) -> Seen {
    match status {
        200..300 => Seen::Answered { metered: Box::new(metered), whole: true },
        status => Seen::Refused { status, by_api: metered.error_type.is_some() },
    }
}

fn countable(decoded: &[u8]) -> Option<Bytes> {
    let countable: Countable<'_> = serde_json::from_slice(decoded).ok()?;
    serde_json::to_vec(&countable).ok().map(Bytes::from)
}

fn with_slack(counted: u64) -> u64 {
    let slack = counted.saturating_mul(SLACK_PERCENT).div_ceil(100).max(SLACK_TOKENS_MIN);
    counted.saturating_add(slack)
}

fn headers(client: &HeaderMap, credential: HeaderValue) -> HeaderMap {
    let mut out = headers::aside(client, credential);
    out.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_count_tokens_takes_is_sent_and_as_it_was_written() {
        let body = br#"{"model":"m","max_tokens":5,"stream":true,"metadata":{"user_id":"u"},
            "messages":[ {"role":"user","content":"\u00e4 1.0"} ],"system":"s","temperature":1.0,
            "tools":[{"name":"t","input_schema":{"type":"object"}}],"unknown":1}"#;
        let sent = countable(body).unwrap();
        let expected = concat!(
            r#"{"model":"m","messages":[ {"role":"user","content":"\u00e4 1.0"} ],"system":"s","#,
            r#""tools":[{"name":"t","input_schema":{"type":"object"}}]}"#
        );
        assert_eq!(std::str::from_utf8(&sent).unwrap(), expected);
    }

    #[test]
    fn whatever_adds_to_the_prompt_is_counted() {
        for field in ["output_format", "output_config", "thinking", "tool_choice"] {
            let body = format!(r#"{{"model":"m","messages":[],"{field}":{{"a":1}}}}"#);
            let sent = countable(body.as_bytes()).unwrap();
            assert_eq!(std::str::from_utf8(&sent).unwrap(), body);
        }
    }

    #[test]
    fn slack_is_eight_tokens_or_two_percent() {
        assert_eq!([0, 10, 400, 401, 10_000].map(with_slack), [8, 18, 408, 410, 10_200]);
    }
}
