//! Resources: whose each is that upstream keeps. A resource never changes its owner; making and
//! deleting files and batches is on record.

use chamberlain_core::audit::record::{Change as Changed, Principal};
use chamberlain_core::id::{EnvironmentName, UpstreamKeyId, VirtualKeyId};
use chamberlain_core::record::{Notice, Severity};
use chamberlain_core::resource::{
    Binding, PageFrom, Resource, ResourceId, ResourceKind, ResourceList, ResourcePage,
};
use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::change::{Change, Facts};
use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::{self, Word, from_json, read_word, unreadable, word};
use crate::writer::calls::{Trouble, facts};
use crate::writer::queue::Item;
use crate::writer::state::State;

const COLUMNS: &str =
    "kind, id, virtual_key, environment, upstream_key, created_at, expires_at, about";

const BIND: &str = "
    INSERT INTO resources (kind, id, virtual_key, environment, upstream_key, created_at,
                           expires_at, about)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (kind, id) DO NOTHING";

const BIND_AGAIN: &str = "
    UPDATE resources
    SET upstream_key = ?4, expires_at = ?5, about = iif(?6 = '{}', about, ?6)
    WHERE kind = ?1 AND id = ?2 AND virtual_key = ?3";

/// Rows taken away in one transaction: calls that are being made wait for it.
const STEP: u64 = 5_000;

const PRUNE: &str = "
    DELETE FROM resources WHERE (kind, id) IN (
        SELECT kind, id FROM resources WHERE expires_at < ?1
            AND NOT (kind = 'batch' AND json_extract(about, '$.state') IS 'open')
        LIMIT ?2)";

/// Something to be kept about a resource.
pub(crate) enum Keeping {
    Bind(Resource),
    Describe { kind: ResourceKind, id: ResourceId, about: Map<String, Value> },
    Forget { kind: ResourceKind, id: ResourceId, at: Timestamp },
}

impl Word for ResourceKind {
    const WORDS: &'static [(ResourceKind, &'static str)] = &[
        (ResourceKind::Message, "message"),
        (ResourceKind::Container, "container"),
        (ResourceKind::File, "file"),
        (ResourceKind::Batch, "batch"),
    ];
}

impl Store {
    /// Binds a resource to its virtual key. When the answer is [`Binding::Bound`], it survives a
    /// process kill. Bound again to the same key, it keeps its age, and what is
    /// remembered of it where nothing new is; the rest it takes anew.
    pub fn bind(&self, resource: Resource) -> oneshot::Receiver<Result<Binding, StoreFault>> {
        let (answer, answered) = oneshot::channel();
        self.push(Item::Bind(Box::new(Keeping::Bind(resource)), answer));
        answered
    }

    /// Remembers something else about a resource, in place of what was remembered before. The
    /// answer is [`StoreFault::Missing`] when there is no such resource.
    pub fn describe(
        &self,
        kind: ResourceKind,
        id: ResourceId,
        about: Map<String, Value>,
    ) -> oneshot::Receiver<Result<Binding, StoreFault>> {
        let (answer, answered) = oneshot::channel();
        self.push(Item::Bind(Box::new(Keeping::Describe { kind, id, about }), answer));
        answered
    }

    /// Forgets a resource that upstream deleted. Forgetting what is not there changes nothing.
    pub fn forget(
        &self,
        kind: ResourceKind,
        id: ResourceId,
        at: Timestamp,
    ) -> oneshot::Receiver<Result<Binding, StoreFault>> {
        let (answer, answered) = oneshot::channel();
        self.push(Item::Bind(Box::new(Keeping::Forget { kind, id, at }), answer));
        answered
    }

    /// Looks resources up, each in its place. Blocks.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn resources(
        &self,
        wanted: &[(ResourceKind, ResourceId)],
    ) -> Result<Vec<Option<Resource>>, StoreFault> {
        self.read(|connection| {
            wanted.iter().map(|(kind, id)| find(connection, *kind, id)).collect()
        })
    }

    /// A page of a virtual key's own; `None` when the page begins at one that is not its own.
    /// Blocks.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn resources_of(&self, page: &ResourcePage) -> Result<Option<ResourceList>, StoreFault> {
        self.read(|connection| list(connection, page))
    }

    /// Every batch whose cost is not known yet, whoever it belongs to. Blocks.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open_batches(&self) -> Result<Vec<Resource>, StoreFault> {
        self.batches(true, usize::MAX)
    }

    /// Batches of all virtual keys, the newest first; only those whose cost is not known yet, if
    /// so asked. Blocks.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn batches(&self, only_open: bool, limit: usize) -> Result<Vec<Resource>, StoreFault> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM resources
                 WHERE kind = 'batch' AND (?1 = 0 OR json_extract(about, '$.state') = 'open')
                 ORDER BY created_at DESC, id DESC LIMIT ?2"
            );
            let mut query = connection.prepare_cached(&sql)?;
            let rows = query.query_map(params![only_open, limit], resource)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Takes away resources that expired before `before`, but no batch whose cost is not known yet:
    /// it is let go by whoever learns it, or tells a person that it will not be. Gives how many
    /// are gone. Blocks.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn prune_resources(&self, before: Timestamp) -> Result<u64, StoreFault> {
        let mut pruned = 0;
        loop {
            let step =
                self.change(Principal::Chamberlain, move |change| prune_step(change, before))?;
            pruned += step;
            if step < STEP {
                return Ok(pruned);
            }
        }
    }
}

impl State {
    /// Keeps what is to be kept about a resource.
    pub(crate) fn keep(
        &mut self,
        connection: &Connection,
        keeping: &Keeping,
        now: Timestamp,
    ) -> Result<Binding, Trouble> {
        match keeping {
            Keeping::Bind(resource) => self.bind(connection, resource, now),
            Keeping::Describe { kind, id, about } => {
                let about = words::json(about).map_err(Trouble::Refused)?;
                let changed = connection
                    .prepare_cached("UPDATE resources SET about = ?3 WHERE kind = ?1 AND id = ?2")?
                    .execute(params![word(*kind), id.as_str(), about])?;
                if changed == 0 {
                    return Err(Trouble::Refused(StoreFault::Missing(format!("{kind} {id}"))));
                }
                Ok(Binding::Bound)
            }
            Keeping::Forget { kind, id, at } => {
                self.forget(connection, *kind, id, *at)?;
                Ok(Binding::Bound)
            }
        }
    }

    fn bind(
        &mut self,
        connection: &Connection,
        resource: &Resource,
        now: Timestamp,
    ) -> Result<Binding, Trouble> {
        let Resource { kind, id, virtual_key, environment, .. } = resource;
        let upstream_key = resource.upstream_key.as_ref().map(|key| key.as_str());
        let expires = resource.expires.map(Timestamp::ms);
        let about = words::json(&resource.about).map_err(Trouble::Refused)?;
        let inserted = connection.prepare_cached(BIND)?.execute(params![
            word(*kind),
            id.as_str(),
            virtual_key.as_str(),
            environment.as_str(),
            upstream_key,
            resource.created.ms(),
            expires,
            about,
        ])?;
        if inserted == 1 {
            self.audit_resource(connection, resource, "created", resource.created)?;
            return Ok(Binding::Bound);
        }
        let again = connection.prepare_cached(BIND_AGAIN)?.execute(params![
            word(*kind),
            id.as_str(),
            virtual_key.as_str(),
            upstream_key,
            expires,
            about,
        ])?;
        if again == 1 {
            return Ok(Binding::Bound);
        }
        self.note(connection, &taken(resource, now))?;
        Ok(Binding::Taken)
    }

    fn forget(
        &mut self,
        connection: &Connection,
        kind: ResourceKind,
        id: &ResourceId,
        at: Timestamp,
    ) -> Result<(), Trouble> {
        let Some(resource) = find(connection, kind, id)? else { return Ok(()) };
        connection
            .prepare_cached("DELETE FROM resources WHERE kind = ?1 AND id = ?2")?
            .execute(params![word(kind), id.as_str()])?;
        self.audit_resource(connection, &resource, "deleted", at)
    }

    /// Puts the making or the end of a file or a batch on record.
    fn audit_resource(
        &mut self,
        connection: &Connection,
        resource: &Resource,
        verb: &str,
        at: Timestamp,
    ) -> Result<(), Trouble> {
        if !resource.kind.is_audited() {
            return Ok(());
        }
        let state = json!({
            "environment": resource.environment,
            "upstream_key": resource.upstream_key,
            "virtual_key": resource.virtual_key,
        });
        let (before, after) =
            if verb == "created" { (None, Some(&state)) } else { (Some(&state), None) };
        let actor = Principal::VirtualKey(resource.virtual_key.clone());
        let kind = format!("{}.{verb}", resource.kind);
        let subject = resource.id.as_str();
        let change =
            Changed { at, actor: &actor, kind: &kind, subject, reason: None, before, after };
        self.log.change(connection, &change)?;
        Ok(())
    }
}

fn taken(resource: &Resource, now: Timestamp) -> Notice {
    let Resource { kind, id, virtual_key, .. } = resource;
    Notice {
        at: now,
        kind: "resource.taken".into(),
        severity: Severity::High,
        subject: format!("{kind} {id}"),
        message: format!(
            "Upstream handed out the {kind} id {id} to the virtual key {virtual_key}, and it \
             belongs to another already; it was kept from the client."
        ),
        facts: facts(json!({ "kind": kind, "id": id, "virtual_key": virtual_key })),
        notify: false,
    }
}

fn prune_step(change: &mut Change<'_>, before: Timestamp) -> Result<u64, StoreFault> {
    let gone = change.connection.prepare_cached(PRUNE)?.execute(params![before.ms(), STEP])? as u64;
    if gone > 0 {
        let after = json!({ "before": before.to_rfc3339(), "resources": gone });
        let facts = Facts { after: Some(after), ..Facts::default() };
        change.audit("resources.pruned", "store", &facts)?;
    }
    Ok(gone)
}

fn find(
    connection: &Connection,
    kind: ResourceKind,
    id: &ResourceId,
) -> Result<Option<Resource>, StoreFault> {
    let sql = format!("SELECT {COLUMNS} FROM resources WHERE kind = ?1 AND id = ?2");
    let mut query = connection.prepare_cached(&sql)?;
    Ok(query.query_row(params![word(kind), id.as_str()], resource).optional()?)
}

fn list(connection: &Connection, page: &ResourcePage) -> Result<Option<ResourceList>, StoreFault> {
    let own = |id: &ResourceId| -> Result<Option<Resource>, StoreFault> {
        Ok(find(connection, page.kind, id)?.filter(|it| it.virtual_key == page.virtual_key))
    };
    let newest = (i64::MAX, String::new());
    let (condition, order, (created, id)) = match &page.from {
        PageFrom::Newest => ("<", "DESC", newest),
        PageFrom::After(id) => match own(id)? {
            Some(it) => ("<", "DESC", (it.created.ms(), id.as_str().to_owned())),
            None => return Ok(None),
        },
        PageFrom::Before(id) => match own(id)? {
            Some(it) => (">", "ASC", (it.created.ms(), id.as_str().to_owned())),
            None => return Ok(None),
        },
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM resources
         WHERE virtual_key = ?1 AND kind = ?2 AND (created_at, id) {condition} (?3, ?4)
           AND (expires_at IS NULL OR expires_at > ?5)
         ORDER BY created_at {order}, id {order} LIMIT ?6"
    );
    let mut query = connection.prepare_cached(&sql)?;
    let values = params![
        page.virtual_key.as_str(),
        word(page.kind),
        created,
        id,
        page.now.ms(),
        page.count.saturating_add(1)
    ];
    let mut resources: Vec<Resource> =
        query.query_map(values, resource)?.collect::<Result<_, _>>()?;
    let has_more = resources.len() > page.count;
    resources.truncate(page.count);
    if order == "ASC" {
        resources.reverse();
    }
    Ok(Some(ResourceList { resources, has_more }))
}

fn resource(row: &Row<'_>) -> rusqlite::Result<Resource> {
    let id = row.get_ref(1)?.as_str()?;
    Ok(Resource {
        kind: read_word(row, 0)?,
        id: ResourceId::parse(id).ok_or_else(|| unreadable(row, 1))?,
        virtual_key: VirtualKeyId::new(row.get::<_, String>(2)?),
        environment: EnvironmentName::new(row.get::<_, String>(3)?),
        upstream_key: row.get::<_, Option<String>>(4)?.map(UpstreamKeyId::new),
        created: Timestamp::from_ms(row.get(5)?),
        expires: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_ms),
        about: from_json(row, 7)?,
    })
}
