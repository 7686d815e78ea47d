//! Declares a section of the configuration once: fields, meaning and default stand together, and from them come the
//! struct, the reader, the printed default file and the origin of each value.

use toml::de::DeValue;

use super::value::Wrong;

/// A key as the outside sees it.
#[derive(Clone, Debug)]
pub struct Key {
    /// The section it stands in.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it means, line by line.
    pub meaning: &'static [&'static str],
    /// Its value as a TOML literal.
    pub value: String,
    /// The same without secrets, to be shown.
    pub shown: String,
}

/// What a section can do.
pub(super) trait Section {
    /// Its name in the file.
    const NAME: &'static str;
    /// What it is for.
    const MEANING: &'static [&'static str];
    /// Its keys with their present values, in order.
    fn keys(&self) -> Vec<Key>;
    /// Sets one key. `None` if there is no such key.
    fn set(&mut self, key: &str, value: &DeValue<'_>) -> Option<Result<(), Wrong>>;
}

macro_rules! section {
    (
        $(#[doc = $section_doc:literal])+
        $section:literal $name:ident {
            $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Clone, PartialEq, Debug)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::config::schema::Section for $name {
            const NAME: &'static str = $section;
            const MEANING: &'static [&'static str] = &[$($section_doc),+];

            fn keys(&self) -> Vec<$crate::config::schema::Key> {
                vec![$($crate::config::schema::Key {
                    section: $section,
                    name: stringify!($field),
                    meaning: &[$($doc),+],
                    value: $crate::config::value::Value::write(&self.$field),
                    shown: $crate::config::value::Value::show(&self.$field),
                }),*]
            }

            fn set(
                &mut self,
                key: &str,
                value: &toml::de::DeValue<'_>,
            ) -> Option<Result<(), $crate::config::value::Wrong>> {
                match key {
                    $(stringify!($field) => Some(
                        $crate::config::value::Value::read(value).map(|value| self.$field = value)
                    ),)*
                    _ => None,
                }
            }
        }
    };
}
pub(super) use section;
