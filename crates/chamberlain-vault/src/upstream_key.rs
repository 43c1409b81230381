//! A real Anthropic key as a person hands it in: is it one, and the right kind?
//!
//! Anthropic promises no format, so only what is surely wrong is refused, each with what it is and
//! what to do. No error holds any part of what was given.

use std::fmt;

use chamberlain_core::admission::key::PREFIX as VIRTUAL_KEY;
use chamberlain_core::secret::Secret;

/// What all of Anthropic's credentials begin with.
const PREFIX: &str = "sk-ant-";

/// A key shorter than this surely lost its end, whatever kind it is of: of kinds that are not known
/// no length is known either, and people's own fakes of the API take short ones.
pub const LENGTH_MIN: usize = 12;

/// Nothing near this length is a key.
const LENGTH_MAX: usize = 1024;

/// The kind of key that the Console makes since 2024. Of other kinds nothing is known.
const USUAL: &str = "sk-ant-api03-";

/// How many characters a key of that kind has.
pub const USUAL_LENGTH: usize = 108;

/// Why a text is not taken as an upstream key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ShapeError {
    /// Nothing there.
    #[error("no key was given; paste the whole key, which begins with sk-ant-")]
    Empty,
    /// `NAME=value` instead of the value.
    #[error(
        "this is a whole assignment; paste only what stands after the equals sign, without quotes"
    )]
    Assignment,
    /// Quotes around it.
    #[error("the key has quotes around it; paste it without them")]
    Quoted,
    /// A whole header instead of the key.
    #[error("this is a whole header; paste only the key, which begins with sk-ant-")]
    Header,
    /// One of our own virtual keys.
    #[error(
        "this is a virtual key of Chamberlain's; an upstream key comes from the Claude Console and begins with sk-ant-"
    )]
    Virtual,
    /// An admin key.
    #[error(
        "this is an Admin API key (sk-ant-admin…): it cannot call models and could do much more harm than an API key; make an API key in the Claude Console and paste that"
    )]
    Admin,
    /// An OAuth or federation access token.
    #[error(
        "this is an access token (sk-ant-oat…), which expires; Chamberlain does not take these yet: make an API key in the Claude Console and paste that"
    )]
    AccessToken,
    /// A session or refresh token.
    #[error(
        "this is a session or refresh token of a person's login, not an API key; make an API key in the Claude Console and paste that"
    )]
    SessionToken,
    /// Some other credential.
    #[error(
        "this does not begin with sk-ant-, as every Anthropic key does; check that you copied the right one, from its first character on"
    )]
    NotAnthropic,
    /// White space or a line break inside.
    #[error("there is white space inside the key; paste it as one line without breaks")]
    Broken,
    /// A character that no key has.
    #[error("there is a character in it that no key has (at place {place}); copy the key again")]
    Character {
        /// Which character, counted from 1.
        place: usize,
    },
    /// Too short.
    #[error(
        "the key has {length} characters, fewer than {LENGTH_MIN}: its end is missing; copy it again, whole"
    )]
    Short {
        /// How many it has.
        length: usize,
    },
    /// A key of the known kind of which a part is missing.
    #[error(
        "the key has {length} characters and one of its kind has {USUAL_LENGTH}: a part of it is \
         missing; copy it again, whole, with the Console's copy button"
    )]
    Cut {
        /// How many it has.
        length: usize,
    },
    /// A key of the known kind with something else behind it.
    #[error(
        "the key has {length} characters and one of its kind has {USUAL_LENGTH}: something else \
         was pasted with it; copy it again, alone"
    )]
    Overlong {
        /// How many it has.
        length: usize,
    },
    /// Too long.
    #[error("the text has {length} characters, more than any key; paste one key only")]
    Long {
        /// How many it has.
        length: usize,
    },
}

/// A text that may be an upstream key.
pub struct UpstreamKey(Secret);

impl UpstreamKey {
    /// Takes what was typed, pasted or read, without the white space around it.
    ///
    /// # Errors
    /// With what it is instead, and what to do.
    pub fn check(typed: &Secret) -> Result<UpstreamKey, ShapeError> {
        let key = typed.expose().trim();
        if let Some(wrong) = wrong_kind(key) {
            return Err(wrong);
        }
        if key.contains(char::is_whitespace) {
            return Err(ShapeError::Broken);
        }
        let visible = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
        if let Some(place) = key.chars().position(|char| !visible(char)) {
            return Err(ShapeError::Character { place: place + 1 });
        }
        match key.len() {
            length @ ..LENGTH_MIN => Err(ShapeError::Short { length }),
            length if length > LENGTH_MAX => Err(ShapeError::Long { length }),
            length if key.starts_with(USUAL) && length < USUAL_LENGTH => {
                Err(ShapeError::Cut { length })
            }
            length if key.starts_with(USUAL) && length > USUAL_LENGTH => {
                Err(ShapeError::Overlong { length })
            }
            _ => Ok(UpstreamKey(Secret::new(key.to_owned()))),
        }
    }

    /// The key, for sealing and opening it only.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What people know the key by, as Anthropic's console shows it: `sk-ant-api03-R2D...igAA`.
    pub fn hint(&self) -> String {
        hint(self.0.expose())
    }
}

impl fmt::Debug for UpstreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[upstream key]")
    }
}

fn wrong_kind(key: &str) -> Option<ShapeError> {
    let begins = |prefix: &str| {
        key.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let any = |prefixes: &[&str]| prefixes.iter().any(|prefix| begins(prefix));
    if key.is_empty() {
        Some(ShapeError::Empty)
    } else if any(&["\"", "'", "`"]) {
        Some(ShapeError::Quoted)
    } else if any(&["x-api-key", "authorization", "bearer"]) {
        Some(ShapeError::Header)
    } else if begins(VIRTUAL_KEY) {
        Some(ShapeError::Virtual)
    } else if begins("sk-ant-admin") {
        Some(ShapeError::Admin)
    } else if begins("sk-ant-oat") {
        Some(ShapeError::AccessToken)
    } else if any(&["sk-ant-ort", "sk-ant-sid", "sk-ant-cc-", "sk-ant-si-"]) {
        Some(ShapeError::SessionToken)
    } else if key.starts_with(PREFIX) {
        None
    } else if key.split_once('=').is_some_and(|(name, _)| is_variable(name)) {
        Some(ShapeError::Assignment)
    } else {
        Some(ShapeError::NotAnthropic)
    }
}

fn is_variable(name: &str) -> bool {
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What people know a key by, as Anthropic's console shows it: `sk-ant-api03-R2D...igAA`, the kind
/// and three and four characters of the secret, never more; fewer where there is not much secret.
pub(crate) fn hint(key: &str) -> String {
    let rest = key.strip_prefix(PREFIX).unwrap_or(key);
    let kind = rest.split_once('-').filter(|(kind, _)| {
        kind.len() <= 10
            && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    });
    let (kind, secret) =
        kind.map_or((String::new(), rest), |(kind, secret)| (format!("{kind}-"), secret));
    // Seven characters of thirty or more leave far more than anyone can guess.
    match (secret.get(..3), secret.len().checked_sub(4).and_then(|at| secret.get(at..))) {
        (Some(first), Some(last)) if secret.len() >= 30 => {
            format!("{PREFIX}{kind}{first}...{last}")
        }
        _ => format!("{PREFIX}..."),
    }
}

#[cfg(test)]
mod tests;
