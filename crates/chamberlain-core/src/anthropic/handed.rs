//! Ids that an answer hands out, found before the client sees them.
//!
//! Ids are taken only from places that upstream fills itself. What the model wrote (texts, inputs of
//! tools, results of MCP servers) may look like anything, so that an id in there is none.

use serde_json::Value;

use super::sse::{Event, Sse};
use crate::resource::{ResourceId, ResourceKind};
use crate::time::Timestamp;

/// Longest event that is read; ids in longer ones are bound to nobody, so nobody can use them.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// Ids taken from one answer at the most.
const IDS_MAX: usize = 1_000;

/// An id that was handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandedOut {
    /// Of what.
    pub kind: ResourceKind,
    /// The id.
    pub id: ResourceId,
    /// When upstream lets go of it, where it says so.
    pub expires: Option<Timestamp>,
}

/// Reads the ids out of a streamed answer.
pub struct HandedOutReader {
    sse: Sse,
    count: usize,
    stopped: bool,
}

impl std::fmt::Debug for HandedOutReader {
    /// What passes through is the client's own, so none of it is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandedOutReader").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Default for HandedOutReader {
    fn default() -> HandedOutReader {
        HandedOutReader { sse: Sse::new(EVENT_BYTES_MAX), count: 0, stopped: false }
    }
}

impl HandedOutReader {
    /// Takes the next bytes, split anywhere; gives the ids in the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<HandedOut> {
        let mut found = Vec::new();
        let stopped = &mut self.stopped;
        self.sse.push(bytes, |event| {
            *stopped |= event.name == b"message_stop";
            in_event(event, &mut found);
        });
        found.truncate(IDS_MAX.saturating_sub(self.count));
        self.count += found.len();
        found
    }

    /// True once the answer's last event was read.
    pub fn saw_stop(&self) -> bool {
        self.stopped
    }
}

/// The ids in a whole JSON answer.
pub fn handed_out(body: &[u8]) -> Vec<HandedOut> {
    let mut found = Vec::new();
    if let Ok(message) = serde_json::from_slice::<Value>(body) {
        in_message(&message, &mut found);
    }
    found.truncate(IDS_MAX);
    found
}

fn in_event(event: Event<'_>, found: &mut Vec<HandedOut>) {
    if !matches!(event.name, b"message_start" | b"message_delta" | b"content_block_start") {
        return;
    }
    let Ok(data) = serde_json::from_slice::<Value>(event.data) else { return };
    match event.name {
        b"message_start" => in_message(&data["message"], found),
        b"message_delta" => in_container(&data["delta"]["container"], found),
        _ => in_block(&data["content_block"], found),
    }
}

fn in_message(message: &Value, found: &mut Vec<HandedOut>) {
    if message["type"] == "message" {
        take(ResourceKind::Message, &message["id"], None, found);
    }
    in_container(&message["container"], found);
    for block in message["content"].as_array().into_iter().flatten() {
        in_block(block, found);
    }
}

fn in_container(container: &Value, found: &mut Vec<HandedOut>) {
    let expires = container["expires_at"].as_str().and_then(|at| Timestamp::from_rfc3339(at).ok());
    take(ResourceKind::Container, &container["id"], expires, found);
}

fn in_block(block: &Value, found: &mut Vec<HandedOut>) {
    match block["type"].as_str() {
        Some("container_upload") => take(ResourceKind::File, &block["file_id"], None, found),
        Some(kind) if kind.ends_with("code_execution_tool_result") => {
            let outputs = block["content"]["content"].as_array();
            for output in outputs.into_iter().flatten() {
                take(ResourceKind::File, &output["file_id"], None, found);
            }
        }
        _ => {}
    }
}

fn take(kind: ResourceKind, id: &Value, expires: Option<Timestamp>, found: &mut Vec<HandedOut>) {
    if let Some(id) = id.as_str().and_then(ResourceId::parse) {
        found.push(HandedOut { kind, id, expires });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message() -> Value {
        json!({
            "id": "msg_1", "type": "message", "model": "m",
            "container": { "id": "container_1", "expires_at": "2026-11-23T10:00:00Z" },
            "content": [
                { "type": "text", "text": "{\"file_id\": \"file_said\"}", "file_id": "file_text" },
                { "type": "tool_use", "input": { "file_id": "file_input",
                  "container": { "id": "container_input" } } },
                { "type": "mcp_tool_result", "content": [{ "file_id": "file_mcp" }] },
                { "type": "bash_code_execution_tool_result", "content": {
                    "type": "bash_code_execution_result", "stdout": "{\"file_id\":\"file_out\"}",
                    "content": [{ "type": "bash_code_execution_output", "file_id": "file_1" }] } },
                { "type": "container_upload", "file_id": "file_2" },
            ],
        })
    }

    fn ids(found: &[HandedOut]) -> Vec<&str> {
        found.iter().map(|it| it.id.as_str()).collect()
    }

    #[test]
    fn only_what_upstream_itself_wrote_is_an_id() {
        let found = handed_out(message().to_string().as_bytes());
        assert_eq!(ids(&found), ["msg_1", "container_1", "file_1", "file_2"]);
        assert_eq!(found[1].expires, Timestamp::from_rfc3339("2026-11-23T10:00:00Z").ok());
        assert_eq!(handed_out(b"{\"id\":\"msg_1\"}"), []);
        assert_eq!(handed_out(b"not JSON"), []);
    }

    #[test]
    fn a_stream_split_anywhere_hands_out_the_same() {
        let mut message = message();
        let blocks = std::mem::take(&mut message["content"]);
        let container = std::mem::take(&mut message["container"]);
        let mut events = vec![("message_start", json!({ "message": message }))];
        for block in blocks.as_array().unwrap() {
            events.push(("content_block_start", json!({ "content_block": block })));
        }
        let delta = json!({ "delta": { "partial_json": "{\"file_id\":\"file_x\"}" } });
        events.push(("content_block_delta", delta));
        events.push(("message_delta", json!({ "delta": { "container": container } })));
        events.push(("message_stop", json!({})));
        let text: String =
            events.iter().map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).collect();
        for size in [1, 7, 100, text.len()] {
            let mut reader = HandedOutReader::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                assert!(!reader.saw_stop());
                found.extend(reader.push(piece));
            }
            assert_eq!(ids(&found), ["msg_1", "file_1", "file_2", "container_1"], "{size}");
            assert!(reader.saw_stop());
        }
    }
}
