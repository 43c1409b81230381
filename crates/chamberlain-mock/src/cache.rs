//! The prompt cache: which prefixes were seen, and for how long they count.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::prompt::{Mark, PrefixId, Prompt, Ttl};
use crate::reply::Counts;

/// A breakpoint looks back over this many pieces for a prefix that is cached.
const LOOK_BACK: usize = 20;
/// When the map has grown to this, the dead entries are swept out.
const SWEEP_AT: usize = 50_000;

/// The cache of one organization.
#[derive(Default, Debug)]
pub(crate) struct PromptCache {
    live: Mutex<HashMap<PrefixId, (Instant, Ttl)>>,
}

impl Ttl {
    fn span(self) -> Duration {
        match self {
            Ttl::FiveMinutes => Duration::from_secs(5 * 60),
            Ttl::OneHour => Duration::from_secs(60 * 60),
        }
    }
}

impl PromptCache {
    /// Splits a prompt into read, written and uncached tokens, and remembers what it wrote.
    /// Prefixes below `least` tokens are not cached.
    pub(crate) fn charge(&self, prompt: &Prompt, least: u64, now: Instant) -> Counts {
        let breakpoints: Vec<(usize, Ttl)> = prompt
            .marks
            .iter()
            .enumerate()
            .filter(|(_, mark)| mark.tokens >= least)
            .filter_map(|(at, mark)| Some((at, mark.cache?)))
            .collect();
        if breakpoints.is_empty() {
            return Counts { input: prompt.tokens, ..Counts::default() };
        }
        let mut live = self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if live.len() >= SWEEP_AT {
            live.retain(|_, (until, _)| *until > now);
        }
        let mut counts = Counts::default();
        if let Some(mark) = longest_hit(&prompt.marks, &breakpoints, &mut live, now) {
            counts.cache_read = mark.tokens;
        }
        let mut covered = counts.cache_read;
        for (at, ttl) in breakpoints {
            let mark = &prompt.marks[at];
            if mark.tokens <= covered {
                continue;
            }
            match ttl {
                Ttl::FiveMinutes => counts.cache_write_5m += mark.tokens - covered,
                Ttl::OneHour => counts.cache_write_1h += mark.tokens - covered,
            }
            covered = mark.tokens;
            live.insert(mark.prefix, (now + ttl.span(), ttl));
        }
        counts.input = prompt.tokens - covered;
        counts
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }
}

/// The longest cached prefix within reach of a breakpoint; reading it makes it live longer.
fn longest_hit<'a>(
    marks: &'a [Mark],
    breakpoints: &[(usize, Ttl)],
    live: &mut HashMap<PrefixId, (Instant, Ttl)>,
    now: Instant,
) -> Option<&'a Mark> {
    for (at, _) in breakpoints.iter().rev() {
        for mark in marks[at.saturating_sub(LOOK_BACK)..=*at].iter().rev() {
            if let Some((until, ttl)) = live.get_mut(&mark.prefix)
                && *until > now
            {
                *until = now + ttl.span();
                return Some(mark);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::prompt::measure;

    fn turns(n: usize, ttl: &str) -> Value {
        let mut messages: Vec<Value> = (0..n)
            .map(|i| json!({"role": "user", "content": [{"type": "text", "text": format!("turn {i}")}]}))
            .collect();
        messages[n - 1]["content"][0]["cache_control"] = json!({"type": "ephemeral", "ttl": ttl});
        json!({ "messages": messages })
    }

    #[test]
    fn written_at_first_sight_and_read_afterwards() {
        let cache = PromptCache::default();
        let now = Instant::now();
        let charge = |body: &Value, at: Instant| cache.charge(&measure("m", body), 0, at);
        let first = charge(&turns(2, "5m"), now);
        assert_eq!((first.cache_read, first.cache_write_5m, first.input), (0, 23, 0));
        let again = charge(&turns(2, "5m"), now);
        assert_eq!((again.cache_read, again.cache_write_5m, again.input), (23, 0, 0));
        let grown = charge(&turns(3, "1h"), now);
        assert_eq!((grown.cache_read, grown.cache_write_1h, grown.cache_write_5m), (23, 10, 0));
        assert_eq!(grown.prompt(), measure("m", &turns(3, "1h")).tokens);
    }

    #[test]
    fn a_prefix_lives_as_long_as_its_ttl_since_the_last_read() {
        let cache = PromptCache::default();
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let read = |ttl: &str, at: Instant| {
            cache.charge(&measure("m", &turns(1, ttl)), 0, at).cache_read > 0
        };
        assert!(!read("5m", now));
        assert!(read("5m", now + 4 * minute));
        assert!(read("5m", now + 8 * minute), "the read at minute 4 did not refresh it");
        assert!(!read("5m", now + 14 * minute));
        cache.clear();
        assert!(!read("1h", now));
        assert!(read("1h", now + 59 * minute));
    }

    #[test]
    fn short_prefixes_and_far_prefixes_do_not_count() {
        let cache = PromptCache::default();
        let now = Instant::now();
        let short = cache.charge(&measure("m", &turns(2, "5m")), 24, now);
        assert_eq!(short.input, short.prompt(), "below the least cacheable length");
        cache.charge(&measure("m", &turns(1, "5m")), 0, now);
        assert_eq!(cache.charge(&measure("m", &turns(22, "5m")), 0, now).cache_read, 0);
        cache.clear();
        cache.charge(&measure("m", &turns(1, "5m")), 0, now);
        assert!(cache.charge(&measure("m", &turns(21, "5m")), 0, now).cache_read > 0);
    }
}
