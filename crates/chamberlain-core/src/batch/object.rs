//! A batch as upstream tells it, and the one change that is made to it on its way.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::time::Timestamp;

/// How the items of a batch stand.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RequestCounts {
    /// Not ended.
    #[serde(default)]
    pub processing: u64,
    /// Answered; the only ones that cost.
    #[serde(default)]
    pub succeeded: u64,
    /// Refused or failed.
    #[serde(default)]
    pub errored: u64,
    /// Not begun when the batch was canceled.
    #[serde(default)]
    pub canceled: u64,
    /// Not begun within a day.
    #[serde(default)]
    pub expired: u64,
}

impl RequestCounts {
    /// Items that have ended.
    pub fn ended(&self) -> u64 {
        [self.succeeded, self.errored, self.canceled, self.expired]
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// What is read of a batch object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchObject {
    /// Its id.
    pub id: String,
    /// True when all its items have ended and its results can be had.
    pub ended: bool,
    /// How its items stand.
    pub counts: RequestCounts,
    /// When upstream took it.
    pub created_at: Option<Timestamp>,
    /// When what has not begun by then expires.
    pub expires_at: Option<Timestamp>,
}

/// An answer that is no batch object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("upstream's answer is not a batch that can be read")]
pub struct Unreadable;

#[derive(Deserialize)]
struct Wire<'a> {
    id: String,
    #[serde(borrow)]
    processing_status: std::borrow::Cow<'a, str>,
    #[serde(default)]
    request_counts: RequestCounts,
    created_at: Option<String>,
    expires_at: Option<String>,
}

#[derive(Deserialize)]
struct Link<'a> {
    #[serde(borrow, default)]
    results_url: Option<&'a RawValue>,
}

impl BatchObject {
    /// Reads one.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(json: &[u8]) -> Result<BatchObject, Unreadable> {
        let wire: Wire<'_> = serde_json::from_slice(json).map_err(|_| Unreadable)?;
        let moment = |text: Option<String>| Timestamp::from_rfc3339(&text?).ok();
        Ok(BatchObject {
            ended: wire.processing_status == "ended",
            id: wire.id,
            counts: wire.request_counts,
            created_at: moment(wire.created_at),
            expires_at: moment(wire.expires_at),
        })
    }
}

/// The batch object with `url` as its `results_url`, every other byte as it was. An object that
/// has no results yet stays as it is.
///
/// Anthropic writes an absolute URL there, and SDKs fetch it as it is written, with their
/// credential: left alone it would lead clients past Chamberlain, and virtual keys to Anthropic.
///
/// # Errors
/// [`Unreadable`], when it is no object with at most one such field.
pub fn rewritten(json: &[u8], url: &str) -> Result<Vec<u8>, Unreadable> {
    // A list of values would do for a struct, too.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(Unreadable);
    }
    let link: Link<'_> = serde_json::from_slice(json).map_err(|_| Unreadable)?;
    let Some(value) = link.results_url.filter(|value| value.get() != "null") else {
        return Ok(json.to_vec());
    };
    // A raw value is a piece of what it was read from.
    let start = (value.get().as_ptr() as usize).wrapping_sub(json.as_ptr() as usize);
    let end = start.checked_add(value.get().len()).ok_or(Unreadable)?;
    let (before, after) = json.get(..start).zip(json.get(end..)).ok_or(Unreadable)?;
    let url = serde_json::to_vec(url).map_err(|_| Unreadable)?;
    Ok([before, &url, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &str = concat!(
        r#"{ "id":"msgbatch_01EX","type":"message_batch","processing_status":"in_progress","#,
        r#""request_counts":{"processing":3,"succeeded":0,"errored":0,"canceled":0,"expired":0},"#,
        r#""created_at":"2026-11-23T09:00:00Z","expires_at":"2026-11-24T09:00:00Z","#,
        r#""ended_at":null,"results_url":null , "novel":[1.0]}"#
    );

    #[test]
    fn a_batch_is_read() {
        let read = BatchObject::read(RUNNING.as_bytes()).unwrap();
        assert_eq!(
            (read.id.as_str(), read.ended, read.counts.processing),
            ("msgbatch_01EX", false, 3)
        );
        assert_eq!(read.expires_at, Timestamp::from_rfc3339("2026-11-24T09:00:00Z").ok());
        let ended = RUNNING.replace("in_progress", "ended");
        assert!(BatchObject::read(ended.as_bytes()).unwrap().ended);
        for bad in ["", "[]", "{}", r#"{"id":"x"}"#, r#"{"id":1,"processing_status":"ended"}"#] {
            assert_eq!(BatchObject::read(bad.as_bytes()), Err(Unreadable), "{bad}");
        }
    }

    #[test]
    fn only_the_link_changes() {
        let own = "http://gateway.example/v1/messages/batches/msgbatch_01EX/results";
        assert_eq!(rewritten(RUNNING.as_bytes(), own).unwrap(), RUNNING.as_bytes());
        for link in [
            r#""https:\/\/api.anthropic.com\/v1\/x""#,
            r#""https://api.anthropic.com/v1/messages/batches/msgbatch_01EX/results""#,
            r#"{"href":"https://api.anthropic.com/"}"#,
        ] {
            let there = RUNNING.replace("null ,", &format!("{link} ,"));
            let here = RUNNING.replace("null ,", &format!("\"{own}\" ,"));
            let out = rewritten(there.as_bytes(), own).unwrap();
            assert_eq!(std::str::from_utf8(&out).unwrap(), here);
        }
        for bad in ["", "[]", r#"{"results_url":"a","results_url":"b"}"#] {
            assert_eq!(rewritten(bad.as_bytes(), own), Err(Unreadable), "{bad}");
        }
    }
}
