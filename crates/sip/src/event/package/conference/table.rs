//! A conference put together from documents: RFC 4575 §4.6.

use std::collections::BTreeMap;

use super::{ConferenceInfo, Description, Endpoint, Host, Media, Part, Sidebars, UriEntry, UriList, User, Users};
use crate::event::package::Applied;

/// Users, endpoints, streams and sidebars together that a [`ConferenceTable`] holds by default.
pub const DEFAULT_CONFERENCE_ROWS: usize = 8192;

/// What a subscriber knows of one conference.
#[derive(Clone, Debug)]
pub struct ConferenceTable {
    conference: Option<ConferenceInfo>,
    version: Option<u32>,
    lost: bool,
    rows: usize,
}

impl Default for ConferenceTable {
    fn default() -> Self {
        Self::new(DEFAULT_CONFERENCE_ROWS)
    }
}

impl ConferenceTable {
    /// An empty table. Partial documents that would grow it beyond `rows` users, endpoints, streams and sidebars are not
    /// applied; a full one is bounded by what is read of a document.
    pub fn new(rows: usize) -> Self {
        Self { conference: None, version: None, lost: false, rows }
    }

    /// What is known: every [`Part`] in it is full. None before the first full document.
    pub fn conference(&self) -> Option<&ConferenceInfo> {
        self.conference.as_ref()
    }

    /// Whether the focus said that the conference is over: unsubscribe (§4.6).
    pub fn has_ended(&self) -> bool {
        self.conference.as_ref().is_some_and(|it| it.state == Part::Deleted)
    }

    /// Whether nothing is known to be missing.
    pub fn is_complete(&self) -> bool {
        self.conference.is_some() && !self.lost
    }

    /// The version of the last document that was processed.
    pub fn version(&self) -> Option<u32> {
        self.version
    }

    /// Applies a document. A partial one after a gap in the versions is not processed (§4.6): the table stays as it was
    /// until full state comes.
    pub fn apply(&mut self, document: ConferenceInfo) -> Applied {
        let number = document.version.unwrap_or_default();
        if self.version.is_some_and(|known| number <= known) {
            return Applied::Stale;
        }
        if document.state != Part::Partial {
            let ended = document.state == Part::Deleted;
            let mut conference = full(document);
            if ended {
                // What a deleted part contains is ignored (§4.4).
                conference = ConferenceInfo::new(conference.entity, number, Part::Deleted);
            }
            (self.conference, self.version, self.lost) = (Some(conference), Some(number), false);
            return Applied::Complete;
        }
        let follows = self.version.is_some_and(|known| number == known + 1);
        match &mut self.conference {
            Some(conference) if follows && !self.lost && count(conference) + count(&document) <= self.rows => {
                conference.version = Some(number);
                self.version = Some(number);
                merge(conference, document);
                Applied::Complete
            }
            _ => {
                self.lost = true;
                Applied::NeedsRefresh
            }
        }
    }
}

/// Step 3 for a conference or a sidebar: what the update does not have stays.
fn merge(known: &mut ConferenceInfo, update: ConferenceInfo) {
    let ConferenceInfo { description, host, conference_state, users, sidebars_by_ref, sidebars_by_val, .. } = update;
    replace(&mut known.description, description.map(full_description));
    replace(&mut known.host, host.map(full_host));
    replace(&mut known.conference_state, conference_state);
    if let Some(users) = users {
        merge_users(&mut known.users, users);
    }
    if let Some(UriList { state, entries }) = sidebars_by_ref {
        match state {
            Part::Full => known.sidebars_by_ref = Some(UriList { state, entries }),
            Part::Deleted => known.sidebars_by_ref = None,
            Part::Partial => {
                let known = &mut known.sidebars_by_ref.get_or_insert_default().entries;
                merge_keyed(
                    known,
                    entries,
                    |it: &UriEntry| &it.uri,
                    |known, update| {
                        *known = update;
                        true
                    },
                );
            }
        }
    }
    if let Some(sidebars) = sidebars_by_val {
        merge_sidebars(&mut known.sidebars_by_val, sidebars);
    }
}

fn merge_users(known: &mut Option<Users>, update: Users) {
    match update.state {
        Part::Full => *known = Some(full_users(update)),
        Part::Deleted => *known = None,
        Part::Partial => {
            let known = &mut known.get_or_insert_default().users;
            merge_keyed(
                known,
                update.users,
                |it: &User| &it.entity,
                |known, update| match update.state {
                    Part::Full => {
                        *known = full_user(update);
                        true
                    }
                    Part::Deleted => false,
                    Part::Partial => {
                        merge_user(known, update);
                        true
                    }
                },
            );
        }
    }
}

fn merge_user(known: &mut User, update: User) {
    replace(&mut known.display_text, update.display_text);
    replace(&mut known.roles, update.roles);
    replace(&mut known.languages, update.languages);
    replace(&mut known.cascaded_focus, update.cascaded_focus);
    if let Some(aors) = update.associated_aors {
        known.associated_aors = full_uris(aors);
    }
    merge_keyed(
        &mut known.endpoints,
        update.endpoints,
        |it: &Endpoint| &it.entity,
        |known, update| match update.state {
            Part::Full => {
                *known = update;
                true
            }
            Part::Deleted => false,
            Part::Partial => {
                merge_endpoint(known, update);
                true
            }
        },
    );
}

fn merge_endpoint(known: &mut Endpoint, update: Endpoint) {
    known.state = Part::Full;
    replace(&mut known.display_text, update.display_text);
    replace(&mut known.referred, update.referred);
    replace(&mut known.status, update.status);
    replace(&mut known.joining_method, update.joining_method);
    replace(&mut known.joining_info, update.joining_info);
    replace(&mut known.disconnection_method, update.disconnection_method);
    replace(&mut known.disconnection_info, update.disconnection_info);
    replace(&mut known.call, update.call);
    merge_keyed(
        &mut known.media,
        update.media,
        |it: &Media| &it.id,
        |known, update| {
            *known = update;
            true
        },
    );
}

fn merge_sidebars(known: &mut Option<Sidebars>, update: Sidebars) {
    match update.state {
        Part::Full => *known = Some(full_sidebars(update)),
        Part::Deleted => *known = None,
        Part::Partial => {
            let known = &mut known.get_or_insert_default().entries;
            merge_keyed(
                known,
                update.entries,
                |it: &ConferenceInfo| &it.entity,
                |known, update| match update.state {
                    Part::Full => {
                        *known = full(update);
                        true
                    }
                    Part::Deleted => false,
                    Part::Partial => {
                        known.state = Part::Full;
                        merge(known, update);
                        true
                    }
                },
            );
        }
    }
}

fn replace<T>(known: &mut Option<T>, update: Option<T>) {
    if update.is_some() {
        *known = update;
    }
}

/// Step 3.1: rows that the table does not have are added as they are told, the others are updated; `update` says whether
/// the row stays. A row is added by updating an empty one, so that deleted ones are not and what is in it becomes full.
fn merge_keyed<T: Row>(
    known: &mut Vec<T>,
    updates: Vec<T>,
    key: impl Fn(&T) -> &String,
    mut update: impl FnMut(&mut T, T) -> bool,
) {
    let mut rows: BTreeMap<String, usize> = BTreeMap::new();
    for (position, row) in known.iter().enumerate() {
        rows.entry(key(row).clone()).or_insert(position);
    }
    let mut gone = vec![false; known.len()];
    for row in updates {
        match rows.get(key(&row)) {
            Some(&position) => gone[position] = !update(&mut known[position], row),
            None => {
                let name = key(&row).clone();
                let mut new = T::empty(&name);
                gone.push(!update(&mut new, row));
                rows.insert(name, known.len());
                known.push(new);
            }
        }
    }
    let mut gone = gone.into_iter();
    known.retain(|_| !gone.next().unwrap_or(false));
}

/// A row before anything is known of it but its key.
trait Row {
    fn empty(key: &str) -> Self;
}

impl Row for User {
    fn empty(key: &str) -> Self {
        Self::new(key)
    }
}

impl Row for Endpoint {
    fn empty(key: &str) -> Self {
        Self { entity: key.to_owned(), ..Self::default() }
    }
}

impl Row for Media {
    fn empty(key: &str) -> Self {
        Self { id: key.to_owned(), ..Self::default() }
    }
}

impl Row for UriEntry {
    fn empty(key: &str) -> Self {
        Self::new(key)
    }
}

impl Row for ConferenceInfo {
    fn empty(key: &str) -> Self {
        Self { version: None, ..Self::new(key, 0, Part::Full) }
    }
}

/// The conference with all its parts full, as a table keeps it, and without parts said to be deleted, which a full document
/// should not have (§4.4).
fn full(mut document: ConferenceInfo) -> ConferenceInfo {
    document.state = Part::Full;
    document.users = document.users.filter(|it| it.state != Part::Deleted).map(full_users);
    document.description = document.description.map(full_description);
    document.host = document.host.map(full_host);
    document.sidebars_by_ref = document.sidebars_by_ref.and_then(full_uris);
    document.sidebars_by_val = document.sidebars_by_val.filter(|it| it.state != Part::Deleted).map(full_sidebars);
    document
}

fn full_description(description: Description) -> Description {
    let conf_uris = description.conf_uris.and_then(full_uris);
    Description { conf_uris, service_uris: description.service_uris.and_then(full_uris), ..description }
}

fn full_host(host: Host) -> Host {
    Host { uris: host.uris.and_then(full_uris), ..host }
}

fn full_uris(uris: UriList) -> Option<UriList> {
    (uris.state != Part::Deleted).then_some(UriList { state: Part::Full, ..uris })
}

fn full_users(users: Users) -> Users {
    let present = users.users.into_iter().filter(|it| it.state != Part::Deleted);
    Users { state: Part::Full, users: present.map(full_user).collect() }
}

fn full_user(mut user: User) -> User {
    user.state = Part::Full;
    user.associated_aors = user.associated_aors.and_then(full_uris);
    user.endpoints.retain(|it| it.state != Part::Deleted);
    for endpoint in &mut user.endpoints {
        endpoint.state = Part::Full;
    }
    user
}

fn full_sidebars(sidebars: Sidebars) -> Sidebars {
    let present = sidebars.entries.into_iter().filter(|it| it.state != Part::Deleted);
    Sidebars { state: Part::Full, entries: present.map(full).collect() }
}

/// Rows of a conference and its sidebars.
fn count(conference: &ConferenceInfo) -> usize {
    let users = conference.users.iter().flat_map(|it| &it.users);
    let users: usize = users.map(|it| 1 + it.endpoints.iter().map(|it| 1 + it.media.len()).sum::<usize>()).sum();
    let references = conference.sidebars_by_ref.as_ref().map_or(0, |it| it.entries.len());
    let sidebars = conference.sidebars_by_val.iter().flat_map(|it| &it.entries);
    users + references + sidebars.map(|it| 1 + count(it)).sum::<usize>()
}
