//! What a shipped program says of itself: its symbols name functions, so a backtrace can be read.
//! Its debug information, which is several times as large as the program, stays behind.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Fewer than this many functions are chance: a stripped program names none.
const MIN_NAMED_FUNCTIONS: usize = 20;

/// Checks that the symbols of a program name its own functions.
pub(super) fn check_function_names(program: &Path) -> Result<()> {
    let name = program.file_name().context("a program's name")?.to_string_lossy().replace('-', "_");
    // As compilers write a crate into a symbol: its length, then its name.
    let own = format!("{}{name}", name.len());
    let symbols = inspect("nm", &["--defined-only"], program)?;
    let named = symbols.lines().filter(|line| line.contains(&own)).count();
    ensure!(
        named >= MIN_NAMED_FUNCTIONS,
        "{} names {named} functions of its own, so no backtrace of it can be read: do not strip its symbols",
        program.display()
    );
    Ok(())
}

/// Checks that a program has no debug information.
pub(super) fn check_no_debug_information(program: &Path) -> Result<()> {
    let sections = inspect("readelf", &["--wide", "--section-headers"], program)?;
    ensure!(sections.contains(".text"), "readelf does not list the sections of {}", program.display());
    ensure!(
        !sections.contains(".debug_info"),
        "{} has debug information, which packages do not ship: see [profile.release] in Cargo.toml",
        program.display()
    );
    Ok(())
}

/// Runs a tool of binutils, which the linker belongs to.
fn inspect(tool: &str, arguments: &[&str], program: &Path) -> Result<String> {
    let output = Command::new(tool)
        .args(arguments)
        .arg(program)
        .output()
        .with_context(|| format!("cannot start {tool}"))?;
    let problem = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{tool} cannot read {}: {problem}", program.display());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
