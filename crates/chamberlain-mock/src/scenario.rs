//! What an answer was asked to be: the words of a scenario.
//!
//! A typo must not pass as "no scenario", so an unknown word or a bad value is refused.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::error::ApiError;
use crate::failure;
use crate::reply::Counts;

/// Where in an answer something breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Point {
    /// After the headers, before any byte of the body.
    Headers,
    /// After `message_start`.
    Start,
    /// After that many `content_block_delta` events, or at the end of the content.
    Deltas(u64),
    /// After the last `message_delta`, before `message_stop`.
    Stop,
}

/// How an answer breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Break {
    /// An `error` event.
    ErrorEvent,
    /// The connection is dropped.
    Cut,
    /// The stream ends properly, but too early.
    Truncate,
    /// Silence, for as long as the client waits.
    Stall,
}

/// What happens instead of an answer, before its headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Silence {
    /// The connection is reset.
    Reset,
    /// Nothing.
    Hang,
}

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// Before any output.
    Before,
    /// After that many output tokens.
    Mid(u64),
}

/// What `usage.iterations` tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Iterations {
    Compaction,
    Advisor,
    FallbackServed,
    FallbackDeclined,
}

/// What the rate-limit headers say is left.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Left {
    pub(crate) requests: Option<u64>,
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) reset_in_s: u64,
}

/// The numbers of one category list, each unset until named.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Numbers {
    pub(crate) input: Option<u64>,
    pub(crate) cache_read: Option<u64>,
    pub(crate) cache_write_5m: Option<u64>,
    pub(crate) cache_write_1h: Option<u64>,
    pub(crate) output: Option<u64>,
}

impl Numbers {
    /// `base` with every number that was named.
    pub(crate) fn over(&self, base: Counts) -> Counts {
        Counts {
            input: self.input.unwrap_or(base.input),
            cache_read: self.cache_read.unwrap_or(base.cache_read),
            cache_write_5m: self.cache_write_5m.unwrap_or(base.cache_write_5m),
            cache_write_1h: self.cache_write_1h.unwrap_or(base.cache_write_1h),
            output: self.output.unwrap_or(base.output),
        }
    }

    fn set(&mut self, key: &str, value: u64) -> bool {
        let place = match key {
            "input" => &mut self.input,
            "cache_read" => &mut self.cache_read,
            "cache_write_5m" => &mut self.cache_write_5m,
            "cache_write_1h" => &mut self.cache_write_1h,
            "output" => &mut self.output,
            _ => return false,
        };
        *place = Some(value);
        true
    }
}

/// The words that take parameters of their own.
const TOPICS: [&str; 14] = [
    "slow_headers",
    "slow_body",
    "refusal",
    "iterations",
    "error_mid_stream",
    "cut",
    "truncate",
    "stall",
    "reset",
    "hang",
    "usage",
    "server_tool",
    "code",
    "ratelimit",
];

/// Everything that was asked for.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Scenario {
    /// The directives as written, for the journal and for counting.
    pub(crate) text: String,
    id: Option<String>,
    times: Option<u64>,
    /// Which answer since its message it is about; the next one when nothing is said.
    pub(crate) turn: Option<u64>,

    pub(crate) failure: Option<ApiError>,
    pub(crate) silence: Option<Silence>,
    pub(crate) silence_billed: bool,
    pub(crate) broken: Option<(Break, Point)>,

    pub(crate) slow_headers: Duration,
    pub(crate) slow_body: Duration,
    pub(crate) split: Option<usize>,
    pub(crate) chunk_tokens: Option<usize>,
    pub(crate) pings: bool,
    pub(crate) gzip: bool,
    pub(crate) lean_delta: bool,
    pub(crate) fixed_ids: bool,
    /// An uploaded file may be downloaded, as only a tool's may otherwise.
    pub(crate) downloadable: bool,
    pub(crate) left: Option<Left>,

    pub(crate) answer: Option<String>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) thinking: Option<u64>,
    /// The client tools to call; an empty list stands for the first one.
    pub(crate) tools: Option<Vec<String>>,
    pub(crate) tool_input: Option<serde_json::Value>,
    pub(crate) model: Option<String>,
    pub(crate) geo: Option<String>,
    pub(crate) speed: Option<String>,
    pub(crate) tier: Option<String>,
    pub(crate) stop_reason: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) iterations: Option<Iterations>,
    pub(crate) fallback_after: Option<u64>,
    /// The advisor's or the fallback's model.
    pub(crate) other_model: Option<String>,
    /// Tokens of work outside the totals, or of a server tool.
    pub(crate) aside: Numbers,
    pub(crate) usage: Numbers,
    pub(crate) server_tool: bool,
    /// Code ran in a container.
    pub(crate) code: bool,
    /// How many files it made.
    pub(crate) files_made: u64,
    pub(crate) searches: Option<u64>,
}

impl Scenario {
    /// Adds the words of one directive.
    ///
    /// # Errors
    /// What is wrong with which word.
    pub(crate) fn read(&mut self, text: &str) -> Result<(), String> {
        let text = text.trim();
        if !self.text.is_empty() {
            self.text.push_str("; ");
        }
        self.text.push_str(text);
        let mut topic = String::new();
        for (key, value) in words(text)? {
            self.word(&mut topic, &key, value).map_err(|reason| {
                format!("mock scenario: {reason} (in {text:?}; see docs/mock.md for the words)")
            })?;
        }
        Ok(())
    }

    /// Which answer since its message a directive is about, where it says so.
    ///
    /// # Errors
    /// What is wrong with which word.
    pub(crate) fn turn_of(directive: &str) -> Result<Option<u64>, String> {
        let mut scratch = Scenario::default();
        scratch.read(directive)?;
        Ok(scratch.turn)
    }

    /// True when something other than a healthy answer was asked for.
    fn is_trouble(&self) -> bool {
        self.failure.is_some() || self.silence.is_some() || self.broken.is_some()
    }

    fn word(&mut self, topic: &mut String, key: &str, value: Option<String>) -> Result<(), String> {
        if self.parameter(topic, key, value.as_deref())? {
            return Ok(());
        }
        if TOPICS.contains(&key) {
            *topic = key.to_owned();
        }
        if let Some(error) = failure::named(key) {
            self.failure = Some(error);
            return Ok(());
        }
        if self.transport(key, value.as_deref())? || self.shape(key, value)? {
            return Ok(());
        }
        Err(format!("unknown word {key:?}"))
    }

    /// A word that belongs to the one before it.
    fn parameter(&mut self, topic: &str, key: &str, value: Option<&str>) -> Result<bool, String> {
        let number = || number(key, value);
        if let (
            "retry_after" | "retry_after_ms" | "should_retry" | "type" | "code" | "message"
            | "html",
            Some(error),
        ) = (key, self.failure.as_mut())
        {
            match key {
                "retry_after" => error.retry_after = Some(number()?),
                "retry_after_ms" => error.retry_after_ms = Some(number()?),
                "should_retry" => error.should_retry = Some(truth(key, value)?),
                "type" => error.kind = needed(key, value)?.to_owned(),
                "code" => error.code = Some(needed(key, value)?.to_owned()),
                "message" => error.message = needed(key, value)?.to_owned(),
                _ => error.html = truth(key, value)?,
            }
            return Ok(true);
        }
        match (topic, key) {
            ("slow_headers", "ms") => self.slow_headers = Duration::from_millis(number()?),
            ("slow_body", "ms") => self.slow_body = Duration::from_millis(number()?),
            ("refusal", "after") => self.refusal = Some(Refusal::Mid(number()?)),
            ("iterations", "after") => self.fallback_after = Some(number()?),
            ("iterations", "advisor" | "to") => {
                self.other_model = Some(needed(key, value)?.to_owned());
            }
            ("error_mid_stream" | "cut" | "truncate" | "stall", "after") => {
                let after = number()?;
                if let Some((_, point)) = self.broken.as_mut() {
                    *point = Point::Deltas(after);
                }
            }
            ("reset" | "hang", "billed") => self.silence_billed = truth(key, value)?,
            ("code", "files") => {
                self.files_made =
                    Some(number()?).filter(|files| *files <= 100).ok_or("files: at most 100")?;
            }
            ("usage" | "server_tool", "searches") => self.searches = Some(number()?),
            ("usage", _) => return Ok(is_count(key) && self.usage.set(key, number()?)),
            ("iterations" | "server_tool", _) => {
                return Ok(is_count(key) && self.aside.set(key, number()?));
            }
            ("ratelimit", "requests" | "input" | "output" | "reset") => {
                let count = number()?;
                let left = self.left.get_or_insert_default();
                match key {
                    "requests" => left.requests = Some(count),
                    "input" => left.input_tokens = Some(count),
                    "output" => left.output_tokens = Some(count),
                    _ => left.reset_in_s = count,
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A word about how bytes travel.
    fn transport(&mut self, key: &str, value: Option<&str>) -> Result<bool, String> {
        match key {
            "status" => {
                let status = u16::try_from(number(key, value)?).unwrap_or(0);
                let error = failure::of_status(status);
                self.failure = Some(error.ok_or("status: must be from 400 to 599")?);
            }
            "reset" => self.silence = Some(Silence::Reset),
            "hang" => self.silence = Some(Silence::Hang),
            "error_mid_stream" => self.broken = Some((Break::ErrorEvent, point(value)?)),
            "cut" => self.broken = Some((Break::Cut, point(value)?)),
            "truncate" => self.broken = Some((Break::Truncate, point(value)?)),
            "stall" => self.broken = Some((Break::Stall, point(value)?)),
            "slow_headers" | "slow_body" => {
                if value.is_some() {
                    let pause = Duration::from_millis(number(key, value)?);
                    let slow_headers = key == "slow_headers";
                    *(if slow_headers { &mut self.slow_headers } else { &mut self.slow_body }) =
                        pause;
                }
            }
            "split" => self.split = Some(size(key, value.or(Some("1")))?),
            "chunk" => self.chunk_tokens = Some(size(key, value)?),
            "pings" => self.pings = truth(key, value)?,
            "gzip" => self.gzip = truth(key, value)?,
            "lean_delta" => self.lean_delta = truth(key, value)?,
            "fixed_ids" => self.fixed_ids = truth(key, value)?,
            "ratelimit" => self.left = Some(Left::default()),
            "times" => self.times = Some(number(key, value)?),
            "turn" => self.turn = Some(size(key, value)? as u64),
            "id" => self.id = Some(needed(key, value)?.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A word about what the answer says.
    fn shape(&mut self, key: &str, value: Option<String>) -> Result<bool, String> {
        let owned = |value: Option<String>| value.ok_or_else(|| format!("{key} needs a value"));
        match key {
            "text" => self.answer = Some(owned(value)?),
            "output_tokens" => self.output_tokens = Some(number(key, value.as_deref())?),
            "thinking" => self.thinking = Some(number(key, value.as_deref())?),
            "tool" => {
                let names = value.unwrap_or_default();
                let names = names.split(',').filter(|name| !name.is_empty());
                self.tools = Some(names.map(str::to_owned).collect());
            }
            "tool_input" => {
                let input = serde_json::from_str(&owned(value)?)
                    .map_err(|error| format!("tool_input is not JSON: {error}"))?;
                self.tool_input = Some(input);
            }
            "model" => self.model = Some(owned(value)?),
            "geo" => self.geo = Some(owned(value)?),
            "speed" => self.speed = Some(owned(value)?),
            "tier" => self.tier = Some(owned(value)?),
            "stop_reason" => self.stop_reason = Some(owned(value)?),
            "category" => self.category = Some(owned(value)?),
            "refusal" => {
                self.refusal = Some(match value.as_deref() {
                    None | Some("before") => Refusal::Before,
                    Some("mid") => Refusal::Mid(8),
                    Some(other) => return Err(format!("refusal={other}: before or mid")),
                });
            }
            "iterations" => {
                self.iterations = Some(match value.as_deref() {
                    Some("compaction") => Iterations::Compaction,
                    Some("advisor") => Iterations::Advisor,
                    Some("fallback_served") => Iterations::FallbackServed,
                    Some("fallback_declined") => Iterations::FallbackDeclined,
                    _ => {
                        return Err("iterations: compaction, advisor, fallback_served or \
                            fallback_declined"
                            .to_owned());
                    }
                });
            }
            "server_tool" => self.server_tool = truth(key, value.as_deref())?,
            "code" => self.code = truth(key, value.as_deref())?,
            "downloadable" => self.downloadable = truth(key, value.as_deref())?,
            "usage" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// How often each counted scenario has happened.
#[derive(Default, Debug)]
pub(crate) struct ScenarioCounts {
    seen: Mutex<HashMap<String, u64>>,
}

impl ScenarioCounts {
    /// Takes the trouble out of a scenario that has happened often enough, and counts it otherwise.
    pub(crate) fn apply(&self, scenario: &mut Scenario) {
        let Some(times) = scenario.times else { return };
        if !scenario.is_trouble() {
            return;
        }
        let key = scenario.id.as_ref().unwrap_or(&scenario.text);
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let seen = seen.entry(key.clone()).or_default();
        if *seen < times {
            *seen += 1;
        } else {
            scenario.failure = None;
            scenario.silence = None;
            scenario.broken = None;
        }
    }

    /// Forgets all counts.
    pub(crate) fn clear(&self) {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }
}

/// The directives in a prompt text: what stands between `[[mock:` and the next `]]` that is not in
/// quotes.
pub(crate) fn directives(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once("[[mock:")?;
        let (inner, after) = after.split_at_checked(end_of(after).or_else(|| after.find("]]"))?)?;
        rest = &after[2..];
        Some(inner)
    })
}

/// Where the `]]` begins that ends a directive.
fn end_of(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            ']' if !quoted && text[at..].starts_with("]]") => return Some(at),
            _ => {}
        }
    }
    None
}

fn is_count(key: &str) -> bool {
    matches!(key, "input" | "cache_read" | "cache_write_5m" | "cache_write_1h" | "output")
}

fn needed<'a>(key: &str, value: Option<&'a str>) -> Result<&'a str, String> {
    value.ok_or_else(|| format!("{key} needs a value"))
}

/// The largest number a scenario may name: far beyond any context window, far from overflow.
const NUMBER_MAX: u64 = 1_000_000_000_000;

fn number(key: &str, value: Option<&str>) -> Result<u64, String> {
    let value = needed(key, value)?;
    value
        .replace('_', "")
        .parse()
        .ok()
        .filter(|number| *number <= NUMBER_MAX)
        .ok_or_else(|| format!("{key}={value}: must be a whole number"))
}

fn size(key: &str, value: Option<&str>) -> Result<usize, String> {
    let size = usize::try_from(number(key, value)?).unwrap_or(usize::MAX);
    if size == 0 { Err(format!("{key}: must be at least 1")) } else { Ok(size) }
}

fn truth(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("{key}={other}: must be true or false")),
    }
}

fn point(value: Option<&str>) -> Result<Point, String> {
    match value {
        None => Ok(Point::Deltas(1)),
        Some("headers") => Ok(Point::Headers),
        Some("start") => Ok(Point::Start),
        Some("stop") => Ok(Point::Stop),
        Some(other) => Err(format!("{other:?}: headers, start, stop or after=N")),
    }
}

type Word = (String, Option<String>);

/// `key`, `key=value` and `key="quoted value"`, separated by blanks or semicolons.
fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut letters = text.chars().peekable();
    loop {
        while letters.next_if(|letter| letter.is_whitespace() || *letter == ';').is_some() {}
        if letters.peek().is_none() {
            return Ok(words);
        }
        let mut key = String::new();
        while let Some(letter) = letters.next_if(|letter| !ends(*letter) && *letter != '=') {
            key.push(letter);
        }
        let value = match letters.next_if_eq(&'=') {
            Some(_) => Some(quoted_or_bare(&mut letters)?),
            None => None,
        };
        words.push((key, value));
    }
}

fn ends(letter: char) -> bool {
    letter.is_whitespace() || letter == ';'
}

fn quoted_or_bare(letters: &mut std::iter::Peekable<std::str::Chars>) -> Result<String, String> {
    let mut value = String::new();
    if letters.next_if_eq(&'"').is_none() {
        while let Some(letter) = letters.next_if(|letter| !ends(*letter)) {
            value.push(letter);
        }
        return Ok(value);
    }
    loop {
        match letters.next() {
            Some('"') => return Ok(value),
            Some('\\') => value.push(match letters.next() {
                Some('n') => '\n',
                Some(letter) => letter,
                None => return Err("mock scenario: a value ends with a backslash".to_owned()),
            }),
            Some(letter) => value.push(letter),
            None => return Err("mock scenario: a quote is not closed".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Scenario {
        let mut scenario = Scenario::default();
        scenario.read(text).unwrap();
        scenario
    }

    #[test]
    fn parameters_belong_to_the_word_before_them() {
        let scenario = read("slow_headers ms=5; slow_body ms=7 cut times=1 after=3");
        assert_eq!(scenario.slow_headers, Duration::from_millis(5));
        assert_eq!(scenario.slow_body, Duration::from_millis(7));
        assert_eq!(scenario.broken, Some((Break::Cut, Point::Deltas(3))));
        let scenario = read("usage input=1_000 output=2 iterations=compaction input=30");
        assert_eq!((scenario.usage.input, scenario.usage.output), (Some(1000), Some(2)));
        assert_eq!(scenario.aside.input, Some(30));
        let scenario = read(r#"text="a \"b\"\n; c" tool_input="{\"x\":1}""#);
        assert_eq!(scenario.answer.as_deref(), Some("a \"b\"\n; c"));
        assert_eq!(scenario.tool_input, Some(serde_json::json!({"x": 1})));
    }

    #[test]
    fn a_typo_is_refused() {
        for wrong in [
            "overlaoded",
            "status=200",
            "status=abc",
            "cut=middle",
            "after=3",
            "text=\"open",
            "retry_after=1",
            "usage tokens=1",
            "split=0",
            "gzip=maybe",
        ] {
            assert!(Scenario::default().read(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn trouble_ends_after_its_times() {
        let counts = ScenarioCounts::default();
        let fails = |text: &str| {
            let mut scenario = read(text);
            counts.apply(&mut scenario);
            scenario.is_trouble()
        };
        let words = "status=429 retry_after=1 times=2";
        assert_eq!([fails(words), fails(words), fails(words)], [true, true, false]);
        assert!(fails("status=429 retry_after=1 times=2 id=other"), "another id counts alone");
        assert!(fails("overloaded") && fails("overloaded"), "no times: always");
        counts.clear();
        assert!(fails(words));
    }

    #[test]
    fn every_example_in_the_documentation_works() {
        let page = include_str!("../../../docs/mock.md");
        let words = directives(page).chain(
            page.lines()
                .filter_map(|line| line.split_once("x-mock-scenario: "))
                .map(|(_, words)| words.split(['\'', '`']).next().unwrap_or_default()),
        );
        let mut read = 0;
        for words in words {
            Scenario::default().read(words).unwrap();
            read += 1;
        }
        assert!(read > 40, "only {read} examples were found");
    }

    #[test]
    fn directives_are_found_in_text() {
        let found: Vec<&str> =
            directives("hello [[mock: a]] and [[mock:b c=1]] [[mock: open").collect();
        assert_eq!(found, [" a", "b c=1"]);
        let nested = r#"[[mock: text="[[mock: x]] \"]]" turn=2]] [[mock:y]]"#;
        let found: Vec<&str> = directives(nested).collect();
        assert_eq!(found, [r#" text="[[mock: x]] \"]]" turn=2"#, "y"]);
    }
}
