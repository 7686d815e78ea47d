//! One line of JSON.

/// Prints `RESULT {"name": value, ..}`.
pub fn print(values: &[(&str, f64)]) {
    let parts: Vec<String> = values.iter().map(|(name, value)| format!("\"{name}\": {value:.3}")).collect();
    println!("RESULT {{{}}}", parts.join(", "));
}
