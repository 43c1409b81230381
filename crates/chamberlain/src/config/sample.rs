//! The file that `chamberlain init` writes: every key with its meaning and its preset as a
//! comment, and a production environment as a company would pin it.

use chamberlain_core::ledger::price::PriceBook;
use chamberlain_core::time::Timestamp;

use super::advice;
use super::keys::{self, KEYS, Key};

/// The model that the sample pins.
const PINNED: &str = "claude-sonnet-4-5-20250929";

/// What the sample's production environment says instead of the presets.
const PRODUCTION: &[(&str, &str)] = &[
    ("budgets.daily", "\"100.00 USD\""),
    ("budgets.monthly", "\"3000.00 USD\""),
    ("pause_on_exceed", "true"),
    ("rotation_interval", "\"180d\""),
    ("limits.requests_per_minute", "20"),
    (
        "policy.operations_allow",
        "[\"document_translation\", \"executive_summary\", \"stakeholder_briefing\"]",
    ),
    (
        "policy.operations_deny",
        "[\"code_generation\", \"image_analysis\", \"long_context_processing\"]",
    ),
    (
        "policy.capabilities_deny",
        "[\"custom_skills\", \"billing_policy\", \"unknown_server_tool\", \
         \"images\", \"long_context\", \"code_execution\"]",
    ),
    ("policy.max_tokens", "4096"),
    ("policy.networks_allow", "[\"10.0.1.0/24\", \"192.168.1.100/32\"]"),
];

/// The whole file, for somebody who starts at `now`.
pub(crate) fn text(now: Timestamp) -> String {
    let mut out = String::from(
        "# Chamberlain's configuration. A line that begins with # is what holds anyway.\n\
         # Check it with `chamberlain config check`; ask about one key with\n\
         # `chamberlain config explain KEY`. Each key can be overridden by an environment variable:\n\
         # server.listen by CHAMBERLAIN_SERVER__LISTEN. Upstream keys never stand here: give them\n\
         # to `chamberlain key add`.\n\nversion = 1\n",
    );
    let mut table = "";
    let plain =
        |key: &&Key| !key.path.contains('*') && !["version", "prices", "sinks"].contains(&key.path);
    for key in KEYS.iter().filter(plain) {
        let (own, leaf) = split(key.path);
        if own != table {
            table = own;
            out.push_str(&format!("\n[{table}]\n"));
        } else if table.is_empty() {
            out.push('\n');
        }
        describe(&mut out, key);
        out.push_str(&format!("# {leaf} = {}\n", key.preset.toml(None)));
    }
    out.truncate(out.trim_end_matches('\n').len());
    for name in keys::ENVIRONMENTS {
        out.push_str("\n\n");
        environment(&mut out, name, now);
    }
    prices(&mut out);
    sinks(&mut out);
    out
}

fn split(path: &'static str) -> (&'static str, &'static str) {
    match path.split_once('.') {
        Some((table, leaf)) => (table, leaf),
        None => ("", path),
    }
}

fn describe(out: &mut String, key: &Key) {
    let mut line = String::from("#");
    for word in key.doc.split_whitespace() {
        if line.len() + word.len() > 94 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

fn environment(out: &mut String, name: &str, now: Timestamp) {
    out.push_str(&format!("[environments.{name}]\n"));
    for key in KEYS.iter().filter(|key| key.path.starts_with("environments.*.")) {
        let leaf = &key.path["environments.*.".len()..];
        // Explained once, with the first environment.
        if name == keys::ENVIRONMENTS[0] {
            describe(out, key);
        }
        if name == "production" && leaf == "policy.models_allow" {
            out.push_str(&models_allow(now));
            continue;
        }
        let written = PRODUCTION.iter().find(|(key, _)| *key == leaf && name == "production");
        match written {
            Some((_, value)) => out.push_str(&format!("{leaf} = {value}\n")),
            None => out.push_str(&format!("# {leaf} = {}\n", key.preset.toml(Some(name)))),
        }
    }
    out.truncate(out.trim_end_matches('\n').len());
}

/// The pinned model, with what is known about its end.
fn models_allow(now: Timestamp) -> String {
    let prices = PriceBook::builtin();
    let model = prices.model(PINNED);
    let pinned = format!("policy.models_allow = [{PINNED:?}]\n");
    let Some(model) = model else { return pinned };
    let Some(successor) = advice::successor(&prices, model, now) else { return pinned };
    let Some(retires) = prices.retires_at(model) else { return pinned };
    let date = retires.utc_date();
    if retires <= now {
        return format!(
            "# {PINNED} was retired on {date}; this is its successor.\n\
             policy.models_allow = [{successor:?}]\n"
        );
    }
    format!(
        "# {PINNED} retires on {date}: test its successor and pin that before then:\n\
         # policy.models_allow = [{successor:?}]\n\
         # or allow both while you move:\n\
         # policy.models_allow = [{PINNED:?}, {successor:?}]\n{pinned}"
    )
}

fn prices(out: &mut String) {
    out.push_str("\n\n");
    if let Some(key) = KEYS.iter().find(|key| key.path == "prices") {
        describe(out, key);
    }
    out.push_str(
        "# [[prices]]\n# id = \"claude-sonnet-5-5\"\n# effective_from = \"2027-01-01\"\n\
         # input = \"3.00\"\n# output = \"15.00\"\n# cache_write_5m = \"3.75\"\n\
         # cache_write_1h = \"6.00\"\n# cache_read = \"0.30\"\n",
    );
}

fn sinks(out: &mut String) {
    out.push('\n');
    if let Some(key) = KEYS.iter().find(|key| key.path == "sinks") {
        describe(out, key);
    }
    out.push_str(
        "# [sinks.app]\n# kind = \"env_file\"\n# environment = \"production\"\n\
         # path = \"/opt/agentic-base/integration/.env.local\"\n# variable = \"ANTHROPIC_API_KEY\"\n\
         # owner = \"app:app\"\n",
    );
}
