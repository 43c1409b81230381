//! Where the configuration file and the data folder are.

use std::path::{Path, PathBuf};

/// Environment variables that have a meaning beside the configuration keys.
pub(crate) const CONFIG_VARIABLE: &str = "CHAMBERLAIN_CONFIG";

/// The file's name.
pub(crate) const FILE_NAME: &str = "chamberlain.toml";

/// Where `--config` is not given: `CHAMBERLAIN_CONFIG`, `<data>/chamberlain.toml`,
/// `/etc/chamberlain/chamberlain.toml`; the first that exists. A file that is named must exist.
/// The working folder is not searched: a file in somebody's checkout must not decide where keys go.
pub(crate) fn config_file(flag: Option<&Path>, data: &Path) -> Option<PathBuf> {
    if let Some(path) = flag {
        return Some(path.to_owned());
    }
    if let Some(path) = std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty()) {
        return Some(PathBuf::from(path));
    }
    let places = [data.join(FILE_NAME), Path::new("/etc/chamberlain").join(FILE_NAME)];
    places.into_iter().find(|place| place.is_file())
}

/// The data folder when nobody names one: `$XDG_DATA_HOME/chamberlain`, else
/// `~/.local/share/chamberlain`; `None` when there is no home either.
pub(crate) fn default_data() -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|share| share.join("chamberlain"))
}
