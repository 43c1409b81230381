//! Commands about budgets and limits.

use chamberlain_core::admission::key::VirtualKey;
use chamberlain_core::audit::record::Principal;
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::overrides::Overrides;
use chamberlain_store::{Change, Facts};

use super::{Commander, fact};
use crate::command::{BudgetList, BudgetSet, LimitList, LimitSet};
use crate::error::CommandError;
use crate::house;
use crate::reply::{BudgetLine, BudgetLines, LimitLines};
use crate::virtual_key::{self, Ground};
use crate::{scope, view};

impl Commander {
    pub(super) fn budget_list(&self, asked: &BudgetList) -> Result<BudgetLines, CommandError> {
        let house = self.house()?;
        let ruling = self.settings.read().clone();
        let named = asked.scope.as_deref();
        let scopes = match named {
            Some(text) => vec![scope::scope(text, &house, &ruling.settings)?],
            None => scope::all(&house, &ruling.settings),
        };
        let budgets = self.budget_lines(&scopes, named.is_some())?;
        Ok(BudgetLines { budgets, notes: Vec::new() })
    }

    /// The budgets of `scopes`; those without a limit or spending only when `all` are wanted.
    pub(super) fn budget_lines(
        &self,
        scopes: &[Scope],
        all: bool,
    ) -> Result<Vec<BudgetLine>, CommandError> {
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        let balances = self.balances()?;
        // Without a gateway nobody knows which of the windows a person has accepted as in force.
        let counted = self.live.get().map(|_| view::counted_at(balances.keys(), self.now()));
        let now = counted.unwrap_or_else(|| self.now());
        let lines = scopes.iter().flat_map(|of| {
            view::budgets(of, &house, &ruling.settings, &balances, &ruling.calendar, now)
        });
        let matters = |line: &BudgetLine| {
            let used = [line.settled, line.unsettled, line.reserved];
            all || line.limit.is_some() || used.iter().any(|money| !money.is_zero())
        };
        Ok(lines.filter(matters).collect())
    }

    pub(super) fn budget_set(
        &self,
        actor: &Principal,
        asked: BudgetSet,
    ) -> Result<BudgetLines, CommandError> {
        if asked.daily.is_keep() && asked.monthly.is_keep() {
            return Err(CommandError::usage("nothing to set")
                .hint("give --daily or --monthly, an amount, `off` or `default`"));
        }
        let named = asked.scope.clone();
        let of = self.change_terms(
            actor,
            &named,
            "budget.changed",
            |overrides| {
                house::put(&mut overrides.daily, asked.daily);
                house::put(&mut overrides.monthly, asked.monthly);
            },
            |key| {
                virtual_key::put(&mut key.budgets.daily, asked.daily);
                virtual_key::put(&mut key.budgets.monthly, asked.monthly);
            },
        )?;
        let budgets = self.budget_lines(std::slice::from_ref(&of), true)?;
        Ok(BudgetLines { budgets, notes: self.pause_notes(&of)? })
    }

    pub(super) fn limit_list(&self, asked: &LimitList) -> Result<LimitLines, CommandError> {
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        let settings = &ruling.settings;
        let scopes = match &asked.scope {
            Some(text) => vec![limited(scope::scope(text, &house, settings)?)?],
            None => {
                let mut scopes = scope::all(&house, settings);
                scopes.retain(|of| match of {
                    Scope::Organization => false,
                    Scope::Environment(_) => true,
                    Scope::VirtualKey(_) => !house.limits(of, settings).is_empty(),
                });
                scopes
            }
        };
        let limits = scopes.iter().map(|of| view::limits(of, &house, settings)).collect();
        Ok(LimitLines { limits })
    }

    pub(super) fn limit_set(
        &self,
        actor: &Principal,
        asked: LimitSet,
    ) -> Result<LimitLines, CommandError> {
        let all = [asked.rpm, asked.input_tpm, asked.output_tpm, asked.concurrency];
        if all.iter().all(crate::wire::Change::is_keep) {
            return Err(CommandError::usage("nothing to set").hint(
                "give --rpm, --input-tpm, --output-tpm or --concurrency, a number, `off` or \
                 `default`",
            ));
        }
        let named = asked.scope.clone();
        let of = self.change_terms(
            actor,
            &named,
            "limit.changed",
            |overrides| {
                house::put(&mut overrides.requests_per_minute, asked.rpm);
                house::put(&mut overrides.input_tokens_per_minute, asked.input_tpm);
                house::put(&mut overrides.output_tokens_per_minute, asked.output_tpm);
                house::put(&mut overrides.concurrency, asked.concurrency);
            },
            |key| {
                virtual_key::put(&mut key.limits.requests_per_minute, asked.rpm);
                virtual_key::put(&mut key.limits.input_tokens_per_minute, asked.input_tpm);
                virtual_key::put(&mut key.limits.output_tokens_per_minute, asked.output_tpm);
                virtual_key::put(&mut key.limits.concurrency, asked.concurrency);
            },
        )?;
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        Ok(LimitLines { limits: vec![view::limits(&of, &house, &ruling.settings)] })
    }

    /// Changes budgets or limits of a scope, wherever that scope keeps them.
    fn change_terms(
        &self,
        actor: &Principal,
        named: &str,
        kind: &'static str,
        on_scope: impl FnOnce(&mut Overrides),
        on_key: impl FnOnce(&mut VirtualKey),
    ) -> Result<Scope, CommandError> {
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        let of = scope::scope(named, &house, &ruling.settings)?;
        let of = if kind == "limit.changed" { limited(of)? } else { of };
        if let Scope::VirtualKey(id) = &of {
            self.change_virtual_key(actor, id.as_str(), kind, None, |key, _| {
                let mut changed = key.clone();
                on_key(&mut changed);
                virtual_key::terms(&changed.budgets, &changed.limits)?;
                Ok(changed)
            })?;
            return Ok(of);
        }
        self.change(actor, |ground| {
            let before = ground.house.overrides(&of);
            let mut after = before.clone();
            on_scope(&mut after);
            check(&of, &after, ground)?;
            let facts = Facts { reason: None, before: fact(&before), after: fact(&after) };
            Ok(move |change: &mut Change<'_>| {
                change.save_overrides(&of, &after)?;
                change.audit(kind, &scope::subject(&of), &facts)?;
                Ok(of)
            })
        })
    }
}

fn check(of: &Scope, after: &Overrides, ground: Ground<'_>) -> Result<(), CommandError> {
    let mut house = ground.house.clone();
    house.overrides.insert(of.clone(), after.clone());
    virtual_key::terms(&house.budgets(of, ground.settings), &house.limits(of, ground.settings))
}

fn limited(of: Scope) -> Result<Scope, CommandError> {
    match of {
        Scope::Organization => Err(CommandError::usage("the organization has no rate limits")
            .hint("set them on an environment or a virtual key")),
        of => Ok(of),
    }
}
