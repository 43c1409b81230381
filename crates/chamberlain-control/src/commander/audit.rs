//! Commands about the audit log.

use std::ops::ControlFlow;
use std::path::Path;

use chamberlain_core::audit::checkpoint::Checkpoint as Head;
use chamberlain_core::audit::merkle::to_hex;
use chamberlain_core::audit::note::VerifierKey;
use chamberlain_core::audit::proof;
use chamberlain_core::audit::record::{Principal, Record};
use chamberlain_core::audit::tlog_proof::TlogProof;
use chamberlain_core::audit::verify::{Report, Verifier};
use chamberlain_store::{AuditFilter, Change, Facts, Store, StoreFault, StoredCheckpoint};
use serde_json::json;

use super::{Commander, from_store};
use crate::checkpoint::{self, Anchor};
use crate::command::{AuditExport, AuditProve, AuditVerify};
use crate::error::CommandError;
use crate::reply::{
    AuditProblem, AuditProof, AuditRecord, AuditRecords, AuditVerified, Checkpoint,
};

const EXPORT_DEFAULT: u32 = 1_000;
const EXPORT_MAX: u32 = 10_000;

/// Checkpoints read at a time.
const CHECKPOINTS: usize = 1_000;

impl Commander {
    pub(super) fn audit_verify(&self, asked: &AuditVerify) -> Result<AuditVerified, CommandError> {
        let signer = self.signer()?;
        let external = match &asked.checkpoint {
            Some(given) => checkpoint::notes(given),
            None => self.anchored()?,
        };
        let mut verifier = Verifier::new(vec![signer.clone()], 0);
        external.iter().for_each(|note| verifier.checkpoint(note));
        // Asked before the records are: what is signed from now on speaks of records that may
        // come after the last one read here.
        let last = self.last_checkpoint()?.map(|last| last.size);
        let mut kept = Kept { store: &self.store, above: None, last: last.unwrap_or(0) };
        let mut fault = None;
        let each = |record: chamberlain_store::StoredRecord<'_>, hash| {
            if let Err(unread) = kept.hand_over(record.seq, &mut verifier) {
                fault = Some(unread);
                return ControlFlow::Break(());
            }
            verifier.hashed(record.found(), hash);
            ControlFlow::Continue(())
        };
        self.store.audit_hashed(each).map_err(from_store)?;
        fault.map_or(Ok(()), Err).map_err(from_store)?;
        kept.hand_over(u64::MAX, &mut verifier).map_err(from_store)?;
        let report = verifier.finish();
        let problems = problems(&report, asked.checkpoint.is_some() && external.is_empty());
        Ok(AuditVerified {
            ok: problems.is_empty(),
            records: report.records,
            root: report.root.unwrap_or_default(),
            signer: signer.to_string(),
            last_checkpoint: last,
            external: !external.is_empty(),
            problems,
        })
    }

    pub(super) fn audit_prove(
        &self,
        actor: &Principal,
        asked: &AuditProve,
    ) -> Result<AuditProof, CommandError> {
        let seq = asked.seq;
        let bytes = self.store.audit_record(seq).map_err(from_store)?.ok_or_else(|| {
            CommandError::not_found(format!("there is no audit record {seq}"))
                .hint("chamberlain status says how many there are")
        })?;
        let last = self.last_checkpoint()?.filter(|last| last.size > seq);
        let signed = match last {
            Some(last) => last,
            None => self.checkpoint_now()?,
        };
        let hashes = self.store.audit_inclusion(seq, signed.size).map_err(from_store)?;
        let note = note(&signed)?;
        let proof = TlogProof { record: bytes, index: seq, hashes, checkpoint: note };
        proof.verify(&[self.signer()?]).map_err(|error| {
            CommandError::failed(format!("the proof does not hold: {error}"))
                .hint("the log may be damaged: run chamberlain audit verify")
        })?;
        let checkpoint = shown(&signed)?;
        self.put_on_record(actor, "audit.proved", json!({ "seq": seq }))?;
        Ok(AuditProof {
            record: record(seq, &proof.record),
            size: checkpoint.size,
            root: checkpoint.root.clone(),
            path: proof.hashes.iter().map(to_hex).collect(),
            text: proof.to_string(),
            checkpoint,
        })
    }

    pub(super) fn audit_export(
        &self,
        actor: &Principal,
        asked: &AuditExport,
    ) -> Result<AuditRecords, CommandError> {
        let limit = super::calls::limit(asked.limit, EXPORT_DEFAULT, EXPORT_MAX)?;
        let (size, _) = self.store.audit_head().map_err(from_store)?;
        let end = asked.to.unwrap_or(size).min(size);
        let filter = AuditFilter { from: asked.from, to: Some(end), ..AuditFilter::default() };
        let mut records = Vec::new();
        let each = |stored: chamberlain_store::StoredRecord<'_>| {
            records.push(record(stored.seq, stored.bytes));
            if records.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        self.store.audit_matching(&filter, each).map_err(from_store)?;
        let next = records.last().map(|last| last.seq + 1).filter(|next| *next < end);
        let given = json!({ "from": asked.from, "to": end, "records": records.len() });
        self.put_on_record(actor, "audit.exported", given)?;
        Ok(AuditRecords { records, next, size })
    }

    /// Puts on record that records were given out.
    fn put_on_record(
        &self,
        actor: &Principal,
        kind: &'static str,
        given: serde_json::Value,
    ) -> Result<(), CommandError> {
        let work = move |change: &mut Change<'_>| {
            let facts = Facts { after: Some(given), ..Facts::default() };
            change.audit(kind, "audit", &facts).map(drop)
        };
        self.store.change(actor.clone(), work).map_err(from_store)
    }

    pub(super) fn audit_checkpoint(&self) -> Result<Checkpoint, CommandError> {
        shown(&self.checkpoint_now()?)
    }

    /// Signs the head and keeps it, unless the last checkpoint has it already.
    pub(crate) fn checkpoint_now(&self) -> Result<StoredCheckpoint, CommandError> {
        let (size, root) = self.store.audit_head().map_err(from_store)?;
        if let Some(last) = self.last_checkpoint()?.filter(|last| last.size == size) {
            return Ok(last);
        }
        let signer = self.signer()?;
        let head = Head { origin: signer.name().to_owned(), size, root };
        let note = head
            .sign(&signer, |text| self.vault.sign(text))
            .map_err(|error| CommandError::failed(format!("no checkpoint: {error}")))?;
        let signed = StoredCheckpoint { size, at: self.now(), note: note.into_bytes() };
        self.store.insert_checkpoint(signed.clone()).map_err(from_store)?;
        Ok(signed)
    }

    pub(crate) fn last_checkpoint(&self) -> Result<Option<StoredCheckpoint>, CommandError> {
        self.store.last_checkpoint().map_err(from_store)
    }

    /// How many records the log has.
    pub(crate) fn audit_size(&self) -> Result<u64, CommandError> {
        Ok(self.store.audit_head().map_err(from_store)?.0)
    }

    /// Brings the anchor file up to date.
    pub(crate) fn anchor(&self, path: &Path) -> Result<(), String> {
        let mut anchor = Anchor::open(path).map_err(|error| error.to_string())?;
        let last = anchor.last();
        if !last.map_or(Ok(true), |note| self.grew_from(note)).map_err(|error| error.to_string())? {
            return Err(format!(
                "the audit log did not grow from the last head in {}: it was cut, rolled back or \
                 begun anew; nothing is added there (see chamberlain audit verify)",
                path.display()
            ));
        }
        loop {
            let above = anchor.size().unwrap_or(0);
            let missing = self
                .store
                .checkpoints_above(above, CHECKPOINTS)
                .map_err(|fault| fault.to_string())?;
            if missing.is_empty() {
                return Ok(());
            }
            let missing = missing.iter().map(|kept| (kept.size, &kept.note[..]));
            anchor.append(missing).map_err(|error| error.to_string())?;
        }
    }

    /// The signed heads in the anchor file, none where there is no such file.
    pub(crate) fn anchored(&self) -> Result<Vec<String>, CommandError> {
        let Some(path) = self.settings().checkpoint.anchor_file else { return Ok(Vec::new()) };
        let text = checkpoint::read_anchors(&path).map_err(|error| {
            CommandError::failed(format!("the anchor file: {error}"))
                .hint("make it readable, or name a signed head with --checkpoint")
        })?;
        Ok(checkpoint::anchored(&text))
    }

    /// Whether the log grew from the head that `note` is about. `false` also when the note is
    /// signed by somebody else.
    pub(crate) fn grew_from(&self, note: &str) -> Result<bool, CommandError> {
        let Ok(head) = Head::open(note, &[self.signer()?]) else { return Ok(false) };
        let (size, root) = self.store.audit_head().map_err(from_store)?;
        if head.size > size {
            return Ok(false);
        }
        let path = self.store.audit_consistency(head.size, size).map_err(from_store)?;
        Ok(proof::is_consistent(head.size, size, &head.root, &root, &path))
    }

    pub(crate) fn signer(&self) -> Result<VerifierKey, CommandError> {
        checkpoint::signer(&self.vault).map_err(CommandError::failed)
    }
}

/// The checkpoints kept beside the log, handed to a verifier some at a time, so that memory does
/// not grow with their number.
struct Kept<'a> {
    store: &'a Store,
    /// The largest size handed over; `None` before the first, and at the end `u64::MAX`.
    above: Option<u64>,
    /// Checkpoints over more records than these are left for the next time.
    last: u64,
}

impl Kept<'_> {
    /// Hands over at least all that speak of `size` records or fewer.
    fn hand_over(&mut self, size: u64, verifier: &mut Verifier) -> Result<(), StoreFault> {
        while self.above.is_none_or(|above| above <= size && above < u64::MAX) {
            // A head over no records says nothing.
            let page = self.store.checkpoints_above(self.above.unwrap_or(0), CHECKPOINTS)?;
            self.above = Some(page.last().map_or(u64::MAX, |last| last.size));
            for kept in page.into_iter().filter(|kept| kept.size <= self.last) {
                verifier.checkpoint(&String::from_utf8_lossy(&kept.note));
            }
        }
        Ok(())
    }
}

fn problems(report: &Report, no_note: bool) -> Vec<AuditProblem> {
    let mut problems: Vec<AuditProblem> = [&report.integrity, &report.completeness]
        .into_iter()
        .flatten()
        .map(|finding| AuditProblem {
            seq: Some(finding.index),
            problem: finding.fault.to_string(),
        })
        .collect();
    let more = report.faults.saturating_sub(problems.len() as u64);
    if more > 0 && !problems.is_empty() {
        let problem = format!("{more} further faults, at these places or later");
        problems.push(AuditProblem { seq: None, problem });
    }
    if no_note {
        let problem = "the checkpoint to compare with is empty".to_owned();
        problems.push(AuditProblem { seq: None, problem });
    }
    problems
}

fn record(seq: u64, bytes: &[u8]) -> AuditRecord {
    AuditRecord {
        seq,
        leaf_hash: to_hex(&chamberlain_core::audit::merkle::leaf_hash(bytes)),
        record: serde_json::from_slice(bytes).ok(),
    }
}

fn note(signed: &StoredCheckpoint) -> Result<String, CommandError> {
    String::from_utf8(signed.note.clone())
        .map_err(|_| CommandError::failed("the stored checkpoint is not text"))
}

/// A checkpoint as people are shown it.
pub(super) fn shown(signed: &StoredCheckpoint) -> Result<Checkpoint, CommandError> {
    let note = note(signed)?;
    let head = Head::unverified(&note)
        .ok_or_else(|| CommandError::failed("the stored checkpoint cannot be read"))?;
    Ok(Checkpoint { size: head.size, root: to_hex(&head.root), at: signed.at.into(), note })
}

/// The time of the last record, for noticing a clock that was set back.
pub(super) fn last_record(commander: &Commander) -> Result<Option<Record>, CommandError> {
    let (size, _) = commander.store.audit_head().map_err(from_store)?;
    let Some(last) = size.checked_sub(1) else { return Ok(None) };
    let bytes = commander.store.audit_record(last).map_err(from_store)?;
    Ok(bytes.and_then(|bytes| Record::read(&bytes).ok()))
}
