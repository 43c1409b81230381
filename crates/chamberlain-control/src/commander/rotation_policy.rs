//! `secrets-rotation-policy.yaml` beside the inventory: checked, and brought up to date in place.
//!
//! The file is replaced in one step, with its owner and mode; nothing in it changes but two dates.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use chamberlain_core::audit::record::Principal;
use chamberlain_core::keys::policy_file::{self, PolicyFile};
use chamberlain_core::keys::yaml::YamlMistake;
use chamberlain_core::time::Date;
use chamberlain_store::Facts;
use serde_json::json;

use super::{Commander, from_store};
use crate::command::KeyPolicy;
use crate::error::CommandError;
use crate::house::House;
use crate::inventory;
use crate::reply::{PolicySecret, RotationPolicy};
use crate::settings::Settings;

/// A larger file is no policy.
const BYTES_MAX: u64 = 1 << 20;

impl Commander {
    pub(super) fn key_policy(
        &self,
        actor: &Principal,
        asked: &KeyPolicy,
    ) -> Result<RotationPolicy, CommandError> {
        let ruling = self.settings.read().clone();
        let named = asked.file.as_ref().map(PathBuf::from);
        let path = named.or_else(|| ruling.settings.inventory.rotation_policy.clone());
        let path = path.ok_or_else(|| {
            CommandError::usage("no file was named, and keys.rotation_policy names none")
                .hint("chamberlain key policy FILE")
        })?;
        let text = read(&path)?;
        let file = policy_file::read(&text).map_err(|wrong| mistaken(&path, &wrong))?;
        let house = self.house()?;
        let secrets = self.beside(&file, &house, &ruling.settings);
        let mut new = text.clone();
        for secret in secrets.iter().filter(|_| asked.update) {
            let Some(last) = secret.last_rotated_here else { continue };
            new = policy_file::updated(&new, &secret.name, last)
                .map_err(|wrong| mistaken(&path, &wrong))?;
        }
        let changed = new != text;
        if changed {
            self.write_policy(actor, &path, &secrets, &new)?;
        }
        // What was put right is no longer a warning.
        let after = policy_file::read(&new).map_err(|wrong| mistaken(&path, &wrong))?;
        let warning = |warning: &policy_file::PolicyWarning| {
            format!("line {}: {}", warning.line, warning.what)
        };
        Ok(RotationPolicy {
            file: path.display().to_string(),
            secrets: self.beside(&after, &house, &ruling.settings),
            warnings: after.warnings.iter().map(warning).collect(),
            changed,
        })
    }

    /// Brings the configured file up to date after a key took over; without one there is nothing to
    /// do.
    ///
    /// # Errors
    /// When the file cannot be read, is not understood, or cannot be written.
    pub fn update_rotation_policy(&self, actor: &Principal) -> Result<(), CommandError> {
        if self.settings.read().settings.inventory.rotation_policy.is_none() {
            return Ok(());
        }
        self.key_policy(actor, &KeyPolicy { file: None, update: true }).map(drop)
    }

    fn beside(&self, file: &PolicyFile, house: &House, settings: &Settings) -> Vec<PolicySecret> {
        let names: Vec<&str> =
            settings.environments.iter().map(|environment| environment.name.as_str()).collect();
        let calendar = self.settings.read().calendar.clone();
        let last_here = |environment: &str| -> Option<Date> {
            let environment = settings.environment(environment)?;
            let key = house.upstream_key_of(&environment.name)?;
            Some(inventory::last_rotated(key, &calendar))
        };
        let line = |secret: &policy_file::PolicySecret| {
            let environment = policy_file::environment_of(secret, &names);
            PolicySecret {
                name: secret.name.clone(),
                line: secret.line as u64,
                environment: environment.map(str::to_owned),
                interval_days: secret.interval_days,
                last_rotated: secret.last_rotated,
                next_rotation: secret.next_derived(),
                last_rotated_here: environment.and_then(last_here),
            }
        };
        file.secrets.iter().map(line).collect()
    }

    /// Intent, effect; a crash in between leaves the old file whole, and the next update does it
    /// again.
    fn write_policy(
        &self,
        actor: &Principal,
        path: &Path,
        secrets: &[PolicySecret],
        text: &str,
    ) -> Result<(), CommandError> {
        let dates: Vec<_> = secrets
            .iter()
            .filter_map(|secret| Some(json!({ secret.name.clone(): secret.last_rotated_here? })))
            .collect();
        let shown = path.display().to_string();
        let facts = Facts {
            after: Some(json!({ "file": shown, "last_rotated": dates })),
            ..Facts::default()
        };
        let record = self.store.change(actor.clone(), move |change| {
            change.audit("rotation_policy.updated", "rotation_policy", &facts).map(drop)
        });
        record.map_err(from_store)?;
        replace(path, text).map_err(|error| {
            CommandError::failed(format!("{}: {error}", path.display()))
                .hint("it is as it was; the server must be able to write in its folder")
        })
    }
}

fn read(path: &Path) -> Result<String, CommandError> {
    let fail = |what: String| CommandError::usage(format!("{}: {what}", path.display()));
    let size = fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if size > BYTES_MAX {
        return Err(fail(format!("{size} bytes are no rotation policy")));
    }
    fs::read_to_string(path).map_err(|error| fail(error.to_string()))
}

fn mistaken(path: &Path, mistakes: &[YamlMistake]) -> CommandError {
    let lines: Vec<String> = mistakes
        .iter()
        .map(|mistake| format!("{}:{}: {}", path.display(), mistake.line, mistake.what))
        .collect();
    CommandError::usage(lines.join("; ")).hint("mend these lines; nothing was changed")
}

/// A new file takes the name of the old one, whole and on the disk.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link's target is replaced, not the link.
    let path = path.canonicalize()?;
    let old = fs::metadata(&path)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file's path"));
    };
    let made = folder.join(format!(".{}.chamberlain-new", name.to_string_lossy()));
    // What a killed process may have left.
    match fs::remove_file(&made) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(old.mode() & 0o777).open(&made)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(old.permissions()))
        .and_then(|()| match rustix::process::geteuid().is_root() {
            true => chown(&made, Some(old.uid()), Some(old.gid())),
            false => Ok(()),
        })
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&made, &path))
        .and_then(|()| fs::File::open(folder)?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&made);
    }
    written
}
