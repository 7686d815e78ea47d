//! What is written reads back the same, whatever the values.

use farspeak_sip::event::package::Timestamp;
use farspeak_sip::event::package::conference::{
    ConferenceInfo, ConferenceState, ConferenceTable, Description, DisconnectionMethod, Endpoint, EndpointStatus,
    Execution, Host, JoiningMethod, Media, MediaStatus, Medium, Part, Sidebars, SipCall, UriEntry, UriList, User,
    Users,
};
use farspeak_sip::event::package::dialog::{
    Dialog, DialogEvent, DialogId, DialogInfo, DialogState, Direction, DocumentState, Identity, Participant,
    SessionDescription, SharedAppearance, Target,
};
use farspeak_sip::event::package::message_summary::{ClassSummary, Count, MessageSummary};
use farspeak_sip::event::package::presence::{
    Activities, Activity, ActivityWord, Basic, Contact, Device, Note, Person, Presence, Publication, Tuple, compose,
};
use farspeak_sip::event::package::reg::{self, ContactEvent, RegInfo, RegistrationState, TempGruu};
use farspeak_sip::event::package::watcher::{Watcher, WatcherEvent, WatcherInfo, WatcherList, WatcherStatus};
use farspeak_sip::event::package::xml::{Attribute, Element, Limits, Node, XML_NAMESPACE};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

/// Text as people write it, with everything that XML escapes.
fn text() -> impl Strategy<Value = String> {
    "[ -~\t\r\n\u{85}\u{e9}\u{2028}\u{fffd}\u{1f4de}]{0,12}"
}

/// A word or URI: no white space around it.
fn token() -> impl Strategy<Value = String> {
    "[!-~\u{e9}\u{1f4de}]{0,12}"
}

fn state() -> impl Strategy<Value = DocumentState> {
    select(DocumentState::ALL)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..253_402_300_799i64).prop_map(|seconds| Timestamp::from_unix(seconds).unwrap())
}

/// Any tree that XML can write.
fn element() -> impl Strategy<Value = Element> {
    let namespace = select(&["", "urn:a", "urn:b&<\"", "urn:ietf:params:xml:ns:pidf", XML_NAMESPACE][..]);
    let attribute = (namespace.clone(), "[a-zA-Z_][a-z0-9.-]{0,4}", text())
        .prop_map(|(namespace, name, value)| Attribute { namespace: namespace.into(), name, value });
    let leaf = (namespace, "[a-zA-Z_\u{e9}][a-z0-9.-]{0,4}", vec(attribute, 0..4)).prop_map(
        |(namespace, name, attributes)| {
            let mut element = Element::new(namespace, name);
            for attribute in attributes {
                if element.attribute_in(&attribute.namespace, &attribute.name).is_none() {
                    element.attributes.push(attribute);
                }
            }
            element
        },
    );
    leaf.prop_recursive(4, 24, 4, |inner| {
        (inner.clone(), vec((text(), of(inner)), 0..4)).prop_map(|(mut element, nodes)| {
            for (text, child) in nodes {
                element = element.with_text(text);
                element.children.extend(child.map(Node::Element));
            }
            element
        })
    })
}

/// An element that presence keeps as it is.
fn extension() -> impl Strategy<Value = Element> {
    element().prop_map(|element| Element { namespace: "urn:extension".into(), ..element })
}

fn note() -> impl Strategy<Value = Note> {
    (text(), of("[a-z-]{1,8}")).prop_map(|(text, language)| Note { text, language })
}

fn tuple() -> impl Strategy<Value = Tuple> {
    let contact = (token(), of(0..=1000u16)).prop_map(|(uri, priority)| Contact { uri, priority });
    let extensions = || vec(extension(), 0..2);
    (
        text(),
        of(select(Basic::ALL)),
        of(contact),
        vec(token(), 0..2),
        vec(note(), 0..3),
        of(time()),
        extensions(),
        extensions(),
    )
        .prop_map(|(id, basic, contact, device_ids, notes, timestamp, status_extensions, extensions)| Tuple {
            id,
            basic,
            status_extensions,
            contact,
            device_ids,
            notes,
            timestamp,
            extensions,
        })
}

fn activities() -> impl Strategy<Value = Activities> {
    let activity = prop_oneof![
        select(ActivityWord::ALL).prop_map(Activity::Word),
        text().prop_map(Activity::Other),
        extension().prop_map(Activity::Foreign),
    ];
    (of(time()), of(time()), vec(note(), 0..2), vec(activity, 0..3))
        .prop_map(|(from, until, notes, activities)| Activities { from, until, notes, activities })
}

fn presence() -> impl Strategy<Value = Presence> {
    let person = (text(), vec(activities(), 0..2), vec(note(), 0..2), of(time()), vec(extension(), 0..2)).prop_map(
        |(id, activities, notes, timestamp, extensions)| Person { id, activities, notes, timestamp, extensions },
    );
    let device = (text(), of(token()), vec(note(), 0..2), of(time()), vec(extension(), 0..2)).prop_map(
        |(id, device_id, notes, timestamp, extensions)| Device { id, device_id, notes, timestamp, extensions },
    );
    let lists = (vec(tuple(), 0..3), vec(person, 0..2), vec(device, 0..2), vec(note(), 0..2), vec(extension(), 0..2));
    (of(token()), lists).prop_map(|(entity, (tuples, persons, devices, notes, extensions))| Presence {
        entity,
        tuples,
        persons,
        devices,
        notes,
        extensions,
    })
}

fn contact() -> impl Strategy<Value = reg::Contact> {
    let name = (text(), of("[a-z-]{1,8}")).prop_map(|(text, language)| reg::DisplayName { text, language });
    let gruu = (token(), any::<u32>()).prop_map(|(uri, first_cseq)| TempGruu { uri, first_cseq });
    let numbers = (of(any::<u64>()), of(any::<u64>()), of(any::<u64>()), of(any::<u64>()));
    let texts = (of(text()), of(text()), vec((text(), text()), 0..3), of(token()));
    (text(), select(ContactEvent::ALL), token(), of(name), of(gruu), numbers, texts).prop_map(
        |(id, event, uri, display_name, temp_gruu, numbers, texts)| reg::Contact {
            duration_registered: numbers.0,
            expires: numbers.1,
            retry_after: numbers.2,
            cseq: numbers.3,
            q: texts.0,
            call_id: texts.1,
            unknown_params: texts.2,
            pub_gruu: texts.3,
            display_name,
            temp_gruu,
            ..reg::Contact::new(id, event, uri)
        },
    )
}

fn reginfo() -> impl Strategy<Value = RegInfo> {
    let registration = (token(), text(), select(RegistrationState::ALL), vec(contact(), 0..3))
        .prop_map(|(aor, id, state, contacts)| reg::Registration { aor, id, state, contacts });
    (any::<u32>(), state(), vec(registration, 0..3)).prop_map(|(version, state, registrations)| RegInfo {
        version,
        state,
        registrations,
    })
}

fn participant() -> impl Strategy<Value = Participant> {
    let target = (token(), vec((text(), text()), 0..2)).prop_map(|(uri, params)| Target { uri, params });
    let description = (token(), text()).prop_map(|(mime, text)| SessionDescription { mime, text });
    (vec(identity(), 0..2), of(target), of(description), of(any::<u32>())).prop_map(
        |(identities, target, session_description, cseq)| Participant { identities, target, session_description, cseq },
    )
}

fn identity() -> impl Strategy<Value = Identity> {
    (of(text()), token()).prop_map(|(display, uri)| Identity { display, uri })
}

fn dialog() -> impl Strategy<Value = Dialog> {
    let id = || {
        (text(), text(), text()).prop_map(|(call_id, local_tag, remote_tag)| DialogId {
            call_id,
            local_tag,
            remote_tag,
        })
    };
    let shared = (of(any::<u32>()), of(any::<bool>()), vec(id(), 0..2), vec(id(), 0..2)).prop_map(
        |(appearance, exclusive, joined, replaced)| SharedAppearance { appearance, exclusive, joined, replaced },
    );
    let ids = (text(), of(text()), of(text()), of(text()), of(select(Direction::ALL)));
    let state = (select(DialogState::ALL), of(select(DialogEvent::ALL)), of(100..700u16), of(any::<u64>()));
    let links = (of(id()), of(identity()), vec(token(), 0..2));
    (ids, state, links, of(participant()), of(participant()), shared).prop_map(
        |(ids, (state, event, code, duration), (replaces, referred_by, route_set), local, remote, shared)| Dialog {
            id: ids.0,
            call_id: ids.1,
            local_tag: ids.2,
            remote_tag: ids.3,
            direction: ids.4,
            state,
            event,
            code,
            duration,
            replaces,
            referred_by,
            route_set,
            local,
            remote,
            shared,
        },
    )
}

fn part() -> impl Strategy<Value = Part> {
    select(Part::ALL)
}

fn execution() -> impl Strategy<Value = Execution> {
    (of(time()), of(text()), of(token())).prop_map(|(when, reason, by)| Execution { when, reason, by })
}

fn uris() -> impl Strategy<Value = UriList> {
    let entry = (token(), of(text()), of(token()), of(execution()))
        .prop_map(|(uri, display_text, purpose, modified)| UriEntry { uri, display_text, purpose, modified });
    (part(), vec(entry, 0..2)).prop_map(|(state, entries)| UriList { state, entries })
}

fn words() -> impl Strategy<Value = Vec<String>> {
    vec("[!-~]{1,6}", 0..3)
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let media = ("[0-2]", of(text()), of(token()), of(token()), of(token()), of(select(MediaStatus::ALL))).prop_map(
        |(id, display_text, kind, label, src_id, status)| Media { id, display_text, kind, label, src_id, status },
    );
    let call = (of(text()), token(), token(), token()).prop_map(|(display_text, call_id, from_tag, to_tag)| SipCall {
        display_text,
        call_id,
        from_tag,
        to_tag,
    });
    let methods =
        (of(select(EndpointStatus::ALL)), of(select(JoiningMethod::ALL)), of(select(DisconnectionMethod::ALL)));
    let infos = (of(execution()), of(execution()), of(execution()));
    ("[a-c]", part(), of(text()), methods, infos, vec(media, 0..3), of(call)).prop_map(
        |(entity, state, display_text, methods, infos, media, call)| Endpoint {
            entity,
            state,
            display_text,
            referred: infos.0,
            status: methods.0,
            joining_method: methods.1,
            joining_info: infos.1,
            disconnection_method: methods.2,
            disconnection_info: infos.2,
            media,
            call,
        },
    )
}

fn users() -> impl Strategy<Value = Users> {
    let user = (
        "[a-d]",
        part(),
        of(text()),
        of(uris()),
        of(vec(text(), 0..2)),
        of(words()),
        of(token()),
        vec(endpoint(), 0..3),
    )
        .prop_map(|(entity, state, display_text, associated_aors, roles, languages, cascaded_focus, endpoints)| User {
            entity,
            state,
            display_text,
            associated_aors,
            roles,
            languages,
            cascaded_focus,
            endpoints,
        });
    (part(), vec(user, 0..4)).prop_map(|(state, users)| Users { state, users })
}

fn conference() -> impl Strategy<Value = ConferenceInfo> {
    let medium = (text(), of(text()), token(), of(select(MediaStatus::ALL)))
        .prop_map(|(label, display_text, kind, status)| Medium { label, display_text, kind, status });
    let description =
        (of(text()), of(text()), of(text()), words(), of(uris()), of(uris()), of(any::<u32>()), vec(medium, 0..2))
            .prop_map(|it| Description {
                display_text: it.0,
                subject: it.1,
                free_text: it.2,
                keywords: it.3,
                conf_uris: it.4,
                service_uris: it.5,
                maximum_user_count: it.6,
                available_media: it.7,
            });
    let host = (of(text()), of(token()), of(uris())).prop_map(|(display_text, web_page, uris)| Host {
        display_text,
        web_page,
        uris,
    });
    let whole = (of(any::<u32>()), of(any::<bool>()), of(any::<bool>()))
        .prop_map(|(user_count, active, locked)| ConferenceState { user_count, active, locked });
    let flat = (token(), part(), of(description), of(host), of(whole), of(users()), of(uris())).prop_map(
        |(entity, state, description, host, conference_state, users, sidebars_by_ref)| ConferenceInfo {
            description,
            host,
            conference_state,
            users,
            sidebars_by_ref,
            version: None,
            ..ConferenceInfo::new(entity, 0, state)
        },
    );
    let with_sidebars = flat.prop_recursive(2, 4, 2, |inner| {
        let sidebars = (part(), vec(inner.clone(), 0..3)).prop_map(|(state, entries)| Sidebars { state, entries });
        (inner, of(sidebars)).prop_map(|(info, sidebars_by_val)| ConferenceInfo { sidebars_by_val, ..info })
    });
    (with_sidebars, 0..5u32).prop_map(|(info, version)| ConferenceInfo { version: Some(version), ..info })
}

fn watcherinfo() -> impl Strategy<Value = WatcherInfo> {
    let mandatory = (text(), select(WatcherStatus::ALL), select(WatcherEvent::ALL), token());
    let watcher = (mandatory, of(text()), of("[a-z-]{1,8}"), of(any::<u64>()), of(any::<u64>())).prop_map(
        |((id, status, event, uri), display_name, language, expiration, duration_subscribed)| Watcher {
            display_name,
            language,
            expiration,
            duration_subscribed,
            ..Watcher::new(id, status, event, uri)
        },
    );
    let list = (token(), token(), vec(watcher, 0..3)).prop_map(|(resource, package, watchers)| WatcherList {
        resource,
        package,
        watchers,
    });
    (any::<u32>(), state(), vec(list, 0..3)).prop_map(|(version, state, lists)| WatcherInfo { version, state, lists })
}

fn summary() -> impl Strategy<Value = MessageSummary> {
    let value = || "([!-~]([ -~]{0,10}[!-~])?)?";
    let count = || (any::<u32>(), any::<u32>()).prop_map(|(new, old)| Count { new, old });
    let class = ("[a-z]{1,5}-Message", count(), of(count())).prop_map(|(class, all, urgent)| ClassSummary {
        class,
        all,
        urgent,
    });
    let message = vec(("[A-Za-z-]{1,8}", value()), 1..4);
    (any::<bool>(), of(value()), vec(class, 0..4), vec(message, 0..3))
        .prop_map(|(waiting, account, classes, messages)| MessageSummary { waiting, account, classes, messages })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn elements_read_back(element in element()) {
        let written = element.to_bytes();
        let read = Element::parse(&written, &Limits::default());
        prop_assert_eq!(read, Ok(element), "{}", String::from_utf8_lossy(&written));
    }

    #[test]
    fn presence_reads_back(presence in presence()) {
        prop_assert_eq!(Presence::parse(&presence.write()), Ok(presence));
    }

    #[test]
    fn composed_presence_reads_back(documents in vec((presence(), 0..9u64), 0..4)) {
        let publications: Vec<_> =
            documents.iter().map(|(document, changed)| Publication { document, changed: *changed }).collect();
        let composed = compose("sip:a@b", &publications);
        let ids = composed.tuples.iter().map(|it| &it.id);
        let ids = ids.chain(composed.persons.iter().map(|it| &it.id)).chain(composed.devices.iter().map(|it| &it.id));
        let unique: std::collections::BTreeSet<_> = ids.clone().collect();
        prop_assert_eq!(ids.count(), unique.len());
        prop_assert!(composed.persons.len() <= 1);
        prop_assert_eq!(Presence::parse(&composed.write()), Ok(composed));
    }

    #[test]
    fn reginfo_reads_back(reginfo in reginfo()) {
        prop_assert_eq!(RegInfo::parse(&reginfo.write()), Ok(reginfo));
    }

    #[test]
    fn dialog_info_reads_back(version in any::<u32>(), state in state(), entity in token(), dialogs in vec(dialog(), 0..3)) {
        let info = DialogInfo { version, state, entity, dialogs };
        prop_assert_eq!(DialogInfo::parse(&info.write()), Ok(info));
    }

    #[test]
    fn conference_info_reads_back(info in conference()) {
        prop_assert_eq!(ConferenceInfo::parse(&info.write()), Ok(info));
    }

    #[test]
    fn a_conference_table_holds_full_state_alone(documents in vec(conference(), 1..5)) {
        let mut table = ConferenceTable::default();
        for document in documents {
            let _ = table.apply(document);
            if let Some(known) = table.conference() {
                let written = String::from_utf8(known.write()).unwrap();
                prop_assert!(!written.contains("state=\"partial\""), "{}", written);
                prop_assert_eq!(written.contains("state=\"deleted\""), table.has_ended());
            }
        }
    }

    #[test]
    fn watcherinfo_reads_back(info in watcherinfo()) {
        prop_assert_eq!(WatcherInfo::parse(&info.write()), Ok(info));
    }

    #[test]
    fn message_summaries_read_back(summary in summary()) {
        prop_assert_eq!(MessageSummary::parse(&summary.write()), Ok(summary));
    }

    #[test]
    fn nothing_panics(document in "\\PC{0,64}") {
        let _ = (Presence::parse(document.as_bytes()), MessageSummary::parse(document.as_bytes()));
    }
}
