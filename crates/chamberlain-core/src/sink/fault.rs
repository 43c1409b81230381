//! What is known after a sink was tried: whether it changed, whether trying again can help, and
//! what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a failed try left behind in the sink.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The sink is as it was before.
    Nothing,
    /// The key is in the sink; what should have followed failed (a program that was to take it
    /// up, a flag that was to be set).
    Done,
    /// Nobody can say: it may have been taken and the answer was lost.
    Unknown,
}

impl Effect {
    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Effect::Nothing => "nothing",
            Effect::Done => "done",
            Effect::Unknown => "unknown",
        }
    }
}

/// Whether the same try can succeed later.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Again {
    /// No: somebody has to change something first.
    Never,
    /// Yes, at any time.
    Later,
    /// Yes, but not before so many milliseconds have passed.
    After(u64),
}

/// Why a sink did not do what was asked. No part of a key is ever in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkFault {
    /// What it left behind.
    pub effect: Effect,
    /// Whether trying again can help.
    pub again: Again,
    /// What happened and why, one sentence.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl SinkFault {
    /// A fault that changed nothing and that trying again does not mend.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> SinkFault {
        let (message, hint) = (message.into(), hint.into());
        SinkFault { effect: Effect::Nothing, again: Again::Never, message, hint }
    }

    /// A fault that changed nothing and may pass by itself.
    pub fn passing(message: impl Into<String>, hint: impl Into<String>) -> SinkFault {
        SinkFault { again: Again::Later, ..SinkFault::refused(message, hint) }
    }

    /// The same, after which the sink is in that state.
    #[must_use]
    pub fn with(self, effect: Effect) -> SinkFault {
        SinkFault { effect, ..self }
    }
}

/// What a successful delivery left behind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// What later shows whether it is still the same: a file's own marks, a listed update time.
    /// Tells nothing about the key.
    pub mark: String,
    /// True when the key was there already, so that nothing was written.
    pub was_there: bool,
    /// What people should know besides.
    pub notes: Vec<String>,
}

/// What looking at a sink shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "standing", content = "why")]
pub enum Standing {
    /// The key is there.
    Holds,
    /// It cannot be read back, but nobody changed it since it was delivered.
    Untouched,
    /// Something else is there, or nothing.
    Differs(String),
    /// It cannot be told.
    Unknown(String),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Holds => f.write_str("it has this key"),
            Standing::Untouched => f.write_str("not changed since this key was delivered"),
            Standing::Differs(why) => write!(f, "it has something else: {why}"),
            Standing::Unknown(why) => write!(f, "not known: {why}"),
        }
    }
}

/// What an answer of a host means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer<'a> {
    /// Who answered, for people: `GitHub`.
    pub host: &'a str,
    /// What was asked, for people: `write the secret`.
    pub step: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// Seconds that `retry-after` asks to wait.
    pub retry_after_s: Option<u64>,
    /// Whether its headers say that the host's own rate limit is used up.
    pub is_limited: bool,
    /// What the host said, without anything key-shaped.
    pub said: &'a str,
    /// Whether it was asked to change something.
    pub writes: bool,
}

/// Longest wait that a host can ask of us.
const WAIT_S_MAX: u64 = 3_600;

impl Answer<'_> {
    /// The fault that this answer is. Asked for answers that are no success.
    pub fn fault(&self) -> SinkFault {
        let Answer { host, step, status, said, .. } = self;
        let said = if said.is_empty() { String::new() } else { format!(" ({said})") };
        let message = format!("{host} answered {status} when asked to {step}{said}");
        let wait = self.retry_after_s.map(|seconds| seconds.min(WAIT_S_MAX) * 1_000);
        let later = wait.map_or(Again::Later, Again::After);
        let (again, hint) = match status {
            401 => (
                Again::Never,
                "the token is not accepted: it expired, was revoked, or is not whole",
            ),
            403 | 429 if self.is_limited || wait.is_some() || *status == 429 => {
                (later, "its rate limit is used up; it is tried again later")
            }
            403 => (
                Again::Never,
                "the token may not do this: give it the permission that docs/sinks.md names",
            ),
            404 => (
                Again::Never,
                "there is no such thing, or the token may not see it: check the name and the \
                 token's access to it",
            ),
            300..=399 => (Again::Never, "it was moved; write its present address or name"),
            408 | 409 | 423 | 425 => {
                (later, "something else is at work on it; it is tried again later")
            }
            500.. => (later, "the host has trouble; it is tried again later"),
            _ => (Again::Never, "what was sent is not taken; its message says why"),
        };
        // A refusal is an answer; only a host in trouble leaves open what it did.
        let effect = match self.writes && (*status >= 500 || *status == 408) {
            true => Effect::Unknown,
            false => Effect::Nothing,
        };
        SinkFault { effect, again, message, hint: hint.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, writes: bool) -> SinkFault {
        let step = "write the secret";
        Answer {
            host: "GitHub",
            step,
            status,
            retry_after_s: None,
            is_limited: false,
            said: "",
            writes,
        }
        .fault()
    }

    #[test]
    fn each_status_is_final_or_tried_again() {
        let again = |status| fault(status, true).again;
        for status in [301, 400, 401, 403, 404, 410, 422] {
            assert_eq!(again(status), Again::Never, "{status}");
        }
        for status in [408, 409, 429, 500, 502, 503, 504] {
            assert_eq!(again(status), Again::Later, "{status}");
        }
    }

    #[test]
    fn only_a_host_in_trouble_leaves_open_what_was_written() {
        for (status, writes, effect) in [
            (503, true, Effect::Unknown),
            (503, false, Effect::Nothing),
            (422, true, Effect::Nothing),
            (429, true, Effect::Nothing),
        ] {
            assert_eq!(fault(status, writes).effect, effect, "{status} {writes}");
        }
    }

    #[test]
    fn a_limit_that_looks_like_a_refusal_is_tried_again() {
        let answer = Answer {
            host: "GitHub",
            step: "write the secret",
            status: 403,
            retry_after_s: None,
            is_limited: true,
            said: "API rate limit exceeded",
            writes: true,
        };
        assert_eq!(answer.fault().again, Again::Later);
        let waiting = Answer { retry_after_s: Some(90), is_limited: false, ..answer };
        assert_eq!(waiting.fault().again, Again::After(90_000));
        let for_ever = Answer { retry_after_s: Some(u64::MAX), ..answer };
        assert_eq!(for_ever.fault().again, Again::After(3_600_000));
    }
}
