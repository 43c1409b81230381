//! Writes the content of an answer, block by block, within its room.

use serde_json::{Value, json};

use crate::ids::IdSource;
use crate::reply::{
    AdvisorResult, Block, CodeResult, FileMade, ModelName, SearchResult, Trigger, text_tokens,
    tool_tokens,
};
use crate::request::{MessageRequest, ThinkingShown};
use crate::scenario::{Refusal, Scenario};
use crate::schema;

/// What is said when nothing else was asked for.
const GREETING: &str = "This answer comes from a mock of the Anthropic API; no model read your \
    prompt. Grüße aus der Küche \u{1f373}.";
/// What a compaction says.
const SUMMARY: &str = "A summary of what was said before.";
/// Thinking tokens when nothing else was asked for.
const THINKING_TOKENS: u64 = 16;
/// Words of four bytes each: one token.
const WORDS: [&str; 16] = [
    "oak ",
    "ash ",
    "elm ",
    "fir ",
    "où ",
    "and ",
    "the ",
    "key ",
    "cup ",
    "jar ",
    "né ",
    "日 ",
    "map ",
    "ink ",
    "pen ",
    "\u{1f373}",
];

/// Why the text ended.
pub(crate) struct Stop {
    pub(crate) reason: &'static str,
    pub(crate) sequence: Option<String>,
}

/// Writes blocks until the room is used up.
pub(crate) struct Writer<'a> {
    request: &'a MessageRequest,
    scenario: &'a Scenario,
    ids: &'a IdSource,
    pub(crate) blocks: Vec<Block>,
    /// Output tokens that still fit.
    room: u64,
    /// Output tokens since the beginning, or since the fallback.
    used: u64,
    /// The room is bounded by the context window, not by `max_tokens`.
    window_bound: bool,
    cut: bool,
    called: bool,
    stop_sequence: Option<String>,
    ids_used: u32,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        request: &'a MessageRequest,
        scenario: &'a Scenario,
        ids: &'a IdSource,
        prompt_tokens: u64,
    ) -> Writer<'a> {
        let window = request.model.window.saturating_sub(prompt_tokens);
        // Scripted usage may name a prompt beyond the window; it should not silence the answer.
        let window_bound = window < request.max_tokens && scenario.usage.input.is_none();
        Writer {
            request,
            scenario,
            ids,
            blocks: Vec::new(),
            room: if window_bound { window } else { request.max_tokens },
            used: 0,
            window_bound,
            cut: false,
            called: false,
            stop_sequence: None,
            ids_used: 0,
        }
    }

    pub(crate) fn message_id(&self) -> String {
        self.ids.id("msg_", 0)
    }

    /// Output tokens so far; never zero once something could be said.
    pub(crate) fn output(&self) -> u64 {
        if self.request.max_tokens == 0 { 0 } else { self.used }
    }

    /// Why the content ends here.
    pub(crate) fn stop(&self) -> Stop {
        let reason = match () {
            () if self.cut && self.window_bound => "model_context_window_exceeded",
            () if self.cut => "max_tokens",
            () if self.stop_sequence.is_some() => "stop_sequence",
            () if self.request.compacts() => "compaction",
            () if self.called => "tool_use",
            () => "end_turn",
        };
        Stop { reason, sequence: self.stop_sequence.clone().filter(|_| reason == "stop_sequence") }
    }

    /// Thinking, a search, text and tool calls, as asked for.
    pub(crate) fn answer(&mut self) {
        if self.room == 0 {
            self.cut = true;
            return;
        }
        self.think();
        if let Some(Refusal::Mid(after)) = self.scenario.refusal {
            self.filler(after);
            return;
        }
        if self.scenario.server_tool {
            self.search();
        }
        if self.scenario.code {
            self.run_code();
        }
        let tools = self.tools();
        if let Some(text) = self.text(!tools.is_empty()) {
            self.say(text);
        }
        for (name, input) in tools {
            self.call(name, input);
        }
        if self.used == 0 && !self.cut {
            // Even an empty answer costs a token.
            self.spend(1);
        }
    }

    fn spend(&mut self, tokens: u64) {
        self.used += tokens;
        self.room = self.room.saturating_sub(tokens);
    }

    /// What does not fit is begun and cut off: it costs what was left.
    fn cut_off(&mut self) {
        self.cut = true;
        self.spend(self.room);
    }

    fn next_id(&mut self, prefix: &str) -> String {
        self.ids_used += 1;
        self.ids.id(prefix, self.ids_used)
    }

    fn think(&mut self) {
        let shown = self.request.thinking();
        if shown == ThinkingShown::Off {
            return;
        }
        let wanted = self.scenario.thinking.unwrap_or(THINKING_TOKENS);
        let budget = self.request.thinking_budget().unwrap_or(u64::MAX);
        let tokens = wanted.min(budget).min(self.room);
        self.cut |= tokens == self.room;
        self.ids_used += 1;
        self.blocks.push(Block::Thinking {
            thinking: if shown == ThinkingShown::Omitted { String::new() } else { words(tokens) },
            signature: self.ids.signature(self.ids_used),
            tokens,
        });
        self.spend(tokens);
    }

    /// The text to say, if any.
    fn text(&self, calls_tools: bool) -> Option<String> {
        if let Some(text) = &self.scenario.answer {
            return Some(text.clone());
        }
        if let Some(tokens) = self.scenario.output_tokens {
            // One token more than fits is enough to see that it was cut.
            let left = tokens.saturating_sub(self.used);
            return Some(words(left.min(self.room + 1)));
        }
        if calls_tools {
            return None;
        }
        match self.request.output_schema() {
            Some(schema) => Some(schema::example(Some(schema)).to_string()),
            None => Some(GREETING.to_owned()),
        }
    }

    /// Says as much of `text` as fits, up to a stop sequence.
    fn say(&mut self, mut text: String) {
        let found = |stop: &'a str| text.find(stop).map(|at| (at, stop));
        let request = self.request;
        if let Some((at, stop)) =
            request.stop_sequences().filter(|stop| !stop.is_empty()).filter_map(found).min()
        {
            text.truncate(at);
            self.stop_sequence = Some(stop.to_owned());
        }
        let bytes_max = usize::try_from(self.room.saturating_mul(4)).unwrap_or(usize::MAX);
        if text.len() > bytes_max {
            text.truncate(text.floor_char_boundary(bytes_max));
            self.cut = true;
            self.stop_sequence = None;
        }
        if text.is_empty() {
            return;
        }
        self.spend(text_tokens(text.len()));
        self.blocks.push(Block::Text { text });
    }

    /// A text of that many tokens, or as many as fit.
    pub(crate) fn filler(&mut self, tokens: u64) {
        self.say(words(tokens.min(self.room + 1)));
    }

    /// The client tools to call, with their inputs.
    fn tools(&self) -> Vec<(String, Value)> {
        let input = |schema: Option<&Value>| {
            self.scenario.tool_input.clone().unwrap_or_else(|| schema::example(schema))
        };
        let first = || self.request.client_tools().next();
        let named = |wanted: &str| self.request.client_tools().find(|(name, _)| *name == wanted);
        let chosen: Vec<_> = match (&self.scenario.tools, self.request.forced_tool()) {
            (Some(names), _) if !names.is_empty() => {
                names.iter().filter_map(|name| named(name)).collect()
            }
            (Some(_), _) | (None, Some("")) => first().into_iter().collect(),
            (None, Some(name)) => named(name).into_iter().collect(),
            (None, None) => Vec::new(),
        };
        chosen.into_iter().map(|(name, schema)| (name.to_owned(), input(schema))).collect()
    }

    fn call(&mut self, name: String, input: Value) {
        let tokens = tool_tokens(crate::json::len(&input));
        if self.cut || tokens > self.room {
            self.cut_off();
            return;
        }
        let id = self.next_id("toolu_");
        self.spend(tokens);
        self.called = true;
        self.blocks.push(Block::ToolUse { id, name, input });
    }

    /// Anthropic's own tool: called, and answered in the same message.
    fn serve_tool(&mut self, name: &str, input: Value) -> Option<String> {
        let tokens = tool_tokens(crate::json::len(&input));
        if tokens > self.room {
            self.cut_off();
            return None;
        }
        let id = self.next_id("srvtoolu_");
        self.spend(tokens);
        let (name, id_used) = (name.to_owned(), id.clone());
        self.blocks.push(Block::ServerToolUse { id, name, input });
        Some(id_used)
    }

    fn search(&mut self) {
        for n in 0..self.scenario.searches.unwrap_or(1) {
            let query = json!({ "query": format!("mock search {n}") });
            let Some(tool_use_id) = self.serve_tool("web_search", query) else { return };
            let result = SearchResult {
                r#type: "web_search_result",
                title: "A page that does not exist".to_owned(),
                url: "https://example.com/".to_owned(),
                encrypted_content: "bW9jaw==".to_owned(),
                page_age: None,
            };
            self.blocks.push(Block::WebSearchToolResult { tool_use_id, content: vec![result] });
        }
    }

    fn run_code(&mut self) {
        let command = json!({ "command": "python3 work.py" });
        let Some(tool_use_id) = self.serve_tool("bash_code_execution", command) else { return };
        let made = |file_id| FileMade { r#type: "bash_code_execution_output", file_id };
        let files = (0..self.scenario.files_made).map(|_| made(self.next_id("file_"))).collect();
        let content = CodeResult {
            r#type: "bash_code_execution_result",
            stdout: "done\n".to_owned(),
            stderr: String::new(),
            return_code: 0,
            content: files,
        };
        self.blocks.push(Block::BashCodeExecutionToolResult { tool_use_id, content });
    }

    pub(crate) fn compaction(&mut self) {
        self.blocks.push(Block::Compaction { content: SUMMARY.to_owned() });
    }

    /// A summary that is the whole answer.
    pub(crate) fn summarize(&mut self) {
        let tokens = text_tokens(SUMMARY.len());
        if tokens > self.room {
            self.cut_off();
            return;
        }
        self.spend(tokens);
        self.compaction();
    }

    pub(crate) fn advice(&mut self) {
        let Some(tool_use_id) = self.serve_tool("advisor", json!({})) else { return };
        let content = AdvisorResult {
            r#type: "advisor_result",
            text: "Measure twice, cut once.".to_owned(),
            stop_reason: "end_turn",
        };
        self.blocks.push(Block::AdvisorToolResult { tool_use_id, content });
    }

    /// Another model takes over, with its own room.
    pub(crate) fn fallback(&mut self, from: &str, to: &str, max_tokens: Option<u64>) {
        self.blocks.push(Block::Fallback {
            from: ModelName { model: from.to_owned() },
            to: ModelName { model: to.to_owned() },
            trigger: Trigger { r#type: "refusal", category: Some("cyber".to_owned()) },
        });
        self.room = max_tokens.unwrap_or(self.request.max_tokens);
        (self.used, self.cut) = (0, false);
    }
}

/// A text of exactly that many tokens.
fn words(tokens: u64) -> String {
    let tokens = usize::try_from(tokens).unwrap_or(usize::MAX);
    WORDS.into_iter().cycle().take(tokens).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_token() {
        assert!(WORDS.iter().all(|word| word.len() == 4));
        assert_eq!(text_tokens(words(1000).len()), 1000);
    }
}
