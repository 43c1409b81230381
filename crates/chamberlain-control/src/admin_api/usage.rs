//! What the Admin API reports of a key's use: tokens for each hour and model.

use chamberlain_core::time::Timestamp;
use chamberlain_core::usage::Tokens;
use serde_json::Value;

use super::{AdminApi, AdminFault, PAGES_MAX, lying, read, step};

const HOUR_MS: i64 = 3_600_000;

/// Hours that one page may have; the API's own limit.
const HOURS_MAX: u32 = 168;

/// What was used in one hour with one model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsedHour {
    /// The beginning of the hour, in UTC.
    pub at: Timestamp,
    /// The model.
    pub model: String,
    /// Billed tokens.
    pub tokens: Tokens,
    /// Web searches.
    pub web_searches: u64,
}

impl AdminApi<'_> {
    /// What Anthropic has counted of a key from the full hour before `from` until `to`. What was
    /// used in the last minutes may not be in it yet.
    ///
    /// # Errors
    /// See [`AdminFault`].
    pub fn usage(
        &self,
        key: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<UsedHour>, AdminFault> {
        let from = Timestamp::from_ms(from.ms() - from.ms().rem_euclid(HOUR_MS));
        let query = format!(
            "starting_at={}&ending_at={}&bucket_width=1h&limit={HOURS_MAX}&api_key_ids%5B%5D={}\
             &group_by%5B%5D=api_key_id&group_by%5B%5D=model",
            from.to_rfc3339(),
            to.to_rfc3339(),
            step(key)?,
        );
        let (mut found, mut page) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let next = page.as_deref().map(|page| format!("&page={}", encoded(page)));
            let next = next.unwrap_or_default();
            let answer = self.get("usage_report/messages", &format!("{query}{next}"))?;
            read_page(&answer, key, &mut found).map_err(lying)?;
            let more = answer.get("has_more").and_then(Value::as_bool);
            let more = more.ok_or_else(|| lying("a usage page that does not say if it is all"))?;
            if !more {
                return Ok(found);
            }
            let next = answer.get("next_page").and_then(Value::as_str).map(str::to_owned);
            if next.is_none() || next == page {
                return Err(lying("a usage report that does not go on and does not end"));
            }
            page = next;
        }
        Err(lying(format!("a usage report of more than {PAGES_MAX} pages")))
    }
}

fn read_page(page: &Value, key: &str, found: &mut Vec<UsedHour>) -> Result<(), String> {
    let hours = page.get("data").and_then(Value::as_array);
    for hour in hours.ok_or("a usage page without a list")? {
        let at = read::moment(hour, "starting_at", "an hour")?.ok_or("an hour without a start")?;
        let rows = hour.get("results").and_then(Value::as_array);
        for row in rows.ok_or("an hour without results")? {
            let of = read::required(row, "api_key_id", "usage")?;
            if of != key {
                return Err(format!("it was asked about {key} and answered about {of}"));
            }
            found.push(UsedHour {
                at,
                model: read::required(row, "model", "usage")?,
                tokens: tokens(row)?,
                web_searches: row
                    .get("server_tool_use")
                    .map_or(Ok(0), |tools| count(tools, "web_search_requests"))?,
            });
        }
    }
    Ok(())
}

fn tokens(row: &Value) -> Result<Tokens, String> {
    let written = row.get("cache_creation").ok_or("usage without cache_creation")?;
    Ok(Tokens {
        input: count(row, "uncached_input_tokens")?,
        cache_write_5m: count(written, "ephemeral_5m_input_tokens")?,
        cache_write_1h: count(written, "ephemeral_1h_input_tokens")?,
        cache_read: count(row, "cache_read_input_tokens")?,
        output: count(row, "output_tokens")?,
    })
}

fn count(of: &Value, name: &str) -> Result<u64, String> {
    of.get(name).and_then(Value::as_u64).ok_or_else(|| format!("usage without {name}"))
}

/// A text as the value of a query, whatever is in it.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
