//! What backups are called: `chamberlain-3f9a01c2-20261124T023000Z-000000001234.age`, the vault, the
//! moment, and how many records its audit log has.
//!
//! The name is what a folder of backups can be listed and pruned by without opening any. It proves
//! nothing: the manifest inside does. Whatever is called otherwise is nobody's business here.

use std::fmt;
use std::str::FromStr;

use crate::time::Timestamp;

/// How a backup is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Encryption {
    /// To age recipients.
    Age,
    /// To OpenPGP keys.
    OpenPgp,
}

impl Encryption {
    /// What the file's name ends with.
    pub const fn suffix(self) -> &'static str {
        match self {
            Encryption::Age => "age",
            Encryption::OpenPgp => "gpg",
        }
    }
}

/// A backup's name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BackupName {
    /// The first eight digits of the vault's id.
    pub vault: String,
    /// When it was made, whole seconds.
    pub made_at: Timestamp,
    /// How many records its audit log has.
    pub records: u64,
    /// How it is encrypted.
    pub encryption: Encryption,
}

impl BackupName {
    /// A name for what is made at `made_at`.
    pub fn new(vault: &str, made_at: Timestamp, records: u64, encryption: Encryption) -> Self {
        let vault = vault.chars().take(8).collect();
        let made_at = Timestamp::from_ms(made_at.ms() - made_at.ms().rem_euclid(1_000));
        BackupName { vault, made_at, records, encryption }
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment: String = self.made_at.to_rfc3339().chars().take(19).collect();
        let moment = moment.replace(['-', ':'], "");
        let (vault, suffix) = (&self.vault, self.encryption.suffix());
        write!(f, "chamberlain-{vault}-{moment}Z-{:012}.{suffix}", self.records)
    }
}

/// The text is not a backup's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this is not the name of a backup")]
pub struct NotABackup;

impl FromStr for BackupName {
    type Err = NotABackup;

    fn from_str(text: &str) -> Result<BackupName, NotABackup> {
        read(text).filter(|name| name.to_string() == text).ok_or(NotABackup)
    }
}

fn read(text: &str) -> Option<BackupName> {
    let (rest, suffix) = text.strip_prefix("chamberlain-")?.split_once('.')?;
    let mut parts = rest.split('-');
    let (vault, moment, records) = (parts.next()?, parts.next()?, parts.next()?);
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if parts.next().is_some() || vault.len() != 8 || !vault.bytes().all(hexadecimal) {
        return None;
    }
    let digits = |range: std::ops::Range<usize>| moment.get(range);
    let (year, month, day) = (digits(0..4)?, digits(4..6)?, digits(6..8)?);
    let (hour, minute, second) = (digits(9..11)?, digits(11..13)?, digits(13..15)?);
    let moment = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    Some(BackupName {
        vault: vault.to_owned(),
        made_at: Timestamp::from_rfc3339(&moment).ok()?,
        records: records.parse().ok()?,
        encryption: [Encryption::Age, Encryption::OpenPgp]
            .into_iter()
            .find(|encryption| encryption.suffix() == suffix)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back() {
        let made_at = Timestamp::from_rfc3339("2026-11-24T02:30:07.900Z").unwrap();
        let name = BackupName::new("3f9a01c2ffff", made_at, 1234, Encryption::Age);
        let text = "chamberlain-3f9a01c2-20261124T023007Z-000000001234.age";
        assert_eq!(name.to_string(), text);
        assert_eq!(text.parse(), Ok(name.clone()));
        assert_eq!(name.made_at.ms() % 1_000, 0);
        let openpgp = BackupName { encryption: Encryption::OpenPgp, ..name };
        assert_eq!(openpgp.to_string().parse(), Ok(openpgp));
    }

    #[test]
    fn nothing_else_is_taken_for_a_backup() {
        for other in [
            "",
            "chamberlain.toml",
            "notes-about-chamberlain.age",
            "chamberlain-3f9a01c2-20261124T023007Z-000000001234.age.part",
            "chamberlain-3f9a01c2-20261124T023007Z-1234.age",
            "chamberlain-3f9a01c2-20261124T023007Z-000000001234.tar",
            "chamberlain-3f9a01c2-20261324T023007Z-000000001234.age",
            "chamberlain-3F9A01C2-20261124T023007Z-000000001234.age",
            "../chamberlain-3f9a01c2-20261124T023007Z-000000001234.age",
            "chamberlain-3f9a01c2-20261124T023007Z-000000001234-x.age",
        ] {
            assert_eq!(other.parse::<BackupName>(), Err(NotABackup), "{other}");
        }
    }
}
