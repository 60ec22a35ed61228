//! One step of the suite: says what it runs, stops at a failure, and says how long it took.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Runs a program as a step.
pub(super) fn run_step(what: &str, program: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments);
    run_command(what, &mut command)
}

/// Runs a command as a step.
pub(super) fn run_command(what: &str, command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let words = command.get_args().map(|argument| argument.to_string_lossy());
    let line = [program.as_str().into()].into_iter().chain(words).collect::<Vec<_>>().join(" ");
    println!("==> {what}: {line}");
    timed(what, || {
        let status = command
            // All at once, before the tests: alone they would be built anew, while the first tests
            // wait.
            .env("ROLLCALL_PROGRAMS_BUILT", "1")
            .env("RUSTDOCFLAGS", "--deny warnings")
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("cannot start {program}"))?;
        if !status.success() {
            bail!("{what} failed; to repeat only this: {line}");
        }
        Ok(())
    })
}

/// Runs a program as a step, or says that it is left out where a tool is not installed.
pub(super) fn run_if_installed(tool: &str, what: &str, program: &str, arguments: &[&str]) -> Result<()> {
    if has(tool) {
        return run_step(what, program, arguments);
    }
    println!("==> {what}: left out, {tool} is not installed");
    Ok(())
}

/// Whether a program is installed.
pub(super) fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Says how long something took, if it succeeded.
pub(super) fn timed<T>(what: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = run()?;
    println!("    {what}: {}", in_words(start.elapsed().as_secs_f64()));
    Ok(result)
}

/// A duration such as `3.1 s` or `2 min 5 s`.
fn in_words(seconds: f64) -> String {
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round();
    format!("{} min {} s", (whole / 60.0).floor(), whole % 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_minutes_from_one_minute_on() {
        for (seconds, words) in [
            (0.04, "0.0 s"),
            (59.94, "59.9 s"),
            (59.96, "1 min 0 s"),
            (60.4, "1 min 0 s"),
            (179.0, "2 min 59 s"),
        ] {
            assert_eq!(in_words(seconds), words);
        }
    }
}
