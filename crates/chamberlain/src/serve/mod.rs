//! The wiring: the only place where the rooms of the house meet.

mod clock_jump;
mod console;
mod first;
pub(crate) mod hardening;
mod journal;
pub(crate) mod listen;
mod live;
mod logs;
pub(crate) mod master;
mod metrics;
pub(crate) mod offline;
pub(crate) mod opened;
pub(crate) mod outside;
mod readiness;
pub(crate) mod signals;
mod systemd;
mod tls;
pub(crate) mod up;
mod upstream;

/// The name of a uid, from the system's list of users.
pub(crate) fn name_of(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}
