//! People and devices: RFC 4479 §5, and what people do: RFC 4480 §3.2.

use super::{BodyError, Element, MODEL_NAMESPACE, Note, RPID_NAMESPACE, Timestamp, is_extension, words};

/// The human being behind a presentity, or what is shown as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Person {
    /// Unique within the document, tuples and devices included.
    pub id: String,
    /// What the person does; several with different times at most.
    pub activities: Vec<Activities>,
    /// Notes, in one language each.
    pub notes: Vec<Note>,
    /// When any of this changed.
    pub timestamp: Option<Timestamp>,
    /// Elements of other namespaces, as they were; RPID's `mood`, `place-is` and so on among them.
    pub extensions: Vec<Element>,
}

/// What services run on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Unique within the document, tuples and persons included.
    pub id: String,
    /// The device's URN, which tuples refer to. Mandatory in the schema; documents lack it.
    pub device_id: Option<String>,
    /// Notes, in one language each.
    pub notes: Vec<Note>,
    /// When any of this changed.
    pub timestamp: Option<Timestamp>,
    /// Elements of other namespaces, as they were; RPID's `user-input` among them.
    pub extensions: Vec<Element>,
}

/// What a person does (RFC 4480 §3.2).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Activities {
    /// Since when.
    pub from: Option<Timestamp>,
    /// Until when.
    pub until: Option<Timestamp>,
    /// Notes, in one language each.
    pub notes: Vec<Note>,
    /// All at the same time.
    pub activities: Vec<Activity>,
}

/// One activity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Activity {
    /// One that RFC 4480 lists.
    Word(ActivityWord),
    /// Any other, in somebody's words (`other`).
    Other(String),
    /// One of another namespace, or of a later list.
    Foreign(Element),
}

words! {
    /// Activities that RFC 4480 §3.2 lists.
    ActivityWord {
        /// An entry in a calendar, nothing more known.
        Appointment = "appointment",
        /// Away from all devices.
        Away = "away",
        /// Eating the first meal.
        Breakfast = "breakfast",
        /// Busy, nothing more known.
        Busy = "busy",
        /// Eating the main meal.
        Dinner = "dinner",
        /// A public holiday.
        Holiday = "holiday",
        /// In a vehicle, not steering.
        InTransit = "in-transit",
        /// Looking for paid work.
        LookingForWork = "looking-for-work",
        /// Eating at midday. In the RFC's list, though not in its schema.
        Lunch = "lunch",
        /// Eating.
        Meal = "meal",
        /// In a meeting.
        Meeting = "meeting",
        /// Talking on the telephone.
        OnThePhone = "on-the-phone",
        /// At a concert, a play, a lecture, on either side.
        Performance = "performance",
        /// Will not return.
        PermanentAbsence = "permanent-absence",
        /// Playing.
        Playing = "playing",
        /// Presenting, or in a presentation.
        Presentation = "presentation",
        /// Shopping.
        Shopping = "shopping",
        /// Asleep.
        Sleeping = "sleeping",
        /// Watching an event.
        Spectator = "spectator",
        /// Steering a vehicle.
        Steering = "steering",
        /// On a trip.
        Travel = "travel",
        /// Watching television.
        Tv = "tv",
        /// Not known.
        Unknown = "unknown",
        /// On vacation.
        Vacation = "vacation",
        /// Working.
        Working = "working",
        /// At worship.
        Worship = "worship",
    }
}

impl Person {
    /// A person of whom nothing is told.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), activities: Vec::new(), notes: Vec::new(), timestamp: None, extensions: Vec::new() }
    }

    pub(super) fn read(element: &Element) -> Result<Self, BodyError> {
        let mut person = Self::new(element.attribute("id").ok_or(BodyError::Missing("person@id"))?);
        for child in element.elements() {
            match (&*child.namespace, child.name.as_str()) {
                (RPID_NAMESPACE, "activities") => person.activities.push(Activities::read(child)),
                (MODEL_NAMESPACE, "note") => person.notes.push(Note::read(child)),
                (MODEL_NAMESPACE, "timestamp") => person.timestamp = Timestamp::parse(&child.token()),
                (MODEL_NAMESPACE, _) => {}
                _ if is_extension(child) => person.extensions.push(child.clone()),
                _ => {}
            }
        }
        Ok(person)
    }

    pub(super) fn element(&self) -> Element {
        Element::new(MODEL_NAMESPACE, "person")
            .with("id", &self.id)
            .with_children(self.activities.iter().map(Activities::element))
            .with_children(self.extensions.iter().cloned())
            .with_children(self.notes.iter().map(|it| it.element(MODEL_NAMESPACE)))
            .with_leaf("timestamp", self.timestamp)
    }
}

impl Device {
    pub(super) fn read(element: &Element) -> Result<Self, BodyError> {
        let id = element.attribute("id").ok_or(BodyError::Missing("device@id"))?.to_owned();
        let mut device = Self { id, device_id: None, notes: vec![], timestamp: None, extensions: vec![] };
        for child in element.elements() {
            match (&*child.namespace, child.name.as_str()) {
                (MODEL_NAMESPACE, "deviceID") => device.device_id = Some(child.token()),
                (MODEL_NAMESPACE, "note") => device.notes.push(Note::read(child)),
                (MODEL_NAMESPACE, "timestamp") => device.timestamp = Timestamp::parse(&child.token()),
                (MODEL_NAMESPACE, _) => {}
                _ if is_extension(child) => device.extensions.push(child.clone()),
                _ => {}
            }
        }
        Ok(device)
    }

    pub(super) fn element(&self) -> Element {
        Element::new(MODEL_NAMESPACE, "device")
            .with("id", &self.id)
            .with_children(self.extensions.iter().cloned())
            .with_leaf("deviceID", self.device_id.as_ref())
            .with_children(self.notes.iter().map(|it| it.element(MODEL_NAMESPACE)))
            .with_leaf("timestamp", self.timestamp)
    }
}

impl Activities {
    fn read(element: &Element) -> Self {
        let time = |name| element.attribute(name).and_then(Timestamp::parse);
        let mut read = Self { from: time("from"), until: time("until"), ..Self::default() };
        for child in element.elements() {
            let known = (*child.namespace == *RPID_NAMESPACE).then_some(child.name.as_str());
            match known {
                Some("note") => read.notes.push(Note::read(child)),
                Some("other") => read.activities.push(Activity::Other(child.text())),
                _ => read.activities.push(match known.and_then(ActivityWord::parse) {
                    Some(word) => Activity::Word(word),
                    None if child.namespace.is_empty() => continue,
                    None => Activity::Foreign(child.clone()),
                }),
            }
        }
        read
    }

    fn element(&self) -> Element {
        let activity = |activity: &Activity| match activity {
            Activity::Word(word) => Element::new(RPID_NAMESPACE, word.as_str()),
            Activity::Other(text) => Element::new(RPID_NAMESPACE, "other").with_text(text),
            Activity::Foreign(element) => element.clone(),
        };
        Element::new(RPID_NAMESPACE, "activities")
            .with_some("from", self.from)
            .with_some("until", self.until)
            .with_children(self.notes.iter().map(|it| it.element(RPID_NAMESPACE)))
            .with_children(self.activities.iter().map(activity))
    }
}
