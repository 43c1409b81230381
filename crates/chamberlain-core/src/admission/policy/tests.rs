use super::*;
use crate::anthropic::request::{Fallback, ServerTool, ServerToolKind};
use proptest::prelude::*;

const ENVIRONMENT: Holder<'static> = Holder::Environment("production");

fn request(model: &str) -> RequestFacts {
    RequestFacts {
        model: model.to_owned(),
        max_tokens: Some(1_024),
        prompt_bytes: 400,
        plain: true,
        ..RequestFacts::default()
    }
}

struct Call {
    request: RequestFacts,
    source: &'static str,
    operation: Option<&'static str>,
    at: &'static str,
}

impl Default for Call {
    fn default() -> Call {
        Call {
            request: request("claude-sonnet-5-5"),
            source: "10.0.1.7",
            operation: None,
            at: "2026-11-23T09:00:00Z",
        }
    }
}

impl Call {
    fn of(request: RequestFacts) -> Call {
        Call { request, ..Call::default() }
    }

    fn ask(&self, policy: &Policy) -> Result<Vec<Warning>, Refusal> {
        let caller = CallerFacts {
            source: self.source.parse().unwrap(),
            operation: None,
            betas: Vec::new(),
        };
        let question = Question {
            request: &self.request,
            caller: &caller,
            operation: self.operation,
            prices: &PriceBook::builtin(),
            now: Timestamp::from_rfc3339(self.at).unwrap(),
        };
        decide(policy, ENVIRONMENT, &question)
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn pinned() -> Policy {
    Policy { models_allow: texts(&["claude-sonnet-4-5-20250929"]), ..Policy::default() }
}

fn with_fallback(model: &str, max_tokens: Option<u64>) -> RequestFacts {
    let fallback = Fallback { model: model.to_owned(), max_tokens, speed: None };
    RequestFacts {
        fallbacks: Fallbacks::List(vec![fallback]),
        ..request("claude-sonnet-4-5-20250929")
    }
}

fn advised_by(model: &str) -> RequestFacts {
    let advisor = ServerTool {
        kind: ServerToolKind::Advisor,
        type_name: "advisor_20260301".to_owned(),
        max_uses: Some(1),
        max_content_tokens: None,
        model: Some(model.to_owned()),
        max_tokens: None,
    };
    RequestFacts { server_tools: vec![advisor], ..request("claude-sonnet-4-5-20250929") }
}

fn is_model(result: Result<Vec<Warning>, Refusal>) -> bool {
    matches!(result, Err(Refusal::Model { .. }))
}

#[test]
fn an_empty_policy_allows_every_priced_active_model_and_nothing_else() {
    let policy = Policy::default();
    assert_eq!(Call::default().ask(&policy), Ok(Vec::new()));
    let unknown = Call::of(request("gpt-5")).ask(&policy).unwrap_err();
    assert_eq!(unknown, Refusal::UnknownModel { model: "gpt-5".to_owned() });
    let retired = Call::of(request("claude-opus-4-1")).ask(&policy).unwrap_err();
    assert!(matches!(retired, Refusal::RetiredModel { on, .. } if on == "2026-08-05"));
}

#[test]
fn the_pinned_model_and_no_other() {
    assert!(Call::of(request("claude-sonnet-4-5-20250929")).ask(&pinned()).is_ok());
    for other in
        ["claude-opus-5-5", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929x", "gpt-5", ""]
    {
        assert!(is_model(Call::of(request(other)).ask(&pinned())), "{other:?}");
    }
}

#[test]
fn models_are_judged_wherever_a_request_names_one() {
    for facts in [with_fallback("claude-opus-5-5", None), advised_by("claude-opus-5-5")] {
        assert!(is_model(Call::of(facts).ask(&pinned())));
    }
    for facts in [with_fallback("claude-3-opus-latest", None), advised_by("claude-3-opus-latest")] {
        let refusal = Call::of(facts).ask(&Policy::default()).unwrap_err();
        assert!(matches!(refusal, Refusal::RetiredModel { .. }), "{refusal:?}");
    }
    let default =
        RequestFacts { fallbacks: Fallbacks::Default, ..request("claude-sonnet-4-5-20250929") };
    assert!(is_model(Call::of(default).ask(&pinned())));
}

#[test]
fn deny_wins_by_any_of_a_models_names() {
    let policy = Policy {
        models_allow: texts(&["*"]),
        models_deny: texts(&["claude-haiku-4-5", "claude-opus-*"]),
        ..Policy::default()
    };
    for name in ["claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-opus-5-5"] {
        let refusal = Call::of(request(name)).ask(&policy).unwrap_err();
        let Refusal::Model { rule, .. } = &refusal else { panic!("{refusal:?}") };
        assert!(rule.starts_with("environment production (models_deny has "), "{rule}");
    }
    assert!(Call::default().ask(&policy).is_ok());
}

#[test]
fn a_model_that_retires_within_sixty_days_is_warned_of() {
    let facts = request("claude-sonnet-4-5-20250929");
    let warnings = Call::of(facts.clone()).ask(&pinned()).unwrap();
    let expected = Warning::ModelRetires {
        model: "claude-sonnet-4-5-20250929".to_owned(),
        on: "2026-11-30".to_owned(),
    };
    assert_eq!(warnings, std::slice::from_ref(&expected));
    let at = |at| Call { at, ..Call::of(facts.clone()) }.ask(&pinned());
    assert_eq!(at("2026-09-30T23:59:59Z"), Ok(Vec::new()));
    assert_eq!(at("2026-10-01T00:00:00Z"), Ok(vec![expected]));
    assert!(matches!(at("2026-11-30T00:00:00Z"), Err(Refusal::RetiredModel { .. })));
}

#[test]
fn an_operation_is_required_and_deny_wins() {
    let policy = Policy {
        operations_allow: texts(&["document_translation", "code_generation"]),
        operations_deny: texts(&["code_generation", "image_analysis"]),
        ..Policy::default()
    };
    let ask = |operation| Call { operation, ..Call::default() }.ask(&policy);
    assert!(ask(Some("document_translation")).is_ok());
    for refused in [None, Some("code_generation"), Some("chat"), Some("Document_translation")] {
        let refusal = ask(refused).unwrap_err();
        let Refusal::Operation { named, allowed } = refusal else { panic!("{refusal:?}") };
        assert_eq!((named.as_deref(), allowed), (refused, texts(&["document_translation"])));
    }
    let only_denied = Policy { operations_allow: Vec::new(), ..policy };
    assert!(Call::default().ask(&only_denied).is_ok());
    let denied = Call { operation: Some("image_analysis"), ..Call::default() };
    assert!(denied.ask(&only_denied).is_err());
}

#[test]
fn the_header_cannot_leave_the_operation_a_key_is_bound_to() {
    assert_eq!(operation_in_force(None, None), Ok(None));
    assert_eq!(operation_in_force(Some("a"), None), Ok(Some("a")));
    assert_eq!(operation_in_force(None, Some("b")), Ok(Some("b")));
    assert_eq!(operation_in_force(Some("a"), Some("a")), Ok(Some("a")));
    let refusal = operation_in_force(Some("a"), Some("b")).unwrap_err();
    assert_eq!(refusal, Refusal::Operation { named: Some("b".into()), allowed: texts(&["a"]) });
}

#[test]
fn source_networks_hold_at_their_edges() {
    let networks = ["10.0.1.0/24", "192.168.1.100/32", "2001:db8::/32"];
    let policy = Policy {
        networks_allow: networks.iter().map(|text| text.parse().unwrap()).collect(),
        ..Policy::default()
    };
    let table = [
        ("10.0.0.255", false),
        ("10.0.1.0", true),
        ("10.0.1.255", true),
        ("10.0.2.0", false),
        ("192.168.1.99", false),
        ("192.168.1.100", true),
        ("192.168.1.101", false),
        ("::ffff:10.0.1.9", true),
        ("::ffff:10.0.2.9", false),
        ("2001:db8:ffff::1", true),
        ("2001:db9::1", false),
        ("local", false),
    ];
    for (source, passes) in table {
        let answer = Call { source, ..Call::default() }.ask(&policy);
        assert_eq!(answer.is_ok(), passes, "{source}: {answer:?}");
    }
    let local = Call { source: "local", ..Call::default() };
    assert!(local.ask(&Policy::default()).is_ok(), "nothing is listed, so everything may come");
}

#[test]
fn capabilities_are_denied_by_structure() {
    let policy = Policy { capabilities_deny: vec![Capability::Images], ..Policy::default() };
    let images = RequestFacts {
        images: 1,
        capabilities: vec![Capability::Images],
        ..request("claude-sonnet-5-5")
    };
    // Whatever the call says it is for.
    let call = Call { operation: Some("document_translation"), ..Call::of(images) };
    let rule = "environment production (capabilities_deny)".to_owned();
    let expected = Refusal::Capability { capability: Capability::Images, rule };
    assert_eq!(call.ask(&policy), Err(expected));
    let only_caching =
        Policy { capabilities_allow: Some(vec![Capability::Caching]), ..Policy::default() };
    assert!(call.ask(&only_caching).is_err());
    assert!(Call::default().ask(&only_caching).is_ok());
    let both = Policy {
        capabilities_allow: Some(vec![Capability::Images]),
        capabilities_deny: vec![Capability::Images],
        ..Policy::default()
    };
    assert!(call.ask(&both).is_err(), "deny wins");
}

#[test]
fn a_prompt_above_200_000_tokens_is_long_whatever_it_says() {
    let policy = Policy { capabilities_deny: vec![Capability::LongContext], ..Policy::default() };
    let long = |facts: RequestFacts| {
        let answer = Call::of(facts).ask(&policy);
        let is_long = |refusal: &Refusal| {
            matches!(refusal, Refusal::Capability { capability: Capability::LongContext, .. })
        };
        answer.as_ref().is_err_and(is_long)
    };
    let bytes = |prompt_bytes| RequestFacts { prompt_bytes, ..request("claude-sonnet-5-5") };
    assert!(!long(bytes(199_000)), "199,000 bytes and 1,000 of framing are 200,000");
    assert!(long(bytes(199_001)));
    assert!(long(RequestFacts { prompt_is_elsewhere: true, ..bytes(10) }));
    let small_window = RequestFacts {
        prompt_bytes: 900_000,
        capabilities: vec![Capability::LongContext],
        ..request("claude-haiku-4-5")
    };
    assert!(!long(small_window), "the window itself is 200,000");
}

#[test]
fn max_tokens_is_capped_wherever_it_is_said() {
    let policy = Policy { max_tokens: Some(4_096), ..Policy::default() };
    let asks = |max_tokens| RequestFacts { max_tokens, ..request("claude-sonnet-5-5") };
    assert!(Call::of(asks(Some(4_096))).ask(&policy).is_ok());
    assert!(Call::of(asks(None)).ask(&policy).is_ok(), "count_tokens has none");
    let refusal = Call::of(asks(Some(4_097))).ask(&policy).unwrap_err();
    assert_eq!(refusal, Refusal::MaxTokens { asked: 4_097, cap: 4_096 });
    let fallback = with_fallback("claude-sonnet-5-5", Some(8_192));
    let refusal = Call::of(fallback).ask(&policy).unwrap_err();
    assert_eq!(refusal, Refusal::MaxTokens { asked: 8_192, cap: 4_096 });
}

#[test]
fn globs_know_two_signs() {
    for (glob, text) in [
        ("*", ""),
        ("*", "anything"),
        ("claude-?-5", "claude-x-5"),
        ("a*b*c", "a-b-b-c"),
        ("*-latest", "claude-3-opus-latest"),
        ("[a]", "[a]"),
    ] {
        assert!(matches(glob, text), "{glob} {text}");
    }
    for (glob, text) in [
        ("", "a"),
        ("?", ""),
        ("a", "A"),
        ("a*b", "a-b-c"),
        ("claude-?-5", "claude-xx-5"),
        ("[a]", "a"),
    ] {
        assert!(!matches(glob, text), "{glob} {text}");
    }
    // Exponential matchers do not come back from this.
    assert!(!matches(&format!("{}b", "a*".repeat(60)), &"a".repeat(256)));
}

proptest! {
    /// The same answer as the obvious recursive definition.
    #[test]
    fn globs_match_as_defined(glob in "[ab*?]{0,8}", text in "[ab]{0,10}") {
        fn defined(glob: &[u8], text: &[u8]) -> bool {
            match (glob, text) {
                ([], []) => true,
                ([b'*', rest @ ..], _) => {
                    defined(rest, text) || (!text.is_empty() && defined(glob, &text[1..]))
                }
                ([b'?', rest @ ..], [_, more @ ..]) => defined(rest, more),
                ([byte, rest @ ..], [first, more @ ..]) => byte == first && defined(rest, more),
                _ => false,
            }
        }
        prop_assert_eq!(matches(&glob, &text), defined(glob.as_bytes(), text.as_bytes()));
    }
}

#[test]
fn a_use_without_a_model_is_judged_by_source_operation_and_capability() {
    let caller =
        CallerFacts { source: "10.0.0.1".parse().unwrap(), operation: None, betas: Vec::new() };
    let ask = |policy: &Policy, operation| {
        decide_use(policy, ENVIRONMENT, &caller, operation, Capability::Files)
    };
    assert_eq!(ask(&Policy::default(), None), Ok(()));
    let denied = Policy { capabilities_deny: vec![Capability::Files], ..Policy::default() };
    let rule = format!("{ENVIRONMENT} (capabilities_deny)");
    let refused = Refusal::Capability { capability: Capability::Files, rule };
    assert_eq!(ask(&denied, None), Err(refused));
    let others = Some(vec![Capability::Images]);
    let unlisted = Policy { capabilities_allow: others, ..Policy::default() };
    assert!(matches!(ask(&unlisted, None), Err(Refusal::Capability { .. })));
    let elsewhere =
        Policy { networks_allow: vec!["192.168.0.0/16".parse().unwrap()], ..Policy::default() };
    assert!(matches!(ask(&elsewhere, None), Err(Refusal::Source { .. })));
    let bound = Policy { operations_allow: vec!["summary".to_owned()], ..Policy::default() };
    assert!(matches!(ask(&bound, None), Err(Refusal::Operation { .. })));
    assert_eq!(ask(&bound, Some("summary")), Ok(()));
}
