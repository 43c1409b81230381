//! Whatever the API may report for a request, it costs no more than the bound of that request.
//!
//! The world below is written from Anthropic's documents, not from the code it tests: it invents a
//! request, then an answer that the API could give to it, drawing every free number from a list
//! that proptest shrinks. Numbers are drawn at their limits as often as between them, and in a
//! third of the answers all of them at once are as large as they can be: a bound that is too small
//! by one search fee or one token of framing is found.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::anthropic::request::{
    CacheWrites, Fallback, Fallbacks, ServerTool, ServerToolKind, ThreadMemory,
};
use crate::ledger::cost::{CostContext, cost};
use crate::ledger::price::{Lifecycle, Model};
use crate::usage::{Iteration, IterationKind, Speed, Tokens, Usage};

static PRICES: LazyLock<PriceBook> = LazyLock::new(PriceBook::builtin);

fn now() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-23T09:00:00Z").unwrap()
}

/// A list of numbers to draw from; when it is used up, every draw is the first choice.
struct Draws {
    list: std::vec::IntoIter<u64>,
    /// Every number drawn up to a limit is the limit.
    greedy: bool,
}

impl Draws {
    fn next(&mut self) -> u64 {
        self.list.next().unwrap_or(0)
    }

    /// Nothing, everything, one less, or anything up to `max`.
    fn up_to(&mut self, max: u64) -> u64 {
        if self.greedy {
            return max;
        }
        let draw = self.next();
        match draw % 8 {
            0 => 0,
            1..=3 => max,
            4 => max.saturating_sub(1),
            _ => (draw / 8) % (max + 1),
        }
    }

    fn yes(&mut self, one_in: u64) -> bool {
        self.next() % one_in == one_in - 1
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[(self.next() % choices.len() as u64) as usize].clone()
    }

    fn model(&mut self) -> &'static Model {
        let served: Vec<&'static Model> = PRICES
            .models()
            .iter()
            .filter(|model| PRICES.lifecycle(model, now()) != Lifecycle::Retired)
            .collect();
        // Haiku 5.5 is priced by the length of its prompts, so it is drawn often.
        if self.yes(4) { PRICES.model("claude-haiku-5-5").unwrap() } else { self.one_of(&served) }
    }

    fn max_tokens(&mut self) -> u64 {
        let draw = self.next();
        self.one_of(&[draw % 4_096, 0, 1, 4_096, 64_000, 128_000, 400_000])
    }

    /// A prompt's tokens, in the categories that `facts` allow.
    fn tokens(&mut self, prompt: u64, output: u64, writes: CacheWrites) -> Tokens {
        let mut left = prompt;
        let mut part = |draws: &mut Draws, allowed: bool| {
            let part = if allowed { draws.up_to(left) } else { 0 };
            left -= part;
            part
        };
        let cache_write_1h = part(self, writes == CacheWrites::OneHour);
        let cache_write_5m = part(self, writes >= CacheWrites::FiveMinutes);
        let cache_read = part(self, true);
        Tokens { input: left, cache_write_5m, cache_write_1h, cache_read, output }
    }
}

fn server_tool(kind: ServerToolKind, type_name: &str, max_uses: Option<u64>) -> ServerTool {
    ServerTool {
        kind,
        type_name: type_name.to_owned(),
        max_uses,
        max_content_tokens: None,
        model: None,
        max_tokens: None,
    }
}

fn server_tools(draws: &mut Draws) -> Vec<ServerTool> {
    if !draws.yes(3) {
        return Vec::new();
    }
    let mut tools = Vec::new();
    if draws.yes(2) {
        let uses = Some(draws.up_to(50));
        tools.push(server_tool(ServerToolKind::WebSearch, "web_search_20260318", uses));
        if draws.yes(2) {
            tools.push(server_tool(ServerToolKind::CodeExecution, "code_execution_20260521", None));
        }
    }
    if draws.yes(2) {
        let mut advisor = server_tool(ServerToolKind::Advisor, "advisor_20260301", None);
        advisor.max_uses = Some(draws.up_to(5));
        advisor.model = Some(draws.model().id.clone());
        advisor.max_tokens = draws.yes(2).then(|| draws.max_tokens());
        tools.push(advisor);
    }
    if draws.yes(3) {
        let toolset = server_tool(ServerToolKind::McpToolset, "mcp_toolset", None);
        let search =
            server_tool(ServerToolKind::ToolSearch, "tool_search_tool_bm25_20251119", None);
        let fetch = server_tool(ServerToolKind::WebFetch, "web_fetch_20250910", None);
        tools.push(draws.one_of(&[toolset, search, fetch]));
    }
    tools
}

fn request(draws: &mut Draws) -> RequestFacts {
    let model = draws.model();
    let speed = |draws: &mut Draws, model: &Model| match model.fast && draws.yes(3) {
        true => Speed::Fast,
        false => Speed::Standard,
    };
    let mut fallbacks = Vec::new();
    if draws.yes(3) {
        for _ in 0..=draws.next() % 3 {
            let model = if draws.yes(3) { model } else { draws.model() };
            fallbacks.push(Fallback {
                model: model.id.clone(),
                max_tokens: draws.yes(2).then(|| draws.max_tokens()),
                speed: draws.yes(2).then(|| speed(draws, model)),
            });
        }
    }
    let bytes = draws.next();
    let thread = draws.one_of(&[Thread::None, Thread::None, Thread::Create, Thread::Continue]);
    RequestFacts {
        // Around the borders of the tier of Haiku 5.5 and of the windows, and anywhere.
        prompt_bytes: draws.one_of(&[
            bytes % 3_000,
            40_000 + bytes % 20_000,
            85_000 + bytes % 20_000,
            bytes % 1_200_000,
        ]),
        max_tokens: Some(draws.max_tokens()),
        images: if draws.yes(4) { draws.next() % 30 } else { 0 },
        prompt_is_elsewhere: draws.yes(10),
        plain: draws.yes(2),
        cache_writes: draws.one_of(&[
            CacheWrites::None,
            CacheWrites::FiveMinutes,
            CacheWrites::OneHour,
        ]),
        server_tools: server_tools(draws),
        mcp: draws.yes(12),
        thread,
        compaction: draws.yes(5),
        speed: speed(draws, model),
        inference_geo: draws
            .one_of(&[None, None, Some("us"), Some("global"), Some("mars")])
            .map(str::to_owned),
        unknown_fields: if draws.yes(15) { vec!["novelty".to_owned()] } else { Vec::new() },
        fallbacks: match fallbacks.is_empty() {
            true => Fallbacks::None,
            false => Fallbacks::List(fallbacks),
        },
        model: model.id.clone(),
        ..RequestFacts::default()
    }
}

/// One model that may answer: the requested one, or a fallback.
struct Hop {
    model: &'static Model,
    max_tokens: u64,
    speed: Speed,
}

fn hops(facts: &RequestFacts) -> Vec<Hop> {
    let requested = Hop {
        model: PRICES.model(&facts.model).unwrap(),
        max_tokens: facts.max_tokens.unwrap(),
        speed: facts.speed,
    };
    let fallbacks = match &facts.fallbacks {
        Fallbacks::List(list) => list.as_slice(),
        _ => &[],
    };
    let others = fallbacks.iter().map(|fallback| Hop {
        model: PRICES.model(&fallback.model).unwrap(),
        max_tokens: fallback.max_tokens.unwrap_or(facts.max_tokens.unwrap()),
        speed: fallback.speed.unwrap_or(facts.speed),
    });
    std::iter::once(requested).chain(others).collect()
}

/// Takes out of a request what is refused in batches.
fn only_what_a_batch_takes(facts: &mut RequestFacts) {
    facts.server_tools.clear();
    facts.mcp = false;
    facts.fallbacks = Fallbacks::None;
    facts.speed = Speed::Standard;
    facts.thread = Thread::None;
}

/// The turn before one that goes on with a thread: what it held, and what it says of it. Another
/// model may have answered it, whose tokens are others.
fn turn_before(facts: &mut RequestFacts, draws: &mut Draws) -> Option<u64> {
    if facts.thread != Thread::Continue {
        return None;
    }
    let before = RequestFacts {
        model: if draws.yes(4) { draws.model().id.clone() } else { facts.model.clone() },
        thread: Thread::Create,
        mcp: draws.yes(10),
        context_edits: draws.yes(10),
        cache_writes: draws.one_of(&[CacheWrites::None, CacheWrites::OneHour]),
        server_tools: server_tools(draws),
        plain: draws.yes(2),
        ..RequestFacts::default()
    };
    let window = PRICES.model(&facts.model).unwrap().context_window;
    let prompt = draws.up_to(window);
    let held = prompt + draws.up_to(window - prompt);
    // Edits leave out of the numbers what the thread holds all the same.
    let left_out = if before.context_edits { draws.up_to(prompt) } else { 0 };
    let totals = Tokens { input: prompt - left_out, output: held - prompt, ..Tokens::default() };
    let mut memory = ThreadMemory::of(&before).unwrap();
    memory.count(&Usage { totals, ..Usage::default() });
    facts.resume(memory);
    Some(held).filter(|_| before.model == facts.model)
}

/// What upstream did with a request.
struct World<'a> {
    facts: &'a RequestFacts,
    /// Tokens of the prompt as the client wrote it, where it is all in the body, as the requested
    /// model counts them.
    written: u64,
    /// The most that any model may count.
    most: u64,
    /// The longest cache lifetime that can be written, by the request or by a tool.
    writes: CacheWrites,
    loops: bool,
    /// The request is an item of a batch, where an answer may be longer.
    batch: bool,
    /// What the thread held before, as the requested model counts it; `None` for anything.
    held: Option<u64>,
}

impl World<'_> {
    fn new<'a>(facts: &'a RequestFacts, held: Option<u64>, draws: &mut Draws) -> World<'a> {
        let loops = !facts.server_tools.is_empty() || facts.mcp;
        let implied = match (facts.unknown_fields.is_empty(), loops || facts.thread != Thread::None)
        {
            (false, _) => CacheWrites::OneHour,
            // What was asked for when the thread began is not in this request.
            _ if facts.thread == Thread::Continue => CacheWrites::OneHour,
            (true, true) => CacheWrites::FiveMinutes,
            (true, false) => CacheWrites::None,
        };
        // A token is at least a byte; 1,568 or 4,784 tokens an image; a tool prompt and framing.
        let framing = if facts.plain { 1_000 } else { 10_000 };
        let most = facts.prompt_bytes + facts.images * 4_784 + framing + facts.builtin_tool_tokens;
        let written = draws.up_to(most);
        let writes = facts.cache_writes.max(implied);
        World { facts, written, most, writes, loops, batch: false, held }
    }

    fn is_all_in_body(&self) -> bool {
        !self.facts.prompt_is_elsewhere
            && !self.loops
            && self.facts.thread != Thread::Continue
            && self.facts.unknown_fields.is_empty()
    }

    /// A thread is gone on with, and the body has all that is new.
    fn adds_only_its_body(&self, hop: &Hop) -> bool {
        !self.facts.prompt_is_elsewhere
            && !self.loops
            && self.facts.unknown_fields.is_empty()
            && self.facts.fallbacks == Fallbacks::None
            && hop.model.id == self.facts.model
    }

    /// One prompt of a hop that continues `carried` tokens of declined answers.
    fn prompt(&self, draws: &mut Draws, hop: &Hop, carried: u64, summary: u64) -> u64 {
        let window = hop.model.context_window;
        if self.is_all_in_body() {
            let same_model = hop.model.id == self.facts.model;
            let written = if same_model { self.written } else { draws.up_to(self.most) };
            (written + carried + draws.up_to(summary)).min(window)
        } else if let (Some(held), true) = (self.held, self.adds_only_its_body(hop)) {
            (held + self.written + draws.up_to(summary)).min(window)
        } else {
            draws.up_to(window)
        }
    }

    /// The entries of one hop, in order.
    fn hop(&self, draws: &mut Draws, hop: &Hop, carried: u64) -> Vec<Iteration> {
        let advisors = self.facts.server_tools.iter().filter(|t| t.kind == ServerToolKind::Advisor);
        let uses: u64 = advisors.clone().map(|tool| tool.max_uses.unwrap()).sum();
        let most = if self.loops { 10 + uses } else { 1 };
        let mut entries = Vec::new();
        for _ in 0..=draws.up_to(most - 1) {
            if self.facts.compaction && draws.yes(2) {
                let prompt = self.prompt(draws, hop, carried, 10_000);
                let longest = if self.batch { 300_000 } else { hop.model.max_output };
                let output = draws.up_to(longest.max(hop.max_tokens));
                let tokens = draws.tokens(prompt, output, self.writes);
                entries.push(Iteration { kind: IterationKind::Compaction, model: None, tokens });
            }
            let prompt = self.prompt(draws, hop, carried, 0);
            let output = draws.up_to(hop.max_tokens);
            let tokens = draws.tokens(prompt, output, self.writes);
            entries.push(Iteration { kind: IterationKind::Message, model: None, tokens });
        }
        for tool in advisors {
            let model = PRICES.model(tool.model.as_deref().unwrap()).unwrap();
            for _ in 0..draws.up_to(tool.max_uses.unwrap()) {
                let most = tool.max_tokens.unwrap_or(model.max_output.max(hop.max_tokens));
                let (prompt, output) = (draws.up_to(model.context_window), draws.up_to(most));
                let tokens = draws.tokens(prompt, output, CacheWrites::OneHour);
                let model = Some(model.id.clone());
                entries.push(Iteration { kind: IterationKind::AdvisorMessage, model, tokens });
            }
        }
        entries
    }

    fn answer(&self, draws: &mut Draws, may_be_us: bool) -> (Usage, &'static str) {
        let hops = hops(self.facts);
        let served = draws.up_to(hops.len() as u64 - 1) as usize;
        let mut iterations: Vec<Iteration> = Vec::new();
        let mut carried = 0;
        for hop in &hops[..served] {
            // Declined before it wrote anything, or in the middle of its answer; or not asked at
            // all, because it declined a little while ago.
            if draws.yes(4) {
                continue;
            }
            let mut entries = self.hop(draws, hop, carried);
            if draws.yes(2) {
                entries.truncate(1);
                entries[0].tokens.output = 0;
            }
            // The one that goes on reads what the last answer had so far.
            carried += entries.last().map_or(0, |entry| entry.tokens.output.min(hop.max_tokens));
            iterations.extend(entries);
        }
        let serving = &hops[served];
        let mut entries = self.hop(draws, serving, carried);
        let messages = entries.iter_mut().filter(|entry| entry.kind == IterationKind::Message);
        let totals = messages.fold(Tokens::default(), |sum, entry| Tokens {
            input: sum.input + entry.tokens.input,
            cache_write_5m: sum.cache_write_5m + entry.tokens.cache_write_5m,
            cache_write_1h: sum.cache_write_1h + entry.tokens.cache_write_1h,
            cache_read: sum.cache_read + entry.tokens.cache_read,
            output: sum.output + entry.tokens.output,
        });
        if served > 0
            && let Some(last) =
                entries.iter_mut().rev().find(|entry| entry.kind == IterationKind::Message)
        {
            last.kind = IterationKind::FallbackMessage;
            last.model = Some(serving.model.id.clone());
        }
        iterations.extend(entries);
        if draws.yes(3) {
            iterations.clear();
        }
        let searches =
            self.facts.server_tools.iter().filter_map(|tool| {
                tool.max_uses.filter(|_| tool.kind == ServerToolKind::WebSearch)
            });
        let most_searches = searches.sum::<u64>() * (served as u64 + 1);
        let usage = Usage {
            totals,
            iterations,
            web_searches: draws.up_to(most_searches),
            web_fetches: 3,
            speed: match serving.model.fast && draws.yes(2) {
                true => serving.speed,
                false => Speed::Standard,
            },
            us_only: may_be_us && draws.yes(2),
            service_tier: None,
        };
        (usage, &serving.model.id)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn no_answer_costs_more_than_its_bound(list in proptest::collection::vec(any::<u64>(), 0..600)) {
        let mut draws = Draws { list: list.into_iter(), greedy: false };
        let mut facts = request(&mut draws);
        let batch = draws.yes(4);
        if batch {
            only_what_a_batch_takes(&mut facts);
        }
        let held = turn_before(&mut facts, &mut draws);
        draws.greedy = draws.yes(3);
        let world = World { batch, ..World::new(&facts, held, &mut draws) };
        let assume_us_geo = draws.yes(4);
        let slack = draws.up_to(2_000);
        let novelties = ["novelty".to_owned()];
        let context = BoundContext {
            at: now(),
            assume_us_geo,
            fields_allowed: &novelties,
            // A count is of the prompt in the body, and worth nothing where that is not all.
            counted_prompt: draws.yes(2).then_some(world.written + slack),
            batch,
        };
        let bound = bound(&facts, &PRICES, context);
        prop_assert!(bound.is_ok(), "{bound:?} for {facts:?}");
        let bound = bound.unwrap();

        let asked_us = facts.inference_geo.as_deref().is_some_and(|geo| geo != "global");
        let (usage, served_model) = world.answer(&mut draws, asked_us);
        let stop_reason = draws.one_of(&[Some("end_turn"), Some("refusal"), Some("max_tokens"), None]);
        let context = CostContext {
            at: now(),
            requested_model: &facts.model,
            served_model,
            stop_reason,
            assume_us_geo,
            batch,
        };
        let cost = cost(&usage, context, &PRICES);
        prop_assert!(cost.is_ok(), "{cost:?} for {usage:?}");
        let cost = cost.unwrap();
        prop_assert!(
            cost.money <= bound.cost,
            "{:?} is more than {bound:?}\n{facts:#?}\n{usage:#?} served by {served_model}",
            cost.money
        );
        prop_assert!(cost.tokens.output <= bound.output_tokens, "{cost:?} {bound:?}");
        prop_assert!(cost.tokens.prompt() <= bound.input_tokens, "{cost:?} {bound:?}");
    }
}
