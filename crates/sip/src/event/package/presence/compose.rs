//! Many publications into one document: the event state compositor's policy (RFC 3903 §1 and §6, RFC 3856 §6.11.1).
//!
//! The RFCs leave the policy open. Ours:
//!
//! - Services add up: every tuple of every publication is in the document. Tuples with the same id that differ get
//!   different ids.
//! - A person cannot do two things: the person of the latest publication that has one is in the document, alone.
//! - A device that several publications describe appears as the latest describes it.
//! - Notes and extensions add up, without repetitions.

use std::collections::BTreeMap;

use super::{Device, Person, Presence, Tuple};

/// How many tuples, notes, devices and extensions a composed document has at most, each; later ones are left out. A phone
/// publishes a handful.
const MOST: usize = 512;

/// Ids taken, and how many were made of each by adding numbers.
type Ids = BTreeMap<String, usize>;

/// One publication of a presentity's event state.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// What was published.
    pub document: &'a Presence,
    /// When its document last changed, by the compositor's own clock, in any unit; larger is later. The documents' own
    /// timestamps come from clocks of phones and do not decide between publications.
    pub changed: u64,
}

/// Makes one document of all publications of a presentity.
///
/// Give them in the order in which they were first made: then ids that had to be changed stay the same from one document to
/// the next while the same phones publish (RFC 3863 §4.1.2). How many there may be is the caller's
/// bound; of tuples, notes, devices and extensions, the first 512 each are kept.
pub fn compose(entity: &str, publications: &[Publication<'_>]) -> Presence {
    let mut composed = Presence::new(entity);
    let mut ids = Ids::new();
    for Publication { document, .. } in publications {
        document.tuples.iter().for_each(|tuple| add_tuple(&mut composed.tuples, tuple, &mut ids));
        document.notes.iter().for_each(|note| add(&mut composed.notes, note));
        document.extensions.iter().for_each(|extension| add(&mut composed.extensions, extension));
    }
    composed.devices = devices(publications, &mut ids);
    composed.persons.extend(person(publications).cloned());
    for person in &mut composed.persons {
        person.id = unique(&person.id, &mut ids);
    }
    composed
}

fn add<T: Clone + PartialEq>(to: &mut Vec<T>, item: &T) {
    if to.len() < MOST && !to.contains(item) {
        to.push(item.clone());
    }
}

fn add_tuple(to: &mut Vec<Tuple>, tuple: &Tuple, ids: &mut Ids) {
    if to.len() < MOST && !to.contains(tuple) {
        to.push(Tuple { id: unique(&tuple.id, ids), ..tuple.clone() });
    }
}

/// The latest person: of the publication that changed last, and within it of the latest timestamp.
fn person<'a>(publications: &[Publication<'a>]) -> Option<&'a Person> {
    let with_person = publications.iter().filter(|it| !it.document.persons.is_empty());
    let latest = with_person.max_by_key(|it| it.changed)?;
    latest.document.persons.iter().max_by_key(|it| it.timestamp)
}

fn devices(publications: &[Publication<'_>], ids: &mut Ids) -> Vec<Device> {
    let mut devices: Vec<(&Device, u64)> = Vec::new();
    for Publication { document, changed } in publications {
        for device in &document.devices {
            let same = |it: &(&Device, u64)| it.0.device_id.is_some() && it.0.device_id == device.device_id;
            match devices.iter().position(same) {
                Some(known) if devices[known].1 <= *changed => devices[known] = (device, *changed),
                Some(_) => {}
                None if devices.len() >= MOST || devices.iter().any(|it| it.0 == device) => {}
                None => devices.push((device, *changed)),
            }
        }
    }
    devices.into_iter().map(|(device, _)| Device { id: unique(&device.id, ids), ..device.clone() }).collect()
}

/// The id, or the id with the first number that makes it unique.
fn unique(id: &str, ids: &mut Ids) -> String {
    let mut candidate = id.to_owned();
    while ids.contains_key(&candidate) {
        let number = ids.entry(id.to_owned()).or_default();
        *number += 1;
        candidate = format!("{id}-{}", *number + 1);
    }
    ids.insert(candidate.clone(), 0);
    candidate
}
