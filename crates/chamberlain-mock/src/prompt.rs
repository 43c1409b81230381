//! How many tokens a prompt has, and which of them the cache could hold.
//!
//! The rule is in the head of the crate. The prompt is read in the order of the real prefix:
//! tools, output schema, system, messages; each piece closes a prefix that can be cached.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::json;
use crate::reply::text_tokens;
use crate::request::blocks_of;

/// How long a cached prefix lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ttl {
    FiveMinutes,
    OneHour,
}

/// Identifies a prefix by its content.
pub(crate) type PrefixId = [u8; 16];

/// The end of one piece of the prompt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    /// Tokens up to and with this piece.
    pub(crate) tokens: u64,
    /// The prefix up to and with this piece; zero when nothing asks for caching.
    pub(crate) prefix: PrefixId,
    /// Set when `cache_control` ends a prefix here.
    pub(crate) cache: Option<Ttl>,
}

/// A prompt, measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Prompt {
    /// All its tokens.
    pub(crate) tokens: u64,
    pub(crate) marks: Vec<Mark>,
}

const PER_REQUEST: u64 = 3;
const PER_MESSAGE: u64 = 8;
const PER_TOOL: u64 = 20;
const ANY_TOOL: u64 = 300;
const IMAGE: u64 = 1_500;
const PDF: u64 = 3_000;
const ELSEWHERE: u64 = 2_000;

/// Measures the prompt of a message or count_tokens body.
pub(crate) fn measure(model: &str, body: &Value) -> Prompt {
    let mut reader = Reader::new(model, body);
    let tools = json::list(body, "tools");
    for (n, tool) in tools.iter().enumerate() {
        let once = if n == 0 { ANY_TOOL } else { 0 };
        reader.piece("tool", tool, once + PER_TOOL + text_tokens(json_len(tool)));
    }
    let format = body.get("output_config").and_then(|config| config.get("format"));
    if let Some(schema) = format.and_then(|format| format.get("schema")) {
        reader.piece("format", schema, text_tokens(json_len(schema)));
    }
    for block in blocks_of(body.get("system")) {
        reader.piece("system", block, block_tokens(block));
    }
    for message in json::list(body, "messages") {
        let role = json::text(message, "role").unwrap_or_default();
        let mut framing = PER_MESSAGE;
        for block in blocks_of(message.get("content")) {
            reader.piece(role, block, framing + block_tokens(block));
            framing = 0;
        }
        reader.tokens += framing;
    }
    reader.finish(body)
}

struct Reader {
    tokens: u64,
    marks: Vec<Mark>,
    hash: Option<Sha256>,
}

impl Reader {
    fn new(model: &str, body: &Value) -> Reader {
        // Hashing every prompt would double the cost of a request; few ask for caching.
        let hash = asks_for_caching(body).then(|| Sha256::new_with_prefix(model.as_bytes()));
        Reader { tokens: PER_REQUEST, marks: Vec::new(), hash }
    }

    fn piece(&mut self, role: &str, piece: &Value, tokens: u64) {
        self.tokens += tokens;
        let mut prefix = PrefixId::default();
        if let Some(hash) = &mut self.hash {
            hash.update(role.as_bytes());
            absorb(hash, piece, true);
            let digest: [u8; 32] = hash.clone().finalize().into();
            prefix.copy_from_slice(&digest[..16]);
        }
        self.marks.push(Mark { tokens: self.tokens, prefix, cache: ttl_of(piece) });
    }

    /// The top-level `cache_control` ends a prefix at the last piece.
    fn finish(mut self, body: &Value) -> Prompt {
        if let (Some(ttl), Some(last)) = (ttl_of(body), self.marks.last_mut()) {
            last.cache.get_or_insert(ttl);
        }
        Prompt { tokens: self.tokens, marks: self.marks }
    }
}

fn ttl_of(value: &Value) -> Option<Ttl> {
    let control = json::given(value, "cache_control")?;
    Some(match json::text(control, "ttl") {
        Some("1h") => Ttl::OneHour,
        _ => Ttl::FiveMinutes,
    })
}

fn asks_for_caching(body: &Value) -> bool {
    let marked = |block: &Value| json::given(block, "cache_control").is_some();
    marked(body)
        || json::list(body, "tools").iter().any(marked)
        || blocks_of(body.get("system")).iter().any(marked)
        || json::list(body, "messages")
            .iter()
            .any(|message| blocks_of(message.get("content")).iter().any(marked))
}

/// Feeds a value to the hash, unambiguously, without the `cache_control` at its top: where a
/// breakpoint stands is not part of the prompt.
fn absorb(hash: &mut Sha256, value: &Value, top: bool) {
    match value {
        Value::Object(fields) => {
            hash.update(b"{");
            for (key, value) in fields.iter().filter(|(key, _)| !top || *key != "cache_control") {
                hash.update((key.len() as u64).to_be_bytes());
                hash.update(key.as_bytes());
                absorb(hash, value, false);
            }
            hash.update(b"}");
        }
        Value::Array(items) => {
            hash.update(b"[");
            items.iter().for_each(|item| absorb(hash, item, false));
            hash.update(b"]");
        }
        Value::String(text) => {
            hash.update(b"s");
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        Value::Number(number) => hash.update(format!("n{number};").as_bytes()),
        Value::Bool(truth) => hash.update(if *truth { b"t" } else { b"f" }),
        Value::Null => hash.update(b"0"),
    }
}

fn json_len(value: &Value) -> usize {
    usize::try_from(json::len(value)).unwrap_or(usize::MAX)
}

fn block_tokens(block: &Value) -> u64 {
    let text = |key: &str| text_tokens(json::text(block, key).unwrap_or_default().len());
    if let Value::String(text) = block {
        return text_tokens(text.len());
    }
    match json::text(block, "type").unwrap_or_default() {
        "text" => text("text"),
        "thinking" => text("thinking"),
        "image" => IMAGE,
        "document" => document_tokens(block),
        "tool_result" => {
            blocks_of(block.get("content")).iter().map(block_tokens).sum::<u64>() + PER_MESSAGE
        }
        _ => text_tokens(json_len(block)),
    }
}

fn document_tokens(block: &Value) -> u64 {
    let named = |key: &str| text_tokens(json::text(block, key).unwrap_or_default().len());
    let source = block.get("source").unwrap_or(&Value::Null);
    let content = match json::text(source, "type").unwrap_or_default() {
        "text" => text_tokens(json::text(source, "data").unwrap_or_default().len()),
        "content" => blocks_of(source.get("content")).iter().map(block_tokens).sum(),
        "base64" => PDF,
        _ => ELSEWHERE,
    };
    content + named("title") + named("context")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_rule_is_the_documented_one() {
        let body = json!({"system": "12345", "messages": [
            {"role": "user", "content": "1234"},
            {"role": "assistant", "content": [{"type": "text", "text": "é"}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "12345678"},
                {"type": "image", "source": {"type": "base64", "data": "AA=="}}]}]});
        let expected = 3 + 2 + (8 + 1) + (8 + 1) + (8 + 2 + 8) + 1_500;
        assert_eq!(measure("m", &body).tokens, expected);
        let tool = json!({"name": "t", "input_schema": {}});
        let with_tool = json!({"tools": [tool], "messages": [{"role": "user", "content": ""}]});
        let tool_bytes = tool.to_string().len() as u64;
        assert_eq!(measure("m", &with_tool).tokens, 3 + 8 + 300 + 20 + tool_bytes.div_ceil(4));
    }

    #[test]
    fn a_prompt_without_media_is_below_its_bytes() {
        for n in [0, 1, 7, 100] {
            let messages: Vec<Value> = (0..n)
                .flat_map(|i| {
                    let call = json!({"type": "tool_use", "id": "x", "name": "t", "input": {}});
                    let result = json!({"type": "tool_result", "tool_use_id": "x"});
                    [
                        json!({"role": "user", "content": if i % 2 == 0 { "" } else { "a" }}),
                        json!({"role": "assistant", "content": [call]}),
                        json!({"role": "user", "content": [result, result]}),
                    ]
                })
                .collect();
            let tools: Vec<Value> = (0..n).map(|_| json!({"name": "t"})).collect();
            let body = json!({"messages": messages, "tools": tools, "system": "x"});
            let bytes = body.to_string().len() as u64;
            let tokens = measure("m", &body).tokens;
            assert!(tokens <= bytes + 303, "{n}: {tokens} tokens in {bytes} bytes");
        }
    }

    #[test]
    fn where_a_breakpoint_stands_does_not_change_the_prefix() {
        let body = |first: bool| {
            let mut blocks =
                [json!({"type": "text", "text": "one"}), json!({"type": "text", "text": "two"})];
            blocks[usize::from(!first)]["cache_control"] = json!({"type": "ephemeral"});
            json!({"system": blocks, "messages": []})
        };
        let (first, second) = (measure("m", &body(true)), measure("m", &body(false)));
        assert_eq!(first.marks[0].prefix, second.marks[0].prefix);
        assert_eq!(first.marks[1].prefix, second.marks[1].prefix);
        assert_ne!(first.marks[0].prefix, first.marks[1].prefix);
        assert_ne!(measure("n", &body(true)).marks[0].prefix, first.marks[0].prefix);
    }
}
