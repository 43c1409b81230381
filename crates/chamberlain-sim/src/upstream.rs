//! What upstream does with a call that was sent, and what it is charged: the rows of "Who pays
//! what" in docs/request.md, without the words.

/// What upstream bills.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bill {
    Nothing,
    /// Anything up to the bound.
    Something,
}

/// What the call is charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Charge {
    Nothing,
    Exactly,
    /// Anything from what was billed to the bound.
    Estimate,
    /// The bound, as an estimate.
    Bound,
    /// The bound, unsettled.
    Unsettled,
    /// As unsettled; upstream goes on with it, and bills it later.
    Batch,
}

/// One way in which a call ends.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) bill: Bill,
    pub(crate) charge: Charge,
    /// How often it happens among all, in parts.
    pub(crate) parts: u64,
}

const fn row(name: &'static str, bill: Bill, charge: Charge, parts: u64) -> Row {
    Row { name, bill, charge, parts }
}

/// Every way in which a call that was sent ends.
pub(crate) static ROWS: [Row; 13] = [
    row("completed", Bill::Something, Charge::Exactly, 50),
    row("refused", Bill::Nothing, Charge::Nothing, 5),
    row("overloaded", Bill::Nothing, Charge::Nothing, 5),
    row("failed_elsewhere", Bill::Nothing, Charge::Unsettled, 2),
    row("failed_after_all", Bill::Something, Charge::Unsettled, 2),
    row("no_answer", Bill::Something, Charge::Unsettled, 4),
    row("cut_after_usage", Bill::Something, Charge::Exactly, 4),
    row("cut_within", Bill::Something, Charge::Estimate, 8),
    row("cut_before_usage", Bill::Something, Charge::Unsettled, 4),
    row("error_event", Bill::Nothing, Charge::Nothing, 3),
    row("usage_unreadable", Bill::Something, Charge::Unsettled, 3),
    row("no_price", Bill::Something, Charge::Bound, 3),
    row("batch", Bill::Nothing, Charge::Batch, 6),
];

/// The row of that name.
pub(crate) fn named(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}
