//! The words that stand in columns for enums of core, and amounts that stand there as integers.

use chamberlain_core::admission::key::KeyState;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Outcome, Route};
use rusqlite::Row;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::StoreFault;

/// An enum that stands in a column as a word.
pub(crate) trait Word: Sized + Copy + 'static {
    /// Every value with its word.
    const WORDS: &'static [(Self, &'static str)];

    /// Reads a word.
    fn read(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(value, _)| *value)
    }
}

/// The word of a value.
pub(crate) fn word<W: Word + PartialEq>(value: W) -> &'static str {
    W::WORDS
        .iter()
        .find(|(known, _)| *known == value)
        .map(|(_, word)| *word)
        .expect("every value has a word; a test walks them")
}

/// Reads a word from a column.
pub(crate) fn read_word<W: Word>(row: &Row<'_>, column: usize) -> rusqlite::Result<W> {
    W::read(row.get_ref(column)?.as_str()?).ok_or_else(|| unreadable(row, column))
}

/// Reads a word from a column that may be empty.
pub(crate) fn read_word_or_null<W: Word>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<W>> {
    match row.get_ref(column)?.as_str_or_null()? {
        None => Ok(None),
        Some(text) => W::read(text).map(Some).ok_or_else(|| unreadable(row, column)),
    }
}

/// A column that holds what this version cannot read.
pub(crate) fn unreadable(row: &Row<'_>, column: usize) -> rusqlite::Error {
    let name = row.as_ref().column_name(column).unwrap_or("?").to_owned();
    rusqlite::Error::InvalidColumnType(column, name, Type::Text)
}

/// A value of core as JSON text.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, StoreFault> {
    serde_json::to_string(value).map_err(|error| StoreFault::Mistake(format!("as JSON: {error}")))
}

/// Reads a value of core from JSON text.
pub(crate) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|_| unreadable(row, column))
}

/// Reads a value of core from JSON text, where there is one.
pub(crate) fn from_json_or_null<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)?.as_str_or_null()? {
        None => Ok(None),
        Some(_) => from_json(row, column).map(Some),
    }
}

/// An amount as a column of 64 bits.
pub(crate) fn money_column(what: &str, amount: Money) -> Result<i64, StoreFault> {
    i64::try_from(amount.pico())
        .ok()
        .filter(|pico| *pico >= 0)
        .ok_or_else(|| StoreFault::OutOfRange(format!("{what} of {amount}")))
}

/// A count as a column of 64 bits; no real count comes near the end of the range.
pub(crate) fn count_column(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Word for Route {
    const WORDS: &'static [(Route, &'static str)] = &[
        (Route::Messages, "messages"),
        (Route::CountTokens, "count_tokens"),
        (Route::Models, "models"),
        (Route::Model, "model"),
        (Route::BatchCreate, "batch_create"),
        (Route::Batches, "batches"),
        (Route::Batch, "batch"),
        (Route::BatchResults, "batch_results"),
        (Route::BatchCancel, "batch_cancel"),
        (Route::BatchDelete, "batch_delete"),
        (Route::FileUpload, "file_upload"),
        (Route::Files, "files"),
        (Route::File, "file"),
        (Route::FileContent, "file_content"),
        (Route::FileDelete, "file_delete"),
    ];
}

impl Word for Outcome {
    const WORDS: &'static [(Outcome, &'static str)] = &[
        (Outcome::Completed, "completed"),
        (Outcome::UpstreamRefused, "upstream_refused"),
        (Outcome::UpstreamFailed, "upstream_failed"),
        (Outcome::ClientLeft, "client_left"),
        (Outcome::Cut, "cut"),
        (Outcome::NotSent, "not_sent"),
        (Outcome::OurFault, "our_fault"),
    ];
}

impl Word for Certainty {
    const WORDS: &'static [(Certainty, &'static str)] = &[
        (Certainty::Settled, "settled"),
        (Certainty::Estimated, "estimated"),
        (Certainty::Unsettled, "unsettled"),
    ];
}

impl Word for KeyState {
    const WORDS: &'static [(KeyState, &'static str)] = &[
        (KeyState::Active, "active"),
        (KeyState::Frozen, "frozen"),
        (KeyState::Revoked, "revoked"),
    ];
}

#[cfg(test)]
mod tests {
    use chamberlain_core::resource::ResourceKind;

    use super::*;

    /// A new value in core without a word here fails to compile in these matches.
    #[test]
    fn every_value_has_a_word() {
        let routes = match Route::Messages {
            Route::Messages
            | Route::CountTokens
            | Route::Models
            | Route::Model
            | Route::FileUpload
            | Route::Files
            | Route::File
            | Route::FileContent
            | Route::FileDelete
            | Route::BatchCreate
            | Route::Batches
            | Route::Batch
            | Route::BatchResults
            | Route::BatchCancel
            | Route::BatchDelete => 15,
        };
        let outcomes = match Outcome::Completed {
            Outcome::Completed
            | Outcome::UpstreamRefused
            | Outcome::UpstreamFailed
            | Outcome::ClientLeft
            | Outcome::Cut
            | Outcome::NotSent
            | Outcome::OurFault => 7,
        };
        let certainties = match Certainty::Settled {
            Certainty::Settled | Certainty::Estimated | Certainty::Unsettled => 3,
        };
        let states = match KeyState::Active {
            KeyState::Active | KeyState::Frozen | KeyState::Revoked => 3,
        };
        let kinds = match ResourceKind::Message {
            ResourceKind::Message
            | ResourceKind::Container
            | ResourceKind::File
            | ResourceKind::Batch => 4,
        };
        assert_eq!(Route::WORDS.len(), routes);
        assert_eq!(Outcome::WORDS.len(), outcomes);
        assert_eq!(Certainty::WORDS.len(), certainties);
        assert_eq!(KeyState::WORDS.len(), states);
        assert_eq!(ResourceKind::WORDS.len(), kinds);
    }
}
