//! The models as of 2026-11-23, and the two endpoints that list them.

use http::StatusCode;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::query;

/// Where a model is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    Active,
    /// Deprecated on, retires on.
    Deprecated(&'static str, &'static str),
    /// Deprecated on, retired on.
    Retired(&'static str, &'static str),
}

/// Whether `speed: "fast"` works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fast {
    /// Yes.
    Open,
    /// With the beta header `fast-mode-2026-02-01`.
    WithBeta,
    /// Accepted, and runs at the standard speed.
    Ignored,
    /// 400.
    Refused,
}

/// Which values of `thinking.type` besides `disabled` are accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Thinking {
    None,
    Enabled,
    Both,
    Adaptive,
    AdaptiveAndBetweenTools,
}

/// One model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) id: &'static str,
    pub(crate) aliases: &'static [&'static str],
    line: &'static str,
    version: &'static str,
    released: &'static str,
    pub(crate) life: Life,
    pub(crate) window: u64,
    pub(crate) max_output: u64,
    pub(crate) least_cacheable: u64,
    pub(crate) fast: Fast,
    pub(crate) thinking: Thinking,
    /// `inference_geo` may be given (Claude 4.6 and later).
    pub(crate) geo: bool,
    /// Sampling parameters must be at their defaults (Claude 4.7 and later).
    pub(crate) fixed_sampling: bool,
    /// `tool_choice` may force a tool.
    pub(crate) forced_tools: bool,
}

const NEW: Model = Model {
    id: "",
    aliases: &[],
    line: "",
    version: "",
    released: "",
    life: Life::Active,
    window: 1_000_000,
    max_output: 128_000,
    least_cacheable: 512,
    fast: Fast::Refused,
    thinking: Thinking::Adaptive,
    geo: true,
    fixed_sampling: true,
    forced_tools: true,
};

const OLD: Model = Model {
    window: 200_000,
    max_output: 64_000,
    least_cacheable: 4_096,
    thinking: Thinking::Enabled,
    geo: false,
    fixed_sampling: false,
    ..NEW
};

/// Every model, newest first.
static MODELS: [Model; 21] = [
    Model {
        id: "claude-fable-5-2",
        line: "fable",
        version: "Fable 5.2",
        released: "2026-11-09",
        fast: Fast::Open,
        ..NEW
    },
    Model {
        id: "claude-mythos-5-2",
        line: "mythos",
        version: "Mythos 5.2",
        released: "2026-11-09",
        fast: Fast::Open,
        ..NEW
    },
    Model {
        id: "claude-haiku-5-5",
        line: "haiku",
        version: "Haiku 5.5",
        released: "2026-10-07",
        ..NEW
    },
    Model {
        id: "claude-sonnet-5-5",
        line: "sonnet",
        version: "Sonnet 5.5",
        released: "2026-09-28",
        thinking: Thinking::AdaptiveAndBetweenTools,
        forced_tools: false,
        ..NEW
    },
    Model {
        id: "claude-opus-5-5",
        line: "opus",
        version: "Opus 5.5",
        released: "2026-09-22",
        fast: Fast::Open,
        forced_tools: false,
        ..NEW
    },
    Model {
        id: "claude-fable-5-1",
        line: "fable",
        version: "Fable 5.1",
        released: "2026-09-01",
        forced_tools: false,
        ..NEW
    },
    Model {
        id: "claude-mythos-5-1",
        line: "mythos",
        version: "Mythos 5.1",
        released: "2026-09-01",
        ..NEW
    },
    Model {
        id: "claude-opus-5",
        line: "opus",
        version: "Opus 5",
        released: "2026-07-24",
        fast: Fast::WithBeta,
        ..NEW
    },
    Model {
        id: "claude-sonnet-5",
        line: "sonnet",
        version: "Sonnet 5",
        released: "2026-06-30",
        least_cacheable: 1_024,
        ..NEW
    },
    Model {
        id: "claude-fable-5",
        line: "fable",
        version: "Fable 5",
        released: "2026-06-09",
        ..NEW
    },
    Model {
        id: "claude-mythos-5",
        line: "mythos",
        version: "Mythos 5",
        released: "2026-06-09",
        ..NEW
    },
    Model {
        id: "claude-opus-4-8",
        line: "opus",
        version: "Opus 4.8",
        released: "2026-05-28",
        fast: Fast::WithBeta,
        least_cacheable: 1_024,
        ..NEW
    },
    Model {
        id: "claude-opus-4-7",
        aliases: &["claude-opus-4-7-20260416"],
        line: "opus",
        version: "Opus 4.7",
        released: "2026-04-16",
        least_cacheable: 2_048,
        ..NEW
    },
    Model {
        id: "claude-sonnet-4-6",
        line: "sonnet",
        version: "Sonnet 4.6",
        released: "2026-02-17",
        least_cacheable: 1_024,
        thinking: Thinking::Both,
        fixed_sampling: false,
        ..NEW
    },
    Model {
        id: "claude-opus-4-6",
        aliases: &["claude-opus-4-6-20260205"],
        line: "opus",
        version: "Opus 4.6",
        released: "2026-02-05",
        least_cacheable: 4_096,
        fast: Fast::Ignored,
        thinking: Thinking::Both,
        fixed_sampling: false,
        ..NEW
    },
    Model {
        id: "claude-opus-4-5-20251101",
        aliases: &["claude-opus-4-5"],
        line: "opus",
        version: "Opus 4.5",
        released: "2025-11-24",
        ..OLD
    },
    Model {
        id: "claude-haiku-4-5-20251001",
        aliases: &["claude-haiku-4-5"],
        line: "haiku",
        version: "Haiku 4.5",
        released: "2025-10-15",
        ..OLD
    },
    Model {
        id: "claude-sonnet-4-5-20250929",
        aliases: &["claude-sonnet-4-5"],
        line: "sonnet",
        version: "Sonnet 4.5",
        released: "2025-09-29",
        life: Life::Deprecated("2026-09-30", "2026-11-30"),
        least_cacheable: 1_024,
        ..OLD
    },
    Model {
        id: "claude-opus-4-1-20250805",
        aliases: &["claude-opus-4-1"],
        line: "opus",
        version: "Opus 4.1",
        released: "2025-08-05",
        life: Life::Retired("2026-06-05", "2026-08-05"),
        max_output: 32_000,
        ..OLD
    },
    Model {
        id: "claude-sonnet-4-20250514",
        aliases: &["claude-sonnet-4-0"],
        line: "sonnet",
        version: "Sonnet 4",
        released: "2025-05-22",
        life: Life::Retired("2026-04-14", "2026-06-15"),
        ..OLD
    },
    Model {
        id: "claude-3-5-haiku-20241022",
        aliases: &["claude-3-5-haiku-latest"],
        line: "haiku",
        version: "Haiku 3.5",
        released: "2024-10-22",
        life: Life::Retired("2025-12-19", "2026-02-19"),
        max_output: 8_192,
        thinking: Thinking::None,
        ..OLD
    },
];

/// The model of that id or alias, retired ones included.
pub(crate) fn find(id: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.id == id || model.aliases.contains(&id))
}

/// The model of that id or alias that can be called.
///
/// # Errors
/// 404, as for any model that does not exist or no longer does.
pub(crate) fn callable(id: &str) -> Result<&'static Model, ApiError> {
    find(id)
        .filter(|model| !matches!(model.life, Life::Retired(..)))
        .ok_or_else(|| ApiError::not_found(format!("model: {id}")))
}

impl Model {
    fn lifecycle(&self) -> &'static str {
        match self.life {
            Life::Active => "active",
            Life::Deprecated(..) => "deprecated",
            Life::Retired(..) => "retired",
        }
    }

    /// The model as the API shows it.
    pub(crate) fn shown(&self) -> Value {
        let (deprecated, retires) = match self.life {
            Life::Active => (None, None),
            Life::Deprecated(from, to) | Life::Retired(from, to) => (Some(from), Some(to)),
        };
        let midnight = |day: &str| format!("{day}T00:00:00Z");
        json!({
            "id": self.id,
            "type": "model",
            "display_name": format!("Claude {}", self.version),
            "line": self.line,
            "created_at": midnight(self.released),
            "lifecycle": self.lifecycle(),
            "deprecated_at": deprecated.map(midnight),
            "retires_at": retires.map(midnight),
            "max_input_tokens": self.window,
            "max_tokens": self.max_output,
            "capabilities": self.capabilities(),
        })
    }

    fn capabilities(&self) -> Value {
        let yes = |supported: bool| json!({ "supported": supported });
        let recent = self.thinking != Thinking::None;
        json!({
            "batch": yes(true),
            "citations": yes(true),
            "code_execution": yes(recent),
            "context_management": {
                "supported": recent,
                "clear_thinking_20251015": yes(recent),
                "clear_tool_uses_20250919": yes(recent),
                "compact_20260112": yes(self.geo),
            },
            "effort": {
                "supported": self.geo,
                "low": yes(self.geo),
                "medium": yes(self.geo),
                "high": yes(self.geo),
                "xhigh": yes(self.fixed_sampling),
                "max": yes(self.geo),
            },
            "image_input": yes(true),
            "pdf_input": yes(true),
            "server_tools": {
                "supported": true,
                "code_execution": yes(recent),
                "web_search": yes(true),
            },
            "structured_outputs": yes(recent),
            "thinking": {
                "supported": self.thinking != Thinking::None,
                "types": {
                    "adaptive": yes(self.thinks("adaptive")),
                    "between_tools": yes(self.thinks("between_tools")),
                    "disabled": yes(true),
                    "enabled": yes(self.thinks("enabled")),
                },
            },
        })
    }

    /// Whether `speed: "fast"` makes it faster and dearer.
    pub(crate) fn runs_fast(&self) -> bool {
        matches!(self.fast, Fast::Open | Fast::WithBeta)
    }

    /// Whether `thinking: {"type": kind}` is accepted.
    pub(crate) fn thinks(&self, kind: &str) -> bool {
        match kind {
            "disabled" => true,
            "enabled" => matches!(self.thinking, Thinking::Enabled | Thinking::Both),
            "adaptive" => !matches!(self.thinking, Thinking::None | Thinking::Enabled),
            "between_tools" => self.thinking == Thinking::AdaptiveAndBetweenTools,
            _ => false,
        }
    }
}

/// `GET /v1/models/{id}`. Retired models are shown: they stay in the catalogue.
pub(crate) fn show(id: &str) -> Result<Value, ApiError> {
    find(id).map(Model::shown).ok_or_else(|| ApiError::not_found(format!("model: {id}")))
}

/// `GET /v1/models`.
pub(crate) fn page(query: Option<&str>) -> Result<Value, ApiError> {
    let mut limit = 20_usize;
    let (mut after, mut before) = (None, None);
    let mut lifecycles = Vec::new();
    for (key, value) in query::pairs(query) {
        match key.as_str() {
            "limit" => {
                limit = value.parse().ok().filter(|limit| (1..=1000).contains(limit)).ok_or_else(
                    || ApiError::invalid("limit: must be a whole number from 1 to 1000"),
                )?;
            }
            "after_id" => after = Some(value),
            "before_id" => before = Some(value),
            "lifecycle[]" | "lifecycle" => lifecycles.push(value),
            _ => {}
        }
    }
    if lifecycles.is_empty() {
        lifecycles = vec!["active".to_owned(), "deprecated".to_owned()];
    }
    let listed: Vec<&Model> = MODELS
        .iter()
        .filter(|model| lifecycles.iter().any(|life| life == model.lifecycle()))
        .collect();
    let place = |id: &str| {
        let known = listed.iter().position(|model| model.id == id);
        known.ok_or_else(|| {
            ApiError::new(StatusCode::BAD_REQUEST, format!("no model {id:?} in this list"))
        })
    };
    let (start, end, has_more) = match (after, before) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid("after_id and before_id exclude each other"));
        }
        (None, Some(id)) => {
            let end = place(&id)?;
            let start = end.saturating_sub(limit);
            (start, end, start > 0)
        }
        (after, None) => {
            let start = after.map(|id| place(&id)).transpose()?.map_or(0, |at| at + 1);
            let end = (start + limit).min(listed.len());
            (start, end, end < listed.len())
        }
    };
    let data: Vec<Value> = listed[start..end].iter().map(|model| model.shown()).collect();
    Ok(json!({
        "first_id": data.first().map(|model| model["id"].clone()),
        "last_id": data.last().map(|model| model["id"].clone()),
        "has_more": has_more,
        "data": data,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(page: &Value) -> Vec<&str> {
        page["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
    }

    #[test]
    fn pages_walk_the_whole_list_in_both_directions() {
        let all = page(Some("limit=1000")).unwrap();
        assert_eq!(ids(&all).len(), 18, "active and deprecated models only");
        let (mut walked, mut query) = (Vec::new(), "limit=5".to_owned());
        loop {
            let next = page(Some(&query)).unwrap();
            walked.extend(ids(&next).iter().map(|id| (*id).to_owned()));
            if next["has_more"] == false {
                break;
            }
            query = format!("limit=5&after_id={}", next["last_id"].as_str().unwrap());
        }
        assert_eq!(walked, ids(&all));
        let back = page(Some("limit=2&before_id=claude-sonnet-5-5")).unwrap();
        assert_eq!(ids(&back), ["claude-mythos-5-2", "claude-haiku-5-5"]);
        assert_eq!(back["has_more"], true);
    }

    #[test]
    fn retired_models_are_listed_on_request_and_never_callable() {
        let retired = page(Some("lifecycle%5B%5D=retired")).unwrap();
        assert!(ids(&retired).contains(&"claude-opus-4-1-20250805"));
        assert_eq!(callable("claude-opus-4-1").unwrap_err().status, StatusCode::NOT_FOUND);
        assert_eq!(callable("claude-haiku-4-5").unwrap().id, "claude-haiku-4-5-20251001");
        assert!(page(Some("limit=0")).is_err() && page(Some("after_id=nobody")).is_err());
    }
}
