//! The rules that a scan goes by: the built-in ones, fewer, or more.

use std::sync::Arc;

use crate::custom::{Custom, CustomError, CustomRule, RULES_MAX};
use crate::pack::SHAPES;
use crate::rule::Rule;
use crate::shape::Shape;
use crate::{anthropic, virtual_key};

/// What finds the secrets of a rule.
#[derive(Clone)]
pub(crate) enum Detector {
    /// One of the kinds of [`anthropic`]; one detector serves them all.
    Anthropic,
    VirtualKey,
    Shape(&'static Shape),
    Custom(Arc<Custom>),
}

/// A list of rules.
#[derive(Clone)]
pub struct Rules {
    pub(crate) list: Vec<(Arc<Rule>, Detector)>,
}

impl Rules {
    /// Anthropic's credentials and Chamberlain's virtual keys: what a gateway must not let pass.
    pub fn anthropic() -> Rules {
        let anthropic = anthropic::rules().into_iter().map(|rule| (rule, Detector::Anthropic));
        let all = anthropic.chain([(virtual_key::rule(), Detector::VirtualKey)]);
        Rules { list: all.map(|(rule, detector)| (Arc::new(rule), detector)).collect() }
    }

    /// All that are built in.
    pub fn builtin() -> Rules {
        let mut rules = Rules::anthropic();
        let shapes = SHAPES.iter().map(|shape| (Arc::new(shape.rule()), Detector::Shape(shape)));
        rules.list.extend(shapes);
        rules
    }

    /// These and rules of one's own.
    ///
    /// # Errors
    /// When a rule is malformed, its name is taken, or there are more than 500.
    pub fn with(mut self, custom: Vec<CustomRule>) -> Result<Rules, CustomError> {
        for (number, rule) in custom.into_iter().enumerate() {
            let refuse =
                |problem: &str| CustomError { rule: rule.id.clone(), problem: problem.to_owned() };
            if number >= RULES_MAX {
                return Err(refuse("there are more than 500 rules of your own"));
            }
            if self.get(&rule.id).is_some() {
                return Err(refuse("another rule has this id"));
            }
            let custom = Arc::new(Custom::new(rule)?);
            self.list.push((Arc::new(custom.rule.clone()), Detector::Custom(custom)));
        }
        Ok(self)
    }

    /// Those of these rules that `keep` says yes to.
    pub fn only(mut self, keep: impl Fn(&Rule) -> bool) -> Rules {
        self.list.retain(|(rule, _)| keep(rule));
        self
    }

    /// The rules, in the order in which they are listed.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.list.iter().map(|(rule, _)| &**rule)
    }

    /// The rule of that name.
    pub fn get(&self, id: &str) -> Option<&Rule> {
        self.iter().find(|rule| rule.id == id)
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|rule| &rule.id)).finish()
    }
}
