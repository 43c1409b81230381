//! `secrets-rotation-policy.yaml`: how often each secret is replaced, and when it last was. Read,
//! checked with the line of every mistake, and brought up to date in place: only the two dates
//! change, every other byte stays.
//!
//! `next_rotation` is derived. A day in the file that differs is a warning and is put right.

use super::name;
use super::schedule::{self, VENDOR_ADVICE_DAYS};
use super::yaml::{self, Entry, Scalar, Value, YamlMistake};
use crate::time::Date;

/// One secret of the file: a mapping that has `interval_days` or `last_rotated`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicySecret {
    /// The key it stands under: `anthropic_api_key`.
    pub name: String,
    /// The line of that key's first entry, from 1.
    pub line: usize,
    /// Days between rotations.
    pub interval_days: Option<u32>,
    /// The day of the last one.
    pub last_rotated: Option<Date>,
    /// The day that the file has for the next one.
    pub next_rotation: Option<Date>,
    /// `environment`, where it says.
    pub environment: Option<String>,
    /// `rationale`, where it says.
    pub rationale: Option<String>,
    last_place: Option<Scalar>,
    next_place: Option<Scalar>,
}

impl PolicySecret {
    /// The next rotation, as it follows from the file; `None` when the file does not say enough.
    pub fn next_derived(&self) -> Option<Date> {
        let last = self.last_rotated?;
        Some(schedule::next_rotation(last, self.interval_days?, None).on)
    }
}

/// Something in the file that is allowed and deserves a look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyWarning {
    /// The line, from 1.
    pub line: usize,
    /// What, in one sentence.
    pub what: String,
}

/// A file, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyFile {
    /// Its secrets, in order.
    pub secrets: Vec<PolicySecret>,
    /// What deserves a look.
    pub warnings: Vec<PolicyWarning>,
}

/// Whose key a secret of the file is: the environment it names, or that its own name ends with;
/// a name without one is production's, as in `anthropic_api_key`. `None` for a secret that is not
/// Anthropic's.
pub fn environment_of<'a>(secret: &PolicySecret, environments: &[&'a str]) -> Option<&'a str> {
    let named = |word: &str| {
        let word = word.to_ascii_lowercase();
        environments
            .iter()
            .copied()
            .find(|name| *name == word || name::words_for(name).contains(&word.as_str()))
    };
    if let Some(environment) = &secret.environment {
        return named(environment);
    }
    let rest = secret.name.strip_prefix("anthropic_api_key")?;
    match rest.strip_prefix('_') {
        Some(word) => named(word),
        None => rest.is_empty().then(|| named("production")).flatten(),
    }
}

/// Reads a file.
///
/// # Errors
/// Every mistake with its line.
pub fn read(text: &str) -> Result<PolicyFile, Vec<YamlMistake>> {
    let entries = yaml::entries(text).map_err(|mistake| vec![mistake])?;
    let (mut secrets, mut mistakes) = (Vec::new(), Vec::new());
    let mut seen: Vec<&[String]> = Vec::new();
    let tells = |entry: &&Entry| {
        matches!(entry.path.last().map(String::as_str), Some("interval_days" | "last_rotated"))
    };
    for entry in entries.iter().filter(tells) {
        let above = &entry.path[..entry.path.len() - 1];
        if seen.contains(&above) {
            continue;
        }
        seen.push(above);
        let of =
            |other: &&Entry| other.path.len() == entry.path.len() && other.path.starts_with(above);
        let own: Vec<&Entry> = entries.iter().filter(of).collect();
        match secret(above, &own) {
            Ok(secret) => secrets.push(secret),
            Err(wrong) => mistakes.extend(wrong),
        }
    }
    if mistakes.is_empty() && secrets.is_empty() {
        let what = "no secret with interval_days or last_rotated stands in this file".to_owned();
        mistakes.push(YamlMistake { line: 1, what });
    }
    if !mistakes.is_empty() {
        mistakes.sort_by_key(|mistake| mistake.line);
        return Err(mistakes);
    }
    let warnings = secrets.iter().flat_map(warnings).collect();
    Ok(PolicyFile { secrets, warnings })
}

fn secret(path: &[String], own: &[&Entry]) -> Result<PolicySecret, Vec<YamlMistake>> {
    let mut mistakes = Vec::new();
    let find =
        |name: &str| own.iter().find(|entry| entry.path.last().is_some_and(|key| key == name));
    let scalar = |name: &str| {
        find(name).and_then(|entry| match &entry.value {
            Value::Scalar(scalar) => Some((entry.line, scalar.clone())),
            _ => None,
        })
    };
    let mut date = |name: &str| {
        let (line, scalar) = scalar(name)?;
        let read = Date::parse(&scalar.text);
        if read.is_none() {
            let what = format!("{name}: {:?} is no day; write it as \"2026-11-23\"", scalar.text);
            mistakes.push(YamlMistake { line, what });
        }
        read.map(|date| (date, scalar))
    };
    let (last, next) = (date("last_rotated"), date("next_rotation"));
    let interval_days = scalar("interval_days").and_then(|(line, scalar)| {
        let days = scalar.text.parse::<u32>().ok().filter(|days| (1..=3_650).contains(days));
        if days.is_none() {
            let what = format!("interval_days: {:?} is no number from 1 to 3650", scalar.text);
            mistakes.push(YamlMistake { line, what });
        }
        days
    });
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Ok(PolicySecret {
        name: path.last().cloned().unwrap_or_default(),
        line: own.first().map_or(1, |entry| entry.line),
        interval_days,
        last_rotated: last.as_ref().map(|(date, _)| *date),
        next_rotation: next.as_ref().map(|(date, _)| *date),
        environment: scalar("environment").map(|(_, scalar)| scalar.text),
        rationale: scalar("rationale").map(|(_, scalar)| scalar.text),
        last_place: last.map(|(_, scalar)| scalar),
        next_place: next.map(|(_, scalar)| scalar),
    })
}

fn warnings(secret: &PolicySecret) -> Vec<PolicyWarning> {
    let mut found = Vec::new();
    let mut warn = |what: String| found.push(PolicyWarning { line: secret.line, what });
    let name = &secret.name;
    if let (Some(stored), Some(derived)) = (secret.next_rotation, secret.next_derived())
        && stored != derived
    {
        warn(format!("{name}: next_rotation says {stored}; it follows that it is {derived}"));
    }
    if let Some(days) = secret.interval_days.filter(|days| *days > VENDOR_ADVICE_DAYS)
        && name.contains("anthropic")
        && secret.rationale.is_none()
    {
        warn(format!(
            "{name}: {days} days; Anthropic recommends {VENDOR_ADVICE_DAYS}. A `rationale` says why \
             it is longer"
        ));
    }
    found
}

/// The same text with a secret's dates set: `last_rotated`, and `next_rotation` as it follows,
/// where the file has one. Only these change.
///
/// # Errors
/// When the file has mistakes, or no such secret with a `last_rotated`.
pub fn updated(text: &str, secret: &str, last: Date) -> Result<String, Vec<YamlMistake>> {
    let file = read(text)?;
    let missing = |what: String| vec![YamlMistake { line: 1, what }];
    let found = file.secrets.iter().find(|known| known.name == secret);
    let found = found.ok_or_else(|| missing(format!("there is no secret {secret:?}")))?;
    let last_place = found
        .last_place
        .as_ref()
        .ok_or_else(|| missing(format!("{secret}: there is no last_rotated to be set")))?;
    let next = found.interval_days.map(|days| schedule::next_rotation(last, days, None).on);
    let mut places = vec![(last_place, last)];
    places.extend(found.next_place.as_ref().zip(next));
    places.sort_by_key(|(place, _)| std::cmp::Reverse(place.span.start));
    let mut new = text.to_owned();
    for (place, date) in places {
        // Quotes stay as they are.
        let written = text[place.span.clone()].replacen(&place.text, &date.to_string(), 1);
        new.replace_range(place.span.clone(), &written);
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEED: &str = "\
# config/secrets-rotation-policy.yaml
anthropic_api_key:
  interval_days: 180
  last_rotated: \"2025-12-08\"  # ← Update this
  next_rotation: \"2026-06-06\"  # ← Calculated automatically
discord_bot_token:
    last_rotated: 2025-11-01
    interval_days: 90
audit:
  retention_days: 365
";

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    #[test]
    fn the_seeds_file_is_read() {
        let file = read(SEED).unwrap();
        let names: Vec<&str> = file.secrets.iter().map(|secret| secret.name.as_str()).collect();
        assert_eq!(names, ["anthropic_api_key", "discord_bot_token"]);
        let ours = &file.secrets[0];
        assert_eq!((ours.interval_days, ours.line), (Some(180), 3));
        assert_eq!(ours.next_derived(), Some(day("2026-06-06")));
        assert_eq!(file.warnings.len(), 1, "180 days without a rationale: {:?}", file.warnings);
        assert!(file.warnings[0].what.contains("recommends 90"));
    }

    #[test]
    fn only_the_dates_change() {
        let new = updated(SEED, "anthropic_api_key", day("2026-06-06")).unwrap();
        let expected = SEED.replace("\"2025-12-08\"", "\"2026-06-06\"").replacen(
            "next_rotation: \"2026-06-06\"",
            "next_rotation: \"2026-12-03\"",
            1,
        );
        assert_eq!(new, expected);
        assert_eq!(updated(&new, "anthropic_api_key", day("2026-06-06")).unwrap(), new, "twice");
        let new = updated(SEED, "discord_bot_token", day("2026-01-02")).unwrap();
        assert_eq!(new, SEED.replace("2025-11-01", "2026-01-02"), "without quotes, no next");
        assert!(updated(SEED, "nobody", day("2026-01-02")).is_err());
    }

    #[test]
    fn a_secret_belongs_to_an_environment() {
        let text = "anthropic_api_key:\n  interval_days: 1\nanthropic_api_key_staging:\n  interval_days: 1\n\
            x:\n  interval_days: 1\n  environment: dev\nbot_token:\n  interval_days: 1\n";
        let house = ["production", "staging", "development"];
        let file = read(text).unwrap();
        let of: Vec<_> = file.secrets.iter().map(|secret| environment_of(secret, &house)).collect();
        assert_eq!(of, [Some("production"), Some("staging"), Some("development"), None]);
    }

    #[test]
    fn mistakes_have_their_lines() {
        let wrong =
            "a:\n  interval_days: often\n  last_rotated: \"8.12.2025\"\n  next_rotation: x\n";
        let lines: Vec<usize> = read(wrong).unwrap_err().iter().map(|wrong| wrong.line).collect();
        assert_eq!(lines, [2, 3, 4]);
        assert_eq!(read("a: 1\n").unwrap_err()[0].line, 1);
        assert_eq!(read("a:\n\tb: 1\n").unwrap_err()[0].line, 2);
    }

    #[test]
    fn a_next_day_that_does_not_follow_is_a_warning() {
        let file = read(&SEED.replace("2026-06-06", "2026-06-05")).unwrap();
        assert!(file.warnings[0].what.contains("it follows that it is 2026-06-06"));
    }

    proptest! {
        /// Whatever stands around them, only the two dates of the one secret change, and the file
        /// says afterwards what was to be said.
        #[test]
        fn everything_else_stays(
            before in "(# [a-z :\"']{0,20}\n|\n){0,4}",
            comment in "( {1,3}# [a-zé:\"' ]{0,20})?",
            quote in prop::sample::select(vec!["", "\"", "'"]),
            indent in 1_usize..6,
            others in prop::collection::vec("[a-z]{3,8}_id: [a-z0-9]{1,8}", 0..4),
            days in 1_u32..3_650,
            ago in 0_i64..10_000,
            crlf in any::<bool>(),
        ) {
            let (old, new) = (day("1990-01-01"), day("2000-01-01").plus_days(ago));
            let pad = " ".repeat(indent);
            let mut text = format!("{before}other:\n{pad}last_rotated: 1980-01-01\nx_key:\n");
            for (at, other) in others.iter().enumerate() {
                text.push_str(&format!("{pad}k{at}_{other}{comment}\n"));
            }
            text.push_str(&format!("{pad}last_rotated: {quote}{old}{quote}{comment}\n"));
            text.push_str(&format!("{pad}interval_days: {days}\n"));
            text.push_str(&format!("{pad}next_rotation: {quote}{old}{quote}{comment}\nend: 1\n"));
            if crlf {
                text = text.replace('\n', "\r\n");
            }
            let next = schedule::next_rotation(new, days, None).on;
            let changed = updated(&text, "x_key", new).unwrap();
            let expected = text.replacen(
                &format!("last_rotated: {quote}{old}{quote}"),
                &format!("last_rotated: {quote}{new}{quote}"), 1,
            ).replacen(
                &format!("next_rotation: {quote}{old}{quote}"),
                &format!("next_rotation: {quote}{next}{quote}"), 1,
            );
            prop_assert_eq!(&changed, &expected);
            let read = read(&changed).unwrap();
            prop_assert_eq!(read.secrets[1].last_rotated, Some(new));
            prop_assert_eq!(read.secrets[1].next_rotation, read.secrets[1].next_derived());
        }
    }
}
