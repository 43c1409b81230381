//! Threads: what a turn leaves behind that the next one is bounded by.
//!
//! A turn that goes on sends its new messages only. What the thread was begun with (system prompt,
//! tools) and what was said so far stand upstream, and all of it is billed again. So the tools,
//! cache lifetimes and modes of every turn are remembered, and count in each turn after it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CacheWrites, Capability, Fallbacks, RequestFacts, ServerTool, Thread};
use crate::usage::{Speed, Usage};

/// Server tools that are remembered; a thread with more cannot be gone on with.
const SERVER_TOOLS_MAX: usize = 64;

/// What is remembered of a thread after one of its turns.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadMemory {
    /// The model that was asked.
    model: String,
    /// True when the numbers of the answer are those of one prompt and what was said to it, with
    /// nothing left out.
    countable: bool,
    /// Tokens of the conversation at the most, this turn's answer included, as `model` counts
    /// them; `None` when they are not known.
    tokens: Option<u64>,
    /// `thinking.type`: without thinking, thoughts of earlier turns are left out and not counted.
    thinking: Option<String>,
    server_tools: Vec<ServerTool>,
    mcp: bool,
    cache_writes: CacheWrites,
    compaction: bool,
    context_edits: bool,
    unknown: bool,
    plain: bool,
    speed: Speed,
    inference_geo: Option<String>,
    capabilities: Vec<Capability>,
}

impl ThreadMemory {
    /// What a turn with those facts leaves behind before its answer has ended. `None` when that
    /// is too much to remember; the thread then ends here.
    pub fn of(facts: &RequestFacts) -> Option<ThreadMemory> {
        (facts.server_tools.len() <= SERVER_TOOLS_MAX).then(|| ThreadMemory {
            model: facts.model.clone(),
            countable: facts.server_tools.is_empty()
                && !(facts.mcp || facts.compaction || facts.context_edits)
                && facts.unknown_fields.is_empty()
                && !facts.thread_unknown
                && facts.fallbacks == Fallbacks::None,
            thinking: facts.thinking.clone(),
            tokens: None,
            server_tools: facts.server_tools.clone(),
            mcp: facts.mcp,
            cache_writes: facts.cache_writes,
            compaction: facts.compaction,
            context_edits: facts.context_edits,
            unknown: facts.thread_unknown || !facts.unknown_fields.is_empty(),
            plain: facts.plain,
            speed: facts.speed,
            inference_geo: facts.inference_geo.clone(),
            capabilities: facts.capabilities.clone(),
        })
    }

    /// Takes in from the final usage of the answer how long the conversation is now, where that
    /// says it.
    pub fn count(&mut self, usage: &Usage) {
        if self.countable && usage.iterations.len() <= 1 {
            self.tokens = usage.totals.prompt().checked_add(usage.totals.output);
        }
    }

    /// As it is remembered.
    pub fn to_about(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(about)) => about,
            _ => Map::new(),
        }
    }

    /// Reads it again; `None` when it was written by a version with another understanding.
    pub fn from_about(about: Map<String, Value>) -> Option<ThreadMemory> {
        serde_json::from_value(Value::Object(about)).ok()
    }
}

impl RequestFacts {
    /// Takes in what the thread brings that this turn goes on with. Nothing becomes cheaper or
    /// more allowed by it than the thread was before, but the prompt's bound where the
    /// conversation's length is known.
    pub fn resume(&mut self, memory: ThreadMemory) {
        let known = memory.model == self.model
            && self.thread == Thread::Continue
            && memory.thinking == self.thinking
            && self.fallbacks == Fallbacks::None;
        self.thread_tokens = memory.tokens.filter(|_| known);
        for tool in memory.server_tools {
            if !self.server_tools.contains(&tool) {
                self.server_tools.push(tool);
            }
        }
        self.mcp |= memory.mcp;
        self.cache_writes = self.cache_writes.max(memory.cache_writes);
        self.compaction |= memory.compaction;
        // A turn that is edited says how long it was without what was left out, and whether the
        // thread goes on leaving that out is nowhere said.
        self.context_edits |= memory.context_edits;
        self.plain &= memory.plain;
        if memory.unknown {
            // The operator let the field pass when the thread was begun; what it does stays unknown.
            self.thread_unknown = true;
            self.prompt_is_elsewhere = true;
            self.cache_writes = CacheWrites::OneHour;
        }
        if memory.speed == Speed::Fast {
            self.speed = Speed::Fast;
        }
        if self.inference_geo.is_none() {
            self.inference_geo = memory.inference_geo;
        }
        self.capabilities.extend(memory.capabilities);
        self.capabilities.sort_unstable();
        self.capabilities.dedup();
    }
}

#[cfg(test)]
mod tests {
    use super::super::ServerToolKind;
    use super::*;
    use crate::usage::{Iteration, IterationKind, Tokens};

    fn turn(thread: Thread) -> RequestFacts {
        let (model, max_tokens) = ("claude-sonnet-5-5".to_owned(), Some(10));
        RequestFacts { model, max_tokens, thread, plain: true, ..RequestFacts::default() }
    }

    fn usage(input: u64, output: u64) -> Usage {
        let totals = Tokens { input, cache_read: 7, output, ..Tokens::default() };
        Usage { totals, ..Usage::default() }
    }

    fn remembered(memory: &ThreadMemory) -> ThreadMemory {
        ThreadMemory::from_about(memory.to_about()).unwrap()
    }

    /// Tokens that the next turn counts with, after a turn with these facts.
    fn next_after(first: &RequestFacts, usage: &Usage, next: &mut RequestFacts) -> Option<u64> {
        let mut memory = ThreadMemory::of(first).unwrap();
        memory.count(usage);
        next.resume(remembered(&memory));
        next.thread_tokens
    }

    #[test]
    fn a_plain_turn_leaves_its_length_behind() {
        let next = &mut turn(Thread::Continue);
        assert_eq!(next_after(&turn(Thread::Create), &usage(100, 20), next), Some(127));
        assert!(next.plain && next.server_tools.is_empty());
    }

    #[test]
    fn a_length_that_may_be_too_small_is_not_used() {
        let facts = |change: fn(&mut RequestFacts)| {
            let mut facts = turn(Thread::Create);
            change(&mut facts);
            facts
        };
        for first in [
            facts(|it| it.mcp = true),
            facts(|it| it.compaction = true),
            facts(|it| it.context_edits = true),
            facts(|it| it.unknown_fields.push("novel".to_owned())),
            facts(|it| it.fallbacks = Fallbacks::Default),
            facts(|it| it.model = "claude-opus-5-5".to_owned()),
            facts(|it| it.thinking = Some("disabled".to_owned())),
        ] {
            let next = &mut turn(Thread::Continue);
            assert_eq!(next_after(&first, &usage(100, 20), next), None, "{first:?}");
        }
        let entry =
            || Iteration { kind: IterationKind::Message, model: None, tokens: Tokens::default() };
        let twice = Usage { iterations: vec![entry(), entry()], ..usage(100, 20) };
        let next = &mut turn(Thread::Continue);
        assert_eq!(next_after(&turn(Thread::Create), &twice, next), None);
        let mut uncounted = turn(Thread::Continue);
        uncounted.resume(ThreadMemory::of(&turn(Thread::Create)).unwrap());
        assert_eq!(uncounted.thread_tokens, None);
    }

    #[test]
    fn what_a_thread_was_begun_with_counts_in_every_later_turn() {
        let search = ServerTool {
            kind: ServerToolKind::WebSearch,
            type_name: "web_search_20260318".to_owned(),
            max_uses: Some(5),
            max_content_tokens: None,
            model: None,
            max_tokens: None,
        };
        let first = RequestFacts {
            server_tools: vec![search.clone()],
            mcp: true,
            cache_writes: CacheWrites::OneHour,
            compaction: true,
            speed: Speed::Fast,
            inference_geo: Some("us".to_owned()),
            unknown_fields: vec!["novel".to_owned()],
            plain: false,
            capabilities: vec![Capability::Tools, Capability::WebSearch],
            ..turn(Thread::Create)
        };
        let mut second = turn(Thread::Continue);
        second.resume(remembered(&ThreadMemory::of(&first).unwrap()));
        let mut third = turn(Thread::Continue);
        third.resume(remembered(&ThreadMemory::of(&second).unwrap()));
        for seen in [second, third] {
            assert_eq!(seen.server_tools, std::slice::from_ref(&search));
            assert!(seen.mcp && seen.compaction && !seen.plain);
            assert_eq!(seen.cache_writes, CacheWrites::OneHour);
            assert_eq!((seen.speed, seen.inference_geo.as_deref()), (Speed::Fast, Some("us")));
            assert!(seen.prompt_is_elsewhere && seen.unknown_fields.is_empty());
            assert_eq!(seen.capabilities, [Capability::Tools, Capability::WebSearch]);
        }
    }

    #[test]
    fn after_edits_the_length_of_no_later_turn_is_used() {
        let first = RequestFacts { context_edits: true, ..turn(Thread::Create) };
        let mut second = turn(Thread::Continue);
        assert_eq!(next_after(&first, &usage(100, 20), &mut second), None);
        let third = &mut turn(Thread::Continue);
        assert_eq!(next_after(&second, &usage(30, 20), third), None, "100 may be back in it");
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        assert_eq!(ThreadMemory::from_about(Map::new()), None);
        let mut about = ThreadMemory::of(&turn(Thread::Create)).unwrap().to_about();
        about.insert("novelty".to_owned(), Value::Bool(true));
        assert_eq!(ThreadMemory::from_about(about), None);
    }
}
