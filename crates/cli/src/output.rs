//! Printing: results on standard output, the rest on standard error.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::{Value, json};

use crate::exit::CliError;

/// Prints a result. A reader that has gone is no error.
pub fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Prints a line of JSON.
pub fn print_json(value: &Value) {
    print(&format!("{value}\n"));
}

/// Says something beside the result.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says why the command failed.
pub fn complain(error: &CliError, json: bool) {
    if json {
        let value = json!({"error": {"exit": error.exit as u8, "message": error.message}});
        let _ = writeln!(io::stderr(), "{value}");
        return;
    }
    let label = paint("error:", "31;1", io::stderr().is_terminal());
    let _ = writeln!(io::stderr(), "{label} {}", error.message);
}

/// Colours on a terminal, unless the user wants none (<https://no-color.org>).
pub fn paint(text: &str, code: &str, terminal: bool) -> String {
    let plain = !terminal || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain { text.to_owned() } else { format!("\u{1b}[{code}m{text}\u{1b}[0m") }
}

/// Whether standard output is a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Columns, two spaces apart.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}
