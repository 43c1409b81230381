//! The key of Anthropic's Admin API as a person hands it in: is it one, and the right kind?
//!
//! With it the keys of the whole organization can be listed, renamed and switched off, so it is
//! sealed as upstream keys are, used by the control plane alone, and never shown. An API key in its
//! place is refused: it could not do this work, and it would lie where nobody looks for it.

use std::fmt;

use chamberlain_core::secret::Secret;

use crate::upstream_key::{ShapeError, UpstreamKey, hint};

/// What an admin key begins with.
const PREFIX: &str = "sk-ant-admin";

/// How many characters an admin key of the known kind has, `sk-ant-admin01-` and 95 more.
const USUAL_LENGTH: usize = 110;

/// Why a text is not taken as an admin key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdminShapeError {
    /// An ordinary API key.
    #[error(
        "this is an API key (sk-ant-api…), which makes calls; the Admin API takes an admin key, \
         which begins with sk-ant-admin and is made under Admin keys in the Claude Console"
    )]
    ApiKey,
    /// Of the known kind, and not of its length.
    #[error(
        "the admin key has {length} characters and one of its kind has {USUAL_LENGTH}; copy it \
         again, whole and alone"
    )]
    Length {
        /// How many it has.
        length: usize,
    },
    /// Something else about its shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// A text that may be an admin key.
pub struct AdminKey(Secret);

impl AdminKey {
    /// Looks at what was handed in.
    ///
    /// # Errors
    /// What it is instead, without any part of it.
    pub fn check(typed: &Secret) -> Result<AdminKey, AdminShapeError> {
        let key = typed.expose().trim();
        match UpstreamKey::check(typed) {
            Ok(_) => return Err(AdminShapeError::ApiKey),
            Err(ShapeError::Admin) => {}
            Err(ShapeError::Cut { .. } | ShapeError::Overlong { .. }) => {
                return Err(AdminShapeError::ApiKey);
            }
            Err(other) => return Err(other.into()),
        }
        let visible = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
        if key.contains(char::is_whitespace) {
            return Err(ShapeError::Broken.into());
        }
        if let Some(place) = key.chars().position(|char| !visible(char)) {
            return Err(ShapeError::Character { place: place + 1 }.into());
        }
        let usual = key.starts_with("sk-ant-admin01-");
        match key.len() {
            length if usual && length != USUAL_LENGTH => Err(AdminShapeError::Length { length }),
            length if !usual && length < PREFIX.len() + 8 => {
                Err(AdminShapeError::Length { length })
            }
            _ => Ok(AdminKey(Secret::new(key.to_owned()))),
        }
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What people know it by, as the Console shows it.
    pub fn hint(&self) -> String {
        hint(self.0.expose())
    }
}

impl fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[admin key]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Seeded, credential, leaks, secret};

    fn refusal(text: &str) -> AdminShapeError {
        AdminKey::check(&secret(text)).expect_err("not an admin key")
    }

    #[test]
    fn an_admin_key_and_nothing_else_is_taken() {
        let entropy = Seeded::new(1);
        let key = credential("admin01", &entropy);
        assert_eq!(key.len(), USUAL_LENGTH);
        let taken = AdminKey::check(&secret(&format!(" {key}\n"))).unwrap();
        assert_eq!(taken.expose(), key);
        assert!(!leaks(&format!("{taken:?} {}", taken.hint()), &key));
        for (typed, expected) in [
            (credential("api03", &entropy), AdminShapeError::ApiKey),
            (credential("api03", &entropy)[..90].to_owned(), AdminShapeError::ApiKey),
            (key[..109].to_owned(), AdminShapeError::Length { length: 109 }),
            (format!("{key}x"), AdminShapeError::Length { length: 111 }),
            (String::new(), ShapeError::Empty.into()),
            (format!("'{key}'"), ShapeError::Quoted.into()),
            (credential("oat01", &entropy), ShapeError::AccessToken.into()),
            (format!("{}\n{}", &key[..50], &key[50..]), ShapeError::Broken.into()),
            (format!("{}é{}", &key[..50], &key[50..]), ShapeError::Character { place: 51 }.into()),
        ] {
            let error = refusal(&typed);
            assert_eq!(error, expected);
            assert!(!leaks(&error.to_string(), &key));
        }
    }
}
