//! Names of keys: `{project}-{environment}-{purpose}-{date}`, so that whoever reads one in the
//! Claude Console knows whose it is, where it belongs and how old it is.
//!
//! A name that says otherwise is a mistake with a remedy; this file never refuses a key for it.

use std::fmt;

use crate::time::Date;

/// What the environments of the house are called inside a name.
const SHORT: [(&str, &[&str]); 4] = [
    ("production", &["prod", "production"]),
    ("staging", &["staging", "stage", "stg"]),
    ("development", &["dev", "development"]),
    ("test", &["test"]),
];

/// Longest part of a name that is suggested, in characters.
const PART_CHARS_MAX: usize = 30;

/// A name, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyName {
    /// Whose it is: `agentic-base`.
    pub project: String,
    /// The environment's own name: `production`, also where the name says `prod`.
    pub environment: String,
    /// The word that the name has for it: `prod`.
    pub environment_word: String,
    /// What it is for: `translation`.
    pub purpose: String,
    /// When it was made.
    pub date: Date,
}

/// What is wrong with a name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameMistake {
    /// A character that names do not have.
    #[error("it has {0:?} in it; a name has small letters, digits and single hyphens")]
    Character(char),
    /// It does not end with a day.
    #[error("it does not end with the day the key was made, as -2026-11-23")]
    NoDate,
    /// It ends with what looks like a day and is none.
    #[error("{0} is no day of the calendar")]
    BadDate(String),
    /// No word of it is an environment.
    #[error("no word in it names an environment ({0})")]
    NoEnvironment(String),
    /// Nothing before the environment.
    #[error("it does not say which project it is for, before the environment")]
    NoProject,
    /// Nothing between environment and date.
    #[error("it does not say what it is for, between environment and date")]
    NoPurpose,
}

/// Where a name and what is stored do not agree.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameConflict {
    /// Another environment.
    #[error("its name says {said} and it belongs to {stored}")]
    Environment {
        /// In the name.
        said: String,
        /// In the inventory.
        stored: String,
    },
    /// Another day.
    #[error("its name says {said} and it was made on {stored}")]
    Date {
        /// In the name.
        said: Date,
        /// In the inventory.
        stored: Date,
    },
    /// Another purpose.
    #[error("its name says it is for {said} and it is kept as for {stored}")]
    Purpose {
        /// In the name.
        said: String,
        /// In the inventory.
        stored: String,
    },
}

/// The words for an environment inside a name, the one to write first.
pub fn words_for(environment: &str) -> Vec<&str> {
    match SHORT.iter().find(|(name, _)| *name == environment) {
        Some((_, words)) => words.to_vec(),
        None => vec![environment],
    }
}

/// Takes a name apart. `environments` are the names that are configured; a word that the house's
/// own environments go by is understood too.
///
/// # Errors
/// What is wrong with it first.
pub fn parse(name: &str, environments: &[&str]) -> Result<KeyName, NameMistake> {
    let odd = |char: &char| !(char.is_ascii_lowercase() || char.is_ascii_digit() || *char == '-');
    if let Some(odd) = name.chars().find(odd) {
        return Err(NameMistake::Character(odd));
    }
    let (rest, date) = split_date(name)?;
    if rest.starts_with('-') || rest.ends_with('-') || rest.contains("--") {
        return Err(NameMistake::Character('-'));
    }
    let parts: Vec<&str> = rest.split('-').collect();
    let found = find_environment(&parts, environments);
    let Some((start, end, environment)) = found else {
        return Err(NameMistake::NoEnvironment(known_words(environments)));
    };
    if start == 0 {
        return Err(NameMistake::NoProject);
    }
    if end == parts.len() {
        return Err(NameMistake::NoPurpose);
    }
    Ok(KeyName {
        project: parts[..start].join("-"),
        environment: environment.to_owned(),
        environment_word: parts[start..end].join("-"),
        purpose: parts[end..].join("-"),
        date,
    })
}

fn split_date(name: &str) -> Result<(&str, Date), NameMistake> {
    let at = name.len().checked_sub(10).ok_or(NameMistake::NoDate)?;
    let text = name.get(at..).ok_or(NameMistake::NoDate)?;
    let looks_so = text.bytes().enumerate().all(|(place, byte)| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if !looks_so {
        return Err(NameMistake::NoDate);
    }
    let date = Date::parse(text).ok_or_else(|| NameMistake::BadDate(text.to_owned()))?;
    let rest = name[..at].strip_suffix('-').ok_or(NameMistake::NoDate)?;
    Ok((rest, date))
}

/// The first words that name an environment and have one word before and behind them; else the
/// first that name one at all. Gives where they begin and end, and the environment.
fn find_environment<'a>(
    parts: &[&str],
    environments: &[&'a str],
) -> Option<(usize, usize, &'a str)> {
    let known = all_words(environments);
    let at = |start: usize| {
        let fits = |(word, environment): &(&'a str, &'a str)| {
            let words: Vec<&str> = word.split('-').collect();
            let end = start + words.len();
            (parts.get(start..end)? == words).then_some((start, end, *environment))
        };
        // The longest word wins: `eu-prod` before `eu`.
        known.iter().filter_map(fits).max_by_key(|(_, end, _)| *end)
    };
    let found: Vec<_> = (0..parts.len()).filter_map(at).collect();
    let inside = found.iter().find(|(start, end, _)| *start > 0 && *end < parts.len());
    inside.or(found.first()).copied()
}

/// Every word for every environment, with the environment's own name.
fn all_words<'a>(environments: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let mut words = Vec::new();
    for environment in environments {
        words.push((*environment, *environment));
        let short = SHORT.iter().find(|(name, _)| name == environment);
        words.extend(short.into_iter().flat_map(|(_, short)| *short).map(|w| (*w, *environment)));
    }
    for (environment, short) in SHORT {
        let is_new = |word: &&&str| !words.iter().any(|(known, _)| *known == **word);
        let new: Vec<_> = short.iter().filter(is_new).map(|word| (*word, environment)).collect();
        words.extend(new);
    }
    words
}

fn known_words(environments: &[&str]) -> String {
    let words: Vec<&str> = environments.iter().map(|name| words_for(name)[0]).collect();
    words.join(", ")
}

impl KeyName {
    /// Where it does not agree with what is stored. What is not stored agrees with anything.
    pub fn conflicts(
        &self,
        environment: Option<&str>,
        purpose: Option<&str>,
        made_on: Option<Date>,
    ) -> Vec<NameConflict> {
        let environment = environment.filter(|stored| *stored != self.environment);
        let purpose = purpose.filter(|stored| plain(stored) != self.purpose);
        let made_on = made_on.filter(|stored| *stored != self.date);
        let environment = environment.map(|stored| NameConflict::Environment {
            said: self.environment.clone(),
            stored: stored.to_owned(),
        });
        let purpose = purpose.map(|stored| NameConflict::Purpose {
            said: self.purpose.clone(),
            stored: stored.to_owned(),
        });
        let date = made_on.map(|stored| NameConflict::Date { said: self.date, stored });
        environment.into_iter().chain(purpose).chain(date).collect()
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyName { project, environment_word, purpose, date, .. } = self;
        write!(f, "{project}-{environment_word}-{purpose}-{date}")
    }
}

/// A name by the convention that `taken` does not have yet. What is missing is called `project`
/// and `general`.
pub fn suggest(
    project: Option<&str>,
    environment: &str,
    purpose: Option<&str>,
    date: Date,
    taken: impl Fn(&str) -> bool,
) -> String {
    let part = |given: Option<&str>, otherwise: &str| {
        given.map(plain).filter(|part| !part.is_empty()).unwrap_or_else(|| otherwise.to_owned())
    };
    let (project, purpose) = (part(project, "project"), part(purpose, "general"));
    let word = words_for(environment)[0];
    let name = |purpose: &str| format!("{project}-{word}-{purpose}-{date}");
    let first = name(&purpose);
    if !taken(&first) {
        return first;
    }
    // A second key of one day, one environment and one purpose.
    let mut number = 2_u64;
    loop {
        let numbered = name(&format!("{purpose}-{number}"));
        if !taken(&numbered) {
            return numbered;
        }
        number += 1;
    }
}

/// A text as a part of a name: small letters and digits, hyphens between words.
fn plain(text: &str) -> String {
    let mut words: Vec<String> = vec![String::new()];
    for char in text.chars() {
        match char.to_ascii_lowercase() {
            char if char.is_ascii_lowercase() || char.is_ascii_digit() => {
                words.last_mut().expect("begins with one").push(char);
            }
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    let text: String = words.join("-").chars().take(PART_CHARS_MAX).collect();
    text.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests;
