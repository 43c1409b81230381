//! `chamberlain budget`: hard limits in money.

use chamberlain_control::command::{BudgetList, BudgetSet};
use chamberlain_control::reply::{BudgetLine, BudgetLines, ScopeKind, ScopeName};
use chamberlain_control::wire::Change;
use chamberlain_core::money::Money;
use clap::{Args, Subcommand};

use super::context::Context;
use super::parse;
use crate::failure::Failure;
use crate::out::{Out, or_dash};

const EXAMPLES: &str = "\
Examples:
  chamberlain budget list
  chamberlain budget set production --daily 150
  chamberlain budget set organization --monthly 5000
  chamberlain budget set ci --daily default             what the configuration says again";

/// Budgets: list, set
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Budget {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List budgets with what is spent, reserved and left
    List {
        /// `organization`, an environment, or a virtual key; all when absent
        scope: Option<String>,
    },
    /// Set budgets of a scope; `off` removes one, `default` goes back to the configuration
    Set {
        /// `organization`, an environment, or a virtual key
        scope: String,
        /// Per calendar day
        #[arg(long, value_name = "USD|off|default", value_parser = parse::money_change)]
        daily: Option<Change<Money>>,
        /// Per calendar month
        #[arg(long, value_name = "USD|off|default", value_parser = parse::money_change)]
        monthly: Option<Change<Money>>,
    },
}

impl Budget {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let lines = match self.verb {
            Verb::List { scope } => context.ask(BudgetList { scope })?,
            Verb::Set { daily: None, monthly: None, .. } => {
                return Err(Failure::usage("nothing to set").hint("name --daily or --monthly"));
            }
            Verb::Set { scope, daily, monthly } => context.ask(BudgetSet {
                scope,
                daily: daily.unwrap_or_default(),
                monthly: monthly.unwrap_or_default(),
            })?,
        };
        context.show(&lines, table)?;
        if !context.out.json {
            lines.notes.iter().for_each(|note| context.out.hint(note));
        }
        Ok(())
    }
}

/// A scope as people name it.
pub(super) fn scope(scope: &ScopeName) -> String {
    match scope.kind {
        ScopeKind::Organization => "organization".to_owned(),
        ScopeKind::Environment => scope.name.clone(),
        ScopeKind::VirtualKey => format!("virtual:{}", scope.name),
    }
}

/// Hundredths of a percent as a percentage with one decimal.
pub(super) fn percent(basis_points: Option<u64>) -> String {
    or_dash(basis_points.map(|points| format!("{}.{}%", points / 100, points % 100 / 10)))
}

pub(super) fn table(out: &Out, lines: &BudgetLines) -> Result<(), Failure> {
    let rows = lines.budgets.iter().map(row).collect();
    out.table(&["scope", "window", "limit", "spent", "reserved", "left", "used", "set by"], rows)
}

fn row(line: &BudgetLine) -> Vec<String> {
    let spent = line.settled.checked_add(line.unsettled);
    vec![
        scope(&line.scope),
        line.window.name().to_owned(),
        or_dash(line.limit),
        or_dash(spent),
        line.reserved.to_string(),
        or_dash(line.left),
        percent(line.spent_basis_points),
        line.source.clone(),
    ]
}
