//! Scripts: a history told by hand, one thing a line, and the transcript of what came of it.
//!
//! ```text
//! nodes 2 at 2026-01-31T12:00:00Z
//! budget organization daily 10
//! call a 3.00 on n1
//! ```
//!
//! Every line is audited like a step of chance, and the transcript ends where an invariant breaks.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chamberlain_core::id::CallId;
use chamberlain_core::money::Money;
use chamberlain_core::snapshot::Budgets;
use chamberlain_core::time::{Calendar, Timestamp};

use crate::node::Ask;
use crate::record::plus;
use crate::upstream;
use crate::world::World;

/// The scopes as scripts name them, in the order of the world's terms.
const SCOPES: [&str; 7] = ["organization", "e0", "e1", "k0", "k1", "k2", "k3"];

/// A script cannot be read or told.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ScriptError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// Tells a script. The transcript has every line and, below it, what happened.
///
/// # Errors
/// When a line is not one of the words above or names what is not there. A broken invariant is no
/// error: the transcript says so.
pub fn tell(script: &str) -> Result<String, ScriptError> {
    let mut told = Told { world: None, calls: BTreeMap::new(), transcript: String::new() };
    for (place, line) in script.lines().enumerate() {
        let at = |what| ScriptError { line: place + 1, what };
        if line.trim().is_empty() || line.starts_with('#') {
            let _ = writeln!(told.transcript, "{line}");
            continue;
        }
        let _ = writeln!(told.transcript, "> {line}");
        let before = told.world.as_ref().map_or(0, |world| world.history.count());
        let words: Vec<&str> = line.split_whitespace().collect();
        let done = told.do_line(&words).map_err(at)?;
        told.write_events(before);
        let audited = done.and_then(|()| told.world.as_mut().map_or(Ok(()), World::audit));
        if let Err(broken) = audited {
            let broken = told.named(&broken);
            let _ = writeln!(told.transcript, "  THE AUDITOR: {broken}");
            break;
        }
    }
    Ok(told.transcript)
}

struct Told {
    world: Option<World>,
    /// Calls by the names that the script gives them.
    calls: BTreeMap<String, CallId>,
    transcript: String,
}

impl Told {
    /// The outer error is the script's, the inner one the auditor's.
    fn do_line(&mut self, words: &[&str]) -> Result<Result<(), String>, String> {
        if let ["nodes", count, "at", at] = words {
            let now = Timestamp::from_rfc3339(at)?;
            let count: usize = count.parse().map_err(|_| "how many nodes?".to_owned())?;
            self.world = Some(World::new(count.clamp(1, 9), now, Calendar::utc()));
            return Ok(Ok(()));
        }
        let world = self.world.as_mut().ok_or("begin with: nodes 1 at 2026-01-31T12:00:00Z")?;
        if let Some(done) = call_line(world, &mut self.calls, words)? {
            return Ok(done);
        }
        Ok(match words {
            ["budget", scope, kind, usd] => {
                let place = SCOPES.iter().position(|name| name == scope).ok_or("what scope?")?;
                let limit = Some(money(usd)?);
                let before = world.terms[place].budgets;
                let budgets = match *kind {
                    "daily" => Budgets { daily: limit, ..before },
                    "monthly" => Budgets { monthly: limit, ..before },
                    _ => return Err("daily or monthly?".to_owned()),
                };
                world.change_budgets(place, budgets);
                Ok(())
            }
            ["publish"] => {
                (0..world.nodes.len()).for_each(|node| world.publish(node));
                Ok(())
            }
            ["publish", node] => {
                let node = node_of(world, node)?;
                world.publish(node);
                Ok(())
            }
            ["clock", seconds] => {
                let seconds: i64 = seconds.parse().map_err(|_| "how many seconds?".to_owned())?;
                world.move_clock(seconds * 1_000);
                Ok(())
            }
            ["commit", node] => {
                let node = node_of(world, node)?;
                world.commit(node, usize::MAX, false)
            }
            ["commit", "first", node] => {
                let node = node_of(world, node)?;
                world.commit(node, 1, false)
            }
            ["commit", node, "unanswered"] => {
                let node = node_of(world, node)?;
                world.commit(node, usize::MAX, true)
            }
            ["fail", node] => {
                let node = node_of(world, node)?;
                world.fail(node, usize::MAX)
            }
            ["late"] => world.commit_late(0),
            ["hear"] => {
                let count = world.replies.len();
                (0..count).try_for_each(|_| world.hear(0, false))
            }
            ["hear", "twice"] => {
                let count = world.replies.len();
                (0..count).try_for_each(|_| world.hear(0, true))
            }
            ["kill", node] => {
                let node = node_of(world, node)?;
                world.kill(node, 0)
            }
            ["declare-dead", node] => {
                let node = node_of(world, node)?;
                world.declare_dead(node)
            }
            ["power-loss", "keeps", count] => {
                let kept = count.parse().map_err(|_| "how many transactions?".to_owned())?;
                world.lose_power(kept, 0)
            }
            ["books", scope] => {
                let text = books(world, scope);
                self.transcript.push_str(&text);
                Ok(())
            }
            _ => return Err("not a line of a script".to_owned()),
        })
    }

    fn write_events(&mut self, before: u64) {
        let Some(world) = &self.world else { return };
        let lines: String =
            world.history.since(before).map(|event| format!("  {event}\n")).collect();
        let lines = self.named(&lines);
        self.transcript.push_str(&lines);
    }

    /// Calls by their names.
    fn named(&self, text: &str) -> String {
        let named =
            |text: String, (name, call): (&String, &CallId)| text.replace(&call.to_string(), name);
        self.calls.iter().fold(text.to_owned(), named)
    }
}

/// A line about one call; `None` when it is about something else.
fn call_line(
    world: &mut World,
    calls: &mut BTreeMap<String, CallId>,
    words: &[&str],
) -> Result<Option<Result<(), String>>, String> {
    Ok(Some(match words {
        ["call", name, usd, "on", node] => {
            let node = node_of(world, node)?;
            let number = calls.len() as u8 + 1;
            let call = CallId::mint(world.now, [number; 10]);
            calls.insert((*name).to_owned(), call);
            world.ask(node, Ask { call, key: 0, bound: Some(money(usd)?), tries: 0 })
        }
        ["send", name, "billed", usd, row] => {
            let row = upstream::named(row).ok_or("what row of upstream.rs?")?;
            let (node, call) = going(world, calls, name)?;
            world.send(node, call, money(usd)?, row)
        }
        ["end", name] => {
            let (node, call) = going(world, calls, name)?;
            world.end(node, call, Money::ZERO)
        }
        ["leave", name] => {
            let (node, call) = going(world, calls, name)?;
            world.leave(node, call, false)
        }
        ["batch", name, "bills", usd] => {
            world.batch_goes_on(known(calls, name)?, money(usd)?, false)
        }
        ["collect", name, "on", node] => {
            let (node, call) = (node_of(world, node)?, known(calls, name)?);
            world.collect(node, call)
        }
        ["write-off", name, usd, "on", node] => {
            let (node, call) = (node_of(world, node)?, known(calls, name)?);
            world.write_off(node, call, money(usd)?)
        }
        _ => return Ok(None),
    }))
}

/// What is on record of a scope's accounts, one node's part a line.
fn books(world: &World, scope: &str) -> String {
    let mut text = String::new();
    let place = SCOPES.iter().position(|name| *name == scope).unwrap_or_default();
    let wanted = &world.terms[place].scope;
    let budgets = world.terms[place].budgets;
    for (account, parts) in &world.journal.committed.balances {
        if account.scope != *wanted || budgets.limit(account.window.kind).is_none() {
            continue;
        }
        let day = account.window.start.utc_date();
        for (node, part) in parts.iter().enumerate() {
            let _ = writeln!(
                text,
                "  {} {day}, n{}: settled {}, unsettled {}, reserved {}, leased {}",
                account.window.kind.name(),
                node,
                part.settled,
                part.unsettled,
                part.reserved,
                part.granted
            );
        }
        let used = parts.iter().map(|part| part.used()).fold(Money::ZERO, plus);
        let _ = writeln!(text, "  {} {day}: {used} in use", account.window.kind.name());
    }
    text
}

fn money(text: &str) -> Result<Money, String> {
    text.parse().map_err(|_| format!("{text} is not an amount"))
}

fn node_of(world: &World, name: &str) -> Result<usize, String> {
    let number: Option<usize> = name.strip_prefix('n').and_then(|number| number.parse().ok());
    number.filter(|node| *node < world.nodes.len()).ok_or_else(|| format!("what node is {name}?"))
}

fn known(calls: &BTreeMap<String, CallId>, name: &str) -> Result<CallId, String> {
    calls.get(name).copied().ok_or_else(|| format!("what call is {name}?"))
}

/// A call under way, and its node.
fn going(
    world: &World,
    calls: &BTreeMap<String, CallId>,
    name: &str,
) -> Result<(usize, CallId), String> {
    let call = known(calls, name)?;
    let node = world.nodes.iter().position(|node| node.calls.contains_key(&call));
    Ok((node.ok_or_else(|| format!("{name} is not under way"))?, call))
}
