//! Upstream keys as people read them.

use chamberlain_control::reply::{
    KeyFinding, KeyImported, KeyVerdict, KeyVerified, RotationPolicy, UpstreamKey,
    UpstreamKeyState, UpstreamKeys,
};
use chamberlain_core::keys::schedule::Because;

use crate::cli::context::Context;
use crate::failure::Failure;
use crate::out::{Out, or_dash};

/// The word for a state.
pub(super) fn state(state: UpstreamKeyState) -> &'static str {
    match state {
        UpstreamKeyState::Listed => "listed",
        UpstreamKeyState::Staged => "staged",
        UpstreamKeyState::Current => "current",
        UpstreamKeyState::Previous => "previous",
        UpstreamKeyState::Contained => "contained",
        UpstreamKeyState::Revoked => "removed",
    }
}

/// The environment, or that it is shared.
pub(super) fn environment(key: &UpstreamKey) -> String {
    key.environment.clone().unwrap_or_else(|| "(shared)".to_owned())
}

/// A list, and what a person should look at.
pub(super) fn list(context: &Context, keys: &UpstreamKeys) -> Result<(), Failure> {
    if keys.keys.is_empty() && !context.out.json {
        context.out.hint("no upstream keys; add one: chamberlain key add --name main");
    }
    context.show(keys, |out, keys| {
        let headings = [
            "id",
            "name",
            "environment",
            "state",
            "hint",
            "created",
            "next rotation",
            "serves",
            "calls",
            "cost",
            "look at",
        ];
        out.table(&headings, keys.keys.iter().map(row).collect())
    })?;
    if context.out.json {
        return Ok(());
    }
    let own = keys.keys.iter().flat_map(|key| &key.findings);
    for finding in own.chain(&keys.findings) {
        context.out.hint(&format!("{}: {}", finding.kind.word(), finding.message));
    }
    Ok(())
}

fn row(key: &UpstreamKey) -> Vec<String> {
    let kinds: Vec<&str> = key.findings.iter().map(|finding| finding.kind.word()).collect();
    vec![
        key.id.clone(),
        key.name.clone(),
        environment(key),
        state(key.state).to_owned(),
        key.hint.clone(),
        key.created_at.to_string(),
        or_dash(key.next_rotation_on),
        key.serves.join(", "),
        or_dash(key.calls),
        or_dash(key.cost),
        kinds.join(", "),
    ]
}

/// Everything about one key.
pub(super) fn facts(out: &Out, key: &UpstreamKey) -> Result<(), Failure> {
    let next = key.next_rotation_on.map(|on| match key.next_rotation_because {
        Some(Because::Expiry) => format!("{on} (14 days before it expires)"),
        _ => on.to_string(),
    });
    let workspace = key.workspace.as_ref().map(|id| match &key.workspace_name {
        Some(name) => format!("{name} ({id})"),
        None => id.clone(),
    });
    let status = key.anthropic_status.as_ref().map(|status| match key.seen_at {
        Some(at) => format!("{status} (seen {at})"),
        None => status.clone(),
    });
    out.facts(&[
        ("id", key.id.clone()),
        ("name", key.name.clone()),
        ("environment", environment(key)),
        ("state", state(key.state).to_owned()),
        ("hint", key.hint.clone()),
        ("fingerprint", key.fingerprint.clone()),
        ("created", key.created_at.to_string()),
        ("removed", or_dash(key.removed_at)),
        ("serves", key.serves.join(", ")),
        ("team", or_dash(key.team.as_ref())),
        ("purpose", or_dash(key.purpose.as_ref())),
        ("made for", or_dash(key.created_for.map(|reason| reason.word()))),
        ("rationale", or_dash(key.rationale.as_ref())),
        ("made on", or_dash(key.created_on)),
        ("last rotated", or_dash(key.last_rotated_on)),
        ("next rotation", or_dash(next)),
        ("expires", or_dash(key.expires_at)),
        ("at Anthropic", or_dash(key.anthropic_id.as_ref())),
        ("name there", or_dash(key.anthropic_name.as_ref())),
        ("status there", or_dash(status)),
        ("workspace", or_dash(workspace)),
        ("acts for", or_dash(key.principal.as_ref())),
        ("last used", or_dash(key.last_used_at)),
        ("calls", or_dash(key.calls)),
        ("cost", or_dash(key.cost)),
    ])?;
    findings(out, &key.findings)
}

/// What a person should look at, each with what to do.
pub(super) fn findings(out: &Out, findings: &[KeyFinding]) -> Result<(), Failure> {
    for finding in findings {
        out.line(&format!("{}: {}", finding.kind.word(), finding.message))?;
        out.line(&format!("  {}", finding.advice))?;
    }
    Ok(())
}

/// What probes said.
pub(super) fn verified(out: &Out, verified: &KeyVerified) -> Result<(), Failure> {
    let word = |verdict| match verdict {
        KeyVerdict::Works => "works",
        KeyVerdict::Dead => "dead: refused as no valid key",
        KeyVerdict::Forbidden => "forbidden: taken, and not allowed this or not from here",
        KeyVerdict::Unknown => "unknown: nothing was learned about the key",
    };
    for probe in &verified.probes {
        let status = or_dash(probe.status);
        let why = probe.message.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        out.line(&format!("{} probe: {} ({status}){why}", probe.probe, word(probe.verdict)))?;
    }
    out.facts(&[
        ("key", format!("{} ({})", verified.name, verified.key)),
        ("fingerprint used", verified.fingerprint.clone()),
        ("verdict", word(verified.verdict).to_owned()),
    ])
}

/// What became of a table.
pub(super) fn imported(out: &Out, imported: &KeyImported) -> Result<(), Failure> {
    let row = |row: &chamberlain_control::reply::ImportLine| {
        vec![row.line.to_string(), row.name.clone(), row.done.clone(), row.warnings.join("; ")]
    };
    out.table(&["line", "name", "done", "warnings"], imported.rows.iter().map(row).collect())
}

/// A rotation policy beside the inventory.
pub(super) fn policy(out: &Out, policy: &RotationPolicy) -> Result<(), Failure> {
    let row = |secret: &chamberlain_control::reply::PolicySecret| {
        vec![
            secret.line.to_string(),
            secret.name.clone(),
            or_dash(secret.environment.as_ref()),
            or_dash(secret.interval_days),
            or_dash(secret.last_rotated),
            or_dash(secret.next_rotation),
            or_dash(secret.last_rotated_here),
        ]
    };
    let headings =
        ["line", "secret", "environment", "days", "last rotated", "next rotation", "last here"];
    out.table(&headings, policy.secrets.iter().map(row).collect())
}
