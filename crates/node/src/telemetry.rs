//! Log lines: human or JSON, on standard error, at a level that can be changed while the node runs.
//!
//! What other libraries say is shown from `warn` on only: they know nothing of what is private here.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

use crate::config::{Config, LogFormat, LogLevel};
use crate::pii;

/// Changes the level of a log that runs.
#[derive(Clone, Debug)]
pub struct Telemetry(Option<reload::Handle<Targets, Registry>>);

impl Telemetry {
    /// Starts logging as the configuration says. A second call in one process changes nothing.
    pub fn start(config: &Config) -> Self {
        let (filter, handle) = reload::Layer::new(targets(config.log.level));
        let json = match config.log.format {
            LogFormat::Json => true,
            LogFormat::Human => false,
            LogFormat::Auto => !io::stderr().is_terminal(),
        };
        let started = if json {
            let layer = fmt::layer().json().flatten_event(true).with_writer(io::stderr);
            tracing_subscriber::registry().with(layer.boxed().with_filter(filter)).try_init()
        } else {
            // https://no-color.org
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
            let layer = fmt::layer().with_target(false).with_ansi(colours).with_writer(io::stderr);
            tracing_subscriber::registry().with(layer.boxed().with_filter(filter)).try_init()
        };
        let telemetry = Self(started.is_ok().then_some(handle));
        telemetry.apply(config);
        telemetry
    }

    /// Takes over level and privacy from a new configuration.
    pub fn apply(&self, config: &Config) {
        pii::show_private_values(config.dangerous.addresses_in_log || config.log.level == LogLevel::Trace);
        if let Some(handle) = &self.0 {
            let _ = handle.reload(targets(config.log.level)); // the subscriber lives as long as the process
        }
    }
}

fn targets(level: LogLevel) -> Targets {
    let ours = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(ours.min(LevelFilter::WARN)).with_target("farspeak", ours)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_never_say_more_than_warnings() {
        let targets = targets(LogLevel::Trace);
        assert!(targets.would_enable("farspeak_node::server", &Level::TRACE));
        assert!(!targets.would_enable("sqlx::query", &Level::DEBUG));
        assert!(targets.would_enable("sqlx::query", &Level::WARN));
        assert!(!super::targets(LogLevel::Error).would_enable("sqlx::query", &Level::WARN));
    }
}
