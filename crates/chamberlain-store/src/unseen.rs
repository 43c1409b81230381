//! Money that may have been spent unseen: after a restore nobody knows what was spent since the
//! backup, so it is charged until a person says.

use chamberlain_core::ledger::account::{AccountId, Balance};
use chamberlain_core::money::Money;

use crate::change::Change;
use crate::fault::StoreFault;

impl Change<'_> {
    /// The balance of an account, as this change sees it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn balance(&mut self, account: &AccountId) -> Result<Balance, StoreFault> {
        self.state.books.balance(self.connection, account)
    }

    /// Charges an account for what may have been spent unseen.
    ///
    /// # Errors
    /// When the balance would leave its range.
    pub fn charge_unseen(&mut self, account: &AccountId, amount: Money) -> Result<(), StoreFault> {
        let balance = self.balance(account)?;
        let unsettled = balance.unsettled.checked_add(amount).ok_or_else(range)?;
        let charged = Balance { unsettled, ..balance };
        let granted = charged.granted.max(charged.used());
        self.state.books.replace(self.connection, account, Balance { granted, ..charged })
    }

    /// Takes a charge for what may have been spent unseen back, and charges what was spent.
    ///
    /// # Errors
    /// When so much is not charged, or the balance would leave its range.
    pub fn settle_unseen(
        &mut self,
        account: &AccountId,
        charged: Money,
        spent: Money,
    ) -> Result<(), StoreFault> {
        let balance = self.balance(account)?;
        let unsettled = balance.unsettled.checked_sub(charged).filter(|left| *left >= Money::ZERO);
        let unsettled = unsettled.ok_or_else(|| {
            StoreFault::Conflict(format!("{account} has no {charged} that may be taken back"))
        })?;
        let settled = balance.settled.checked_add(spent).ok_or_else(range)?;
        let after = Balance { unsettled, settled, ..balance };
        let granted = after.granted.max(after.used());
        self.state.books.replace(self.connection, account, Balance { granted, ..after })
    }
}

fn range() -> StoreFault {
    StoreFault::OutOfRange("a balance".into())
}
