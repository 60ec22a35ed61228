//! `cargo xtask drill signins`: the table of sign-ins behind each fault.

use anyhow::{Result, bail, ensure};
use comfy_table::{Table, presets};
use harness::drill::{Fault, Figures, Kind, Size, sign_ins};
use harness::{Ds389, Samba, programs};

pub(super) async fn run(chosen: &[(Fault, Kind)]) -> Result<()> {
    ensure!(!chosen.is_empty(), "no fault has these names");
    programs::build(programs::Profile::current()?)?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "fault",
        "directory",
        "denied",
        "marked",
        "sync due",
        "sync",
        "disabled: sign-ins, sync",
        "enabled, let in",
        "seats",
        "after the repair",
        "outcomes",
    ]);
    let mut failures = Vec::new();
    for (fault, kind) in chosen {
        let can_run = match kind {
            Kind::OpenLdap => true,
            Kind::Ds389 => Ds389::can_run(),
            Kind::ActiveDirectory => Samba::can_run(),
        };
        if !can_run {
            continue;
        }
        match Box::pin(sign_ins::run(*fault, *kind, Size::WHOLE)).await {
            Ok(figures) => {
                table.add_row(cells(&figures));
                let problems = figures.problems();
                let told = if problems.is_empty() { "right".to_owned() } else { problems.join("; ") };
                println!("{fault}, {kind}: {told}");
                failures.extend(problems.into_iter().map(|problem| format!("{fault}, {kind}: {problem}")));
            }
            Err(error) => {
                println!("{fault}, {kind}: the drill itself failed: {error:#}");
                failures.push(format!("{fault}, {kind}: {error:#}"));
            }
        }
    }
    println!("{table}");
    if failures.is_empty() {
        return Ok(());
    }
    bail!("{} checks failed:\n  {}", failures.len(), failures.join("\n  "))
}

fn cells(figures: &Figures) -> [String; 11] {
    let Figures { denied, marked, disabled, seats, signed_in, back, left, .. } = figures;
    let yes = |is: bool| if is { "yes" } else { "no" };
    let outcomes = figures.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}"));
    [
        figures.fault.to_string(),
        figures.kind.to_string(),
        format!("{denied} of {signed_in}"),
        (marked.0 + marked.1).to_string(),
        yes(figures.sync_due).to_owned(),
        figures.sync.clone(),
        format!("{}, {}", disabled.0, disabled.1),
        format!("{}, {}", figures.enabled, figures.let_in),
        format!("{} to {}", seats.0, seats.1),
        format!("{back} of {signed_in} in, {} marked, {}", left.0, figures.last_sync),
        outcomes.collect::<Vec<_>>().join(", "),
    ]
}
