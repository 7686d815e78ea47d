//! Events: RFC 6665, and the packages that ride on it.
//!
//! [`package`] knows what each event package says about itself and reads and writes the bodies of its notifications.

mod notifier;
pub mod package;
mod refer;
mod subscriber;
mod subscription;

pub use subscriber::Subscribe;
pub(crate) use subscriber::refresh_after;
pub(crate) use subscription::Subscription;
pub use subscription::{SubscriptionEnd, SubscriptionEvent, SubscriptionId};
