//! Where the master key comes from: systemd, a file, the environment, a passphrase; and, where
//! nobody brings one, a file of our own in the data folder.

use std::env;
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chamberlain_core::secret::Secret;
use chamberlain_core::time::Entropy;
use chamberlain_vault::master::{Master, MasterError};
use zeroize::Zeroizing;

use crate::data_dir::DataDir;
use crate::failure::{Failure, exit};

/// The name systemd gives the credential (`LoadCredential=chamberlain-master-key:…`).
const CREDENTIAL: &str = "chamberlain-master-key";

/// Finds the master key. `wants_passphrase` is what the vault's header says, `None` when there is
/// no vault yet; then a key file is made if nothing else is given.
pub(crate) fn find(
    data: &DataDir,
    wants_passphrase: Option<bool>,
    entropy: &dyn Entropy,
) -> Result<Master, Failure> {
    if let Some(master) = given() {
        return master;
    }
    match wants_passphrase {
        Some(true) => ask(),
        Some(false) => Master::from_file(&data.master_key()).map_err(refused),
        None => {
            make(&data.master_key(), entropy)?;
            Master::from_file(&data.master_key()).map_err(refused)
        }
    }
}

/// Whether the surroundings bring a master key, so that the file in the data folder is not read.
pub(crate) fn is_given() -> bool {
    given().is_some()
}

/// Finds the master key of a backup, which is in no backup: from the file that was named, from the
/// surroundings, by asking for a passphrase, or from `kept`, where a house of the same vault has it.
/// Says from which file it was read, where it was one of the last two.
pub(crate) fn of_backup(
    named: Option<&Path>,
    kept: &Path,
    wants_passphrase: bool,
) -> Result<(Master, Option<PathBuf>), Failure> {
    if let Some(file) = named {
        return Ok((Master::from_file(file).map_err(refused)?, Some(file.to_owned())));
    }
    if let Some(master) = given() {
        return Ok((master?, None));
    }
    if wants_passphrase {
        return Ok((ask()?, None));
    }
    if !kept.exists() {
        let message = "what is sealed in a backup opens with the master key, which is in no backup";
        return Err(Failure::new(exit::FORBIDDEN, message)
            .hint("name its file with --master-key, or in CHAMBERLAIN_MASTER_KEY_FILE"));
    }
    Ok((Master::from_file(kept).map_err(refused)?, Some(kept.to_owned())))
}

/// What the surroundings bring, the most deliberate first.
fn given() -> Option<Result<Master, Failure>> {
    let path = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let text = |name| env::var(name).ok().filter(|value| !value.is_empty()).map(Secret::new);
    let credential = path("CREDENTIALS_DIRECTORY").map(|folder| folder.join(CREDENTIAL));
    if let Some(credential) = credential.filter(|credential| credential.exists()) {
        return Some(Master::from_credential(&credential).map_err(refused));
    }
    if let Some(file) = path("CHAMBERLAIN_MASTER_KEY_FILE") {
        return Some(Master::from_file(&file).map_err(refused));
    }
    if let Some(key) = text("CHAMBERLAIN_MASTER_KEY") {
        return Some(Master::from_text(&key).map_err(refused));
    }
    path("CHAMBERLAIN_PASSPHRASE_FILE").map(|file| from_passphrase_file(&file))
}

/// Reads a passphrase from a file that nobody else may read.
pub(crate) fn from_passphrase_file(path: &Path) -> Result<Master, Failure> {
    let mode = std::fs::metadata(path).map_err(|error| Failure::file(path, &error))?.mode();
    if mode & 0o077 != 0 {
        let message = format!("others can read the passphrase file {}", path.display());
        return Err(
            Failure::new(exit::UNAVAILABLE, message).hint(format!("chmod 600 {}", path.display()))
        );
    }
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    Master::from_passphrase(&Secret::new(text)).map_err(refused)
}

/// Asks for a new passphrase, twice.
pub(crate) fn ask_for_new() -> Result<Master, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("a passphrase is asked for at a terminal")
            .hint("name a file that holds it with --new-passphrase-file"));
    }
    let ask = |prompt| {
        rpassword::prompt_password(prompt)
            .map(Zeroizing::new)
            .map_err(|error| Failure::failed(format!("no passphrase could be read: {error}")))
    };
    let mut first = ask("New passphrase of the vault: ")?;
    match first == ask("The same again: ")? {
        true => Master::from_passphrase(&Secret::new(std::mem::take(&mut *first))).map_err(refused),
        false => Err(Failure::usage("the two are not the same; nothing was changed")),
    }
}

fn ask() -> Result<Master, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(exit::UNAVAILABLE, "the vault wants a passphrase")
            .hint("name a file that holds it in CHAMBERLAIN_PASSPHRASE_FILE"));
    }
    let typed = rpassword::prompt_password("Passphrase of the vault: ")
        .map_err(|error| Failure::failed(format!("no passphrase could be read: {error}")))?;
    Master::from_passphrase(&Secret::new(typed)).map_err(refused)
}

/// Makes the key file, for its owner alone. One that is there already is not touched.
pub(crate) fn make(path: &Path, entropy: &dyn Entropy) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(Failure::file(path, &error)),
    };
    let key = Master::generate(entropy);
    let written = file
        .write_all(key.expose().as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all());
    written.map_err(|error| Failure::file(path, &error))
}

fn refused(error: MasterError) -> Failure {
    Failure::new(exit::UNAVAILABLE, error.to_string())
}
