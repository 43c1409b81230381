//! What calls have cost.

use chamberlain_core::id::EnvironmentName;
use chamberlain_core::money::Money;
use chamberlain_core::time::{Timestamp, Window, WindowKind};
use chamberlain_store::{CostFilter, CostSum};

use super::{Commander, calls, from_store};
use crate::command::CostTop;
use crate::error::CommandError;
use crate::house::House;
use crate::reply::{CostLine, CostSummary, CostTopLines};
use crate::wire::CostBy;
use crate::{scope, when};

const TOP_DEFAULT: u32 = 10;
const TOP_MAX: u32 = 1_000;

impl Commander {
    pub(super) fn cost_today(
        &self,
        environment: Option<&str>,
    ) -> Result<CostSummary, CommandError> {
        self.cost_summary(WindowKind::Daily, environment)
    }

    pub(super) fn cost_month(
        &self,
        environment: Option<&str>,
    ) -> Result<CostSummary, CommandError> {
        self.cost_summary(WindowKind::Monthly, environment)
    }

    fn cost_summary(
        &self,
        kind: WindowKind,
        environment: Option<&str>,
    ) -> Result<CostSummary, CommandError> {
        let ruling = self.settings.read().clone();
        let window = ruling.calendar.window(kind, self.now());
        let mut filter = CostFilter::span(window.start, window.end);
        if let Some(name) = environment {
            scope::environment(name, &ruling.settings)?;
            filter.environment = Some(EnvironmentName::new(name));
        }
        let sum = self.store.cost(&filter).map_err(from_store)?;
        let house = self.house()?;
        Ok(CostSummary {
            from: window.start.into(),
            to: window.end.into(),
            environment: environment.map(str::to_owned),
            calls: sum.calls,
            tokens: sum.tokens,
            cost: sum.cost,
            unsettled: sum.unsettled,
            estimated: sum.estimated,
            mock_calls: sum.mock_calls,
            mock_cost: sum.mock_cost,
            by_environment: self.cost_lines(CostBy::Environment, &filter, sum.cost, &house)?,
            by_model: self.cost_lines(CostBy::Model, &filter, sum.cost, &house)?,
        })
    }

    pub(super) fn cost_top(&self, asked: &CostTop) -> Result<CostTopLines, CommandError> {
        let limit = calls::limit(asked.limit, TOP_DEFAULT, TOP_MAX)?;
        let (ruling, now) = (self.settings.read().clone(), self.now());
        let Window { start, end, .. } = ruling.calendar.window(WindowKind::Monthly, now);
        let from = match &asked.since {
            Some(text) => when::behind(text, now, &ruling.calendar)?,
            None => start,
        };
        let filter = CostFilter::span(from, end);
        let whole = self.store.cost(&filter).map_err(from_store)?.cost;
        let mut lines = self.cost_lines(asked.by, &filter, whole, &self.house()?)?;
        lines.truncate(limit);
        Ok(CostTopLines { by: asked.by, from: from.into(), to: end.into(), cost: whole, lines })
    }

    fn cost_lines(
        &self,
        by: CostBy,
        filter: &CostFilter,
        whole: Money,
        house: &House,
    ) -> Result<Vec<CostLine>, CommandError> {
        let column = match by {
            CostBy::VirtualKey => chamberlain_store::CostBy::VirtualKey,
            CostBy::Environment => chamberlain_store::CostBy::Environment,
            CostBy::Model => chamberlain_store::CostBy::Model,
            CostBy::Operation => chamberlain_store::CostBy::Operation,
        };
        let sums = self.store.cost_by(column, filter).map_err(from_store)?;
        Ok(sums.into_iter().map(|(id, sum)| line(by, id, sum, whole, house)).collect())
    }

    /// Sums up calls by the hour and lets go of those kept no longer, and of resources that expired
    /// a day ago.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn housekeep(&self, now: Timestamp) -> Result<(), CommandError> {
        const DAY_MS: i64 = 86_400_000;
        self.store.roll_up().map_err(from_store)?;
        let kept_ms = i64::from(self.settings.read().settings.retention.calls_days) * DAY_MS;
        let pruned = self.store.prune(now.plus_ms(-kept_ms)).map_err(from_store)?;
        if pruned > 0 {
            tracing::info!(calls = pruned, "calls kept no longer are gone; their hourly sums stay");
        }
        let expired = self.store.prune_resources(now.plus_ms(-DAY_MS)).map_err(from_store)?;
        if expired > 0 {
            tracing::info!(resources = expired, "resources that upstream let go of are forgotten");
        }
        Ok(())
    }
}

fn line(by: CostBy, id: String, sum: CostSum, whole: Money, house: &House) -> CostLine {
    let name = match by {
        CostBy::VirtualKey => {
            let key = house.virtual_keys.iter().find(|key| key.id.as_str() == id);
            key.map_or(id.clone(), |key| key.name.clone())
        }
        CostBy::Operation if id.is_empty() => "(none)".to_owned(),
        _ => id.clone(),
    };
    CostLine {
        id,
        name,
        calls: sum.calls,
        tokens: sum.tokens,
        cost: sum.cost,
        share_basis_points: sum.cost.basis_points_of(whole),
        mock_calls: sum.mock_calls,
        mock_cost: sum.mock_cost,
    }
}
