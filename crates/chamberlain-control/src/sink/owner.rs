//! Users and groups by name, from the system's own lists.

use chamberlain_core::sink::fault::SinkFault;
use rustix::fs::{Gid, Uid};

/// Reads `user:group`, by name or number.
///
/// # Errors
/// When this machine has none of that name.
pub(super) fn find(owner: &str) -> Result<(Uid, Gid), SinkFault> {
    let (user, group) = owner.split_once(':').unwrap_or((owner, owner));
    let uid = number(user, "/etc/passwd")?;
    let gid = number(group, "/etc/group")?;
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

/// The number of a name in one of the lists, whose lines are `name:password:number:…`.
fn number(name: &str, list: &str) -> Result<u32, SinkFault> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(list).unwrap_or_default();
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (named, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (named == name).then(|| number.parse().ok())?
    });
    found.ok_or_else(|| {
        SinkFault::refused(
            format!("{list} has no {name:?}"),
            "write an owner that exists on this machine, by name or number",
        )
    })
}
