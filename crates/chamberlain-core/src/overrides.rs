//! What commands have put over the configuration of a scope. The store keeps it; the configuration
//! stays what it is.

use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::snapshot::{Budgets, Limits, Pause};
use crate::time::{Timestamp, WindowKind};

/// A value that a command put over the configuration's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override<T> {
    /// None, whatever the configuration says.
    Off,
    /// This.
    Set(T),
}

impl<T: Copy> Override<T> {
    /// What is in force: the override, or else what is configured.
    fn over(this: Option<Override<T>>, configured: Option<T>) -> Option<T> {
        match this {
            None => configured,
            Some(Override::Off) => None,
            Some(Override::Set(value)) => Some(value),
        }
    }
}

/// The budget that was used up when a scope was paused for it. Whoever resumes the scope is not
/// contradicted until another limit or another window is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exceeded {
    /// Day or month.
    pub window: WindowKind,
    /// When the window began.
    pub start: Timestamp,
    /// The limit.
    pub limit: Money,
}

/// Everything commands have put over the configuration of one scope.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// Budget per day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<Override<Money>>,
    /// Budget per month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<Override<Money>>,
    /// Requests in any minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<Override<u64>>,
    /// Input tokens in any minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens_per_minute: Option<Override<u64>>,
    /// Output tokens in any minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens_per_minute: Option<Override<u64>>,
    /// Calls in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Override<u64>>,
    /// Its pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// The budgets it was last paused for, one of each kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceeded: Vec<Exceeded>,
}

impl Overrides {
    /// The budgets in force over those configured.
    pub fn budgets(&self, configured: Budgets) -> Budgets {
        Budgets {
            daily: Override::over(self.daily, configured.daily),
            monthly: Override::over(self.monthly, configured.monthly),
        }
    }

    /// The limits in force over those configured.
    pub fn limits(&self, configured: Limits) -> Limits {
        Limits {
            requests_per_minute: Override::over(
                self.requests_per_minute,
                configured.requests_per_minute,
            ),
            input_tokens_per_minute: Override::over(
                self.input_tokens_per_minute,
                configured.input_tokens_per_minute,
            ),
            output_tokens_per_minute: Override::over(
                self.output_tokens_per_minute,
                configured.output_tokens_per_minute,
            ),
            concurrency: Override::over(self.concurrency, configured.concurrency),
        }
    }

    /// Whether a command set the budget of that window.
    pub fn sets_budget(&self, window: WindowKind) -> bool {
        match window {
            WindowKind::Daily => self.daily.is_some(),
            WindowKind::Monthly => self.monthly.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_kept_as_json() {
        let overrides = Overrides {
            daily: Some(Override::Set(Money::from_usd(40))),
            concurrency: Some(Override::Off),
            exceeded: vec![Exceeded {
                window: WindowKind::Daily,
                start: Timestamp::from_ms(5),
                limit: Money::from_usd(40),
            }],
            ..Overrides::default()
        };
        let text = serde_json::to_string(&overrides).unwrap();
        assert_eq!(
            text,
            r#"{"daily":{"set":"40.00"},"concurrency":"off","exceeded":[{"window":"daily","start":5,"limit":"40.00"}]}"#
        );
        assert_eq!(serde_json::from_str::<Overrides>(&text).unwrap(), overrides);
        assert_eq!(serde_json::from_str::<Overrides>("{}").unwrap(), Overrides::default());
    }
}
