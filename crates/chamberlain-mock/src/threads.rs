//! Threads: conversations that the mock holds for five minutes, so that a turn sends only what is
//! new. As with the real API they belong to the workspace: any key goes on with any of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::error::ApiError;
use crate::json::{given, list, text};
use crate::reply::Reply;

/// How long a turn can be gone on from.
const LIFETIME: Duration = Duration::from_secs(300);
/// Turns that are held; beyond it the oldest goes.
const TURNS_MAX: usize = 256;
/// What a thread is begun with; a later turn need not repeat it, and may not change it.
const BEGUN_WITH: [&str; 3] = ["model", "system", "tools"];

/// A turn that can be gone on from, once.
#[derive(Debug)]
struct Turn {
    /// The request with the whole conversation, the answer included.
    body: Value,
    at: Instant,
    continued: bool,
}

/// All threads of the mock's one workspace, by the id of each turn's answer.
#[derive(Default, Debug)]
pub(crate) struct Threads {
    turns: Mutex<HashMap<String, Turn>>,
}

impl Threads {
    /// The request with everything that its thread holds before it.
    ///
    /// # Errors
    /// `thread_not_found`, `thread_already_continued` or `thread_fingerprint_mismatch`.
    pub(crate) fn resume(&self, mut body: Value, now: Instant) -> Result<Value, ApiError> {
        let Some(thread) = given(&body, "thread") else { return Ok(body) };
        match text(thread, "type") {
            Some("create") => return Ok(body),
            Some("continue") => {}
            _ => {
                return Err(ApiError::invalid(
                    "thread.type: Input should be 'create' or 'continue'",
                ));
            }
        }
        let Some(id) = text(thread, "previous_message_id").map(str::to_owned) else {
            return Err(ApiError::invalid("thread.previous_message_id: Field required"));
        };
        let mut turns = self.lock();
        let turn = turns.get_mut(&id).filter(|turn| now.duration_since(turn.at) < LIFETIME);
        let Some(turn) = turn else {
            let gone = format!("No usable Thread state was found for {id}.");
            return Err(ApiError::not_found(gone).with_code("thread_not_found"));
        };
        if turn.continued {
            let message = format!("{id} has already been continued.");
            return Err(ApiError::invalid(message).with_code("thread_already_continued"));
        }
        let changed: Vec<&str> = BEGUN_WITH
            .into_iter()
            .filter(|name| given(&body, name).is_some_and(|it| given(&turn.body, name) != Some(it)))
            .collect();
        if !changed.is_empty() {
            let message = format!("{}: differs from the Thread's.", changed.join(", "));
            return Err(ApiError::invalid(message).with_code("thread_fingerprint_mismatch"));
        }
        turn.continued = true;
        let mut messages = list(&turn.body, "messages").to_vec();
        messages.extend_from_slice(list(&body, "messages"));
        for name in BEGUN_WITH {
            if let Some(begun_with) = given(&turn.body, name) {
                body[name] = begun_with.clone();
            }
        }
        body["messages"] = Value::Array(messages);
        Ok(body)
    }

    /// Lets a turn be gone on from again, because the request that did was refused.
    pub(crate) fn give_back(&self, thread: Option<&Value>) {
        if let Some(id) = thread.and_then(|thread| text(thread, "previous_message_id"))
            && let Some(turn) = self.lock().get_mut(id)
        {
            turn.continued = false;
        }
    }

    /// Holds a turn and its answer. The API holds none that a fallback model wrote.
    pub(crate) fn hold(&self, body: &Value, reply: &Reply, now: Instant) {
        let by_fallback = |entry: &crate::reply::Iteration| entry.r#type == "fallback_message";
        if given(body, "thread").is_none() || reply.iterations.iter().flatten().any(by_fallback) {
            return;
        }
        let mut body = body.clone();
        let answer = json!({ "role": "assistant", "content": reply.blocks });
        if let Some(Value::Array(messages)) = body.get_mut("messages") {
            messages.push(answer);
            messages.iter_mut().for_each(without_cache_control);
        }
        let mut turns = self.lock();
        turns.retain(|_, turn| now.duration_since(turn.at) < LIFETIME);
        if turns.len() >= TURNS_MAX
            && let Some(oldest) =
                turns.iter().min_by_key(|(_, turn)| turn.at).map(|(id, _)| id.clone())
        {
            turns.remove(&oldest);
        }
        turns.insert(reply.id.clone(), Turn { body, at: now, continued: false });
    }

    /// Forgets all of them.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Turn>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A breakpoint counts in the turn that set it: a request takes four of them.
fn without_cache_control(message: &mut Value) {
    let Some(Value::Array(blocks)) = message.get_mut("content") else { return };
    for block in blocks.iter_mut().filter_map(Value::as_object_mut) {
        block.remove("cache_control");
    }
}
